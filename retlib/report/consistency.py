"""Whether the numbers of one row contradict one another, whatever they were averaged over.

Scores are either pooled over the pixels of all test images or means over images, and papers rarely say which. The
bounds here hold for both, so a row that breaks one was not computed from one set of images. They are stated in
book/protocol.md; what can be told only by comparing rows, or under the assumption that scores were pooled, is not
asked here.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from retlib.papers import Printed

Interval = tuple[float, float]


@dataclass(frozen=True)
class Contradiction:
    """Numbers of one row that cannot stand together.

    Attributes:
        metrics: retlib's names of the metrics that take part.
        why: One clause, with the numbers.
    """

    metrics: tuple[str, ...]
    why: str


def contradictions(printed: Mapping[str, Printed], shares: Interval | None = None) -> list[Contradiction]:
    """What is impossible about a row of printed numbers; empty for a row that can hold.

    Every number stands for all that round to it. Four bounds, for scores of one set of images, pooled or averaged
    over images:

    - accuracy lies between sensitivity and specificity;
    - the vessel share ``(Sp - Acc) / (Sp - Se)`` is a mean of the images' own shares, so it lies between the smallest
      and the largest of them;
    - ``IoU <= Dice <= 2 IoU / (1 + IoU)``;
    - ``P + R - 1 <= Dice <= 2 P R / (P + R)``.

    The first two take for granted that specificity is the higher of the two on every image, or the lower on every one.

    Args:
        printed: metric -> number as the paper prints it.
        shares: smallest and largest vessel share that an image of the data set can have, see :func:`vessel_shares`;
            None leaves the second bound out.
    """
    ranges = {metric: _range(number) for metric, number in printed.items()}
    found = []
    if {"accuracy", "sensitivity", "specificity"} <= ranges.keys():
        found += _rates(ranges["accuracy"], ranges["sensitivity"], ranges["specificity"], shares)
    if {"dice", "iou"} <= ranges.keys():
        low, high = ranges["iou"]
        found += _within(ranges["dice"], (low, 2 * high / (1 + high)), ("dice", "iou"), "Dice, by the IoU,")
    if {"dice", "precision", "sensitivity"} <= ranges.keys():
        (p_low, p_high), (r_low, r_high) = ranges["precision"], ranges["sensitivity"]
        bounds = p_low + r_low - 1, 2 * p_high * r_high / (p_high + r_high) if p_high + r_high else 0.0
        found += _within(
            ranges["dice"], bounds, ("dice", "precision", "sensitivity"), "Dice (F1), by precision and recall,"
        )
    return found


def vessel_shares(records: Path, dataset: str | None) -> Interval | None:
    """The vessel share of the emptiest image in its whole frame and of the fullest one inside its FOV.

    Args:
        records: folder of the records; its ``datasets.json`` holds what was measured on each data set.
        dataset: retlib's name; None gives None, and so does a data set that was not measured.
    """
    file = records / "datasets.json"
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    images = content.get(dataset, {}).get("images", {}).values()
    if not images:
        return None
    return min(image["vessels_in_frame"] for image in images), max(image["vessels_in_fov"] for image in images)


def _range(number: Printed) -> Interval:
    return max(0.0, number.value - number.half_unit), min(1.0, number.value + number.half_unit)


def _rates(accuracy: Interval, sensitivity: Interval, specificity: Interval, shares: Interval | None):
    metrics = ("accuracy", "sensitivity", "specificity")
    bounds = min(sensitivity[0], specificity[0]), max(sensitivity[1], specificity[1])
    found = _within(accuracy, bounds, metrics, "accuracy, by sensitivity and specificity,")
    if found or shares is None or specificity[0] <= sensitivity[1]:
        return found
    # Monotone in each of the three, so the extremes lie at the corners.
    corners = [(sp - acc) / (sp - se) for acc, se, sp in itertools.product(accuracy, sensitivity, specificity)]
    low, high = min(corners), max(corners)
    if high < shares[0] or low > shares[1]:
        why = (
            f"accuracy, sensitivity and specificity imply a vessel share of {_text(low, high)}; photographs of this "
            f"data set have {_text(*shares)}"
        )
        return [Contradiction(metrics, why)]
    return []


def _within(value: Interval, bounds: Interval, metrics: tuple[str, ...], subject: str) -> list[Contradiction]:
    if value[1] >= bounds[0] - 1e-12 and value[0] <= bounds[1] + 1e-12:
        return []
    return [Contradiction(metrics, f"{subject} lies between {bounds[0]:.4f} and {bounds[1]:.4f}")]


def _text(low: float, high: float) -> str:
    """Two decimals, rounded outwards."""
    low, high = math.floor(low * 100) / 100, math.ceil(high * 100) / 100
    return f"{low:.2f} to {high:.2f}"
