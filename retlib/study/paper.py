"""Paper: everything a YAML file says of one paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from retlib.data import list_datasets
from retlib.settings import Settings
from retlib.study.claims import Claim, CurveOf, DifferenceOf, Finding, ValueOf, compare, compare_facts
from retlib.study.plan import RunName, RunsFile
from retlib.study.printed import DatasetName, Printed, Table, Text


def _one_or_many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Paths = Annotated[tuple[str, ...], BeforeValidator(_one_or_many)]


class Configured(Settings):
    """Something that runs carry in their configuration."""

    config: Paths = ()  # dotted path or paths into RunConfig (``training.loss``), as far as it is configured
    run: RunName | None = None  # the run to look them up in; the proposed model's first by default


class Stated(Configured):
    """One thing that the paper says of its method."""

    topic: str  # a word or two
    stated: str  # what the paper says, in our words
    where: str  # the part of the paper


class OpenPoint(Configured):
    """One thing that the paper leaves open or contradicts itself on, and what is done here."""

    id: str  # unique in the paper
    question: str  # what is not said
    choice: str  # what is done; numbers stand in the config alone
    reason: str  # why


class Figure(Settings):
    """One figure."""

    number: str  # as the paper counts: "5"
    caption: str  # what it shows, in our words
    runs: tuple[RunName, ...] = ()  # the runs whose records show the same


class Paper(RunsFile):
    """One paper, read by `retlib.papers.load_paper`."""

    short: str  # a short name for headings
    authors: tuple[str, ...]  # family name last
    year: int | None  # of publication; None where the text at hand has no date
    venue: str | None = None  # journal or series; None where the paper at hand does not name it
    citation: str  # key in the book's bibliography
    other_datasets: dict[str, str] = Field(default_factory=dict, validate_default=True)  # of quoted rows: name -> what
    datasets: tuple[DatasetName, ...]  # data sets it works on, retlib's names
    summary: str  # what it proposes and claims, in our words
    proposed: dict[DatasetName, RunName]  # data set -> the run of the proposed model, as published
    protocol: tuple[Stated, ...] = ()  # what it says of its method
    tables: dict[Text, Table]  # by number
    figures: dict[Text, Figure] = Field(default_factory=dict)  # by number
    claims: tuple[Claim, ...] = ()  # what it claims in its text
    open_points: tuple[OpenPoint, ...] = ()  # what it leaves open, and our choices

    @field_validator("other_datasets")
    @classmethod
    def _list_datasets(cls, others: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        # For `DatasetName` in the fields that follow.
        if info.context is not None:
            info.context["data set"] = [*list_datasets(), *others]
        return others

    @field_validator("tables", "figures", mode="before")
    @classmethod
    def _number(cls, items: Any) -> Any:
        """Give every table and figure its key as its number, so that the file says it once."""
        if not isinstance(items, dict):
            return items
        return {key: {"number": key, **item} if isinstance(item, dict) else item for key, item in items.items()}

    def _problems(self) -> Iterator[str]:
        for kind, items in (("claims", self.claims), ("open_points", self.open_points)):
            counts = Counter(item.id for item in items)
            yield from (f"{kind}: expected ids that differ, got {id!r} twice" for id, n in counts.items() if n > 1)
        for index, claim in enumerate(self.claims):
            places = [(item.table, 0) for item in claim.below]
            places += [(claim.same_as.table, claim.same_as.row)] if claim.same_as else []
            for number, row in places:
                if number not in self.tables or not 0 <= row < len(self.tables[number].rows):
                    yield f"claims.{index}: expected a row of a table of this paper, got row {row} of {number!r}"

    def table_runs(self, number: str) -> list[tuple[int, str]]:
        """List (index of the row, name of the run) for the rows of a table that a record can stand beside."""
        return [(index, row.run) for index, row in enumerate(self.tables[number].rows) if row.run is not None]

    def printed(self, run: str, metric: str, quoted: bool = False) -> Printed | None:
        """Look up what the tables print for a run: its first measured row (or quoted one, if so); None without one."""
        for table in self.tables.values():
            for index, row in enumerate(table.rows):
                if row.run == run and row.epoch is None and (quoted or row.kind == "measured"):
                    number = table.values(index).get(row.dataset, {}).get(metric)
                    if number is not None:
                        return number
        return None

    def printed_difference(self, start: str, end: str, metric: str) -> tuple[float, float, float] | None:
        """Compute how much the tables print more for ``end`` than for ``start``: (difference, low, high).

        The interval holds what the two numbers can be before rounding. None where one of them is missing.
        """
        first, second = (self.printed(run, metric, quoted=True) for run in (start, end))
        if first is None or second is None:
            return None
        difference, rounding = second.value - first.value, first.half_unit + second.half_unit
        return difference, difference - rounding, difference + rounding

    def claim(self, identity: str) -> Claim:
        """Return the claim with this id.

        Raises:
            ValueError: there is none; the message lists the ids.
        """
        claims = {claim.id: claim for claim in self.claims}
        if identity not in claims:
            raise ValueError(f"{self.key}: claim {identity!r} does not exist; there are {', '.join(claims)}")
        return claims[identity]

    def repeated(self, claim: Claim) -> dict[str, Printed]:
        """Return the numbers of the row that a claim repeats (`Claim.same_as`), by metric; empty without one."""
        if claim.same_as is None:
            return {}
        row = self.tables[claim.same_as.table].values(claim.same_as.row)
        return row.get(claim.dataset, next(iter(row.values()), {}))

    def test_claim(
        self,
        claim: Claim | str,
        value_of: ValueOf | None = None,
        curve_of: CurveOf | None = None,
        difference_of: DifferenceOf | None = None,
    ) -> list[Finding]:
        """Hold a claim (or its id) against numbers: the paper's own, or a record's.

        Args:
            claim: What is tested.
            value_of: (run, metric) -> measured value, or None; by default what the tables print.
            curve_of: (run, column of a record's history) -> one value an epoch, or None; by default none is known.
            difference_of: (start, end, metric) -> ``end`` less ``start`` with its interval, (difference, low, high), or
                None; claims of a size are tested with it. By default the difference of the two values, without an
                interval; for the tables' own numbers with what rounding leaves open.

        Returns:
            One finding a comparison; empty for a claim that only words can answer. ``holds`` is None where a
            number is missing, as for curves, of which a paper prints only pictures.
        """
        claim = self.claim(claim) if isinstance(claim, str) else claim
        findings = []
        if value_of is None:
            findings += self._repeats(claim)
            value_of, difference_of = self._printed_value, difference_of or self.printed_difference
        findings += compare(claim, value_of, curve_of or _nothing, difference_of or _nothing)
        for item in claim.below:
            for metric in item.metrics:
                findings += self._below(item.run, item.table, metric, value_of(item.run, metric))
        return [*findings, *compare_facts(claim)]

    def configured(self, item: Configured, profile: str = "paper") -> dict[str, Any]:
        """Look up the paths that an open point or a stated fact names: dotted path -> value in the run's config.

        Raises:
            ValueError: the profile has no such run, or the config no such path.
        """
        if not item.config:
            return {}
        run = item.run or next(iter(self.proposed.values()))
        content = self.config(run, profile).model_dump(mode="json")
        return {path: _look_up(content, path, f"{self.key}: run {run}") for path in item.config}

    def _printed_value(self, run: str, metric: str) -> float | None:
        number = self.printed(run, metric, quoted=True)
        return None if number is None else number.value

    def _repeats(self, claim: Claim) -> Iterator[Finding]:
        numbers = self.repeated(claim)
        for metric, text in claim.values.items() if claim.same_as else ():
            left, right = Printed(text).value, numbers[metric].value if metric in numbers else None
            what = f"{claim.where} repeats Table {claim.same_as.table}"
            yield Finding(what, metric, left, right, None if right is None else left == right)

    def _below(self, run: str, number: str, metric: str, value: float | None) -> Iterator[Finding]:
        table = self.tables[number]
        for index, row in enumerate(table.rows):
            printed = table.values(index).get(row.dataset, {}).get(metric) if row.kind == "quoted" else None
            if printed is not None:
                holds = None if value is None else value < printed.value
                yield Finding(f"{row.cells[0]} above {run}", metric, printed.value, value, holds)


def _nothing(*names: str) -> None:
    """Know no curve and no interval."""


def _look_up(content: Any, path: str, where: str) -> Any:
    for key in path.split("."):
        if not isinstance(content, dict) or key not in content:
            raise ValueError(f"{where}: the config has nothing at {path!r} ({key!r} is missing)")
        content = content[key]
    return content
