"""Figures of transfer: the matrix as a heat map, differences with intervals, error maps of the same image."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from retlib.report.transfer import METRICS, Cell, Training, Transfer
from retlib.report.transfer_frames import Pair
from retlib.study.figures import error_legend, show_errors
from retlib.study.tables import DASH, LABELS


def matrix_figure(transfer: Transfer) -> Figure:
    """Heat maps of Dice and AUC: a row a kind of training, a column a tested data set; home is framed."""
    rows, columns = transfer.trainings, transfer.datasets
    figure, axes = plt.subplots(1, len(METRICS), figsize=(10, 1.2 + 0.42 * len(rows)), sharey=True)
    for axis, metric in zip(axes, METRICS, strict=True):
        values = np.array([[_value(transfer.cell(row, column), metric) for column in columns] for row in rows])
        shown = [[DASH if np.isnan(value) else f"{value:.4f}" for value in line] for line in values]
        # Without any record there is no range of colours to draw.
        low, high = (0.0, 1.0) if np.isnan(values).all() else (np.nanmin(values), np.nanmax(values))
        sns.heatmap(
            values,
            ax=axis,
            cmap="cividis",
            vmin=low,
            vmax=high,
            cbar=False,
            linewidths=1,
            xticklabels=[transfer.title(column).replace(" (", "\n(") for column in columns],
            yticklabels=[transfer.name(row) for row in rows],
        )
        for y, line in enumerate(shown):
            for x, text in enumerate(line):
                # White on the dark half of the colours, black on the light one.
                dark = not np.isnan(values[y, x]) and values[y, x] < (low + high) / 2
                axis.text(
                    x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=8, color="white" if dark else "black"
                )
                if rows[y].dataset == columns[x]:
                    axis.add_patch(
                        Rectangle((x + 0.02, y + 0.02), 0.96, 0.96, fill=False, edgecolor="#D55E00", linewidth=2)
                    )
        axis.grid(False)
        axis.set(title=f"{LABELS[metric]} inside the FOV", xlabel="tested on")
        axis.tick_params(axis="both", labelsize=8, rotation=0)
    axes[0].set_ylabel("trained on")
    return figure


def difference_figure(transfer: Transfer, pairs: Sequence[Pair], alone: str) -> Figure:
    """Differences of Dice and AUC as dots with 95 % intervals, a line a pair; an em dash where a record is missing.

    Args:
        transfer: for names.
        pairs: from top to bottom.
        alone: what zero stands for.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 1.3 + 0.25 * len(pairs)), sharey=True)
    places = np.arange(len(pairs))[::-1]
    colours = dict(zip(transfer.datasets, sns.color_palette("colorblind"), strict=False))
    for axis, metric in zip(axes, METRICS, strict=True):
        for place, pair in zip(places, pairs, strict=True):
            found = getattr(pair, metric)
            if found is None:
                axis.annotate(DASH, (0, place), ha="center", va="center", color="0.5")
                continue
            axis.plot([found.low, found.high], [place, place], color=colours[pair.tested], linewidth=1.5)
            axis.plot(found.mean, place, "o", color=colours[pair.tested], markersize=5)
        axis.axvline(0, color="0.4", linewidth=0.8, zorder=1)
        axis.grid(axis="y", visible=False)
        axis.set_xlabel(f"{LABELS[metric]}, against {alone}", fontsize=9)
    labels = [f"{transfer.name(pair.training)} \N{RIGHTWARDS ARROW} {transfer.title(pair.tested)}" for pair in pairs]
    axes[0].set_yticks(places, labels, fontsize=8)
    axes[0].set_ylim(-0.7, len(pairs) - 0.3)
    return figure


def error_figure(transfer: Transfer, rows: Sequence[Training]) -> Figure | None:
    """Error maps of the first image of each tested data set, a row a kind of training; None without a record."""
    if not any(transfer.cell(row, column) for row in rows for column in transfer.datasets):
        return None
    columns = transfer.datasets
    figure, axes = plt.subplots(
        len(rows), len(columns), figsize=(2.5 * len(columns), 2.4 * len(rows)), squeeze=False, layout="constrained"
    )
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            axis, cell = axes[y, x], transfer.cell(row, column)
            found = None if cell is None else _first_map(cell)
            if found is None:
                axis.text(0.5, 0.5, DASH, ha="center", va="center", transform=axis.transAxes)
                axis.set_axis_off()
            else:
                name, errors, dice = found
                show_errors(axis, errors, f"{name}, Dice {dice:.3f}")
        words = f"trained on\n{transfer.name(row)}"
        axes[y, 0].text(
            -0.06, 0.5, words, rotation=90, ha="right", va="center", transform=axes[y, 0].transAxes
        ).set_fontsize(9)
    error_legend(figure)
    return figure


def _first_map(cell: Cell) -> tuple[str, np.ndarray, float] | None:
    """Name, error map and Dice of the first of a cell's images: the same photograph in every row of a column."""
    wanted = cell.images[0]
    for part in cell.seeds[0]:
        test = part.record.test(part.label)
        if test.get("cases", {}).get("first", {}).get("image") == wanted:
            dice = part.record.per_image(part.label, "fov")["dice"][test["images"].index(wanted)]
            return wanted, part.record.error_maps(part.label)["first"], float(dice)
    return None


def _value(cell: Cell | None, metric: str) -> float:
    return np.nan if cell is None else cell.value(metric)
