"""Count the optimiser steps of a run, and tell which runs have steps of the same length."""

from __future__ import annotations

import hashlib
import json

from retlib.study.config import RunConfig

# What the time of a step depends on. Images, seed and learning rate do not change it; the precision does, and is left
# out because each precision is measured by itself.
_NETWORK = ("model", "model_options", "inputs")
_LOSS = ("loss", "loss_options", "loss_region")
_TRAINING = ("batch_size", "augmentation", *_LOSS, "optimiser", "gradient_clip", "average_weights")


def step_key(config: RunConfig) -> str:
    """Hash what decides how long a step takes: 16 hexadecimal digits, the same for runs whose steps take as long."""
    training = dict.fromkeys(_TRAINING, True) | {"patches": {"size"}}
    content = config.model_dump(mode="json", include=dict.fromkeys(_NETWORK, True) | {"training": training})
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def planned_steps(config: RunConfig) -> int | None:
    """Count the optimiser steps of a whole run, a pre-training included; early stopping may end it sooner.

    None where the training is on all tiles of a grid: how many there are is known only with the images.
    """
    further = sum(len(selection.names()) for selection in config.also)
    parts = [(config.training, len(config.split_training()[0]) + further)]
    if config.pretraining is not None:
        parts.append((config.pretraining.training, len(config.pretraining.train.names())))
    total = 0
    for settings, images in parts:
        visited = images * (settings.copies + 1) if settings.patches is None else settings.patches.per_epoch
        if visited is None:
            return None
        total += settings.epochs * -(-visited // settings.batch_size)
    return total
