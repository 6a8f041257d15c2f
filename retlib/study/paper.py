"""Paper: everything a YAML file says of one paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from retlib.settings import Settings
from retlib.study.claims import Claim, CurveOf, Finding, ValueOf, compare, compare_facts, compare_levels
from retlib.study.plan import Plan, PlannedRun
from retlib.study.printed import Printed, Table, Text

if TYPE_CHECKING:
    from retlib.study import RunConfig

Paths = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class Stated(Settings):
    """One thing that the paper says of its method, and where the runs carry it.

    Attributes:
        topic: A word or two.
        stated: What the paper says, in our words.
        where: The part of the paper.
        config: Dotted path or paths into RunConfig (``training.loss``), as far as it is configured.
        run: The run to look the paths up in; the proposed model's first by default.
    """

    topic: str
    stated: str
    where: str
    config: Paths = ()
    run: str | None = None


class OpenPoint(Settings):
    """One thing that the paper leaves open or contradicts itself on, and what is done here.

    Attributes:
        id: Unique in the paper.
        question: What is not said.
        choice: What is done; numbers stand in the config alone.
        reason: Why.
        config: Dotted path or paths into RunConfig that hold the choice.
        run: The run to look the paths up in; the proposed model's first by default.
    """

    id: str
    question: str
    choice: str
    reason: str
    config: Paths = ()
    run: str | None = None


class Figure(Settings):
    """One figure.

    Attributes:
        number: As the paper counts: ``"5"``.
        caption: What it shows, in our words.
        runs: The runs whose records show the same.
    """

    number: str
    caption: str
    runs: tuple[str, ...] = ()


class Paper(Settings):
    """One paper, read by `retlib.papers.load_paper`.

    Attributes:
        key: Its name here; also the file's.
        title: Its title.
        short: A short name for headings.
        authors: Family name last.
        year: Of publication; None where the text at hand has no date.
        venue: Journal or series; None where the paper at hand does not name it.
        citation: Key in the book's bibliography.
        datasets: Data sets it works on, retlib's names.
        other_datasets: Names of data sets that only its quoted rows speak of -> what they are.
        summary: What it proposes and claims, in our words.
        proposed: Data set -> the run of the proposed model, as published.
        protocol: What it says of its method.
        tables: By number.
        figures: By number.
        claims: What it claims in its text.
        open_points: What it leaves open, and our choices.
    """

    key: str
    title: str
    short: str
    authors: tuple[str, ...]
    year: int | None
    venue: str | None = None
    citation: str
    datasets: tuple[str, ...]
    other_datasets: dict[str, str] = Field(default_factory=dict)
    summary: str
    proposed: dict[str, str]
    protocol: tuple[Stated, ...] = ()
    tables: dict[Text, Table]
    figures: dict[Text, Figure] = Field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    open_points: tuple[OpenPoint, ...] = ()
    run_plan: Plan = Field(alias="runs")

    def plan(self, profile: str) -> dict[str, PlannedRun]:
        """The runs of a profile by name, merged but not validated; needs no torch."""
        return self.run_plan.runs(profile)

    def runs(
        self, profile: str, seed: int = 0, *, role: str | None = None, dataset: str | None = None
    ) -> dict[str, RunConfig]:
        """The runs of a profile by name, in the order of the file.

        Args:
            profile: ``smoke``, ``lite`` or ``paper``.
            seed: The seed of every run.
            role: Only runs of this role: ``table``, ``fold``, ``ablation`` or ``control``.
            dataset: Only runs that stand for this data set.

        Raises:
            ValueError: an unknown profile; a run that is no valid RunConfig.
        """
        return {
            name: planned.config(seed, where=f"{self.key}: ")
            for name, planned in self.plan(profile).items()
            if role in (None, planned.role) and dataset in (None, planned.dataset)
        }

    def table_runs(self, number: str) -> list[tuple[int, str]]:
        """(index of the row, name of the run) for the rows of a table that a record can stand beside."""
        return [(index, row.run) for index, row in enumerate(self.tables[number].rows) if row.run is not None]

    def printed(self, run: str, metric: str, quoted: bool = False) -> Printed | None:
        """What the tables print for a run: the first measured row (or quoted one, if so) that names it; else None."""
        for table in self.tables.values():
            for index, row in enumerate(table.rows):
                if row.run == run and row.epoch is None and (quoted or row.kind == "measured"):
                    found = table.values(index).get(row.dataset, {}).get(metric)
                    if found is not None:
                        return found
        return None

    def claim(self, identity: str) -> Claim:
        """The claim with this id.

        Raises:
            ValueError: there is none; the message lists the ids.
        """
        return _by_id(self.claims, identity, f"{self.key}: claim")

    def open_point(self, identity: str) -> OpenPoint:
        """The open point with this id.

        Raises:
            ValueError: there is none; the message lists the ids.
        """
        return _by_id(self.open_points, identity, f"{self.key}: open point")

    def test_claim(
        self, claim: Claim | str, value_of: ValueOf | None = None, curve_of: CurveOf | None = None
    ) -> list[Finding]:
        """Hold a claim against numbers: the paper's own, or a record's.

        Args:
            claim: The claim, or its id.
            value_of: (run, metric) -> measured value, or None where there is none; by default what the
                tables print.
            curve_of: (run, column of a record's history) -> one value an epoch, or None; by default none
                is known.

        Returns:
            One finding a comparison; empty for a claim that only words can answer. ``holds`` is None where a
            number is missing, as for curves, of which a paper prints only pictures.
        """
        claim = self.claim(claim) if isinstance(claim, str) else claim
        found = []
        if value_of is None:
            found += self._same_numbers(claim)

            def value_of(run: str, metric: str) -> float | None:
                printed = self.printed(run, metric, quoted=True)
                return None if printed is None else printed.value

        found += compare(claim, value_of)
        for item in claim.below:
            for metric in item.metrics:
                found += self._below(item.run, item.table, metric, value_of(item.run, metric))
        found += compare_levels(claim, curve_of or (lambda run, column: None))
        return found + compare_facts(claim)

    def configured(self, item: Stated | OpenPoint, profile: str = "paper") -> dict[str, Any]:
        """Dotted path -> value in the run's config, for each path that an open point or a stated fact names.

        Raises:
            ValueError: the config has no such path.
        """
        if not item.config:
            return {}
        name = item.run or next(iter(self.proposed.values()))
        planned = self.plan(profile).get(name)
        if planned is None:
            raise ValueError(f"{self.key}: profile {profile} has no run {name!r}")
        content = planned.config(where=f"{self.key}: ").model_dump(mode="json")
        return {path: _look_up(content, path, f"{self.key}: run {name}") for path in item.config}

    def _same_numbers(self, claim: Claim) -> list[Finding]:
        if claim.same_as is None:
            return []
        table = self.tables[claim.same_as.table]
        row = table.values(claim.same_as.row)
        values = row.get(claim.dataset, next(iter(row.values()), {}))
        found = []
        for metric, text in claim.values.items():
            left, right = Printed(text).value, values[metric].value if metric in values else None
            what = f"{claim.where} repeats Table {table.number}"
            found.append(Finding(what, metric, left, right, None if right is None else left == right))
        return found

    def _below(self, run: str, number: str, metric: str, value: float | None) -> list[Finding]:
        table = self.tables[number]
        found = []
        for index, row in enumerate(table.rows):
            printed = table.values(index).get(row.dataset, {}).get(metric) if row.kind == "quoted" else None
            if printed is not None:
                holds = None if value is None else value < printed.value
                found.append(Finding(f"{row.cells[0]} above {run}", metric, printed.value, value, holds))
        return found


def _by_id(items: tuple, identity: str, kind: str):
    for item in items:
        if item.id == identity:
            return item
    raise ValueError(f"{kind} {identity!r} does not exist; there are {', '.join(item.id for item in items)}")


def _look_up(content: Any, path: str, where: str) -> Any:
    for key in path.split("."):
        if not isinstance(content, dict) or key not in content:
            raise ValueError(f"{where}: the config has nothing at {path!r} ({key!r} is missing)")
        content = content[key]
    return content
