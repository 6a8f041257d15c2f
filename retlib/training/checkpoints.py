"""What a killed run goes on from: a file with weights, optimiser, schedule and the state of the loop."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from retlib.training.settings import TrainingSettings


@dataclass
class State:
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
        """Take the row of an epoch: the best one so far, and whether patience is at its end."""
        self.epoch = int(row["epoch"])
        self.history.append(row)
        loss = row.get("validation_loss", math.inf)
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, self.epoch
            if settings.keep == "best":
                self.best_weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self.stopped = settings.patience is not None and self.epoch - self.best_epoch >= settings.patience


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
    state.resumed_from.append(state.epoch)
    return state
