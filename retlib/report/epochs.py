"""A training run read epoch by epoch: what its scores imply, whether it collapses, and what changes with one factor.

Frames here have one line an epoch, with the columns of ``SCORES`` as fractions of one (the loss in nats).
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from retlib.audit import Interval, implied_prevalence
from retlib.study import Paper, Printed, Record

SCORES = ("loss", "dice", "accuracy", "sensitivity")
TITLES = {"loss": "loss", "dice": "Dice", "accuracy": "accuracy", "sensitivity": "sensitivity"}

# The rule of `outcome`, fixed before any run was looked at.
HALF = 0.5  # a fall to less than this share of the highest Dice
NEAR = 0.01  # of the share of background, in accuracy
FLOOR = 0.1  # lowest Dice that there is to fall from


def reported_epochs(paper: Paper, number: str) -> pd.DataFrame:
    """A table over epochs as fractions, indexed by epoch."""
    table = paper.tables[number]
    rows = {}
    for index, row in enumerate(table.rows):
        values = table.values(index)[row.dataset]
        rows[row.epoch] = {name: values[name].value if name in values else math.nan for name in SCORES}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("epoch")


def measured_epochs(record: Record, part: str = "validation") -> pd.DataFrame:
    """The same from a record's history; ``part`` is ``validation`` or ``train``."""
    rows = {int(row["epoch"]): {name: row.get(f"{part}_{name}") for name in SCORES} for row in record.history}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("epoch").astype(float)


def implied_share(dice: float, accuracy: float, sensitivity: float) -> float:
    """Share of vessel pixels in a set of pixels whose pooled scores these are.

    Of all pixels, p Se are true positives and 1 - Acc are wrong, so Dice = 2 p Se / (2 p Se + 1 - Acc), which gives
    p = Dice (1 - Acc) / (2 Se (1 - Dice)). NaN where nothing is found (Se = 0) or nothing is wrong.
    """
    below = 2 * sensitivity * (1 - dice)
    return dice * (1 - accuracy) / below if below > 0 and accuracy < 1 else math.nan


def printed_share(printed: Mapping[str, Printed]) -> Interval:
    """The share that a row's printed Dice, accuracy and sensitivity imply, with all that rounding leaves open.

    Raises:
        ValueError: no share gives these numbers.
    """
    return implied_prevalence(**{name: printed[name] for name in SCORES[1:]})


def with_implied(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with what each epoch implies.

    Adds ``vessel share``; ``precision``; ``accuracy of an empty mask`` (1 - p); ``Dice of a full mask``
    (2 p / (1 + p)). NaN where the share is.
    """
    shares = [implied_share(row.dice, row.accuracy, row.sensitivity) for row in frame.itertuples()]
    p = pd.Series(shares, index=frame.index, dtype=float)
    found = p * frame["sensitivity"]
    false_alarms = (1 - frame["accuracy"]) - p * (1 - frame["sensitivity"])
    return frame.assign(
        **{
            "vessel share": p,
            "precision": found / (found + false_alarms),
            "accuracy of an empty mask": 1 - p,
            "Dice of a full mask": 2 * p / (1 + p),
        }
    )


def typical_share(frame: pd.DataFrame) -> float:
    """Median of the shares that the epochs imply; NaN where none implies one."""
    known = with_implied(frame)["vessel share"].dropna()
    return float(known.median()) if len(known) else math.nan


def outcome(frame: pd.DataFrame) -> str:
    """How the validation scores of a run end; what it learned is another question, see training scores.

    - ``collapses``: from the epoch of the highest Dice, which is ``FLOOR`` at least, to the last, Dice falls below
      half while accuracy rises, and accuracy ends within ``NEAR`` of the share of background (which an empty mask
      scores);
    - ``holds up``: the last Dice is at least half of the highest, and above that of a full mask;
    - ``stays low``: no epoch's Dice is above that of a full mask;
    - ``falls back``: anything else.
    """
    dice, accuracy, share = frame["dice"].fillna(0.0), frame["accuracy"], typical_share(frame)
    best = dice.idxmax()
    last = dice.iloc[-1]
    # Where no epoch finds a vessel no share is implied; an empty mask's accuracy is then its own background share.
    background = accuracy.iloc[-1] if math.isnan(share) else 1 - share
    full_mask = 0.0 if math.isnan(share) else 2 * share / (1 + share)
    fallen = dice[best] >= FLOOR and last < HALF * dice[best]
    if fallen and accuracy.iloc[-1] > accuracy[best] and abs(accuracy.iloc[-1] - background) <= NEAR:
        return "collapses"
    if last >= HALF * dice[best] and last > full_mask:
        return "holds up"
    return "stays low" if dice[best] <= full_mask or dice[best] == 0 else "falls back"


def same_training(first: Record, second: Record) -> bool:
    """Whether two runs learned the same: equal training scores to the last bit, as far as both went."""
    a, b = (measured_epochs(record, "train") for record in (first, second))
    common = a.index.intersection(b.index)
    return len(common) > 0 and a.loc[common].equals(b.loc[common])


def implied_table(paper: Paper, number: str, ours: pd.DataFrame | None) -> pd.DataFrame:
    """The report's epochs with the shares that they imply and the two trivial masks; ours, if given, beside them."""
    frame, table = with_implied(reported_epochs(paper, number)), paper.tables[number]
    bounds = []
    for index, row in enumerate(table.rows):
        share = printed_share(table.values(index)[row.dataset])
        bounds.append(f"{share.low:.4f} to {share.high:.4f}")
    columns = ["vessel share", "accuracy of an empty mask", "accuracy", "Dice of a full mask", "dice", "precision"]
    shown = frame[columns].assign(**{"share, by rounding": bounds}).rename(columns={"dice": "Dice"})
    known = pd.Series(dtype=float) if ours is None else with_implied(ours)["vessel share"]
    return shown.assign(**{"our share": known.reindex(shown.index).astype(float)})


def common_share(paper: Paper, number: str) -> bool:
    """Whether one vessel share lies in the rounding intervals of all epochs, as scores pooled over one set need."""
    table = paper.tables[number]
    shares = [printed_share(table.values(index)[row.dataset]) for index, row in enumerate(table.rows)]
    return max(share.low for share in shares) <= min(share.high for share in shares)


def curves_figure(frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Loss, Dice, accuracy and sensitivity by epoch, a panel each, a line a titled frame; the first one in black."""
    figure, axes = plt.subplots(1, len(SCORES), figsize=(11, 3.1))
    styles = [{"color": "black", "marker": "s", "linestyle": "--"}, *({"marker": "o"} for _ in range(len(frames)))]
    for axis, score in zip(axes, SCORES, strict=True):
        for (title, frame), look in zip(frames.items(), styles, strict=False):
            axis.plot(frame.index, frame[score], label=title, markersize=4, **look)
        axis.set(title=TITLES[score], xlabel="epoch")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(frames), frameon=False)
    return figure


def dice_figure(panels: Mapping[str, Mapping[str, pd.Series]]) -> Figure:
    """Draw Dice by epoch: a panel for each title, a line for each titled series; the first one is dashed and black."""
    figure, axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels), 3.4), squeeze=False, sharey=True)
    for axis, (title, series) in zip(axes[0], panels.items(), strict=True):
        for index, (label, dice) in enumerate(series.items()):
            look = {"marker": "o"} if index else {"color": "black", "linestyle": "--"}
            axis.plot(dice.index, dice, label=label, markersize=3, **look)
        axis.set(title=title, xlabel="epoch", ylim=(-0.03, 1.03))
    axes[0, 0].set_ylabel("Dice")
    fullest = max(axes[0], key=lambda axis: len(axis.lines))  # a seed may lack a run
    figure.legend(*fullest.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def factor_figure(frames: Mapping[str, Sequence[pd.DataFrame]], columns: int = 4) -> Figure:
    """A panel for each titled run, lines for its seeds: Dice, accuracy and the accuracy of an empty mask by epoch."""
    rows = -(-len(frames) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.8 * columns, 2.5 * rows), squeeze=False, sharey=True)
    for axis in axes.flat[len(frames) :]:
        axis.set_axis_off()
    colours = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    for axis, (title, seeds) in zip(axes.flat, frames.items(), strict=False):
        for index, frame in enumerate(seeds):
            labels = ("Dice", "accuracy", "accuracy of an empty mask") if index == 0 else (None,) * 3
            axis.plot(frame.index, frame["dice"], "o-", color=colours[0], markersize=3, label=labels[0])
            axis.plot(frame.index, frame["accuracy"], "s--", color=colours[1], markersize=3, label=labels[1])
            if not math.isnan(share := typical_share(frame)):
                axis.axhline(1 - share, color="black", linewidth=0.8, linestyle=":", label=labels[2])
        axis.set(ylim=(-0.03, 1.03), xlabel="epoch")
        axis.set_title(textwrap.fill(title, 32), fontsize=8)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure
