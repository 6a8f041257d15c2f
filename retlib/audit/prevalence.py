"""The vessel share that a row's own numbers imply."""

from __future__ import annotations

from fractions import Fraction

from retlib.audit.intervals import Exact, Interval, Number, Reading, read_number
from retlib.audit.matrices import Matrices

SHARE_PAIRS: tuple[tuple[str, str], ...] = (
    ("sensitivity", "specificity"),
    ("precision", "sensitivity"),
    ("sensitivity", "dice"),
    ("sensitivity", "iou"),
    ("precision", "dice"),
    ("precision", "iou"),
    ("precision", "specificity"),
    ("specificity", "dice"),
    ("specificity", "iou"),
)
"""Pairs of scores that, with accuracy, fix the vessel share; the best known first."""


def implied_prevalence(
    *,
    accuracy: Number,
    sensitivity: Number | None = None,
    specificity: Number | None = None,
    precision: Number | None = None,
    recall: Number | None = None,
    dice: Number | None = None,
    iou: Number | None = None,
    decimals: int | None = None,
) -> Interval:
    """The share of vessel pixels in the set of pixels that was scored, from accuracy and two other scores.

    From sensitivity and specificity it is (Sp - Acc) / (Sp - Se); from precision P and recall R it is
    (1 - Acc) / ((1 - R) + R (1 / P - 1)). The range holds every share that some confusion matrix has whose scores round
    to the numbers, and no other. The scores are taken as those of one set of pixels; means over images only come near.

    Args:
        accuracy: Fraction of one: a text as printed (``"0.9554"``, ``"95.54%"``), a `retlib.papers.Printed` or a float.
        sensitivity: The same; recall is another name for it.
        specificity: The same.
        precision: The same.
        recall: Sensitivity by its other name.
        dice: The same; F1 is another name for it.
        iou: The same; the Jaccard index.
        decimals: Digits after the point that floats were printed with; by default those that Python shows, so 0.95 has
            two. Texts tell it themselves.

    Returns:
        Value, low and high, fractions of one. Where more than two scores are given, or they fix no single share, value
        is the middle of the range unless the numbers as they stand agree on one.

    Raises:
        ValueError: a number that is none or lies outside [0, 1]; too few scores; sensitivity and recall both given; or
            no share from 0 to 1 gives these numbers.

    Example:
        >>> implied_prevalence(accuracy="0.9554", sensitivity="0.7294", specificity="0.9771").low > 0.087
        True
    """
    if sensitivity is not None and recall is not None:
        raise ValueError("recall: it is sensitivity by another name, expected one of the two")
    given = {
        "accuracy": accuracy,
        "sensitivity": recall if sensitivity is None else sensitivity,
        "specificity": specificity,
        "precision": precision,
        "dice": dice,
        "iou": iou,
    }
    readings = {name: read_number(number, name, decimals) for name, number in given.items() if number is not None}
    if not any(set(pair) <= readings.keys() for pair in SHARE_PAIRS):
        raise ValueError(
            "implied_prevalence: expected accuracy with sensitivity and specificity, with precision and recall, or "
            f"with another pair that fixes the share; got {', '.join(readings)}"
        )
    span = share_range({name: reading.range for name, reading in readings.items()})
    if span is None:
        raise ValueError(
            "no share of vessel pixels from 0 to 1 gives "
            + ", ".join(f"{name} {float(reading.value):g}" for name, reading in readings.items())
        )
    return span.outward(share_value(readings))


def share_range(row: dict[str, Exact]) -> Exact | None:
    """Lowest and highest vessel share of the matrices that agree with a row; None if there is none."""
    return Matrices(row).range("prevalence")


def share_value(readings: dict[str, Reading]) -> Fraction | None:
    """The share that the numbers as they stand give; None where they give none or no single one."""
    point = share_range({name: Exact(reading.value, reading.value) for name, reading in readings.items()})
    return point.low if point is not None and point.low == point.high else None
