"""Statistics: bootstrap over images and seeds, signed-rank tests with Holm's correction, mean ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from retlib.metrics import COUNT_METRICS, Confusion, ScoreHistogram

RESAMPLES = 2000
ALPHA = 0.05


@lru_cache(maxsize=32)
def draw_images(images: int, resamples: int = RESAMPLES) -> np.ndarray:
    """Draw images with replacement: how often each is in each resample, int64 (resamples, images).

    The generator is seeded, so equal numbers give equal intervals, and runs on the same images are resampled alike.
    """
    return np.random.default_rng(20041).multinomial(images, np.full(images, 1 / images), size=resamples)


def resample_means(values: np.ndarray, resamples: int = RESAMPLES) -> np.ndarray:
    """Average the values of each seed over each resample of the images, undefined values left out.

    Args:
        values: float (seeds, images); NaN where a metric is undefined.
        resamples: how many.

    Returns:
        float64 (seeds, resamples); NaN where a resample has no defined value.
    """
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    weights = draw_images(values.shape[1], resamples)
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


def percentile_interval(samples: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Take the middle part of the resamples; NaN where none is defined.

    Over few images such an interval is too narrow: see :func:`coverage_note`.
    """
    if np.isnan(samples).all():
        return math.nan, math.nan
    low, high = np.nanpercentile(samples, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def interval(values: np.ndarray, level: float = 0.95, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Bootstrap the mean over images and seeds: percentile interval of a two-level resampling.

    A resample draws one set of images for all seeds, then as many seeds as there are, and averages the seeds' means.

    Args:
        values: float (seeds, images); NaN where a metric is undefined.
        level: share of the resamples inside the interval.
        resamples: how many.
    """
    return percentile_interval(draw_seeds(resample_means(values, resamples)), level)


FEW_IMAGES = 9


def coverage_note(images: int) -> str:
    """Say how much less than 95 % a percentile interval over few images covers; empty from ten images on.

    The figures are of a simulation with normal scores, which tests repeat.
    """
    if images > FEW_IMAGES:
        return ""
    low, high = {2: (49, 54), 3: (72, 76)}.get(images, (80, 84) if images <= 5 else (84, 91))
    return f"over {images} images a 95 % percentile interval covers {low} to {high} %"


def mean(values: np.ndarray) -> float:
    """Mean over seeds of the means over images, undefined values left out; NaN where nothing is defined."""
    rows = [row[~np.isnan(row)] for row in np.atleast_2d(np.asarray(values, dtype=np.float64))]
    means = [row.mean() for row in rows if row.size]
    return float(np.mean(means)) if means else math.nan


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


@dataclass(frozen=True)
class Power:
    """What a family of paired tests could show at best.

    Attributes:
        images: pairs a test.
        comparisons: tests in the family.
        smallest: smallest two-sided p that the signed-rank test can give on so many images, 2 / 2^n: every image
            on the same side.
        strictest: Holm's level for the smallest of the p values, alpha / comparisons.
    """

    images: int
    comparisons: int
    smallest: float
    strictest: float

    @property
    def possible(self) -> bool:
        """Whether any difference, however large, could pass."""
        return self.smallest <= self.strictest

    @property
    def most(self) -> int:
        """The most comparisons among which so many images could still decide one."""
        return int(self.strictest * self.comparisons / self.smallest)


def power(images: int, comparisons: int, alpha: float = ALPHA) -> Power:
    """The smallest p that so many images can give, against Holm's strictest level.

    Raises:
        ValueError: no image or no comparison.
    """
    if images < 1 or comparisons < 1:
        raise ValueError(f"power: expected at least one image and one comparison, got {images} and {comparisons}")
    return Power(images, comparisons, min(1.0, 2.0 ** (1 - images)), alpha / comparisons)


def paired_tests(
    values: Mapping[str, np.ndarray], pairs: Sequence[tuple[str, str]] | None = None, alpha: float = ALPHA
) -> pd.DataFrame:
    """Signed-rank tests of a family of pairs, with Holm's correction over the family.

    Args:
        values: name -> (images,) one value an image (mean over seeds), all of the same images in the same order.
        pairs: (first, second); all pairs by default.
        alpha: level of the family.

    Returns:
        A line a pair: first, second, difference (mean of first minus second), wins (share of images on which first
        is higher, ties counting half), p, adjusted, significant (adjusted at most alpha).

    Raises:
        ValueError: arrays of different lengths.
    """
    if len({len(column) for column in values.values()}) > 1:
        raise ValueError("values: expected one value an image, of the same images for every name")
    lines = []
    for first, second in combinations(values, 2) if pairs is None else pairs:
        change = np.asarray(values[first]) - np.asarray(values[second])
        change = change[~np.isnan(change)]
        lines.append(
            {
                "first": first,
                "second": second,
                "difference": change.mean() if change.size else math.nan,
                "wins": (change > 0).mean() + (change == 0).mean() / 2 if change.size else math.nan,
                "p": signed_rank(values[second], values[first]),
            }
        )
    frame = pd.DataFrame(lines, columns=["first", "second", "difference", "wins", "p"])
    frame["adjusted"] = holm(frame["p"].fillna(1.0))
    frame["significant"] = frame["adjusted"] <= alpha
    return frame


def mean_ranks(values: Mapping[str, np.ndarray]) -> pd.Series:
    """Mean rank over images, 1 for the highest value of an image, ties sharing their ranks; best first."""
    table = np.column_stack([np.asarray(column, dtype=np.float64) for column in values.values()])
    table = table[~np.isnan(table).any(axis=1)]
    ranks = stats.rankdata(-table, axis=1)
    return pd.Series(ranks.mean(axis=0), index=list(values)).sort_values(kind="stable")


def friedman(values: Mapping[str, np.ndarray]) -> float:
    """P of Friedman's test that all have the same distribution of ranks; NaN for fewer than three names."""
    if len(values) < 3:
        return math.nan
    table = np.column_stack(list(values.values()))
    table = table[~np.isnan(table).any(axis=1)]
    if len(table) < 2:
        return math.nan
    return float(stats.friedmanchisquare(*table.T).pvalue)


def critical_difference(names: int, images: int, alpha: float = ALPHA) -> float:
    """Nemenyi's critical difference of mean ranks: q sqrt(k (k + 1) / (6 N)) (Demsar, JMLR 7, 2006, section 3.2.2).

    Args:
        names: k, how many are compared; at least 2.
        images: N, how many images rank them.
        alpha: level; q is the studentised range's upper point for k groups and infinite degrees, over the root of 2.
    """
    q = stats.studentized_range.ppf(1 - alpha, names, np.inf) / math.sqrt(2)
    return float(q * math.sqrt(names * (names + 1) / (6 * images)))


def cliques(ranks: np.ndarray, reach: float) -> list[tuple[int, int]]:
    """Find the longest runs of sorted ranks whose ends lie within ``reach``: (first, last), none inside another."""
    runs: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = int(np.searchsorted(ranks, ranks[first] + reach, side="right")) - 1
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs
