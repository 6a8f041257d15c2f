"""From a photograph to logits on its own pixel grid: working size, padding, tiles, test-time flips, and back."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import nn

from retlib.data import FundusSample
from retlib.preprocessing import InputSettings, preprocess, resize, to_input, working_grid
from retlib.training import autocast
from retlib.validation import Settings


class InferenceSettings(Settings):
    """How a trained network is applied."""

    flips: bool = False  # test-time augmentation: mean probability over the four flips
    tile: int | None = Field(None, ge=64)  # side of overlapping tiles of the working grid; None: one pass
    overlap: int = Field(64, ge=0)  # pixels that neighbouring tiles share
    # Smallest piece, in pixels of the native grid, that may stand alone: see remove_specks. None: all stay.
    least_piece: int | None = Field(None, ge=2)


# Where the network does not look, beside the FOV's bounding box, there is no vessel: a probability of 2e-9.
UNSEEN_LOGIT = -20.0


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

    The photograph is preprocessed and brought to working size as in training, and the network's logits are enlarged or
    reduced bilinearly to the native grid. Nothing is masked; with ``inputs.fov_side`` the network sees the FOV's
    bounding box alone, and what lies beside it gets `UNSEEN_LOGIT`.

    Args:
        model: in eval mode; (1, C, h, w) -> logits (1, 1, h, w).
        sample: the photograph; its label is not looked at, and its FOV only for ``inputs.fov_side``.
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
    window, size = working_grid(sample.fov, inputs)
    batch = torch.from_numpy(to_input(resize(image[window], size), inputs))[None].to(device)

    def forward(part: torch.Tensor) -> torch.Tensor:
        with autocast(device, amp):
            return model(part.contiguous(memory_format=torch.channels_last)).float()

    def whole(view: torch.Tensor) -> torch.Tensor:
        return forward(view) if settings.tile is None else _tiled(forward, view, settings)

    if settings.flips:
        views = [(), (2,), (3,), (2, 3)]
        mean = sum(torch.sigmoid(whole(batch.flip(axes)).flip(axes).double()) for axes in views) / len(views)
        logits = torch.logit(mean, eps=1e-12).float()
    else:
        logits = whole(batch)
    seen = logits[0, 0].cpu().numpy()
    native = np.full(sample.image.shape[:2], UNSEEN_LOGIT, dtype=np.float32)
    height, width = native[window].shape
    if seen.shape != (height, width):
        seen = cv2.resize(seen, (width, height), interpolation=cv2.INTER_LINEAR)
    native[window] = seen
    return native if settings.least_piece is None else remove_specks(native, settings.least_piece)


def remove_specks(logits: np.ndarray, least_piece: int) -> np.ndarray:
    """Lower every peak until what stands out at its level has ``least_piece`` pixels: an area opening.

    At every threshold at once, the pieces (8-connected) of fewer pixels are gone and the others are as they were, so
    curves and the choice of a threshold see the same map that the operating point does.

    Args:
        logits: float32 (H, W).
        least_piece: pixels, 2 or more.
    """
    from skimage.morphology import area_opening

    return area_opening(logits, area_threshold=least_piece, connectivity=2)


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
