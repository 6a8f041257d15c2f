"""Tables for the notebooks: reported beside measured, as pandas frames and as styled HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from retlib.study import Table
from retlib.study.evidence import Evidence
from retlib.study.evidence_verdicts import Judged, judge, verdict_text
from retlib.study.notebook import Study
from retlib.study.tables import DASH, _shapes

if TYPE_CHECKING:
    pass

WITHOUT = "without seeds that never learned"


def comparison(study: Study, number: str, describe: Sequence[str]) -> pd.DataFrame:
    """One table of the paper, a line per row and metric: reported, measured, profile, difference, interval, verdict.

    Args:
        study: the paper and the records.
        number: the table's number.
        describe: the paper's own columns that name a row (``["Model"]``).

    Returns:
        A frame indexed by those columns and ``metric`` (the paper's own heading). Numbers are fractions of one; what
        nobody has run is NaN, profile ``—``. Of a number of one epoch the interval is the range over seeds, None with
        one seed. Where a seed of a run never learned, a column has the means without such seeds.
    """
    table = study.paper.tables[number]
    shown = table.reported
    lines = []
    for index, row in enumerate(table.rows):
        evidence = None if row.run is None else study.evidence(row.run)
        # A number measured on phantoms says nothing of the paper: the two are never put side by side.
        judged = {} if evidence is not None and evidence.profile == "smoke" else judged_row(study, table, index)
        for column, metric in table.metrics.items():
            line = {name: shown[name].iloc[index] for name in describe}
            lines.append(line | {"metric": column} | _cell(judged.get(metric), evidence, metric, row.epoch))
    frame = pd.DataFrame(lines).set_index([*describe, "metric"])
    return frame.drop(columns=WITHOUT) if frame[WITHOUT].isna().all() else frame


def _cell(cell: Judged | None, evidence: Evidence | None, metric: str, epoch: int | None) -> dict[str, object]:
    reported = math.nan if cell is None else cell.printed.value
    measured, without, interval = math.nan, math.nan, None
    if evidence is not None:
        measured = evidence.number(metric, epoch)
        low, high = (math.nan, math.nan) if math.isnan(measured) else _interval(evidence, metric, epoch)
        interval = None if math.isnan(low) else (low, high)
        if evidence.never_learned and (learned := evidence.learned()) is not None:
            without = learned.number(metric, epoch)
    return {
        "reported": reported,
        "measured": measured,
        WITHOUT: without,
        "profile": DASH if evidence is None else profile_text(evidence),
        "difference": measured - reported,
        "95 % interval": interval,
        "verdict": None if cell is None else verdict_text(cell.verdict, cell.half_width),
    }


def _interval(evidence: Evidence, metric: str, epoch: int | None) -> tuple[float, float]:
    if epoch is None:
        return evidence.interval(metric)
    return evidence.epoch_interval(metric, epoch) if len(evidence.records) > 1 else (math.nan, math.nan)


def judged_row(study: Study, table: Table, index: int) -> dict[str, Judged]:
    """Judge the numbers of a row of a table: metric -> what is known of it."""
    row = table.rows[index]
    evidence = None if row.run is None else study.evidence(row.run)
    return judge(
        table.values(index).get(row.dataset, {}),
        evidence,
        study.store.path,
        row.dataset,
        epoch=row.epoch,
        quoted=row.kind == "quoted",
    )


def verdicts(study: Study, numbers: Iterable[str]) -> pd.DataFrame:
    """The verdict on every measured cell of some tables (rule: book/protocol.md): table, row, run, metric, verdict."""
    lines = []
    for number in numbers:
        table = study.paper.tables[number]
        for index, row in enumerate(table.rows):
            if row.kind == "measured":
                place = {"table": number, "row": index, "run": row.run}
                judged = judged_row(study, table, index)
                lines += [place | {"metric": metric, "verdict": item.verdict} for metric, item in judged.items()]
    return pd.DataFrame(lines)


def profile_text(evidence: Evidence, first: bool = False, counted: bool = True) -> str:
    """The profile that numbers come from, with the number of seeds, those that never learned, and whether it is stale.

    Args:
        evidence: where the numbers come from.
        first: whether they are of the first seed alone, as those of single epochs and curves are.
        counted: whether to tell the number of seeds.
    """
    seeds = ""
    if counted and len(evidence.records) > 1:
        seeds = f", {'first of ' if first else ''}{len(evidence.records)} seeds"
    if counted and evidence.never_learned:
        seeds += f" ({len(evidence.never_learned)} never learned)"
    return f"{evidence.profile}{seeds}{' (stale)' if evidence.stale else ''}"


def cost_table(study: Study, names: Sequence[str], size: tuple[int, int]) -> pd.DataFrame:
    """What the networks of some runs cost: as published, and in our records.

    Args:
        study: the paper and the records.
        names: runs, each with its own network; named as in the ``paper`` profile.
        size: height and width at which multiply-adds are counted.

    Returns:
        Indexed by run: parameters and multiply-adds (in 10^9) of the network of the ``paper`` profile, parameters of
        the one that we trained, and its seconds an optimiser step by the wall clock; NaN where nobody has run it.
    """
    from retlib.models import count_parameters, multiply_adds

    runs = study.paper.runs("paper")
    lines = []
    for name in names:
        config, evidence = runs[name], study.evidence(name)
        model = _shapes(config)
        contents = [] if evidence is None else [record.content for record in evidence.records]
        lines.append(
            {
                "run": name,
                "parameters": count_parameters(model),
                "multiply-adds, 10^9": multiply_adds(model, config.inputs.channels, *size) / 1e9,
                "our parameters": contents[0]["model"]["parameters"] if contents else None,
                "our seconds a step (wall clock)": min((c["timing"]["step_s"] for c in contents), default=math.nan),
                "profile": DASH if evidence is None else profile_text(evidence),
            }
        )
    return pd.DataFrame(lines).set_index("run").astype({"our parameters": "Int64"})
