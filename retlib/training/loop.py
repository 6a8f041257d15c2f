"""The training loop itself."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from retlib.acceleration import chosen_kernels, kept_memory, tensor_float
from retlib.batches import (
    Batch,
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
from retlib.training.checkpoints import Clock, State, load, save
from retlib.training.optimisation import build_optimiser, build_schedule, update_average
from retlib.training.scores import Running, region_mask
from retlib.training.settings import TrainingSettings

# Between two checkpoints, inside an epoch as well: what a killed run loses at most, validation apart.
CHECKPOINT_SECONDS = 300.0
# At the end of an epoch on CUDA, since the last checkpoint. On the CPU every epoch is kept.
CUDA_CHECKPOINT_SECONDS = 60.0


@dataclass
class Trained:
    """What training leaves: the network (weights chosen by ``keep``), its history, and how long it took."""

    model: nn.Module
    history: list[dict[str, float]]
    epoch: int  # the epoch (from 1) whose weights these are
    seconds: float  # spent in training steps and validation, over all resumed parts
    steps: int
    # Epochs done when a killed run was picked up: 2 after the second one, 2.25 a quarter into the third.
    resumed_from: list[float] = field(default_factory=list)
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
            last checkpoint), and inside an epoch five minutes after the last time; resumed from if it exists.
        progress: called after each epoch with (epochs done, epochs planned, that epoch's row of the history).

    Raises:
        ValueError: no training samples; validation needed and absent.
        FloatingPointError: the loss is not finite; the message names epoch and step.
    """
    _check(training, validation, settings)
    seed_torch(seed, "weights")
    model = model_of().to(device, memory_format=torch.channels_last)
    loss_of = build_loss(settings.loss, **settings.loss_options)
    # Made where batches are, so that no step waits for them.
    distances = settings.loss_region if loss_of.uses_distances else None
    optimiser = build_optimiser(model, settings)
    source = Source(
        training,
        inputs,
        augmentation=settings.augmentation,
        copies=settings.augmented_copies,
        patches=settings.patches,
        batch_size=settings.batch_size,
        seed=seed,
        distances=distances,
    )
    planned = settings.epochs * source.steps
    # On the device as they are stored; what the network sees is made of them anew in every epoch.
    checks = [
        stack_pixels(samples, inputs, stored=True, distances=distances).each(lambda part: part.to(device))
        for samples in _validation_batches(validation, settings, seed)
    ]
    schedule = build_schedule(optimiser, settings, planned)
    averaged = None if settings.average_weights is None else AveragedModel(model, use_buffers=True)
    kept = model if averaged is None else averaged.module
    parts = {"model": model, "optimiser": optimiser, "schedule": schedule, "averaged": averaged}
    parts = {name: part for name, part in parts.items() if part is not None}
    state = State()
    if checkpoint is not None and checkpoint.exists():
        state = load(checkpoint, parts, device)
    epochs = range(state.epoch + 1, 1 if state.stopped else settings.epochs + 1)

    with ExitStack() as stack:
        supply = choose_supply(source, device)
        first = 0 if state.inside is None else state.inside["step"]
        batches = stack.enter_context(closing(supply_batches(source, epochs, device, supply, first)))
        acceleration = {
            **supply._asdict(),
            "memory_kept": stack.enter_context(kept_memory(device)),
            "kernels_timed": stack.enter_context(chosen_kernels(device, source.shape is not None)),
            "tensor_float": tensor_float(device),
        }
        saved, clock = time.perf_counter(), Clock()
        for epoch in epochs:
            clock.lap()
            seed_torch(seed, "epoch", epoch)
            row, running, done = {"epoch": epoch, "learning_rate": optimiser.param_groups[0]["lr"]}, Running(device), 0
            if state.inside is not None:
                row, done = state.reenter(running, device)
            model.train()
            for step, batch in enumerate(itertools.islice(batches, source.steps - done), done + 1):
                _step(model, averaged, batch, loss_of, optimiser, schedule, settings, device, running)
                state.steps += 1
                if checkpoint is not None and time.perf_counter() - saved >= CHECKPOINT_SECONDS:
                    _check_finite(running, settings, epoch, state.steps)
                    state.enter(row, step, source.steps, running, device)
                    state.spend(clock.lap(), steps=True)
                    save(checkpoint, state, parts)
                    saved = time.perf_counter()
                    clock.lap()  # writing the checkpoint is no part of training
            _check_finite(running, settings, epoch, state.steps)
            row |= running.row("train")
            state.samples += running.samples
            state.spend(clock.lap(), steps=True)
            if checks:
                row |= _validate(kept, checks, loss_of, settings, inputs, device)
            if settings.schedule == "plateau":
                schedule.step(row["validation_loss"])
            state.spend(clock.lap())
            state.finish_epoch(row, kept, settings)
            over = state.stopped or epoch == settings.epochs
            # An epoch on a GPU may take less time than its checkpoint does.
            if checkpoint is not None and (
                over or device.type != "cuda" or time.perf_counter() - saved >= CUDA_CHECKPOINT_SECONDS
            ):
                save(checkpoint, state, parts)
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


def seed_torch(*parts: object) -> None:
    """Seed torch's generators (CPU and CUDA) from any parts."""
    torch.manual_seed(derive_seed("torch", *parts))


def autocast(device: torch.device, cuda: bool, cpu: bool = False) -> torch.autocast:
    """bfloat16 autocast, if it is wanted on the kind of device at hand."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled={"cuda": cuda, "cpu": cpu}.get(device.type, False))


def _step(model, averaged, batch: Batch, loss_of, optimiser, schedule, settings, device, running: Running) -> None:
    """One optimiser step. On CUDA nothing here waits for the GPU."""
    mask = region_mask(batch, settings.loss_region)
    with autocast(device, settings.amp, settings.amp_cpu):
        logits = model(batch.image)
    loss = loss_of(logits.float(), batch.vessels, mask, batch.distances)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if settings.gradient_clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
    optimiser.step()
    if averaged is not None:
        update_average(averaged, model, settings.average_weights)
    if schedule is not None and settings.schedule != "plateau":
        schedule.step()
    running.add(loss, logits, batch, mask)


def _check_finite(running: Running, settings: TrainingSettings, epoch: int, steps: int) -> None:
    """Raise an error if the epoch's loss is not finite. Not for every step: this makes the GPU wait for the CPU."""
    if not math.isfinite(running.row("train")["train_loss"]):
        raise FloatingPointError(
            f"the training loss is not finite in epoch {epoch} (step {steps}): "
            f"lower training.learning_rate ({settings.learning_rate:g}) or check the loss options"
        )


def _validation_batches(validation, settings: TrainingSettings, seed: int) -> list[list[Prepared]]:
    """What validation looks at: whole images one by one (their sizes may differ), or batches of patches."""
    if not validation or settings.patches is None or settings.patches.validation is None:
        return [[sample] for sample in validation]
    patches = validation_patches(validation, settings.patches, seed)
    return [patches[i : i + settings.batch_size] for i in range(0, len(patches), settings.batch_size)]


@torch.no_grad()
def _validate(model, checks, loss_of, settings, inputs, device) -> dict[str, float]:
    model.eval()
    running = Running(device)
    for pixels in checks:
        batch = to_batch(pixels, inputs)
        mask = region_mask(batch, settings.loss_region)
        with autocast(device, settings.amp, settings.amp_cpu):
            logits = model(batch.image)
        logits = logits.float()
        running.add(loss_of(logits, batch.vessels, mask, batch.distances), logits, batch, mask)
    return running.row("validation")


def _check(training: Sequence[Prepared], validation: Sequence[Prepared], settings: TrainingSettings) -> None:
    if not training:
        raise ValueError("training: expected at least one sample, got none")
    if settings.looks_at_validation and not validation:
        raise ValueError(
            f"{settings.looks_at_validation} looks at the validation loss, but no validation samples were given"
        )
