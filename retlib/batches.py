"""Training batches as a pure function of (samples, settings, seed, epoch)."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from retlib.augmentation import augment, build_augmentation
from retlib.preprocessing import InputSettings, Prepared, to_input
from retlib.validation import Settings


class Patches(Settings):
    """Square patches instead of whole images."""

    size: int  # side, pixels of the working grid
    per_epoch: int  # patches drawn in one epoch
    inside_fov: bool = True  # the patch's centre lies inside the FOV


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


def epoch_plan(count: int, copies: int, patches: Patches | None, seed: int, epoch: int) -> list[tuple[int, bool]]:
    """What an epoch visits, shuffled: (index of the sample, whether it is augmented).

    Full images: with ``copies`` = 0 every sample once, augmented in place; with ``copies`` = k the originals as they
    are plus k augmented copies of each. Patches: ``patches.per_epoch`` augmented patches from random samples.
    """
    rng = np.random.default_rng(derive_seed("order", seed, epoch))
    if patches is not None:
        return [(int(i), True) for i in rng.integers(0, count, patches.per_epoch)]
    entries = [(i, copies == 0) for i in range(count)] + [(i, True) for _ in range(copies) for i in range(count)]
    return [entries[i] for i in rng.permutation(len(entries))]


def cut_patch(sample: Prepared, patches: Patches, seed: int) -> Prepared:
    """A square patch of ``sample`` drawn by ``seed``; the centre is inside the FOV if the settings ask for it."""
    height, width = sample.vessels.shape
    if patches.size > min(height, width):
        raise ValueError(f"patches.size: {patches.size} does not fit into an image of {height}x{width}")
    rng = np.random.default_rng(seed)
    half = patches.size // 2
    candidates = np.flatnonzero(sample.fov) if patches.inside_fov else np.arange(height * width)
    if not candidates.size:
        raise ValueError("patches.inside_fov: a sample has an empty FOV, so no patch can have its centre there")
    y, x = divmod(int(candidates[rng.integers(candidates.size)]), width)
    top = min(max(y - half, 0), height - patches.size)
    left = min(max(x - half, 0), width - patches.size)
    window = np.s_[top : top + patches.size, left : left + patches.size]
    return Prepared(sample.image[window], sample.vessels[window], sample.fov[window])


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
    plan = epoch_plan(len(samples), copies, patches, seed, epoch)
    pipeline = build_augmentation(augmentation)

    def draw(position: int) -> Prepared:
        index, augmented = plan[position]
        sample = samples[index]
        if patches is not None:
            sample = cut_patch(sample, patches, derive_seed("patch", seed, epoch, position))
        return augment(pipeline, sample, derive_seed("augment", seed, epoch, position)) if augmented else sample

    def produce() -> Iterator[Batch]:
        for start in range(0, len(plan), batch_size):
            yield stack([draw(p) for p in range(start, min(start + batch_size, len(plan)))], settings)

    return prefetch(produce())


def steps_per_epoch(count: int, copies: int, patches: Patches | None, batch_size: int) -> int:
    """Optimiser steps in one epoch."""
    entries = patches.per_epoch if patches is not None else count * (copies + 1)
    return -(-entries // batch_size)


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
