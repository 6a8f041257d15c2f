"""What a killed run goes on from: a file with weights, optimiser, schedule and the state of the loop."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from retlib.training.scores import Running
from retlib.training.settings import TrainingSettings


@dataclass
class State:
    """All that a resumed run needs beside weights, optimiser and schedule."""

    epoch: int = 0  # the last one that is finished
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
    resumed_from: list[float] = field(default_factory=list)  # `done` at each time that a killed run was picked up
    inside: dict[str, Any] | None = None  # what `enter` keeps of the epoch under way; None between two epochs

    @property
    def done(self) -> float:
        """Epochs done: 2 after the second one, 2.25 a quarter into the third."""
        return self.epoch if self.inside is None else round(self.epoch + self.inside["share"], 4)

    def spend(self, lap: tuple[float, float], *, steps: bool = False) -> None:
        """Add a lap of a `Clock`; ``steps``: it was spent in training steps."""
        self.seconds += lap[0]
        self.cpu_seconds += lap[1]
        self.step_seconds += lap[0] if steps else 0.0

    def enter(self, row: dict[str, float], step: int, steps: int, running: Running, device: torch.device) -> None:
        """Keep what a run needs to go on inside an epoch.

        Args:
            row: the epoch's row of the history so far.
            step: steps of this epoch that are done.
            steps: steps of the whole epoch.
            running: its loss and scores so far.
            device: where it trains; dropout draws from the generators of this device and of the CPU.
        """
        random = {"cpu": torch.get_rng_state()}
        if device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(device)
        self.inside = {"row": row, "step": step, "share": step / steps, "running": running.state_dict()}
        self.inside["random"] = random

    def reenter(self, running: Running, device: torch.device) -> tuple[dict[str, float], int]:
        """Put sums and generators back as :meth:`enter` found them; returns the row and the steps that are done."""
        content = self.inside
        running.load_state_dict(content["running"])
        torch.set_rng_state(content["random"]["cpu"].cpu())
        if device.type == "cuda" and "cuda" in content["random"]:
            torch.cuda.set_rng_state(content["random"]["cuda"].cpu(), device)
        return content["row"], content["step"]

    def finish_epoch(self, row: dict[str, float], model: nn.Module, settings: TrainingSettings) -> None:
        """Take the row of an epoch: the best one so far, and whether patience is at its end."""
        self.epoch, self.inside = int(row["epoch"]), None
        self.history.append(row)
        loss = row.get("validation_loss", math.inf)
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, self.epoch
            if settings.keep == "best":
                self.best_weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self.stopped = settings.patience is not None and self.epoch - self.best_epoch >= settings.patience


class Clock:
    """Wall-clock and CPU time in laps, both in seconds."""

    def __init__(self) -> None:
        self._last = self._now()

    def lap(self) -> tuple[float, float]:
        """Seconds, and seconds of CPU, since the last lap ended."""
        before, self._last = self._last, self._now()
        return self._last[0] - before[0], self._last[1] - before[1]

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()


def save(path: Path, state: State, parts: dict[str, Any]) -> None:
    """Write ``state`` and the ``state_dict`` of each part to a file, all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    content = {"state": vars(state)} | {name: part.state_dict() for name, part in parts.items()}
    with partial.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load(path: Path, parts: dict[str, Any], device: torch.device) -> State:
    """Read what :func:`save` wrote: the parts take their state, the loop's is returned.

    Args:
        path: the file.
        parts: the same names as were saved.
        device: where the tensors go.
    """
    content = torch.load(path, map_location=device, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(content[name])
    state = State(**content["state"])
    state.resumed_from.append(state.done)
    return state
