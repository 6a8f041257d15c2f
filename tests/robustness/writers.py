"""Everything that the library writes to a disk, as functions that write a numbered version and tell which one is there.

Version 0 is written first. Whatever then happens to the writing of a later version, `read` has to find a whole one.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from retlib.data.phantoms import make_phantom


class HalfError(Exception):
    """What is there is no whole version."""


@dataclass(frozen=True)
class Writer:
    """One kind of output.

    Attributes:
        name: what is written, as the book's table names it.
        write: write a version into a folder, over the one that is there.
        read: tell which version the folder holds.
    """

    name: str
    write: Callable[[Path, int], None]
    read: Callable[[Path], int]


def one_number(values: Any) -> int:
    """Return the one number that an array is filled with.

    Raises:
        HalfError: it holds several.
    """
    numbers = np.unique(np.asarray(values))
    if len(numbers) != 1:
        raise HalfError(f"numbers of several versions: {numbers[:5]}")
    return int(numbers[0])


# --- a record: three files in a folder --------------------------------------------------------------------------------

_SIDE = 200


def _write_record(folder: Path, version: int) -> None:
    from retlib.metrics import ScoreHistograms
    from retlib.study import Store

    edges = np.linspace(-5, 5, 500, dtype=np.float32)
    counts = np.full((1, 2, 2, 501), version, np.int32)
    picture = io.BytesIO()
    Image.fromarray(np.full((_SIDE, _SIDE), version % 256, np.uint8)).save(picture, "PNG")
    entry = {"scores": "test.npz", "cases": {"first": {"image": "a", "file": "test.first.png"}}}
    content = {"id": "0" * 16, "config": {}, "version": [version] * 2000, "tests": {"test": entry}}
    files = {"test.npz": ScoreHistograms(("a",), edges, counts).save, "test.first.png": picture.getvalue()}
    Store(folder / "records").write(content, files)


def _read_record(folder: Path) -> int:
    from retlib.study import Store

    store = Store(folder / "records")
    store.clean("0" * 16)  # as every run does before it looks for its record
    (record,) = store
    version = one_number(record.content["version"])
    found = one_number(record.histograms().counts), one_number(record.error_maps()["first"])
    if found != (version, version % 256):
        raise HalfError(f"record.json of version {version} beside files of {found}")
    return version


# --- tensors ----------------------------------------------------------------------------------------------------------


def _network(version: int):
    from torch import nn

    network = nn.Conv2d(8, 64, 9)
    for parameter in network.parameters():
        nn.init.constant_(parameter, version)
    return network


def _write_checkpoint(folder: Path, version: int) -> None:
    from retlib.training.checkpoints import State, save

    save(folder / "run" / "checkpoint.pt", State(steps=version), {"model": _network(version)})


def _read_checkpoint(folder: Path) -> int:
    import torch

    from retlib.training.checkpoints import load

    network = _network(-1)
    state = load(folder / "run" / "checkpoint.pt", {"model": network}, torch.device("cpu"))
    if one_number(network.weight.detach()) != state.steps:
        raise HalfError("state and weights of two versions")
    return state.steps


def _write_weights(folder: Path, version: int) -> None:
    from unittest import mock

    from retlib.study import runner

    with mock.patch.object(runner, "weights_path", lambda identity: folder / "weights" / f"{identity}.pt"):
        runner._keep_weights("run", _network(version))


def _read_weights(folder: Path) -> int:
    from retlib.predict.weights import read_state

    return one_number(read_state(folder / "weights" / "run.pt")["weight"])


# --- maps, summaries, parts -------------------------------------------------------------------------------------------


@cache
def _maps_predictor():
    """Return what stands for a network: it finds the vessels of the phantom of a version."""
    from retlib.predict.fundus_check import FundusCheck
    from retlib.predict.predictor import Prediction

    def predict(image: np.ndarray, **_: object) -> Prediction:
        vessels = np.full(image.shape[:2], int(image[0, 0, 0]) % 2 == 1)
        fov = np.ones_like(vessels)
        return Prediction(vessels, fov, FundusCheck({}, ()), np.full(fov.shape, image[0, 0, 0] / 50, np.float32), fov)

    return predict


@cache
def _maps(version: int) -> dict[str, bytes]:
    """Decode what a version's maps hold, from files written in peace."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        _write_maps(Path(folder), version)
        return {path.name: path.read_bytes() for path in (Path(folder) / "maps").iterdir()}


def _write_maps(folder: Path, version: int) -> None:
    from retlib.predict.batch import plan, run_jobs

    photograph = make_phantom(3, 292, 282).image.copy()
    photograph[0, 0] = version % 2 + 1
    (folder / "eyes").mkdir(parents=True, exist_ok=True)
    source = folder / "eyes" / f"eye{version % 2}.png"
    if not source.exists():
        Image.fromarray(photograph).save(source)
    jobs, _ = plan([str(source)], str(folder / "maps" / "map.png"), overlay=True, probabilities=True)
    failed, rows = run_jobs(_maps_predictor(), jobs, report=lambda *_: None)
    if failed:
        raise OSError(rows[0]["doubts"])


def _read_maps(folder: Path) -> int:
    """Compare each of the files by itself: they are several, and each is whole."""
    for name in _maps(0):
        if (folder / "maps" / name).read_bytes() not in (_maps(0)[name], _maps(1)[name]):
            raise HalfError(f"{name} is of no version")
    return int((folder / "maps" / "map.png").read_bytes() == _maps(1)["map.png"])


def _write_summary(folder: Path, version: int) -> None:
    from retlib.predict.batch import COLUMNS
    from retlib.predict.command import write_table

    write_table(str(folder / "summary.csv"), COLUMNS, [{"file": f"{version}.png", "width": version}] * 5000)


def _read_summary(folder: Path) -> int:
    import csv

    with (folder / "summary.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if len(rows) != 5000:
        raise HalfError(f"{len(rows)} rows of 5000")
    return one_number([int(row["width"]) for row in rows])


def _write_part(folder: Path, version: int) -> None:
    from retlib.data.pack import pack

    for number in (0, 1):
        source = folder / f"data{number}" / "CHASE_DB1" / "Image_01L.jpg"
        if not source.exists():
            source.parent.mkdir(parents=True)
            source.write_bytes(np.random.default_rng(number).bytes(300_000 + number))
    pack(folder / f"data{version % 2}", folder / "parts")


def _read_part(folder: Path) -> int:
    (part,) = (folder / "parts").glob("*.zip")
    with zipfile.ZipFile(part) as archive:
        if archive.testzip() or json.loads(archive.comment) != {"part": 1, "of": 1}:
            raise HalfError("the part is damaged")
        return len(archive.read("CHASE_DB1/Image_01L.jpg")) - 300_000


def _write_measurements(folder: Path, version: int) -> None:
    from retlib.data.measurements import write_measurements

    write_measurements(folder, {"drive": {"images": {f"image {n}": {"share": version} for n in range(3000)}}})


def _read_measurements(folder: Path) -> int:
    from retlib.data.measurements import read_measurements

    images = read_measurements(folder)["drive"]["images"]
    return one_number([row["share"] for row in images.values()])


WRITERS = [
    Writer("record", _write_record, _read_record),
    Writer("checkpoint", _write_checkpoint, _read_checkpoint),
    Writer("weights of a run", _write_weights, _read_weights),
    Writer("maps of `retlib predict`", _write_maps, _read_maps),
    Writer("its summary", _write_summary, _read_summary),
    Writer("part of `retlib data pack`", _write_part, _read_part),
    Writer("measurements of a data set", _write_measurements, _read_measurements),
]
