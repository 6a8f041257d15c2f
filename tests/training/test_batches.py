"""Batches are a function of (samples, settings, seed, epoch) alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from retlib.data import load_dataset
from retlib.preprocessing import InputSettings, prepare, to_input
from retlib.training import Patches, TrainingSettings, cut_patch, random_corner
from retlib.training.batches import TrainingDataset, load_batches, stack_samples, to_batch
from retlib.training.sampling import count_by_rows, derive_seed, grid_corners, plan_epoch, validation_patches

INPUTS = InputSettings(preprocessing=("green",), size=(64, 64))


@pytest.fixture(scope="module")
def samples():
    return [prepare(s, INPUTS) for s in load_dataset("phantom", "training", count=5, height=64, width=64)]


def settings(patches: Patches | None = None, copies: int | str = 0, batch_size: int = 4, **changes) -> TrainingSettings:
    options = {"epochs": 1, "learning_rate": 1, "augmentation": "resaspp-unet"} | changes
    return TrainingSettings(patches=patches, augmented_copies=copies, batch_size=batch_size, **options)


def batches(samples, epoch: int = 1, seed: int = 0, copies: int | str = 1, **changes):
    dataset = TrainingDataset(samples, INPUTS, settings(copies=copies, **changes), seed)
    return list(load_batches(dataset, range(epoch, epoch + 1), torch.device("cpu"), 0))


def steps(samples, of: TrainingSettings) -> int:
    return TrainingDataset(samples, INPUTS, of, 0).steps


def random_patch(sample, patches: Patches, seed: int):
    return cut_patch(sample, patches, random_corner(sample, patches, seed))


def test_equal_arguments_give_equal_batches(samples) -> None:
    for first, second in zip(batches(samples), batches(samples), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first[:3], second[:3], strict=True))
    assert not torch.equal(batches(samples)[0].image, batches(samples, epoch=2)[0].image)
    assert not torch.equal(batches(samples)[0].image, batches(samples, seed=1)[0].image)


def test_an_epoch_holds_originals_and_copies(samples) -> None:
    plan = [draw[:2] for draw in plan_epoch(samples, settings(copies=2), seed=3, epoch=1)]
    assert sorted(plan) == sorted([(i, False) for i in range(5)] + 2 * [(i, True) for i in range(5)])
    in_place = [draw[:2] for draw in plan_epoch(samples, settings(), seed=3, epoch=1)]
    assert sorted(in_place) == [(i, True) for i in range(5)]
    found = batches(samples)
    assert [len(b.image) for b in found] == [4, 4, 2] and len(found) == steps(samples, settings(copies=1))
    originals = {s.image.tobytes() for s in samples}
    drawn = [np.round(image.numpy() * 255).astype(np.uint8)[0][..., None] for b in found for image in b.image]
    assert sum(image.tobytes() in originals for image in drawn) >= 5


def test_one_copy_a_transform(samples) -> None:
    from retlib.augmentation import augment, build_augmentation, list_transforms

    assert len(list_transforms("af-unet")) == 4
    plan = plan_epoch(samples, settings(copies="each", augmentation="af-unet"), seed=3, epoch=1)
    expected = [(i, t) for i in range(5) for t in (None, 0, 1, 2, 3)]
    assert sorted([(d.sample, d.transform) for d in plan], key=str) == sorted(expected, key=str)
    assert all(draw.augmented == (draw.transform is not None) for draw in plan)
    # The first two transforms leave no chance: a horizontal and a vertical flip.
    for transform, axis in ((0, 1), (1, 0)):
        copy = augment(build_augmentation("af-unet", transform), samples[0], seed=7)
        assert np.array_equal(copy.image, np.flip(samples[0].image, axis))
        assert np.array_equal(copy.vessels, np.flip(samples[0].vessels, axis))
    found = batches(samples, augmentation="af-unet", copies="each", batch_size=5)
    assert sum(len(batch.image) for batch in found) == 25 and len(found) == 5
    originals = [s.image.tobytes() for s in samples]
    drawn = [np.round(image.numpy() * 255).astype(np.uint8)[0][..., None] for b in found for image in b.image]
    assert sum(image.tobytes() in originals for image in drawn) == 5  # every copy differs from its original


def test_patches_may_be_oblong(samples) -> None:
    patches = Patches(size=(16, 40), per_epoch=20)
    assert Patches.model_validate({"size": [16, 40], "per_epoch": 20}) == patches and patches.sides == (16, 40)
    for seed in range(50):
        patch = random_patch(samples[0], patches, seed)
        assert patch.image.shape == (16, 40, 1) and patch.vessels.shape == (16, 40)
    corners = grid_corners(samples[0], Patches(size=(16, 40), layout="grid", inside_fov=False))
    assert corners == [(top, left) for top in (0, 16, 32, 48) for left in (0, 24)]
    with pytest.raises(ValueError, match=r"patches\.size: 16x65 does not fit into an image of 64x64"):
        random_patch(samples[0], Patches(size=(16, 65), per_epoch=1), 0)


def test_patches_have_their_centre_in_the_fov(samples) -> None:
    patches = Patches(size=16, per_epoch=20)
    for seed in range(50):
        patch = random_patch(samples[0], patches, seed)
        assert patch.image.shape == (16, 16, 1) and patch.fov.any()
    anywhere = [random_patch(samples[0], Patches(size=6, per_epoch=1, inside_fov=False), seed) for seed in range(300)]
    assert any(not patch.fov.any() for patch in anywhere)
    assert steps(samples, settings(patches, batch_size=8)) == 3
    with pytest.raises(ValueError, match=r"patches\.size: 65"):
        random_patch(samples[0], Patches(size=65, per_epoch=1), 0)


def test_a_grid_visits_every_tile_once_an_epoch(samples) -> None:
    everywhere = Patches(size=24, layout="grid", inside_fov=False)
    corners = grid_corners(samples[0], everywhere)
    assert corners == [(top, left) for top in (0, 24, 40) for left in (0, 24, 40)]
    covered = np.zeros((64, 64), int)
    for top, left in corners:
        covered[top : top + 24, left : left + 24] += 1
    assert covered.min() == 1
    plan = plan_epoch(samples, settings(everywhere), seed=1, epoch=1)
    assert len(plan) == len(set(plan)) == 45 == steps(samples, settings(everywhere, batch_size=1))
    assert plan != plan_epoch(samples, settings(everywhere), seed=1, epoch=2)
    some = plan_epoch(samples, settings(everywhere.model_copy(update={"per_epoch": 7})), seed=1, epoch=1)
    assert some == plan[:7]
    inside = grid_corners(samples[0], Patches(size=8, layout="grid"))
    assert len(inside) < 64 and all(samples[0].fov[y + 4, x + 4] for y, x in inside)
    found = batches(samples, patches=everywhere, augmentation="none")
    assert sum(len(b.image) for b in found) == 45
    index, _, (top, left), _ = plan_of_first = plan_epoch(samples, settings(everywhere), seed=0, epoch=1)[0]
    assert plan_of_first.augmented
    window = samples[index].vessels[top : top + 24, left : left + 24]
    assert np.array_equal(found[0].vessels[0, 0].numpy().astype(bool), window)


@pytest.mark.parametrize(
    ("patches", "visited"),
    [
        (None, 10),
        (Patches(size=16, per_epoch=13), 13),
        (Patches(size=24, layout="grid", inside_fov=False), 45),
        (Patches(size=24, layout="grid", per_epoch=7), 7),
        (Patches(size=24, layout="grid", inside_fov=False, per_epoch=1000), 45),
    ],
    ids=["images and copies", "random", "all tiles", "some tiles", "fewer tiles than asked for"],
)
def test_every_entry_of_an_epoch_is_in_one_batch(samples, patches: Patches | None, visited: int) -> None:
    for batch_size in (1, 4):
        found = batches(samples, patches=patches, batch_size=batch_size, augmentation="none")
        assert sum(len(batch.image) for batch in found) == visited
        assert len(found) == -(-visited // batch_size) == steps(samples, settings(patches, 1, batch_size))


def test_validation_patches_stay_the_same_and_are_not_the_training_ones(samples) -> None:
    patches = Patches(size=16, per_epoch=5, validation=9)
    first, second = (validation_patches(samples, settings(patches), seed=4) for _ in range(2))
    assert len(first) == 9 and all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))
    other = validation_patches(samples, settings(patches), seed=5)
    assert not all(np.array_equal(a.image, b.image) for a, b in zip(first, other, strict=True))
    tiles = validation_patches(
        samples, settings(Patches(size=32, layout="grid", inside_fov=False, validation=20)), seed=0
    )
    assert len({tile.image.tobytes() for tile in tiles}) == 20


def test_random_patches_need_a_number() -> None:
    with pytest.raises(ValueError, match="per_epoch: expected a number of patches"):
        Patches(size=16)


def test_masks_are_zero_and_one(samples) -> None:
    batch = batches(samples)[0]
    assert batch.image.shape == (4, 1, 64, 64) and batch.vessels.shape == batch.fov.shape == (4, 1, 64, 64)
    assert set(batch.vessels.unique().tolist()) <= {0.0, 1.0} and 0 <= batch.image.min() <= batch.image.max() <= 1


def test_seeds_differ_and_stay() -> None:
    assert derive_seed("a", 1) == derive_seed("a", 1) != derive_seed("a", 2)
    assert derive_seed("order", 0, 1) == 290653569


def test_corners_are_those_of_a_list_of_all_pixels(samples) -> None:
    """Found by rows, the k-th pixel of the FOV is the k-th of all its pixels."""
    patches = Patches(size=16, per_epoch=1)
    for sample in samples[:2]:
        pixels, by_rows = np.flatnonzero(sample.fov), count_by_rows(sample.fov)
        assert by_rows[-1] == pixels.size
        for seed in range(200):
            y, x = divmod(int(pixels[np.random.default_rng(seed).integers(pixels.size)]), 64)
            expected = tuple(min(max(place - 8, 0), 48) for place in (y, x))
            assert random_corner(sample, patches, seed) == random_corner(sample, patches, seed, by_rows) == expected
    empty = samples[0]._replace(fov=np.zeros((64, 64), bool))
    with pytest.raises(ValueError, match="empty FOV"):
        random_corner(empty, patches, 0)


@pytest.mark.parametrize("normalisation", ["unit", "signed", "standard", "none"])
@pytest.mark.parametrize("steps", [("rgb",), ("green",)])
def test_a_stack_is_its_samples_as_the_network_sees_them(normalisation: str, steps: tuple[str, ...]) -> None:
    inputs = InputSettings(preprocessing=steps, size=(64, 48), normalisation=normalisation)
    samples = [prepare(s, inputs) for s in load_dataset("phantom", "training", count=2, height=64, width=64)]
    batch = to_batch(stack_samples(samples, inputs), inputs)
    for place, sample in enumerate(samples):
        assert np.array_equal(batch.image[place].numpy(), to_input(sample.image, inputs))
        assert np.array_equal(batch.vessels[place, 0].numpy(), sample.vessels.astype(np.float32))
        assert np.array_equal(batch.fov[place, 0].numpy(), sample.fov.astype(np.float32))
    # The very strides that torch gives such a batch in the layout the networks want: a kernel may look at them.
    planes = torch.from_numpy(np.stack([to_input(s.image, inputs) for s in samples]))
    assert batch.image.stride() == planes.contiguous(memory_format=torch.channels_last).stride()
