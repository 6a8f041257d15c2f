"""All verdicts: one line for every measured cell of every table, and for every claim of the text, of every paper.

Built from the papers' YAMLs and a store of records alone. What each verdict means is fixed in book/protocol.md.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from retlib.data.registry import get_collection, list_datasets
from retlib.experiments import Store
from retlib.papers import Claim, Finding, Paper, Printed, Row, Table, list_papers, load_paper
from retlib.papers.tables import is_missing
from retlib.report.consistency import Contradiction, contradictions, vessel_shares
from retlib.report.evidence import Evidence, verdict
from retlib.report.shelf import BEST_FIRST, Shelf
from retlib.report.tables import DASH, LABELS, profile_text

COLUMNS = ("paper", "where", "what", "reported", "measured", "difference", "profile", "verdict")
CLAIM_VERDICTS = ("holds", "holds in part", "fails")
VERDICTS = ("reproduced", "higher", "lower", "impossible as printed", *CLAIM_VERDICTS, "not run")


@dataclass(frozen=True)
class Line:
    """One line of the ledger.

    Attributes:
        paper: key of the paper.
        where: the table, or the part of the paper.
        group: what the line belongs to: the table's caption, or the claim.
        item: what the line is about within its group; empty where the group says it all.
        reported: the paper's number as a fraction of one, or how the comparison comes out in its own tables; None
            where there is nothing to compute.
        measured: the same of our records; None where there is no record.
        evidence: our best records; None where there are none.
        verdict: None for what no verdict is given on.
        decimals: digits of the reported number.
        note: why the number is impossible; for a claim that only words can answer, what to look at.
    """

    paper: str
    where: str
    group: str
    item: str
    reported: float | str | None = None
    measured: float | str | None = None
    evidence: Evidence | None = None
    verdict: str | None = None
    decimals: int = 4
    note: str = ""

    @property
    def what(self) -> str:
        """Group and item in one text; a table's caption is left out."""
        if self.where.startswith("Table "):
            return self.item
        return f"{self.group.removesuffix('.')}: {self.item}" if self.item else self.group

    @property
    def difference(self) -> float | None:
        """Measured minus reported, where both are numbers."""
        if isinstance(self.measured, str) or isinstance(self.reported, str) or None in (self.measured, self.reported):
            return None
        return self.measured - self.reported

    @property
    def profile(self) -> str:
        """``paper`` or ``lite``, with the number of seeds; an em dash without a record."""
        return DASH if self.evidence is None else profile_text(self.evidence)


def all_verdicts(store: Store | str | Path, papers: Iterable[str] | None = None) -> pd.DataFrame:
    """Every measured cell and every claim, reported and measured, with the verdict.

    Args:
        store: the records.
        papers: keys, or paths of YAML files; by default `retlib.papers.list_papers`.

    Returns:
        Columns paper, where, what, reported, measured, difference, profile, verdict. Reported and measured are
        fractions of one; for a claim that compares runs, how many of its comparisons hold; None where nothing is.
    """
    lines = ledger_lines(store, papers)
    return pd.DataFrame([[getattr(line, name) for name in COLUMNS] for line in lines], columns=list(COLUMNS)).astype(
        {"reported": object, "measured": object, "difference": float}
    )


def verdict_counts(lines: Iterable[Line]) -> pd.DataFrame:
    """How many lines of each paper have which verdict, by the profile of the records: paper, profile, verdict, lines.

    Verdicts in the order of the rule; what no verdict is given on counts under an em dash.
    """
    found: dict[str, Counter] = {}
    for line in lines:
        profile = DASH if line.evidence is None else line.evidence.profile
        found.setdefault(line.paper, Counter())[profile, line.verdict or DASH] += 1
    rows = [
        (paper, profile, judged, counted[profile, judged])
        for paper, counted in found.items()
        for profile in (*BEST_FIRST, DASH)
        for judged in (*VERDICTS, DASH)
        if (profile, judged) in counted
    ]
    return pd.DataFrame(rows, columns=["paper", "profile", "verdict", "lines"])


def ledger_lines(store: Store | str | Path, papers: Iterable[str] | None = None) -> list[Line]:
    """The lines behind :func:`all_verdicts`: paper by paper, tables first, then claims, each in the file's order."""
    store = store if isinstance(store, Store) else Store(store)
    # What nothing was drawn for, such as a classical filter, has no seed: no run of a paper is that.
    seeds = {config["seed"] for record in store if "seed" in (config := record.content["config"])}
    seeds = tuple(sorted(seeds)) or (0,)
    lines = []
    for key in list_papers() if papers is None else papers:
        shelf = Shelf(load_paper(key), store, seeds)
        for table in shelf.paper.tables.values():
            lines += _table_lines(shelf, table)
        for claim in shelf.paper.claims:
            lines += _claim_lines(shelf, claim)
    return lines


def _table_lines(shelf: Shelf, table: Table) -> Iterator[Line]:
    headings = {metric: column for column, metric in table.metrics.items()}
    for index, row in enumerate(table.rows):
        if row.kind == "quoted" and row.run is None:
            continue
        for dataset, printed in table.values(index).items():
            label = _row_label(shelf.paper, table, row, dataset)
            for line in _numbers(shelf, printed, row.run, dataset, row.epoch, judged=row.kind == "measured"):
                metric = line.pop("metric")
                heading = headings.get(metric, LABELS.get(metric, metric))
                yield Line(shelf.paper.key, f"Table {table.number}", table.caption, f"{label}: {heading}", **line)


def _claim_lines(shelf: Shelf, claim: Claim) -> Iterator[Line]:
    about = (shelf.paper.key, claim.where, claim.statement)
    elsewhere, run, epoch = {}, claim.run, None
    if claim.same_as is not None:
        table, index = shelf.paper.tables[claim.same_as.table], claim.same_as.row
        run, epoch = claim.run or table.rows[index].run, table.rows[index].epoch
        elsewhere = table.values(index)
        elsewhere = elsewhere.get(claim.dataset, next(iter(elsewhere.values()), {}))
    printed = {metric: Printed(text) for metric, text in claim.values.items()}
    judged = run is not None and run not in shelf.quoted
    for line in _numbers(shelf, printed, run, claim.dataset, epoch, judged=judged):
        metric = line.pop("metric")
        item = LABELS.get(metric, metric)
        if metric in elsewhere and elsewhere[metric].value != printed[metric].value:
            item += f" (Table {claim.same_as.table} prints {elsewhere[metric].text})"
        yield Line(*about, item, **line)
    for finding in shelf.paper.test_claim(claim.model_copy(update=_NOTHING | {"facts": claim.facts})):
        yield Line(*about, finding.metric, *_fact(finding), verdict="holds" if finding.holds else "fails", decimals=0)
    if claim.compare or claim.gains or claim.below or claim.levels:
        yield _comparison(shelf, claim, about)
    elif not claim.values and not claim.facts:
        yield Line(*about, "", note=claim.check)


_NOTHING = {"same_as": None, "compare": (), "gains": (), "below": (), "levels": (), "facts": {}}


def _comparison(shelf: Shelf, claim: Claim, about: tuple[str, str, str]) -> Line:
    bare = claim.model_copy(update={"same_as": None, "facts": {}})
    own = [finding.holds for finding in shelf.paper.test_claim(bare)]
    runs = claim.runs()
    complete = [profile for profile in BEST_FIRST if all(shelf.evidence(run, [profile]) for run in runs)]
    some = [profile for profile in BEST_FIRST if any(shelf.evidence(run, [profile]) for run in runs)]
    # All runs of one profile, since runs of different sizes are not comparable.
    profile = next(iter(complete + some), None)
    if profile is None:
        return Line(*about, "", outcome(own), verdict="not run")
    study = shelf.studies[profile]
    ours = [f.holds for f in shelf.paper.test_claim(bare, study.number, study.curve)]
    judged = profile == "paper" and None not in ours
    evidence = next(found for run in runs if (found := shelf.evidence(run, [profile])) is not None)
    return Line(
        *about,
        "",
        outcome(own),
        outcome(ours),
        evidence,
        verdict=("holds" if all(ours) else "holds in part" if any(ours) else "fails") if judged else "not run",
    )


def outcome(holds: Iterable[bool | None]) -> str | None:
    """``holds``, ``fails`` or ``holds in 3 of 5`` over the comparisons that can be made; None if none can."""
    holds = list(holds)
    known = [item for item in holds if item is not None]
    if not known:
        return None
    told = "holds" if all(known) else f"holds in {sum(known)} of {len(known)}" if any(known) else "fails"
    return told if len(known) == len(holds) else f"{told}, {len(holds) - len(known)} open"


def _numbers(
    shelf: Shelf,
    printed: Mapping[str, Printed],
    run: str | None,
    dataset: str | None,
    epoch: int | None = None,
    *,
    judged: bool,
) -> Iterator[dict]:
    """The fields of a Line, and the metric, of each number of a row or of a claim."""
    evidence = shelf.evidence(run)
    found = contradictions(printed, vessel_shares(shelf.store.path, dataset)) if judged else []
    told: list[Contradiction] = []
    for metric, number in printed.items():
        measured = math.nan
        if evidence is not None:
            measured = evidence.number(metric) if epoch is None else evidence.epoch_value(metric, epoch)
        known = None if math.isnan(measured) else evidence  # a record need not hold every metric that papers print
        against = [item for item in found if metric in item.metrics]
        judgement = verdict(number.value, number.half_unit, known, metric, epoch=epoch, impossible=bool(against))
        yield {
            "metric": metric,
            "reported": number.value,
            "measured": None if known is None else measured,
            "evidence": known,
            "verdict": judgement if judged else None,
            "decimals": number.decimals + 2 * (number.percent or number.text.endswith("%")),
            # Said once, at the first of the numbers that take part.
            "note": " ".join(f"Impossible: {item.why}." for item in against if item not in told),
        }
        told += against


def _fact(finding: Finding) -> tuple[float | str | None, float | str | None]:
    def plain(value: float | str | None) -> float | str | None:
        return float(value) if isinstance(value, str) and value.isdigit() else value

    return plain(finding.left), plain(finding.right)


def _row_label(paper: Paper, table: Table, row: Row, dataset: str | None) -> str:
    """What names a row: its first cell of text, with more where two rows share it, and the data set."""
    texts = [i for i, column in enumerate(table.columns) if column not in table.metrics]
    used = 1
    while used < len(texts) and len({tuple(_cells(r, texts[:used])) for r in table.rows}) < len(table.rows):
        used += 1
    label = ", ".join(_cells(row, texts[:used])) or DASH
    if not any(letter.isalpha() for letter in label) and texts:  # "×" under Preprocessing, "1" under Epoch
        label = f"{table.columns[texts[0]]} {label}"
    title = get_collection(dataset).title if dataset in list_datasets() and dataset != "phantom" else dataset
    named = title is None or title.lower() in label.lower() or len(paper.datasets) < 2
    return label if named else f"{label}, {title}"


def _cells(row: Row, places: Iterable[int]) -> list[str]:
    return [row.cells[place] for place in places if not is_missing(row.cells[place])]
