"""Figures of a recipe study: every change with the noise band, learning curves, and how wide scores spread."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from retlib.report.recipe import LOWER_IS_BETTER, METRICS, TARGETS, Ablation, Effect
from retlib.report.recipe_frames import Groups
from retlib.study.tables import DASH, LABELS

# Okabe and Ito: told apart by readers with every common kind of colour vision.
COLOURS = {"better": "#0072B2", "worse": "#D55E00", "within noise": "#555555"}


def forest_figure(ablation: Ablation, metrics: Sequence[str] = METRICS) -> Figure:
    """A line a change, a panel a metric: each held-out image as a small dot, their mean as a large one.

    The grey band is where one more run of the base may lie. What lies beyond the panel is drawn at its edge as an
    arrow with its value; a change without a record is an em dash.
    """
    rows = len(ablation.changes)
    figure, axes = plt.subplots(1, len(metrics), figsize=(11, 1.4 + 0.27 * rows), sharey=True, squeeze=False)
    places = np.arange(rows)[::-1]
    for axis, metric in zip(axes[0], metrics, strict=True):
        effects = [ablation.effect(change, metric) for change in ablation.changes]
        band = ablation.band(metric)
        reach = _reach([effect for effect in effects if effect is not None], band)
        if not math.isnan(band):
            axis.axvspan(-band, band, color="0.88", zorder=0)
        axis.axvline(0, color="0.4", linewidth=0.8, zorder=1)
        for place, effect in zip(places, effects, strict=True):
            _draw(axis, place, effect, reach, 1 if metric in LOWER_IS_BETTER else 3)
        lower = "\nlower is better" if metric in LOWER_IS_BETTER else "\nhigher is better"
        axis.set(xlim=(-reach * 1.08, reach * 1.08), title=f"{LABELS[metric]}{lower}")
        axis.grid(axis="y", visible=False)
        axis.tick_params(axis="x", labelsize=7)
        axis.xaxis.set_major_locator(MaxNLocator(4))
        axis.title.set_fontsize(9)
    _lines_between(axes[0], [change.factor for change in ablation.changes])
    axes[0, 0].set_yticks(places, [textwrap.fill(change.about, 40) for change in ablation.changes], fontsize=8)
    axes[0, 0].set_ylim(-0.7, rows - 0.3)
    handles = [
        Line2D([], [], marker="o", linestyle="", color=colour, label=outcome) for outcome, colour in COLOURS.items()
    ]
    handles.append(Line2D([], [], linewidth=7, color="0.88", label="noise band of the seeds"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def _reach(effects: Sequence[Effect], band: float) -> float:
    """Half the width of a panel: room for the band and for nine changes in ten."""
    means = [abs(effect.mean) for effect in effects]
    wanted = [0.0 if math.isnan(band) else 1.3 * band, 1.3 * float(np.quantile(means, 0.9)) if means else 0.0]
    return max(wanted) or 1.0


def _draw(axis: Axes, place: int, effect: Effect | None, reach: float, decimals: int) -> None:
    if effect is None:
        axis.annotate(DASH, (0, place), ha="center", va="center", fontsize=8, color="0.5")
        return
    colour = COLOURS.get(effect.outcome, COLOURS["within noise"])
    inside = effect.changes[np.abs(effect.changes) <= reach]
    axis.plot(inside, np.full(inside.size, place), "o", color=colour, markersize=2.5, alpha=0.5, zorder=2)
    if abs(effect.mean) <= reach:
        axis.plot(effect.mean, place, "o", color=colour, markersize=6, zorder=3)
        return
    left = effect.mean < 0
    axis.plot(-reach if left else reach, place, "<" if left else ">", color=colour, markersize=6, zorder=3)
    text = f"{effect.mean:.{decimals}f}".replace("-", "\N{MINUS SIGN}")
    axis.annotate(
        text,
        (-reach if left else reach, place),
        xytext=(7 if left else -7, 0),
        textcoords="offset points",
        ha="left" if left else "right",
        va="center",
        fontsize=7,
        color=colour,
    )


def _lines_between(axes: Sequence[Axes], factors: Sequence[str]) -> None:
    """A thin line wherever the factor changes."""
    for index in range(1, len(factors)):
        if factors[index] != factors[index - 1]:
            for axis in axes:
                axis.axhline(len(factors) - index - 0.5, color="0.85", linewidth=0.7, zorder=0)


def curves_figure(ablation: Ablation, columns: int = 3) -> Figure:
    """Dice on the training patches by epoch, a panel a factor; the seeds of the base are grey in each of them.

    Changes of inference alone are left out: their network is the base's. The horizontal axis is the share of the
    run that has passed, so that runs of different lengths lie over one another.
    """
    shown = [change for change in ablation.known() if not change.inference_only]
    factors = list(dict.fromkeys(change.factor for change in shown)) or ["base"]
    rows = -(-len(factors) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(11, 2.5 * rows), sharex=True, sharey=True, squeeze=False)
    for axis in axes.flat[len(factors) :]:
        axis.set_axis_off()
    lowest = 1.0
    for axis, factor in zip(axes.flat, factors, strict=False):
        for index, record in enumerate(ablation.base):
            lowest = min(lowest, _curve(axis, record.history, color="0.6", label="base" if index == 0 else None))
        for change in shown:
            if change.factor == factor:
                lowest = min(lowest, _curve(axis, change.record.history, label=textwrap.fill(change.about, 36)))
        axis.set_title(factor, fontsize=9)
        if axis.lines:
            axis.legend(fontsize=6.5, loc="lower right")
    axes[0, 0].set_ylim(max(0.0, lowest - 0.02), None)
    figure.supxlabel("share of the epochs", fontsize=9)
    figure.supylabel("Dice on training patches", fontsize=9)
    return figure


def _curve(axis: Axes, history: Sequence[dict[str, float]], **options: object) -> float:
    """Draw one run; its Dice after a third of the epochs, above which the panel has to reach down."""
    dice = [row["train_dice"] for row in history]
    epochs = len(history)
    axis.plot([row["epoch"] / epochs for row in history], dice, linewidth=1.2, **options)
    return dice[(epochs - 1) // 3]


def spread_figure(groups: Groups, metrics: Sequence[str] = TARGETS) -> Figure:
    """Each member of each group as a dot, as its distance from the group's median; a panel a metric.

    The groups were scored on different images, so their levels are not comparable; their widths are.
    """
    figure, axes = plt.subplots(1, len(metrics), figsize=(11, 2.7), sharey=True, squeeze=False)
    places = np.arange(len(groups))[::-1]
    for axis, metric in zip(axes[0], metrics, strict=True):
        every = []
        for place, group in zip(places, groups.values(), strict=True):
            values = np.array([scores[metric] for scores in group.values()])
            if values.size < 2:
                axis.annotate(DASH, (0, place), ha="center", va="center", color="0.5")
                continue
            distances = values - np.median(values)
            every.extend(np.abs(distances))
            jitter = np.linspace(-0.18, 0.18, values.size)
            axis.plot(distances, place + jitter, "o", markersize=4, alpha=0.75, color="#0072B2")
        reach = 1.1 * max(every, default=1.0) or 1.0
        axis.axvline(0, color="0.4", linewidth=0.8, zorder=1)
        axis.set(xlim=(-reach, reach), ylim=(-0.6, len(groups) - 0.4), title=LABELS[metric])
        axis.tick_params(axis="x", labelsize=7)
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(places, list(groups))
    return figure
