"""Protocol faults that a record cannot show: a truth that was resized, and an epoch that was picked on test images.

Both are recorded beside the runs, with configs and ids of their own, so that their numbers come from records too.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from filelock import FileLock
from pydantic import Field
from torch import nn

from retlib.data import FundusSample
from retlib.files import cache_folder
from retlib.inference import predict_logits, probabilities
from retlib.metrics import evaluate
from retlib.preprocessing import InputSettings, prepare, to_grid
from retlib.study import (
    NUMERICS,
    Record,
    RunConfig,
    ScoringSettings,
    Selection,
    Store,
    load_samples,
    load_weights,
    pick_device,
)
from retlib.study.config import Profile, Recorded
from retlib.study.environment import environment
from retlib.study.runner import build
from retlib.study.scoring import best_threshold, score_test
from retlib.training import fit


class _Faulty(Recorded):
    """What both have in common: a run of the study, and the profile, numerics and scoring that a record names."""

    profile: Profile
    numerics: int = NUMERICS
    scoring: ScoringSettings
    run: RunConfig

    def stated(self) -> dict[str, Any]:
        """What makes the fault, and the run."""
        run = self.run.model_copy(update={"numerics": self.numerics})
        return self.model_dump(mode="json", exclude={"run", "profile", "scoring"}) | {"run": run.stated()}

    def selections(self) -> dict[str, Selection]:
        """Those of the run."""
        return self.run.selections()


class RescoredConfig(_Faulty):
    """The predictions of a run, scored against labels that were resized to ``grid`` (H, W)."""

    kind: Literal["rescored"] = "rescored"
    grid: tuple[int, int] = (512, 512)

    @classmethod
    def of(cls, run: RunConfig) -> RescoredConfig:
        """Of a run; phantoms are smaller, and so is the grid."""
        grid = (80, 80) if run.profile == "smoke" else (512, 512)
        return cls(profile=run.profile, scoring=run.scoring, run=run, grid=grid)


class EpochsConfig(_Faulty):
    """A run that is trained again and scored on its test images after every ``every``-th epoch and after the last."""

    kind: Literal["epochs"] = "epochs"
    every: int = Field(1, ge=1)

    @classmethod
    def of(cls, run: RunConfig) -> EpochsConfig:
        """Of a run: about ten scorings."""
        return cls(profile=run.profile, scoring=run.scoring, run=run, every=max(1, run.training.epochs // 10))


def rescore(
    config: RescoredConfig, store: Store | str | Path, *, root: str | None = None, device: str = "cpu"
) -> Record | None:
    """Score a finished run against resized labels; its threshold is kept.

    The network is applied as in the run; its logits are then brought to ``grid`` bilinearly and the labels and the FOV
    by nearest neighbour, as pipelines do that resize a data set once and never look back.

    Returns:
        The record; None where the run has no record, or this machine has not kept its weights.
    """
    store = store if isinstance(store, Store) else Store(store)
    if (found := store.find(config, root=root)) is not None and not found.stale:
        return found
    record, weights = store.find(config.run, root=root, stale=False), load_weights(config.run.identify(root))
    if record is None or weights is None:
        return None
    model = build(config.run).eval()
    model.load_state_dict(weights)
    target = pick_device(device)
    model.to(target, memory_format=torch.channels_last)  # as in training: another layout moves the last bits
    selection = config.run.test[0]
    samples = load_samples(selection, config.run, root)
    resized = [to_grid(sample, InputSettings(resample=config.grid)) for sample in samples]
    logits = []
    for sample in samples:
        native = predict_logits(
            model, sample, config.run.inputs, config.run.inference, device=target, amp=config.run.training.amp
        )
        logits.append(cv2.resize(native, config.grid[::-1], interpolation=cv2.INTER_LINEAR))
    threshold = record.content["threshold"]
    entry, files = score_test(selection.label, logits, resized, threshold, config.scoring.region)
    content = config.header(root) | {
        "environment": environment(target),
        "model": record.content["model"],
        "threshold": threshold,
        "history": [],
        "tests": {selection.label: entry},
    }
    return store.write(content, files)


def score_epochs(
    config: EpochsConfig, store: Store | str | Path, *, root: str | None = None, device: str = "cpu"
) -> Record:
    """Train a run again and score its test images as it goes, each time at a threshold from the training images.

    ``epochs`` of the record holds one row a scored epoch: epoch, threshold, and mean Dice and AUC over the test images,
    inside the run's region. Training is that of the run, seeds and all, so the last row is the run itself. A killed one
    goes on from its last checkpoint.

    Raises:
        ValueError: the run keeps the best epoch on validation images, stops early, or is pre-trained: its last epoch
            would not be the run's result.
    """
    store = store if isinstance(store, Store) else Store(store)
    if (found := store.find(config, root=root)) is not None and not found.stale:
        return found
    run, target = config.run, pick_device(device)
    if run.training.looks_at_validation or run.pretraining is not None:
        raise ValueError("score_epochs: expected a run without validation and pre-training, whose last epoch counts")
    training_names, held_out = run.split_training()
    training = load_samples(run.train, run, root, training_names)
    validation = load_samples(run.train, run, root, held_out) if held_out else []
    test = load_samples(run.test[0], run, root)
    work = cache_folder() / "work" / config.identify(root)
    work.mkdir(parents=True, exist_ok=True)
    checkpoint, log = work / "checkpoint.pt", work / "epochs.json"
    model = build(run)

    with FileLock(work.with_suffix(".lock")):
        rows: list[dict[str, float]] = json.loads(log.read_text()) if log.is_file() else []

        def score(epoch: int, planned: int, _: dict[str, float]) -> None:
            if epoch % config.every and epoch != planned:
                return
            _load_epoch(model, checkpoint)
            # A threshold from training, as the run has it; a fixed probability stays what it is.
            chosen = run.scoring.threshold
            if isinstance(chosen, str):
                images = training if chosen == "training" else validation
                chosen = best_threshold(_predict(model, images, run, target), images, run.scoring.region)
            rows.append({"epoch": epoch, "threshold": chosen} | _scores(model, test, run, target, chosen))
            log.write_text(json.dumps(rows))

        trained = fit(
            lambda: build(run),
            [prepare(s, run.inputs) for s in training],
            [prepare(s, run.inputs) for s in validation],
            run.training,
            run.inputs,
            seed=run.seed,
            device=target,
            checkpoint=checkpoint,
            progress=score,
        )
        content = config.header(root) | {
            "environment": environment(target),
            "history": trained.history,
            "test_images": [sample.name for sample in test],
            "epochs": sorted({row["epoch"]: row for row in rows}.values(), key=lambda row: row["epoch"]),
            "tests": {},
        }
        record = store.write(content, {})
        shutil.rmtree(work, ignore_errors=True)
    return record


def _load_epoch(model: nn.Module, checkpoint: Path) -> None:
    """Weights of the last finished epoch: their running average where training keeps one."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    state = content["model"]
    if "averaged" in content:
        state = {k.removeprefix("module."): v for k, v in content["averaged"].items() if k.startswith("module.")}
    model.load_state_dict(state)


def _predict(model: nn.Module, samples: Sequence[FundusSample], run: RunConfig, device: torch.device):
    model.to(device, memory_format=torch.channels_last).eval()  # as in training
    return [
        predict_logits(model, sample, run.inputs, run.inference, device=device, amp=run.training.amp)
        for sample in samples
    ]


def _scores(
    model: nn.Module, samples: Sequence[FundusSample], run: RunConfig, device: torch.device, threshold: float
) -> dict[str, float]:
    maps: list[np.ndarray] = [probabilities(logits) for logits in _predict(model, samples, run, device)]
    fovs = [sample.fov if run.scoring.region == "fov" else None for sample in samples]
    names = ("dice", "auc")
    vessels = [sample.vessels for sample in samples]
    return evaluate(maps, vessels, fov=fovs, threshold=threshold, average="image", metrics=names)
