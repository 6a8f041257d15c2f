"""From a photograph to logits on its own pixel grid: working size, padding, tiles, test-time flips, and back."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import nn

from retlib.data import FundusSample
from retlib.preprocessing import InputSettings, preprocess, resize, to_input
from retlib.training import autocast
from retlib.validation import Settings


class InferenceSettings(Settings):
    """How a trained network is applied."""

    flips: bool = False  # test-time augmentation: mean probability over the four flips
    tile: int | None = Field(None, ge=64)  # side of overlapping tiles of the working grid; None: one pass
    overlap: int = Field(64, ge=0)  # pixels that neighbouring tiles share


@torch.inference_mode()
def predict_logits(
    model: nn.Module,
    sample: FundusSample,
    inputs: InputSettings,
    settings: InferenceSettings | None = None,
    *,
    device: torch.device | str = "cpu",
    amp: bool = True,
) -> np.ndarray:
    """Logits of one photograph on its native grid.

    The photograph is preprocessed and resized as in training, the network's logits are enlarged or reduced
    bilinearly to the native grid, and nothing is cropped or masked.

    Args:
        model: in eval mode; (1, C, h, w) -> logits (1, 1, h, w).
        sample: the photograph; label and FOV are not looked at.
        inputs: the settings that the network was trained with.
        settings: flips and tiles.
        device: where the model is.
        amp: bfloat16 autocast on CUDA, as in training.

    Returns:
        float32 (H, W), the photograph's own size.
    """
    settings = settings or InferenceSettings()
    device = torch.device(device)
    image = preprocess(sample.image, inputs.preprocessing)
    if inputs.size is not None:
        image = resize(image, inputs.size)
    batch = torch.from_numpy(to_input(image, inputs))[None].to(device)

    def forward(window: torch.Tensor) -> torch.Tensor:
        with autocast(device, amp):
            return model(window.contiguous(memory_format=torch.channels_last)).float()

    def whole(window: torch.Tensor) -> torch.Tensor:
        return forward(window) if settings.tile is None else _tiled(forward, window, settings)

    if settings.flips:
        views = [(), (2,), (3,), (2, 3)]
        mean = sum(torch.sigmoid(whole(batch.flip(axes)).flip(axes).double()) for axes in views) / len(views)
        logits = torch.logit(mean, eps=1e-12).float()
    else:
        logits = whole(batch)
    height, width = sample.image.shape[:2]
    native = logits[0, 0].cpu().numpy()
    if native.shape != (height, width):
        native = cv2.resize(native, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(native, dtype=np.float32)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Logistic function of float logits, any shape; float64 in (0, 1), without overflow."""
    from scipy.special import expit

    return expit(np.asarray(logits, dtype=np.float64))


def _tiled(forward, image: torch.Tensor, settings: InferenceSettings) -> torch.Tensor:
    """Mean logits over overlapping tiles; only one tile's activations are in memory at a time."""
    height, width = image.shape[-2:]
    total = torch.zeros(1, 1, height, width)
    count = torch.zeros(1, 1, height, width)
    for top in _starts(height, settings):
        for left in _starts(width, settings):
            window = np.s_[..., top : top + settings.tile, left : left + settings.tile]
            total[window] += forward(image[window]).cpu()
            count[window] += 1
    return total / count


def _starts(length: int, settings: InferenceSettings) -> list[int]:
    if settings.overlap >= settings.tile:
        raise ValueError(f"inference.overlap: expected less than the tile ({settings.tile}), got {settings.overlap}")
    last = max(length - settings.tile, 0)
    return sorted({*range(0, last, settings.tile - settings.overlap), last})
