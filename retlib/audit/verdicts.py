"""Judge a printed number: the verdicts, what each rests on, and the outcome of one check."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

CONSISTENT = "consistent"
ONLY_MEAN = "only as a mean over images"
CUT_OFF = "only if cut off, not rounded"
DOUBT = "only by another reading"
IMPOSSIBLE = "impossible"
VERDICTS = (CONSISTENT, ONLY_MEAN, CUT_OFF, DOUBT, IMPOSSIBLE)
"""From the mildest to the hardest."""

BASES = {
    "rounding": "some confusion matrix rounds to the numbers",
    "records": "no confusion matrix does; held against how far means over images went in our records; no medians",
    "bound": "breaks a bound that is proven for pooled pixels and every mean over images; medians are not judged",
    "cut off": "impossible as rounded numbers; possible where digits were cut off, or rounded twice",
    "reading": "impossible as the table was read; possible by another reading, which is named",
    "pooled": "no confusion matrix rounds to the numbers; that averaging over images explains it is not excluded",
    "not judged": "no confusion matrix does; without records of ours nothing is said of how far averaging can go",
    "text": "the numbers are compared as they are printed",
}
"""What a verdict can rest on."""


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: What was compared with what.
        metrics: The scores that take part.
        assumption: What the check assumes.
        arithmetic: The intervals, in words.
        verdict: One of `VERDICTS`.
        basis: What the verdict rests on, a key of `BASES`.
    """

    name: str
    metrics: tuple[str, ...]
    assumption: str
    arithmetic: str
    verdict: str
    basis: str


def worst(verdicts: Iterable[str]) -> str | None:
    """Pick the hardest of some verdicts; None where there are none."""
    return max(verdicts, key=VERDICTS.index, default=None)


def soften(
    taken: Sequence[Check], other: Sequence[Check], said: str, verdict: str = DOUBT, basis: str = "reading"
) -> tuple[Check, ...]:
    """Give a milder verdict to what is impossible as it was read, and is not by another reading of the same numbers.

    Args:
        taken: Outcomes by the reading that was taken.
        other: Outcomes by the other reading, under the same names.
        said: The other reading, in words.
        verdict: What becomes of ``impossible``.
        basis: What it rests on then, a key of `BASES`.

    Returns:
        The outcomes of ``taken``; some impossible one is left if the other reading leaves one, of whatever name.
    """
    left = {check.name for check in other if check.verdict == IMPOSSIBLE}
    softer = tuple(
        replace(check, verdict=verdict, basis=basis, arithmetic=f"{check.arithmetic}; {said}")
        if check.verdict == IMPOSSIBLE and check.name not in left
        else check
        for check in taken
    )
    return tuple(taken) if left and worst(check.verdict for check in softer) != IMPOSSIBLE else softer


def judge(fits: bool, near: bool | None, broken: bool = False) -> tuple[str, str]:
    """Give the verdict on numbers, and its basis, a key of `BASES`.

    Args:
        fits: Whether some confusion matrix rounds to them.
        near: Whether averaging over images moved such numbers as far in our records; None without records.
        broken: Whether they break a proven bound.
    """
    if fits:
        return CONSISTENT, "rounding"
    if broken:
        return IMPOSSIBLE, "bound"
    if near is None:
        return ONLY_MEAN, "not judged"
    return (ONLY_MEAN if near else IMPOSSIBLE), "records"
