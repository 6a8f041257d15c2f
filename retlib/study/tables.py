"""Tables for the notebooks: reported beside measured, as pandas frames and as styled HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pandas as pd
from pandas.io.formats.style import Styler

from retlib.study import OpenPoint, Paper, Stated, Table
from retlib.study.evidence import Evidence
from retlib.study.notebook import Study
from retlib.study.verdicts import Judged, judge, verdict_text

if TYPE_CHECKING:
    from torch import nn

    from retlib.study import RunConfig

DASH = "—"
LABELS = {
    "auc": "AUC",
    "average_precision": "AP",
    "cldice": "clDice",
    "dice": "Dice",
    "iou": "IoU",
    "betti0_error": "Betti-0 error",
    "recall_thin": "thin-vessel recall",
}
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


def with_our_row(study: Study, number: str, run: str, name: str) -> pd.DataFrame:
    """A literature table as printed, with our own measurement as one more row.

    Args:
        study: the paper and the records.
        number: the table's number.
        run: the run whose numbers make the last row.
        name: what the row is called, in the table's first column.
    """
    table = study.paper.tables[number]
    frame = table.reported
    evidence = study.evidence(run)
    ours: dict[str, object] = dict.fromkeys(frame.columns)
    ours[frame.columns[0]] = name if evidence is None else f"{name} ({profile_text(evidence)})"
    for column, metric in table.metrics.items():
        ours[column] = math.nan if evidence is None else evidence.value(metric)
    last = pd.DataFrame([ours]).astype(frame.dtypes.to_dict())
    return pd.concat([frame, last], ignore_index=True)


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


def parameters_of(config: RunConfig) -> int:
    """Count the parameters of a run's network; nothing is computed or trained."""
    from retlib.models import count_parameters

    return count_parameters(_shapes(config))


def _shapes(config: RunConfig) -> nn.Module:
    """Build the network of a run without memory for its weights."""
    import torch

    from retlib.models import build_model

    with torch.device("meta"):
        return build_model(config.model, in_channels=config.inputs.channels, **config.model_options)


def open_points(paper: Paper) -> pd.DataFrame:
    """What the paper leaves open, our choice and the reason; configured values are read from the runs."""
    return pd.DataFrame(
        {
            "open": point.question,
            "choice": point.choice,
            "reason": point.reason,
            "in the config": _configured(paper, point),
        }
        for point in paper.open_points
    )


def stated(paper: Paper) -> pd.DataFrame:
    """What the paper says of its method, where it says it, and the value in our runs."""
    return pd.DataFrame(
        {"topic": item.topic, "stated": item.stated, "where": item.where, "in the config": _configured(paper, item)}
        for item in paper.protocol
    )


def style(frame: pd.DataFrame, caption: str, decimals: int = 4) -> Styler:
    """A frame as an HTML table: fixed decimals, signed differences, em dashes for what is not there.

    Args:
        frame: any of this module's frames.
        caption: one sentence above the table.
        decimals: digits after the point.
    """
    frame = frame.rename(columns=LABELS)
    formats = {}
    for column in frame.columns:
        if column == "difference":
            formats[column] = lambda value: _number(value, f"+.{decimals}f")
        elif any(isinstance(value, tuple) for value in frame[column]):
            formats[column] = lambda value: (
                DASH if not isinstance(value, tuple) else f"{value[0]:.{decimals}f} to {value[1]:.{decimals}f}"
            )
        elif pd.api.types.is_float_dtype(frame[column]):
            formats[column] = lambda value: _number(value, f".{decimals}f")
        else:
            formats[column] = _text
    # A fixed uuid: pandas draws a random one, and a page that is built twice should be the same page.
    styler = frame.style.format(formats).set_caption(html.escape(caption)).set_uuid(_slug(caption))
    styler = styler.set_table_attributes('class="retlib-table"')
    styler = styler.set_properties(**{"vertical-align": "top"})
    for column in frame.columns:
        longest = max((len(value) for value in frame[column] if isinstance(value, str)), default=0)
        if longest:
            # Prose wraps, and the longest column gets the most room.
            width = (
                {"white-space": "normal", "min-width": "18em" if longest > 120 else "12em" if longest > 60 else "8em"}
                if longest > 30
                else {}
            )
            styler = styler.set_properties(subset=[column], **{"text-align": "left", **width})
    if isinstance(frame.index, pd.RangeIndex):
        styler = styler.hide(axis="index")
    return styler


def _configured(paper: Paper, item: Stated | OpenPoint) -> str:
    return "; ".join(f"{path} = {_short(value)}" for path, value in paper.configured(item).items())


def _number(value: float, form: str) -> str:
    if math.isnan(value):
        return DASH
    text = format(value, form)
    return text.replace("-", "\N{MINUS SIGN}")


def _text(value: object) -> str:
    missing = value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
    return DASH if missing else html.escape(str(value))


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


def _short(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(item)}" for key, item in value.items() if item != {}) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(_short(item) for item in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text.lower())[:40]
