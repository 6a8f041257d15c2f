"""Training batches as a pure function of (samples, settings, seed, epoch), and ways to make them fast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from retlib.batches.plan import (
    Draw,
    Patches,
    cut_patch,
    derive_seed,
    epoch_plan,
    grid_corners,
    steps_per_epoch,
    validation_patches,
)
from retlib.batches.resident import RESIDENT_SHARE, Resident, can_be_resident
from retlib.batches.source import Source
from retlib.batches.supply import MOST_WORKERS, Supply, choose_supply, ordered, supply_batches
from retlib.batches.tensors import Batch, Pixels, stack, stack_pixels, to_batch
from retlib.preprocessing import InputSettings, Prepared

__all__ = [
    "MOST_WORKERS",
    "RESIDENT_SHARE",
    "Batch",
    "Draw",
    "Patches",
    "Pixels",
    "Resident",
    "Source",
    "Supply",
    "can_be_resident",
    "choose_supply",
    "cut_patch",
    "derive_seed",
    "epoch_batches",
    "epoch_plan",
    "grid_corners",
    "ordered",
    "stack",
    "stack_pixels",
    "steps_per_epoch",
    "supply_batches",
    "to_batch",
    "validation_patches",
]


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
    """The batches of one epoch on the CPU, prepared ahead by a thread while the network works.

    The last batch may be smaller. Every random choice is a function of (seed, epoch, position).
    """
    source = Source(
        samples,
        settings,
        augmentation=augmentation,
        copies=copies,
        patches=patches,
        batch_size=batch_size,
        seed=seed,
    )
    return supply_batches(source, range(epoch, epoch + 1), torch.device("cpu"), Supply(False, "threads", 1))
