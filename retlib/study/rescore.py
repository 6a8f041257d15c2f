"""Score runs in another way: against resized labels, or after single epochs.

Each has a config and an id of its own (see `retlib.study.config`) and is recorded beside the runs, so that its numbers
come from records too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from retlib.data import FundusSample
from retlib.device import pick_device
from retlib.inference import probabilities
from retlib.metrics import evaluate
from retlib.predict.weights import State, fill, read_state
from retlib.preprocessing import InputSettings, to_grid
from retlib.study.config import EpochsConfig, RescoredConfig
from retlib.study.environment import environment
from retlib.study.records import Made, Record, Store, find_or_make
from retlib.study.runner import (
    build,
    load_samples,
    load_training,
    predict_all,
    train,
    weights_path,
)
from retlib.study.scoring import choose_threshold, score_test


def rescore(
    config: RescoredConfig, store: Store | str | Path, *, root: str | Path | None = None, device: str = "cpu"
) -> Record | None:
    """Score a finished run against resized labels, at its own threshold.

    The network is applied as in the run. Its logits are then resized to ``grid`` bilinearly, and the labels and the FOV
    by nearest neighbour, as in pipelines that resize a whole data set once.

    Returns:
        The record; None where the run has no record, or this machine has not kept its weights.
    """
    store, run = Store(store), config.run
    sound, weights = store.find(run, root=root, stale=False), weights_path(run.identify(root))

    def make(_: Path) -> Made:
        target = pick_device(device)
        model = fill(build(run), read_state(weights), weights)
        model.to(target, memory_format=torch.channels_last)  # as in training: another layout changes the last bits
        selection, threshold = run.test[0], sound.content["threshold"]
        samples = load_samples(selection, run, root)
        resized = [to_grid(sample, InputSettings(resample=config.grid)) for sample in samples]
        logits = [
            cv2.resize(native, config.grid[::-1], interpolation=cv2.INTER_LINEAR)
            for native in predict_all(model, samples, run, target)
        ]
        entry, files = score_test(selection.label, logits, resized, threshold, config.scoring.region)
        content = {
            "environment": environment(target),
            "model": sound.content["model"],
            "threshold": threshold,
            "history": [],
            "tests": {selection.label: entry},
        }
        return content, files

    if store.get(config.identify(root)) is None and (sound is None or not weights.is_file()):
        return None
    return find_or_make(config, store, root, make)


def score_epochs(
    config: EpochsConfig, store: Store | str | Path, *, root: str | Path | None = None, device: str = "cpu"
) -> Record:
    """Train a run again and score its test images during training, each time at a threshold from the training images.

    ``epochs`` of the record holds one row per scored epoch: epoch, threshold, and mean Dice and AUC over the test
    images, inside the run's region. Training is that of the run, seeds included, so the last row is the run itself. A
    killed training resumes from its last checkpoint.

    Raises:
        ValueError: the run keeps the best epoch on validation images, stops early, or is pre-trained: its last epoch
            would not be the run's result.
    """
    run = config.run

    def make(work: Path) -> Made:
        if run.training.looks_at_validation or run.pretraining is not None:
            raise ValueError(
                "score_epochs: expected a run without validation and pre-training, whose last epoch counts"
            )
        target = pick_device(device)
        training, validation = load_training(run, root)
        test = load_samples(run.test[0], run, root)
        vessels = [sample.vessels for sample in test]
        fovs = [sample.fov if run.scoring.region == "fov" else None for sample in test]
        checkpoint, log = work / "checkpoint.pt", work / "epochs.json"
        model = build(run).to(target, memory_format=torch.channels_last).eval()  # as in training
        rows: list[dict[str, float]] = json.loads(log.read_text()) if log.is_file() else []

        def predict(samples: Sequence[FundusSample]) -> list[np.ndarray]:
            return predict_all(model, samples, run, target)

        def score(epoch: int, planned: int, _: dict[str, float]) -> None:
            if epoch % config.every and epoch != planned:
                return
            model.load_state_dict(_last_epoch(checkpoint))
            threshold = choose_threshold(run.scoring, predict, training, validation)
            maps = [probabilities(logits) for logits in predict(test)]
            scores = evaluate(maps, vessels, fovs, threshold, average="image", metrics=("dice", "auc"))
            rows.append({"epoch": epoch, "threshold": threshold} | scores)
            log.write_text(json.dumps(rows))

        trained = train(run, training, validation, device=target, checkpoint=checkpoint, progress=score)
        content = {
            "environment": environment(target),
            "history": trained.history,
            "test_images": [sample.name for sample in test],
            "epochs": sorted({row["epoch"]: row for row in rows}.values(), key=lambda row: row["epoch"]),
            "tests": {},
        }
        return content, {}

    return find_or_make(config, store, root, make)


def _last_epoch(checkpoint: Path) -> State:
    """Read the weights of the last finished epoch: their running average if training keeps one."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    if "averaged" not in content:
        return content["model"]
    return {k.removeprefix("module."): v for k, v in content["averaged"].items() if k.startswith("module.")}
