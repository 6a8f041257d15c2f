"""ROC, precision-recall and reliability curves of contenders, joined over folds and averaged over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retlib.comparison.contenders import Contender
from retlib.metrics import Calibration

BINS = 10
GRID = np.concatenate([np.linspace(0, 0.02, 81), np.linspace(0.02, 1, 197)[1:]])


@dataclass(frozen=True)
class Reliability:
    """How often a predicted probability comes true, over equally wide bins.

    Attributes:
        predicted: (bins,) mean predicted probability; NaN in an empty bin.
        observed: (bins,) share of vessel pixels.
        pixels: (bins,) pixels.
    """

    predicted: np.ndarray
    observed: np.ndarray
    pixels: np.ndarray

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean over pixels of |mean prediction of the bin - share of vessel in it|."""
        known = self.pixels > 0
        gap = np.abs(self.predicted[known] - self.observed[known])
        return float((gap * self.pixels[known]).sum() / self.pixels.sum())


def roc(contender: Contender) -> np.ndarray:
    """Mean true-positive rate at the false-positive rates of `GRID`, over images' pooled pixels; folds and seeds."""
    curves = []
    for record in contender.records:
        false, true, _ = record.histograms().select(region="fov").roc_curve()
        curves.append(np.interp(GRID, false, true))
    return np.mean(curves, axis=0)


def precision_recall(contender: Contender) -> np.ndarray:
    """Mean precision at the recalls of `GRID`, over images' pooled pixels; folds and seeds."""
    curves = []
    for record in contender.records:
        precision, recall, _ = record.histograms().select(region="fov").pr_curve()
        curves.append(np.interp(GRID, recall, precision))
    return np.mean(curves, axis=0)


def reliability(contender: Contender) -> Reliability:
    """Reliability inside the FOV, the pixels of all images, folds and seeds together."""
    return join([record.histograms().select(region="fov").calibration(BINS) for record in contender.records])


def join(parts: Sequence[Calibration]) -> Reliability:
    """The reliability of several sets of pixels as of one."""
    pixels = np.sum([part.pixels for part in parts], axis=0)
    sums = [np.sum([np.nan_to_num(getattr(p, name)) * p.pixels for p in parts], axis=0) for name in _SIDES]
    mean = [np.divide(total, pixels, out=np.full(total.shape, np.nan), where=pixels > 0) for total in sums]
    return Reliability(mean[0], mean[1], pixels)


_SIDES = ("predicted", "observed")
