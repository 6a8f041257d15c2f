"""However batches are made, they are the same: threads, processes, or gathered on the device."""

from __future__ import annotations

import multiprocessing
import threading
import time
from contextlib import closing

import numpy as np
import pytest
import torch

from retlib.augmentation import augment, build_augmentation
from retlib.batches import Patches, Resident, Source, Supply, choose_supply, ordered, supply_batches
from retlib.batches import supply as supplying
from retlib.batches.resident import draw_symmetry, fits
from retlib.batches.supply import cores
from retlib.data import load_dataset
from retlib.models import build_model
from retlib.preprocessing import InputSettings, Prepared, prepare
from retlib.training import TrainingSettings, fit

CPU = torch.device("cpu")
ONE_THREAD = Supply(False, "threads", 1)
without_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=without_cuda)]


def prepared(inputs: InputSettings, count: int = 4, width: int = 64) -> list[Prepared]:
    return [prepare(s, inputs) for s in load_dataset("phantom", "training", count=count, height=64, width=width)]


@pytest.fixture(scope="module")
def unequal() -> list[Prepared]:
    """Samples of three sizes, in colour."""
    return [s for width in (64, 72, 96) for s in prepared(InputSettings(), 2, width)]


def source(samples, inputs: InputSettings | None = None, **changes) -> Source:
    options = {"augmentation": "dihedral", "copies": 0, "patches": None, "batch_size": 4, "seed": 3} | changes
    return Source(samples, inputs or InputSettings(), **options)


def made(of: Source, supply: Supply, device: torch.device = CPU, epochs: range = range(1, 3)) -> list:
    return list(supply_batches(of, epochs, device, supply))


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


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("augmentation", ["dihedral", "none"])
@pytest.mark.parametrize(
    "patches",
    [
        Patches(size=24, per_epoch=22),
        Patches(size=15, per_epoch=22, inside_fov=False),
        Patches(size=24, layout="grid"),
    ],
    ids=["random", "anywhere", "grid"],
)
def test_resident_patches_are_those_of_the_worker(unequal, patches: Patches, augmentation: str, device: str) -> None:
    of = source(unequal, patches=patches, augmentation=augmentation)
    assert_equal(made(of, ONE_THREAD), made(of, Supply(True, "threads", 1), torch.device(device)))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("normalisation", ["unit", "signed", "none"])
@pytest.mark.parametrize("steps", [("rgb",), ("green", "clahe")])
def test_resident_images_are_those_of_the_worker(normalisation: str, steps: tuple[str, ...], device: str) -> None:
    inputs = InputSettings(preprocessing=steps, size=(64, 64), normalisation=normalisation)
    samples = prepared(inputs)
    for copies in (0, 2):
        of = source(samples, inputs, copies=copies, batch_size=3)
        assert_equal(made(of, ONE_THREAD), made(of, Supply(True, "threads", 1), torch.device(device)))


def test_every_grey_value_is_the_same_number_on_either_side() -> None:
    """All 256 values: what numpy divides on the CPU, and what torch divides of pixels as they are stored."""
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    sample = Prepared(ramp, ramp[..., 0] > 100, ramp[..., 0] > 3)
    for normalisation in ("unit", "signed", "none"):
        inputs = InputSettings(preprocessing=("green",), normalisation=normalisation)
        of = source([sample], inputs, augmentation="none")
        assert_equal(made(of, ONE_THREAD), made(of, Supply(True, "threads", 1)))


def test_symmetries_are_albumentations_own() -> None:
    pipeline = build_augmentation("dihedral")
    image = np.arange(9, dtype=np.uint8).reshape(3, 3, 1)
    sample = Prepared(image, image[..., 0] > 3, image[..., 0] > 1)
    table = Resident(source([sample]), CPU)
    seen = set()
    for seed in range(200):
        symmetry = draw_symmetry(seed)
        seen.add(symmetry)
        expected = augment(pipeline, sample, seed)
        found = table.gather(_place(symmetry, 3))
        assert np.array_equal(found.image[0].numpy(), expected.image), symmetry
        assert np.array_equal(found.vessels[0].numpy().astype(bool), expected.vessels)
    assert seen == set(range(8))


def _place(symmetry: int, side: int) -> torch.Tensor:
    from retlib.batches.resident import SYMMETRIES

    below, right, transposed = SYMMETRIES[symmetry]
    steps = [-side if below else side, -1 if right else 1]
    start = (side - 1) * (side * below + right)
    return torch.tensor([[start, *(steps[::-1] if transposed else steps)]])


@pytest.mark.parametrize(
    "changes",
    [
        {"augmentation": "strong", "patches": Patches(size=24, per_epoch=22)},
        {"augmentation": "resaspp-unet", "copies": 1, "batch_size": 3},
        {"augmentation": "strong", "patches": Patches(size=24, per_epoch=22), "distances": "fov"},
        {"augmentation": "resaspp-unet", "distances": "frame"},
    ],
    ids=["patches", "images", "patches with distances", "images with distances"],
)
@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_workers_change_nothing(kind: str, changes: dict) -> None:
    inputs = InputSettings(size=(64, 64))
    of = source(prepared(inputs), inputs, **changes)
    alone = made(of, ONE_THREAD)
    several = made(source(of.samples, inputs, **changes), Supply(False, kind, 3))
    assert_equal(alone, several)
    assert not torch.equal(alone[0].image, alone[of.steps].image), "two epochs are not alike"


@pytest.mark.parametrize("supply", [ONE_THREAD, Supply(False, "processes", 2), Supply(True, "threads", 1)])
def test_supplying_can_start_inside_an_epoch(unequal, supply: Supply) -> None:
    of = source(unequal, patches=Patches(size=24, per_epoch=22))
    every = made(of, ONE_THREAD)
    for start in (1, of.steps - 1, of.steps):
        assert_equal(list(supply_batches(of, range(1, 3), CPU, supply, start)), every[start:])


@without_cuda
@pytest.mark.parametrize("kind", ["threads", "processes"])
@pytest.mark.parametrize("normalisation", ["unit", "standard"])
def test_pixels_that_a_gpu_converts_are_the_same_numbers(kind: str, normalisation: str) -> None:
    inputs = InputSettings(size=(64, 64), normalisation=normalisation)
    of = source(prepared(inputs), inputs, augmentation="strong", distances="fov")
    assert_equal(made(of, ONE_THREAD), made(of, Supply(False, kind, 3), torch.device("cuda")))


def test_training_ends_in_the_same_weights_whatever_supplies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = InputSettings(preprocessing=("green",), size=(64, 64))
    samples = prepared(inputs, 5)
    settings = TrainingSettings(
        epochs=3,
        batch_size=2,
        learning_rate=1e-2,
        augmentation="dihedral",
        patches=Patches(size=32, per_epoch=7),
        average_weights=0.8,
    )

    def train():
        net = lambda: build_model("unet", width=4, depth=2)  # noqa: E731
        return fit(net, samples[1:], samples[:1], settings, inputs, seed=0, device=CPU)

    plain = train()
    assert plain.samples == 21 and 0 < plain.step_seconds <= plain.seconds
    assert plain.acceleration["resident"] is False
    for supply in (Supply(True, "threads", 1), Supply(False, "threads", 3), Supply(False, "processes", 2)):
        monkeypatch.setattr("retlib.training.loop.choose_supply", lambda *_, chosen=supply: chosen)
        other = train()
        assert other.acceleration["resident"] == supply.resident and other.acceleration["workers"] == supply.workers
        assert other.history == plain.history
        pairs = zip(other.model.state_dict().items(), plain.model.state_dict().items(), strict=True)
        assert all(name == key and torch.equal(a, b) for (name, a), (key, b) in pairs)


def test_results_come_in_order_and_errors_in_their_turn() -> None:
    def work(task: int) -> int:
        time.sleep(0.002 * (task % 3))
        if task == 7:
            raise OSError("disk gone")
        return task

    results = ordered(work, range(20), workers=4)
    assert [next(results) for _ in range(7)] == list(range(7))
    with pytest.raises(OSError, match="disk gone"):
        next(results)
    assert not _threads()


def test_a_consumer_that_leaves_stops_the_workers() -> None:
    begun = []
    with closing(ordered(begun.append, range(1000), workers=2)) as results:
        next(results)
    assert len(begun) < 20 and not _threads()
    with closing(ordered(begun.append, range(1000), workers=2)):
        pass  # never begun

    inputs = InputSettings(size=(64, 64))
    of = source(prepared(inputs), inputs, augmentation="strong")
    with closing(supply_batches(of, range(1, 500), CPU, Supply(False, "processes", 2))) as batches:
        next(batches)
        assert len(multiprocessing.active_children()) == 2
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_worker_says_what_is_wrong(kind: str) -> None:
    """A patch that does not fit is found where patches are cut, and reported where they are asked for."""
    inputs = InputSettings(size=(64, 64))
    of = source(prepared(inputs), inputs, patches=Patches(size=65, per_epoch=9))
    with pytest.raises(ValueError, match=r"patches\.size: 65x65 does not fit into an image of 64x64"):
        made(of, Supply(False, kind, 2))


def test_the_supply_suits_the_device(unequal, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, patches = torch.device("cuda"), Patches(size=24, per_epoch=9)
    monkeypatch.setattr(supplying, "cores", lambda: 6)
    monkeypatch.setattr(supplying, "fits", lambda *_: True)
    assert choose_supply(source(unequal, patches=patches), CPU) == ONE_THREAD
    assert choose_supply(source(unequal, patches=patches), gpu).resident
    kind = "processes" if supplying._can_fork() else "threads"
    heavy = Supply(False, kind, 5)
    standard = InputSettings(normalisation="standard")
    assert choose_supply(source(unequal, patches=patches, augmentation="colour"), gpu) == heavy
    assert choose_supply(source(unequal, standard, patches=patches), gpu) == heavy
    assert choose_supply(source(unequal), gpu) == heavy, "whole images of several sizes"
    assert choose_supply(source(unequal[-1:]), gpu) == heavy, "a quarter turn changes the shape of this one"
    assert choose_supply(source(unequal[-1:], augmentation="none"), gpu).resident
    assert choose_supply(source(unequal, patches=patches, distances="fov"), gpu) == heavy
    with pytest.raises(ValueError, match="a resident source has no signed distances"):
        Resident(source(unequal, patches=patches, distances="fov"), CPU)
    monkeypatch.setattr(supplying, "fits", lambda *_: False)
    assert choose_supply(source(unequal, patches=patches), gpu) == heavy
    monkeypatch.setattr(supplying, "cores", lambda: 64)
    assert choose_supply(source(unequal, patches=patches), gpu).workers == 12
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    assert choose_supply(source(unequal, patches=patches), gpu).kind == "threads"


def test_residents_take_their_share_and_no_more(unequal, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = sum(5 * s.vessels.size for s in unequal)
    for free, expected in ((4 * needed, True), (4 * needed - 1, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10 * free))
        assert fits(unequal, torch.device("cuda")) is expected
    assert Resident(source(unequal, patches=Patches(size=8, per_epoch=1)), CPU).pixels.nbytes == needed
    assert cores() >= 1


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("retlib-batches")]
