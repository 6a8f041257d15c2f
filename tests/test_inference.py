"""Inference: back on the native grid, by tiles, with flips."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import label

from retlib.data import FundusSample, load_dataset
from retlib.inference import UNSEEN_LOGIT, InferenceSettings, predict_logits, probabilities, remove_specks
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


def test_specks_are_gone_at_every_threshold_and_nothing_else() -> None:
    logits = np.random.default_rng(0).normal(size=(60, 70)).astype(np.float32)
    logits[10:40, 30:34] += 4
    opened = remove_specks(logits, 12)
    for threshold in (-1.5, -0.5, 0.0, 1.0, 2.5):
        pieces, count = label(logits >= threshold, structure=np.ones((3, 3)))
        large = np.isin(pieces, [i for i in range(1, count + 1) if (pieces == i).sum() >= 12])
        assert np.array_equal(opened >= threshold, large)
