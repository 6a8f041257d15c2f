"""Shelf: a paper and whatever records there are of its runs, the best profile first."""

from __future__ import annotations

from collections.abc import Iterable

from retlib.study import Paper, Store
from retlib.study.evidence import Evidence
from retlib.study.notebook import Study
from retlib.study.parameters import Parameters

BEST_FIRST = ("paper", "lite")


class Shelf:
    """A paper and the records of its runs.

    Args:
        paper: the paper.
        store: the records.
        parameters: the seeds that are looked for, and where the data is.
    """

    def __init__(self, paper: Paper, store: Store, parameters: Parameters) -> None:
        self.paper, self.store = paper, store
        self.studies = {
            name: Study(paper, parameters.model_copy(update={"profile": name}), store) for name in BEST_FIRST
        }
        rows = [row for table in paper.tables.values() for row in table.rows if row.run is not None]
        self.quoted = {row.run for row in rows} - {row.run for row in rows if row.kind == "measured"}

    def evidence(self, run: str | None, profiles: Iterable[str] = BEST_FIRST) -> Evidence | None:
        """The records of a run in the first of these profiles that has some."""
        for profile in profiles if run is not None else ():
            if (found := self.studies[profile].evidence(run, best=False)) is not None:
                return found
        return None
