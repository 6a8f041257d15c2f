"""Optimiser, learning-rate schedule and running average of the weights."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from retlib.training.settings import TrainingSettings


def build_optimiser(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Adam, AdamW or SGD over all parameters; the fused kernels on CUDA."""
    fused = next(model.parameters()).is_cuda
    common = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay, "fused": fused}
    if settings.optimiser == "sgd":
        return torch.optim.SGD(model.parameters(), momentum=settings.momentum, **common)
    kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    return kind(model.parameters(), **common)


def build_schedule(optimiser: torch.optim.Optimizer, settings: TrainingSettings, steps: int) -> Any:
    """The learning-rate schedule over ``steps`` optimiser steps; ``None`` for a constant rate."""
    allowed = {"plateau": {"factor", "patience"}, "step": {"every", "factor"}}.get(settings.schedule, set())
    if extra := set(settings.schedule_options) - allowed:
        raise ValueError(f"schedule_options: {settings.schedule} takes {sorted(allowed)}, got {sorted(extra)}")
    options = settings.schedule_options
    if settings.schedule == "one_cycle":
        return torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=settings.learning_rate, total_steps=steps)
    if settings.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps)
    if settings.schedule == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimiser, factor=options.get("factor", 0.5), patience=int(options.get("patience", 10))
        )
    if settings.schedule == "step":
        every = max(1, round(steps / settings.epochs * options.get("every", 1)))
        return torch.optim.lr_scheduler.StepLR(optimiser, step_size=every, gamma=options.get("factor", 0.5))
    return None


@torch.no_grad()
def update_average(averaged: AveragedModel, model: nn.Module, decay: float) -> None:
    """One step of the exponential moving average of parameters and buffers; the first step copies.

    torch's own ``update_parameters`` computes the same, but makes the GPU wait for the CPU at every step.
    """
    pairs = list(
        zip(
            itertools.chain(averaged.module.parameters(), averaged.module.buffers()),
            itertools.chain(model.parameters(), model.buffers()),
            strict=True,
        )
    )
    if averaged.n_averaged == 0:  # it lives on the CPU, so the GPU is not asked
        for average, value in pairs:
            average.copy_(value)
    else:
        floating = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([average for average, _ in floating], [value for _, value in floating], 1 - decay)
        for average, value in pairs:
            if not average.is_floating_point():  # the number of batches that batch normalisation has seen
                average.copy_(average * decay + value * (1 - decay))
    averaged.n_averaged += 1
