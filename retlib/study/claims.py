"""A paper's claims, in words and, where possible, in a form that numbers can answer.

The same test runs on the paper's own numbers (does the table bear the sentence out?) and on ours: it is
given a function that looks a number up, and knows nothing of where numbers come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Literal

from pydantic import Field

from retlib.metrics import METRICS
from retlib.settings import Settings
from retlib.study.printed import Text, is_number

RECORDED_METRICS = (*METRICS, "betti0_error", "betti1_error", "recall_thin", "recall_medium", "recall_wide")
"""Metrics that a record holds: `evaluate`'s; inside the FOV also Betti errors and recall by vessel width."""

COSTS = ("parameters", "step_s")
"""What a run costs, from its record: weights that are trained; seconds of one optimiser step on its machine."""

CURVES = tuple(
    f"{part}_{name}" for part in ("train", "validation") for name in ("loss", "accuracy", "sensitivity", "dice")
)
"""Columns of a record's history."""

ValueOf = Callable[[str, str], float | None]
CurveOf = Callable[[str, str], Sequence[float] | None]


class Compare(Settings):
    """The first run has the higher value of every metric, or with ``or_equal`` no lower one."""

    higher: str
    lower: str
    metrics: tuple[str, ...]
    or_equal: bool = False


class Gains(Settings):
    """The step between the first pair of runs raises every metric by more than the second pair's.

    With ``than`` the second pair's step is in that metric.
    """

    larger: tuple[str, str]  # (from, to)
    smaller: tuple[str, str]
    metrics: tuple[str, ...]
    than: str | None = None


class Below(Settings):
    """The run stays below every quoted row of a table that prints the metric."""

    run: str
    table: str
    metrics: tuple[str, ...]


class Level(Settings):
    """Where a curve settles (see :func:`settled`): above or below a number, or above another run's."""

    run: str
    curves: tuple[str, ...]
    above: Text | None = None
    below: Text | None = None
    above_run: str | None = None


class Place(Settings):
    """A row of a table, counted from 0."""

    table: str
    row: int


class Claim(Settings):
    """One claim.

    Attributes:
        id: Unique in the paper.
        where: The part of the paper.
        statement: In our words.
        dataset: The data set it speaks of, if it is one.
        run: The run whose record its ``values`` belong to.
        values: Metric -> number as printed.
        same_as: The row that should print the same numbers.
        compare, gains, below, levels: What has to hold for the claim to be true.
        facts: ``width``, ``height``, ``proportions`` (``"3:2"``), ``images`` or ``format`` of ``dataset``, as the paper
            states them.
        kind: ``dataset`` for a statement about a data set, which is counted apart from those about methods and results.
        decided: What the paper's own text and tables say of it, where no comparison of two numbers does.
        because: Why it is decided so.
        check: How to look into it, in words.
        note: What a reader should know.
    """

    id: str
    where: str
    statement: str
    dataset: str | None = None
    run: str | None = None
    values: dict[str, Text] = Field(default_factory=dict)
    same_as: Place | None = None
    compare: tuple[Compare, ...] = ()
    gains: tuple[Gains, ...] = ()
    below: tuple[Below, ...] = ()
    levels: tuple[Level, ...] = ()
    facts: dict[str, Text] = Field(default_factory=dict)
    kind: Literal["method", "dataset"] = "method"
    decided: Literal["holds", "holds in part", "fails"] | None = None
    because: str = ""
    check: str = ""
    note: str = ""

    @property
    def compares(self) -> bool:
        """Whether it is taken apart into comparisons of two numbers."""
        return any((self.compare, self.gains, self.below, self.levels))

    def metrics(self) -> set[str]:
        """Metrics and curves that its comparisons are about."""
        named = {metric for item in (*self.compare, *self.gains, *self.below) for metric in item.metrics}
        return named.union(*(item.curves for item in self.levels))

    def runs(self) -> list[str]:
        """Names of the runs that it speaks of."""
        found = [self.run] if self.run else []
        for item in self.compare:
            found += [item.higher, item.lower]
        for item in self.gains:
            found += [*item.larger, *item.smaller]
        found += [item.run for item in self.below]
        for item in self.levels:
            found += [item.run, *([item.above_run] if item.above_run else [])]
        return list(dict.fromkeys(found))

    def problems(self) -> list[str]:
        """What is wrong with the claim, each with its place. Empty for a sound one."""
        found = []
        if not (self.values or self.compares or self.facts or self.decided) and not self.check:
            found.append("check: expected words on how to look into a claim that has nothing to compute")
        if (self.decided is not None) != bool(self.because):
            found.append("because: expected the reason of what is `decided`, and none without it")
        if self.decided is not None and (self.compares or self.facts):
            found.append("decided: expected nothing, since numbers decide the claim")
        if self.facts and self.kind != "dataset":
            found.append("kind: expected dataset, since the claim states facts of one")
        for metric, text in self.values.items():
            if metric not in METRICS or not is_number(text):
                found.append(f"values.{metric}: expected a number of one of {', '.join(METRICS)}, got {text!r}")
        for kind in ("compare", "gains", "below"):
            for index, item in enumerate(getattr(self, kind)):
                if unknown := [metric for metric in item.metrics if metric not in (*RECORDED_METRICS, *COSTS)]:
                    known = ", ".join((*RECORDED_METRICS, *COSTS))
                    found.append(f"{kind}.{index}.metrics: expected some of {known}, got {', '.join(unknown)}")
        for index, item in enumerate(self.gains):
            if item.than is not None and item.than not in (*RECORDED_METRICS, *COSTS):
                found.append(f"gains.{index}.than: expected one metric, got {item.than!r}")
        for index, item in enumerate(self.levels):
            if unknown := [curve for curve in item.curves if curve not in CURVES]:
                found.append(f"levels.{index}.curves: expected some of {', '.join(CURVES)}, got {', '.join(unknown)}")
            named = [value for value in (item.above, item.below, item.above_run) if value is not None]
            if len(named) != 1 or not is_number(item.above or item.below or "0"):
                found.append(f"levels.{index}: expected either a number in `above` or `below`, or a run in `above_run`")
        if unknown := sorted(set(self.facts) - set(FACTS)):
            found.append(f"facts: expected some of {', '.join(FACTS)}, got {', '.join(unknown)}")
        if self.facts and self.dataset is None:
            found.append("dataset: expected the data set that the facts are about")
        return found


@dataclass(frozen=True)
class Finding:
    """One comparison that a claim stands on.

    Attributes:
        what: The comparison in words, names of runs included.
        metric: The metric, curve or fact compared.
        left: The value that should be the higher (for facts: the stated one).
        right: The value that should be the lower (for facts: the true one).
        holds: Whether it is so; None where a number is missing.
    """

    what: str
    metric: str
    left: float | str | None
    right: float | str | None
    holds: bool | None


def compare(claim: Claim, value_of: ValueOf) -> list[Finding]:
    """Test the claim's comparisons and gains.

    Args:
        claim: The claim.
        value_of: (run, metric) -> value, or None where there is none.
    """
    found = []
    for item in claim.compare:
        for metric in item.metrics:
            values = value_of(item.higher, metric), value_of(item.lower, metric)
            words = "no lower than" if item.or_equal else "above"
            found.append(_higher(f"{item.higher} {words} {item.lower}", metric, *values, item.or_equal))
    for item in claim.gains:
        for metric in item.metrics:
            pairs = (item.larger, metric), (item.smaller, item.than or metric)
            gains = [_difference(value_of(a, name), value_of(b, name)) for (a, b), name in pairs]
            what = " gains more than ".join(f"{a} to {b}" for a, b in (item.larger, item.smaller))
            what += f" in {item.than}" if item.than else ""
            found.append(_higher(what, metric, *gains))
    return found


def compare_levels(claim: Claim, curve_of: CurveOf) -> list[Finding]:
    """Test where the claim's curves settle.

    Args:
        claim: The claim.
        curve_of: (run, column of the history) -> one value an epoch, or None where there is no record.
    """
    found = []
    for item in claim.levels:
        for column in item.curves:
            left = settled(curve_of(item.run, column))
            if item.above is not None:
                found.append(_higher(f"{item.run} above {item.above}", column, left, float(item.above)))
            elif item.below is not None:
                found.append(_higher(f"{item.run} below {item.below}", column, float(item.below), left))
            else:
                right = settled(curve_of(item.above_run, column))
                found.append(_higher(f"{item.run} above {item.above_run}", column, left, right))
    return found


def settled(curve: Sequence[float] | None) -> float | None:
    """Where a curve settles: its mean over the last tenth of the epochs, one at least; None for no curve."""
    if not curve:
        return None
    last = curve[-max(1, len(curve) // 10) :]
    return sum(last) / len(last)


FACTS: dict[str, Callable[[str], str]] = {
    "width": lambda dataset: str(_collection(dataset).width),
    "height": lambda dataset: str(_collection(dataset).height),
    "proportions": lambda dataset: _proportions(_collection(dataset)),
    "images": lambda dataset: str(len(_collection(dataset).names)),
    "format": lambda dataset: _image_format(dataset),
}
"""What can be said of a data set and looked up in its reader."""


def compare_facts(claim: Claim) -> list[Finding]:
    """Hold what the paper states of a data set against the data set itself."""
    found = []
    for fact, stated in claim.facts.items():
        true = FACTS[fact](claim.dataset)
        found.append(Finding(f"{fact} of {claim.dataset}", fact, stated, true, stated == true))
    return found


def _higher(what: str, metric: str, left: float | None, right: float | None, or_equal: bool = False) -> Finding:
    if left is None or right is None:
        return Finding(what, metric, left, right, None)
    difference = round(left - right, 9)  # differences of printed decimals carry noise in the last binary digits
    return Finding(what, metric, left, right, difference > 0 or (or_equal and difference == 0))


def _difference(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


def _collection(dataset: str):
    from retlib.data.registry import get_collection

    return get_collection(dataset)


def _proportions(collection) -> str:
    """Width to height in lowest terms, ``"3:2"``."""
    common = gcd(collection.width, collection.height)
    return f"{collection.width // common}:{collection.height // common}"


def _image_format(dataset: str) -> str:
    collection = _collection(dataset)
    file = collection.files(collection.names[0])["image"][0].removesuffix(".gz")
    return {"tif": "TIFF", "jpg": "JPEG", "ppm": "PPM"}[file.rsplit(".", 1)[-1].lower()]
