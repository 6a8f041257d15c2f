"""Signed distances that travel with a batch are those that the loss makes itself, and change no number."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from retlib.data import load_dataset
from retlib.losses import build_loss, signed_distances
from retlib.models import build_model
from retlib.preprocessing import InputSettings, Prepared, prepare
from retlib.training import Patches, TrainingSettings, fit
from retlib.training.batches import TrainingDataset, load_batches
from retlib.training.loop import region_mask

CPU = torch.device("cpu")
INPUTS = InputSettings(size=(64, 64))
LOSS = {"dice": 1.0, "boundary": 0.01}
# Whole images and patches; pixels that a pipeline moves, and pixels outside the FOV that only "frame" looks at.
WAYS = {
    "images": {"augmentation": "resaspp-unet", "loss_region": "frame"},
    "images in the FOV": {"augmentation": "strong", "loss_region": "fov"},
    "copies": {"augmentation": "af-unet", "augmented_copies": 1, "loss_region": "fov"},
    "patches": {"augmentation": "strong", "patches": {"size": 24, "per_epoch": 9, "validation": 3}},
    "tiles in the FOV": {
        "augmentation": "dihedral",
        "patches": {"size": 24, "layout": "grid"},
        "loss_region": "fov",
        "loss_options": {"boundary_scale": "diagonal"},
    },
}
every_way = pytest.mark.parametrize("changes", WAYS.values(), ids=WAYS)


@pytest.fixture(scope="module")
def samples() -> list[Prepared]:
    """With vessels at the FOV's edge and beyond, so that it matters which region distances are measured in."""
    found = [prepare(s, INPUTS) for s in load_dataset("phantom", "training", count=4, height=64, width=64)]
    for sample in found:
        sample.vessels[:, 2:4] = True
    return found


def settings(changes: dict, **more) -> TrainingSettings:
    return TrainingSettings.parse(
        {"epochs": 2, "batch_size": 2, "learning_rate": 1e-2, "loss": LOSS, **changes, **more}
    )


def batches(samples: list[Prepared], way: TrainingSettings, distances: str | None) -> list:
    return list(load_batches(TrainingDataset(samples, INPUTS, way, 5, distances), range(1, 2), CPU, 0))


@every_way
def test_a_batchs_distances_are_what_the_loss_makes_itself(samples, changes: dict) -> None:
    way = settings(changes)
    loss_of = build_loss(way.loss, **way.loss_options)
    with_them, without = batches(samples, way, way.loss_region), batches(samples, way, None)
    assert len(with_them) == len(without) > 0
    for batch, plain in zip(with_them, without, strict=True):
        assert plain.distances is None and torch.equal(batch.vessels, plain.vessels)
        mask = region_mask(batch, way.loss_region)
        target = batch.vessels if mask is None else batch.vessels * mask
        assert batch.distances.dtype == torch.float32
        assert torch.equal(batch.distances, torch.from_numpy(signed_distances(target[:, 0].numpy() > 0.5))[:, None])

        logits = torch.randn(batch.vessels.shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
        given = loss_of(logits, batch.vessels, mask, batch.distances)
        own = loss_of(logits, plain.vessels, mask)
        assert torch.equal(given, own)
        assert torch.equal(*(torch.autograd.grad(loss, logits)[0] for loss in (given, own)))


def test_the_region_of_the_distances_matters(samples) -> None:
    way = settings(WAYS["images"])
    fov, frame = (batches(samples, way, region)[0].distances for region in ("fov", "frame"))
    assert not torch.equal(fov, frame)


@every_way
def test_history_is_the_same_with_and_without_them(samples, monkeypatch: pytest.MonkeyPatch, changes: dict) -> None:
    class MakesItsOwn:
        """The loss as it is where nobody makes distances for it."""

        uses_distances = False

        def __init__(self, loss) -> None:
            self.loss = loss

        def __call__(self, logits, target, mask=None, distances=None):
            assert distances is None
            return self.loss(logits, target, mask)

    def train():
        net = lambda: build_model("unet", in_channels=3, width=4, depth=2)  # noqa: E731
        return fit(net, samples[1:], samples[:1], settings(changes), INPUTS, seed=0, device=CPU)

    given = train()
    monkeypatch.setattr("retlib.training.loop.build_loss", lambda *a, **k: MakesItsOwn(build_loss(*a, **k)))
    own = train()
    assert given.history == own.history and len(given.history) == 2
    pairs = zip(given.model.state_dict().values(), own.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(("loss", "made"), [({"bce": 1.0, "dice": 1.0}, False), (LOSS, True)])
def test_only_a_loss_that_uses_them_has_them_made(samples, monkeypatch, loss: dict, made: bool) -> None:
    """And then the loss makes none: not in a training step, and not in validation."""
    asked = []

    def counted(targets):
        asked.append(len(targets))
        return signed_distances(targets)

    def in_the_loss(targets):
        raise AssertionError("the loss made distances itself")

    monkeypatch.setattr("retlib.training.batches.signed_distances", counted)
    way = settings({}, loss=loss, epochs=3, patches=Patches(size=24, per_epoch=3))
    net = lambda: build_model("unet", in_channels=3, width=4, depth=2)  # noqa: E731
    quiet = build_loss(loss)  # building tries the loss out, without distances
    monkeypatch.setattr("retlib.training.loop.build_loss", lambda *a, **k: replace(quiet))
    monkeypatch.setattr("retlib.losses.signed_distances", in_the_loss)
    fit(net, samples[1:], samples[:1], way, INPUTS, seed=0, device=CPU)
    # Once for the image of validation, then 2 + 1 patches in each of three epochs.
    assert asked == ([1] + 3 * [2, 1] if made else [])
