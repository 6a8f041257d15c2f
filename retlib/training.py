"""One readable training loop: full images or patches, AMP, schedules, early stopping, checkpoint and resume.

Nothing random is carried from one epoch to the next: weights, order, patches, augmentation and dropout are functions
of (seed, epoch), so a run that was killed and resumed from its last finished epoch ends in the same weights, bit for
bit on the CPU, as one that was left alone.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import nn
from torch.optim.swa_utils import AveragedModel

from retlib.acceleration import chosen_kernels, compile_or_not, kept_memory, tensor_float, why_not_compile
from retlib.augmentation import list_augmentations
from retlib.batches import (
    Batch,
    Patches,
    Pixels,
    Source,
    choose_supply,
    derive_seed,
    stack_pixels,
    supply_batches,
    to_batch,
    validation_patches,
)
from retlib.losses import build_loss
from retlib.preprocessing import InputSettings, Prepared
from retlib.validation import Settings

# On CUDA, between two checkpoints: what a killed run loses at most. On the CPU every epoch is kept.
CUDA_CHECKPOINT_SECONDS = 60.0


class TrainingSettings(Settings):
    """How a network is trained."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    augmentation: str = "none"
    augmented_copies: int = Field(0, ge=0)  # 0: augment in place; k: k augmented copies beside each original
    patches: Patches | None = None  # None: whole images at working size
    loss: dict[str, float] = {"bce": 1.0}
    loss_options: dict[str, Any] = {}
    loss_region: Literal["fov", "frame"] = "frame"  # pixels that the loss sees
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(gt=0)  # the peak, for one_cycle
    weight_decay: float = Field(0.0, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)  # sgd only
    schedule: Literal["constant", "one_cycle", "cosine", "plateau", "step"] = "constant"
    schedule_options: dict[str, float] = {}  # plateau: factor, patience (epochs); step: every (epochs), factor
    patience: int | None = Field(None, ge=1)  # stop after so many epochs without a lower validation loss
    keep: Literal["last", "best"] = "last"  # best: the epoch with the lowest validation loss
    gradient_clip: float | None = Field(None, gt=0)  # largest gradient norm
    # Decay of an exponential moving average of the weights, updated every step; it is what is validated and kept.
    average_weights: float | None = Field(None, gt=0, lt=1)
    amp: bool = True  # bfloat16 autocast on CUDA
    amp_cpu: bool = False  # and on the CPU: half the time where it has bf16 instructions, slow where it has none

    @field_validator("augmentation")
    @classmethod
    def _known_augmentation(cls, name: str) -> str:
        if name not in list_augmentations():
            raise ValueError(f"unknown augmentation {name!r}; known: {', '.join(list_augmentations())}")
        return name

    @property
    def looks_at_validation(self) -> str | None:
        """The first setting that needs validation images, for a message; None if there is none."""
        if self.keep == "best":
            return "training.keep: best"
        if self.patience is not None:
            return "training.patience"
        return "training.schedule: plateau" if self.schedule == "plateau" else None


@dataclass
class Trained:
    """What training leaves: the network (weights chosen by ``keep``), its history, and how long it took."""

    model: nn.Module
    history: list[dict[str, float]]
    epoch: int  # the epoch (from 1) whose weights these are
    seconds: float  # spent in training steps and validation, over all resumed parts
    steps: int
    resumed_from: list[int] = field(default_factory=list)  # epochs that a killed run was picked up at
    # Of one core, over all threads of this process: unlike `seconds`, the same on a quiet and on a busy machine.
    cpu_seconds: float = 0.0
    samples: int = 0  # images or patches that the steps saw
    step_seconds: float = 0.0  # of `seconds`, those spent in training steps: validation and checkpoints left out
    acceleration: dict[str, Any] = field(
        default_factory=dict
    )  # what `fit` used to be fast; the last part's, if resumed


def fit(
    model_of: Callable[[], nn.Module],
    training: Sequence[Prepared],
    validation: Sequence[Prepared],
    settings: TrainingSettings,
    inputs: InputSettings,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
) -> Trained:
    """Train a network.

    Args:
        model_of: builds the network, or returns one to go on from; called once, after seeding.
        training: samples at working size; of one size, unless patches are cut.
        validation: samples at working size, never trained on; may be empty, then ``keep`` must be ``last`` and
            ``patience`` None.
        settings: what to do.
        inputs: normalisation of the input.
        seed: every random choice follows from it.
        device: where to train.
        checkpoint: file that is rewritten after each epoch (on CUDA, after the first one that ends a minute after the
            last checkpoint) and resumed from if it exists.
        progress: called after each epoch with (epochs done, epochs planned, that epoch's row of the history).

    Raises:
        ValueError: no training samples; validation needed and absent.
        FloatingPointError: the loss is not finite; the message names epoch and step.
    """
    _check(training, validation, settings)
    seed_torch(seed, "weights")
    model = model_of().to(device, memory_format=torch.channels_last)
    loss_of = build_loss(settings.loss, **settings.loss_options)
    optimiser = build_optimiser(model, settings)
    source = Source(
        training,
        inputs,
        augmentation=settings.augmentation,
        copies=settings.augmented_copies,
        patches=settings.patches,
        batch_size=settings.batch_size,
        seed=seed,
    )
    planned = settings.epochs * source.steps
    # On the device as they are stored; what the network sees is made of them anew in every epoch.
    checks = [
        Pixels(*(part.to(device) for part in stack_pixels(samples, inputs, stored=True)))
        for samples in _validation_batches(validation, settings, seed)
    ]
    schedule = build_schedule(optimiser, settings, planned)
    averaged = None if settings.average_weights is None else AveragedModel(model, use_buffers=True)
    kept = model if averaged is None else averaged.module
    parts = {"model": model, "optimiser": optimiser, "schedule": schedule, "averaged": averaged}
    parts = {name: part for name, part in parts.items() if part is not None}
    state = _State()
    if checkpoint is not None and checkpoint.exists():
        state = _load(checkpoint, parts, device)
    epochs = range(state.epoch + 1, 1 if state.stopped else settings.epochs + 1)

    with ExitStack() as stack:
        supply = choose_supply(source, device)
        batches = stack.enter_context(closing(supply_batches(source, epochs, device, supply)))
        acceleration = {
            **supply._asdict(),
            "memory_kept": stack.enter_context(kept_memory(device)),
            "kernels_timed": stack.enter_context(chosen_kernels(device, source.shape is not None)),
            "tensor_float": tensor_float(device),
        }
        forward, report = _forward(model, source, settings, inputs, device, planned - state.steps)
        acceleration |= report
        saved = time.perf_counter()
        for epoch in epochs:
            started, cpu_started = time.perf_counter(), time.process_time()
            seed_torch(seed, "epoch", epoch)
            row = {"epoch": epoch, "learning_rate": optimiser.param_groups[0]["lr"]}
            of_epoch = itertools.islice(batches, source.steps)
            row |= _train_epoch(
                model, forward, averaged, of_epoch, loss_of, optimiser, schedule, settings, device, epoch, state
            )
            state.step_seconds += time.perf_counter() - started
            if checks:
                row |= _validate(kept, checks, loss_of, settings, inputs, device)
            if settings.schedule == "plateau":
                schedule.step(row["validation_loss"])
            state.seconds += time.perf_counter() - started
            state.cpu_seconds += time.process_time() - cpu_started
            state.finish_epoch(row, kept, settings)
            over = state.stopped or epoch == settings.epochs
            # An epoch on a GPU may take less time than its checkpoint does.
            if checkpoint is not None and (
                over or device.type != "cuda" or time.perf_counter() - saved >= CUDA_CHECKPOINT_SECONDS
            ):
                _save(checkpoint, state, parts)
                saved = time.perf_counter()
            if progress is not None:
                progress(epoch, settings.epochs, row)
            if over:
                break

    chosen = state.epoch
    if settings.keep == "best":
        kept.load_state_dict(state.best_weights)
        chosen = state.best_epoch
    return Trained(
        kept.eval(),
        state.history,
        chosen,
        state.seconds,
        state.steps,
        state.resumed_from,
        state.cpu_seconds,
        state.samples,
        state.step_seconds,
        acceleration,
    )


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


def seed_torch(*parts: object) -> None:
    """Seed torch's generators (CPU and CUDA) from any parts."""
    torch.manual_seed(derive_seed("torch", *parts))


def autocast(device: torch.device, cuda: bool, cpu: bool = False) -> torch.autocast:
    """bfloat16 autocast, if it is wanted on the kind of device at hand."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled={"cuda": cuda, "cpu": cpu}.get(device.type, False))


def region_mask(batch: Batch, region: str) -> torch.Tensor | None:
    """float32 (N, 1, h, w): 1 where the loss and the running scores look; None: everywhere."""
    return batch.fov if region == "fov" else None


class _Running:
    """Loss, and accuracy, sensitivity and Dice (at probability 0.5, pooled over the region's pixels), of an epoch."""

    def __init__(self, device: torch.device) -> None:
        # Loss times samples; then pixels: vessel and found, found, vessel, all.
        self.sums = torch.zeros(5, device=device, dtype=torch.float64)
        self.samples = 0

    @torch.no_grad()
    def add(self, loss: torch.Tensor, logits: torch.Tensor, batch: Batch, mask: torch.Tensor | None) -> None:
        found = (logits >= 0).to(batch.vessels.dtype)
        vessels = batch.vessels
        if mask is not None:
            found, vessels = found * mask, vessels * mask
            pixels = _count(mask)
        else:  # filled on the device; a tensor made of a Python number would be copied there, and waited for
            pixels = torch.full((), vessels.numel(), device=vessels.device, dtype=torch.float64)
        self.sums += torch.stack(
            [loss.detach().double() * len(logits), _count(found * vessels), _count(found), _count(vessels), pixels]
        )
        self.samples += len(logits)

    def row(self, prefix: str) -> dict[str, float]:
        loss, overlap, found, vessel, pixels = self.sums.tolist()
        correct = pixels - found - vessel + 2 * overlap
        return {
            f"{prefix}_loss": loss / self.samples,
            f"{prefix}_accuracy": correct / pixels,
            f"{prefix}_sensitivity": overlap / vessel if vessel else math.nan,
            f"{prefix}_dice": 2 * overlap / (found + vessel) if found + vessel else math.nan,
        }


def _count(ones: torch.Tensor) -> torch.Tensor:
    """Sum of float32 zeros and ones as float64, exact: float32 sums are, up to 2^24, so rows are summed in it first."""
    return ones.sum(dim=-1).sum(dtype=torch.float64)


def _forward(
    model: nn.Module,
    source: Source,
    settings: TrainingSettings,
    inputs: InputSettings,
    device: torch.device,
    steps: int,
) -> tuple[Callable[[torch.Tensor], torch.Tensor], dict[str, Any]]:
    """The network's forward pass, compiled where that pays, and a report of it."""
    why = why_not_compile(device, steps, source.shape is not None)
    if why is not None:
        return model, {"compiled": False, "compile_s": 0.0, "why": why}
    shape = (settings.batch_size, inputs.channels, *source.shape)
    model.train()
    return compile_or_not(model, shape, device, lambda: autocast(device, settings.amp, settings.amp_cpu))


@torch.no_grad()
def _update_average(averaged: AveragedModel, model: nn.Module, decay: float) -> None:
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


def _train_epoch(
    model, forward, averaged, batches: Iterator[Batch], loss_of, optimiser, schedule, settings, device, epoch, state
) -> dict[str, float]:
    """Steps over the batches of one epoch. On CUDA nothing here waits for the GPU before the epoch's end."""
    model.train()
    running = _Running(device)
    for batch in batches:
        mask = region_mask(batch, settings.loss_region)
        with autocast(device, settings.amp, settings.amp_cpu):
            logits = forward(batch.image)
        loss = loss_of(logits.float(), batch.vessels, mask)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if settings.gradient_clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
        optimiser.step()
        if averaged is not None:
            _update_average(averaged, model, settings.average_weights)
        state.steps += 1
        if schedule is not None and settings.schedule != "plateau":
            schedule.step()
        running.add(loss, logits, batch, mask)
    state.samples += running.samples
    row = running.row("train")
    # Checked once an epoch: a check a step would make the GPU wait for the CPU at every step.
    if not math.isfinite(row["train_loss"]):
        raise FloatingPointError(
            f"the training loss is not finite in epoch {epoch} (step {state.steps}): "
            f"lower training.learning_rate ({settings.learning_rate:g}) or check the loss options"
        )
    return row


def _validation_batches(validation, settings: TrainingSettings, seed: int) -> list[list[Prepared]]:
    """What validation looks at: whole images one by one (their sizes may differ), or batches of patches."""
    if not validation or settings.patches is None or settings.patches.validation is None:
        return [[sample] for sample in validation]
    patches = validation_patches(validation, settings.patches, seed)
    return [patches[i : i + settings.batch_size] for i in range(0, len(patches), settings.batch_size)]


@torch.no_grad()
def _validate(model, checks, loss_of, settings, inputs, device) -> dict[str, float]:
    model.eval()
    running = _Running(device)
    for pixels in checks:
        batch = to_batch(pixels, inputs)
        mask = region_mask(batch, settings.loss_region)
        with autocast(device, settings.amp, settings.amp_cpu):
            logits = model(batch.image)
        logits = logits.float()
        running.add(loss_of(logits, batch.vessels, mask), logits, batch, mask)
    return running.row("validation")


@dataclass
class _State:
    """All that a resumed run needs beside weights, optimiser and schedule."""

    epoch: int = 0
    steps: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    step_seconds: float = 0.0
    samples: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_loss: float = math.inf
    best_epoch: int = 0
    best_weights: dict[str, torch.Tensor] | None = None
    stopped: bool = False
    resumed_from: list[int] = field(default_factory=list)

    def finish_epoch(self, row: dict[str, float], model: nn.Module, settings: TrainingSettings) -> None:
        self.epoch = int(row["epoch"])
        self.history.append(row)
        loss = row.get("validation_loss", math.inf)
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, self.epoch
            if settings.keep == "best":
                self.best_weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self.stopped = settings.patience is not None and self.epoch - self.best_epoch >= settings.patience


def _save(path: Path, state: _State, parts: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    content = {"state": vars(state)} | {name: part.state_dict() for name, part in parts.items()}
    with partial.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _load(path: Path, parts: dict[str, Any], device: torch.device) -> _State:
    content = torch.load(path, map_location=device, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(content[name])
    state = _State(**content["state"])
    state.resumed_from.append(state.epoch)
    return state


def _check(training: Sequence[Prepared], validation: Sequence[Prepared], settings: TrainingSettings) -> None:
    if not training:
        raise ValueError("training: expected at least one sample, got none")
    if settings.looks_at_validation and not validation:
        raise ValueError(
            f"{settings.looks_at_validation} looks at the validation loss, but no validation samples were given"
        )
