"""The two figures of the cost curves: measured points, fitted lines, logarithmic axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogFormatter, NullLocator

# Curve -> what it is, and what it was measured against.
NAMES: dict[str, tuple[str, tuple[str, ...]]] = {
    "training": ("Training step", ("side", "batch", "width")),
    "inference": ("Forward pass", ("side", "batch", "width")),
    "scoring": ("Scoring, mean over images", ("images",)),
    "pooled": ("Scoring, pooled", ("images",)),
    "store": ("Reading a store", ("runs",)),
    "plan": ("Planning and looking up", ("runs",)),
}
AXES = {
    "side": "side of the image, pixels",
    "batch": "images a batch",
    "width": "channels of the first stage",
    "images": "images",
    "runs": "runs",
}
# Okabe and Ito's colours, and a marker each.
LOOKS = {"training": ("#0072B2", "o"), "inference": ("#D55E00", "s"), "scoring": ("#0072B2", "o")}
LOOKS |= {"pooled": ("#D55E00", "s"), "store": ("#0072B2", "o"), "plan": ("#D55E00", "s")}


def draw_networks(fits: Mapping[str, Mapping[str, Any]], file: Path) -> tuple[str, str]:
    """Time and memory of a training step and a forward pass; alternative text and caption."""
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    axes = figure.subplots(2, 3, sharex="col")
    for row, (quantity, label) in enumerate((("seconds", "seconds"), ("memory_mib", "memory, MiB"))):
        for column, variable in enumerate(("side", "batch", "width")):
            _panel(axes[row, column], fits, ("training", "inference"), variable, quantity)
            axes[row, column].set_xlabel(AXES[variable] if row == 1 else "")
        axes[row, 0].set_ylabel(label)
    axes[0, 0].legend(frameon=False, fontsize=8)
    _save(figure, file)
    return (
        "Six panels with logarithmic axes: seconds and memory of a training step and of a forward pass rise as "
        "straight lines against image side, batch and width.",
        "Time and memory of a U-Net's training step and forward pass in float32. Points are measured, lines are "
        "fitted; their slopes are in the table.",
    )


def draw_scale(fits: Mapping[str, Mapping[str, Any]], file: Path) -> tuple[str, str]:
    """Scoring against images, the store against runs; alternative text and caption."""
    figure = Figure(figsize=(9, 3.1), layout="constrained")
    for axes, curves in zip(figure.subplots(1, 2), (("scoring", "pooled"), ("store", "plan")), strict=True):
        variable = NAMES[curves[0]][1][0]
        _panel(axes, fits, curves, variable, "seconds")
        axes.set_xlabel(AXES[variable])
        axes.set_ylabel("seconds")
        axes.legend(frameon=False, fontsize=8)
    _save(figure, file)
    return (
        "Two panels with logarithmic axes: seconds to score a test set rise as straight lines with its images, and "
        "seconds to read or to plan runs with their number.",
        "Seconds to score images of DRIVE's size with nine metrics, and to read or plan so many runs. Points are "
        "measured, lines are fitted.",
    )


def _panel(axes: Axes, fits: Mapping, curves: Sequence[str], variable: str, quantity: str) -> None:
    ticks: set[float] = set()
    for curve in curves:
        fit = fits.get(f"{curve}/{variable}/{quantity}")
        if fit is None:
            continue
        colour, marker = LOOKS[curve]
        ends = np.array([min(fit["x"]), max(fit["x"])], float)
        axes.loglog(ends, fit["coefficient"] * ends ** fit["exponent"], color=colour, linewidth=1.2)
        axes.loglog(fit["x"], fit["y"], marker, color=colour, markersize=5, label=NAMES[curve][0])
        ticks |= set(fit["x"])
    if ticks:
        axes.xaxis.set_major_locator(FixedLocator(_apart(sorted(ticks))))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.2, 0.5)))
    axes.grid(True, which="major", linewidth=0.4, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _apart(values: Sequence[float], factor: float = 1.5) -> list[float]:
    """Ticks that do not touch one another: each at least ``factor`` times the one before."""
    kept: list[float] = []
    for value in values:
        if not kept or value >= factor * kept[-1]:
            kept.append(value)
    return kept


def _save(figure: Figure, file: Path) -> None:
    with matplotlib.rc_context({"svg.hashsalt": file.stem}):  # the same file every time
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
