"""The black surround of a photograph: what is found there, and what counting it does when nothing is found there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retlib.metrics import Confusion
from retlib.metrics.counts import ratio
from retlib.study import Record


def blanked_frame(record: Record) -> dict[str, np.ndarray]:
    """Scores of the whole frame as if the prediction had been cut to the FOV: outside it nothing is a vessel.

    That is what a paper scores that masks its predictions, or that trains on the surround until it is black. Counts
    come from the record's histograms. The pixels outside rank below all others and tie with one another, so the area
    under the ROC curve follows exactly from the one inside the FOV: of all pairs of a vessel and a background pixel,
    those inside are ordered as before, a vessel inside beats all background outside, a vessel outside (few labels have
    such pixels) beats none inside and ties with what lies outside.

    Args:
        record: of a run or a filter; its first test selection, its own threshold.

    Returns:
        accuracy, sensitivity, specificity, precision, dice, iou, mcc and auc, each (images,); NaN where undefined.
    """
    histograms = record.histograms()
    inside = histograms.select(region="fov", pooled=False).counts(record.content["threshold"])
    background, vessel = histograms.counts[:, 1].sum(axis=-1, dtype=np.int64).T
    counts = Confusion(inside.tp, inside.fp, inside.fn + vessel, inside.tn + background)
    vessel_inside, background_inside = inside.tp + inside.fn, inside.fp + inside.tn
    area = np.nan_to_num(record.per_image(region="fov")["auc"])  # undefined only where a factor below is 0
    pairs = vessel_inside * background_inside * area + vessel_inside * background + vessel * background / 2
    total = (vessel_inside + vessel) * (background_inside + background)
    return counts.scores() | {"auc": ratio(pairs, total)}


@dataclass(frozen=True)
class FoundOutside:
    """What a record's predictions call vessel outside the FOV, over all its test images.

    Attributes:
        share: of the pixels outside.
        of_alarms: of all false alarms of the whole frame; NaN without one.
    """

    share: float
    of_alarms: float


def found_outside(record: Record) -> FoundOutside:
    """How much of the black surround a record calls vessel, and which share of its false alarms that is."""
    histograms, threshold = record.histograms(), record.content["threshold"]
    inside, frame = (histograms.select(region=name).counts(threshold) for name in ("fov", "frame"))
    outside = frame.total - inside.total
    found = frame.tp + frame.fp - inside.tp - inside.fp
    return FoundOutside(float(ratio(found, outside)), float(ratio(frame.fp - inside.fp, frame.fp)))
