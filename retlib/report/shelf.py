"""Shelf: a paper and whatever records there are of its runs, of any seed, the best profile first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from retlib.experiments import Store
from retlib.papers import Paper
from retlib.papers.claims import CurveOf, ValueOf
from retlib.report.evidence import Evidence
from retlib.report.parameters import Parameters
from retlib.report.study import Study

BEST_FIRST = ("paper", "lite")


class Shelf:
    """A paper and the records of its runs, each looked up once."""

    def __init__(self, paper: Paper, store: Store, seeds: tuple[int, ...]) -> None:
        self.paper, self.store = paper, store
        self.studies = {name: Study(paper, Parameters(profile=name, seeds=seeds), store) for name in BEST_FIRST}
        self.found: dict[tuple[str, str], Evidence | None] = {}
        rows = [row for table in paper.tables.values() for row in table.rows if row.run is not None]
        self.quoted = {row.run for row in rows} - {row.run for row in rows if row.kind == "measured"}

    def evidence(self, run: str | None, profiles: Iterable[str] = BEST_FIRST) -> Evidence | None:
        """The records of a run in the first of these profiles that has some."""
        for profile in profiles if run is not None else ():
            if (run, profile) not in self.found:
                self.found[run, profile] = self.studies[profile].evidence(run, best=False)
            if self.found[run, profile] is not None:
                return self.found[run, profile]
        return None

    def values(self, profile: str) -> ValueOf:
        """(run, metric) -> our value in this profile, or None."""

        def value(run: str, metric: str) -> float | None:
            evidence = self.evidence(run, [profile])
            found = math.nan if evidence is None else evidence.number(metric)
            return None if math.isnan(found) else found

        return value

    def curves(self, profile: str) -> CurveOf:
        """(run, column of the history) -> one value an epoch of the first seed, or None."""

        def curve(run: str, column: str) -> Sequence[float] | None:
            evidence = self.evidence(run, [profile])
            return None if evidence is None else [row[column] for row in evidence.records[0].history if column in row]

        return curve
