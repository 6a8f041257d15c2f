"""Tables for the pages: reported beside measured, settings, claims; as pandas frames and as styled HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
from pandas.io.formats.style import Styler

from retlib.study import OpenPoint, Paper, Stated, results
from retlib.study.config import flatten

if TYPE_CHECKING:
    from torch import nn

    from retlib.study import RunConfig
    from retlib.study.notebook import Study

DASH = "—"
LABELS = {
    "auc": "AUC",
    "average_precision": "AP",
    "cldice": "clDice",
    "dice": "Dice",
    "iou": "IoU",
    "mcc": "MCC",
    "betti0_error": "Betti-0 error",
    "recall_thin": "thin-vessel recall",
}
MINUS = "\N{MINUS SIGN}"


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
        form = f".{decimals}f"
        # A table of changes holds differences alone, see `steps_table`.
        if frame.index.name == "change" or column == "difference":
            form = f"+{form}"
        if any(isinstance(value, tuple) for value in frame[column]):
            formats[column] = partial(_interval_text, form=form)
        elif pd.api.types.is_float_dtype(frame[column]):
            formats[column] = partial(number_text, form=form)
        else:
            formats[column] = _text
    # A fixed uuid: pandas draws a random one, and a page that is built twice should be the same page.
    styler = frame.style.format(formats).set_caption(html.escape(caption)).set_uuid(_slug(caption))
    styler = styler.set_table_attributes('class="retlib-table"').set_properties(**{"vertical-align": "top"})
    for column in frame.columns:
        longest = max((len(value) for value in frame[column] if isinstance(value, str)), default=0)
        if longest:
            # Prose wraps, and the longest column gets the most room.
            room = "18em" if longest > 120 else "12em" if longest > 60 else "8em"
            width = {"white-space": "normal", "min-width": room} if longest > 30 else {}
            styler = styler.set_properties(subset=[column], **{"text-align": "left", **width})
    if isinstance(frame.index, pd.RangeIndex):
        styler = styler.hide(axis="index")
    return styler


class Html(str):
    """Text that is HTML already: :func:`style` leaves it as it is."""


def record_link(text: Any, records: Any) -> Any:
    """Lead from what a number rests on to the first of its records, on the page of records."""
    if not isinstance(records, tuple) or not records or not isinstance(text, str):
        return text
    return Html(f'<a href="records.html#r-{records[0].name}">{html.escape(text)}</a>')


def number_text(value: float, form: str = ".4f") -> str:
    """Format a number for people: a real minus, no signed zero, a dash for NaN, spaces in thousands (``",.0f"``)."""
    text = format(value, form)
    text = text if text.strip("+-0.,") else text.lstrip("+-")
    return DASH if math.isnan(value) else text.replace("-", MINUS).replace(",", " ")


def _interval_text(value: object, form: str) -> str:
    return f"{number_text(value[0], form)} to {number_text(value[1], form)}" if isinstance(value, tuple) else DASH


def signed(value: float, decimals: int = 4) -> str:
    """Format a difference with its sign."""
    return number_text(value, f"+.{decimals}f")


def verdict_text(verdict: str | None, half_width: float, decimals: int = 4) -> str:
    """Word a verdict with the half-width of its interval: ``reproduced (±0.0041)``; an em dash without a verdict."""
    if verdict is None:
        return DASH
    return verdict if math.isnan(half_width) else f"{verdict} (±{half_width:.{decimals}f})"


def outcome(holds: Iterable[bool | None]) -> str | None:
    """Word comparisons: ``holds``, ``fails`` or ``holds in 3 of 5`` of those that can be made; None if none can."""
    holds = list(holds)
    known = [item for item in holds if item is not None]
    if not known:
        return None
    text = "holds" if all(known) else f"holds in {sum(known)} of {len(known)}" if any(known) else "fails"
    return text if len(known) == len(holds) else f"{text}, {len(holds) - len(known)} open"


def side_by_side(cells: pd.DataFrame) -> pd.DataFrame:
    """Arrange a table of a paper as the paper does, with our number beside each printed one.

    Args:
        cells: rows of one table, from `verdicts.beside_ours`.

    Returns:
        Indexed by the row's label; two columns a heading, ``paper`` and ``ours``, as text: the paper's digits,
        and four of ours. Where full-size runs and previews stand in one table, a last column tells them apart.
    """
    table = cells.assign(
        paper=[number_text(v, f".{d}f") for v, d in zip(cells["reported"], cells["decimals"], strict=True)],
        ours=[number_text(v, f".{max(4, d)}f") for v, d in zip(cells["value"], cells["decimals"], strict=True)],
    )
    wide = table.pivot(index="label", columns="heading", values=["paper", "ours"]).swaplevel(axis=1)
    columns = [(heading, side) for heading in dict.fromkeys(cells["heading"]) for side in ("paper", "ours")]
    wide = wide.reindex(index=list(dict.fromkeys(cells["label"])), columns=columns)
    profiles = (
        cells.dropna(subset="profile").groupby("label")["profile"].agg(lambda column: ", ".join(sorted(set(column))))
    )
    if profiles.nunique() > 1:
        wide["our run", ""] = profiles.replace(results.SIZES).reindex(wide.index)
    return wide.rename_axis(index=None, columns=[None, None])


def details(cells: pd.DataFrame) -> pd.DataFrame:
    """List the numbers of a table of a paper one a row, with interval and verdict.

    Args:
        cells: from `verdicts.beside_ours`.

    Returns:
        Indexed by label and heading: reported, ours, difference, 95 % interval, verdict, what it rests on. A number of
        one epoch has the range over seeds in place of the interval. ``without seeds that never learned`` is there where
        a run has such seeds.
    """
    intervals = [
        None if math.isnan(row.low) or (row.epoch and len(row.seeds) < 2) else (row.low, row.high)
        for row in cells.itertuples()
    ]
    frame = pd.DataFrame(
        {
            "row": cells["label"],
            "metric": cells["heading"],
            "reported": cells["reported"],
            "ours": cells["value"],
            "without seeds that never learned": cells["without"],
            "difference": cells["difference"],
            "95 % interval": intervals,
            "verdict": [verdict_text(*pair) for pair in zip(cells["verdict"], cells["half_width"], strict=True)],
            "rests on": [record_link(*pair) for pair in zip(cells["basis"], cells["records"], strict=True)],
        }
    )
    return frame.dropna(axis="columns", how="all").set_index(["row", "metric"])


def steps_table(study: Study, steps: Mapping[str, tuple[str, str]], metric: str) -> pd.DataFrame:
    """Compare what going from one run to another brings, in the paper's tables and in our records.

    Args:
        study: the paper with our records.
        steps: the change in words -> (run before it, run after it). Both are taken in one profile and with the seeds
            that both have.
        metric: retlib's name.

    Returns:
        Indexed by the change: paper, ours, 95 % interval (over images and seeds), seeds (lowest and highest
        difference), conclusion, rests on. The conclusion is open where the interval holds zero or seeds disagree in
        sign; with one seed it is beyond image noise at best.
    """
    scores = study.scores()
    scores = scores[scores["as_scored"] & (scores["metric"] == metric)]
    lines = {}
    for change, (start, end) in steps.items():
        printed = study.source.printed(start, metric), study.source.printed(end, metric)
        both = results.same_profile(scores, [start, end])
        ours = results.difference(both[both["run"] == start], both[both["run"] == end])
        # A number of synthetic images is never put beside a paper's.
        smoke = ours is not None and ours.profile == "smoke"
        reported = math.nan if None in printed or smoke else printed[1].value - printed[0].value
        line: dict[str, Any] = {"paper": reported, "ours": math.nan if ours is None else ours.value}
        if ours is not None:
            line["95 % interval"] = (ours.low, ours.high)
            line["seeds"] = (min(ours.seeds), max(ours.seeds)) if len(ours.seeds) > 1 else None
            line["conclusion"] = _conclusion(reported, ours)
            line["rests on"] = results.basis_text(ours.profile, len(ours.seeds))
        lines[change] = line
    columns = ["paper", "ours", "95 % interval", "seeds", "conclusion", "rests on"]
    return pd.DataFrame.from_dict(lines, orient="index", columns=columns).rename_axis("change")


def _conclusion(reported: float, ours: results.Difference) -> str:
    if not ours.beyond_noise:
        return "open"
    words = "higher" if ours.value > 0 else "lower"
    if not math.isnan(reported):
        words = "same direction as the paper" if reported * ours.value > 0 else "opposite direction"
    return words if len(ours.seeds) > 1 else f"{words}, beyond image noise"


def claims_table(lines: pd.DataFrame, paper: Paper) -> pd.DataFrame:
    """Arrange the claims of a paper: what its own tables say of each, what our records say, and the verdict.

    Args:
        lines: from `verdicts.ledger`.
        paper: the paper.

    Returns:
        Columns where, claim, the paper's tables, our records, verdict, note: why a claim is decided as it is, or what
        to look at where nothing decides it.
    """
    rows = []
    for claim in paper.claims:
        own = lines[(lines["group"] == claim.statement) & (lines["where"] == claim.where)]
        # Comparisons alone, which the paper's own tables need not decide: numbers stand in the results.
        compared = own["reported"].map(lambda value: isinstance(value, str) or pd.isna(value))
        texts = compared & own["measured"].map(lambda value: isinstance(value, str))
        verdicts = own["verdict"].dropna().value_counts(sort=False)
        counted = [f"{name} ({count})" if len(verdicts) > 1 else name for name, count in verdicts.items()]
        notes = [*own["note"], claim.note]
        rows.append(
            {
                "where": claim.where,
                "claim": claim.statement,
                "the paper's tables": outcome(finding.holds for finding in paper.test_claim(claim)) or DASH,
                "our records": "; ".join(_with_basis(row) for row in own[texts].itertuples()) or DASH,
                "verdict": ", ".join(counted) or DASH,
                "note": " ".join(note for note in notes if note) or None,
            }
        )
    return pd.DataFrame(rows)


def _with_basis(row: Any) -> str:
    return row.measured if not isinstance(row.basis, str) else f"{row.measured} ({row.basis})"


def configuration(source: Any, run: str, profiles: Sequence[str] = ("lite", "paper")) -> pd.DataFrame:
    """List every setting of a run that is not a default, the profiles side by side.

    Args:
        source: a paper or a study of ours.
        run: the run's name.
        profiles: the columns.

    Returns:
        Indexed by setting (``training.learning_rate``); an em dash where a profile keeps the default or lacks the run.
    """
    columns = {}
    for profile in profiles:
        known = run in source.plan(profile)
        columns[profile] = flatten(source.config(run, profile).explicit_fields()) if known else {}
    frame = pd.DataFrame({profile: pd.Series(column, dtype=object).map(_short) for profile, column in columns.items()})
    names = dict.fromkeys(name for column in columns.values() for name in column)
    shown = [name for name in names if name not in ("profile", "seed", "numerics")]
    return frame.reindex(shown).fillna(DASH).rename_axis("setting")


def stated(paper: Paper) -> pd.DataFrame:
    """What the paper says of its method, where it says it, and the value in our runs."""
    return pd.DataFrame(
        {"topic": item.topic, "stated": item.stated, "where": item.where, "in the config": _configured(paper, item)}
        for item in paper.protocol
    )


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


def _configured(paper: Paper, item: Stated | OpenPoint) -> str:
    return "; ".join(f"{path} = {_short(value)}" for path, value in paper.configured(item).items())


def network_costs(configs: Mapping[str, RunConfig], size: tuple[int, int]) -> pd.DataFrame:
    """Count parameters and multiply-adds of the networks of some runs; nothing is computed or trained.

    Args:
        configs: run -> its config.
        size: height and width at which multiply-adds are counted.

    Returns:
        Indexed by run: parameters, and multiply-adds in 10^9.
    """
    from retlib.models import multiply_adds

    counts = {}
    for run, config in configs.items():
        gigas = multiply_adds(_shapes(config), config.inputs.channels, *size) / 1e9
        counts[run] = {"parameters": parameters_of(config), "multiply-adds, 10^9": gigas}
    return pd.DataFrame.from_dict(counts, orient="index").rename_axis("run").astype({"parameters": "Int64"})


def parameters_of(config: RunConfig) -> int:
    """Count the parameters of a run's network; nothing is computed or trained."""
    from retlib.models import count_parameters

    return count_parameters(_shapes(config))


def _shapes(config: RunConfig) -> nn.Module:
    """Build the network of a run without memory for its weights."""
    import torch

    from retlib.study.runner import build

    with torch.device("meta"):
        return build(config)


def _text(value: object) -> str:
    missing = value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
    return DASH if missing else value if isinstance(value, Html) else html.escape(str(value))


def _short(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(item)}" for key, item in value.items() if item != {}) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(_short(item) for item in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text.lower())[:40]
