"""Score logits on the native grid: metrics per image, score histograms, error maps."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from retlib.data import FundusSample
from retlib.inference import probabilities
from retlib.metrics import METRICS, ScoreHistograms, betti_errors, evaluate, skeleton_overlap, vessel_width_recall
from retlib.study.config import ScoringSettings
from retlib.study.records import FileContent

# clDice needs skeletons, which are computed once here and pooled from their counts.
PIXEL_METRICS = tuple(metric for metric in METRICS if metric != "cldice")

# Recall of the truth's skeleton where a vessel is up to 2, 2 to 4, and over 4 pixels wide.
WIDTH_RECALLS = ("recall_thin", "recall_medium", "recall_wide")

# Values of an error map, with a colour-blind safe palette (Okabe and Ito): never red against green.
BACKGROUND, TRUE_VESSEL, MISSED, FALSE_POSITIVE, OUTSIDE = range(5)
ERROR_COLOURS = {
    BACKGROUND: (255, 255, 255),
    TRUE_VESSEL: (60, 60, 60),
    MISSED: (230, 120, 0),
    FALSE_POSITIVE: (0, 114, 178),
    OUTSIDE: (225, 225, 225),
}


def best_threshold(logits: Sequence[np.ndarray], samples: Sequence[FundusSample], region: str) -> float:
    """Find the probability threshold with the highest pooled Dice on these images, inside the region.

    Candidates are the edges of the images' score histogram (about a thousand quantiles of their scores).
    """
    histograms = score_histograms(logits, samples, 0.5)
    return float(histograms.select(region=region, pooled=True).best_threshold("dice"))


def choose_threshold(
    scoring: ScoringSettings,
    predict: Callable[[Sequence[FundusSample]], Sequence[np.ndarray]],
    training: Sequence[FundusSample],
    validation: Sequence[FundusSample],
) -> float:
    """Return the fixed threshold, or the best one on the training or validation images, see `best_threshold`.

    ``predict`` gives logits on the native grid, float32 (H, W) per sample.

    Raises:
        ValueError: the threshold needs validation images, and there are none.
    """
    if not isinstance(scoring.threshold, str):
        return scoring.threshold
    samples = training if scoring.threshold == "training" else validation
    if not samples:
        raise ValueError("scoring.threshold: 'validation' needs validation images, but validation is 0")
    return best_threshold(predict(samples), samples, scoring.region)


def score_histograms(
    logits: Sequence[np.ndarray], samples: Sequence[FundusSample], threshold: float
) -> ScoreHistograms:
    """Count vessel and background logits in a histogram per image, inside and outside the FOV.

    The edges are quantiles of the scores inside the FOV, where vessels and background have to be told apart.
    """
    return ScoreHistograms.from_logits(
        [s.name for s in samples],
        logits,
        [s.vessels for s in samples],
        [s.fov for s in samples],
        thresholds=(0.5, threshold),
    )


def score_test(
    label: str, logits: Sequence[np.ndarray], samples: Sequence[FundusSample], threshold: float, region: str
) -> tuple[dict[str, Any], dict[str, FileContent]]:
    """Compute all that a record holds of one test selection.

    Args:
        label: ``"drive:test"``; gives the files their names.
        logits: float32 (H, W) each, native grid.
        samples: the images, in the same order.
        threshold: probability at which everything is scored.
        region: ``fov`` or ``frame``: the region of the error maps and of the ranking of cases.

    Returns:
        The entry for record.json, and the files that it names.
    """
    scores = [probabilities(x) for x in logits]
    vessels = [s.vessels for s in samples]
    regions = {"fov": [s.fov for s in samples], "frame": [None] * len(samples)}
    metrics, per_image = {}, {}
    for name, masks in regions.items():
        rows, overlaps = [], []
        for score, truth, mask in zip(scores, vessels, masks, strict=True):
            prediction = score >= threshold
            overlap = skeleton_overlap(prediction, truth, fov=mask)
            row = evaluate(score, truth, fov=mask, threshold=threshold, metrics=PIXEL_METRICS)
            row["cldice"] = overlap.cldice
            if mask is not None:
                row |= betti_errors(prediction, truth, fov=mask)
                recalls = vessel_width_recall(prediction, truth, fov=mask, edges=(2, 4))
                row |= zip(WIDTH_RECALLS, recalls.values(), strict=True)
            rows.append(row)
            overlaps.append(overlap)
        per_image[name] = {key: [row[key] for row in rows] for key in rows[0]}
        pooled = evaluate(scores, vessels, fov=masks, threshold=threshold, average="pooled", metrics=PIXEL_METRICS)
        pooled["cldice"] = sum(overlaps[1:], start=overlaps[0]).cldice
        metrics[name] = {"image": {key: _mean(column) for key, column in per_image[name].items()}, "pooled": pooled}
    stem = label.replace(":", "-").replace("/", "-").replace("@", "-")
    files: dict[str, FileContent] = {f"{stem}.npz": score_histograms(logits, samples, threshold).save}
    cases = {}
    for case, index in pick_cases(per_image[region]["dice"]).items():
        sample = samples[index]
        mask = sample.fov if region == "fov" else np.ones_like(sample.fov)
        file = f"{stem}.{case}.png"
        files[file] = error_map_png(error_map(scores[index] >= threshold, sample.vessels, mask))
        cases[case] = {"image": sample.name, "file": file}
    names = [sample.name for sample in samples]
    entry = {"images": names, "metrics": metrics, "per_image": per_image, "scores": f"{stem}.npz", "cases": cases}
    return entry, files


def pick_cases(dice: Sequence[float]) -> dict[str, int]:
    """Pick the images that are shown: those of highest, median (the lower of two) and lowest Dice, and the first.

    The first one is the same for every model, whatever its scores.
    """
    known = [index for index in np.argsort(dice, kind="stable") if not math.isnan(dice[index])]
    if not known:
        return {}
    middle = known[(len(known) - 1) // 2]
    return {"best": int(known[-1]), "median": int(middle), "worst": int(known[0]), "first": 0}


def error_map(prediction: np.ndarray, vessels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mark BACKGROUND, TRUE_VESSEL, MISSED, FALSE_POSITIVE and OUTSIDE, uint8 (H, W), from three bool (H, W) arrays."""
    result = np.full(vessels.shape, BACKGROUND, np.uint8)
    result[vessels & prediction] = TRUE_VESSEL
    result[vessels & ~prediction] = MISSED
    result[~vessels & prediction] = FALSE_POSITIVE
    result[~mask] = OUTSIDE
    return result


def error_map_png(values: np.ndarray, longest: int = 1200) -> bytes:
    """Encode an error map as a palette PNG; one longer than ``longest`` pixels is thinned by whole steps."""
    step = -(-max(values.shape) // longest)
    image = Image.fromarray(np.ascontiguousarray(values[::step, ::step]), mode="P")
    image.putpalette([channel for key in sorted(ERROR_COLOURS) for channel in ERROR_COLOURS[key]])
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
