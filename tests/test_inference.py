"""Inference: back on the native grid, by tiles, with flips."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from retlib.data import load_dataset
from retlib.inference import InferenceSettings, predict_logits, probabilities
from retlib.models import build_model
from retlib.preprocessing import InputSettings

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
