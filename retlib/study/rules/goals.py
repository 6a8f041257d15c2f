"""Judge our own networks against the goals that were set for DRIVE's test images.

The goals lie about where the reference model is (see `retlib.audit.published`), and at one second for an image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from retlib.study.records import Record


class Goal(NamedTuple):
    """A bound on a score: at least ``bound``, or at most ``bound`` where lower is better."""

    metric: str
    bound: float
    average: str = "image"
    lower_is_better: bool = False

    @property
    def text(self) -> str:
        """``at least 0.829``."""
        return f"at {'most' if self.lower_is_better else 'least'} {self.bound:g}"

    def judge(self, value: float) -> Literal["met", "missed", "not known"]:
        """Compare a number with the goal as it is, not as it is rounded for reading; NaN is not known."""
        if math.isnan(value):
            return "not known"
        met = value <= self.bound if self.lower_is_better else value >= self.bound
        return "met" if met else "missed"


GOALS = (
    Goal("dice", 0.829),
    Goal("auc", 0.982),
    Goal("auc", 0.981, average="pooled"),
    Goal("cldice", 0.833),
    Goal("betti0_error", 57, lower_is_better=True),
    Goal("seconds", 1, lower_is_better=True),
)


def measure(goal: Goal, records: Sequence[Record]) -> float:
    """Measure what a goal is about: the mean over records (one a seed) inside the FOV, or seconds for an image."""
    if goal.metric == "seconds":
        return seconds(records)[0]
    values = [record.metrics(region="fov", average=goal.average)[goal.metric] for record in records]
    return sum(values) / len(values) if values else math.nan


def seconds(records: Sequence[Record]) -> tuple[float, str]:
    """Find the seconds for an image on a CPU, and the clock: CPU seconds where a record has them, else the wall clock.

    The record of a mean times the vessel map at one threshold, which is what a prediction is; a run's record times its
    scoring. NaN and an empty text where no record was made on a CPU.
    """
    timings = [record.content["timing"] for record in records if record.content["environment"]["device"] == "cpu"]
    for name, clock in (
        ("vessels_cpu_s_per_image", "CPU"),
        ("inference_cpu_s_per_image", "CPU"),
        ("inference_s_per_image", "wall clock"),
    ):
        known = [timing[name] for timing in timings if timing.get(name) is not None]
        if known:
            return min(known), clock
    return math.nan, ""
