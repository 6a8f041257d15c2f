"""Save and load checkpoints: weights, optimiser, schedule and the state of the loop."""

from __future__ import annotations

import io
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from retlib.files import load_tensors, write_whole
from retlib.training.settings import TrainingSettings

if TYPE_CHECKING:
    from retlib.training.loop import Scores


@dataclass(kw_only=True)
class Progress:
    """What a training has done so far, and how long it took, over all resumed parts."""

    steps: int = 0
    samples: int = 0  # images or patches that the steps saw
    seconds: float = 0.0  # spent in training steps and validation
    step_seconds: float = 0.0  # of `seconds`, those spent in training steps: validation and checkpoints left out
    # Of one core, over all threads of this process: unlike `seconds`, the same on a quiet and on a busy machine.
    cpu_seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    # Epochs done when a killed run was resumed: 2 after the second one, 2.25 a quarter into the third.
    resumed_from: list[float] = field(default_factory=list)


@dataclass(kw_only=True)
class State(Progress):
    """Everything that a resumed run needs besides weights, optimiser and schedule."""

    epoch: int = 0  # the last one that is finished
    best_loss: float = math.inf
    best_epoch: int = 0
    best_weights: dict[str, torch.Tensor] | None = None
    stopped: bool = False
    inside: dict[str, Any] | None = None  # what `enter` saves of an unfinished epoch; None between two epochs

    @property
    def done(self) -> float:
        """Count the epochs done: 2 after the second one, 2.25 a quarter into the third."""
        return self.epoch if self.inside is None else round(self.epoch + self.inside["share"], 4)

    def spend(self, lap: tuple[float, float], *, steps: bool = False) -> None:
        """Add a lap of a `Clock`; ``steps``: it was spent in training steps."""
        self.seconds += lap[0]
        self.cpu_seconds += lap[1]
        self.step_seconds += lap[0] if steps else 0.0

    def enter(self, row: dict[str, float], step: int, steps: int, scores: Scores, device: torch.device) -> None:
        """Record the position inside an epoch: its ``row`` so far, and ``step`` of ``steps`` done, with their scores.

        The state of torch's generators, from which dropout draws, is recorded for the CPU and for ``device``.
        """
        self.inside = {"row": row, "step": step, "share": step / steps, "running": scores.state_dict()}
        self.inside["random"] = {"cpu": torch.get_rng_state()}
        if device.type == "cuda":
            self.inside["random"]["cuda"] = torch.cuda.get_rng_state(device)

    def reenter(self, scores: Scores, device: torch.device) -> tuple[dict[str, float], int]:
        """Restore scores and generators from :meth:`enter`; returns the row and the number of steps done."""
        content = self.inside
        scores.load_state_dict(content["running"])
        torch.set_rng_state(content["random"]["cpu"].cpu())
        if device.type == "cuda" and "cuda" in content["random"]:
            torch.cuda.set_rng_state(content["random"]["cuda"].cpu(), device)
        return content["row"], content["step"]

    def finish_epoch(self, row: dict[str, float], model: nn.Module, settings: TrainingSettings) -> None:
        """Add the row of an epoch, keep its weights if it is the best so far, and stop when patience runs out."""
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
        self._last = time.perf_counter(), time.process_time()

    def lap(self) -> tuple[float, float]:
        """Return the seconds, and the seconds of CPU, since the last lap ended."""
        before, self._last = self._last, (time.perf_counter(), time.process_time())
        return self._last[0] - before[0], self._last[1] - before[1]


def save(path: Path, state: State, parts: dict[str, Any]) -> None:
    """Write ``state`` and the ``state_dict`` of each part to a file, which is replaced as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save({"state": vars(state)} | {name: part.state_dict() for name, part in parts.items()}, buffer)
    # Released here, not with the frames of an error: Python before 3.12.7 can crash when it collects those.
    with buffer.getbuffer() as content:
        write_whole(path, content)


def load(path: Path, parts: dict[str, Any], device: torch.device) -> State:
    """Load what :func:`save` wrote with the same names of parts: into the parts, with tensors on ``device``.

    Raises:
        ValueError: the file is damaged, or of another network; the message names it.
    """
    try:
        content = load_tensors(path, device)
        for name, part in parts.items():
            part.load_state_dict(content[name])
        state = State(**content["state"])
    except Exception as error:  # torch raises almost anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: no checkpoint of this run ({reason}); delete it, and the run starts anew") from None
    state.resumed_from.append(state.done)
    return state
