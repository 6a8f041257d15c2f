"""Compute the exact area under the ROC curve and average precision of scored pixels, without an argsort.

A non-negative IEEE number and its bit pattern, read as an unsigned integer, sort alike. Probabilities leave
the sign bit free, so the pattern is shifted by one and the label takes the last bit: one sort of plain
integers (vectorised in NumPy) orders scores and labels together, far faster than sorting indices. Nothing is
binned: ties are found as equal patterns and the counts are integers.
"""

from __future__ import annotations

import numpy as np


def ranked_counts(scores: np.ndarray, vessels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count true and false positives at each distinct score, from the highest score down.

    Args:
        scores: (n,) float32 or float64, not negative and not NaN (unchecked).
        vessels: (n,) bool.

    Returns:
        Two (k,) int64 arrays, k the number of distinct scores: vessel and background pixels of at least that score.
    """
    unsigned = np.uint32 if scores.dtype == np.float32 else np.uint64
    # Adding 0 makes a copy, and turns -0.0, whose sign bit is set, into 0.0.
    keys = (scores + scores.dtype.type(0)).view(unsigned)
    keys <<= unsigned(1)
    keys |= vessels
    keys.sort()
    keys = keys[::-1]
    pattern = keys >> unsigned(1)
    # The last pixel of each run of equal scores; there is none without a pixel.
    last = np.append(np.flatnonzero(pattern[1:] != pattern[:-1]), keys.size - 1)[: keys.size]
    true = np.cumsum(keys & unsigned(1), dtype=np.int64)[last]
    return true, last + 1 - true


def roc_auc(true: np.ndarray, false: np.ndarray) -> float:
    """Compute the area under the ROC curve from ``ranked_counts``, ties counting one half; NaN if a class is absent."""
    if not true.size or not true[-1] or not false[-1]:
        return float("nan")
    doubled = np.diff(false, prepend=0) @ (true + np.concatenate(([0], true[:-1])))  # integers: exact
    return float(doubled / (2.0 * float(true[-1]) * float(false[-1])))


def average_precision(true: np.ndarray, false: np.ndarray) -> float:
    """Sum (gain in recall) x precision over the distinct scores of ``ranked_counts``; NaN without a vessel pixel."""
    if not true.size or not true[-1]:
        return float("nan")
    return float(np.diff(true, prepend=0) @ (true / (true + false)) / true[-1])
