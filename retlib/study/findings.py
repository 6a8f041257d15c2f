"""Sentences that are derived from records: every number in them is looked up, and every 'agrees' is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from retlib.study import Printed
from retlib.study.consistency import contradictions, vessel_shares
from retlib.study.evidence import Evidence, paired_difference, seed_differences
from retlib.study.evidence_tables import profile_text
from retlib.study.notebook import Study
from retlib.study.tables import LABELS


@dataclass(frozen=True)
class Step:
    """What going from one run to another brings, in the paper and in our records.

    Attributes:
        reported: difference of the paper's numbers.
        measured: difference of ours.
        low: lower end of its 95 % interval, over test images and paired.
        high: upper end.
        seeds: our difference for each seed that both runs have.
        profile: the profile of both runs.
    """

    reported: float
    measured: float
    low: float
    high: float
    seeds: tuple[float, ...]
    profile: str = "paper"

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
    ours = study.pair(start, end)
    printed = study.paper.printed(start, metric), study.paper.printed(end, metric)
    if ours is None or None in printed:
        return None
    measured, low, high = paired_difference(*ours, metric)
    seeds = tuple(seed_differences(*ours, metric))
    return Step(printed[1].value - printed[0].value, measured, low, high, seeds, ours[0].profile)


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
        f"{what}: the paper reports {signed(found.reported)} {title}; we measure {signed(found.measured)}"
        f"{' in the preview' if found.profile == 'lite' else ''} "
        f"(95 % interval {signed(found.low)} to {signed(found.high)}), {judged}."
    )


def ours(evidence: Evidence, metric: str, decimals: int = 4) -> str:
    """Word a number of ours with its profile; one of a `lite` run is called a preview."""
    preview = ", a preview" if evidence.profile == "lite" else ""
    return f"{evidence.number(metric):.{decimals}f} ({profile_text(evidence)}{preview})"


def seed_sentences(evidence_of: Mapping[str, Evidence | None], metric: str = "dice") -> list[str]:
    """Say what the seeds of some runs leave open: runs that never learned, with their effect, and runs of one seed."""
    lines = never_learned_sentences(evidence_of, metric)
    counts = [len(evidence.records) for evidence in evidence_of.values() if evidence is not None]
    if single := counts.count(1):
        runs = "One seed per run" if single == len(counts) else f"One seed in {single} of {len(counts)} runs"
        lines.append(
            f"{runs}: such an interval speaks of the tested images alone, and another training could move a "
            "difference by as much again."
        )
    return lines


def never_learned_sentences(evidence_of: Mapping[str, Evidence | None], metric: str = "dice") -> list[str]:
    """Name runs with seeds that never learned, and their mean with and without those; empty where there are none."""
    return [
        _never_learned(name, evidence, metric)
        for name, evidence in evidence_of.items()
        if evidence is not None and evidence.never_learned
    ]


def _never_learned(name: str, evidence: Evidence, metric: str) -> str:
    seeds = ", ".join(map(str, evidence.never_learned))
    told = (
        f"`{name}` ({evidence.profile}): {len(evidence.never_learned)} of {len(evidence.records)} seeds never learned "
        f"(seed {seeds}), by the rule of the protocol; "
    )
    title, learned = LABELS.get(metric, metric), evidence.learned()
    if learned is None:
        return told + f"its {title} is {evidence.number(metric):.4f}."
    means = evidence.number(metric), learned.number(metric)
    return told + "its mean {} is {:.4f} with and {:.4f} without.".format(title, *means)


def contradiction_sentences(study: Study) -> list[str]:
    """Say where the text prints other numbers than its tables, or two for one thing, and which are impossible."""
    lines, printed = [], {}
    for claim in study.paper.claims:
        if claim.same_as is None or claim.dataset is None:
            continue
        table = study.paper.tables[claim.same_as.table]
        there = table.values(claim.same_as.row).get(claim.dataset, {})
        numbers = {metric: Printed(text) for metric, text in claim.values.items()}
        for metric, number in numbers.items():
            printed.setdefault((claim.where, claim.dataset, claim.run, metric), []).append(number.text)
        if apart := [metric for metric in numbers if metric in there and numbers[metric].value != there[metric].value]:
            listed = ", ".join(
                f"{LABELS.get(metric, metric)} {numbers[metric].text} (there {there[metric].text})" for metric in apart
            )
            shares = vessel_shares(study.store.path, claim.dataset)
            impossible = "".join(f"; impossible, since {item.why}" for item in contradictions(numbers, shares))
            lines.append(
                f"{claim.where}, {claim.dataset.upper()}: {len(apart)} of {len(numbers)} numbers are not those of "
                f"Table {table.number}: {listed}{impossible}."
            )
    for (where, dataset, _, metric), texts in printed.items():
        if len(set(texts)) > 1:
            values = " and ".join(dict.fromkeys(texts))
            lines.append(f"{where}: two values of {LABELS.get(metric, metric)} on {dataset.upper()}, {values}.")
    return lines


def signed(value: float, decimals: int = 4) -> str:
    """A difference with its sign, a real minus sign included."""
    return f"{value:+.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def counted(evidence_of: dict[str, object]) -> str:
    """How many of some runs have records: ``"8 of 8"``."""
    return f"{sum(item is not None for item in evidence_of.values())} of {len(evidence_of)}"
