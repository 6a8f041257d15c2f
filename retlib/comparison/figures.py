"""Figures of the comparison. Every function returns a matplotlib Figure, or None where there is nothing to draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from retlib.comparison import curves
from retlib.comparison.boards import TITLES, per_image_values
from retlib.comparison.contenders import DATASETS, Contender, best_by, with_records
from retlib.comparison.times import pick_times
from retlib.metrics import betti_numbers
from retlib.study import FALSE_ALARM, MISSED, TRUE_VESSEL, statistics

STYLES = {"filter": {"linestyle": "--"}, "observer": {"linestyle": ":"}}


def cost_figure(
    datasets: Mapping[str, Sequence[Contender]], benchmark: Mapping[str, float] | None = None
) -> Figure | None:
    """Mean Dice against parameters (left) and against CPU seconds (right), a row a data set with runs.

    All seconds are of one source, which the axis names; a network without any is missing on the right.

    Args:
        datasets: data set -> its contenders.
        benchmark: seconds of networks, see `times.load_benchmark`.
    """
    shown = {name: with_records(items) for name, items in datasets.items() if with_records(items)}
    if not shown:
        return None
    figure, axes = plt.subplots(len(shown), 2, figsize=(9.8, 3.3 * len(shown)), squeeze=False, sharey="row")
    titles = dict.fromkeys(item.title for networks in shown.values() for item in networks)
    looks = {
        title: {"color": colour, "marker": "osD^vPX"[number % 7]}
        for number, (title, colour) in enumerate(zip(titles, sns.color_palette("husl", len(titles)), strict=True))
    }
    times = pick_times([item for networks in shown.values() for item in networks], benchmark or {})
    costs: dict[str, Callable[[Contender], float]] = {
        "parameters": lambda item: float(item.parameters or 0),
        times.label: times.of,
    }
    for row, (dataset, networks) in zip(axes, shown.items(), strict=True):
        for axis, (label, cost_of) in zip(row, costs.items(), strict=True):
            for item in networks:
                cost, value, (low, high) = cost_of(item), item.value("dice"), item.interval("dice")
                if cost and not math.isnan(cost):
                    axis.plot([cost, cost], [low, high], color="0.75", linewidth=1, zorder=1)
                    axis.plot(cost, value, linestyle="none", markersize=6, **looks[item.title])
            others = with_records(datasets[dataset], ("filter", "observer"))
            for item, style in zip(others, ("--", "-.", ":"), strict=False):
                axis.axhline(item.value("dice"), color="0.5", linewidth=1, linestyle=style, label=item.title)
            axis.set(xscale="log", xlabel=label, title=DATASETS.get(dataset, dataset))
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter(FuncFormatter(_plain_tick))
            axis.xaxis.set_minor_formatter(NullFormatter())
        row[0].set_ylabel("Dice, mean over images")
        if row[0].get_legend_handles_labels()[0]:
            row[0].legend(fontsize=7, loc="best")
    handles = [plt.Line2D([], [], linestyle="none", label=title, **look) for title, look in looks.items()]
    figure.legend(handles=handles, loc="outside right center", fontsize=7.5, frameon=False)
    return figure


def _plain_tick(value: float, _: object) -> str:
    return f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:g} k" if value >= 1e3 else f"{value:g}"


def curve_figure(contenders: Sequence[Contender], corner: float = 0.1) -> Figure | None:
    """ROC (left, its corner) and precision-recall (right) of everything that ranks pixels; the observer as a point."""
    ranking = with_records(contenders, ("network", "filter"))
    if not ranking:
        return None
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4))
    named = _named(ranking)
    for item in sorted(ranking, key=lambda one: one.key in named):
        style = {"color": named.get(item.key, "0.8"), **STYLES.get(item.kind, {})}
        label = item.title if item.key in named else None
        left.plot(curves.GRID, curves.roc(item), label=label, **style)
        right.plot(curves.GRID, curves.precision_recall(item), label=label, **style)
    for person in with_records(contenders, ("observer",)):
        style = {"marker": "D", "color": "black", "linestyle": "none", "markersize": 6, "label": person.title}
        left.plot(1 - person.value("specificity"), person.value("sensitivity"), **style)
        right.plot(person.value("sensitivity"), person.value("precision"), **style)
    left.set(xlim=(0, corner), ylim=(0.5, 1), xlabel="1 - specificity", ylabel="sensitivity")
    right.set(xlim=(0, 1.01), ylim=(0, 1.01), xlabel="sensitivity (recall)", ylabel="precision")
    if len(named) < len(ranking):
        left.plot([], [], color="0.8", label="other networks")
    left.legend(fontsize=7, loc="lower right")
    return figure


def calibration_figure(contenders: Sequence[Contender]) -> Figure | None:
    """Reliability diagram of every network: the share of vessel pixels against the mean predicted probability."""
    networks = with_records(contenders)
    if not networks:
        return None
    figure, axis = plt.subplots(figsize=(5, 4.4))
    axis.plot([0, 1], [0, 1], color="black", linewidth=0.8, label="calibrated")
    found = {item.key: curves.reliability(item) for item in networks}
    named = _named(networks, {key: part.ece for key, part in found.items()})
    for item in sorted(networks, key=lambda one: one.key in named):
        part = found[item.key]
        label = f"{item.title}, ECE {part.ece:.3f}" if item.key in named else None
        axis.plot(part.predicted, part.observed, "o-", markersize=3, color=named.get(item.key, "0.8"), label=label)
    if len(named) < len(networks):
        axis.plot([], [], "o-", markersize=3, color="0.8", label="other networks")
    axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted probability, mean of the bin", ylabel="share of vessel pixels")
    axis.legend(fontsize=7, loc="upper left")
    return figure


def width_figure(contenders: Sequence[Contender]) -> Figure | None:
    """Recall of the true centre line where vessels are thin, medium and wide, with intervals; the person's too."""
    known = with_records(contenders, ("network", "filter", "observer"))
    if not known:
        return None
    titles = {"recall_thin": "up to 2 pixels", "recall_medium": "2 to 4 pixels", "recall_wide": "over 4 pixels"}
    return _dots(sorted(known, key=lambda item: item.value("recall_thin")), titles, "recall of the centre line")


def betti_figure(contenders: Sequence[Contender]) -> Figure | None:
    """Betti-0 error with intervals: how many pieces too many or too few, networks, filters and the person."""
    known = with_records(contenders, ("network", "filter", "observer"))
    if not known:
        return None
    ordered = sorted(known, key=lambda item: -item.value("betti0_error"))
    return _dots(ordered, {"betti0_error": "Betti-0 error"}, "pieces too many or too few, mean over images")


def pieces_figure(contenders: Sequence[Contender]) -> Figure | None:
    """The first test image's vessels in their pieces: by the labels, by the observer, and by the best network.

    All is read from error maps, which hold truth and prediction inside the FOV.
    """
    best = best_by(with_records(contenders))
    if best is None:
        return None
    record = best.seeds[0][0]
    image = record.test()["cases"]["first"]["image"]
    errors = record.error_maps()["first"]
    panels = {"the labels": np.isin(errors, (TRUE_VESSEL, MISSED))}
    for person in with_records(contenders, ("observer",)):
        other = next((r for r in person.records if r.test()["cases"]["first"]["image"] == image), None)
        if other is not None:
            panels[person.title] = np.isin(other.error_maps()["first"], (TRUE_VESSEL, FALSE_ALARM))
    panels[best.title] = np.isin(errors, (TRUE_VESSEL, FALSE_ALARM))
    figure, axes = plt.subplots(1, len(panels), figsize=(3.5 * len(panels), 3.9), squeeze=False)
    for axis, (title, mask) in zip(axes[0], panels.items(), strict=True):
        axis.imshow(_coloured(mask), interpolation="nearest")
        pieces = betti_numbers(mask)[0]
        axis.set_title(f"{title}: {pieces} piece{'s' if pieces != 1 else ''}", fontsize=9)
        axis.set_axis_off()
    figure.suptitle(image, fontsize=9)
    return figure


def dominance_figure(contenders: Sequence[Contender], metric: str = "dice") -> Figure | None:
    """Share of test images on which the row beats the column; a star where the difference is real after Holm."""
    networks = with_records(contenders)
    values = per_image_values(networks, metric)
    if len(values) < 2:
        return None
    order = list(statistics.mean_ranks(values).index)
    tests = statistics.paired_tests(values)
    wins = pd.DataFrame(np.nan, index=order, columns=order)
    marks = pd.DataFrame("", index=order, columns=order)
    for line in tests.itertuples():
        wins.loc[line.first, line.second], wins.loc[line.second, line.first] = line.wins, 1 - line.wins
        if line.real:
            marks.loc[line.first, line.second] = marks.loc[line.second, line.first] = "*"
    side = 2.8 + 0.42 * len(order)
    figure, axis = plt.subplots(figsize=(side + 1, side))
    sns.heatmap(
        wins, annot=marks, fmt="", cmap="vlag_r", vmin=0, vmax=1, center=0.5, linewidths=0.5, ax=axis, square=True,
        cbar_kws={"label": f"share of images with the higher {TITLES[metric]}", "shrink": 0.7},
    )  # fmt: skip
    axis.set(xlabel="", ylabel="")
    axis.grid(False)
    axis.tick_params(labelsize=7.5)
    return figure


def critical_difference_figure(contenders: Sequence[Contender], metric: str = "dice") -> Figure | None:
    """Mean ranks over images; a bar joins those that lie within Nemenyi's critical difference of each other."""
    values = per_image_values(with_records(contenders), metric)
    if len(values) < 3:
        return None
    ranks = statistics.mean_ranks(values)
    images = len(next(iter(values.values())))
    reach = statistics.critical_difference(len(ranks), images)
    figure, axis = plt.subplots(figsize=(8, 1.4 + 0.24 * len(ranks)))
    axis.plot(ranks, range(len(ranks)), "o", color=sns.color_palette()[0])
    for place, (name, rank) in enumerate(ranks.items()):
        axis.annotate(name, (rank, place), (7, -3), textcoords="offset points", fontsize=8)
    for number, (first, last) in enumerate(cliques(ranks.to_numpy(), reach)):
        level = len(ranks) + 0.2 + 0.5 * number
        axis.plot(ranks.to_numpy()[[first, last]], [level, level], color="0.3", linewidth=3, solid_capstyle="butt")
    axis.set(
        xlabel=f"mean rank over {images} images (1 is best); critical difference {reach:.2f}",
        yticks=[],
        xlim=(0.5, max(len(ranks), ranks.max() + 2) + 1.5),
    )
    axis.invert_yaxis()
    axis.grid(False, axis="y")
    return figure


def cliques(ranks: np.ndarray, reach: float) -> list[tuple[int, int]]:
    """Largest runs of sorted ranks whose ends lie within ``reach``: (first, last) of each, no run inside another."""
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = int(np.searchsorted(ranks, ranks[first] + reach, side="right")) - 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def _dots(items: Sequence[Contender], metrics: Mapping[str, str], label: str) -> Figure:
    figure, axes = plt.subplots(
        1, len(metrics), figsize=(3.4 * len(metrics) + 1.6, 0.9 + 0.24 * len(items)), squeeze=False, sharey=True
    )
    for axis, (metric, title) in zip(axes[0], metrics.items(), strict=True):
        for place, item in enumerate(items):
            value, (low, high) = item.value(metric), item.interval(metric)
            if math.isnan(value):
                continue
            axis.plot([low, high], [place, place], color="0.6", linewidth=1.2)
            axis.plot(value, place, _MARKERS[item.kind], color=sns.color_palette()[list(_MARKERS).index(item.kind)])
        axis.set(title=title if len(metrics) > 1 else "", yticks=range(len(items)))
        axis.set_yticklabels([item.title for item in items], fontsize=8)
    figure.supxlabel(label, fontsize=9)
    return figure


_MARKERS = {"network": "o", "filter": "s", "observer": "D"}


def _named(items: Sequence[Contender], order: Mapping[str, float] | None = None, most: int = 4) -> dict[str, tuple]:
    """Key -> colour of those that a crowded figure names: filters, U-Net, and the first by ``order`` (else by Dice)."""
    networks = [item for item in items if item.kind == "network"]
    ranked = sorted(networks, key=lambda item: order[item.key] if order else -item.value("dice"))
    chosen = [item.key for item in ranked[: most - 1]] + [item.key for item in ranked if item.key == "unet"]
    chosen += [ranked[-1].key] if ranked else []
    keys = dict.fromkeys([*chosen, *(item.key for item in items if item.kind != "network")])
    return dict(zip(keys, sns.color_palette("colorblind", max(len(keys), 1)), strict=False))


def _coloured(mask: np.ndarray) -> np.ndarray:
    """The largest piece (8-connected) in grey, every other one in a colour and drawn wider, on white: (H, W, 3)."""
    from scipy import ndimage

    pieces, count = ndimage.label(mask, np.ones((3, 3)))
    image = np.ones((*mask.shape, 3))
    if count:
        largest = 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
        image[pieces == largest] = 0.55
        palette = np.array(sns.color_palette("colorblind", 10))[[0, 1, 2, 3, 4, 8]]
        loose = ndimage.grey_dilation(np.where(pieces == largest, 0, pieces), footprint=np.ones((5, 5)))
        image[loose > 0] = palette[loose[loose > 0] % len(palette)]
    return image


def show(figure: Figure | None, axis: Axes | None = None) -> None:
    """Show a figure, or say that there is nothing to draw."""
    if figure is None:
        print("Nothing to draw yet: no run of these has a record.")
    else:
        plt.show()
