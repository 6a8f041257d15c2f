"""Decide what an epoch visits, and where patches lie: pure functions of (samples, settings, seed, epoch)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from retlib.preprocessing import Prepared
from retlib.training.settings import Patches, TrainingSettings


def derive_seed(*parts: object) -> int:
    """Hash any parts to a 31-bit seed, the same on every machine and Python version."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


class SampleIndex(NamedTuple):
    """One entry of an epoch: which sample, and what is done to it."""

    sample: int
    augmented: bool
    corner: tuple[int, int] | None = None  # (top, left) of a tile of a grid
    transform: int | None = None  # position of the one transform of the pipeline that is applied; None: all


def plan_epoch(samples: Sequence[Prepared], settings: TrainingSettings, seed: int, epoch: int) -> list[SampleIndex]:
    """List the entries of an epoch in random order, a function of ``seed`` and ``epoch``.

    Whole images: every sample once, augmented; with k ``augmented_copies`` every sample as it is and k augmented
    copies; with ``each`` copy i has transform i of the pipeline only. Patches: ``per_epoch`` augmented ones, of random
    samples or of the grids of all samples.
    """
    rng = np.random.default_rng(derive_seed("order", seed, epoch))
    patches, copies, each = settings.patches, settings.copies, settings.augmented_copies == "each"
    indices = range(len(samples))
    if patches is not None and patches.layout == "random":
        return [SampleIndex(int(i), True) for i in rng.integers(0, len(samples), patches.per_epoch)]
    if patches is not None:
        entries = [SampleIndex(i, True, corner) for i in indices for corner in grid_corners(samples[i], patches)]
    else:
        entries = [SampleIndex(i, copies == 0) for i in indices]
        entries += [SampleIndex(i, True, transform=k if each else None) for k in range(copies) for i in indices]
    order = rng.permutation(len(entries))
    return [entries[i] for i in (order if patches is None else order[: patches.per_epoch])]


def grid_corners(sample: Prepared, patches: Patches) -> list[tuple[int, int]]:
    """List (top, left) of the tiles that cover a sample side by side, row by row.

    Where the side is no multiple of the tile's, the last row and column are moved inside and overlap their neighbours.
    With ``inside_fov`` only tiles whose centre is inside the FOV.
    """
    _check_fits(sample, patches)
    tops, lefts = (
        sorted({*range(0, length - side + 1, side), length - side})
        for length, side in zip(sample.vessels.shape, patches.sides, strict=True)
    )
    down, right = (side // 2 for side in patches.sides)
    corners = [(top, left) for top in tops for left in lefts]
    return [(y, x) for y, x in corners if not patches.inside_fov or sample.fov[y + down, x + right]]


def random_corner(sample: Prepared, patches: Patches, seed: int, by_rows: np.ndarray | None = None) -> tuple[int, int]:
    """Draw (top, left) of a patch by a seed: centred on a pixel of the FOV, or of the frame, then moved inside.

    For repeated draws give :func:`count_by_rows` of the FOV, which takes ten times as long as the draw itself.

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
        rank = int(rng.integers(by_rows[-1]))  # among the pixels of the FOV, row by row
        y = int(np.searchsorted(by_rows, rank, side="right"))
        x = int(np.flatnonzero(sample.fov[y])[rank - (by_rows[y - 1] if y else 0)])
    else:
        y, x = divmod(int(rng.integers(height * width)), width)
    return min(max(y - rows // 2, 0), height - rows), min(max(x - columns // 2, 0), width - columns)


def count_by_rows(region: np.ndarray) -> np.ndarray:
    """Count the pixels of a bool (H, W) region up to and including each row: int64 (H,)."""
    return np.cumsum(np.count_nonzero(region, axis=1), dtype=np.int64)


def cut_patch(sample: Prepared, patches: Patches, corner: tuple[int, int]) -> Prepared:
    """Cut the patch of ``sample`` at (top, left): views, no copies."""
    _check_fits(sample, patches)
    top, left = corner
    height, width = patches.sides
    part = np.s_[top : top + height, left : left + width]
    return Prepared(sample.image[part], sample.vessels[part], sample.fov[part])


def validation_patches(samples: Sequence[Prepared], settings: TrainingSettings, seed: int) -> list[Prepared]:
    """Cut ``patches.validation`` patches of the same layout, not augmented, the same in every epoch."""
    patches = settings.patches.model_copy(update={"per_epoch": settings.patches.validation})
    seed = derive_seed("validation", seed)
    cut = []
    for position, entry in enumerate(plan_epoch(samples, settings.model_copy(update={"patches": patches}), seed, 0)):
        sample = samples[entry.sample]
        corner = entry.corner or random_corner(sample, patches, derive_seed("patch", seed, position))
        cut.append(cut_patch(sample, patches, corner))
    return cut


def _check_fits(sample: Prepared, patches: Patches) -> None:
    height, width = sample.vessels.shape
    rows, columns = patches.sides
    if rows > height or columns > width:
        raise ValueError(f"patches.size: {rows}x{columns} does not fit into an image of {height}x{width}")
