"""However batches are loaded, they are the same: by a thread of this process or by worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing

import numpy as np
import pytest
import torch
from torch import nn

from retlib.data import load_dataset
from retlib.preprocessing import InputSettings, Prepared, normalise, prepare
from retlib.training import TrainingSettings, batches, fit
from retlib.training.batches import MOST_WORKERS, RawBatch, TrainingDataset, choose_workers, load_batches

CPU = torch.device("cpu")
INPUTS = InputSettings(size=(64, 64))
PATCHES = {"size": 24, "per_epoch": 22}
without_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def prepared(inputs: InputSettings, count: int = 4) -> list[Prepared]:
    return [prepare(s, inputs) for s in load_dataset("phantom", "training", count=count, height=64, width=64)]


def dataset(inputs: InputSettings = INPUTS, distances: str | None = None, **changes) -> TrainingDataset:
    settings = {"epochs": 2, "batch_size": 4, "learning_rate": 0.1, "augmentation": "strong"} | changes
    return TrainingDataset(prepared(inputs), inputs, TrainingSettings.parse(settings), 3, distances)


def loaded(of: TrainingDataset, workers: int, device: torch.device = CPU, start: int = 0) -> list:
    return list(load_batches(of, range(1, 3), device, workers, start))


def assert_equal(first: list, second: list) -> None:
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        for name in one._fields:
            a, b = getattr(one, name), getattr(other, name)
            if a is None or b is None:
                assert a is b, name
                continue
            assert a.dtype == b.dtype == torch.float32 and torch.equal(a.cpu(), b.cpu()), name
            assert a.stride() == b.stride(), name


@pytest.mark.parametrize("normalisation", ["unit", "signed", "standard", "none"])
def test_every_grey_value_is_normalised_as_preprocessing_does(normalisation: str) -> None:
    """All 256 values: what numpy computes of photographs, and what torch computes of batches."""
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    sample = Prepared(ramp, ramp[..., 0] > 100, ramp[..., 0] > 3)
    inputs = InputSettings(preprocessing=("green",), normalisation=normalisation)
    settings = TrainingSettings(epochs=1, batch_size=1, learning_rate=1)
    (batch,) = load_batches(TrainingDataset([sample], inputs, settings, 0), range(1, 2), CPU, 0)
    assert np.array_equal(batch.image[0, 0].numpy(), normalise(ramp, normalisation)[..., 0])


@pytest.mark.parametrize(
    "changes",
    [
        {"patches": PATCHES},
        {"augmentation": "resaspp-unet", "augmented_copies": 1, "batch_size": 3},
        {"patches": PATCHES, "distances": "fov", "inputs": InputSettings(size=(64, 64), normalisation="standard")},
        {"augmentation": "af-unet", "augmented_copies": "each", "distances": "frame"},
    ],
    ids=["patches", "images", "patches with distances", "images with distances"],
)
def test_workers_change_nothing(changes: dict) -> None:
    of = dataset(**changes)
    alone = loaded(of, 0)
    assert len(alone) == 2 * of.steps
    for workers in (1, 2):
        assert_equal(alone, loaded(dataset(**changes), workers))
    assert not torch.equal(alone[0].image, alone[of.steps].image), "two epochs are not alike"


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_can_start_inside_an_epoch(workers: int) -> None:
    of = dataset(patches=PATCHES)
    every = loaded(of, 0)
    for start in (1, of.steps - 1, of.steps):
        assert_equal(loaded(of, workers, start=start), every[start:])


def test_items_come_in_any_order() -> None:
    of = dataset(patches=PATCHES)
    first = of[1, 0]
    of[2, 1]
    again = of[1, 0]
    assert isinstance(first, RawBatch) and first.image.dtype == torch.uint8 and first.distances is None
    assert all(torch.equal(a, b) for a, b in zip(first[:3], again[:3], strict=True))


@without_cuda
@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("normalisation", ["unit", "standard"])
def test_batches_that_a_gpu_normalises_are_the_same_numbers(workers: int, normalisation: str) -> None:
    of = dataset(InputSettings(size=(64, 64), normalisation=normalisation), "fov")
    assert_equal(loaded(of, 0), loaded(of, workers, torch.device("cuda")))


def test_training_ends_in_the_same_weights_with_any_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """With dropout, which draws from torch's generator: loading draws nothing from it."""
    samples = prepared(INPUTS, 5)
    settings = TrainingSettings.parse(
        {
            "epochs": 3,
            "batch_size": 2,
            "learning_rate": 1e-2,
            "augmentation": "dihedral",
            "patches": {"size": 32, "per_epoch": 7},
            "average_weights": 0.8,
        }
    )

    def net() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 1, 1))

    def train(workers: int):
        monkeypatch.setattr("retlib.training.loop.choose_workers", lambda *_: workers)
        return fit(net, samples[1:], samples[:1], settings, INPUTS, seed=0, device=CPU)

    plain = train(0)
    assert plain.samples == 21 and 0 < plain.step_seconds <= plain.seconds
    for workers in (1, 2):
        other = train(workers)
        assert other.acceleration["workers"] == workers
        assert other.history == plain.history
        pairs = zip(other.model.state_dict().items(), plain.model.state_dict().items(), strict=True)
        assert all(name == key and torch.equal(a, b) for (name, a), (key, b) in pairs)


@pytest.mark.parametrize("workers", [0, 2])
def test_torchs_generator_is_left_alone(workers: int) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    loaded(dataset(), workers)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_consumer_that_leaves_stops_the_workers(workers: int) -> None:
    with closing(load_batches(dataset(), range(1, 500), CPU, workers)) as batches:
        next(batches)
        assert len(multiprocessing.active_children()) == workers and len(_threads()) == (not workers)
    assert not multiprocessing.active_children() and not _threads()
    with closing(load_batches(dataset(), range(1, 500), CPU, workers)):
        pass  # never begun


@pytest.mark.parametrize("workers", [0, 2])
def test_a_worker_says_what_is_wrong(workers: int) -> None:
    """A patch that does not fit is found where patches are cut, and reported where they are asked for."""
    of = dataset(patches={"size": 65, "per_epoch": 9})
    with pytest.raises(ValueError, match=r"patches\.size: 65x65 does not fit into an image of 64x64"):
        loaded(of, workers)


KILLED = """
import multiprocessing, os, signal, torch
from tests.training.test_loader import CPU, dataset, load_batches
batches = load_batches(dataset(batch_size=64, patches={"size": 64, "per_epoch": 6400}), range(1, 9), CPU, 2)
next(batches)
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_no_worker_outlives_a_killed_training() -> None:
    """With batches larger than a pipe, so that the workers are stuck in writing them."""
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True) as killed:
        workers = killed.stdout.readline().split()  # to the end it would wait for the workers as well
    assert killed.returncode == -signal.SIGKILL and len(workers) == 2
    deadline = time.monotonic() + 20
    while (alive := [pid for pid in workers if _runs(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in alive:
        os.kill(int(pid), signal.SIGKILL)
    assert not alive


def _runs(pid: str) -> bool:
    """Tell whether a process runs; one that has ended may wait for its parent as a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_number_of_workers_suits_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["fork", "spawn"])
    for cores, expected in ((1, 1), (6, 5), (64, MOST_WORKERS)):
        monkeypatch.setattr(batches, "usable_cores", lambda cores=cores: cores)
        assert (choose_workers(gpu), choose_workers(CPU)) == (expected, 0)
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    assert choose_workers(gpu) == 0


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("retlib-batches")]
