"""Collapse over epochs: how the validation Dice of a run ends, and what the scores of an epoch imply.

The rule was fixed before any run of the R2U-Net report was looked at; the page of the report states it in words. Scores
are fractions of one, of pixels pooled over one set of images.
"""

from __future__ import annotations

import math

import pandas as pd

from retlib.audit import implied_prevalence

SCORES = ("loss", "dice", "accuracy", "sensitivity")
HALF = 0.5  # a fall to less than this share of the highest Dice
NEAR = 0.01  # distance of accuracy from the share of background
FLOOR = 0.1  # lowest Dice from which there is something to fall


def epoch_scores(history: pd.DataFrame, part: str = "validation") -> pd.DataFrame:
    """Select the scores of one run and seed from `Study.histories`.

    Args:
        history: one row an epoch.
        part: ``validation`` or ``train``.

    Returns:
        Indexed by epoch: loss, dice, accuracy, sensitivity.
    """
    frame = history.set_index("epoch")[[f"{part}_{score}" for score in SCORES]]
    return frame.set_axis(SCORES, axis=1).astype(float)


def implied(epochs: pd.DataFrame) -> pd.DataFrame:
    """Compute what the Dice, accuracy and sensitivity of one set of pixels imply.

    Of all pixels p Se are true positives and 1 - Acc are wrong, so Dice = 2 p Se / (2 p Se + 1 - Acc). This gives the
    share of vessel pixels, p = Dice (1 - Acc) / (2 Se (1 - Dice)), or NaN where nothing is found or nothing is wrong.

    Returns:
        With the index of ``epochs``: vessel share; accuracy of an empty mask, 1 - p; Dice of a full mask,
        2 p / (1 + p); precision.
    """
    dice, wrong, sensitivity = epochs["dice"], 1 - epochs["accuracy"], epochs["sensitivity"]
    share = (dice * wrong / (2 * sensitivity * (1 - dice))).where((sensitivity > 0) & (dice < 1) & (wrong > 0))
    found = share * sensitivity
    columns = {
        "vessel share": share,
        "accuracy of an empty mask": 1 - share,
        "Dice of a full mask": 2 * share / (1 + share),
        "precision": found / (found + wrong - share * (1 - sensitivity)),
    }
    return pd.DataFrame(columns)


def typical_share(epochs: pd.DataFrame) -> float:
    """Take the median of the vessel shares that the epochs imply; NaN where none implies one."""
    return float(implied(epochs)["vessel share"].median())


def printed_shares(printed: pd.DataFrame) -> pd.DataFrame:
    """Bound the vessel share that each printed epoch implies, with all that rounding leaves open.

    Args:
        printed: rows of a table over epochs, from `verdicts.reported`.

    Returns:
        Indexed by epoch: low, high.

    Raises:
        ValueError: no share gives the numbers of a row.
    """
    table = printed[printed["metric"].isin(SCORES[1:])].pivot(index="epoch", columns="metric", values="printed")
    bounds = {epoch: implied_prevalence(**row) for epoch, row in table.to_dict(orient="index").items()}
    frame = pd.DataFrame({epoch: {"low": share.low, "high": share.high} for epoch, share in bounds.items()})
    return frame.T.rename_axis("epoch")


def one_set_of_pixels(shares: pd.DataFrame) -> bool:
    """Tell whether one vessel share lies within all bounds of :func:`printed_shares`, as pooled scores need."""
    return bool(shares["low"].max() <= shares["high"].min())


def outcome(epochs: pd.DataFrame) -> str:
    """Name how the validation scores of a run end. What the run learned is another question: see its training scores.

    - ``collapses``: from the epoch of the highest Dice, which is ``FLOOR`` at least, to the last, Dice falls below
      half while accuracy rises, and accuracy ends within ``NEAR`` of the share of background (which an empty mask
      scores);
    - ``holds up``: the last Dice is at least half of the highest, and above that of a full mask;
    - ``stays low``: no epoch's Dice is above that of a full mask;
    - ``falls back``: anything else.
    """
    dice, accuracy, share = epochs["dice"].fillna(0.0), epochs["accuracy"], typical_share(epochs)
    best, last = dice.idxmax(), dice.iloc[-1]
    # Where no epoch finds a vessel no share is implied; an empty mask's accuracy is then its own background share.
    background = accuracy.iloc[-1] if math.isnan(share) else 1 - share
    full_mask = 0.0 if math.isnan(share) else 2 * share / (1 + share)
    fallen = dice[best] >= FLOOR and last < HALF * dice[best]
    if fallen and accuracy.iloc[-1] > accuracy[best] and abs(accuracy.iloc[-1] - background) <= NEAR:
        return "collapses"
    if last >= HALF * dice[best] and last > full_mask:
        return "holds up"
    return "stays low" if dice[best] <= full_mask or dice[best] == 0 else "falls back"


def endings(histories: pd.DataFrame) -> pd.DataFrame:
    """List how every run ends: one row for each run, profile and seed of `Study.histories`, in their order.

    Returns:
        Columns run, profile, seed; epochs (how many); training Dice (of the last epoch); highest Dice, last Dice and
        last accuracy in validation; background (its implied share); outcome.
    """
    rows = []
    for (run, profile, seed), history in histories.groupby(["run", "profile", "seed"], sort=False):
        validation, training = epoch_scores(history), epoch_scores(history, "train")
        numbers = {"epochs": len(history), "training Dice": training["dice"].iloc[-1]}
        numbers |= {"highest Dice": validation["dice"].max(), "last Dice": validation["dice"].iloc[-1]}
        numbers |= {"last accuracy": validation["accuracy"].iloc[-1], "background": 1 - typical_share(validation)}
        rows.append({"run": run, "profile": profile, "seed": seed} | numbers | {"outcome": outcome(validation)})
    columns = "run,profile,seed,epochs,training Dice,highest Dice,last Dice,last accuracy,background,outcome"
    return pd.DataFrame(rows, columns=columns.split(","))


def same_training(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Tell whether two runs learned the same: equal training scores, to the last bit, in every epoch of both.

    Args:
        first: rows of `Study.histories` of one run.
        second: the same of another; seeds and profiles that only one of them has are left out.

    Returns:
        False also where they have no epoch of a profile and seed in common.
    """
    keys, scores = ["profile", "seed", "epoch"], [f"train_{score}" for score in SCORES]
    if first.empty or second.empty:
        return False
    a, b = (rows.set_index(keys)[scores].astype(float) for rows in (first, second))
    common = a.index.intersection(b.index)
    return len(common) > 0 and a.loc[common].equals(b.loc[common])
