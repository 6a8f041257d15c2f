"""Choose the bin edges of score histograms: quantiles of the logits of each class.

A trained network puts nearly all pixels at probabilities next to 0 and 1, into two of a thousand uniform bins.
Quantiles put an equal share of pixels into every bin, which keeps their ranking.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

_LIMIT = np.finfo(np.float32).max
_RANKS = 512  # of a class's sorted logits, at which edges stand
CALIBRATION_GRID = tuple(step / 20 for step in range(1, 20))


def as_logits(values: ArrayLike, name: str) -> np.ndarray:
    """Convert logits to float32, and infinities (the logit of a hard 0 or 1) to the largest finite number.

    Raises:
        ValueError: another type than floating point, or a NaN.
    """
    array = np.asarray(values)
    if array.dtype.kind != "f":
        raise ValueError(f"{name} has type {array.dtype}: expected floating-point logits")
    if np.isnan(array).any():
        raise ValueError(f"{name} holds NaN: expected logits (a network that gives NaN has diverged)")
    with np.errstate(over="ignore"):
        return np.clip(array.astype(np.float32, copy=False), -_LIMIT, _LIMIT)


def threshold_to_logit(threshold: float) -> np.float32:
    """Find the smallest float32 logit whose probability is at least the threshold, which lies inside (0, 1).

    Found with the logistic function itself, so that ``logit >= threshold_to_logit(t)`` and ``expit(logit) >= t``
    say the same of every float32 logit (0.5 lies at -3.3e-16, from where expit gives 0.5). The rounded logit of
    the threshold does not: where the threshold is the probability of a pixel, it passes one such pixel in four.

    Raises:
        ValueError: a threshold that is not inside (0, 1).
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold is {threshold!r}: expected a probability inside (0, 1), which has a finite logit")
    # In doubles, where a float32 is exact: NumPy would compare a float32 with a float in single precision.
    middle = float(logit(np.float64(threshold)))
    low, high = np.float32(middle - 1), np.float32(middle + 64)  # far enough for expit to have come to 1
    while (between := np.float32((float(low) + float(high)) / 2)) not in (low, high):
        if expit(float(between)) >= threshold:
            high = between
        else:
            low = between
    return high


def histogram_edges(
    vessel_logits: ArrayLike,
    background_logits: ArrayLike,
    thresholds: Iterable[float] = (0.5,),
) -> np.ndarray:
    """Choose the edges for the score histograms of one run, from its scored pixels pooled over images.

    Edges stand at equally spaced ranks of each class's sorted logits (lowest and highest included), at 0, at
    the logit of each threshold, and at the logits of 0.05, 0.10, ..., 0.95, so that the bins of a reliability
    diagram have exact borders. A value that fills more than one rank (a tie, as in a hard segmentation) gets
    a bin of its own.

    Args:
        vessel_logits: logits of the vessel pixels, any shape; may be empty.
        background_logits: logits of the background pixels, any shape; may be empty.
        thresholds: probabilities inside (0, 1) at which counts must be exact.

    Returns:
        (E,) float32, strictly increasing; E is about a thousand.

    Raises:
        ValueError: NaN among the logits, a threshold outside (0, 1).
    """
    parts = [[np.float32(0)], [threshold_to_logit(t) for t in (*CALIBRATION_GRID, *thresholds)]]
    for name, values in (("vessel_logits", vessel_logits), ("background_logits", background_logits)):
        scores = np.sort(as_logits(values, name), axis=None)
        if scores.size:
            ranks = np.rint(np.linspace(0, scores.size - 1, _RANKS)).astype(np.intp)
            values, repeats = np.unique(scores[ranks], return_counts=True)
            with np.errstate(over="ignore"):  # nothing follows the largest number: that edge is dropped below
                parts += [values, np.nextafter(values[repeats > 1], np.float32(np.inf))]
    edges = np.unique(np.concatenate(parts).astype(np.float32) + np.float32(0))  # + 0: no edge is -0.0
    return edges[np.isfinite(edges)]


def bin_counts(logits: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Count float32 logits by bin, (E+1,) int64; a score equal to an edge falls in the bin above it."""
    # Sorting and looking the edges up is several times faster than looking each pixel up among the edges.
    below = np.searchsorted(np.sort(logits, axis=None), edges, side="left")
    return np.diff(below, prepend=0, append=logits.size)
