"""Our own networks beside a board: trained by a longer recipe, in no ranking and in no test, held against goals."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from typing import Any

import pandas as pd

from retlib.comparison.boards import TITLES
from retlib.comparison.contenders import DATASETS, Comparison, Contender, model_key
from retlib.comparison.peers import Goal, list_goals, measured_peer
from retlib.study import Record, RunConfig, Store
from retlib.study.notebook import PRECEDENCE
from retlib.study.overview import count_text

ROLE = "control"


def own_networks(opened: Comparison, dataset: str = "drive") -> list[Contender]:
    """Networks of ours on a data set: what comes with the package as weights first, then the others.

    They are the study's runs of the role ``control``, and means of some of these (`retlib.study.MeanConfig`) as
    far as they have a record. A run without a record keeps its place.
    """
    ships, found = shipped_records(), {}
    for profile in PRECEDENCE[opened.parameters.profile]:
        planned = opened.study.plan(profile)
        runs: dict[str, list[RunConfig]] = {}
        for name, _, config in opened.schedule(profile):
            if planned[name].role == ROLE and (planned[name].dataset or config.test[0].dataset) == dataset:
                runs.setdefault(name, []).append(config)
        for name, configs in runs.items():
            if not found.get(name):  # nothing yet, or without a record in the better profile
                records = [opened.store.find(config, root=opened.root) for config in configs]
                seeds = tuple((record,) for record in records if record is not None)
                found[name] = _contender(model_key(name), dataset, profile if seeds else None, seeds, ships)
    known = [*found.values(), *_means(opened.store, list(found.values()), dataset, ships)]
    return sorted(known, key=lambda item: not _is_among(item, ships))


def abouts(opened: Comparison, own: Sequence[Contender]) -> dict[str, str]:
    """Key -> what a network of ours is, in the words of the study; a mean says so by its key."""
    plans = [opened.study.plan(profile) for profile in PRECEDENCE[opened.parameters.profile]]
    told = {model_key(name): run.about for plan in plans for name, run in plan.items() if run.role == ROLE}
    return {item.key: told[item.key] for item in own if told.get(item.key)}


def shipped_records() -> frozenset[str]:
    """Ids of the records that measured what is in ``retlib/weights``, as its cards say."""
    cards = (file for file in resources.files("retlib.weights").iterdir() if file.name.endswith(".json"))
    return frozenset(json.loads(card.read_text(encoding="utf-8"))["record"] for card in cards)


def mean_key(parts: Sequence[str], config: Mapping[str, Any]) -> str:
    """What a mean is called, from its members' keys: ``mean of a and b, 16-bit weights``; of one, ``a, bfloat16``."""
    names = list(dict.fromkeys(parts))
    title = names[0] if len(names) == 1 else f"mean of {', '.join(names[:-1])} and {names[-1]}"
    how = {"16-bit weights": config.get("storage") == "float16", "bfloat16": bool(config.get("amp_cpu"))}
    return ", ".join([title, *(word for word, so in how.items() if so)])


def _means(store: Store, runs: Sequence[Contender], dataset: str, ships: frozenset[str]) -> list[Contender]:
    """Records of means of these and of nothing else; several that would be called the same are told apart by id."""
    keys = {record.id: item.key for item in runs for record in item.records}
    taken, found = {item.key for item in runs}, {}
    for record in store if keys else ():
        parts = record.content.get("members", [])
        if parts and set(parts) <= set(keys):
            key = mean_key([keys[part] for part in parts], record.content["config"])
            found[f"{key}, {record.id[:6]}" if key in taken or key in found else key] = record
    return [_contender(key, dataset, record.profile, ((record,),), ships) for key, record in found.items()]


def _contender(
    key: str, dataset: str, profile: str | None, seeds: tuple[tuple[Record, ...], ...], ships: frozenset[str]
) -> Contender:
    item = Contender(key, f"our network: {key}", "own", dataset, profile, seeds)
    return replace(item, title=f"our network that ships: {key}") if _is_among(item, ships) else item


def _is_among(item: Contender, ids: frozenset[str]) -> bool:
    return any(record.id in ids for record in item.records)


# --- goals -------------------------------------------------------------------------------------------------------


def reached(item: Contender, goal: Goal) -> float:
    """A network's number for a goal; NaN without a record. Seconds are those of :func:`seconds`."""
    if not item:
        return math.nan
    if goal.metric == "seconds":
        return seconds(item)[0]
    if goal.average == "image":
        return item.value(goal.metric)
    pooled = [record.metrics(region="fov", average="pooled")[goal.metric] for record in item.records]
    return sum(pooled) / len(pooled)


def seconds(item: Contender) -> tuple[float, str]:
    """Seconds an image, and of which clock: CPU seconds where the record has them, else those of the wall clock.

    A mean's record times the vessel map of one threshold, which is what a prediction is; a run's times its scoring.
    """
    for value, which in (
        (item.fewest("vessels_cpu_s_per_image"), "of CPU"),
        (item.cpu_seconds, "of CPU"),
        (item.wall_seconds, "by the wall clock"),
    ):
        if not math.isnan(value):
            return value, which
    return math.nan, ""


def goal_title(goal: Goal) -> str:
    """``AUC of all pixels pooled``, ``Dice``, ``seconds an image``."""
    if goal.metric == "seconds":
        return "seconds an image"
    return f"{TITLES[goal.metric]}{' of all pixels pooled' if goal.average == 'pooled' else ''}"


def goal_table(own: Sequence[Contender], dataset: str = "drive") -> pd.DataFrame:
    """A line a goal: the goal, the measured peer's number (quoted), and each own network's with *met* or *missed*."""
    lines = []
    for goal in list_goals():
        line: dict[str, object] = {"score": goal_title(goal), "goal": goal.text}
        line[measured_peer().label] = _quoted(goal, dataset)
        line |= {
            item.title: f"{_told(item, goal)}, {goal.judge(reached(item, goal))}" if item else None for item in own
        }
        lines.append(line)
    return pd.DataFrame(lines)


def own_sentences(own: Sequence[Contender], dataset: str = "drive") -> list[str]:
    """How each of our own networks that has a record stands beside the measured peer and to the goals."""
    lines = []
    for item in own:
        if not item:
            continue
        parts = []
        for goal in list_goals():
            theirs = _quoted(goal, dataset)
            beside = f"the peer {theirs}, " if theirs else ""
            verdict = goal.judge(reached(item, goal))
            parts.append(f"{goal_title(goal)} {_told(item, goal)} ({beside}goal {goal.text}: {verdict})")
        size = f"{count_text(item.parameters)} parameters"
        lines.append(
            f"{DATASETS.get(dataset, dataset)}, {item.title} ({item.evidence}; {size}), beside "
            f"{measured_peer().label}: {'; '.join(parts)}."
        )
    return lines


def _quoted(goal: Goal, dataset: str) -> str | None:
    """The measured peer's number as its source has it."""
    peer = measured_peer()
    return (peer.pooled if goal.average == "pooled" else peer.scores).get(dataset, {}).get(goal.metric)


def _told(item: Contender, goal: Goal) -> str:
    value = reached(item, goal)
    if math.isnan(value):
        return "not known"
    if goal.metric == "seconds":
        return f"{value:.2f} {seconds(item)[1]}"
    return f"{value:.{1 if goal.metric == 'betti0_error' else 4}f}"
