"""One readable training loop: full images or patches, AMP, schedules, early stopping, checkpoint and resume.

Nothing random is carried from one epoch to the next: weights, order, patches, augmentation and dropout are functions
of (seed, epoch). A checkpoint inside an epoch keeps the state of torch's generators. So a run that was killed and
resumed from its last checkpoint ends in the same weights, bit for bit on the CPU, as one that was left alone.
"""

from __future__ import annotations

from retlib.training.loop import CHECKPOINT_SECONDS, CUDA_CHECKPOINT_SECONDS, Trained, autocast, fit, seed_torch
from retlib.training.optimisation import build_optimiser, build_schedule
from retlib.training.scores import region_mask
from retlib.training.settings import TrainingSettings

__all__ = [
    "CHECKPOINT_SECONDS",
    "CUDA_CHECKPOINT_SECONDS",
    "Trained",
    "TrainingSettings",
    "autocast",
    "build_optimiser",
    "build_schedule",
    "fit",
    "region_mask",
    "seed_torch",
]
