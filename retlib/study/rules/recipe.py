"""Training-recipe ablation: which changes of a recipe are gains, and which of them are adopted.

The rule was fixed before any run of the study ``recipe`` was scored; the page of the study states it in words. A *base*
is run with several seeds, and each change of it with the first seed.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from retlib.study import results

BASE = "base"
TARGETS = ("dice", "auc", "cldice", "betti0_error")  # the metrics that judge
LOWER_IS_BETTER = frozenset({"betti0_error"})
LEVEL = 0.95  # of the noise band
COMBINATION = "combination"  # of several factors; it is none of them

Outcome = Literal["better", "worse", "not the same sign on every image", "within the noise band", "noise unknown"]


def noise_band(base: pd.DataFrame) -> float:
    """Compute half the width of the noise band: how far one more run of the base may lie from the mean of these.

    The 95 % prediction interval for a new seed from n seeds with standard deviation s is t(n - 1) s sqrt(1 + 1/n) to
    either side of their mean.

    Args:
        base: scores of one metric, seeds x images, see `retlib.study.results.matrix`.

    Returns:
        NaN for fewer than two seeds.
    """
    seeds = len(base)
    if seeds < 2:
        return math.nan
    t = stats.t.ppf((1 + LEVEL) / 2, seeds - 1)
    return float(t * base.mean(axis=1).std(ddof=1) * math.sqrt(1 + 1 / seeds))


def effects(scores: pd.DataFrame, histories: pd.DataFrame, changes: pd.DataFrame) -> pd.DataFrame:
    """Compare every change with the base, on the same images.

    A change of training is compared with the mean over the base's seeds. It counts where the mean over the images lies
    beyond the noise band and every image has the same sign. A change of inference alone is compared with the very
    network that it was applied to, so that the seed plays no part: it is better where every image is better, and worse
    only beyond the band.

    Args:
        scores: rows of the table of scores, one value an image: the base with its seeds, each change with one seed.
        histories: epochs of the same runs, as `Study.histories` lists them.
        changes: a row for each run but the base: its factor, and whether it changes inference alone (inference_only).

    Returns:
        One row a run and metric: run, metric, mean (of change minus base), band, outcome, by_image (the differences).

    Raises:
        ValueError: the scores do not belong together, see `retlib.study.results.matrix`, or are of other images.
    """
    networks = {run: _base_seeds(histories, run) for run in changes.index[changes["inference_only"]]}
    rows = []
    for metric, part in scores.groupby("metric", sort=False):
        if (of_base := part[part["run"] == BASE]).empty:
            continue
        base = results.matrix(of_base)
        band = noise_band(base)
        for run in changes.index[changes.index.isin(part["run"])]:
            change = results.matrix(part[part["run"] == run])
            if len(change) > 1 or set(change.columns) != set(base.columns):
                raise ValueError(f"{run}: expected scores of one seed on the images of the base")
            same = networks.get(run, [])
            difference = change.iloc[0] - (base.loc[same] if same else base).mean()
            by_image = difference[base.columns].to_numpy()
            outcome = _outcome(-by_image if metric in LOWER_IS_BETTER else by_image, band, bool(same))
            rows.append((run, metric, float(np.nanmean(by_image)), band, outcome, by_image))
    return pd.DataFrame(rows, columns=["run", "metric", "mean", "band", "outcome", "by_image"])


def _outcome(gained: np.ndarray, band: float, paired: bool) -> Outcome:
    """Judge the differences of one metric, higher is better."""
    mean = gained.mean()
    if math.isnan(band):
        return "noise unknown"
    needed = 0.0 if paired and mean > 0 else band
    if not abs(mean) > needed:
        return "within the noise band"
    if (gained > 0).all():
        return "better"
    return "worse" if (gained < 0).all() else "not the same sign on every image"


def _base_seeds(histories: pd.DataFrame, run: str) -> list[int]:
    """Find the base's seeds whose network the run applied: equal training gave equal numbers in every epoch."""
    epochs = {
        key: part.drop(columns=["run", "profile", "seed"]).reset_index(drop=True)
        for key, part in histories.groupby(["run", "seed"])
    }
    own = [part for (name, _), part in epochs.items() if name == run]
    return [seed for (name, seed), part in epochs.items() if name == BASE and own and part.equals(own[0])]


def judge(compared: pd.DataFrame) -> pd.Series:
    """Judge each run of :func:`effects`: a gain is better in at least one of `TARGETS` and worse in none.

    Returns:
        run -> ``gain``, ``loss`` (worse in one) or ``undecided``.
    """
    outcomes = compared[compared["metric"].isin(TARGETS)].groupby("run", sort=False)["outcome"].agg(set)
    return outcomes.map(
        lambda found: "loss" if "worse" in found else "gain" if "better" in found else "undecided"
    ).astype(object)


def adopt(compared: pd.DataFrame, changes: pd.DataFrame) -> dict[str, str | None]:
    """Adopt of each factor the gain with the highest mean Dice; combinations are no factor.

    Returns:
        Factor -> run, or None where the base stays.
    """
    judged = judge(compared)
    dice = compared[compared["metric"] == "dice"].set_index("run")["mean"]
    gains = dice[dice.index.map(judged) == "gain"] if len(dice) else dice
    adopted = {}
    for factor, runs in changes.groupby("factor", sort=False).groups.items():
        of_factor = gains[gains.index.isin(runs)]
        if factor != COMBINATION:
            adopted[factor] = None if of_factor.empty else of_factor.idxmax()
    return adopted
