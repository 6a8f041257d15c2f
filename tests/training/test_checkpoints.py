"""Checkpoints inside an epoch: when they are written, what they hold, and that a resumed run is the run left alone."""

from __future__ import annotations

import errno
import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from retlib.data import load_dataset
from retlib.preprocessing import InputSettings, prepare
from retlib.training import Trained, TrainingSettings, checkpoints, fit, loop
from retlib.training.checkpoints import State, load, save
from retlib.training.loop import Scores

CPU = torch.device("cpu")
INPUTS = InputSettings(preprocessing=("green",), size=(32, 32))
STEPS = 6  # of an epoch
BASE = {
    "epochs": 3,
    "batch_size": 2,
    "augmentation": "dihedral",
    "learning_rate": 1e-2,
    "patches": {"size": 16, "per_epoch": 2 * STEPS},
}
without_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class Killed(Exception):
    """What stands for a kill."""


@pytest.fixture(scope="module")
def samples():
    return [prepare(s, INPUTS) for s in load_dataset("phantom", "training", count=5, height=32, width=32)]


def net() -> nn.Module:
    """Statistics of the batches, and dropout, which draws from torch's generator at every step."""
    layers = (nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 1, 1))
    return nn.Sequential(*layers)


def train(samples, checkpoint: Path | None = None, validation: int = 1, **changes) -> Trained:
    settings = TrainingSettings.parse({**BASE, **changes})
    parts = samples[validation:], samples[:validation]
    return fit(net, *parts, settings, INPUTS, seed=0, device=CPU, checkpoint=checkpoint)


def kill_after(monkeypatch: pytest.MonkeyPatch, steps: int, name: str = "_step") -> None:
    """Let the training that follows end when ``name`` is called once more than ``steps`` times."""
    real, calls = getattr(loop, name), itertools.count()

    def call(*arguments):
        if next(calls) == steps:
            monkeypatch.setattr(loop, name, real)
            raise Killed
        return real(*arguments)

    monkeypatch.setattr(loop, name, call)


def assert_same(resumed: Trained, alone: Trained) -> None:
    assert resumed.history == alone.history
    assert (resumed.steps, resumed.samples, resumed.epoch) == (alone.steps, alone.samples, alone.epoch)
    pairs = zip(resumed.model.state_dict().values(), alone.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "one_cycle", "average_weights": 0.8, "keep": "best"},
        {"schedule": "cosine", "optimiser": "adamw", "weight_decay": 0.1, "loss": {"dice": 1.0, "boundary": 0.1}},
        {"schedule": "step", "schedule_options": {"every": 1}, "optimiser": "sgd", "momentum": 0.9},
        {"schedule": "plateau", "gradient_clip": 1.0, "patches": None, "augmented_copies": 2},
    ],
)
def test_a_run_killed_inside_an_epoch_ends_in_the_same_weights(
    samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict
) -> None:
    """Killed twice in the second of three epochs, then left alone: bit for bit the run that never was killed."""
    alone = train(samples, **changes)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    checkpoint = tmp_path / "checkpoint.pt"
    for steps in (STEPS + 3, 2):
        kill_after(monkeypatch, steps)
        with pytest.raises(Killed):
            train(samples, checkpoint, **changes)
    resumed = train(samples, checkpoint, **changes)
    assert resumed.resumed_from == [1.5, 1.8333]
    assert_same(resumed, alone)


@pytest.mark.parametrize("workers", [1, 2])
def test_resuming_with_worker_processes(samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    alone = train(samples)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "choose_workers", lambda *_: workers)
    kill_after(monkeypatch, 2 * STEPS + 1)
    with pytest.raises(Killed):
        train(samples, tmp_path / "checkpoint.pt")
    assert_same(train(samples, tmp_path / "checkpoint.pt"), alone)


def test_a_run_killed_in_its_validation_repeats_no_step(
    samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint after the last step of an epoch is one inside it: the validation is still to come."""
    alone = train(samples)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    kill_after(monkeypatch, 1, "_validate")
    with pytest.raises(Killed):
        train(samples, tmp_path / "checkpoint.pt")
    kill_after(monkeypatch, STEPS, "_step")  # one epoch is left, and no step more
    resumed = train(samples, tmp_path / "checkpoint.pt")
    assert resumed.resumed_from == [2.0]
    assert_same(resumed, alone)


def test_a_checkpoint_is_written_every_five_minutes_and_times_go_on(
    samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock by which a step takes 100 s (50 of CPU) and a checkpoint 1000; the run is killed after one of them."""
    now, written = [0.0], []
    clock = SimpleNamespace(perf_counter=lambda: now[0], process_time=lambda: now[0] / 2)
    for module in (loop, checkpoints):
        monkeypatch.setattr(module, "time", clock)
    real_step, real_save = loop._step, loop.save

    def step(*arguments) -> None:
        now[0] += 100
        real_step(*arguments)

    def slow_save(path: Path, state: State, parts: dict) -> None:
        written.append(state.steps)
        real_save(path, state, parts)
        now[0] += 1000

    monkeypatch.setattr(loop, "_step", step)
    monkeypatch.setattr(loop, "save", slow_save)
    checkpoint = tmp_path / "checkpoint.pt"
    settings = {"validation": 0, "patches": {"size": 16, "per_epoch": 8}}  # four steps an epoch
    kill_after(monkeypatch, 3)
    with pytest.raises(Killed):
        train(samples, checkpoint, **settings)
    assert written == [3] and loop.CHECKPOINT_SECONDS == 300
    resumed = train(samples, checkpoint, **settings)
    assert written == [3, 4, 7, 8, 11, 12]
    assert resumed.resumed_from == [0.75]
    assert (resumed.seconds, resumed.step_seconds, resumed.cpu_seconds) == (1200, 1200, 600)


def test_a_checkpoint_of_an_older_form_is_gone_on_from(
    samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    kill_after(monkeypatch, STEPS + 1)
    with pytest.raises(Killed):
        train(samples, checkpoint)
    content = torch.load(checkpoint, weights_only=True)
    assert content["state"].pop("inside") is None
    torch.save(content, checkpoint)
    resumed = train(samples, checkpoint)
    assert resumed.resumed_from == [1]
    assert_same(resumed, train(samples))


def test_no_checkpoint_holds_a_loss_that_is_not_finite(
    samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(FloatingPointError, match=r"epoch 1 \(step [2-5]\): lower training\.learning_rate"):
        train(samples, checkpoint, learning_rate=1e30, optimiser="sgd")
    assert math.isfinite(torch.load(checkpoint, weights_only=True)["state"]["inside"]["running"]["sums"][0])


def test_an_error_of_the_disk_holds_no_view_of_what_was_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = []

    def full_disk(path: Path, content: memoryview) -> None:
        views.append(content)
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(checkpoints, "write_whole", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path / "checkpoint.pt", State(), {"model": nn.Linear(1, 1)})
    with pytest.raises(ValueError, match="released"):
        views[0].tobytes()


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=without_cuda)])
def test_sums_and_generators_go_on_where_they_were(tmp_path: Path, device: str) -> None:
    place, state = torch.device(device), State(epoch=2)
    loop.seed_torch(0)
    torch.rand(5, device=place)
    running = Scores(place)
    running.sums += torch.tensor([0.1, 2, 3, 4, 5], device=place, dtype=torch.float64)
    running.samples = 7
    state.enter({"epoch": 3, "learning_rate": 0.1}, 30, 120, running, place)
    save(tmp_path / "checkpoint.pt", state, {})
    expected = torch.rand(5, device=place), torch.rand(5)
    loop.seed_torch(1)
    found, sums = load(tmp_path / "checkpoint.pt", {}, place), Scores(place)
    assert found.reenter(sums, place) == ({"epoch": 3, "learning_rate": 0.1}, 30)
    assert found.done == 2.25 and found.resumed_from == [2.25]
    assert torch.equal(torch.rand(5, device=place), expected[0]) and torch.equal(torch.rand(5), expected[1])
    assert torch.equal(sums.sums, running.sums) and sums.samples == 7
