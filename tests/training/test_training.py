"""The training loop: it learns, stops, resumes, and says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from retlib.data import load_dataset
from retlib.models import build_model
from retlib.preprocessing import InputSettings, prepare
from retlib.training import TrainingSettings, fit
from retlib.training.loop import build_optimiser, build_schedule

INPUTS = InputSettings(preprocessing=("green", "clahe"), size=(64, 64))
BASE = {"epochs": 3, "batch_size": 2, "loss": {"bce": 1.0, "dice": 1.0}, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def samples():
    return [prepare(s, INPUTS) for s in load_dataset("phantom", "training", count=5, height=64, width=64)]


def model() -> torch.nn.Module:
    return build_model("unet", width=4, depth=2)


def train(samples, checkpoint: Path | None = None, validation: int = 1, **changes):
    settings = TrainingSettings.parse({**BASE, **changes})
    return fit(
        model,
        samples[validation:],
        samples[:validation],
        settings,
        INPUTS,
        seed=0,
        device=torch.device("cpu"),
        checkpoint=checkpoint,
    )


def weights(trained) -> list[torch.Tensor]:
    return list(trained.model.state_dict().values())


def test_it_learns(samples) -> None:
    trained = train(samples, epochs=25, schedule="one_cycle")
    assert trained.history[-1]["train_loss"] < 0.7 * trained.history[0]["train_loss"]
    assert trained.history[-1]["validation_dice"] > 0.3
    assert trained.steps == 25 * 2 and not trained.model.training


def test_averaged_weights_are_the_running_average_of_every_step(samples) -> None:
    """A run of n epochs of one step each passes through the weights that runs of 1, 2, ... epochs end in."""
    decay = 0.7
    ends = [weights(train(samples, epochs=n, batch_size=4)) for n in (1, 2, 3)]
    expected = ends[0]
    for end in ends[1:]:
        expected = [decay * old.double() + (1 - decay) * new.double() for old, new in zip(expected, end, strict=True)]
    averaged = train(samples, epochs=3, batch_size=4, average_weights=decay)
    assert averaged.steps == 3
    for found, value, last in zip(weights(averaged), expected, ends[-1], strict=True):
        if found.is_floating_point():
            torch.testing.assert_close(found.double(), value.double(), rtol=1e-5, atol=1e-6)
            assert found.numel() < 2 or not torch.equal(found, last)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimiser": "sgd", "schedule": "step", "schedule_options": {"every": 1, "factor": 0.5}},
        {"optimiser": "adamw", "weight_decay": 0.1, "schedule": "cosine", "gradient_clip": 1.0},
        {"schedule": "plateau", "schedule_options": {"factor": 0.5, "patience": 1}, "keep": "best"},
        {"loss": {"dice": 1.0, "boundary": 0.01, "cldice": 0.5}, "loss_options": {"cldice_iterations": 3}},
        {"patches": {"size": 32, "per_epoch": 6}, "augmentation": "dihedral", "loss_region": "fov"},
        {"average_weights": 0.8, "keep": "best", "augmentation": "dihedral"},
    ],
)
def test_every_setting_resumes_to_the_same_weights(samples, tmp_path: Path, changes: dict) -> None:
    """Stopped after two of four epochs and picked up again: bit for bit the weights of a run left alone."""
    alone = train(samples, epochs=4, **changes)
    checkpoint = tmp_path / "checkpoint.pt"

    class Stop(Exception):
        pass

    def stop(epoch: int, planned: int, row: dict) -> None:
        if epoch == 2:
            raise Stop

    settings = TrainingSettings.parse({**BASE, "epochs": 4, **changes})
    arguments = (model, samples[1:], samples[:1], settings, INPUTS)
    with pytest.raises(Stop):
        fit(*arguments, seed=0, device=torch.device("cpu"), checkpoint=checkpoint, progress=stop)
    resumed = fit(*arguments, seed=0, device=torch.device("cpu"), checkpoint=checkpoint)
    assert resumed.resumed_from == [2] and resumed.history == alone.history
    assert all(torch.equal(a, b) for a, b in zip(weights(resumed), weights(alone), strict=True))


def test_early_stopping_keeps_the_best_epoch(samples) -> None:
    trained = train(samples, epochs=40, learning_rate=0.5, patience=2, keep="best")
    losses = [row["validation_loss"] for row in trained.history]
    assert len(losses) < 40 and trained.epoch == losses.index(min(losses)) + 1
    assert len(losses) - trained.epoch == 2


def test_the_seed_decides(samples) -> None:
    first, second = train(samples, epochs=1), train(samples, epochs=1)
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))
    settings = TrainingSettings.parse({**BASE, "epochs": 1})
    other = fit(model, samples[1:], samples[:1], settings, INPUTS, seed=1, device=torch.device("cpu"))
    assert not all(torch.equal(a, b) for a, b in zip(weights(first), weights(other), strict=True))


def test_pixels_outside_the_region_do_not_matter(samples) -> None:
    """With the loss inside the FOV, labels outside may say anything: same weights."""
    spoilt = [s._replace(vessels=s.vessels | ~s.fov) for s in samples]
    first, second = train(samples, loss_region="fov"), train(spoilt, loss_region="fov")
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))
    assert first.history == second.history


def test_errors_name_what_is_wrong(samples) -> None:
    with pytest.raises(FloatingPointError, match=r"epoch 1 .*learning_rate"):
        train(samples, learning_rate=1e30, optimiser="sgd", epochs=1)
    with pytest.raises(ValueError, match="validation"):
        train(samples, validation=0, keep="best")
    with pytest.raises(ValueError, match="at least one sample"):
        train(samples, validation=5)
    net = model()
    with pytest.raises(ValueError, match="schedule_options"):
        settings = TrainingSettings.parse({**BASE, "schedule_options": {"every": 1}})
        build_schedule(build_optimiser(net, settings), settings, 10)
