"""Records on disk: one folder a run, whole or not there at all."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retlib.metrics import ScoreHistograms
from retlib.study.config import NUMERICS, RunConfig

FileContent = bytes | Callable[[Path], None]  # a file's bytes, or a function that writes it to a path
WRITE_ATTEMPTS = 100  # of a writer whom others of the same record come in between


@dataclass(frozen=True)
class Record:
    """What one run measured. ``content`` is record.json; score histograms and error maps are read when asked for."""

    folder: Path
    content: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Record:
        """Read the record in a folder.

        Raises:
            ValueError: its file is missing or no JSON; the message says what to do.
        """
        file = folder / "record.json"
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{file}: expected a record in JSON ({error}); delete its folder and run it again"
            ) from None
        return cls(folder, content)

    @property
    def id(self) -> str:
        """The run's id, also the folder's name."""
        return self.content["id"]

    @property
    def profile(self) -> str:
        """smoke, lite or paper."""
        return self.content["config"]["profile"]

    @property
    def config(self) -> RunConfig:
        """The config that was run."""
        return RunConfig.parse(self.content["config"], where=f"{self.folder / 'record.json'}")

    @property
    def stale(self) -> bool:
        """Whether the code's numerics have changed since."""
        return self.content["config"]["numerics"] != NUMERICS

    @property
    def history(self) -> list[dict[str, float]]:
        """One row an epoch."""
        return self.content["history"]

    def test(self, label: str | None = None) -> dict[str, Any]:
        """Results on one test selection (``"drive:test"``); the first one by default."""
        tests = self.content["tests"]
        label = next(iter(tests)) if label is None else label
        if label not in tests:
            raise KeyError(f"record {self.id} has no test {label!r}; it has {', '.join(tests)}")
        return tests[label]

    def metrics(self, label: str | None = None, region: str | None = None, average: str | None = None) -> dict:
        """Metrics on a test selection; region and average are the config's own unless named."""
        scoring = self.content["config"]["scoring"]
        return self.test(label)["metrics"][region or scoring["region"]][average or scoring["average"]]

    def per_image(self, label: str | None = None, region: str | None = None) -> dict[str, np.ndarray]:
        """Metric -> (images,) float64, in the order of ``test(label)["images"]``; undefined values are NaN."""
        values = self.test(label)["per_image"][region or self.content["config"]["scoring"]["region"]]
        return {key: np.array([math.nan if v is None else v for v in column]) for key, column in values.items()}

    def histograms(self, label: str | None = None) -> ScoreHistograms:
        """Score histograms of a test selection."""
        return ScoreHistograms.load(self.folder / self.test(label)["scores"])

    def error_maps(self, label: str | None = None) -> dict[str, np.ndarray]:
        """Case (``"best"``, ``"median"``, ``"worst"``, ``"first"``) -> uint8 (H, W), see `error_map`."""
        from PIL import Image

        maps = {}
        for case, entry in self.test(label).get("cases", {}).items():
            with Image.open(self.folder / entry["file"]) as file:
                maps[case] = np.array(file)
        return maps


class Store:
    """A folder of records."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __iter__(self) -> Iterator[Record]:
        for file in sorted(self.path.glob("*/record.json")):
            if not file.parent.name.startswith("."):
                yield Record.read(file.parent)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def get(self, identity: str) -> Record | None:
        """The record with this id, or None."""
        folder = self.path / identity
        return Record.read(folder) if (folder / "record.json").is_file() else None

    def find(self, config: RunConfig, root: str | None = None, stale: bool = True) -> Record | None:
        """The record of this config on this data, or None.

        Where there is none of the present numerics, the newest one of older numerics is returned (``record.stale`` is
        then true) unless ``stale`` is False.
        """
        fingerprints = config.fingerprints(root)
        for numerics in range(config.numerics, 0 if stale else config.numerics - 1, -1):
            record = self.get(config.model_copy(update={"numerics": numerics}).hash_with(fingerprints))
            if record is not None:
                return record
        return None

    def write(self, content: dict[str, Any], files: dict[str, FileContent]) -> Record:
        """Write a record: everything into a hidden folder, synced to disk, then renamed into place.

        A record that is already there under this id is replaced.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        target = self.path / content["id"]
        partial = self.path / f".{content['id']}.{uuid.uuid4().hex[:8]}"
        partial.mkdir()
        try:
            text = json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"
            for name, data in {**files, "record.json": text.encode()}.items():
                path = partial / name
                if callable(data):
                    data(path)
                else:
                    path.write_bytes(data)
                _sync(path)
            self._put(partial, target)
            _sync(self.path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return Record(target, json.loads(text))

    def _put(self, partial: Path, target: Path) -> None:
        """Rename a whole record into place, whatever other writers of the same run do at this moment."""
        for _ in range(WRITE_ATTEMPTS):
            old = self.path / f".{target.name}.{uuid.uuid4().hex[:8]}.old"
            with contextlib.suppress(FileNotFoundError):  # nothing to replace
                target.rename(old)
            try:
                partial.rename(target)
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    with contextlib.suppress(OSError):  # what was there stays
                        old.rename(target)
                    raise
                # Another writer came between, and its record is there: once more.
            finally:
                shutil.rmtree(old, ignore_errors=True)
        raise OSError(errno.EEXIST, "other writers of this record come in between again and again", str(target))


def _plain(value: Any) -> Any:
    """JSON's types; an undefined number becomes null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _sync(path: Path) -> None:
    """Make a file's content, or a rename in a folder, durable; not every system lets a folder be opened."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
