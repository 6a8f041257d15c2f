"""Preprocessing steps and augmentation: against OpenCV and scikit-image; the parts of a sample stay together."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2gray

from retlib.augmentation import FOR_RGB, PIPELINES, augment, build_augmentation
from retlib.data import load_dataset
from retlib.preprocessing import (
    InputSettings,
    Prepared,
    clahe,
    crop,
    gray,
    green,
    local_normalisation,
    normalise,
    prepare,
    preprocess,
    resize,
    to_grid,
    to_input,
)


@pytest.fixture(scope="module")
def sample():
    return load_dataset("phantom", "training", count=1, height=120, width=100)[0]


def test_green_and_gray(sample) -> None:
    assert np.array_equal(green(sample.image)[..., 0], sample.image[..., 1])
    # scikit-image weighs by Rec. 709, OpenCV by Rec. 601: near, not equal.
    expected = rgb2gray(sample.image) * 255
    assert np.abs(gray(sample.image)[..., 0] - expected).mean() < 12
    weights = sample.image @ np.array([0.299, 0.587, 0.114])
    assert np.abs(gray(sample.image)[..., 0] - weights).max() <= 1


def test_clahe_is_opencvs_and_raises_local_contrast(sample) -> None:
    channel = green(sample.image)
    result = clahe(channel, 2.0, 8)
    expected = cv2.createCLAHE(2.0, (8, 8)).apply(np.ascontiguousarray(channel[..., 0]))
    assert np.array_equal(result[..., 0], expected)
    assert clahe(sample.image).shape == sample.image.shape
    inside = sample.fov & ~sample.vessels

    def contrast(image: np.ndarray) -> float:
        return (image[inside].mean() - image[sample.vessels].mean()) / image[sample.fov].std()

    assert contrast(result[..., 0].astype(float)) > contrast(channel[..., 0].astype(float))


def test_local_normalisation_is_that_of_scipy(sample) -> None:
    """On a photograph of at most 300 pixels nothing is computed on a smaller copy."""
    values = green(sample.image)[..., 0].astype(float)
    weight = (values > np.percentile(values[::4, ::4], 99) / 10).astype(float)

    def around(part: np.ndarray) -> np.ndarray:
        reach = 0.06 * max(part.shape)
        both = [gaussian_filter(array, reach, mode="constant", truncate=6) for array in (part * weight, weight)]
        return both[0] / np.maximum(both[1], 1e-3)

    mean = around(values)
    deviation = np.sqrt(np.maximum(around(values**2) - mean**2, 1))
    expected = np.clip(128 + 40 * (values - mean) / deviation, 0, 255)
    inside = cv2.erode(sample.fov.astype(np.uint8), np.ones((5, 5))) > 0
    assert np.abs(local_normalisation(green(sample.image))[..., 0] - expected)[inside].max() < 2


@pytest.mark.parametrize("size", [(120, 100), (900, 750)])  # as it is, and by way of a smaller copy
def test_local_normalisation_takes_the_light_away(size: tuple[int, int]) -> None:
    eye = load_dataset("phantom", "training", count=1, height=size[0], width=size[1])[0]
    light = np.linspace(0.35, 0.9, size[1])  # darker on the left
    uneven = np.rint(eye.image * light[:, None]).astype(np.uint8)
    inside = cv2.erode(eye.fov.astype(np.uint8), np.ones((9, 9))) > 0
    before, after = (local_normalisation(green(image))[..., 0][inside].astype(float) for image in (eye.image, uneven))
    assert np.corrcoef(before, after)[0, 1] > 0.95
    assert abs(after.mean() - 128) < 5 and 20 < after.std() < 50
    assert np.abs(after - before).mean() < np.abs(green(uneven).astype(float) - green(eye.image))[inside].mean() / 5


def test_preprocess_composes_by_name(sample) -> None:
    composed = preprocess(sample.image, ["green", {"clahe": {"clip_limit": 3.0, "tile": 4}}])
    assert np.array_equal(composed, clahe(green(sample.image), 3.0, 4))


@pytest.mark.parametrize("steps", [["sharpen"], [{"clahe": {}, "green": {}}], [3]])
def test_unknown_steps_are_named(sample, steps) -> None:
    with pytest.raises(ValueError, match="preprocessing step"):
        preprocess(sample.image, steps)


def test_bad_arguments_are_named(sample) -> None:
    with pytest.raises(ValueError, match="reach"):
        local_normalisation(sample.image, reach=0)
    with pytest.raises(ValueError, match="clip_limit"):
        clahe(sample.image, clip_limit=0)
    with pytest.raises(ValueError, match="green: expected a colour photograph"):
        green(green(sample.image))
    with pytest.raises(ValueError, match="does not fit"):
        crop(sample.image, (500, 10))
    with pytest.raises(ValueError, match="method"):
        normalise(sample.image, "zscore")


def test_normalise(sample) -> None:
    assert normalise(sample.image).dtype == np.float32
    assert np.allclose(normalise(sample.image) * 255, sample.image)
    standard = normalise(sample.image, "standard")
    assert abs(standard.mean()) < 1e-4 and abs(standard.std() - 1) < 1e-3


def test_resize_keeps_labels_binary_and_their_share(sample) -> None:
    small = resize(sample.fov, (60, 50))
    assert small.dtype == bool and small.shape == (60, 50)
    assert small.mean() == pytest.approx(sample.fov.mean(), abs=0.02)
    assert resize(sample.image, (60, 50)).shape == (60, 50, 3)
    assert resize(green(sample.image), (240, 200)).shape == (240, 200, 1)
    assert resize(sample.image, (120, 100)) is sample.image


def test_prepare_moves_all_parts_alike(sample) -> None:
    settings = InputSettings(preprocessing=("green",), size=(64, 48))
    prepared = prepare(sample, settings)
    assert prepared.image.shape == (64, 48, 1) and settings.channels == 1
    assert prepared.vessels.shape == prepared.fov.shape == (64, 48)
    # The photograph's outside is dark, so the FOV must lie where the photograph is bright.
    assert prepared.image[prepared.fov].mean() > 3 * prepared.image[~prepared.fov].mean()
    array = to_input(prepared.image, settings)
    assert array.shape == (1, 64, 48) and array.max() <= 1


def test_the_grid_is_that_of_every_part(sample) -> None:
    cropped = to_grid(sample, InputSettings(crop=(100, 80)))
    assert cropped.image.shape == (100, 80, 3) and cropped.vessels.shape == cropped.fov.shape == (100, 80)
    assert np.array_equal(cropped.vessels, sample.vessels[10:110, 10:90])
    assert to_grid(sample, InputSettings(size=(32, 32))) is sample
    smaller = to_grid(sample, InputSettings(crop=(100, 80), resample=(50, 40)))
    assert smaller.image.shape == (50, 40, 3) and smaller.vessels.shape == smaller.fov.shape == (50, 40)
    assert np.array_equal(smaller.vessels, resize(cropped.vessels, (50, 40)))


def test_a_label_is_interpolated_and_cut_at_one_half(sample) -> None:
    settings = InputSettings(resample=(60, 50), resample_label="linear")
    smaller = to_grid(sample, settings)
    share = torch.nn.functional.interpolate(
        torch.from_numpy(sample.vessels.astype(np.float32))[None, None], size=(60, 50), mode="bilinear"
    )
    expected = share[0, 0].numpy() > 0.5
    edge = np.abs(share[0, 0].numpy() - 0.5) < 1e-5  # the two libraries round differently
    assert smaller.vessels.dtype == bool and np.array_equal(smaller.vessels[~edge], expected[~edge])
    nearest = to_grid(sample, InputSettings(resample=(60, 50)))
    assert np.array_equal(smaller.image, nearest.image) and not np.array_equal(smaller.vessels, nearest.vessels)
    with pytest.raises(ValueError, match="resample_label"):
        InputSettings(resample_label="linear")


def test_normalisations(sample) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    found = {method: normalise(ramp, method) for method in ("unit", "signed", "standard", "none")}
    assert {values.dtype for values in found.values()} == {np.dtype(np.float32)}
    for method, (low, high) in {"unit": (0, 1), "signed": (-1, 1), "none": (0, 255)}.items():
        assert (found[method].min(), found[method].max()) == (low, high)
    assert abs(found["standard"].mean()) < 1e-6 and found["standard"].std() == pytest.approx(1, abs=1e-4)
    with pytest.raises(ValueError, match="'unit', 'signed', 'standard' or 'none', got 'z'"):
        normalise(ramp, "z")


@pytest.mark.parametrize("name", [name for name in sorted(PIPELINES) if name != "none"])
def test_augmentation_is_seeded_and_keeps_the_parts_together(sample, name: str) -> None:
    """The label is painted into the photograph: after augmentation it must still be found under the label."""
    channels = 3 if name in FOR_RGB else 1
    painted = np.repeat((sample.vessels * 255).astype(np.uint8)[..., None], channels, axis=-1)
    square = Prepared(painted[:100], sample.vessels[:100], sample.fov[:100])
    pipeline = build_augmentation(name)
    copies = [augment(pipeline, square, seed) for seed in range(12)]
    least = 3 if name == "cameras" else 4  # blur spreads a vessel of one pixel
    for copy in copies:
        assert copy.vessels.dtype == bool and copy.fov.dtype == bool
        if copy.vessels.any() and not copy.vessels.all():
            assert copy.image[copy.vessels].mean() > least * copy.image[~copy.vessels].mean()
    again = augment(pipeline, square, 5)
    assert all(np.array_equal(a, b) for a, b in zip(copies[5], again, strict=True))
    assert len({copy.image.tobytes() for copy in copies}) > 3


def test_none_changes_nothing(sample) -> None:
    prepared = prepare(sample, InputSettings())
    copy = augment(build_augmentation("none"), prepared, 3)
    assert all(np.array_equal(a, b) for a, b in zip(copy, prepared, strict=True))


def test_unknown_augmentation_lists_the_known() -> None:
    with pytest.raises(ValueError, match="resaspp-unet"):
        build_augmentation("flips")
