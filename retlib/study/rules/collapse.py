"""Collapse over epochs: how the Dice of a run ends, and what the scores of an epoch imply.

The rule was fixed before any run of the R2U-Net report was looked at; the page of the report states it in words. Scores
are fractions of one, of pixels pooled over one set of images; ``epochs`` is a frame of them with the columns dice,
accuracy and sensitivity.
"""

from __future__ import annotations

import math

import pandas as pd

HALF = 0.5  # a fall to less than this share of the highest Dice
NEAR = 0.01  # distance of accuracy from the share of background
FLOOR = 0.1  # lowest Dice from which there is something to fall


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


def outcome(epochs: pd.DataFrame) -> str:
    """Name how the validation scores of a run end. What the run learned is another question: see its training scores.

    - ``collapses``: from the epoch of the highest Dice, which is ``FLOOR`` at least, to the last, Dice falls below
      half while accuracy rises, and accuracy ends within ``NEAR`` of the share of background (which an empty mask
      scores);
    - ``no collapse``: the last Dice is at least half of the highest, and above that of a full mask;
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
        return "no collapse"
    return "stays low" if dice[best] <= full_mask or dice[best] == 0 else "falls back"
