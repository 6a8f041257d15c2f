"""Train a network: the loop, its optimiser and schedule, and the scores of an epoch."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from retlib.device import autocast, keep_freed_memory
from retlib.losses import build_loss
from retlib.preprocessing import InputSettings, Prepared
from retlib.training.batches import Batch, TrainingDataset, choose_workers, load_batches, stack_samples, to_batch
from retlib.training.checkpoints import Clock, Progress, State, load, save
from retlib.training.sampling import derive_seed, validation_patches
from retlib.training.settings import TrainingSettings

# Between two checkpoints, inside an epoch as well: a killed run loses at most this, validation aside.
CHECKPOINT_SECONDS = 300.0
# At the end of an epoch on CUDA, since the last checkpoint. On the CPU every epoch is saved.
CUDA_CHECKPOINT_SECONDS = 60.0


@dataclass(kw_only=True)
class Trained(Progress):
    """A trained network (weights chosen by ``keep``), its history, and how long it took."""

    model: nn.Module
    epoch: int  # the epoch (from 1) whose weights these are
    acceleration: dict[str, Any]  # what made `fit` fast; the last part's, if resumed


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
        settings: batches, loss, optimiser, schedule and stopping.
        inputs: normalisation of the input.
        seed: every random choice follows from it.
        device: where to train.
        checkpoint: file that is rewritten after each epoch (on CUDA, after the first one that ends a minute after the
            last checkpoint), and inside an epoch five minutes after the last time; resumed from if it exists.
        progress: called after each epoch with (epochs done, epochs planned, that epoch's row of the history).

    Raises:
        ValueError: no training samples; validation needed and absent.
        FloatingPointError: the loss is not finite; the message names epoch and step.
    """
    if not training:
        raise ValueError("training: expected at least one sample, got none")
    if (needs := settings.looks_at_validation) and not validation:
        raise ValueError(f"{needs} looks at the validation loss, but no validation samples were given")

    # Network, loss, data. Signed distances, where the loss uses them, are made with the batches.
    seed_torch(seed, "weights")
    model = model_of().to(device, memory_format=torch.channels_last)
    loss_of = build_loss(settings.loss, **settings.loss_options)
    distances = settings.loss_region if loss_of.uses_distances else None
    dataset = TrainingDataset(training, inputs, settings, seed, distances)
    # On the device before normalisation, which takes a quarter of the memory; normalised anew in every epoch.
    checks = [
        stack_samples(samples, inputs, distances).each(lambda part: part.to(device))
        for samples in _validation_batches(validation, settings, seed)
    ]

    # Optimiser, schedule, moving average of the weights (which is then validated and kept).
    optimiser = build_optimiser(model, settings)
    schedule = build_schedule(optimiser, settings, settings.epochs * dataset.steps)
    averaged = None
    if settings.average_weights is not None:
        decayed = get_ema_multi_avg_fn(settings.average_weights)
        averaged = AveragedModel(model, multi_avg_fn=decayed, use_buffers=True)
    kept = model if averaged is None else averaged.module

    # Start, or resume from the checkpoint: after an epoch, or after some steps of one.
    parts = {"model": model, "optimiser": optimiser, "schedule": schedule, "averaged": averaged}
    parts = {name: part for name, part in parts.items() if part is not None}
    state = load(checkpoint, parts, device) if checkpoint is not None and checkpoint.exists() else State()
    epochs = range(state.epoch + 1, 1 if state.stopped else settings.epochs + 1)
    first_step = 0 if state.inside is None else state.inside["step"]

    with ExitStack() as stack:
        # With batches of one shape cuDNN times its convolutions and takes the fastest.
        timed = device.type == "cuda" and dataset.constant_shape
        stack.callback(setattr, torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)
        torch.backends.cudnn.benchmark |= timed
        kept_memory = stack.enter_context(keep_freed_memory(device))
        workers = choose_workers(device)
        batches = stack.enter_context(closing(load_batches(dataset, epochs, device, workers, first_step)))
        saved, clock = time.perf_counter(), Clock()
        for epoch in epochs:
            clock.lap()
            seed_torch(seed, "epoch", epoch)
            row, scores, done = {"epoch": epoch, "learning_rate": optimiser.param_groups[0]["lr"]}, Scores(device), 0
            if state.inside is not None:
                row, done = state.reenter(scores, device)

            # Training steps.
            model.train()
            for step, batch in enumerate(itertools.islice(batches, dataset.steps - done), done + 1):
                _step(model, averaged, batch, loss_of, optimiser, schedule, settings, device, scores)
                state.steps += 1
                if checkpoint is not None and time.perf_counter() - saved >= CHECKPOINT_SECONDS:
                    _check_finite(scores, settings, epoch, state.steps)
                    state.enter(row, step, dataset.steps, scores, device)
                    state.spend(clock.lap(), steps=True)
                    save(checkpoint, state, parts)
                    saved = time.perf_counter()
                    clock.lap()  # writing the checkpoint is no part of training
            _check_finite(scores, settings, epoch, state.steps)
            row |= scores.row("train")
            state.samples += scores.samples
            state.spend(clock.lap(), steps=True)

            # Validation, and whether to stop.
            if checks:
                row |= _validate(kept, checks, loss_of, settings, inputs, device)
            if settings.schedule == "plateau":
                schedule.step(row["validation_loss"])
            state.spend(clock.lap())
            state.finish_epoch(row, kept, settings)
            over = state.stopped or epoch == settings.epochs

            # Checkpoint. An epoch on a GPU may take less time than writing one.
            if checkpoint is not None and (
                over or device.type != "cuda" or time.perf_counter() - saved >= CUDA_CHECKPOINT_SECONDS
            ):
                save(checkpoint, state, parts)
                saved = time.perf_counter()
            if progress is not None:
                progress(epoch, settings.epochs, row)
            if over:
                break

    if settings.keep == "best":
        kept.load_state_dict(state.best_weights)
    return Trained(
        model=kept.eval(),
        epoch=state.best_epoch if settings.keep == "best" else state.epoch,
        acceleration={"workers": workers, "memory_kept": kept_memory, "kernels_timed": timed},
        **{part.name: getattr(state, part.name) for part in fields(Progress)},
    )


def _step(model, averaged, batch: Batch, loss_of, optimiser, schedule, settings, device, scores: Scores) -> None:
    """Take one optimiser step. On CUDA nothing here waits for the GPU."""
    loss = _score(model, batch, loss_of, settings, device, scores)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if settings.gradient_clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
    optimiser.step()
    if averaged is not None:
        averaged.update_parameters(model)
    if schedule is not None and settings.schedule != "plateau":
        schedule.step()


@torch.no_grad()
def _validate(model, checks, loss_of, settings, inputs, device) -> dict[str, float]:
    """Score the network on the validation batches."""
    model.eval()
    scores = Scores(device)
    for raw in checks:
        _score(model, to_batch(raw, inputs), loss_of, settings, device, scores)
    return scores.row("validation")


def _score(model, batch: Batch, loss_of, settings: TrainingSettings, device, scores: Scores) -> torch.Tensor:
    """Apply the network to a batch, add the batch to the scores, and return its mean loss."""
    mask = region_mask(batch, settings.loss_region)
    with autocast(device, settings.amp, settings.amp_cpu):
        logits = model(batch.image)
    logits = logits.float()
    loss = loss_of(logits, batch.vessels, mask, batch.distances)
    scores.add(loss, logits, batch, mask)
    return loss


def _validation_batches(validation, settings: TrainingSettings, seed: int) -> list[list[Prepared]]:
    """Batch the validation samples: whole images one by one (their sizes may differ), or batches of patches."""
    if not validation or settings.patches is None or settings.patches.validation is None:
        return [[sample] for sample in validation]
    patches = validation_patches(validation, settings, seed)
    return [patches[i : i + settings.batch_size] for i in range(0, len(patches), settings.batch_size)]


def seed_torch(*parts: object) -> None:
    """Seed torch's generators (CPU and CUDA) from any parts."""
    torch.manual_seed(derive_seed("torch", *parts))


def build_optimiser(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Build Adam, AdamW or SGD over all parameters, with fused kernels on CUDA."""
    fused = next(model.parameters()).is_cuda
    common = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay, "fused": fused}
    if settings.optimiser == "sgd":
        return torch.optim.SGD(model.parameters(), momentum=settings.momentum, **common)
    kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    return kind(model.parameters(), **common)


def build_schedule(optimiser: torch.optim.Optimizer, settings: TrainingSettings, steps: int) -> Any:
    """Build the learning-rate schedule over ``steps`` optimiser steps; ``None`` for a constant rate.

    Raises:
        ValueError: ``schedule_options`` that the schedule does not have.
    """
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


def region_mask(batch: Batch, region: str) -> torch.Tensor | None:
    """Return float32 (N, 1, h, w), 1 where the loss and the scores look; None: everywhere."""
    return batch.fov if region == "fov" else None


class Scores:
    """Loss, accuracy, sensitivity and Dice of an epoch, at probability 0.5, pooled over the pixels of a region.

    They are summed on the device, so that no step waits for the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        # Loss times samples; then pixels: true positive, predicted, vessel, all.
        self.sums = torch.zeros(5, device=device, dtype=torch.float64)
        self.samples = 0

    @torch.no_grad()
    def add(self, loss: torch.Tensor, logits: torch.Tensor, batch: Batch, mask: torch.Tensor | None) -> None:
        """Add a batch: its mean loss, a scalar, and its logits (N, 1, h, w)."""
        predicted = (logits >= 0).to(batch.vessels.dtype)
        vessels = batch.vessels
        if mask is not None:
            predicted, vessels = predicted * mask, vessels * mask
            pixels = _count(mask)
        else:  # filled on the device; a tensor made of a Python number would be copied there, and waited for
            pixels = torch.full((), vessels.numel(), device=vessels.device, dtype=torch.float64)
        counts = [_count(predicted * vessels), _count(predicted), _count(vessels), pixels]
        self.sums += torch.stack([loss.detach().double() * len(logits), *counts])
        self.samples += len(logits)

    def state_dict(self) -> dict[str, Any]:
        """Return the sums so far; on CUDA this waits for the GPU."""
        return {"sums": self.sums.tolist(), "samples": self.samples}

    def load_state_dict(self, content: dict[str, Any]) -> None:
        """Restore the sums from :meth:`state_dict`."""
        self.sums = torch.tensor(content["sums"], device=self.sums.device, dtype=torch.float64)
        self.samples = content["samples"]

    def row(self, prefix: str) -> dict[str, float]:
        """Return the scores by name, with ``prefix`` in front; NaN where no pixel is a vessel."""
        loss, overlap, predicted, vessel, pixels = self.sums.tolist()
        correct = pixels - predicted - vessel + 2 * overlap
        return {
            f"{prefix}_loss": loss / self.samples,
            f"{prefix}_accuracy": correct / pixels,
            f"{prefix}_sensitivity": overlap / vessel if vessel else math.nan,
            f"{prefix}_dice": 2 * overlap / (predicted + vessel) if predicted + vessel else math.nan,
        }


def _count(ones: torch.Tensor) -> torch.Tensor:
    """Sum float32 zeros and ones exactly, as float64: float32 is exact up to 2^24, so rows are summed in it first."""
    return ones.sum(dim=-1).sum(dtype=torch.float64)


def _check_finite(scores: Scores, settings: TrainingSettings, epoch: int, steps: int) -> None:
    """Raise an error if the epoch's loss is not finite. Not for every step: this makes the CPU wait for the GPU."""
    if not math.isfinite(scores.row("train")["train_loss"]):
        raise FloatingPointError(
            f"the training loss is not finite in epoch {epoch} (step {steps}): "
            f"lower training.learning_rate ({settings.learning_rate:g}) or check the loss options"
        )
