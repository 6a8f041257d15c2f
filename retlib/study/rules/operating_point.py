"""The rule on operating points: what the scores of a printed row determine, and where a measured curve reaches them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from retlib.audit import Interval, implied_prevalence
from retlib.metrics import ScoreHistogram
from retlib.study import Printed

RATES = ("sensitivity", "specificity", "accuracy", "precision", "dice")


@dataclass(frozen=True)
class Point:
    """A point of a ROC curve.

    Attributes:
        sensitivity: share of the vessel pixels that are detected.
        specificity: share of the background pixels that are left alone.
        threshold: probability that gives the point; None for a printed point.
    """

    sensitivity: float
    specificity: float
    threshold: float | None = None

    def scores(self, share: float) -> dict[str, float]:
        """Compute the scores of :data:`RATES` on pixels of which ``share`` (0 to 1) are vessel."""
        true, false = share * self.sensitivity, (1 - share) * (1 - self.specificity)
        detected = true + false
        return {
            "sensitivity": self.sensitivity,
            "specificity": self.specificity,
            "accuracy": true + (1 - share) * self.specificity,
            "precision": true / detected if detected else math.nan,
            "dice": 2 * true / (detected + share),
        }


def implied_share(printed: Mapping[str, Printed]) -> Interval:
    """Compute the share of vessel pixels that accuracy, sensitivity and specificity of one set of pixels imply.

    Returns:
        (Sp - Acc) / (Sp - Se), with the range that the omitted digits allow, see
        :func:`retlib.audit.implied_prevalence`.

    Raises:
        ValueError: one of the three is not printed, sensitivity and specificity are equal within rounding, or no share
            gives these numbers.
    """
    names = ("specificity", "accuracy", "sensitivity")
    if missing := [name for name in names if name not in printed]:
        raise ValueError(f"printed: expected {', '.join(names)}; {', '.join(missing)} is missing")
    high, low = printed["specificity"], printed["sensitivity"]
    if abs(high.value - low.value) <= high.half_unit + low.half_unit:
        raise ValueError("printed: sensitivity and specificity are equal within rounding, so every share fits")
    return implied_prevalence(**{name: printed[name] for name in names})


def vessel_share(histogram: ScoreHistogram) -> float:
    """Compute the share of vessel pixels among all pixels of a pooled histogram."""
    vessel, background = histogram.vessel.sum(), histogram.background.sum()
    return float(vessel / (vessel + background))


def point_at(histogram: ScoreHistogram, *, specificity: float | None = None, sensitivity: float | None = None) -> Point:
    """Find where a pooled ROC curve reaches a specificity or a sensitivity.

    Between two of the curve's exact points (the edges of the histogram) sensitivity, specificity and threshold are
    interpolated linearly.

    Raises:
        ValueError: both or neither are given, or a value outside 0 to 1.
    """
    if (specificity is None) == (sensitivity is None):
        raise ValueError("point_at: expected either a specificity or a sensitivity")
    false, true, thresholds = histogram.roc_curve()
    axis, wanted = (false, 1 - specificity) if sensitivity is None else (true, sensitivity)
    if not 0 <= wanted <= 1:
        raise ValueError(
            f"point_at: expected a rate between 0 and 1, got {specificity if sensitivity is None else wanted}"
        )
    after = min(int(np.searchsorted(axis, wanted, side="right")), axis.size - 1)
    before = after - 1
    gap = axis[after] - axis[before]
    part = float(np.clip((wanted - axis[before]) / gap, 0, 1)) if gap > 0 else 1.0
    # All that is known above the highest edge is that the threshold lies there.
    start = thresholds[after] if math.isinf(thresholds[before]) else thresholds[before]

    def between(low: float, high: float) -> float:
        return float(low + part * (high - low))

    return Point(
        between(true[before], true[after]),
        1 - between(false[before], false[after]),
        between(start, thresholds[after]),
    )
