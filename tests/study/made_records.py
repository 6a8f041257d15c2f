"""Records that no network made: scores are given image by image, so that what follows from them is known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import numpy as np

from retlib.metrics import ScoreHistograms
from retlib.study import Record, RunConfig, Store
from retlib.study.scoring import error_map_png

METRICS = ("dice", "auc", "cldice", "betti0_error", "recall_thin")
# (label of the test selection, image, metric) -> score
Score = Callable[[str, str, str], float]


def write_record(
    store: Store, config: RunConfig, score: Score, history: list[Mapping[str, float]] | None = None
) -> Record:
    """Write a record of a config with these scores; what it holds beside them is small and the same for all."""
    tests, files = {}, {}
    for selection in config.test:
        images = list(selection.names())
        stem = selection.label.replace(":", "-").replace("/", "-").replace("@", "-")
        columns = {metric: [float(score(selection.label, image, metric)) for image in images] for metric in METRICS}
        means = {metric: float(np.mean(values)) for metric, values in columns.items()}
        files[f"{stem}.npz"] = _histograms(images).save
        files[f"{stem}.first.png"] = error_map_png(np.ones((8, 8), np.uint8))
        tests[selection.label] = {
            "images": images,
            "metrics": {"fov": {"image": means, "pooled": means}},
            "per_image": {"fov": columns},
            "scores": f"{stem}.npz",
            "cases": {"first": {"image": images[0], "file": f"{stem}.first.png"}},
        }
    content = {
        "id": config.identify(),
        "config": config.model_dump(mode="json"),
        "model": {"parameters": 1000},
        "threshold": 0.5,
        "history": history or [{"epoch": 1, "train_dice": 0.5}, {"epoch": 2, "train_dice": 0.6}],
        "tests": tests,
        "timing": {"training_s": 60.0},
    }
    return store.write(content, files)


def _histograms(images: list[str]) -> ScoreHistograms:
    """Scores of a few pixels an image: all right at a threshold of 0.73 (a logit of 1), not at 0.5."""
    vessels = np.zeros((16, 16), bool)
    vessels[:, :4] = True
    logits = np.where(vessels, 2.0, np.where(np.arange(16) < 6, 0.5, -2.0)).astype(np.float32)
    noise = [np.random.default_rng(int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)) for name in images]
    logits_of = [logits + rng.uniform(-0.1, 0.1, logits.shape).astype(np.float32) for rng in noise]
    fov = np.ones_like(vessels)
    return ScoreHistograms.from_logits(
        images, logits_of, [vessels] * len(images), [fov] * len(images), thresholds=(0.5,)
    )
