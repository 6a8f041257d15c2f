"""What an epoch visits: a pure function of (samples, settings, seed, epoch)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from retlib.preprocessing import Prepared
from retlib.settings import Settings

Side = Annotated[int, Field(ge=1)]


class Patches(Settings):
    """Patches instead of whole images."""

    size: Side | tuple[Side, Side]  # side of a square, or (h, w), pixels of the working grid
    per_epoch: int | None = Field(None, ge=1)  # patches drawn in one epoch; None: every tile of a grid
    inside_fov: bool = True  # the patch's centre lies inside the FOV
    layout: Literal["random", "grid"] = "random"  # anywhere, with replacement; or side by side, each at most once
    validation: int | None = Field(None, ge=1)  # patches that validation looks at; None: whole images

    @model_validator(mode="after")
    def _counted(self) -> Patches:
        if self.layout == "random" and self.per_epoch is None:
            raise ValueError("per_epoch: expected a number of patches; only a grid has an end of its own")
        return self

    @property
    def sides(self) -> tuple[int, int]:
        """(h, w) of a patch."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)


def derive_seed(*parts: object) -> int:
    """A 31-bit seed from any parts, the same on every machine and Python version."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


class Draw(NamedTuple):
    """One entry of an epoch: which sample, and whether it is augmented.

    ``corner`` is the (top, left) of a tile of a grid, ``transform`` the position of the one transform that is applied.
    """

    index: int
    augmented: bool
    corner: tuple[int, int] | None = None
    transform: int | None = None


def epoch_plan(
    samples: Sequence[Prepared],
    copies: int,
    patches: Patches | None,
    seed: int,
    epoch: int,
    each: bool = False,
) -> list[Draw]:
    """List what an epoch visits, shuffled.

    Full images: with ``copies`` = 0 every sample once, augmented in place; with ``copies`` = k the originals as they
    are plus k augmented copies of each; with ``each`` copy i has transform i of the pipeline alone.
    Patches: ``patches.per_epoch`` augmented patches from random samples, or of the grids of all samples.
    """
    rng = np.random.default_rng(derive_seed("order", seed, epoch))
    if patches is not None and patches.layout == "grid":
        tiles = [Draw(i, True, corner) for i, sample in enumerate(samples) for corner in grid_corners(sample, patches)]
        return [tiles[i] for i in rng.permutation(len(tiles))[: patches.per_epoch]]
    if patches is not None:
        return [Draw(int(i), True) for i in rng.integers(0, len(samples), patches.per_epoch)]
    places = range(len(samples))
    entries = [Draw(i, copies == 0) for i in places]
    entries += [Draw(i, True, transform=copy if each else None) for copy in range(copies) for i in places]
    return [entries[i] for i in rng.permutation(len(entries))]


def grid_corners(sample: Prepared, patches: Patches) -> list[tuple[int, int]]:
    """(top, left) of the tiles that cover a sample side by side, row by row.

    The last row and column are moved inside where the side is no multiple, so they overlap their neighbours. With
    ``inside_fov`` only tiles whose centre is inside the FOV.
    """
    _check_fits(sample, patches)
    tops, lefts = (
        sorted({*range(0, length - side + 1, side), length - side})
        for length, side in zip(sample.vessels.shape, patches.sides, strict=True)
    )
    down, right = (side // 2 for side in patches.sides)
    corners = [(top, left) for top in tops for left in lefts]
    return [(y, x) for y, x in corners if not patches.inside_fov or sample.fov[y + down, x + right]]


def cut_patch(sample: Prepared, patches: Patches, seed: int, corner: tuple[int, int] | None = None) -> Prepared:
    """A patch of ``sample``, at ``corner`` or drawn by ``seed`` (centred inside the FOV, if asked for)."""
    corner = random_corner(sample, patches, seed) if corner is None else corner
    return window(sample, patches, corner)


def window(sample: Prepared, patches: Patches, corner: tuple[int, int]) -> Prepared:
    """The patch of ``sample`` whose (top, left) is ``corner``: a view, not a copy."""
    _check_fits(sample, patches)
    top, left = corner
    height, width = patches.sides
    part = np.s_[top : top + height, left : left + width]
    return Prepared(sample.image[part], sample.vessels[part], sample.fov[part])


def validation_patches(samples: Sequence[Prepared], patches: Patches, seed: int) -> list[Prepared]:
    """``patches.validation`` patches of the same layout, not augmented, the same ones in every epoch."""
    drawn = patches.model_copy(update={"per_epoch": patches.validation})
    seed = derive_seed("validation", seed)
    plan = epoch_plan(samples, 0, drawn, seed, 0)
    return [
        cut_patch(samples[draw.index], drawn, derive_seed("patch", seed, place), draw.corner)
        for place, draw in enumerate(plan)
    ]


def count_by_rows(region: np.ndarray) -> np.ndarray:
    """int64 (H,): pixels of a bool (H, W) array up to and with each row."""
    return np.cumsum(np.count_nonzero(region, axis=1), dtype=np.int64)


def random_corner(sample: Prepared, patches: Patches, seed: int, by_rows: np.ndarray | None = None) -> tuple[int, int]:
    """(top, left) of the patch that ``seed`` draws: around a pixel of the FOV, or of the frame, moved inside it.

    Args:
        sample: where to draw.
        patches: size, and whether the centre lies inside the FOV.
        seed: the corner is a function of this number and the FOV.
        by_rows: :func:`count_by_rows` of the FOV, for a caller that draws often: counting takes ten times as long.

    Raises:
        ValueError: the patch is larger than the sample, or its centre is to lie in a FOV that is empty.
    """
    _check_fits(sample, patches)
    height, width = sample.vessels.shape
    rng = np.random.default_rng(seed)
    rows, columns = patches.sides
    if patches.inside_fov:
        by_rows = count_by_rows(sample.fov) if by_rows is None else by_rows
        if not by_rows[-1]:
            raise ValueError("patches.inside_fov: a sample has an empty FOV, so no patch can have its centre there")
        place = int(rng.integers(by_rows[-1]))  # among the pixels of the FOV, row by row
        y = int(np.searchsorted(by_rows, place, side="right"))
        x = int(np.flatnonzero(sample.fov[y])[place - (by_rows[y - 1] if y else 0)])
    else:
        y, x = divmod(int(rng.integers(height * width)), width)
    return min(max(y - rows // 2, 0), height - rows), min(max(x - columns // 2, 0), width - columns)


def _check_fits(sample: Prepared, patches: Patches) -> None:
    height, width = sample.vessels.shape
    rows, columns = patches.sides
    if rows > height or columns > width:
        raise ValueError(f"patches.size: {rows}x{columns} does not fit into an image of {height}x{width}")


def steps_per_epoch(samples: Sequence[Prepared], copies: int, patches: Patches | None, batch_size: int) -> int:
    """Optimiser steps in one epoch: batches of what :func:`epoch_plan` visits, counted without planning it."""
    if patches is None:
        visited = len(samples) * (copies + 1)
    elif patches.layout == "grid":
        tiles = sum(len(grid_corners(sample, patches)) for sample in samples)
        visited = tiles if patches.per_epoch is None else min(tiles, patches.per_epoch)
    else:
        visited = patches.per_epoch
    return -(-visited // batch_size)
