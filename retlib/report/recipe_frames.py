"""Frames and sentences on a recipe study: what each change brings, what the rule adopts, how wide scores spread."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from retlib.report.recipe import (
    COMBINATION,
    LEVEL,
    LOWER_IS_BETTER,
    METRICS,
    NETWORK_FACTORS,
    TARGETS,
    Ablation,
    Change,
    changed,
    factor_of_field,
)
from retlib.studies import load_study
from retlib.study import RunConfig, statistics
from retlib.study.findings import signed
from retlib.study.overview import count_text
from retlib.study.tables import LABELS

# Group -> label -> metric -> mean score.
Groups = Mapping[str, Mapping[str, Mapping[str, float]]]

WALL = "training, s by the wall clock"
SEEDS, RECIPES, SIZES, NETWORKS = "seeds of one recipe", "recipes", "sizes of one network", "networks"


def noise_frame(ablation: Ablation) -> pd.DataFrame:
    """A line a metric: the base's level, what a new seed does to it, and the band beyond which a change counts."""
    return pd.DataFrame(
        {
            "metric": LABELS[metric],
            "base": number(metric, ablation.level(metric)),
            "seeds": str(len(ablation.base)) if ablation.base else None,
            "standard deviation over seeds": number(metric, ablation.seed_deviation(metric), 1),
            "noise band, plus or minus": number(metric, ablation.band(metric), 1),
        }
        for metric in METRICS
    )


def change_frame(ablation: Ablation) -> pd.DataFrame:
    """A line a change: mean change of each metric, images on which Dice rose, size, training time, judgement.

    A number beyond the noise carries an asterisk. Training times are CPU seconds where every record has them, else
    those of the wall clock; the heading says which.
    """
    lines = []
    heading, clock = ("training, CPU s", "training_cpu_s") if has_cpu_time(ablation) else (WALL, "training_s")
    for change in ablation.changes:
        line: dict[str, object] = {"factor": change.factor, "change": change.about}
        for metric in METRICS:
            effect = ablation.effect(change, metric)
            line[LABELS[metric]] = None
            if effect is not None:
                mark = " *" if effect.outcome in ("better", "worse") else ""
                line[LABELS[metric]] = signed(effect.mean, 1 if metric in LOWER_IS_BETTER else 4) + mark
        dice = ablation.effect(change, "dice")
        line["Dice rose on"] = None if dice is None else f"{int((dice.changes > 0).sum())} of {dice.changes.size}"
        content = {} if change.record is None else change.record.content
        line["parameters"] = count_text(content["model"]["parameters"]) if content else None
        line[heading] = f"{content['timing'][clock]:.0f}" if content else None
        line["judged"] = ablation.judge(change) if content else None
        lines.append(line)
    return pd.DataFrame(lines)


def has_cpu_time(ablation: Ablation) -> bool:
    """Whether every change that has a record has the CPU seconds of its training: one column holds one kind of time."""
    known = ablation.known()
    return bool(known) and all("training_cpu_s" in change.record.content["timing"] for change in known)


def time_sentence(ablation: Ablation) -> str:
    """What the training times of :func:`change_frame` are."""
    if has_cpu_time(ablation):
        return "Training times are CPU seconds of one core, summed over threads."
    return (
        "Training times are those of the wall clock, on a machine that did other things too: they are not comparable."
    )


def choice_frame(ablation: Ablation, used: Mapping[str, RunConfig]) -> pd.DataFrame:
    """A line a factor: what the rule adopts, and what runs of another study have in its place.

    Args:
        ablation: the records.
        used: heading -> the config of such a run, of the same profile.
    """
    lines = []
    for factor, choice in ablation.choices().items():
        members = [change for change in ablation.changes if change.factor == factor]
        judged = [ablation.judge(change) for change in members]
        seen = sum(item != "not run" for item in judged)
        lines.append(
            {
                "factor": factor,
                "alternatives run": f"{seen} of {len(members)}",
                "gains": str(judged.count("gain")) if seen else None,
                "losses": str(judged.count("loss")) if seen else None,
                "the rule takes": _taken_by_rule(ablation, choice) if seen else None,
                **{heading: taken(factor, ablation, config) for heading, config in used.items()},
            }
        )
    rest = {heading: taken(None, ablation, config) for heading, config in used.items()}
    if set(rest.values()) - {"the base"}:
        lines.append({"factor": "not varied here", **rest})
    return pd.DataFrame(lines)


def _taken_by_rule(ablation: Ablation, choice: Change | None) -> str:
    if choice is None:
        return "the base"
    return f"{choice.about} (Dice {signed(ablation.effect(choice, 'dice').mean)})"


def taken(factor: str | None, ablation: Ablation, used: RunConfig) -> str:
    """What a config of another study has in one factor: ``the base``, an alternative in words, or its values.

    With None in place of a factor: in settings of training and inference that belong to none.
    """
    configs = load_study("recipe").runs(ablation.profile)
    base = configs["base"]
    differs = {path: value for path, value in changed(base, used).items() if _factor(path) == (factor or "")}
    if not differs:
        return "the base"
    for change in ablation.changes:
        if change.factor == factor and changed(base, configs[change.name]) == differs:
            return change.about
    return ", ".join(f"{path} {value}" for path, value in differs.items())


def _factor(path: str) -> str | None:
    """The factor of a field; "" for other fields of training and inference, None for what makes no recipe."""
    factor = factor_of_field(path)
    of_a_recipe = path.split(".")[0] in ("training", "inference", "inputs", "pretraining")
    return "" if factor is None and of_a_recipe else factor


def number(metric: str, value: float, more: int = 0) -> str | None:
    """A level or a width of a metric for reading; None where it is undefined."""
    return None if math.isnan(value) else f"{value:.{(1 if metric in LOWER_IS_BETTER else 4) + more}f}"


# --- spread ------------------------------------------------------------------------------------------------------


def spread_groups(ablation: Ablation, networks: Mapping[str, Mapping[str, float]]) -> Groups:
    """What is held against one another: seeds, recipes and sizes of one network, and networks by one recipe.

    Args:
        ablation: the records; its scores are of held-out training images.
        networks: title -> metric -> mean over test images.
    """
    seeds = {
        f"seed {record.content['config']['seed']}": {
            m: record.metrics(region="fov", average="image")[m] for m in METRICS
        }
        for record in ablation.base
    }
    first = dict(list(seeds.items())[:1])
    recipes, sizes = dict(first), dict(first)
    for change in ablation.known():
        if change.factor != COMBINATION:
            scores = change.record.metrics(region="fov", average="image")
            group = sizes if change.factor in NETWORK_FACTORS else recipes
            group[change.about] = {metric: scores[metric] for metric in METRICS}
    return {SEEDS: seeds, RECIPES: recipes, SIZES: sizes, NETWORKS: dict(networks)}


def spread(group: Mapping[str, Mapping[str, float]], metric: str) -> tuple[float, float, float]:
    """Lowest, highest and standard deviation of a metric over a group; NaN for fewer than two members."""
    values = np.array([scores[metric] for scores in group.values()], dtype=np.float64)
    if values.size < 2:
        return math.nan, math.nan, math.nan
    return float(values.min()), float(values.max()), float(values.std(ddof=1))


def spread_frame(groups: Groups, metrics: Sequence[str] = TARGETS) -> pd.DataFrame:
    """A line a group and metric: members, lowest, highest, standard deviation, and the same without the lowest Dice."""
    lines = []
    for title, group in groups.items():
        fewer = without_worst(group)
        for metric in metrics:
            low, high, deviation = spread(group, metric)
            lines.append(
                {
                    "over": title,
                    "members": str(len(group)) if group else None,
                    "metric": LABELS[metric],
                    "lowest": number(metric, low),
                    "highest": number(metric, high),
                    "standard deviation": number(metric, deviation),
                    "without the one of lowest Dice": number(metric, spread(fewer, metric)[2]),
                }
            )
    return pd.DataFrame(lines)


def without_worst(group: Mapping[str, Mapping[str, float]]) -> dict[str, Mapping[str, float]]:
    """A group without its member of lowest Dice: one that failed would speak for all."""
    worst = min(group, key=lambda label: group[label]["dice"], default=None)
    return {label: scores for label, scores in group.items() if label != worst}


# --- sentences ---------------------------------------------------------------------------------------------------


def findings(ablation: Ablation, groups: Groups) -> list[str]:
    """What the records say, each sentence with its numbers; what is missing is said to be."""
    known = ablation.known()
    if not ablation.base:
        return ["The base has no record yet, so nothing can be said."]
    lines = [
        f"{len(known)} of {len(ablation.changes)} changes and {len(ablation.base)} seeds of the base have a record "
        f"({ablation.profile}); the base reaches a Dice of {ablation.level('dice'):.4f} and an AUC of "
        f"{ablation.level('auc'):.4f} on {len(ablation.images)} held-out images."
    ]
    lines += [*_choice_sentences(ablation), *_extreme_sentences(ablation), _spread_sentence(groups)]
    return lines


def _choice_sentences(ablation: Ablation) -> list[str]:
    band = ablation.band("dice")
    if math.isnan(band):
        return ["Fewer than two seeds of the base have a record: there is no noise band, and the rule adopts nothing."]
    judged = [ablation.judge(change) for change in ablation.known()]
    adopted = {factor: change for factor, change in ablation.choices().items() if change is not None}
    lines = [
        f"A change of Dice within {band:.4f} of the base, of AUC within {ablation.band('auc'):.4f} or of clDice within "
        f"{ablation.band('cldice'):.4f} may be a new seed alone. By the rule {judged.count('gain')} changes are gains, "
        f"{judged.count('loss')} are losses, and {judged.count('undecided')} are not decided."
    ]
    taken_up = "; ".join(f"{factor}: {change.about[0].lower()}{change.about[1:]}" for factor, change in adopted.items())
    lines.append(f"The rule adopts {taken_up}." if adopted else "The rule adopts no change: it keeps the base.")
    return lines


def _extreme_sentences(ablation: Ablation) -> list[str]:
    effects = [(change, ablation.effect(change, "dice")) for change in ablation.known()]
    effects = [(change, effect) for change, effect in effects if effect is not None]
    if len(effects) < 2:
        return []
    best, worst = max(effects, key=lambda pair: pair[1].mean), min(effects, key=lambda pair: pair[1].mean)
    told = [f"{change.about} ({signed(effect.mean)}, {effect.outcome})" for change, effect in (best, worst)]
    return [f"Dice rose most with: {told[0]}. It fell most, or rose least, with: {told[1]}."]


def _spread_sentence(groups: Groups) -> str:
    networks, recipes = groups[NETWORKS], groups[RECIPES]
    if min(len(networks), len(recipes)) < 3:
        return (
            "How much is architecture and how much is recipe: not decided yet, because "
            f"{len(networks)} networks and {len(recipes)} recipes have a record, and a spread takes three."
        )
    told = []
    for group, words in ((networks, "networks by one recipe"), (recipes, "recipes of one network")):
        low, high, deviation = spread(group, "dice")
        told.append(f"{len(group)} {words} lie between {low:.4f} and {high:.4f} (standard deviation {deviation:.4f})")
    whole = [spread(group, "dice")[2] for group in (networks, recipes)]
    fewer = [spread(without_worst(group), "dice")[2] for group in (networks, recipes)]
    seeds = spread(groups[SEEDS], "dice")[2]
    noise = "" if math.isnan(seeds) else f" Seeds of one recipe alone have a standard deviation of {seeds:.4f}."
    return (
        f"How much is architecture and how much is recipe, in Dice: {told[0]}; {told[1]}. {_wider(whole)} "
        f"{_wider(fewer, 'Without the worst of each, ')}{noise}"
    )


def _wider(deviations: Sequence[float], start: str = "") -> str:
    networks, recipes = deviations
    what = ("network", "recipe") if networks >= recipes else ("recipe", "network")
    ratio = max(deviations) / min(deviations) if min(deviations) > 0 else math.inf
    text = f"the choice of {what[0]} spreads scores {ratio:.1f} times as widely as the choice of {what[1]}."
    return f"{start}{text}" if start else f"{text[0].upper()}{text[1:]}"


def luck_sentence(ablation: Ablation) -> str:
    """How many gains the rule would find by luck, and what the number of images allows."""
    known, images = len(ablation.known()), len(ablation.images)
    if not images:
        return "There is no record yet."
    could = statistics.power(images, max(1, known * len(TARGETS)))
    passes = "one comparison alone could pass" if could.smallest <= statistics.ALPHA else "no comparison can pass"
    chance = (1 - LEVEL) / 2
    return (
        f"With {images} held-out images a paired signed-rank test cannot give a p below {could.smallest:.3g}, so "
        f"{passes} the usual level of {statistics.ALPHA:g}, and Holm's correction for {could.comparisons} comparisons "
        f"asks for {could.strictest:.2g}. The noise band, drawn from {len(ablation.base)} seeds, lets another run of "
        f"the base pass as a gain in one metric with a chance of {chance:.1%}; over all comparisons that "
        f"makes up to {could.comparisons * chance:.1f} gains by luck, fewer because all images have to agree."
    )
