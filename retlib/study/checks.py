"""What a paper's file can get wrong though every part of it has the right form: names that lead nowhere."""

from __future__ import annotations

from retlib.data import list_datasets
from retlib.study.paper import Paper


def problems(paper: Paper) -> list[str]:
    """What is wrong: place (``tables.4.rows.0.run``) and what was expected there. Empty for a sound file."""
    found = [f"tables.{key}.{text}" for key, table in paper.tables.items() for text in table.problems()]
    found += [f"claims.{i}.{text}" for i, claim in enumerate(paper.claims) for text in claim.problems()]
    for kind, items in (("claims", paper.claims), ("open_points", paper.open_points)):
        ids = [item.id for item in items]
        doubled = sorted({name for name in ids if ids.count(name) > 1})
        found += [f"{kind}: expected ids that differ, got {name!r} twice" for name in doubled]
    found += _datasets(paper) + _rows(paper)
    wrong_plan = [f"runs.{text}" for text in paper.run_plan.problems()]
    return found + (wrong_plan or _runs(paper))


def _datasets(paper: Paper) -> list[str]:
    """Data sets that nobody knows."""
    named = [(f"datasets.{i}", name) for i, name in enumerate(paper.datasets)]
    named += [(f"proposed.{name}", name) for name in paper.proposed]
    for key, table in paper.tables.items():
        for i, row in enumerate(table.rows):
            named += [(f"tables.{key}.rows.{i}.dataset", row.dataset)]
            named += [(f"tables.{key}.rows.{i}.values.{name}", name) for name in row.values]
    named += [(f"claims.{i}.dataset", claim.dataset) for i, claim in enumerate(paper.claims)]
    known = [*list_datasets(), *paper.other_datasets]
    return [
        f"{place}: expected a data set out of {', '.join(known)}, got {name!r} "
        "(one that only quoted rows speak of belongs under other_datasets)"
        for place, name in named
        if name is not None and name not in known
    ]


def _rows(paper: Paper) -> list[str]:
    """Claims that point at a row or a table that is not there."""
    found = []
    for i, claim in enumerate(paper.claims):
        places = [(item.table, 0) for item in claim.below]
        places += [(claim.same_as.table, claim.same_as.row)] if claim.same_as else []
        for number, row in places:
            rows = len(paper.tables[number].rows) if number in paper.tables else 0
            if not 0 <= row < rows:
                found.append(f"claims.{i}: expected a row of a table of this paper, got row {row} of {number!r}")
    return found


def _runs(paper: Paper) -> list[str]:
    """Runs that are named somewhere and listed nowhere."""
    named = [(f"proposed.{dataset}", run) for dataset, run in paper.proposed.items()]
    for key, table in paper.tables.items():
        named += [(f"tables.{key}.rows.{i}.run", row.run) for i, row in enumerate(table.rows)]
    for key, figure in paper.figures.items():
        named += [(f"figures.{key}.runs", run) for run in figure.runs]
    for i, claim in enumerate(paper.claims):
        named += [(f"claims.{i}", run) for run in claim.runs()]
    for kind, items in (("protocol", paper.protocol), ("open_points", paper.open_points)):
        named += [(f"{kind}.{i}.run", item.run) for i, item in enumerate(items)]
    known = paper.run_plan.names()
    return [
        f"{place}: expected a run out of {', '.join(sorted(known))}; got {run!r}"
        for place, run in named
        if run is not None and run not in known
    ]
