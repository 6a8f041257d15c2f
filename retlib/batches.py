"""Training batches as a pure function of (samples, settings, seed, epoch)."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, model_validator

from retlib.augmentation import augment, build_augmentation
from retlib.preprocessing import InputSettings, Prepared, to_input
from retlib.validation import Settings


class Patches(Settings):
    """Square patches instead of whole images."""

    size: int = Field(ge=1)  # side, pixels of the working grid
    per_epoch: int | None = Field(None, ge=1)  # patches drawn in one epoch; None: every tile of a grid
    inside_fov: bool = True  # the patch's centre lies inside the FOV
    layout: Literal["random", "grid"] = "random"  # anywhere, with replacement; or side by side, each at most once
    validation: int | None = Field(None, ge=1)  # patches that validation looks at; None: whole images

    @model_validator(mode="after")
    def _counted(self) -> Patches:
        if self.layout == "random" and self.per_epoch is None:
            raise ValueError("per_epoch: expected a number of patches; only a grid has an end of its own")
        return self


class Batch(NamedTuple):
    """float32 (N, C, h, w), float32 (N, 1, h, w) of 0 and 1, float32 (N, 1, h, w): 1 inside the FOV."""

    image: torch.Tensor
    vessels: torch.Tensor
    fov: torch.Tensor


def derive_seed(*parts: object) -> int:
    """A 31-bit seed from any parts, the same on every machine and Python version."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


def stack(samples: Sequence[Prepared], settings: InputSettings) -> Batch:
    """Stack samples of one size into a batch."""
    image = torch.from_numpy(np.stack([to_input(s.image, settings) for s in samples]))
    vessels = torch.from_numpy(np.stack([s.vessels[None] for s in samples]).astype(np.float32))
    fov = torch.from_numpy(np.stack([s.fov[None] for s in samples]).astype(np.float32))
    return Batch(image, vessels, fov)


class Draw(NamedTuple):
    """One entry of an epoch: which sample, whether it is augmented, and for a tile of a grid its (top, left)."""

    index: int
    augmented: bool
    corner: tuple[int, int] | None = None


def epoch_plan(samples: Sequence[Prepared], copies: int, patches: Patches | None, seed: int, epoch: int) -> list[Draw]:
    """What an epoch visits, shuffled.

    Full images: with ``copies`` = 0 every sample once, augmented in place; with ``copies`` = k the originals as they
    are plus k augmented copies of each. Patches: ``patches.per_epoch`` augmented patches from random samples, or of
    the grids of all samples.
    """
    rng = np.random.default_rng(derive_seed("order", seed, epoch))
    if patches is not None and patches.layout == "grid":
        tiles = [Draw(i, True, corner) for i, sample in enumerate(samples) for corner in grid_corners(sample, patches)]
        return [tiles[i] for i in rng.permutation(len(tiles))[: patches.per_epoch]]
    if patches is not None:
        return [Draw(int(i), True) for i in rng.integers(0, len(samples), patches.per_epoch)]
    places = range(len(samples))
    entries = [Draw(i, copies == 0) for i in places] + [Draw(i, True) for _ in range(copies) for i in places]
    return [entries[i] for i in rng.permutation(len(entries))]


def grid_corners(sample: Prepared, patches: Patches) -> list[tuple[int, int]]:
    """(top, left) of the tiles that cover a sample side by side, row by row.

    The last row and column are moved inside where the side is no multiple, so they overlap their neighbours. With
    ``inside_fov`` only tiles whose centre is inside the FOV.
    """
    _check_fits(sample, patches)
    tops, lefts = (
        sorted({*range(0, length - patches.size + 1, patches.size), length - patches.size})
        for length in sample.vessels.shape
    )
    half = patches.size // 2
    corners = [(top, left) for top in tops for left in lefts]
    return [(y, x) for y, x in corners if not patches.inside_fov or sample.fov[y + half, x + half]]


def cut_patch(sample: Prepared, patches: Patches, seed: int, corner: tuple[int, int] | None = None) -> Prepared:
    """A square patch of ``sample``, at ``corner`` or drawn by ``seed`` (centred inside the FOV, if asked for)."""
    _check_fits(sample, patches)
    top, left = _random_corner(sample, patches, seed) if corner is None else corner
    window = np.s_[top : top + patches.size, left : left + patches.size]
    return Prepared(sample.image[window], sample.vessels[window], sample.fov[window])


def validation_patches(samples: Sequence[Prepared], patches: Patches, seed: int) -> list[Prepared]:
    """``patches.validation`` patches of the same layout, not augmented, the same ones in every epoch."""
    drawn = patches.model_copy(update={"per_epoch": patches.validation})
    seed = derive_seed("validation", seed)
    plan = epoch_plan(samples, 0, drawn, seed, 0)
    return [
        cut_patch(samples[draw.index], drawn, derive_seed("patch", seed, place), draw.corner)
        for place, draw in enumerate(plan)
    ]


def _random_corner(sample: Prepared, patches: Patches, seed: int) -> tuple[int, int]:
    height, width = sample.vessels.shape
    rng = np.random.default_rng(seed)
    half = patches.size // 2
    candidates = np.flatnonzero(sample.fov) if patches.inside_fov else np.arange(height * width)
    if not candidates.size:
        raise ValueError("patches.inside_fov: a sample has an empty FOV, so no patch can have its centre there")
    y, x = divmod(int(candidates[rng.integers(candidates.size)]), width)
    return min(max(y - half, 0), height - patches.size), min(max(x - half, 0), width - patches.size)


def _check_fits(sample: Prepared, patches: Patches) -> None:
    height, width = sample.vessels.shape
    if patches.size > min(height, width):
        raise ValueError(f"patches.size: {patches.size} does not fit into an image of {height}x{width}")


def epoch_batches(
    samples: Sequence[Prepared],
    settings: InputSettings,
    *,
    augmentation: str,
    copies: int,
    patches: Patches | None,
    batch_size: int,
    seed: int,
    epoch: int,
) -> Iterator[Batch]:
    """The batches of one epoch, prepared one ahead by a thread while the network works.

    The last batch may be smaller. Every random choice is a function of (seed, epoch, position).
    """
    plan = epoch_plan(samples, copies, patches, seed, epoch)
    pipeline = build_augmentation(augmentation)

    def draw(position: int) -> Prepared:
        index, augmented, corner = plan[position]
        sample = samples[index]
        if patches is not None:
            sample = cut_patch(sample, patches, derive_seed("patch", seed, epoch, position), corner)
        return augment(pipeline, sample, derive_seed("augment", seed, epoch, position)) if augmented else sample

    def produce() -> Iterator[Batch]:
        for start in range(0, len(plan), batch_size):
            yield stack([draw(p) for p in range(start, min(start + batch_size, len(plan)))], settings)

    return prefetch(produce())


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


def prefetch(iterator: Iterator[Batch], depth: int = 2) -> Iterator[Batch]:
    """Run ``iterator`` in a thread, ``depth`` items ahead; an error there is raised here."""
    done = object()
    stop = threading.Event()
    items: queue.Queue = queue.Queue(maxsize=depth)

    def put(item: object) -> bool:
        while not stop.is_set():
            try:
                items.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in iterator:
                if not put(item):
                    return
            put(done)
        except BaseException as error:  # handed over: the consumer raises it
            put(error)

    thread = threading.Thread(target=work, daemon=True, name="retlib-batches")
    thread.start()
    try:
        while (item := items.get()) is not done:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
