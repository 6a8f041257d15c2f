"""The audit as tables and sentences for a page; pandas is imported when a table is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from retlib.audit.background import REGIONS, Background
from retlib.audit.prevalence import SHARE_PAIRS
from retlib.audit.rows import RowAudit
from retlib.audit.verdicts import BASES, CONSISTENT, IMPOSSIBLE, ONLY_MEAN, VERDICTS
from retlib.audit.words import SHORT

if TYPE_CHECKING:
    import pandas as pd

_IDENTITIES = (
    *((("prevalence", ("accuracy", *pair))) for pair in SHARE_PAIRS[:3]),
    ("dice", ("iou",)),
    ("dice", ("precision", "sensitivity")),
    ("iou", ("precision", "sensitivity")),
    ("dice", ("accuracy", "sensitivity", "specificity")),
    ("iou", ("accuracy", "sensitivity", "specificity")),
)


def share_frame(rows: Iterable[RowAudit]) -> pd.DataFrame:
    """A line a row that implies a vessel share: the share, its interval, the region that it fits, the verdict."""
    import pandas as pd

    lines = []
    for row in rows:
        if row.share is None or row.share.interval is None:
            continue
        interval = row.share.interval
        lines.append(
            {
                "where": row.where,
                "row": row.label,
                "data set": title(row.dataset),
                "share": interval.value if row.share.pair else float("nan"),
                "lowest": interval.low,
                "highest": interval.high,
                "fits": row.share.region or None,
                "verdict": row.verdict,
            }
        )
    return pd.DataFrame(lines)


def check_frame(rows: Iterable[RowAudit], verdicts: Sequence[str] = (ONLY_MEAN, IMPOSSIBLE)) -> pd.DataFrame:
    """A line a check with one of these verdicts: what was held against what, the arithmetic, what it rests on."""
    import pandas as pd

    columns = ["where", "row", "data set", "check", "arithmetic", "assumes", "verdict", "rests on"]
    lines = [
        [
            row.where,
            row.label,
            title(row.dataset),
            check.name,
            check.arithmetic,
            check.assumption,
            check.verdict,
            BASES[check.basis],
        ]
        for row in rows
        for check in row.checks
        if check.verdict in verdicts
    ]
    return pd.DataFrame(lines, columns=columns)


def verdict_frame(audits: dict[str, Sequence[RowAudit]]) -> pd.DataFrame:
    """A line a source: how many of its rows and claims got which verdict."""
    import pandas as pd

    lines = []
    for name, rows in audits.items():
        counts = Counter(row.verdict for row in rows)
        nothing = {"nothing to check": counts[None]}
        lines.append({"source": name} | {verdict: counts[verdict] for verdict in VERDICTS} | nothing)
    return pd.DataFrame(lines)


def tolerance_frame(background: Background) -> pd.DataFrame:
    """A line an identity and data set: the largest departure of means over images from it, over our records.

    Which records count depends on the row that is judged; here they are those for a row as good as our best record of
    the data set.
    """
    import pandas as pd

    datasets = sorted({row.test.split(":")[0] for row in background.departures})
    lines = []
    for target, given in _IDENTITIES:
        for dataset in datasets:
            best = max(row.means["dice"] for row in background.departures if row.test.split(":")[0] == dataset)
            tolerance = background.tolerance(target, given, dataset, best)
            if tolerance is not None and tolerance.where == dataset:
                name = "vessel share" if target == "prevalence" else SHORT[target]
                lines.append(
                    {
                        "of": name,
                        "from": ", ".join(SHORT[score] for score in given),
                        "data set": title(dataset),
                        "largest departure": tolerance.value,
                        "scorings": tolerance.tests,
                    }
                )
    return pd.DataFrame(lines)


def sentences(rows: Sequence[RowAudit], background: Background) -> list[str]:
    """The findings of one source in plain words, from its audit alone.

    First the shares that its measured rows imply (of all rows where it measured none), data set by data set; then
    whether its rows share one; then what is impossible; then how much is consistent.
    """
    single = [row for row in rows if row.label != "all rows"]
    measured = [row for row in single if row.kind == "measured"] or [row for row in single if row.kind != "claim"]
    found = [_share_sentence(dataset, group, background) for dataset, group in _by_dataset(measured).items()]
    for row in rows:
        if row.label == "all rows":
            check = row.checks[0]
            found.append(
                f"{row.where}, {title(row.dataset)}, one share for all rows: {check.verdict} ({check.arithmetic})."
            )
    broken: dict[tuple, list[RowAudit]] = {}  # a row that stands in two tables is told once
    for row in single:
        if row.verdict == IMPOSSIBLE:
            broken.setdefault((row.label.split(",")[0], row.dataset, *_reasons(row)), []).append(row)
    for same in broken.values():
        where = " and ".join(dict.fromkeys(row.where for row in same))
        found.append(
            f"{where}, {same[0].label} ({title(same[0].dataset)}), impossible: {'; '.join(_reasons(same[0]))}."
        )
    counts = Counter(row.verdict for row in single)
    checked = sum(counts[verdict] for verdict in VERDICTS)
    found.append(
        f"Rows and statements with numbers to check: {checked}. Consistent: {counts[CONSISTENT]}; only as means over "
        f"images: {counts[ONLY_MEAN]}; impossible: {counts[IMPOSSIBLE]}."
    )
    return [sentence for sentence in found if sentence]


def _reasons(row: RowAudit) -> list[str]:
    """The intervals that do not go together, without what they were held against in our records."""
    broken = [check for check in row.checks if check.verdict == IMPOSSIBLE]
    return [check.arithmetic.split("; averaging")[0] for check in broken]


def _by_dataset(rows: Iterable[RowAudit]) -> dict[str | None, list[RowAudit]]:
    groups: dict[str | None, list[RowAudit]] = {}
    for row in rows:
        if row.share is not None and row.share.pair is not None and row.share.interval is not None:
            groups.setdefault(row.dataset, []).append(row)
    return groups


def _share_sentence(dataset: str | None, rows: Sequence[RowAudit], background: Background) -> str:
    values = [float(row.share.interval) for row in rows]
    span = (
        f"{min(values):.3f}"
        if f"{min(values):.3f}" == f"{max(values):.3f}"
        else f"{min(values):.3f} to {max(values):.3f}"
    )
    said = f"{title(dataset)}: {len(rows)} {'row implies' if len(rows) == 1 else 'rows imply'} a vessel share of {span}"
    true = background.shares.get(dataset or "")
    if true is None:
        return said + "."
    part = f"its {true.part} part" if true.part != "all" else "all its images"
    labels = " and ".join(f"{value:.3f} {REGIONS[key]}" for key, value in true.pooled.items())
    fits = Counter(row.share.region for row in rows)
    regions = "; ".join(region if len(fits) == 1 else f"{region}: {count}" for region, count in fits.items())
    return f"{said}; the labels of {part} have {labels}. Fits: {regions}."


def title(dataset: str | None) -> str:
    """A data set's name in print."""
    from retlib.data.registry import COLLECTIONS

    if dataset is None:
        return "no data set named"
    return COLLECTIONS[dataset].title if dataset in COLLECTIONS else dataset
