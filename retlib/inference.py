"""Apply a network to a photograph: working sizes, tiles, test-time flips, and back to the native pixel grid."""

from __future__ import annotations

import functools
from typing import Annotated, Literal

import cv2
import numpy as np
import torch
from pydantic import Field, model_validator
from torch import nn

from retlib.data import FundusSample
from retlib.device import autocast, has_bfloat16
from retlib.preprocessing import InputSettings, preprocess, resize, to_input, working_grid
from retlib.settings import Settings

View = Literal["none", "v", "h", "hv"]
VIEWS: dict[View, tuple[int, ...]] = {"none": (), "v": (2,), "h": (3,), "hv": (2, 3)}
"""Test-time flip -> axes of an (N, C, H, W) batch that it reverses."""


class InferenceSettings(Settings):
    """Say how a trained network is applied."""

    flips: bool = False  # test-time augmentation: mean probability over the four flips
    tile: int | None = Field(None, ge=64)  # side of overlapping tiles of the working grid; None: one pass
    overlap: int = Field(64, ge=0)  # pixels that neighbouring tiles share
    # Smallest connected component that stays, in pixels of the native grid: see area_opening. None: all stay.
    least_piece: int | None = Field(None, ge=2)
    views: tuple[View, ...] | None = Field(None, min_length=1)  # some of the four flips, in place of all of them
    # Factors of the working size. A pixel takes its highest probability over them, as in multi-scale vesselness (Frangi
    # et al., MICCAI 1998): a vessel that is too wide or too narrow for the network at one size is found at another.
    scales: tuple[Annotated[float, Field(ge=0.25, le=4)], ...] = Field((1.0,), min_length=1)
    # bfloat16 on the CPU, where it has instructions for it (see has_bfloat16); elsewhere nothing changes.
    amp_cpu: bool = False

    @model_validator(mode="after")
    def _views_once(self) -> InferenceSettings:
        if self.views is not None and self.flips:
            raise ValueError("flips means all four views, and views names some of them: give one of the two")
        if self.views is not None and len(set(self.views)) < len(self.views):
            raise ValueError(f"views: each may be named once, got {', '.join(self.views)}")
        return self

    @property
    def seen(self) -> tuple[View, ...]:
        """List the views whose probabilities are averaged."""
        return self.views or (tuple(VIEWS) if self.flips else ("none",))


# Logit of the pixels outside the window that the network is given: a probability of 2e-9.
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
    """Predict the logits of one photograph on its native grid.

    The photograph is preprocessed and brought to working size as in training, and the network's logits are resized
    bilinearly to the native grid. Nothing is masked. With ``inputs.fov_side`` the network is given the FOV's bounding
    box only, and pixels outside it get `UNSEEN_LOGIT`.

    Args:
        model: in eval mode; (1, C, h, w) -> logits (1, 1, h, w).
        sample: the photograph; its labels are not used, and its FOV only for ``inputs.fov_side``.
        inputs: the settings that the network was trained with.
        settings: views, scales, tiles, precision, and the smallest component that stays.
        device: where the model is.
        amp: bfloat16 autocast on CUDA, as in training.

    Returns:
        float32 (H, W), the photograph's own size.
    """
    settings = settings or InferenceSettings()
    window, size = working_grid(sample.fov, inputs)
    image = preprocess(sample.image, inputs.preprocessing)[window]

    def forward(part: torch.Tensor) -> torch.Tensor:
        with autocast(torch.device(device), amp, settings.amp_cpu and has_bfloat16()):
            return model(part.contiguous(memory_format=torch.channels_last)).float()

    def predict_at(scale: float) -> np.ndarray:
        small = resize(image, tuple(max(1, round(side * scale)) for side in size))
        batch = torch.from_numpy(to_input(small, inputs))[None].to(device)

        def seen(view: View) -> torch.Tensor:
            turned = batch.flip(VIEWS[view])
            logits = forward(turned) if settings.tile is None else _tiled(forward, turned, settings)
            return logits.flip(VIEWS[view])

        if settings.seen == ("none",):
            logits = seen("none")
        else:  # one view at a time: on a CPU a batch of them exceeds the cache and takes longer
            mean = sum(torch.sigmoid(seen(view).double()) for view in settings.seen) / len(settings.seen)
            logits = torch.logit(mean, eps=1e-12).float()
        height, width = image.shape[:2]
        return cv2.resize(logits[0, 0].cpu().numpy(), (width, height), interpolation=cv2.INTER_LINEAR)

    native = np.full(sample.fov.shape, UNSEEN_LOGIT, dtype=np.float32)
    native[window] = functools.reduce(np.maximum, map(predict_at, settings.scales))
    return native if settings.least_piece is None else area_opening(native, settings.least_piece)


def area_opening(logits: np.ndarray, min_size: int) -> np.ndarray:
    """Remove small components at every threshold at once: a gray-scale area opening.

    At any threshold the 8-connected components of fewer than ``min_size`` pixels are gone, and the others unchanged. So
    curves, and the choice of a threshold, use the same map as the operating point.

    Each flat peak that is too small is lowered to its highest neighbour, all of them in one step, until none is left.
    A step enlarges a peak by at least one pixel, so there are fewer than ``min_size`` steps. The values equal those of
    ``skimage.morphology.area_opening`` (connectivity 2), which builds a tree of all levels and takes several times as
    long.

    Args:
        logits: float32 (H, W), finite.
        min_size: pixels, 2 or more, at most H x W.

    Returns:
        float32 (H, W), nowhere above ``logits``.
    """
    # Padded by one row and column of -inf, so that neighbours are found by shifting an index.
    flat = np.pad(logits, 1, constant_values=-np.inf)
    around = np.array([dy * flat.shape[1] + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx])
    values = flat.ravel()  # a view
    while True:
        # Pixels without a higher neighbour. Two of them that touch are equal, so each component of them is level.
        tops = flat == cv2.dilate(flat, np.ones((3, 3), np.uint8))
        tops[[0, -1]] = tops[:, [0, -1]] = False
        _, labels, stats, _ = cv2.connectedComponentsWithStats(tops.view(np.uint8), connectivity=8)
        small = stats[:, cv2.CC_STAT_AREA] < min_size
        small[0] = False  # the background
        pixels = np.flatnonzero(small[labels])
        label = labels.ravel()[pixels]
        boundary = np.full(len(stats), -np.inf, flat.dtype)  # component -> highest pixel around it
        for step in around:
            outside = labels.ravel()[pixels + step] != label
            np.maximum.at(boundary, label[outside], values[(pixels + step)[outside]])
        # A component that is level with a neighbour is part of a slope: that neighbour has a higher one.
        lower = boundary[label] < values[pixels]
        if not lower.any():
            return np.ascontiguousarray(flat[1:-1, 1:-1])
        values[pixels[lower]] = boundary[label[lower]]


def remove_small_components(vessels: np.ndarray, min_size: int) -> np.ndarray:
    """Remove the 8-connected components of fewer than ``min_size`` pixels from a binary map.

    The result equals that of `area_opening` at the map's threshold, in a fraction of the time.

    Args:
        vessels: bool (H, W).
        min_size: pixels, 2 or more, at most H x W.

    Returns:
        bool (H, W).
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(vessels.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= min_size
    large[0] = False  # the background
    return large[labels]


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Apply the logistic function to float logits of any shape: float64 in (0, 1), without overflow."""
    from scipy.special import expit

    return expit(np.asarray(logits, dtype=np.float64))


def _tiled(forward, image: torch.Tensor, settings: InferenceSettings) -> torch.Tensor:
    """Average logits over overlapping tiles; only one tile's activations are in memory at a time."""
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
