"""Statistics: bootstrap over images and seeds, signed-rank tests with Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy import stats

from retlib.metrics import COUNT_METRICS, Confusion, ScoreHistogram

RESAMPLES = 2000
ALPHA = 0.05


@lru_cache(maxsize=32)
def draw_images(images: int) -> np.ndarray:
    """Draw images with replacement: how often each is in each resample, int64 (resamples, images).

    The generator is seeded, so equal numbers give equal intervals, and runs on the same images are resampled alike.
    """
    return np.random.default_rng(20041).multinomial(images, np.full(images, 1 / images), size=RESAMPLES)


def resample_means(values: np.ndarray) -> np.ndarray:
    """Average the values of each seed over each resample of the images, undefined values left out.

    Args:
        values: float (seeds, images); NaN where a metric is undefined.

    Returns:
        float64 (seeds, resamples); NaN where a resample has no defined value.
    """
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    weights = draw_images(values.shape[1])
    known = ~np.isnan(values)
    total = weights @ known.T
    sums = weights @ np.where(known, values, 0.0).T
    return np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0).T


def resample_pooled(histograms: ScoreHistogram, threshold: float, metric: str) -> np.ndarray:
    """Score the pixels of each resample of the images together, float64 (resamples,).

    Args:
        histograms: one row an image.
        threshold: of the run.
        metric: one that counts at a threshold, ``auc`` or ``average_precision``; NaN for any other.
    """
    weights = draw_images(len(histograms.vessel))
    if metric in COUNT_METRICS:
        counts = histograms.counts(threshold)
        return getattr(Confusion(*(weights @ getattr(counts, name) for name in ("tp", "fp", "fn", "tn"))), metric)
    if metric in ("auc", "average_precision"):
        drawn = weights @ histograms.vessel, weights @ histograms.background
        return getattr(ScoreHistogram(histograms.edges, *drawn, ()), metric)()
    return np.full(RESAMPLES, np.nan)  # clDice of pooled pixels


def draw_seeds(samples: np.ndarray) -> np.ndarray:
    """Average resamples over seeds that are drawn with replacement: (seeds, resamples) -> (resamples,)."""
    seeds, resamples = samples.shape
    drawn = np.random.default_rng(20042).integers(seeds, size=(seeds, resamples))
    return samples[drawn, np.arange(resamples)].mean(axis=0)


def percentile_interval(samples: np.ndarray) -> tuple[float, float]:
    """Take the middle 95 % of the resamples; NaN where none is defined.

    Over few images such an interval is too narrow: see :func:`coverage_note`.
    """
    if np.isnan(samples).all():
        return math.nan, math.nan
    low, high = np.nanpercentile(samples, [2.5, 97.5])
    return float(low), float(high)


FEW_IMAGES = 9


def coverage_note(images: int) -> str:
    """Say how much less than 95 % a percentile interval over few images covers; empty from ten images on.

    The figures are of a simulation with normal scores, which tests repeat.
    """
    if images > FEW_IMAGES:
        return ""
    low, high = {2: (49, 54), 3: (72, 76)}.get(images, (80, 84) if images <= 5 else (84, 91))
    return f"over {images} images a 95 % percentile interval covers {low} to {high} %"


def holm(p_values: Sequence[float]) -> np.ndarray:
    """P values adjusted for their number by Holm's step-down method (Scand. J. Statist. 6, 65-70, 1979).

    The k-th smallest of m is multiplied by m - k + 1, and none may fall below the one before it. Reject where the
    result is at most alpha: the chance of any false rejection is then at most alpha.

    Raises:
        ValueError: a value outside [0, 1].
    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.size and not ((values >= 0) & (values <= 1)).all():
        raise ValueError("p_values: expected numbers from 0 to 1")
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(values.size, 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def signed_rank(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test on paired values; 1 where no pair differs, NaN without a pair.

    Pairs with an undefined value are left out. The null distribution is exact where no two differences tie.
    """
    change = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    change = change[~np.isnan(change)]
    if not change.size:
        return math.nan
    if not change.any():
        return 1.0
    return float(stats.wilcoxon(change).pvalue)


def smallest_p(images: int) -> float:
    """Compute the smallest two-sided p that the signed-rank test can give: every image on the same side, 2 / 2^n."""
    return min(1.0, 2.0 ** (1 - images))
