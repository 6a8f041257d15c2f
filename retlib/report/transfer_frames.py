"""Frames and sentences on transfer: the matrix, what is lost away from home, what phantoms and colours bring."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from retlib.comparison.boards import cell as cell_text
from retlib.comparison.boards import p_text
from retlib.report.transfer import METRICS, PHANTOMS, Cell, Change, PairedDifference, Training, Transfer, difference
from retlib.study import statistics
from retlib.study.findings import signed
from retlib.study.tables import LABELS


class Pair(NamedTuple):
    """Two cells of one column, and how far the first lies above the second."""

    training: Training
    tested: str
    dice: PairedDifference | None
    auc: PairedDifference | None
    oracle: PairedDifference | None  # Dice, each at the threshold that is best on the tested images


def losses(transfer: Transfer) -> list[Pair]:
    """Every network away from home against the one that was trained on the tested set: photographs alone."""
    return [
        _pair(transfer.cell(training, tested), transfer.own(tested), training, tested)
        for training in transfer.trainings
        for tested in transfer.datasets
        if training.dataset not in (PHANTOMS, tested) and not training.change
    ]


def gains(transfer: Transfer, change: Change) -> list[Pair]:
    """Every network whose training was changed against the same without."""
    return [
        _pair(transfer.cell(training, tested), transfer.cell(Training(training.dataset), tested), training, tested)
        for training in transfer.trainings
        for tested in transfer.datasets
        if training.change == change
    ]


def worst_training(transfer: Transfer) -> Training | None:
    """The training on photographs with the lowest Dice anywhere away from home; None where none has been run."""
    known = [pair for pair in losses(transfer) if pair.dice is not None]
    if not known:
        return None
    return min(known, key=lambda pair: transfer.cell(pair.training, pair.tested).value("dice")).training


def phantoms_alone(transfer: Transfer) -> list[Pair]:
    """The network that never saw a photograph against the one that was trained on the tested set."""
    training = Training(PHANTOMS)
    return [
        _pair(transfer.cell(training, tested), transfer.own(tested), training, tested) for tested in transfer.datasets
    ]


def _pair(cell: Cell | None, reference: Cell | None, training: Training, tested: str) -> Pair:
    if cell is None or reference is None:
        return Pair(training, tested, None, None, None)
    dice, auc = (difference(cell, reference, metric) for metric in METRICS)
    return Pair(training, tested, dice, auc, difference(cell, reference, "dice", own_threshold=False))


def matrix_frame(transfer: Transfer, metric: str) -> pd.DataFrame:
    """A line a kind of training, a column a tested data set: mean and interval; then the second observer."""
    lines = []
    for training in transfer.trainings:
        line: dict[str, object] = {"trained on": transfer.name(training)}
        for tested in transfer.datasets:
            line[f"tested on {transfer.title(tested)}"] = _text(transfer.cell(training, tested), metric)
        lines.append(line)
    people = {
        f"tested on {transfer.title(tested)}": _text(transfer.observers.get(tested), metric)
        for tested in transfer.datasets
    }
    return pd.DataFrame([*lines, {"trained on": "second observer", **people}])


def image_frame(transfer: Transfer) -> pd.DataFrame:
    """How many images each column is scored on."""
    lines = []
    for tested in transfer.datasets:
        found = [cell for (_, column), cell in transfer.cells.items() if column == tested]
        lines.append(
            {
                "tested on": transfer.title(tested),
                "images": str(len(found[0].images)) if found else None,
                "second observer": "yes" if tested in transfer.observers else None,
            }
        )
    return pd.DataFrame(lines)


def difference_frame(transfer: Transfer, pairs: Sequence[Pair]) -> pd.DataFrame:
    """A line a pair: differences of Dice and AUC with intervals, Holm's p over the lines, Dice at the best threshold.

    The p values are of Dice, by Wilcoxon's signed-rank test.
    """
    adjusted = _holm(pairs)
    lines = []
    for pair, p in zip(pairs, adjusted, strict=True):
        line: dict[str, object] = {"trained on": transfer.name(pair.training), "tested on": transfer.title(pair.tested)}
        for metric, found in (("dice", pair.dice), ("auc", pair.auc)):
            line[LABELS[metric]] = None if found is None else signed(found.mean)
            line[f"{LABELS[metric]}, 95 %"] = None if found is None else f"{signed(found.low)} to {signed(found.high)}"
        line["p (Holm)"] = p_text(p) if pair.dice is not None else None
        line["Dice, best threshold on each side"] = None if pair.oracle is None else signed(pair.oracle.mean)
        lines.append(line)
    return pd.DataFrame(lines)


def _holm(pairs: Sequence[Pair]) -> list[float]:
    """Adjusted p of Dice over the pairs that have one; NaN for the others."""
    known = [index for index, pair in enumerate(pairs) if pair.dice is not None and not math.isnan(pair.dice.p)]
    result = [math.nan] * len(pairs)
    for index, value in zip(known, statistics.holm([pairs[index].dice.p for index in known]), strict=True):
        result[index] = float(value)
    return result


def _text(cell: Cell | None, metric: str) -> str | None:
    if cell is None or math.isnan(cell.value(metric)):
        return None
    return cell_text(metric, cell.value(metric), *cell.interval(metric))


# --- sentences ---------------------------------------------------------------------------------------------------


def findings(transfer: Transfer) -> list[str]:
    """What the records say, each sentence with its numbers; what is missing is said to be."""
    planned, made = transfer.runs
    if not made:
        return ["No run has a record yet, so nothing can be said."]
    lines = [f"{made} of {planned} runs have a record ({transfer.profile})."]
    changes = [_gain_sentence(transfer, change) for change in Change if change]
    return [*lines, _loss_sentence(transfer), *changes, *_alone_sentences(transfer)]


def _loss_sentence(transfer: Transfer) -> str:
    pairs = losses(transfer)
    known = [pair for pair in pairs if pair.dice is not None]
    if not known:
        return "What is lost away from home: not run."
    real = sum(p <= statistics.ALPHA for p in _holm(pairs))
    worst, best = min(known, key=lambda pair: pair.dice.mean), max(known, key=lambda pair: pair.dice.mean)
    mean = _mean(pair.dice.mean for pair in known)
    oracle = _mean(pair.oracle.mean for pair in known)
    ends = [
        f"{signed(pair.dice.mean)} ({transfer.name(pair.training)} to {transfer.title(pair.tested)})"
        for pair in (worst, best)
    ]
    return (
        f"Away from home Dice changes by {signed(mean)} on average over {len(known)} of {len(pairs)} pairs of data "
        f"sets, from {ends[0]} to {ends[1]}, against a network that was trained on the tested set; {real} of these "
        f"differences are beyond noise. AUC changes by {signed(_mean(pair.auc.mean for pair in known))}. With the best "
        f"threshold for the tested images on both sides the change of Dice is {signed(oracle)}: so much is lost in "
        "ranking pixels, the rest by a threshold that was chosen on other photographs."
    )


def _gain_sentence(transfer: Transfer, change: Change) -> str:
    what, remark = {
        Change.PHANTOMS_FIRST: ("on phantoms first", "Such a network has taken more steps in all."),
        Change.COLOURS: ("in changed colours", "Such a network has taken as many steps."),
    }[change]
    pairs = gains(transfer, change)
    known = [pair for pair in pairs if pair.dice is not None]
    if not known:
        return f"What training {what} brings: not run."
    adjusted = _holm(pairs)
    better, worse = (
        sum(
            p <= statistics.ALPHA and sign * pair.dice.mean > 0
            for pair, p in zip(pairs, adjusted, strict=True)
            if pair.dice
        )
        for sign in (1, -1)
    )
    told = []
    for words, home in (("at home", True), ("away from home", False)):
        values = [pair.dice.mean for pair in known if (pair.training.dataset == pair.tested) == home]
        told.append(f"{signed(_mean(values))} {words} ({len(values)} cells)" if values else f"{words}: not run")
    return (
        f"Training {what} changes Dice by {told[0]} and by {told[1]}; beyond noise it is better in {better} and worse "
        f"in {worse} of {len(known)} cells. {remark}"
    )


def _alone_sentences(transfer: Transfer) -> list[str]:
    known = [pair for pair in phantoms_alone(transfer) if pair.dice is not None]
    lines = []
    for pair in known:
        cell, own = transfer.cell(pair.training, pair.tested), transfer.own(pair.tested)
        others = [
            found.value("dice")
            for training in transfer.trainings
            if training.dataset not in (PHANTOMS, pair.tested)
            and not training.change
            and (found := transfer.cell(training, pair.tested)) is not None
        ]
        line = (
            f"{transfer.title(pair.tested)}: a network that never saw a photograph reaches a Dice of "
            f"{cell.value('dice'):.4f} and an AUC of {cell.value('auc'):.4f}, one that was trained there "
            f"{own.value('dice'):.4f} and {own.value('auc'):.4f}"
        )
        if others:
            line += f", those trained on other photographs between {min(others):.4f} and {max(others):.4f} in Dice"
        if (person := transfer.observers.get(pair.tested)) is not None:
            line += f"; the second observer has a Dice of {person.value('dice'):.4f}"
        lines.append(f"{line}.")
    own = transfer.cell(Training(PHANTOMS), PHANTOMS)
    if own is not None:
        lines.append(
            f"On {len(own.images)} phantoms that it never saw, that network reaches a Dice of {own.value('dice'):.4f}."
        )
    return lines or ["Phantoms alone: not run."]


def power_sentence(transfer: Transfer, pairs: Sequence[Pair]) -> str:
    """On which data sets a difference can pass Holm's correction at all, however large it is."""
    known = [pair for pair in pairs if pair.dice is not None]
    if not known:
        return "No pair has been run yet."
    told = []
    for tested in dict.fromkeys(pair.tested for pair in known):
        images = len(transfer.own(tested).images)
        could = statistics.power(images, len(known))
        word = "can pass" if could.possible else "cannot pass, however large it is"
        told.append(f"on {transfer.title(tested)} ({images} images, p at least {p_text(could.smallest)}) one {word}")
    level = p_text(statistics.power(1, len(known)).strictest)
    return f"Among {len(known)} differences the strictest level is {level}: {'; '.join(told)}."


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
