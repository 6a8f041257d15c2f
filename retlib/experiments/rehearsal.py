"""Two optimiser steps of a run at its full size: does it fit, does it learn, how long would the whole take?"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from retlib.batches import steps_per_epoch
from retlib.experiments.config import RunConfig
from retlib.experiments.environment import environment
from retlib.experiments.runner import build, load_samples, pick_device
from retlib.inference import predict_logits, probabilities
from retlib.metrics import evaluate
from retlib.models import count_parameters
from retlib.preprocessing import prepare
from retlib.training import fit

STEPS = 2


def rehearse(config: RunConfig, *, root: str | None = None, device: str = "cpu") -> dict[str, Any]:
    """Run the first two optimiser steps of a config and score one validation image; writes nothing.

    Everything is as in the run itself (data, working size, network, batch, loss, augmentation), but for the number of
    steps and of images that are read.

    Args:
        config: the run.
        root: folder of the data sets; RETLIB_DATA by default.
        device: where to run.

    Returns:
        ``parameters``, ``steps`` (2), ``loss`` (mean over the steps), ``validation_loss``, ``dice`` of the validation
        image at probability 0.5 on its native grid (of a network that has hardly begun), ``step_s`` (seconds, the
        first step's warm-up included), ``planned_steps`` of the whole run, and the ``environment``.

    Raises:
        FileNotFoundError: the data is not there.
        FloatingPointError: the loss is not finite.
    """
    target = pick_device(device)
    training_names, held_out = config.split_training()
    settings = config.training
    wanted = STEPS * settings.batch_size
    if settings.patches is None:
        wanted = -(-wanted // (settings.augmented_copies + 1))
        changes: dict[str, Any] = {}
    else:
        changes = {"patches": settings.patches.model_copy(update={"per_epoch": wanted, "validation": None})}
        wanted = STEPS
    samples = [prepare(s, config.inputs) for s in load_samples(config.train, config, root, training_names[:wanted])]
    # Tiles of a grid are counted on the images at hand, standing for all.
    every = [samples[i % len(samples)] for i in range(len(training_names))]
    a_pass = steps_per_epoch(every, settings.augmented_copies, settings.patches, settings.batch_size)
    watched = load_samples(config.train, config, root, (held_out or training_names[-1:])[:1])
    started = time.perf_counter()
    trained = fit(
        lambda: build(config),
        samples,
        [prepare(s, config.inputs) for s in watched],
        settings.model_copy(update={"epochs": 1, "patience": None, "keep": "last"} | changes),
        config.inputs,
        seed=config.seed,
        device=target,
    )
    seconds = time.perf_counter() - started
    logits = predict_logits(trained.model, watched[0], config.inputs, config.inference, device=target, amp=settings.amp)
    if not np.isfinite(logits).all():
        raise FloatingPointError(f"{config.model}: the logits of {watched[0].name} are not finite after {STEPS} steps")
    scores = evaluate(probabilities(logits), watched[0].vessels, metrics=("dice",))
    row = trained.history[-1]
    return {
        "parameters": count_parameters(trained.model),
        "steps": trained.steps,
        "loss": row["train_loss"],
        "validation_loss": row["validation_loss"],
        "dice": scores["dice"],
        "step_s": seconds / trained.steps,
        "planned_steps": settings.epochs * a_pass,
        "environment": environment(torch.device(target)),
    }
