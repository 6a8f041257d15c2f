"""The verdict on a printed number, by the rule in book/protocol.md: one function for all pages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from retlib.study import Printed
from retlib.study.consistency import Contradiction, contradictions, vessel_shares
from retlib.study.evidence import Evidence

Verdict = Literal["reproduced", "higher", "lower", "impossible as printed", "preview only", "not run"]


@dataclass(frozen=True)
class Judged:
    """A printed number, what our records hold beside it, and the verdict.

    Attributes:
        printed: the paper's number.
        evidence: our records; None where they do not hold the metric or there are none.
        measured: our number, mean over seeds; NaN without evidence.
        verdict: None for a number that the paper quotes from other work.
        half_width: half the width of the interval that the verdict rests on; None where it rests on none.
        against: the contradictions that the number takes part in.
    """

    printed: Printed
    evidence: Evidence | None
    measured: float
    verdict: Verdict | None
    half_width: float | None
    against: tuple[Contradiction, ...]


def judge(
    printed: Mapping[str, Printed],
    evidence: Evidence | None,
    records: Path,
    dataset: str | None,
    *,
    epoch: int | None = None,
    quoted: bool = False,
) -> dict[str, Judged]:
    """Judge the numbers that a paper prints for one model, in a row of a table or in a sentence.

    Args:
        printed: metric -> number as printed.
        evidence: our records of the run; None where there are none.
        records: folder of the records; what was measured on the data sets lies there.
        dataset: the data set of the numbers.
        epoch: for numbers of one epoch: which.
        quoted: whether the paper quotes them from other work, on which no verdict is given.
    """
    found = [] if quoted else contradictions(printed, vessel_shares(records, dataset))
    judged = {}
    for metric, number in printed.items():
        measured = math.nan if evidence is None else evidence.number(metric, epoch)
        # A record need not hold every metric that papers print, nor an epoch after which training had stopped.
        known = None if math.isnan(measured) else evidence
        against = tuple(item for item in found if metric in item.metrics)
        told, half = (None, None) if quoted else _verdict(number, known, metric, epoch, bool(against))
        judged[metric] = Judged(number, known, measured, told, half, against)
    return judged


def _verdict(
    printed: Printed, evidence: Evidence | None, metric: str, epoch: int | None, impossible: bool
) -> tuple[Verdict, float | None]:
    """Apply the rule, which does not look at the size of the gap: the verdict, and half the width of its interval."""
    if impossible:
        return "impossible as printed", None
    if evidence is None or evidence.profile == "smoke":
        return "not run", None
    if evidence.profile != "paper":
        return "preview only", None
    low, high = evidence.interval(metric) if epoch is None else evidence.epoch_interval(metric, epoch)
    if low - printed.half_unit <= printed.value <= high + printed.half_unit:
        return "reproduced", (high - low) / 2
    return ("higher" if evidence.number(metric, epoch) > printed.value else "lower"), (high - low) / 2


def verdict_text(told: str | None, half_width: float | None, decimals: int = 4) -> str | None:
    """Word a verdict with the half-width of the interval that it rests on: ``reproduced (±0.0041)``."""
    return told if half_width is None else f"{told} (±{half_width:.{decimals}f})"
