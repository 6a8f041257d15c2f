"""Scoring a test set against scikit-learn and torchmetrics: the same numbers, then the time.

Twenty probability maps of DRIVE's size, made of phantoms and seeded noise; all metrics but clDice. scikit-learn is
asked in two ways: one function a metric, as its documentation shows, and the faster way of those who know it, one
confusion matrix from which seven scores follow. torchmetrics gets a MetricCollection, whose metrics share their counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn import metrics as sk

from retlib.data import load_dataset
from retlib.metrics import METRICS, evaluate

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

pytestmark = pytest.mark.benchmark

NAMES = [name for name in METRICS if name != "cldice"]


@pytest.fixture(scope="module")
def test_set() -> tuple[list, list, list]:
    """Maps float32, vessels and FOVs of twenty phantoms of 584x565 pixels."""
    rng = np.random.default_rng(0)
    samples = load_dataset("phantom", split="test")
    noise = [rng.normal(size=s.vessels.shape) for s in samples]
    maps = [expit(1.6 * n - 3 + 4.5 * s.vessels).astype(np.float32) for n, s in zip(noise, samples, strict=True)]
    return maps, [s.vessels for s in samples], [s.fov for s in samples]


def by_function(scores: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """scikit-learn, one function a metric."""
    found = scores >= 0.5
    return {
        "accuracy": sk.accuracy_score(truth, found),
        "sensitivity": sk.recall_score(truth, found),
        "specificity": sk.recall_score(truth, found, pos_label=0),
        "precision": sk.precision_score(truth, found),
        "dice": sk.f1_score(truth, found),
        "iou": sk.jaccard_score(truth, found),
        "mcc": sk.matthews_corrcoef(truth, found),
        "auc": sk.roc_auc_score(truth, scores),
        "average_precision": sk.average_precision_score(truth, scores),
    }


def by_counts(scores: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """scikit-learn, seven scores from one confusion matrix."""
    tn, fp, fn, tp = map(float, sk.confusion_matrix(truth, scores >= 0.5).ravel())
    return {
        "accuracy": (tp + tn) / (tp + tn + fp + fn),
        "sensitivity": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "precision": tp / (tp + fp),
        "dice": 2 * tp / (2 * tp + fp + fn),
        "iou": tp / (tp + fp + fn),
        "mcc": (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)),
        "auc": sk.roc_auc_score(truth, scores),
        "average_precision": sk.average_precision_score(truth, scores),
    }


def mean(each: list[dict[str, float]]) -> dict[str, float]:
    """Mean over images of every score."""
    return {name: float(np.mean([scores[name] for scores in each])) for name in NAMES}


def by_sklearn(one: Callable[..., dict], test_set: tuple, average: str) -> dict[str, float]:
    """scikit-learn on a test set."""
    each = [(p[f], v[f]) for p, v, f in zip(*test_set, strict=True)]
    if average == "image":
        return mean([one(*pixels) for pixels in each])
    return one(*(np.concatenate(parts) for parts in zip(*each, strict=True)))


def by_torchmetrics(collection: MetricCollection, test_set: tuple, average: str) -> dict[str, float]:
    """torchmetrics on a test set, one update an image."""
    each = []
    collection.reset()
    for scores, truth, fov in zip(*test_set, strict=True):
        if average == "image":
            collection.reset()
        collection.update(torch.from_numpy(scores[fov]), torch.from_numpy(truth[fov].astype(np.int64)))
        if average == "image":
            each.append({name: float(value) for name, value in collection.compute().items()})
    return mean(each) if each else {name: float(value) for name, value in collection.compute().items()}


@pytest.fixture(scope="module")
def collection() -> MetricCollection:
    """The nine metrics of torchmetrics, exact curves."""
    from torchmetrics import MetricCollection  # here: it takes seconds, and the suite reads this file too
    from torchmetrics import classification as tm

    return MetricCollection(
        {
            "accuracy": tm.BinaryAccuracy(),
            "sensitivity": tm.BinaryRecall(),
            "specificity": tm.BinarySpecificity(),
            "precision": tm.BinaryPrecision(),
            "dice": tm.BinaryF1Score(),
            "iou": tm.BinaryJaccardIndex(),
            "mcc": tm.BinaryMatthewsCorrCoef(),
            "auc": tm.BinaryAUROC(),
            "average_precision": tm.BinaryAveragePrecision(),
        }
    )


@pytest.mark.parametrize("average", ["image", "pooled"])
@pytest.mark.parametrize("library", ["sklearn", "counts", "torchmetrics"])
def test_scoring(library: str, average: str, test_set: tuple, collection: MetricCollection, compare) -> None:
    def ours() -> dict[str, float]:
        return evaluate(*test_set, average=average, metrics=NAMES)

    def theirs() -> dict[str, float]:
        if library == "torchmetrics":
            return by_torchmetrics(collection, test_set, average)
        return by_sklearn(by_counts if library == "counts" else by_function, test_set, average)

    # scikit-learn counts in float64 as we do; torchmetrics divides in float32.
    assert ours() == pytest.approx(theirs(), abs=1e-6 if library == "torchmetrics" else 1e-12)
    line = compare(f"scoring_{library}_{average}", ours, theirs, rounds=3)
    assert line["ratio"] >= line["limit"]
