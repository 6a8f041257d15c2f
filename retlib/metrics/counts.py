"""Count true and false pixels of a segmentation, and compute the seven scores that follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from retlib.metrics.checks import as_mask

COUNT_METRICS = ("accuracy", "sensitivity", "specificity", "precision", "dice", "iou", "mcc")


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> np.ndarray:
    """Divide in float64, with NaN where the denominator is 0: the score is undefined there."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)[()]


@dataclass(frozen=True)
class Confusion:
    """Pixel counts of a segmentation against the truth; vessel is the positive class.

    The four counts are integers, or integer arrays of one shape (an axis over images, over thresholds, ...):
    every score then has that shape. A score whose denominator is 0 is NaN: sensitivity without a vessel
    pixel, specificity without a background pixel, precision when nothing is predicted, Dice and IoU when
    neither truth nor prediction has a vessel pixel, MCC when truth or prediction holds one class only.

    Attributes:
        tp: vessel pixels found.
        fp: background pixels called vessel.
        fn: vessel pixels missed.
        tn: background pixels called background.
    """

    tp: int | np.ndarray
    fp: int | np.ndarray
    fn: int | np.ndarray
    tn: int | np.ndarray

    def __add__(self, other: Confusion) -> Confusion:
        """Add the counts of two images, to pool them."""
        return Confusion(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def total(self) -> int | np.ndarray:
        """Count the scored pixels."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def prevalence(self) -> float | np.ndarray:
        """Compute the share of vessel pixels in the truth."""
        return ratio(self.tp + self.fn, self.total)

    @property
    def accuracy(self) -> float | np.ndarray:
        """(TP + TN) / all."""
        return ratio(self.tp + self.tn, self.total)

    @property
    def sensitivity(self) -> float | np.ndarray:
        """TP / (TP + FN), the recall of vessel pixels."""
        return ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float | np.ndarray:
        """TN / (TN + FP)."""
        return ratio(self.tn, self.tn + self.fp)

    @property
    def precision(self) -> float | np.ndarray:
        """TP / (TP + FP)."""
        return ratio(self.tp, self.tp + self.fp)

    @property
    def dice(self) -> float | np.ndarray:
        """2 TP / (2 TP + FP + FN), the F1 score of the vessel class."""
        return ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float | np.ndarray:
        """TP / (TP + FP + FN), the Jaccard index of the vessel class."""
        return ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def mcc(self) -> float | np.ndarray:
        """Matthews' correlation coefficient, in [-1, 1]."""
        tp, fp, fn, tn = (np.asarray(count, np.float64) for count in (self.tp, self.fp, self.fn, self.tn))
        # Two square roots: the product of all four margins of a large test set is beyond what float64 holds
        # exactly.
        margins = np.sqrt((tp + fp) * (tn + fn)) * np.sqrt((tp + fn) * (tn + fp))
        return ratio(tp * tn - fp * fn, margins)

    def scores(self) -> dict[str, float | np.ndarray]:
        """Compute all seven scores by name, in the order of ``COUNT_METRICS``."""
        return {name: getattr(self, name) for name in COUNT_METRICS}


def confusion(prediction: ArrayLike, vessels: ArrayLike, fov: ArrayLike | None = None) -> Confusion:
    """Count the pixels of one binary segmentation.

    Args:
        prediction: (H,W) bool, or integers that are 0 or 1; True is vessel.
        vessels: (H,W) truth, likewise.
        fov: (H,W) mask of the pixels that count; None counts the whole frame.

    Raises:
        ValueError: an argument that is no mask, or whose shape differs from that of ``vessels``.
    """
    truth = as_mask(vessels, "vessels")
    predicted = as_mask(prediction, "prediction", truth.shape)
    if fov is not None:
        inside = as_mask(fov, "fov", truth.shape)
        predicted, truth = predicted[inside], truth[inside]
    return count(predicted, truth)


def count(prediction: np.ndarray, vessels: np.ndarray) -> Confusion:
    """Count the pixels of two bool arrays of one shape, unchecked."""
    found = int(np.count_nonzero(prediction & vessels))
    predicted, actual = int(np.count_nonzero(prediction)), int(np.count_nonzero(vessels))
    return Confusion(found, predicted - found, actual - found, vessels.size - predicted - actual + found)
