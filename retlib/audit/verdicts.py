"""Judge a printed number: the three verdicts, what each rests on, and the outcome of one check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from retlib.audit.deviations import Tolerance
from retlib.audit.intervals import Exact

CONSISTENT = "consistent"
ONLY_MEAN = "only as a mean over images"
IMPOSSIBLE = "impossible"
VERDICTS = (CONSISTENT, ONLY_MEAN, IMPOSSIBLE)
"""From the mildest to the hardest."""

BASES = {
    "rounding": "some confusion matrix rounds to the numbers",
    "records": "no confusion matrix does; held against how far averaging over images went in our records",
    "bound": "breaks a bound that is proven for every average over images",
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


def judge(
    printed: Exact, pooled: Exact | None, tolerance: Tolerance | None, bound: Exact | None = None
) -> tuple[str, str]:
    """Judge a printed number by the range that the other numbers of its row leave for it.

    Args:
        printed: The number's rounding interval.
        pooled: Its range over all confusion matrices that agree with the others; None if there is none.
        tolerance: How far averaging moved this identity in our records; None if there are none.
        bound: A proven range for means over images, where there is one.

    Returns:
        The verdict and its basis, a key of `BASES`.
    """
    if pooled is not None and pooled.meets(printed):
        return CONSISTENT, "rounding"
    if bound is not None and not bound.meets(printed):
        return IMPOSSIBLE, "bound"
    if tolerance is None:
        return ONLY_MEAN, "not judged"
    near = pooled is not None and pooled.widened(tolerance.exact).meets(printed)
    return (ONLY_MEAN if near else IMPOSSIBLE), "records"
