"""Verdicts: every number and every claim of a paper beside our records, judged by the rule in book/protocol.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from retlib.audit import IMPOSSIBLE, SHORT, Background, audit_row
from retlib.data.measurements import read_shares
from retlib.data.registry import get_collection, list_datasets
from retlib.study import Claim, Paper, Printed, Record, Row, Table, results
from retlib.study.claims import COSTS, compare_facts
from retlib.study.notebook import Study
from retlib.study.printed import is_missing
from retlib.study.tables import DASH, LABELS, number_text, outcome, parameters_of

CLAIM_VERDICTS = {"holds": "hold", "holds in part": "hold in part", "fails": "fail"}  # of one claim, of several
COLUMNS = (
    "paper",
    "where",  # the table, or the part of the paper
    "group",  # the table's caption, or the claim
    "item",  # what the line is about within its group
    "kind",  # table cell, claim or data-set fact
    "reported",  # a fraction of one, or how the comparison comes out in the paper's own tables
    "measured",  # the same of our records
    "difference",
    "basis",  # lite, 3 seeds
    "profile",
    "verdict",  # None for what no verdict is given on
    "half_width",  # half the width of the interval that the verdict rests on; NaN where it rests on none
    "decimals",  # of the reported number
    "note",
    "records",  # folders of the records behind the measured number
)


def reported(paper: Paper, numbers: Iterable[str] | None = None) -> pd.DataFrame:
    """List the numbers that a paper's tables print, one a row.

    Args:
        paper: the paper.
        numbers: of the tables; all by default.

    Returns:
        Columns table, row (counted from 0), label (what names the row), kind (measured or quoted), dataset, run, epoch,
        metric, heading, printed, reported (a fraction of one), decimals.
    """
    lines = []
    for number in paper.tables if numbers is None else numbers:
        table = paper.tables[number]
        headings = {metric: heading for heading, metric in table.metrics.items()}
        for index, row in enumerate(table.rows):
            for dataset, printed in table.values(index).items():
                place = {"table": number, "row": index, "label": row_label(paper, table, row, dataset)}
                place |= {"kind": row.kind, "dataset": dataset, "run": row.run, "epoch": row.epoch or 0}
                for metric, value in printed.items():
                    heading = headings.get(metric, LABELS.get(metric, metric))
                    lines.append(place | {"metric": metric, "heading": heading} | _printed(value))
    return pd.DataFrame(lines)


def beside_ours(printed: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Put our measurements, the difference and the verdict beside printed numbers.

    Args:
        printed: from :func:`reported`, with at least run, epoch, metric, dataset, kind, printed, reported; the rows
            that name one model on one data set share their (table, row, dataset).
        study: the paper with our records; each run's best profile is taken.

    Returns:
        The same rows with value, low, high, profile, seeds, never_learned, basis (see `results.summarise`), without
        (the value without seeds that never learned, where there are such), records, difference, verdict, half_width,
        note.
    """
    scores = study.scores()
    scores = results.best_profile(scores[scores["as_scored"]])
    wanted = scores["run"].isin(printed["run"]) & scores["metric"].isin(printed["metric"])
    ours = results.summarise(scores[wanted]).assign(epoch=0).set_index("epoch", append=True)
    if (printed["epoch"] > 0).any():
        by_epoch = results.summarise_epochs(results.best_profile(study.histories()))
        ours = pd.concat([ours, by_epoch.reset_index().set_index(ours.index.names)])
    table = printed.join(ours, on=["run", "metric", "epoch"]).assign(without=math.nan)
    failed = table["never_learned"].map(lambda seeds: isinstance(seeds, tuple) and len(seeds) > 0)
    if failed.any():
        learned = results.summarise(scores[wanted & scores["learned"].astype(bool)])["value"]
        keys = zip(table["run"], table["metric"], strict=True)
        table["without"] = pd.Series([learned.get(key, math.nan) for key in keys], index=table.index).where(failed)
    records = results.best_profile(study.records()).groupby("run")["record"].agg(tuple)
    table["records"] = table["run"].map(records).where(table["value"].notna())
    # A number of synthetic images is never put beside a paper's.
    table["reported"] = table["reported"].where(table["profile"] != "smoke")
    table["difference"] = table["value"] - table["reported"]
    return judge(table, study)


def judge(table: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Give the verdict on printed numbers beside ours: columns verdict, half_width, note.

    The rule does not look at the size of the gap. A number that cannot stand beside the others of its row is impossible
    whatever we measured; only ``paper`` records are judged; no verdict is given on what a paper quotes.
    """
    table = table.assign(verdict=None, half_width=math.nan, note="")
    # Without our records' deviations: what the audit then calls impossible breaks a bound that is proven.
    background = Background(read_shares(study.store.path))
    for (_, _, dataset), rows in table.groupby(["table", "row", "dataset"], sort=False):
        measured = rows[rows["kind"] == "measured"]
        printed = dict(zip(measured["metric"], measured["printed"], strict=True))
        scores = {metric: number for metric, number in printed.items() if metric in SHORT}
        audited = {metric: number for metric, number in scores.items() if 0 <= number.value <= 1}
        checks = audit_row(audited, dataset=dataset or None, background=background).checks
        broken = [(check.metrics, check.arithmetic) for check in checks if check.verdict == IMPOSSIBLE]
        broken += [((m,), f"{SHORT[m]} {scores[m].text} is not in [0, 1]") for m in scores if m not in audited]
        said: list[tuple[tuple[str, ...], str]] = []
        for index, row in measured.iterrows():
            against = [item for item in broken if row["metric"] in item[0]]
            table.loc[index, ["verdict", "half_width"]] = _verdict(row, bool(against))
            # Said once, at the first of the numbers that take part.
            table.loc[index, "note"] = " ".join(f"Impossible: {item[1]}." for item in against if item not in said)
            said += against
    return table


def _verdict(row: pd.Series, impossible: bool) -> tuple[str, float]:
    if impossible:
        return "impossible as printed", math.nan
    if not isinstance(row["profile"], str) or row["profile"] == "smoke" or math.isnan(row["value"]):
        return "not run", math.nan
    if row["profile"] != "paper":
        return "preview only", math.nan
    printed, half = row["printed"], (row["high"] - row["low"]) / 2
    if row["low"] - printed.half_unit <= printed.value <= row["high"] + printed.half_unit:
        return "reproduced", half
    return ("higher" if row["value"] > printed.value else "lower"), half


def ledger(study: Study) -> pd.DataFrame:
    """List every measured cell of every table and every claim of a paper, reported and measured, with the verdict.

    Returns:
        A frame with the columns ``COLUMNS``; tables first, then claims, each in the file's order.
    """
    paper = study.source
    printed = reported(paper)
    printed = printed[(printed["kind"] == "measured") | printed["run"].notna()]
    cells = printed.assign(
        claim="",
        where="Table " + printed["table"],
        group=printed["table"].map(lambda number: paper.tables[number].caption),
        item=printed["label"] + ": " + printed["heading"],
    ).to_dict(orient="records")
    claimed = [line for claim in paper.claims for line in _claimed_numbers(paper, claim)]
    numbers = beside_ours(pd.DataFrame(cells + claimed), study).rename(columns={"value": "measured"})
    parts = [numbers[numbers["claim"] == ""].assign(kind="table cell")]
    for claim in paper.claims:
        about = {"where": claim.where, "group": claim.statement}
        about["kind"] = "data-set fact" if claim.kind == "dataset" else "claim"
        own = numbers[numbers["claim"] == claim.id], pd.DataFrame(_other_lines(study, claim))
        parts += [part.assign(**about) for part in own]
    parts = [part.assign(paper=paper.key).reindex(columns=COLUMNS).astype(object) for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True).astype({"difference": float, "half_width": float})


def verdict_sentence(lines: pd.DataFrame) -> str:
    """Say in one sentence what is decided of a paper's table cells and claims.

    Args:
        lines: from :func:`ledger`, of one paper.
    """
    cells = lines[lines["kind"] == "table cell"]
    counts = cells["verdict"].value_counts()
    judged = ", ".join(f"{counts[name]} {name}" for name in ("reproduced", "higher", "lower") if name in counts)
    full = cells[cells["verdict"].isin(["reproduced", "higher", "lower"])]
    single = int((full["records"].map(len) == 1).sum())
    parts = [
        f"{len(full)} of {int(cells['verdict'].notna().sum())} table cells judged at full size"
        + (f" ({'all' if single == len(full) else single} from one seed)" if single else "")
        + (f": {judged}" if len(full) else "")
    ]
    if impossible := int((lines["verdict"] == "impossible as printed").sum()):
        parts.append(f"{impossible} printed numbers arithmetically impossible")
    if preview := counts.get("preview only", 0):
        parts.append(f"{preview} cell{'s' if preview > 1 else ''} with a preview only")
    claims = lines[lines["kind"] == "claim"]["verdict"].value_counts()
    decided = [f"{n} {many if n > 1 else one}" for one, many in CLAIM_VERDICTS.items() if (n := claims.get(one, 0))]
    return "; ".join(parts) + "." + (f" Claims of the text: {', '.join(decided)}." if decided else "")


def _claimed_numbers(paper: Paper, claim: Claim) -> Iterator[dict[str, Any]]:
    """Yield the numbers of a claim as :func:`reported` lists those of a table's row, to be judged like them."""
    repeated, run, epoch = paper.repeated(claim), claim.run, 0
    if claim.same_as is not None:
        row = paper.tables[claim.same_as.table].rows[claim.same_as.row]
        run, epoch = run or row.run, row.epoch or 0
    rows = [row for table in paper.tables.values() for row in table.rows if row.run == run]
    quoted = run is None or (bool(rows) and all(row.kind == "quoted" for row in rows))
    place = {"claim": claim.id, "table": f"claim {claim.id}", "row": 0, "dataset": claim.dataset or ""}
    place |= {"kind": "quoted" if quoted else "measured", "run": run, "epoch": epoch}
    for metric, text in claim.values.items():
        item, number = LABELS.get(metric, metric), Printed(text)
        if metric in repeated and repeated[metric].value != number.value:
            item += f" (Table {claim.same_as.table} prints {repeated[metric].text})"
        yield place | {"metric": metric, "item": item} | _printed(number)


def _other_lines(study: Study, claim: Claim) -> Iterator[dict[str, Any]]:
    """Yield what is left of a claim: its facts, its comparisons as one line, and what a reader decided."""
    about = {"item": "", "note": "", "decimals": 4}
    for finding in compare_facts(claim):
        sides = {"reported": _plain(finding.left), "measured": _plain(finding.right), "decimals": 0}
        yield about | sides | {"item": finding.metric, "verdict": "holds" if finding.holds else "fails"}
    if claim.compares:
        yield about | _comparison(study, claim)
    if claim.decided is not None:
        yield about | {"verdict": claim.decided, "note": claim.because}
    elif not claim.compares and not claim.values and not claim.facts:
        yield about | {"note": claim.check}


def _comparison(study: Study, claim: Claim) -> dict[str, Any]:
    """Hold the comparisons of a claim against the paper's own tables and against our records.

    All runs are taken in one profile and with the seeds that all of them have.
    """
    paper = study.source
    bare = claim.model_copy(update={"same_as": None, "facts": {}})
    line: dict[str, Any] = {"reported": outcome(finding.holds for finding in paper.test_claim(bare))}
    runs = claim.runs()
    if claim.metrics() == {"parameters"}:  # the networks at full size are counted, which needs no training
        configs = paper.runs("paper")
        counts = {run: parameters_of(configs[run]) for run in runs if run in configs}
        ours = [finding.holds for finding in paper.test_claim(bare, lambda run, metric: counts.get(run))]
        named = {run: entry.about or run for run, entry in paper.plan("paper").items()}
        listed = "; ".join(f"{named[run]} {number_text(count, ',.0f')}" for run, count in counts.items())
        note = f"Parameters of the networks at full size, counted without training: {listed}."
        return line | {"measured": outcome(ours), "verdict": _claim_verdict(ours), "note": note}
    records = results.same_profile(study.records(), runs)
    if records.empty:
        return line | {"verdict": "not run"}
    shared = set.intersection(*(set(part["seed"]) for _, part in records.groupby("run"))) or set(records["seed"])
    records = records[records["seed"].isin(shared)]
    scores = study.scores()
    scores = scores[scores["as_scored"] & scores["record"].isin(records["record"])]
    per_seed = scores.groupby(["run", "metric", "seed"])["value"].mean()
    means = per_seed.groupby(["run", "metric"]).mean()

    def value_of(run: str, metric: str) -> float | None:
        if metric in COSTS:
            return records.loc[records["run"] == run, metric].min() if run in set(records["run"]) else None
        value = means.get((run, metric), math.nan)
        return None if math.isnan(value) else value

    def curve_of(run: str, column: str) -> Sequence[float] | None:
        folders = records.loc[records["run"] == run, "record"]
        return [row[column] for row in Record.read(folders.iloc[0]).history if column in row] if len(folders) else None

    def difference_of(start: str, end: str, metric: str) -> tuple[float, float, float] | None:
        rows = scores[scores["metric"] == metric]
        paired = results.difference(rows[rows["run"] == start], rows[rows["run"] == end])
        return None if paired is None else (paired.value, paired.low, paired.high)

    ours = [finding.holds for finding in paper.test_claim(bare, value_of, curve_of, difference_of)]
    if set(ours) == {None}:
        return line | {"verdict": "not run"}
    profile, seeds = records["profile"].iloc[0], sorted(set(records["seed"]))
    never = set(records.loc[~records["learned"].astype(bool), "seed"])
    return line | {
        "measured": outcome(ours),
        "profile": profile,
        "basis": results.basis_text(profile, len(seeds), len(never), bool(records["stale"].any())),
        "verdict": _claim_verdict(ours) if profile == "paper" else "preview only",
        "records": tuple(records["record"]),
    }


def _claim_verdict(holds: Sequence[bool | None]) -> str:
    if None in holds:
        return "not run"
    return "holds" if all(holds) else "holds in part" if any(holds) else "fails"


def row_label(paper: Paper, table: Table, row: Row, dataset: str | None) -> str:
    """Name a row of a table: its first cell of text, with more where two rows share it, and the data set."""
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


def _printed(number: Printed) -> dict[str, Any]:
    percent = number.percent or number.text.endswith("%")
    return {"printed": number, "reported": number.value, "decimals": number.decimals + 2 * percent}


def _plain(value: float | str | None) -> float | str | None:
    return float(value) if isinstance(value, str) and value.isdigit() else value
