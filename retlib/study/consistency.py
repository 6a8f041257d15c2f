"""Whether the numbers of one row contradict one another, whatever they were averaged over.

Scores are either pooled over the pixels of all test images or means over images, and papers rarely say which. The
bounds here hold for both, so a row that breaks one was not computed from one set of images. They are stated in
book/protocol.md; what can be told only by comparing rows, or under the assumption that scores were pooled, is not
asked here.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from retlib.audit import Exact, dice_of_iou, dice_of_precision, read_number
from retlib.audit.intervals import show
from retlib.study import Printed

Shares = tuple[float, float]
SCORES = ("accuracy", "sensitivity", "specificity", "precision", "dice", "iou")


class Contradiction(NamedTuple):
    """Numbers of one row that cannot stand together."""

    metrics: tuple[str, ...]  # retlib's names of those that take part
    why: str  # one clause, with the numbers


def contradictions(printed: Mapping[str, Printed], shares: Shares | None = None) -> list[Contradiction]:
    """List what is impossible about a row of printed numbers; empty for a row that can hold.

    Every number stands for all that round to it, and arithmetic is exact. Four bounds, for scores of one set of images,
    pooled or averaged over images:

    - accuracy lies between sensitivity and specificity;
    - the vessel share ``(Sp - Acc) / (Sp - Se)`` is a mean of the images' own shares, so it lies between the smallest
      and the largest of them;
    - ``IoU <= Dice <= 2 IoU / (1 + IoU)``, see :func:`retlib.audit.dice_of_iou`;
    - ``P + R - 1 <= Dice <= 2 P R / (P + R)``, see :func:`retlib.audit.dice_of_precision`.

    The first two take for granted that specificity is the higher of the two on every image, or the lower on every one.

    Args:
        printed: metric -> number as the paper prints it.
        shares: smallest and largest vessel share that an image of the data set can have, see
            `retlib.data.measurements.VesselShares.widest`; None leaves the second bound out.
    """
    ranges = {metric: _range(metric, printed[metric]) for metric in SCORES if metric in printed}
    found = []
    if {"accuracy", "sensitivity", "specificity"} <= ranges.keys():
        found += _rates(ranges["accuracy"], ranges["sensitivity"], ranges["specificity"], shares)
    if {"dice", "iou"} <= ranges.keys():
        found += _within(ranges["dice"], dice_of_iou(ranges["iou"]), ("dice", "iou"), "Dice, by the IoU,")
    if {"dice", "precision", "sensitivity"} <= ranges.keys():
        bounds = dice_of_precision(ranges["precision"], ranges["sensitivity"])
        metrics = ("dice", "precision", "sensitivity")
        found += _within(ranges["dice"], bounds, metrics, "Dice (F1), by precision and recall,")
    return found


def _range(metric: str, number: Printed) -> Exact:
    if 0 <= number.value <= 1:
        return read_number(number, metric).range
    # No score at all. It is left where it is, outside every bound, so that the row is told to be impossible.
    return Exact(Fraction(number.value), Fraction(number.value))


def _rates(accuracy: Exact, sensitivity: Exact, specificity: Exact, shares: Shares | None) -> list[Contradiction]:
    metrics = ("accuracy", "sensitivity", "specificity")
    bounds = Exact(min(sensitivity.low, specificity.low), max(sensitivity.high, specificity.high))
    found = _within(accuracy, bounds, metrics, "accuracy, by sensitivity and specificity,")
    if found or shares is None or specificity.low <= sensitivity.high:
        return found
    # Monotone in each of the three, so the extremes lie at the corners.
    corners = [(sp - acc) / (sp - se) for acc, se, sp in itertools.product(accuracy, sensitivity, specificity)]
    implied = Exact(min(corners), max(corners))
    if implied.high < shares[0] or implied.low > shares[1]:
        why = (
            f"accuracy, sensitivity and specificity imply a vessel share of {show(implied, 2)}; photographs of this "
            f"data set have {show(Exact(*(Fraction(str(share)) for share in shares)), 2)}"
        )
        return [Contradiction(metrics, why)]
    return []


def _within(value: Exact, bounds: Exact, metrics: tuple[str, ...], subject: str) -> list[Contradiction]:
    if value.meets(bounds):
        return []
    return [Contradiction(metrics, f"{subject} lies between {float(bounds.low):.4f} and {float(bounds.high):.4f}")]
