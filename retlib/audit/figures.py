"""The shares that rows imply, with their intervals, against the shares of the data sets' labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from retlib.audit.background import REGIONS, Background
from retlib.audit.frames import title
from retlib.audit.rows import RowAudit
from retlib.audit.verdicts import VERDICTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = dict(zip(VERDICTS, ("o", "s", "X"), strict=True))


def share_figure(
    audits: Mapping[str, Sequence[RowAudit]], background: Background, datasets: Sequence[str], limit: float = 0.26
) -> Figure:
    """One panel a data set; in it one line a row: the implied share with the interval that follows from rounding.

    Lines stand for the labels' pooled shares of the customary part, bands for the range over single images. Verdicts
    differ in colour and in marker. A share beyond ``limit`` is drawn as an arrow with its value.

    Args:
        audits: Source -> audited rows.
        background: Measured shares.
        datasets: retlib's names.
        limit: Right end of the axis.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    panels = {dataset: _points(audits, dataset) for dataset in datasets}
    panels = {dataset: points for dataset, points in panels.items() if points}
    heights = [len(points) + 2 for points in panels.values()]
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(9, 0.24 * sum(heights)), height_ratios=heights, squeeze=False, sharex=True
    )
    palette = sns.color_palette("colorblind")
    colours = dict(zip(VERDICTS, (palette[0], palette[1], palette[3]), strict=True))
    for axis, (dataset, points) in zip(axes[:, 0], panels.items(), strict=True):
        _labels(axis, background, dataset, (palette[2], palette[4]))
        for place, (row, verdict) in enumerate(points.items()):
            low, high, value = row[1:]
            style = {"color": colours[verdict], "zorder": 3}
            if value > limit:
                axis.plot(limit, place, marker=">", markersize=6, clip_on=False, **style)
                axis.annotate(
                    f"{value:.2f}", (limit, place), (-10, 0), textcoords="offset points", ha="right", va="center"
                )
            else:
                axis.plot([low, high], [place, place], linewidth=2, **style)
                axis.plot(value, place, marker=_MARKERS[verdict], markersize=4, **style)
        axis.set_yticks(range(len(points)), [row[0] for row in points], fontsize="small")
        axis.set_ylim(len(points) - 0.4, -0.6)
        axis.set_title(title(dataset), loc="left")
        axis.grid(axis="y", linewidth=0.4)
    axes[-1, 0].set_xlim(0, limit)
    axes[-1, 0].set_xlabel("share of vessel pixels")
    shown = [verdict for verdict in VERDICTS if any(verdict in points.values() for points in panels.values())]
    handles = [
        plt.Line2D([], [], color=colours[verdict], marker=_MARKERS[verdict], linestyle="", label=verdict)
        for verdict in shown
    ]
    handles += [
        plt.Line2D([], [], color=colour, linestyle=line, label=f"labels, {REGIONS[key]}")
        for (key, line), colour in zip(_LINES.items(), (palette[2], palette[4]), strict=True)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize="small")
    return figure


_LINES = {"frame": "-", "fov": "--"}


def _points(audits: Mapping[str, Sequence[RowAudit]], dataset: str) -> dict[tuple[str, float, float, float], str]:
    """(name, low, high, value) -> verdict on the share; a row that stands in two tables is drawn once."""
    found: dict[tuple[str, float, float, float], str] = {}
    for source, rows in audits.items():
        for row in rows:
            if row.dataset != dataset or row.share is None or row.share.pair is None or row.share.interval is None:
                continue
            interval = row.share.interval
            verdict = next((check.verdict for check in row.checks if check.name == "vessel share"), None)
            if verdict is None:  # a statement that only repeats a row
                continue
            found.setdefault((f"{row.label} · {source}", interval.low, interval.high, interval.value), verdict)
    return found


def _labels(axis: Axes, background: Background, dataset: str, colours: tuple) -> None:
    true = background.shares.get(dataset)
    if true is None:
        return
    for (key, line), colour in zip(_LINES.items(), colours, strict=True):
        axis.axvspan(*true.single[key], color=colour, alpha=0.12, linewidth=0)
        axis.axvline(true.pooled[key], color=colour, linestyle=line, linewidth=1.2)
