"""Sentences that are derived from records: every number in them is looked up, and every 'agrees' is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from retlib.report.evidence import Evidence, paired_difference, same_seeds, seed_differences
from retlib.report.study import Study


@dataclass(frozen=True)
class Step:
    """What going from one run to another brings, in the paper and in our records.

    Attributes:
        reported: difference of the paper's numbers.
        measured: difference of ours.
        low: lower end of its 95 % interval, over test images and paired.
        high: upper end.
        seeds: our difference for each seed that both runs have.
    """

    reported: float
    measured: float
    low: float
    high: float
    seeds: tuple[float, ...]

    @property
    def seeds_agree(self) -> bool:
        """Whether every seed's difference has one sign."""
        return len(self.seeds) == 1 or min(self.seeds) > 0 or max(self.seeds) < 0

    @property
    def clear(self) -> bool:
        """Whether the interval excludes zero, and the seeds agree."""
        return (self.low > 0 or self.high < 0) and self.seeds_agree

    @property
    def same_sign(self) -> bool:
        """Whether our difference points where the paper's points."""
        return self.reported * self.measured > 0


def step(study: Study, start: str, end: str, metric: str) -> Step | None:
    """The step between two runs of the paper, or None where a record or a printed number is missing."""
    ours = same_seeds(study.evidence(start, best=False), study.evidence(end, best=False))
    printed = study.paper.printed(start, metric), study.paper.printed(end, metric)
    if None in ours or None in printed:
        return None
    measured, low, high = paired_difference(*ours, metric)
    return Step(printed[1].value - printed[0].value, measured, low, high, tuple(seed_differences(*ours, metric)))


def step_sentence(study: Study, what: str, start: str, end: str, metric: str, title: str) -> str:
    """One sentence on a step: reported, measured, and whether the two agree beyond the noise of the test images.

    Args:
        study: the paper and the records.
        what: the change, opening the sentence (``"ASPP, on DRIVE"``).
        start: run before the change.
        end: run after it.
        metric: retlib's name.
        title: the metric's name in the sentence.
    """
    found = step(study, start, end, metric)
    if found is None:
        return f"{what}: not run."
    if not found.seeds_agree:
        spread = f"{signed(min(found.seeds))} to {signed(max(found.seeds))}"
        judged = f"and {len(found.seeds)} seeds disagree, {spread}, so nothing is decided"
    elif not found.clear:
        judged = "which the choice of test images could bring about alone, so nothing is decided"
    elif found.same_sign:
        judged = "the same direction"
    else:
        judged = "the opposite direction"
    return (
        f"{what}: the paper reports {signed(found.reported)} {title}; we measure {signed(found.measured)} "
        f"(95 % interval {signed(found.low)} to {signed(found.high)}), {judged}."
    )


def seed_sentences(evidence_of: Mapping[str, Evidence | None]) -> list[str]:
    """What the numbers of some runs cannot say because they are of one seed; empty where all have several."""
    counts = [len(evidence.records) for evidence in evidence_of.values() if evidence is not None]
    if not (single := counts.count(1)):
        return []
    runs = "One seed a run" if single == len(counts) else f"One seed in {single} of {len(counts)} runs"
    return [
        f"{runs}: such an interval speaks of the tested images alone, and another training could move a difference by "
        "as much again."
    ]


def signed(value: float, decimals: int = 4) -> str:
    """A difference with its sign, a real minus sign included."""
    return f"{value:+.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def counted(evidence_of: dict[str, object]) -> str:
    """How many of some runs have records: ``"8 of 8"``."""
    return f"{sum(item is not None for item in evidence_of.values())} of {len(evidence_of)}"
