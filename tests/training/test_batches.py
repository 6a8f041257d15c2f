"""Batches are a function of (samples, settings, seed, epoch) alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from retlib.batches import Patches, cut_patch, derive_seed, epoch_batches, epoch_plan, prefetch, steps_per_epoch
from retlib.data import load_dataset
from retlib.preprocessing import InputSettings, prepare

INPUTS = InputSettings(preprocessing=("green",), size=(64, 64))


@pytest.fixture(scope="module")
def samples():
    return [prepare(s, INPUTS) for s in load_dataset("phantom", "training", count=5, height=64, width=64)]


def batches(samples, epoch: int = 1, seed: int = 0, **changes):
    options = {"augmentation": "resaspp-unet", "copies": 1, "patches": None, "batch_size": 4} | changes
    return list(epoch_batches(samples, INPUTS, seed=seed, epoch=epoch, **options))


def test_equal_arguments_give_equal_batches(samples) -> None:
    for first, second in zip(batches(samples), batches(samples), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(batches(samples)[0].image, batches(samples, epoch=2)[0].image)
    assert not torch.equal(batches(samples)[0].image, batches(samples, seed=1)[0].image)


def test_an_epoch_holds_originals_and_copies(samples) -> None:
    plan = epoch_plan(5, 2, None, seed=3, epoch=1)
    assert sorted(plan) == sorted([(i, False) for i in range(5)] + 2 * [(i, True) for i in range(5)])
    assert sorted(epoch_plan(5, 0, None, seed=3, epoch=1)) == [(i, True) for i in range(5)]
    found = batches(samples)
    assert [len(b.image) for b in found] == [4, 4, 2] and len(found) == steps_per_epoch(5, 1, None, 4)
    originals = {s.image.tobytes() for s in samples}
    drawn = [np.round(image.numpy() * 255).astype(np.uint8)[0][..., None] for b in found for image in b.image]
    assert sum(image.tobytes() in originals for image in drawn) >= 5


def test_patches_have_their_centre_in_the_fov(samples) -> None:
    patches = Patches(size=16, per_epoch=20)
    for seed in range(50):
        patch = cut_patch(samples[0], patches, seed)
        assert patch.image.shape == (16, 16, 1) and patch.fov.any()
    anywhere = [cut_patch(samples[0], Patches(size=6, per_epoch=1, inside_fov=False), seed) for seed in range(300)]
    assert any(not patch.fov.any() for patch in anywhere)
    assert steps_per_epoch(5, 0, patches, 8) == 3
    with pytest.raises(ValueError, match=r"patches\.size: 65"):
        cut_patch(samples[0], Patches(size=65, per_epoch=1), 0)


def test_masks_are_zero_and_one(samples) -> None:
    batch = batches(samples)[0]
    assert batch.image.shape == (4, 1, 64, 64) and batch.vessels.shape == batch.fov.shape == (4, 1, 64, 64)
    assert set(batch.vessels.unique().tolist()) <= {0.0, 1.0} and 0 <= batch.image.min() <= batch.image.max() <= 1


def test_an_error_in_the_thread_reaches_the_caller() -> None:
    def broken():
        yield 1
        raise OSError("disk gone")

    iterator = prefetch(broken())
    assert next(iterator) == 1
    with pytest.raises(OSError, match="disk gone"):
        next(iterator)


def test_seeds_differ_and_stay() -> None:
    assert derive_seed("a", 1) == derive_seed("a", 1) != derive_seed("a", 2)
    assert derive_seed("order", 0, 1) == 290653569
