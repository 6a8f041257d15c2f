"""Inference: back on the native grid, by tiles, with flips."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, label
from skimage import morphology

from retlib import inference
from retlib.data import FundusSample, load_dataset
from retlib.inference import (
    UNSEEN_LOGIT,
    InferenceSettings,
    area_opening,
    predict_logits,
    probabilities,
    remove_small_components,
)
from retlib.models import build_model
from retlib.preprocessing import InputSettings, prepare

INPUTS = InputSettings(preprocessing=("green",))


@pytest.fixture(scope="module")
def sample():
    return load_dataset("phantom", "test", count=1, height=200, width=180)[0]


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_model("unet", width=4, depth=2).eval()


class Pointwise(torch.nn.Module):
    """Logits that depend on their own pixel alone: what tiles and flips must not change."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 8 * x - 4


def test_logits_come_back_on_the_native_grid(sample, network) -> None:
    for size in (None, (128, 128), (256, 320)):
        inputs = INPUTS.model_copy(update={"size": size})
        logits = predict_logits(network, sample, inputs)
        assert logits.shape == sample.vessels.shape and logits.dtype == np.float32


def test_working_size_moves_nothing(sample) -> None:
    """Through another size and back, the pixel stays where it was (a shift of half a pixel would show)."""
    direct = predict_logits(Pointwise(), sample, INPUTS)
    back = predict_logits(Pointwise(), sample, INPUTS.model_copy(update={"size": (400, 360)}))
    assert np.abs(direct - back).mean() < 0.05
    shifted = np.abs(direct[:, 1:] - back[:, :-1]).mean()
    assert np.abs(direct - back).mean() < 0.4 * shifted


def test_tiles_agree_with_one_pass(sample, network) -> None:
    whole = predict_logits(Pointwise(), sample, INPUTS)
    tiled = predict_logits(Pointwise(), sample, INPUTS, InferenceSettings(tile=64, overlap=16))
    assert np.allclose(whole, tiled, atol=1e-5)
    # A network looks around itself: only the seams may differ, and little.
    whole = predict_logits(network, sample, INPUTS)
    tiled = predict_logits(network, sample, INPUTS, InferenceSettings(tile=96, overlap=48))
    assert np.median(np.abs(whole - tiled)) < 0.05
    with pytest.raises(ValueError, match="overlap"):
        predict_logits(network, sample, INPUTS, InferenceSettings(tile=64, overlap=64))


def test_flips_average_probabilities(sample, network) -> None:
    assert np.allclose(
        predict_logits(Pointwise(), sample, INPUTS),
        predict_logits(Pointwise(), sample, INPUTS, InferenceSettings(flips=True)),
        atol=1e-4,
    )
    flipped = predict_logits(network, sample, INPUTS, InferenceSettings(flips=True))
    image = torch.from_numpy(sample.image[..., 1].astype(np.float32) / 255)[None, None]
    with torch.inference_mode():
        mean = sum(torch.sigmoid(network(image.flip(axes))).flip(axes) for axes in ((), (2,), (3,), (2, 3))) / 4
    assert np.allclose(probabilities(flipped), mean[0, 0].numpy(), atol=1e-5)


def test_probabilities_do_not_overflow() -> None:
    values = probabilities(np.array([-1e4, 0, 1e4], np.float32))
    assert np.array_equal(values, [0, 0.5, 1])


def test_fov_side_scales_the_bounding_box_and_comes_back(sample) -> None:
    rows, columns = np.flatnonzero(sample.fov.any(1)), np.flatnonzero(sample.fov.any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = max(sample.fov[box].shape)
    direct = predict_logits(Pointwise(), sample, INPUTS)

    same = predict_logits(Pointwise(), sample, INPUTS.model_copy(update={"fov_side": side}))
    assert np.array_equal(same[box], direct[box])
    beside = np.ones_like(sample.fov)
    beside[box] = False
    assert (same[beside] == UNSEEN_LOGIT).all()

    larger = predict_logits(Pointwise(), sample, INPUTS.model_copy(update={"fov_side": 2 * side}))
    assert np.abs(larger - direct)[box].mean() < 0.05
    prepared = prepare(sample, INPUTS.model_copy(update={"fov_side": 2 * side}))
    assert max(prepared.vessels.shape) == 2 * side
    assert prepared.image.shape[:2] == prepared.vessels.shape == prepared.fov.shape


def test_fov_side_needs_a_fov_and_no_size(sample, network) -> None:
    dark = FundusSample(sample.name, sample.image, sample.vessels, np.zeros_like(sample.fov), second_observer=None)
    with pytest.raises(ValueError, match="fov_side: the FOV is empty"):
        predict_logits(network, dark, INPUTS.model_copy(update={"fov_side": 128}))
    with pytest.raises(ValueError, match="give one of them"):
        InputSettings(size=(64, 64), fov_side=64)


def test_small_components_are_gone_at_every_threshold_and_nothing_else() -> None:
    logits = np.random.default_rng(0).normal(size=(60, 70)).astype(np.float32)
    logits[10:40, 30:34] += 4
    opened = area_opening(logits, 12)
    for threshold in (-1.5, -0.5, 0.0, 1.0, 2.5):
        components, count = label(logits >= threshold, structure=np.ones((3, 3)))
        large = np.isin(components, [i for i in range(1, count + 1) if (components == i).sum() >= 12])
        assert np.array_equal(opened >= threshold, large)


@pytest.mark.parametrize("min_size", [2, 3, 20, 100])
def test_area_opening_equals_scikit_image(min_size: int) -> None:
    """Bit for bit: noise, smooth maps, plateaus of equal values, saturated ends."""
    rng = np.random.default_rng(min_size)
    for seed in range(12):
        logits = rng.normal(size=rng.integers(20, 90, 2)).astype(np.float32)
        if seed % 2:
            logits = gaussian_filter(logits, rng.uniform(0.5, 2)) * 5
        if seed % 3 == 0:
            logits = np.round(logits, 1)
        if seed % 4 == 0:
            logits = np.clip(logits, -1, 1)
            logits[: len(logits) // 3] = UNSEEN_LOGIT
        before = logits.copy()
        opened = area_opening(logits, min_size)
        np.testing.assert_array_equal(opened, morphology.area_opening(logits, min_size, connectivity=2))
        np.testing.assert_array_equal(logits, before)
        assert opened.dtype == np.float32 and opened.flags.c_contiguous


@pytest.mark.parametrize("min_size", [2, 3, 20, 100])
def test_small_components_of_one_threshold_are_those_of_all(min_size: int) -> None:
    """The same bits, on noise and on smooth maps, with plateaus, at levels that occur and at others."""
    rng = np.random.default_rng(min_size)
    for seed in range(12):
        logits = rng.normal(size=rng.integers(20, 90, 2)).astype(np.float32)
        if seed % 2:
            logits = gaussian_filter(logits, rng.uniform(0.5, 2)) * 5
        if seed % 3 == 0:
            logits = np.round(logits, 1)
        opened = area_opening(logits, min_size)
        for threshold in (*rng.choice(logits.ravel(), 5), -9.0, 9.0, 0.05):
            np.testing.assert_array_equal(remove_small_components(logits >= threshold, min_size), opened >= threshold)


# --- several views -----------------------------------------------------------------------------------------------


def test_views_are_some_of_the_flips(sample, network) -> None:
    def score(**settings) -> np.ndarray:
        return probabilities(predict_logits(network, sample, INPUTS, InferenceSettings(**settings)))

    every = [score(views=(view,)) for view in ("none", "v", "h", "hv")]
    assert not any(np.allclose(every[0], other, atol=1e-3) for other in every[1:])
    np.testing.assert_allclose(score(flips=True), np.mean(every, axis=0), atol=1e-6)
    np.testing.assert_allclose(score(views=("h", "hv")), np.mean(every[2:], axis=0), atol=1e-6)
    np.testing.assert_array_equal(score(views=("none",)), score())
    image = torch.from_numpy(sample.image[..., 1].astype(np.float32) / 255)[None, None]
    with torch.inference_mode():
        mirrored = torch.sigmoid(network(image.flip(3))).flip(3)  # h: left and right change places
    np.testing.assert_allclose(every[2], mirrored[0, 0].numpy(), atol=1e-5)


def test_the_highest_probability_over_the_scales_counts(sample, network) -> None:
    def score(**settings) -> np.ndarray:
        return probabilities(predict_logits(network, sample, INPUTS, InferenceSettings(**settings)))

    smaller, larger, both = score(scales=(0.75,)), score(scales=(1.25,)), score(scales=(0.75, 1.25))
    assert not np.allclose(smaller, larger, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(both, np.maximum(smaller, larger))
    np.testing.assert_array_equal(score(scales=(1.0,)), score())
    # One scale is one working size.
    height, width = sample.fov.shape
    sized = INPUTS.model_copy(update={"size": (round(height * 0.75), round(width * 0.75))})
    np.testing.assert_array_equal(smaller, probabilities(predict_logits(network, sample, sized)))
    # Flips are averaged at each scale; small components go last.
    flipped = [score(scales=(scale,), flips=True) for scale in (0.75, 1.25)]
    np.testing.assert_array_equal(score(scales=(0.75, 1.25), flips=True), np.maximum(*flipped))
    logits = predict_logits(network, sample, INPUTS, InferenceSettings(scales=(0.75, 1.25)))
    opened = predict_logits(network, sample, INPUTS, InferenceSettings(scales=(0.75, 1.25), least_piece=9))
    np.testing.assert_array_equal(opened, area_opening(logits, 9))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scales": []}, "scales"),
        ({"scales": [0.1]}, "scales"),
        ({"flips": True, "views": ["none"]}, "give one of the two"),
        ({"views": ["h", "h"]}, "named once"),
        ({"views": []}, "views"),
        ({"views": ["d"]}, "views"),
    ],
)
def test_views_that_make_no_sense(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InferenceSettings.parse(settings)


# --- numbers of sixteen bits -------------------------------------------------------------------------------------


class Dtype(torch.nn.Module):
    """Remembers the type that its convolution computed in."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 1, 3, padding=1)
        self.seen = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        self.seen = y.dtype
        return y


@pytest.mark.parametrize("able", [True, False])
def test_bfloat16_only_where_it_is_asked_for_and_the_processor_has_it(
    sample, able: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "has_bfloat16", lambda: able)
    model = Dtype().eval()
    plain = predict_logits(model, sample, INPUTS)
    assert model.seen == torch.float32
    found = predict_logits(model, sample, INPUTS, InferenceSettings(amp_cpu=True))
    assert model.seen == (torch.bfloat16 if able else torch.float32)
    assert able or np.array_equal(found, plain)


def test_bfloat16_moves_next_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped network on a phantom: what book/predict.md says of processors that lack bfloat16."""
    from retlib.predict.weights import read_weights, shipped_weights

    model, card = read_weights(shipped_weights())
    phantom = load_dataset("phantom", "test", count=1)[0]

    def score(amp: bool) -> np.ndarray:
        settings = card.inference.model_copy(update={"amp_cpu": amp, "least_piece": None})
        return probabilities(predict_logits(model, phantom, card.inputs, settings))

    plain = score(False)
    monkeypatch.setattr(inference, "has_bfloat16", lambda: True)  # slow where the processor has to be made to
    change = np.abs(score(True) - plain)[phantom.fov]
    assert 0 < change.mean() < 2e-3
    assert (change > 0.02).mean() < 0.01
