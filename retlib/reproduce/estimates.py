"""How long a run will take: the pace of its essence, times what it has to do."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from retlib.cache import cache_folder
from retlib.data.phantoms import phantom_options
from retlib.data.registry import get_collection
from retlib.experiments import Record, RunConfig, Selection, Store
from retlib.reproduce.order import DueRun
from retlib.training import TrainingSettings
from retlib.training.checkpoints import State

# What a training step's time does not depend on, or what the number of steps holds already.
_COUNTED = {
    "epochs",
    "learning_rate",
    "weight_decay",
    "momentum",
    "schedule",
    "schedule_options",
    "patience",
    "keep",
}


@dataclass(frozen=True)
class Pace:
    """What the parts of a run take on one device, in seconds.

    Attributes:
        step: One optimiser step.
        prediction: The logits of one image.
        scoring: The scores of one image, per million pixels of its native grid.
        megapixels: Size of the image that ``prediction`` was measured on.
        start: Once a run: what the first step takes beyond a usual one.
        loading: Reading and preparing one image.
        tiles: Tiles of one image, for a training on a grid of them.
        validates: Whether ``step`` already holds its share of the validation.
        parameters: Of the network.
        memory_mib: Peak of the GPU's memory; None on the CPU.
        source: ``warm-up``, or ``record`` and its id.
    """

    step: float
    prediction: float
    scoring: float
    megapixels: float
    start: float = 0.0
    loading: float = 0.0
    tiles: float | None = None
    validates: bool = False
    parameters: int = 0
    memory_mib: float | None = None
    source: str = "warm-up"


@dataclass(frozen=True)
class Estimate:
    """Seconds that a run still needs, and the pace that they come from."""

    seconds: float
    pace: Pace


def essence(config: RunConfig) -> str:
    """What decides the pace of a run: network, inputs, size of a batch, loss, augmentation and the kind of images.

    Runs that differ in seed, fold, number of epochs or learning rate have one essence, and one warm-up serves them all.
    """
    content = config.model_dump(mode="json", include={"model", "model_options", "inputs", "inference"})
    training = config.training.model_dump(mode="json", exclude=_COUNTED)
    if training["patches"] is not None:
        training["patches"] = {k: v for k, v in training["patches"].items() if k not in ("per_epoch", "validation")}
    images = {"dataset": config.train.dataset, "megapixels": native_megapixels(config.train, config)}
    return json.dumps(content | {"training": training, "images": images}, sort_keys=True)


def native_megapixels(selection: Selection, config: RunConfig) -> float:
    """Million pixels of the grid that an image of a selection is scored on."""
    if (fixed := config.inputs.resample or config.inputs.crop) is not None:
        return fixed[0] * fixed[1] / 1e6
    if selection.dataset == "phantom":
        options = phantom_options(**selection.options)
        return options["height"] * options["width"] / 1e6
    collection = get_collection(selection.dataset)
    return collection.height * collection.width / 1e6


def run_seconds(config: RunConfig, pace: Pace) -> float:
    """Seconds of a whole run at a pace; early stopping may end it sooner."""
    settings = config.training
    training, held_out = config.split_training()
    seconds = pace.start + pace.step * settings.epochs * epoch_steps(settings, len(training), pace.tiles)
    images = len(training) + len(held_out)
    if held_out and not pace.validates:
        patches = settings.patches
        if patches is None or patches.validation is None:
            seconds += settings.epochs * len(held_out) * pace.prediction
        else:  # forward alone: about a third of a step
            seconds += settings.epochs * patches.validation / settings.batch_size * pace.step / 3
    if config.pretraining is not None:
        first, count = config.pretraining.training, len(config.pretraining.train.names())
        seconds += pace.step * first.epochs * epoch_steps(first, count, pace.tiles)
        images += count
    if config.scoring.threshold == "training":
        seconds += len(training) * pace.prediction
    elif config.scoring.threshold == "validation":
        seconds += len(held_out) * pace.prediction
    fixed_size = config.inputs.size is not None or config.inputs.fov_side is not None
    for selection in config.test:
        pixels = native_megapixels(selection, config)
        prediction = pace.prediction * (1.0 if fixed_size else pixels / pace.megapixels)
        seconds += len(selection.names()) * (prediction + pace.scoring * pixels)
        images += len(selection.names())
    return seconds + images * pace.loading


def epoch_steps(settings: TrainingSettings, images: int, tiles: float | None) -> int:
    """Optimiser steps of one epoch over so many training images; ``tiles`` an image for a grid of unknown size."""
    patches = settings.patches
    if patches is None:
        visited: float = images * (settings.copies + 1)
    elif patches.layout == "grid":
        every = images * tiles if tiles else math.inf
        visited = min(every, patches.per_epoch or math.inf)
        visited = images if math.isinf(visited) else visited
    else:
        visited = patches.per_epoch
    return max(1, math.ceil(visited / settings.batch_size))


def device_name(environment: Mapping[str, Any]) -> str:
    """What a record's or a lane's environment ran on; two CPUs are told apart by cores and threads alone."""
    if environment["device"] == "cuda":
        return str(environment.get("gpu", "cuda"))
    return f"{environment['device']} with {environment['cores']} cores, {environment['threads']} threads"


def pace_of_record(record: Record, scoring: float) -> Pace:
    """The pace that a finished run went at; a record does not say what scoring took, so that is given."""
    content, config = record.content, record.config
    timing, training = content["timing"], content["training"]
    visited = training["steps"] * config.training.batch_size / len(content["history"])
    return Pace(
        step=timing["step_s"],
        prediction=timing["inference_s_per_image"],
        scoring=scoring,
        megapixels=native_megapixels(config.test[0], config),
        tiles=visited / len(training["images"]),
        validates=True,
        parameters=content["model"]["parameters"],
        memory_mib=content["environment"].get("peak_memory_mib"),
        source=f"record {record.id}",
    )


class Estimates:
    """Paces by essence, from records of the same device and from warm-ups.

    Args:
        store: records; those of another device, of other numerics or of another kind are passed over.
        device: what `device_name` says of the lanes.
        scoring: seconds that scoring takes there, per million pixels; 0, where it was not measured, leaves it out.
    """

    def __init__(self, store: Store, device: str, scoring: float) -> None:
        self.device, self._scoring = device, scoring
        self._paces: dict[str, Pace] = {}
        self._essences: dict[str, str] = {}
        self._whole: dict[tuple[str, Pace], float] = {}  # the plan asks again and again
        for record in store:
            self.learn(record)

    def learn(self, record: Record) -> None:
        """Take the pace of a record, if it is of this device and of the present numerics."""
        # The errors: a filter's record, or one of an older form.
        with contextlib.suppress(KeyError, ValueError, ZeroDivisionError):
            if not record.stale and device_name(record.content["environment"]) == self.device:
                self._paces[essence(record.config)] = pace_of_record(record, self._scoring)

    def get(self, run: DueRun) -> Estimate | None:
        """What a run still needs; None if nothing is known of its essence."""
        pace = self._paces.get(self._essence(run))
        if pace is None:
            return None
        if (run.id, pace) not in self._whole:
            self._whole[run.id, pace] = run_seconds(run.config, pace)
        return Estimate(self._whole[run.id, pace] * share_left(run), pace)

    def add(self, run: DueRun, pace: Pace) -> None:
        """Take the pace of a warm-up."""
        self._paces[self._essence(run)] = pace

    def same(self, left: DueRun, right: DueRun) -> bool:
        """Whether two runs have one essence."""
        return self._essence(left) == self._essence(right)

    def _essence(self, run: DueRun) -> str:
        if run.id not in self._essences:
            self._essences[run.id] = essence(run.config)
        return self._essences[run.id]


def share_left(run: DueRun) -> float:
    """Share of a run's epochs that its checkpoint in this machine's cache has not done yet; 1 without one."""
    path = cache_folder() / "work" / run.id / "checkpoint.pt"
    try:
        done = _epochs_done(path, path.stat().st_mtime_ns)
    except Exception:  # there is none; or whatever is wrong with it, the run itself will say
        return 1.0
    return max(0.0, 1.0 - done / run.config.training.epochs)


@cache
def _epochs_done(path: Path, changed_ns: int) -> float:
    """Epochs that a checkpoint has done; the time of change tells its states apart."""
    return State(**torch.load(path, map_location="cpu", weights_only=True, mmap=True)["state"]).done
