"""All verdicts: one line for every measured cell of every table, and for every claim of the text, of every paper.

Built from the papers' YAMLs and a store of records alone. What each verdict means is fixed in book/protocol.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pandas as pd

from retlib.data.registry import get_collection, list_datasets
from retlib.study import Claim, Finding, Paper, Printed, Row, Store, Table
from retlib.study.claims import compare_facts
from retlib.study.consistency import Contradiction
from retlib.study.evidence import Evidence
from retlib.study.evidence_tables import profile_text
from retlib.study.evidence_verdicts import Judged, judge, verdict_text
from retlib.study.loader import list_papers, load_paper
from retlib.study.parameters import Parameters
from retlib.study.printed import is_missing
from retlib.study.shelf import BEST_FIRST, Shelf
from retlib.study.tables import DASH, LABELS, parameters_of

COLUMNS = ("paper", "where", "what", "reported", "measured", "difference", "profile", "verdict")
CLAIM_VERDICTS = ("holds", "holds in part", "fails")
VERDICTS = ("reproduced", "higher", "lower", "impossible as printed", *CLAIM_VERDICTS, "preview only", "not run")
KINDS = ("table cell", "claim", "data-set fact")


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
        half_width: half the width of the interval that the verdict rests on; None where it rests on none.
        decimals: digits of the reported number.
        note: why the number is impossible; why a claim is decided as it is; for one that is not, what to look at.
        kind: one of :data:`KINDS`.
    """

    paper: str
    where: str
    group: str
    item: str
    reported: float | str | None = None
    measured: float | str | None = None
    evidence: Evidence | None = None
    verdict: str | None = None
    half_width: float | None = None
    decimals: int = 4
    note: str = ""
    kind: str = "claim"

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

    @property
    def judged(self) -> str:
        """The verdict with the half-width of its interval; an em dash without a verdict."""
        return verdict_text(self.verdict, self.half_width, self.decimals) or DASH


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
    """How many lines of each paper and kind have which verdict: paper, kind, profile, verdict, lines.

    Facts about data sets are counted apart from claims about methods. Verdicts in the order of the rule; what no
    verdict is given on counts under an em dash.
    """
    found: dict[str, Counter] = {}
    for line in lines:
        profile = DASH if line.evidence is None else line.evidence.profile
        found.setdefault(line.paper, Counter())[line.kind, profile, line.verdict or DASH] += 1
    rows = [
        (paper, *key, counted[key])
        for paper, counted in found.items()
        for key in product(KINDS, (*BEST_FIRST, DASH), (*VERDICTS, DASH))
        if key in counted
    ]
    return pd.DataFrame(rows, columns=["paper", "kind", "profile", "verdict", "lines"])


def ledger_lines(store: Store | str | Path, papers: Iterable[str] | None = None) -> list[Line]:
    """The lines behind :func:`all_verdicts`: paper by paper, tables first, then claims, each in the file's order."""
    store = store if isinstance(store, Store) else Store(store)
    # What nothing was drawn for, such as a classical filter, has no seed: no run of a paper is that.
    seeds = {config["seed"] for record in store if "seed" in (config := record.content["config"])}
    seeds = tuple(sorted(seeds)) or (0,)
    lines = []
    for key in list_papers() if papers is None else papers:
        shelf = Shelf(load_paper(key), store, Parameters(seeds=seeds))
        for table in shelf.paper.tables.values():
            lines += _table_lines(shelf, table)
        for claim in shelf.paper.claims:
            lines += claim_lines(shelf, claim)
    return lines


def _table_lines(shelf: Shelf, table: Table) -> Iterator[Line]:
    headings = {metric: column for column, metric in table.metrics.items()}
    for index, row in enumerate(table.rows):
        quoted = row.kind == "quoted"
        if quoted and row.run is None:
            continue
        for dataset, printed in table.values(index).items():
            label = _row_label(shelf.paper, table, row, dataset)
            judged = judge(printed, shelf.evidence(row.run), shelf.store.path, dataset, epoch=row.epoch, quoted=quoted)
            for metric, fields in _fields(judged):
                item = f"{label}: {headings.get(metric, LABELS.get(metric, metric))}"
                yield Line(shelf.paper.key, f"Table {table.number}", table.caption, item, kind="table cell", **fields)


def claim_lines(shelf: Shelf, claim: Claim) -> Iterator[Line]:
    """The lines of one claim: its numbers, its facts, its comparisons as one, and what a reader decided."""
    about = (shelf.paper.key, claim.where, claim.statement)
    kind = "data-set fact" if claim.kind == "dataset" else "claim"
    elsewhere, run, epoch = {}, claim.run, None
    if claim.same_as is not None:
        table, index = shelf.paper.tables[claim.same_as.table], claim.same_as.row
        run, epoch = claim.run or table.rows[index].run, table.rows[index].epoch
        elsewhere = table.values(index)
        elsewhere = elsewhere.get(claim.dataset, next(iter(elsewhere.values()), {}))
    printed = {metric: Printed(text) for metric, text in claim.values.items()}
    quoted = run is None or run in shelf.quoted
    judged = judge(printed, shelf.evidence(run), shelf.store.path, claim.dataset, epoch=epoch, quoted=quoted)
    for metric, fields in _fields(judged):
        item = LABELS.get(metric, metric)
        if metric in elsewhere and elsewhere[metric].value != printed[metric].value:
            item += f" (Table {claim.same_as.table} prints {elsewhere[metric].text})"
        yield Line(*about, item, kind=kind, **fields)
    for finding in compare_facts(claim):
        told = "holds" if finding.holds else "fails"
        yield Line(*about, finding.metric, *_fact(finding), verdict=told, decimals=0, kind=kind)
    if claim.compares:
        yield _comparison(shelf, claim, about)
    if claim.decided is not None:
        yield Line(*about, "", verdict=claim.decided, note=claim.because, kind=kind)
    elif not claim.compares and not claim.values and not claim.facts:
        yield Line(*about, "", note=claim.check, kind=kind)


def _comparison(shelf: Shelf, claim: Claim, about: tuple[str, str, str]) -> Line:
    bare = claim.model_copy(update={"same_as": None, "facts": {}})
    own = [finding.holds for finding in shelf.paper.test_claim(bare)]
    if claim.metrics() == {"parameters"}:  # the networks at full size are counted, which needs no training
        configs = shelf.paper.runs("paper")
        counts = {run: parameters_of(configs[run]) for run in claim.runs() if run in configs}
        ours = [f.holds for f in shelf.paper.test_claim(bare, lambda run, metric: counts.get(run))]
        listed = ", ".join(f"{run} {count:,}".replace(",", " ") for run, count in counts.items())
        note = f"Parameters of the networks at full size, counted without training: {listed}."
        return Line(*about, "", outcome(own), outcome(ours), verdict=_told(ours), note=note)
    runs = claim.runs()
    complete = [profile for profile in BEST_FIRST if all(shelf.evidence(run, [profile]) for run in runs)]
    some = [profile for profile in BEST_FIRST if any(shelf.evidence(run, [profile]) for run in runs)]
    # All runs of one profile, since runs of different sizes are not comparable.
    profile = next(iter(complete + some), None)
    if profile is None:
        return Line(*about, "", outcome(own), verdict="not run")
    study = shelf.studies[profile]
    ours = [f.holds for f in shelf.paper.test_claim(bare, study.number, study.curve)]
    evidence = next(found for run in runs if (found := shelf.evidence(run, [profile])) is not None)
    judged = _told(ours) if profile == "paper" else "preview only"
    return Line(*about, "", outcome(own), outcome(ours), evidence, verdict=judged)


def _told(holds: Sequence[bool | None]) -> str:
    if None in holds:
        return "not run"
    return "holds" if all(holds) else "holds in part" if any(holds) else "fails"


def outcome(holds: Iterable[bool | None]) -> str | None:
    """``holds``, ``fails`` or ``holds in 3 of 5`` over the comparisons that can be made; None if none can."""
    holds = list(holds)
    known = [item for item in holds if item is not None]
    if not known:
        return None
    told = "holds" if all(known) else f"holds in {sum(known)} of {len(known)}" if any(known) else "fails"
    return told if len(known) == len(holds) else f"{told}, {len(holds) - len(known)} open"


def _fields(judged: Mapping[str, Judged]) -> Iterator[tuple[str, dict]]:
    """The metric of each judged number, and the fields of its Line."""
    told: list[Contradiction] = []
    for metric, item in judged.items():
        number = item.printed
        yield (
            metric,
            {
                "reported": number.value,
                "measured": None if item.evidence is None else item.measured,
                "evidence": item.evidence,
                "verdict": item.verdict,
                "half_width": item.half_width,
                "decimals": number.decimals + 2 * (number.percent or number.text.endswith("%")),
                # Said once, at the first of the numbers that take part.
                "note": " ".join(f"Impossible: {found.why}." for found in item.against if found not in told),
            },
        )
        told += item.against


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
