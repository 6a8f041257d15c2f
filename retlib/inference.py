"""Apply a network to a photograph: working size, tiles, test-time flips, and back to the native pixel grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

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


@dataclass(frozen=True, eq=False)
class Member:
    """Hold one of the networks whose mean is taken.

    Attributes:
        model: in eval mode; (N, C, h, w) -> logits (N, 1, h, w).
        inputs: the settings that it was trained with.
        settings: views, tiles and precision; ``least_piece`` is ignored, since it applies to the mean.
    """

    model: nn.Module
    inputs: InputSettings
    settings: InferenceSettings


# Logit of the pixels outside the window that the network is given: a probability of 2e-9.
UNSEEN_LOGIT = -20.0

Grid = tuple[tuple[slice, slice], tuple[int, int]]  # see working_grid


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
        settings: views, tiles, precision, and the smallest component that stays.
        device: where the model is.
        amp: bfloat16 autocast on CUDA, as in training.

    Returns:
        float32 (H, W), the photograph's own size.
    """
    settings = settings or InferenceSettings()
    grid = working_grid(sample.fov, inputs)
    views = _views(Member(model, inputs, settings), sample, grid, torch.device(device), amp)
    logits = next(views) if settings.seen == ("none",) else _to_logits(_mean_probability(views))
    native = _to_native(logits, sample, grid)
    return native if settings.least_piece is None else area_opening(native, settings.least_piece)


@torch.inference_mode()
def predict_mean_logits(
    members: Sequence[Member],
    sample: FundusSample,
    min_size: int | None = None,
    *,
    device: torch.device | str = "cpu",
    amp: bool = True,
) -> np.ndarray:
    """Predict the logits of the mean probability of several networks, equally weighted, on the native grid.

    The mean is taken over the views of a member, then over the members: on the working grid if all members share one,
    else on the native grid. The mean of one member equals `predict_logits`, bit for bit.

    Args:
        members: the networks, each with its own inputs.
        sample: the photograph, as in `predict_logits`.
        min_size: pixels of the smallest component that stays, see `area_opening`; None: all stay.
        device: where the models are.
        amp: bfloat16 autocast on CUDA, as in training.

    Returns:
        float32 (H, W), the photograph's own size.
    """
    device = torch.device(device)
    if len(members) == 1:
        (member,) = members
        settings = member.settings.model_copy(update={"least_piece": min_size})
        return predict_logits(member.model, sample, member.inputs, settings, device=device, amp=amp)
    grids = [working_grid(sample.fov, member.inputs) for member in members]
    means = [_mean_probability(_views(m, sample, g, device, amp)) for m, g in zip(members, grids, strict=True)]
    if all(grid == grids[0] for grid in grids):
        native = _to_native(_to_logits(sum(means) / len(means)), sample, grids[0])
    else:
        maps = [_to_native(_to_logits(mean), sample, grid) for mean, grid in zip(means, grids, strict=True)]
        mean = sum(torch.from_numpy(probabilities(logits)) for logits in maps) / len(maps)
        native = _to_logits(mean).numpy()
    return native if min_size is None else area_opening(native, min_size)


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


def _views(member: Member, sample: FundusSample, grid: Grid, device: torch.device, amp: bool) -> Iterator[torch.Tensor]:
    """Yield logits (1, 1, h, w) on the working grid, one view after the other, each flipped back."""
    window, size = grid
    settings = member.settings
    image = preprocess(sample.image, member.inputs.preprocessing)
    batch = torch.from_numpy(to_input(resize(image[window], size), member.inputs))[None].to(device)
    cpu = settings.amp_cpu and has_bfloat16()

    def forward(part: torch.Tensor) -> torch.Tensor:
        with autocast(device, amp, cpu):
            return member.model(part.contiguous(memory_format=torch.channels_last)).float()

    # One view at a time: on a CPU a batch of them exceeds the cache and takes longer.
    for view in settings.seen:
        turned = batch.flip(VIEWS[view])
        logits = forward(turned) if settings.tile is None else _tiled(forward, turned, settings)
        yield logits.flip(VIEWS[view])


def _mean_probability(views: Iterable[torch.Tensor]) -> torch.Tensor:
    """Average the views' probabilities, float64 (1, 1, h, w)."""
    total, count = 0, 0
    for logits in views:
        total, count = total + torch.sigmoid(logits.double()), count + 1
    return total / count


def _to_logits(mean: torch.Tensor) -> torch.Tensor:
    return torch.logit(mean, eps=1e-12).float()


def _to_native(logits: torch.Tensor, sample: FundusSample, grid: Grid) -> np.ndarray:
    """Resize logits from the working grid to the native grid, float32 (H, W)."""
    window, _ = grid
    seen = logits[0, 0].cpu().numpy()
    native = np.full(sample.image.shape[:2], UNSEEN_LOGIT, dtype=np.float32)
    height, width = native[window].shape
    if seen.shape != (height, width):
        seen = cv2.resize(seen, (width, height), interpolation=cv2.INTER_LINEAR)
    native[window] = seen
    return native


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
