"""Read and write records: one folder per run, which appears whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from retlib.files import cache_folder, naming, read_json, seal_json
from retlib.metrics import ScoreHistograms
from retlib.study.config import NUMERICS, Recorded, RunConfig

FileContent = bytes | Callable[[Path], None]  # a file's bytes, or a function that writes it to a path
Made = tuple[dict[str, Any], dict[str, FileContent]]  # content of record.json, and the files beside it by name

_LEFT_BEHIND = 3600  # seconds after which a hidden folder is of a writer that was killed


@dataclass(frozen=True)
class Record:
    """Hold what one run measured. ``content`` is record.json; histograms and error maps are read when asked for."""

    folder: Path
    content: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Record:
        """Read the record in a folder.

        Raises:
            ValueError: its file is missing, no JSON or altered; the message says what to do.
        """
        try:
            content = read_json(folder / "record.json")
        except ValueError as error:
            raise ValueError(f"{error}; put the record's folder back, or delete it and run it again") from None
        if lacking := {"id", "config"} - content.keys():
            raise ValueError(f"{folder / 'record.json'}: no record, since {', '.join(sorted(lacking))} is missing")
        return cls(folder, content)

    @property
    def id(self) -> str:
        """Return the run's id, which is also the folder's name."""
        return self.content["id"]

    @property
    def profile(self) -> str:
        """Return smoke, lite or paper."""
        return self.content["config"]["profile"]

    @property
    def config(self) -> RunConfig:
        """Parse the config that was run."""
        return RunConfig.parse(self.content["config"], where=f"{self.folder / 'record.json'}")

    @property
    def stale(self) -> bool:
        """Tell whether the code's numerics have changed since."""
        return self.content["config"]["numerics"] != NUMERICS

    @property
    def history(self) -> list[dict[str, float]]:
        """Return one row per epoch."""
        return self.content["history"]

    def test(self, label: str | None = None) -> dict[str, Any]:
        """Return the results on one test selection (``"drive:test"``), by default the first."""
        tests = self.content["tests"]
        label = next(iter(tests)) if label is None else label
        if label not in tests:
            raise KeyError(f"record {self.id} has no test {label!r}; it has {', '.join(tests)}")
        return tests[label]

    def metrics(self, label: str | None = None, region: str | None = None, average: str | None = None) -> dict:
        """Return the metrics on a test selection, by default with the config's own region and average."""
        scoring = self.content["config"]["scoring"]
        return self.test(label)["metrics"][region or scoring["region"]][average or scoring["average"]]

    def per_image(self, label: str | None = None, region: str | None = None) -> dict[str, np.ndarray]:
        """Return metric -> (images,) float64, in the order of ``test(label)["images"]``; NaN where undefined."""
        values = self.test(label)["per_image"][region or self.content["config"]["scoring"]["region"]]
        return {key: np.array([math.nan if v is None else v for v in column]) for key, column in values.items()}

    def histograms(self, label: str | None = None) -> ScoreHistograms:
        """Load the score histograms of a test selection."""
        return ScoreHistograms.load(self._whole(self.test(label)["scores"]))

    def error_maps(self, label: str | None = None) -> dict[str, np.ndarray]:
        """Load case (``"best"``, ``"median"``, ``"worst"``, ``"first"``) -> uint8 (H, W), see `error_map`.

        Cases whose file is not there are left out: of the committed records only those that a page shows are kept.
        """
        from PIL import Image

        maps = {}
        for case, entry in self.test(label).get("cases", {}).items():
            if not (self.folder / entry["file"]).is_file():
                continue
            with Image.open(self._whole(entry["file"])) as file:
                maps[case] = np.array(file)
        return maps

    def _whole(self, name: str) -> Path:
        """Return the path of a file beside record.json, once its checksum has been compared."""
        path, expected = self.folder / name, self.content.get("files", {}).get(name)
        if expected is not None and path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise ValueError(f"{path}: its content is not what record.json says; put it back, or run the record again")
        return path


class Store:
    """Read and write a folder of records."""

    def __init__(self, path: Store | str | Path) -> None:
        self.path = path.path if isinstance(path, Store) else Path(path)

    def __iter__(self) -> Iterator[Record]:
        for file in sorted(self.path.glob("*/record.json")):
            if not file.parent.name.startswith("."):
                yield Record.read(file.parent)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def get(self, identity: str) -> Record | None:
        """Read the record with this id; None without one."""
        folder = self.path / identity
        if not (folder / "record.json").is_file():
            return None
        record = Record.read(folder)
        if record.id != identity:
            raise ValueError(f"{folder}: the record in it is {record.id}; put the record's own folder back")
        return record

    def clean(self, identity: str) -> None:
        """Put back a record whose replacement was killed, and remove what a killed writer left an hour ago."""
        for left in sorted(self.path.glob(f".{identity}.*")):
            if left.suffix == ".old" and not (self.path / identity).exists():
                left.rename(self.path / identity)
            elif time.time() - left.stat().st_mtime > _LEFT_BEHIND:
                shutil.rmtree(left, ignore_errors=True)

    def find(self, config: Recorded, root: str | Path | None = None, stale: bool = True) -> Record | None:
        """Find the record of this config on this data; None without one.

        Without one of the present numerics, the newest of older ones is returned, whose ``stale`` is true, unless
        ``stale`` is False.
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
            with naming(target):
                sums = {}
                for name, data in files.items():
                    path = partial / name
                    data(path) if callable(data) else path.write_bytes(data)
                    sums[name] = hashlib.sha256(path.read_bytes()).hexdigest()
                    _sync(path)
                text = seal_json(_plain(content | {"files": sums}))
                (partial / "record.json").write_bytes(text)
                _sync(partial / "record.json")
                _replace(target, partial)
            _sync(self.path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return Record(target, json.loads(text))


def find_or_make(
    config: Recorded,
    store: Store | str | Path,
    root: str | Path | None,
    make: Callable[[Path], Made],
    *,
    force: bool = False,
) -> Record:
    """Return the record of a config, or make and write it.

    Of two processes that are given the same config, the second waits and reads the record of the first.

    Args:
        config: what the record is of.
        store: where records live.
        root: folder of the data sets; RETLIB_DATA by default.
        make: computes content, without the header, and files. It is given a folder for checkpoints, which stays if it
            fails and is removed once the record is written.
        force: make the record even if there is one, and from the start.
    """
    store = Store(store)
    header = config.header(root)
    if not force and (record := store.get(header["id"])) is not None:
        return record
    work = cache_folder() / "work" / header["id"]
    work.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(work.with_suffix(".lock")):
        store.clean(header["id"])
        if not force and (record := store.get(header["id"])) is not None:
            return record
        if force:  # from the start, not from what an earlier run left
            shutil.rmtree(work, ignore_errors=True)
        work.mkdir(exist_ok=True)
        content, files = make(work)
        record = store.write(header | content, files)
        shutil.rmtree(work, ignore_errors=True)
    return record


def _replace(target: Path, partial: Path) -> None:
    """Rename a folder into place; what was there before is removed, or stays if renaming fails."""
    old = partial.with_name(f"{partial.name}.old")
    with contextlib.suppress(FileNotFoundError):  # nothing to replace
        target.rename(old)
    try:
        partial.rename(target)
    except OSError as error:
        # A machine with another cache, and so with another lock, may have written the same record in between.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            with contextlib.suppress(OSError):
                old.rename(target)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _plain(value: Any) -> Any:
    """Convert a value to the types of JSON; an undefined number becomes null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _sync(path: Path) -> None:
    """Make a file's content, or a rename in a folder, durable; some systems cannot open a folder."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
