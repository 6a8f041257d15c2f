"""Train networks: whole images or patches, AMP, schedules, early stopping, checkpoint and resume.

Weights, order, patches, augmentation and dropout of an epoch are functions of (seed, epoch), and a checkpoint inside an
epoch holds the state of torch's generators. So a run that was killed and resumed ends in the same weights, bit for bit
on the CPU, as one that was not.
"""

from __future__ import annotations

from retlib.training.loop import Trained, fit
from retlib.training.sampling import cut_patch, random_corner
from retlib.training.settings import Patches, TrainingSettings

__all__ = ["Patches", "Trained", "TrainingSettings", "cut_patch", "fit", "random_corner"]
