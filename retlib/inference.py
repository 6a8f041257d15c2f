"""From a photograph to logits on its own pixel grid: working size, padding, tiles, test-time flips, and back."""

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
"""How a photograph may be turned before the network sees it -> axes of an (N, C, H, W) batch that are reversed."""


class InferenceSettings(Settings):
    """How a trained network is applied."""

    flips: bool = False  # test-time augmentation: mean probability over the four flips
    tile: int | None = Field(None, ge=64)  # side of overlapping tiles of the working grid; None: one pass
    overlap: int = Field(64, ge=0)  # pixels that neighbouring tiles share
    # Smallest piece, in pixels of the native grid, that may stand alone: see remove_specks. None: all stay.
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
        """The views whose probabilities are averaged."""
        return self.views or (tuple(VIEWS) if self.flips else ("none",))


@dataclass(frozen=True, eq=False)
class Member:
    """One of the networks whose mean is taken.

    Attributes:
        model: in eval mode; (N, C, h, w) -> logits (N, 1, h, w).
        inputs: the settings that it was trained with.
        settings: views, tiles and numbers; ``least_piece`` is the whole's and not looked at here.
    """

    model: nn.Module
    inputs: InputSettings
    settings: InferenceSettings


# Where the network does not look, beside the FOV's bounding box, there is no vessel: a probability of 2e-9.
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
    grid = working_grid(sample.fov, inputs)
    views = _views(Member(model, inputs, settings), sample, grid, torch.device(device), amp)
    logits = next(views) if settings.seen == ("none",) else _to_logits(_mean_probability(views))
    native = _to_native(logits, sample, grid)
    return native if settings.least_piece is None else remove_specks(native, settings.least_piece)


@torch.inference_mode()
def predict_mean_logits(
    members: Sequence[Member],
    sample: FundusSample,
    least_piece: int | None = None,
    *,
    device: torch.device | str = "cpu",
    amp: bool = True,
) -> np.ndarray:
    """Logits of the mean probability of several networks, each of which counts the same, on the native grid.

    The mean is taken over the views of a member, then over the members: on the working grid where all of them work on
    the same one, else on the native grid. The mean of one member is `predict_logits`, bit for bit.

    Args:
        members: the networks; each brings its own inputs.
        sample: the photograph, as in `predict_logits`.
        least_piece: see `remove_specks`; None: all pieces stay.
        device: where the models are.
        amp: bfloat16 autocast on CUDA, as in training.

    Returns:
        float32 (H, W), the photograph's own size.
    """
    device = torch.device(device)
    if len(members) == 1:
        (member,) = members
        settings = member.settings.model_copy(update={"least_piece": least_piece})
        return predict_logits(member.model, sample, member.inputs, settings, device=device, amp=amp)
    grids = [working_grid(sample.fov, member.inputs) for member in members]
    means = [_mean_probability(_views(m, sample, g, device, amp)) for m, g in zip(members, grids, strict=True)]
    if all(grid == grids[0] for grid in grids):
        native = _to_native(_to_logits(sum(means) / len(means)), sample, grids[0])
    else:
        maps = [_to_native(_to_logits(mean), sample, grid) for mean, grid in zip(means, grids, strict=True)]
        mean = sum(torch.from_numpy(probabilities(logits)) for logits in maps) / len(maps)
        native = _to_logits(mean).numpy()
    return native if least_piece is None else remove_specks(native, least_piece)


def remove_specks(logits: np.ndarray, least_piece: int) -> np.ndarray:
    """Lower every peak until what stands out at its level has ``least_piece`` pixels: an area opening.

    At every threshold at once, the pieces (8-connected) of fewer pixels are gone and the others are as they were, so
    curves and the choice of a threshold see the same map that the operating point does.

    A flat peak that is too small comes down to its highest neighbour, all such peaks at once, until there is none left.
    With every step a peak grows by a pixel at least, so there are fewer than ``least_piece`` steps. The values are
    those of ``skimage.morphology.area_opening`` (connectivity 2), which builds a tree of all levels and takes several
    times as long.

    Args:
        logits: float32 (H, W), finite.
        least_piece: pixels, 2 or more, and no more than the map has.

    Returns:
        float32 (H, W), nowhere above ``logits``.
    """
    # One row and column around it that is no higher than anything: neighbours are then found by shifting an index.
    flat = np.pad(logits, 1, constant_values=-np.inf)
    around = np.array([dy * flat.shape[1] + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx])
    values = flat.ravel()  # a view
    while True:
        # Pixels without a higher neighbour. Where two of them touch they are equal, so a piece of them is level.
        tops = flat == cv2.dilate(flat, np.ones((3, 3), np.uint8))
        tops[[0, -1]] = tops[:, [0, -1]] = False
        _, pieces, stats, _ = cv2.connectedComponentsWithStats(tops.view(np.uint8), connectivity=8)
        small = stats[:, cv2.CC_STAT_AREA] < least_piece
        small[0] = False  # what is no top
        pixels = np.flatnonzero(small[pieces])
        piece = pieces.ravel()[pixels]
        shore = np.full(len(stats), -np.inf, flat.dtype)  # piece -> highest pixel around it
        for step in around:
            outside = pieces.ravel()[pixels + step] != piece
            np.maximum.at(shore, piece[outside], values[(pixels + step)[outside]])
        # One that is level with a neighbour is part of a slope: that neighbour has a higher one.
        lower = shore[piece] < values[pixels]
        if not lower.any():
            return np.ascontiguousarray(flat[1:-1, 1:-1])
        values[pixels[lower]] = shore[piece[lower]]


def cut_specks(vessels: np.ndarray, least_piece: int) -> np.ndarray:
    """A map without its pieces (8-connected) of fewer than ``least_piece`` pixels.

    The same map as the one that `remove_specks` gives at the threshold at hand, in a fraction of the time.

    Args:
        vessels: bool (H, W).
        least_piece: pixels, 2 or more, and no more than the map has.

    Returns:
        bool (H, W).
    """
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(vessels.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= least_piece
    large[0] = False  # what is no vessel
    return large[pieces]


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Logistic function of float logits, any shape; float64 in (0, 1), without overflow."""
    from scipy.special import expit

    return expit(np.asarray(logits, dtype=np.float64))


def _views(member: Member, sample: FundusSample, grid: Grid, device: torch.device, amp: bool) -> Iterator[torch.Tensor]:
    """Logits (1, 1, h, w) on the working grid, view by view, each turned back."""
    window, size = grid
    settings = member.settings
    image = preprocess(sample.image, member.inputs.preprocessing)
    batch = torch.from_numpy(to_input(resize(image[window], size), member.inputs))[None].to(device)
    cpu = settings.amp_cpu and has_bfloat16()

    def forward(part: torch.Tensor) -> torch.Tensor:
        with autocast(device, amp, cpu):
            return member.model(part.contiguous(memory_format=torch.channels_last)).float()

    # One view after the other: a batch of them takes longer on a CPU, whose cache it does not fit.
    for view in settings.seen:
        turned = batch.flip(VIEWS[view])
        logits = forward(turned) if settings.tile is None else _tiled(forward, turned, settings)
        yield logits.flip(VIEWS[view])


def _mean_probability(views: Iterable[torch.Tensor]) -> torch.Tensor:
    """float64 (1, 1, h, w)."""
    total, count = 0, 0
    for logits in views:
        total, count = total + torch.sigmoid(logits.double()), count + 1
    return total / count


def _to_logits(mean: torch.Tensor) -> torch.Tensor:
    return torch.logit(mean, eps=1e-12).float()


def _to_native(logits: torch.Tensor, sample: FundusSample, grid: Grid) -> np.ndarray:
    """From the working grid to the photograph's own, float32 (H, W)."""
    window, _ = grid
    seen = logits[0, 0].cpu().numpy()
    native = np.full(sample.image.shape[:2], UNSEEN_LOGIT, dtype=np.float32)
    height, width = native[window].shape
    if seen.shape != (height, width):
        seen = cv2.resize(seen, (width, height), interpolation=cv2.INTER_LINEAR)
    native[window] = seen
    return native


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
