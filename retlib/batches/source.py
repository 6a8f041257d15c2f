"""The batches of a training by (epoch, index), made on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from retlib.augmentation import augment, build_augmentation, count_copies
from retlib.batches.plan import (
    Draw,
    Patches,
    count_by_rows,
    derive_seed,
    epoch_plan,
    random_corner,
    steps_per_epoch,
    window,
)
from retlib.batches.tensors import Pixels, Region, stack_pixels
from retlib.preprocessing import InputSettings, Prepared


class Source:
    """What a training looks at: every batch is a function of this object, an epoch and an index, in any order.

    Threads may share one; each builds a pipeline of its own.

    Args:
        samples: at working size; of one size, unless patches are cut.
        inputs: normalisation.
        augmentation: name of a pipeline.
        copies: augmented copies beside each original; 0: augment in place; ``each``: one a transform of the pipeline.
        patches: None: whole images.
        batch_size: entries of a batch; the last one of an epoch may have fewer.
        seed: every random choice is a function of (seed, epoch, position).
        distances: the region whose signed distances to the vessels travel with each batch; None: none do.
    """

    def __init__(
        self,
        samples: Sequence[Prepared],
        inputs: InputSettings,
        *,
        augmentation: str,
        copies: int | str,
        patches: Patches | None,
        batch_size: int,
        seed: int,
        distances: Region | None = None,
    ) -> None:
        self.samples, self.inputs, self.augmentation = samples, inputs, augmentation
        self.copies, self.each = count_copies(augmentation, copies), copies == "each"
        self.patches, self.batch_size, self.seed = patches, batch_size, seed
        self.distances: Region | None = distances
        self.steps = steps_per_epoch(samples, self.copies, patches, batch_size)
        drawn = patches is not None and patches.layout == "random" and patches.inside_fov
        self._by_rows = [count_by_rows(sample.fov) for sample in samples] if drawn else None
        self._plans: dict[int, list[Draw]] = {}
        self._lock = threading.Lock()
        self._own = threading.local()

    @property
    def shape(self) -> tuple[int, int] | None:
        """(h, w) of every entry; None where they differ, as the whole images of a camera without a fixed crop may."""
        if self.patches is not None:
            return self.patches.sides
        shapes = {sample.vessels.shape for sample in self.samples}
        return shapes.pop() if len(shapes) == 1 else None

    def entries(self, epoch: int, index: int) -> list[tuple[int, Draw]]:
        """(position in the epoch, what is drawn there) of one batch."""
        with self._lock:
            if epoch not in self._plans:
                # Batches are made ahead, across the end of an epoch; what lies further back is done.
                self._plans = {e: plan for e, plan in self._plans.items() if e >= epoch - 1}
                self._plans[epoch] = epoch_plan(self.samples, self.copies, self.patches, self.seed, epoch, self.each)
            plan = self._plans[epoch]
        start = index * self.batch_size
        return list(enumerate(plan[start : start + self.batch_size], start))

    def corner(self, epoch: int, position: int, draw: Draw) -> tuple[int, int]:
        """(top, left) of the patch at a position; (0, 0) of a whole image."""
        if self.patches is None:
            return 0, 0
        if draw.corner is not None:
            return draw.corner
        seed = derive_seed("patch", self.seed, epoch, position)
        by_rows: np.ndarray | None = None if self._by_rows is None else self._by_rows[draw.index]
        return random_corner(self.samples[draw.index], self.patches, seed, by_rows)

    def augmentation_seed(self, epoch: int, position: int) -> int:
        """Seed of the augmentation at a position."""
        return derive_seed("augment", self.seed, epoch, position)

    def pixels(self, epoch: int, index: int, *, stored: bool) -> Pixels:
        """One batch, cut, augmented and stacked; ``stored`` as in :func:`~retlib.batches.stack_pixels`."""
        found = []
        for position, draw in self.entries(epoch, index):
            sample = self.samples[draw.index]
            if self.patches is not None:
                sample = window(sample, self.patches, self.corner(epoch, position, draw))
            if draw.augmented:
                sample = augment(self._pipeline(draw.transform), sample, self.augmentation_seed(epoch, position))
            found.append(sample)
        return stack_pixels(found, self.inputs, stored=stored, distances=self.distances)

    def _pipeline(self, transform: int | None):
        if not hasattr(self._own, "pipelines"):
            self._own.pipelines = {}
        if transform not in self._own.pipelines:
            self._own.pipelines[transform] = build_augmentation(self.augmentation, transform)
        return self._own.pipelines[transform]
