"""State a paper's claims in words and, where possible, in a form that numbers can test.

The same test runs on the paper's own numbers (does the table bear the sentence out?) and on ours: it is
given functions that look numbers up, and knows nothing of where numbers come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from pathlib import PurePath
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationInfo

from retlib.metrics import METRICS
from retlib.settings import Settings
from retlib.study.plan import RunName, check_name
from retlib.study.printed import DatasetName, NumberText, Printed, Text, is_number

COSTS = ("parameters", "step_s")
"""What a run costs, from its record: weights that are trained; seconds of one optimiser step on its machine."""

Metric = Literal[(*METRICS, "betti0_error", "betti1_error", "recall_thin", "recall_medium", "recall_wide", *COSTS)]
"""A number of a record: `evaluate`'s metrics; inside the FOV also Betti errors and recall by vessel width; costs."""

CURVES = tuple(
    f"{part}_{name}" for part in ("train", "validation") for name in ("loss", "accuracy", "sensitivity", "dice")
)
"""Columns of a record's history."""

ValueOf = Callable[[str, str], float | None]  # (run, metric)
CurveOf = Callable[[str, str], Sequence[float] | None]  # (run, curve)
DifferenceOf = Callable[[str, str, str], tuple[float, float, float] | None]  # (start, end, metric)


def _check_quantity(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, list | tuple) and len(value) == 2:
        return tuple(check_name("run", name, info) for name in value)
    return value if isinstance(value, str) and is_number(value) else check_name("run", value, info)


Quantity = Annotated[str | tuple[str, str], BeforeValidator(_check_quantity)]
"""A run; two runs, for the step from the first to the second; or a number as printed."""


class Compare(Settings):
    """One quantity is higher than another in every metric, or higher by a stated size.

    A curve stands for where it settles (see `settled`). A stated size holds when the difference has its sign and lies
    within a margin of it. By default the margin is half a unit of the size's last printed digit, and half the width of
    the difference's interval where it has one.
    """

    higher: Quantity
    lower: Quantity
    metrics: tuple[Literal[(*get_args(Metric), *CURVES)], ...]
    than: Metric | None = None  # the metric of the lower quantity, where it is another one
    or_equal: bool = False  # no lower is enough
    by: NumberText | None = None  # the stated size; "1.6%" is 1.6 percentage points, or 1.6 % if relative
    relative: bool = False  # the size is a share of the lower quantity
    margin: NumberText | None = None  # takes the place of the default margin

    def _problems(self) -> Iterator[str]:
        if self.by is None and (self.relative or self.margin is not None):
            yield "by: expected a size, to which `relative` and `margin` belong"

    @property
    def words(self) -> str:
        """The comparison in words, names of runs included."""
        higher, lower = (q if isinstance(q, str) else " to ".join(q) for q in (self.higher, self.lower))
        verb = "no lower than" if self.or_equal else "above" if isinstance(self.higher, str) else "gains more than"
        text = f"{higher} {verb} {lower}"
        text += f" in {self.than}" if self.than else ""
        text += f" by {self.by}" if self.by else ""
        return text + (" of it" if self.relative else "") + (f", give or take {self.margin}" if self.margin else "")


class Below(Settings):
    """The run stays below every quoted row of a table that prints the metric."""

    run: RunName
    table: str
    metrics: tuple[Metric, ...]


class Place(Settings):
    """A row of a table, counted from 0."""

    table: str
    row: int


Fact = Literal["width", "height", "proportions", "images", "format"]


class Claim(Settings):
    """One claim."""

    id: str  # unique in the paper
    where: str  # the part of the paper
    statement: str  # in our words
    dataset: DatasetName | None = None  # the data set it speaks of, if it is one
    run: RunName | None = None  # the run whose record its `values` belong to
    values: dict[Literal[METRICS], NumberText] = Field(default_factory=dict)  # metric -> number as printed
    same_as: Place | None = None  # the row that should print the same numbers
    compare: tuple[Compare, ...] = ()  # what has to hold for the claim to be true
    below: tuple[Below, ...] = ()  # the same
    facts: dict[Fact, Text] = Field(default_factory=dict)  # of `dataset`, as the paper states them; proportions: "3:2"
    kind: Literal["method", "dataset"] = "method"  # statements about a data set are counted apart
    decided: Literal["holds", "holds in part", "fails"] | None = None  # by a reader, where no numbers do
    because: str = ""  # why it is decided so
    check: str = ""  # how to look into it, in words
    note: str = ""  # what a reader should know

    @property
    def compares(self) -> bool:
        """Whether it is taken apart into comparisons of two numbers."""
        return bool(self.compare or self.below)

    def metrics(self) -> set[str]:
        """Return the metrics and curves that its comparisons are about."""
        return {metric for item in (*self.compare, *self.below) for metric in item.metrics}

    def runs(self) -> list[str]:
        """List the runs that it speaks of, each once."""
        names = [self.run] if self.run else []
        for item in self.compare:
            for quantity in (item.higher, item.lower):
                names += [quantity] if isinstance(quantity, str) else quantity
        names += [item.run for item in self.below]
        return list(filter(_is_run, dict.fromkeys(names)))

    def _problems(self) -> Iterator[str]:
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
        left: The value that should be the higher; for sizes and facts the stated one.
        right: The value that should be the lower; for sizes and facts the measured one.
        holds: Whether it is so; None where a number is missing.
    """

    what: str
    metric: str
    left: float | str | None
    right: float | str | None
    holds: bool | None


def compare(claim: Claim, value_of: ValueOf, curve_of: CurveOf, difference_of: DifferenceOf) -> Iterator[Finding]:
    """Test the comparisons of two quantities that a claim stands on; see `Paper.test_claim` for the arguments."""

    def value(quantity: str | tuple[str, str], metric: str) -> float | None:
        if isinstance(quantity, tuple):
            start, end = (value(run, metric) for run in quantity)
            return None if start is None or end is None else end - start
        if is_number(quantity):
            return Printed(quantity).value
        return settled(curve_of(quantity, metric)) if metric in CURVES else value_of(quantity, metric)

    for item in claim.compare:
        for metric in item.metrics:
            left, right = value(item.higher, metric), value(item.lower, item.than or metric)
            if left is None or right is None:
                yield Finding(item.words, metric, left, right, None)
            elif item.by is None:
                step = round(left - right, 9)  # differences of printed decimals carry noise in the last binary digits
                yield Finding(item.words, metric, left, right, step > 0 or (item.or_equal and step == 0))
            else:
                interval = None
                if _is_run(item.lower) and _is_run(item.higher) and metric not in CURVES:
                    interval = difference_of(item.lower, item.higher, metric)
                yield _test_size(item, metric, interval or (left - right, 0.0, 0.0), right)


def _test_size(item: Compare, metric: str, difference: tuple[float, float, float], lower: float) -> Finding:
    """Test whether a difference, (difference, low, high), has the stated sign and lies within the margin."""
    stated = Printed(item.by)
    if item.relative and not lower:
        return Finding(item.words, metric, stated.value, None, None)
    measured, low, high = (value / lower if item.relative else value for value in difference)
    margin = stated.half_unit + (high - low) / 2 if item.margin is None else Printed(item.margin).value
    near = round(abs(measured - stated.value) - margin, 9) <= 0
    return Finding(item.words, metric, stated.value, measured, near and measured * stated.value >= 0)


def settled(curve: Sequence[float] | None) -> float | None:
    """Average a curve over the last tenth of its epochs, one at least; None for no curve."""
    if not curve:
        return None
    last = curve[-max(1, len(curve) // 10) :]
    return sum(last) / len(last)


def compare_facts(claim: Claim) -> Iterator[Finding]:
    """Hold what the paper states of a data set against the data set itself."""
    from retlib.data.registry import get_collection

    for fact, stated in claim.facts.items():
        collection = get_collection(claim.dataset)
        width, height = collection.width, collection.height
        file = PurePath(collection.files(collection.names[0])["image"][0].removesuffix(".gz"))
        known: dict[Fact, str] = {
            "width": str(width),
            "height": str(height),
            "proportions": f"{width // gcd(width, height)}:{height // gcd(width, height)}",
            "images": str(len(collection.names)),
            "format": {".tif": "TIFF", ".jpg": "JPEG", ".ppm": "PPM"}[file.suffix.lower()],
        }
        yield Finding(f"{fact} of {claim.dataset}", fact, stated, known[fact], stated == known[fact])


def _is_run(quantity: str | tuple[str, str]) -> bool:
    return isinstance(quantity, str) and not is_number(quantity)
