"""A few optimiser steps of a run at its full size: does it fit, and how long does a step take?"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence

import numpy as np
from torch import nn

from retlib.device import pick_device
from retlib.inference import predict_logits
from retlib.preprocessing import Prepared, prepare
from retlib.study.config import RunConfig
from retlib.study.runner import build, load_samples
from retlib.training import fit

# Column -> steps that warm up, steps that are timed. On the CPU the first two or three wait for memory that the system
# has to clear, and the median leaves the third out. A step in float32 takes longer, so the wait is a small part of it.
STEPS = {"bfloat16": (2, 3), "float32": (1, 1), "gpu": (3, 9)}

# What the time of a step depends on. Neither images, seed and learning rate do, nor the precision: a column each.
_DECIDES = {
    "model": True,
    "model_options": True,
    "inputs": True,
    "training": {
        "batch_size": True,
        "patches": {"size"},
        "augmentation": True,
        "loss": True,
        "loss_options": True,
        "loss_region": True,
        "optimiser": True,
        "gradient_clip": True,
        "average_weights": True,
    },
}


def step_key(config: RunConfig) -> str:
    """Name what decides how long a step takes: 16 hexadecimal digits, the same for runs whose steps take as long."""
    content = config.model_dump(mode="json", include=_DECIDES)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def planned_steps(config: RunConfig) -> int | None:
    """Count the optimiser steps of a whole run, a pre-training included; early stopping may end it sooner.

    None where the training is on all tiles of a grid: how many there are is known only with the images.
    """
    parts = [(config.training, len(config.split_training()[0]))]
    if config.pretraining is not None:
        parts.append((config.pretraining.training, len(config.pretraining.train.names())))
    total = 0
    for settings, images in parts:
        visited = images * (settings.copies + 1) if settings.patches is None else settings.patches.per_epoch
        if visited is None:
            return None
        total += settings.epochs * -(-visited // settings.batch_size)
    return total


def rehearse(
    config: RunConfig, columns: Sequence[str] = ("bfloat16", "float32"), *, root: str | None = None
) -> dict[str, float]:
    """Time optimiser steps of a config at its full size, then predict one held-out image; writes nothing.

    Data, working size, network, batch, loss, augmentation and optimiser are those of the run. The learning rate is next
    to nothing, so that no schedule cut down to a few steps can make the weights explode.

    Args:
        config: the run.
        columns: what to measure, of ``STEPS``: ``bfloat16`` and ``float32`` on the CPU, ``gpu`` in the precision that
            the run has on CUDA.
        root: folder of the data sets; RETLIB_DATA by default.

    Returns:
        Column -> seconds a step, the median of the timed steps.

    Raises:
        FileNotFoundError: the data is not there.
        FloatingPointError: the loss or the prediction is not finite.
    """
    settings = config.training
    names, held_out = config.split_training()
    samples = load_samples(config.train, config, root, names[: settings.batch_size])
    prepared = [prepare(sample, config.inputs) for sample in samples]
    batch = [prepared[i % len(prepared)] for i in range(settings.batch_size)]
    watched = load_samples(config.train, config, root, (held_out or names[-1:])[:1])[0]
    found = {}
    for column in columns:
        found[column], model = _time_steps(config, batch, column)
    device = next(model.parameters()).device
    logits = predict_logits(model, watched, config.inputs, config.inference, device=device, amp=settings.amp)
    if not np.isfinite(logits).all():
        raise FloatingPointError(f"{config.model}: the logits of {watched.name} are not finite")
    return found


def _time_steps(config: RunConfig, batch: list[Prepared], column: str) -> tuple[float, nn.Module]:
    """Median seconds of the timed steps, each an epoch of one batch, and the network."""
    warm_up, timed = STEPS[column]
    settings = config.training
    changes = {
        "epochs": warm_up + timed,
        "augmented_copies": 0,
        "learning_rate": 1e-9,
        "schedule": "constant",
        "schedule_options": {},
        "patience": None,
        "keep": "last",
        "amp_cpu": column == "bfloat16",
    }
    if settings.patches is not None:
        drawn = {"per_epoch": settings.batch_size, "validation": None, "layout": "random"}
        changes["patches"] = settings.patches.model_copy(update=drawn)
    ends: list[float] = []
    trained = fit(
        lambda: build(config),
        batch,
        [],
        settings.model_copy(update=changes),
        config.inputs,
        seed=config.seed,
        device=pick_device("cuda" if column == "gpu" else "cpu"),
        progress=lambda *_: ends.append(time.perf_counter()),
    )
    return float(np.median(np.diff(ends)[-timed:])), trained.model
