"""A short warm-up: a few steps, one prediction and one scoring of a run at its full size, timed."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import cache
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from retlib.batches import grid_corners
from retlib.data import FundusSample
from retlib.data.phantom import make_phantom
from retlib.experiments import RunConfig, load_samples, pick_device
from retlib.experiments.runner import build, environment
from retlib.experiments.scoring import score_test
from retlib.inference import predict_logits
from retlib.models import count_parameters
from retlib.preprocessing import Prepared, prepare
from retlib.reproduce.estimates import Pace, native_megapixels
from retlib.training import fit

MOST_STEPS = 10
"""Steps that are timed, if the allowance has room for so many."""


def warm_up(config: dict[str, Any], root: str | None, device: str, allowance: float) -> dict[str, Any]:
    """Measure the pace of a run; writes nothing.

    The first step, which chooses kernels and takes memory, is timed alone; then, as far as the allowance goes, further
    steps; at least one, unless the first alone took three times the allowance. A single step cannot be cut short, so a
    warm-up takes one step, one prediction and one scoring at least.

    Args:
        config: the run, as `RunConfig.model_dump` gives it.
        root: folder of the data sets.
        device: where to run.
        allowance: seconds to aim at.

    Returns:
        The fields of a `Pace`, and ``seconds``: what the warm-up itself took.
    """
    began = time.perf_counter()
    parsed = RunConfig.parse(config)
    target = pick_device(device)
    _wake(target)
    if target.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(target)
    sample = load_samples(parsed.train, parsed, root, parsed.split_training()[0][:1])[0]
    prepared = prepare(sample, parsed.inputs)
    loading = time.perf_counter() - began
    settings = parsed.training
    tiles = None
    if settings.patches is not None and settings.patches.layout == "grid":
        tiles = len(grid_corners(prepared, settings.patches))
    started = time.perf_counter()
    model = build(parsed)
    _train(parsed, model, prepared, target, steps=1)
    first = step = time.perf_counter() - started
    if first < 3 * allowance:
        steps = max(1, min(MOST_STEPS, int(allowance / (4 * first))))
        step = min(first, _train(parsed, model, prepared, target, steps=steps))
    prediction = _time_prediction(parsed, model.eval(), sample, target, twice=step < allowance / 10)
    scoring = time_scoring(sample, parsed.scoring.region)
    pace = Pace(
        step=step,
        prediction=prediction,
        scoring=scoring,
        megapixels=native_megapixels(parsed.train, parsed),
        start=max(0.0, first - step),
        loading=loading,
        tiles=tiles,
        parameters=count_parameters(model),
        memory_mib=torch.cuda.max_memory_reserved(target) / 2**20 if target.type == "cuda" else None,
    )
    del model
    if target.type == "cuda":
        torch.cuda.empty_cache()
    return {"pace": asdict(pace), "seconds": time.perf_counter() - began}


def describe(device: str, measured: bool) -> dict[str, Any]:
    """Say what a lane runs on.

    Returns:
        ``environment``; ``memory_mib`` of its GPU, or None; ``scoring``, seconds a megapixel, 0 unless ``measured``.
    """
    target = pick_device(device)
    memory = torch.cuda.get_device_properties(target).total_memory / 2**20 if target.type == "cuda" else None
    scoring = time_scoring(make_phantom(0, height=292, width=282), "fov") if measured else 0.0
    return {"environment": environment(target), "memory_mib": memory, "scoring": scoring}


def time_scoring(sample: FundusSample, region: str) -> float:
    """Seconds that all scores of one image take, per million pixels; its own blurred label stands for a prediction."""
    logits = cv2.GaussianBlur(sample.vessels.astype(np.float32), (0, 0), 1.5) * 8 - 4
    started = time.perf_counter()
    score_test("warm:up", [logits], [sample], 0.5, region)
    return (time.perf_counter() - started) / (sample.vessels.size / 1e6)


@cache
def _wake(device: torch.device) -> None:
    """One step of a tiny net: what the first step of a process loads and starts is no run's own time."""
    phantoms = {"dataset": "phantom", "options": {"count": 1, "height": 64, "width": 64}}
    tiny = RunConfig.parse(
        {
            "profile": "smoke",
            "seed": 0,
            "train": {**phantoms, "split": "training"},
            "test": [{**phantoms, "split": "test"}],
            "model": "unet",
            "model_options": {"width": 2, "depth": 1},
            "training": {"epochs": 1, "batch_size": 1, "learning_rate": 1e-3, "augmentation": "dihedral"},
        }
    )
    sample, model = make_phantom(0, height=64, width=64), build(tiny)
    _train(tiny, model, prepare(sample, tiny.inputs), device, steps=1)
    _time_prediction(tiny, model.eval(), sample, device, twice=False)
    time_scoring(sample, "fov")


def _train(config: RunConfig, model: nn.Module, prepared: Prepared, device: torch.device, steps: int) -> float:
    """Seconds a step, of the second of two epochs of so many steps; of one step alone, nothing is measured twice."""
    settings = config.training
    changes: dict[str, Any] = {
        "epochs": 1 if steps == 1 else 2,
        "learning_rate": 1e-9,  # the weights are thrown away, and no schedule may make them explode
        "schedule": "constant",
        "schedule_options": {},
        "patience": None,
        "keep": "last",
    }
    visited = steps * settings.batch_size
    images = -(-visited // (settings.copies + 1))
    if settings.patches is not None:
        images = 1
        drawn = {"per_epoch": visited, "validation": None, "layout": "random"}
        changes["patches"] = settings.patches.model_copy(update=drawn)
    ends = [time.perf_counter()]
    fit(
        lambda: model,
        [prepared] * images,
        [],
        settings.model_copy(update=changes),
        config.inputs,
        seed=config.seed,
        device=device,
        progress=lambda *_: ends.append(time.perf_counter()),
    )
    return (ends[-1] - ends[-2]) / steps


def _time_prediction(
    config: RunConfig, model: nn.Module, sample: FundusSample, device: torch.device, twice: bool
) -> float:
    """Seconds of one prediction: the second one, where there is time for two."""
    seconds = 0.0
    for _ in range(2 if twice else 1):
        started = time.perf_counter()
        predict_logits(model, sample, config.inputs, config.inference, device=device, amp=config.training.amp)
        seconds = time.perf_counter() - started
    return seconds
