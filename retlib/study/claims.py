"""State a paper's claims in words and, where possible, in a form that numbers can test.

The same test runs on the paper's own numbers (does the table bear the sentence out?) and on ours: it is
given functions that look numbers up, and knows nothing of where numbers come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from pathlib import PurePath
from typing import Literal

from pydantic import Field, model_validator

from retlib.metrics import METRICS
from retlib.settings import Settings, refuse
from retlib.study.plan import RunName
from retlib.study.printed import DatasetName, NumberText, Printed, Text

COSTS = ("parameters", "step_s")
"""What a run costs, from its record: weights that are trained; seconds of one optimiser step on its machine."""

Metric = Literal[(*METRICS, "betti0_error", "betti1_error", "recall_thin", "recall_medium", "recall_wide", *COSTS)]
"""A number of a record: `evaluate`'s metrics; inside the FOV also Betti errors and recall by vessel width; costs."""

Curve = Literal[
    tuple(f"{part}_{name}" for part in ("train", "validation") for name in ("loss", "accuracy", "sensitivity", "dice"))
]
"""A column of a record's history."""

ValueOf = Callable[[str, str], float | None]  # (run, metric)
CurveOf = Callable[[str, str], Sequence[float] | None]  # (run, curve)
DifferenceOf = Callable[[str, str, str], tuple[float, float, float] | None]
# (first run, second run, metric) -> second less first, and its interval: (difference, low, high)


class Compare(Settings):
    """The first run has the higher value of every metric, or with ``or_equal`` no lower one."""

    higher: RunName
    lower: RunName
    metrics: tuple[Metric, ...]
    or_equal: bool = False


class Difference(Settings):
    """The step from one run to another changes each metric by a stated size.

    It holds when our difference has the stated sign and lies within a margin of the stated size.

    Attributes:
        start, end: The two runs.
        values: Metric -> the size as printed; ``"1.6%"`` is 1.6 percentage points, or 1.6 % if ``relative``.
        relative: The size is a share of the first run's value.
        margin: As printed; by default half a unit of the stated size's last digit, and half the width of the
            interval of our difference where it has one.
    """

    start: RunName
    end: RunName
    values: dict[Metric, NumberText]
    relative: bool = False
    margin: NumberText | None = None


class Gains(Settings):
    """The step between the first pair of runs raises every metric by more than the second pair's.

    With ``than`` the second pair's step is in that metric.
    """

    larger: tuple[RunName, RunName]  # (from, to)
    smaller: tuple[RunName, RunName]
    metrics: tuple[Metric, ...]
    than: Metric | None = None


class Below(Settings):
    """The run stays below every quoted row of a table that prints the metric."""

    run: RunName
    table: str
    metrics: tuple[Metric, ...]


class Level(Settings):
    """Where a curve settles (see :func:`settled`): above a number, below one, between two, or above another run's."""

    run: RunName
    curves: tuple[Curve, ...]
    above: NumberText | None = None
    below: NumberText | None = None
    above_run: RunName | None = None

    @model_validator(mode="after")
    def _check(self) -> Level:
        if (self.above is None and self.below is None) == (self.above_run is None):
            raise ValueError("expected either numbers in `above` or `below`, or a run in `above_run`")
        return self


class Place(Settings):
    """A row of a table, counted from 0."""

    table: str
    row: int


Fact = Literal["width", "height", "proportions", "images", "format"]


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
        compare, differences, gains, below, levels: What has to hold for the claim to be true.
        facts: Properties of ``dataset``, as the paper states them; ``proportions`` as ``"3:2"``.
        kind: ``dataset`` for a statement about a data set, which is counted apart from those about methods and results.
        decided: What the paper's own text and tables say of it, where no comparison of two numbers does.
        because: Why it is decided so.
        check: How to look into it, in words.
        note: What a reader should know.
    """

    id: str
    where: str
    statement: str
    dataset: DatasetName | None = None
    run: RunName | None = None
    values: dict[Literal[METRICS], NumberText] = Field(default_factory=dict)
    same_as: Place | None = None
    compare: tuple[Compare, ...] = ()
    differences: tuple[Difference, ...] = ()
    gains: tuple[Gains, ...] = ()
    below: tuple[Below, ...] = ()
    levels: tuple[Level, ...] = ()
    facts: dict[Fact, Text] = Field(default_factory=dict)
    kind: Literal["method", "dataset"] = "method"
    decided: Literal["holds", "holds in part", "fails"] | None = None
    because: str = ""
    check: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _check(self) -> Claim:
        refuse(self._wrong())
        return self

    @property
    def compares(self) -> bool:
        """Whether it is taken apart into comparisons of two numbers."""
        return any((self.compare, self.differences, self.gains, self.below, self.levels))

    def metrics(self) -> set[str]:
        """Return the metrics and curves that its comparisons are about."""
        names = [item.metrics for item in (*self.compare, *self.gains, *self.below)]
        return set().union(*names, *(item.values for item in self.differences), *(item.curves for item in self.levels))

    def runs(self) -> list[str]:
        """List the runs that it speaks of, each once."""
        names = [self.run]
        for item in self.compare:
            names += [item.higher, item.lower]
        for item in self.differences:
            names += [item.end, item.start]
        for item in self.gains:
            names += [*item.larger, *item.smaller]
        names += [item.run for item in self.below]
        for item in self.levels:
            names += [item.run, item.above_run]
        return list(dict.fromkeys(filter(None, names)))

    def _wrong(self) -> Iterator[str]:
        if not (self.values or self.compares or self.facts or self.decided or self.check):
            yield "check: expected words on how to look into a claim that has nothing to compute"
        if (self.decided is not None) != bool(self.because):
            yield "because: expected the reason of what is `decided`, and none without it"
        if self.decided is not None and (self.compares or self.facts):
            yield "decided: expected nothing, since numbers decide the claim"
        if self.facts and self.kind != "dataset":
            yield "kind: expected dataset, since the claim states facts of one"
        if self.facts and self.dataset is None:
            yield "dataset: expected the data set that the facts are about"


@dataclass(frozen=True)
class Finding:
    """One comparison that a claim stands on.

    Attributes:
        what: The comparison in words, names of runs included.
        metric: The metric, curve or fact compared.
        left: The value that should be the higher; for sizes, ranges and facts the stated one.
        right: The value that should be the lower; for sizes, ranges and facts the measured one.
        holds: Whether it is so; None where a number is missing.
    """

    what: str
    metric: str
    left: float | str | None
    right: float | str | None
    holds: bool | None


def compare_runs(claim: Claim, value_of: ValueOf, difference_of: DifferenceOf | None = None) -> Iterator[Finding]:
    """Test the claim's comparisons, differences and gains.

    Args:
        claim: The claim.
        value_of: (run, metric) -> value, or None where there is none.
        difference_of: (start, end, metric) -> (difference, low, high), or None where there is no interval: then the
            difference is that of the two values.
    """
    for item in claim.compare:
        for metric in item.metrics:
            words = "no lower than" if item.or_equal else "above"
            values = value_of(item.higher, metric), value_of(item.lower, metric)
            yield _higher(f"{item.higher} {words} {item.lower}", metric, *values, item.or_equal)
    for item in claim.differences:
        for metric in item.values:
            yield _sized(item, metric, value_of, difference_of)
    for item in claim.gains:
        what = " gains more than ".join(f"{a} to {b}" for a, b in (item.larger, item.smaller))
        for metric in item.metrics:
            pairs = (item.larger, metric), (item.smaller, item.than or metric)
            steps = [_step(value_of(start, name), value_of(end, name)) for (start, end), name in pairs]
            yield _higher(f"{what} in {item.than}" if item.than else what, metric, *steps)


def compare_levels(claim: Claim, curve_of: CurveOf) -> Iterator[Finding]:
    """Test where the claim's curves settle.

    Args:
        claim: The claim.
        curve_of: (run, column of the history) -> one value an epoch, or None where there is no record.
    """
    for item in claim.levels:
        above, below = (None if text is None else Printed(text).value for text in (item.above, item.below))
        for column in item.curves:
            level = settled(curve_of(item.run, column))
            if item.above_run is not None:
                other = settled(curve_of(item.above_run, column))
                yield _higher(f"{item.run} above {item.above_run}", column, level, other)
            elif below is None:
                yield _higher(f"{item.run} above {item.above}", column, level, above)
            elif above is None:
                yield _higher(f"{item.run} below {item.below}", column, below, level)
            else:
                holds = None if level is None else above <= level <= below
                what = f"{item.run} between {item.above} and {item.below}"
                yield Finding(what, column, f"{item.above} to {item.below}", level, holds)


def settled(curve: Sequence[float] | None) -> float | None:
    """Average a curve over the last tenth of its epochs, one at least; None for no curve."""
    if not curve:
        return None
    last = curve[-max(1, len(curve) // 10) :]
    return sum(last) / len(last)


def compare_facts(claim: Claim) -> Iterator[Finding]:
    """Hold what the paper states of a data set against the data set itself."""
    known = dataset_facts(claim.dataset) if claim.facts else {}
    for fact, stated in claim.facts.items():
        yield Finding(f"{fact} of {claim.dataset}", fact, stated, known[fact], stated == known[fact])


def dataset_facts(dataset: str) -> dict[Fact, str]:
    """Look up in a data set's reader what a paper may state of it."""
    from retlib.data.registry import get_collection

    collection = get_collection(dataset)
    width, height = collection.width, collection.height
    file = collection.files(collection.names[0])["image"][0].removesuffix(".gz")
    return {
        "width": str(width),
        "height": str(height),
        "proportions": f"{width // gcd(width, height)}:{height // gcd(width, height)}",
        "images": str(len(collection.names)),
        "format": {".tif": "TIFF", ".jpg": "JPEG", ".ppm": "PPM"}[PurePath(file).suffix.lower()],
    }


def _sized(item: Difference, metric: str, value_of: ValueOf, difference_of: DifferenceOf | None) -> Finding:
    """Test the size of one difference."""
    stated = Printed(item.values[metric])
    what = f"{item.end} above {item.start} by {stated.text}" + (" of it" if item.relative else "")
    interval = difference_of(item.start, item.end, metric) if difference_of else None
    start, end = value_of(item.start, metric), value_of(item.end, metric)
    measured, low, high = interval or (_step(start, end), 0.0, 0.0)
    if measured is None or (item.relative and not start):
        return Finding(what, metric, stated.value, None, None)
    scale = start if item.relative else 1.0
    measured, half_width = measured / scale, (high - low) / 2 / scale
    margin = stated.half_unit + half_width if item.margin is None else Printed(item.margin).value
    near = round(abs(measured - stated.value) - margin, 9) <= 0
    return Finding(what, metric, stated.value, measured, near and measured * stated.value >= 0)


def _higher(what: str, metric: str, left: float | None, right: float | None, or_equal: bool = False) -> Finding:
    step = _step(right, left)
    if step is None:
        return Finding(what, metric, left, right, None)
    step = round(step, 9)  # differences of printed decimals carry noise in the last binary digits
    return Finding(what, metric, left, right, step > 0 or (or_equal and step == 0))


def _step(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start
