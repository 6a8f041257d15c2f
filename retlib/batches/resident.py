"""Training samples that live on the device, and batches gathered there.

A crop, a flip and a quarter turn of an image all read its pixels along a grid: pixel (i, j) of the result lies at
``start + i * down + j * right`` of the image's own, stored row by row. So a batch is one gather at three whole numbers
an entry, and nothing else has to reach the device.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from retlib.batches.source import Source
from retlib.batches.tensors import Pixels
from retlib.preprocessing import Prepared

# Of the device's free memory: the rest is for the network, which needs far more than the photographs do.
RESIDENT_SHARE = 0.25

# What `albumentations.D4` draws from, in its order, as (rows from below, columns from the right, then transposed).
SYMMETRIES = (
    (False, False, False),  # e
    (False, True, True),  # r90, counter-clockwise
    (True, True, False),  # r180
    (True, False, True),  # r270
    (True, False, False),  # v
    (True, True, True),  # hvt, over the second diagonal
    (False, True, False),  # h
    (False, False, True),  # t
)


def draw_symmetry(seed: int) -> int:
    """The place in `SYMMETRIES` that the pipeline ``dihedral`` draws with this seed, without running it."""
    return int(np.random.default_rng(seed).integers(len(SYMMETRIES)))


def can_be_resident(source: Source) -> bool:
    """Whether gathering and arithmetic a pixel make up a training's batches.

    They do for the pipelines ``none`` and ``dihedral``, entries of one size (a square one, if they are turned), and a
    normalisation that does not look at the image as a whole. Signed distances are neither: a cut changes them, and
    workers make them on the CPU.
    """
    shape = source.shape
    if shape is None or source.distances is not None or source.inputs.normalisation == "standard":
        return False
    return source.augmentation == "none" or (source.augmentation == "dihedral" and shape[0] == shape[1])


def fits(samples: Sequence[Prepared], device: torch.device) -> bool:
    """Whether the samples take at most `RESIDENT_SHARE` of a CUDA device's free memory."""
    needed = sum(sample.vessels.size * (sample.image.shape[-1] + 2) for sample in samples)
    return needed <= RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]


class Resident:
    """The samples of a source as one table on a device: a row a pixel, uint8 channels, label and FOV side by side."""

    def __init__(self, source: Source, device: torch.device) -> None:
        if source.distances is not None:
            raise ValueError("a resident source has no signed distances: leave `distances` out, or take another supply")
        self.source = source
        rows = [
            np.concatenate([s.image, s.vessels[..., None], s.fov[..., None]], axis=-1, dtype=np.uint8).reshape(
                s.vessels.size, -1
            )
            for s in source.samples
        ]
        self.pixels = torch.from_numpy(np.concatenate(rows)).to(device)
        self._first = np.cumsum([0, *(len(part) for part in rows)])
        height, width = source.shape
        self._down = torch.arange(height, device=device)[:, None]
        self._right = torch.arange(width, device=device)

    def places(self, epoch: int, index: int) -> torch.Tensor:
        """int64 (N, 3), on the CPU: first pixel, step down, step right of each entry of a batch."""
        height, width = self.source.shape
        found = []
        for position, draw in self.source.entries(epoch, index):
            top, left = self.source.corner(epoch, position, draw)
            symmetry = 0
            if draw.augmented and self.source.augmentation == "dihedral":
                symmetry = draw_symmetry(self.source.augmentation_seed(epoch, position))
            from_below, from_right, transposed = SYMMETRIES[symmetry]
            columns = self.source.samples[draw.index].vessels.shape[1]
            y, x = top + (height - 1) * from_below, left + (width - 1) * from_right
            steps = (-columns if from_below else columns, -1 if from_right else 1)
            found.append((self._first[draw.index] + y * columns + x, *(steps[::-1] if transposed else steps)))
        return torch.tensor(found, dtype=torch.int64)

    def gather(self, places: torch.Tensor) -> Pixels:
        """The batch at these places, on the device."""
        places = places.to(self.pixels.device, non_blocking=True)[..., None, None]
        start, down, right = places.unbind(1)
        grid = start + down * self._down + right * self._right
        rows = self.pixels.index_select(0, grid.flatten()).view(*grid.shape, -1)
        return Pixels(rows[..., :-2].contiguous(), rows[..., -2], rows[..., -1])
