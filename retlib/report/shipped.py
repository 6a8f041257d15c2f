"""Which network ships: the candidates of the study `shipped` on held-out training images, and the rule that picks one.

Each candidate is scored as it would ship, with its views, its storage and the numbers that it computes in. The rule was
written before any of them was scored; it stands in the study's file, and in :func:`Shortlist.taken`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from retlib.studies import load_study
from retlib.study import MeanConfig, Record, RunConfig, Store, run, run_mean
from retlib.study.notebook import PRECEDENCE, data_folder, open_store
from retlib.study.parameters import Parameters
from retlib.study.rescore import member_states
from retlib.study.ship import MAX_BYTES
from retlib.study.tables import LABELS

STUDY = "shipped"
MAX_SECONDS = 1.0
"""Seconds of one core that the vessel map of an image may take, the search for the field of view not counted."""

ALL_VIEWS = ("none", "v", "h", "hv")
SHARED = {"least_piece": 20, "amp_cpu": True, "scoring": {"region": "fov", "average": "image", "threshold": "training"}}
# What is averaged, and how. A mean sees four views in all, two a member, so that every candidate takes four passes.
# `seeds`: what is added to the seed, member by member. The last candidate was added once the others had been scored.
CANDIDATES: dict[str, dict[str, Any]] = {
    "large": {"members": ("large",), "views": (ALL_VIEWS,)},
    "small": {"members": ("small",), "views": (ALL_VIEWS,)},
    "mean": {"members": ("large", "small"), "views": (("none", "hv"), ("v", "h")), "storage": "float16"},
    "two small": {
        "members": ("small", "small"),
        "seeds": (0, 1),
        "views": (("none", "hv"), ("v", "h")),
        "storage": "float16",
    },
}
# Candidates with one thing changed; shown beside them, and not to be chosen.
VARIANTS: dict[str, dict[str, Any]] = {
    "small, another seed": CANDIDATES["small"] | {"seeds": (1,)},
    "mean, one view a member": CANDIDATES["mean"] | {"views": (("none",), ("none",))},
    "mean, four views a member": CANDIDATES["mean"] | {"views": (ALL_VIEWS, ALL_VIEWS)},
    "mean, in float32 throughout": CANDIDATES["mean"] | {"storage": "float32", "amp_cpu": False},
}
# The same networks trained on all training images, in the comparison: what is shipped, and scored on test images.
FULL = {"large": "drive-unet-chosen", "small": "drive-unet-small-patches"}
METRICS = ("dice", "auc", "cldice", "betti0_error")


def held_out_means(profile: str = "lite", seed: int = 0) -> dict[str, MeanConfig]:
    """Candidates, then variants, by name; members are the runs of the study, which see training images alone."""
    return {name: _mean(plan, STUDY, profile, seed) for name, plan in {**CANDIDATES, **VARIANTS}.items()}


def members_of(means: Iterable[MeanConfig]) -> list[RunConfig]:
    """The runs that some means are made of, each once."""
    return list({member.canonical(): member for config in means for member in config.members}.values())


def full_mean(name: str, profile: str = "lite", seed: int = 0) -> MeanConfig:
    """A candidate with its members trained on all training images and scored on the test images.

    Args:
        name: one of `CANDIDATES`.
        profile: the members' profile.
        seed: the members' seed.

    Raises:
        ValueError: an unknown name, or a profile that does not have these runs.
    """
    if name not in CANDIDATES:
        raise ValueError(f"unknown candidate {name!r}; known: {', '.join(CANDIDATES)}")
    plan = CANDIDATES[name]
    planned = load_study("one-protocol").plan(profile)
    if lacking := [full for full in FULL.values() if full not in planned]:
        raise ValueError(f"profile {profile!r} has no run {', '.join(lacking)}")
    return _mean(plan | {"members": [FULL[short] for short in plan["members"]]}, "one-protocol", profile, seed)


def planned_means(profile: str = "lite", seed: int = 0) -> list[MeanConfig]:
    """Every mean that a committed record may stand for: held-out ones, and full ones where a profile has their runs."""
    full = set(FULL.values()) <= set(load_study("one-protocol").plan(profile))
    return [*held_out_means(profile, seed).values(), *(full_mean(n, profile, seed) for n in CANDIDATES if full)]


def _mean(plan: Mapping[str, Any], study: str, profile: str, seed: int) -> MeanConfig:
    """The mean of some runs of a study."""
    names, settings = plan["members"], {key: value for key, value in plan.items() if key not in ("members", "seeds")}
    added = plan.get("seeds", (0,) * len(names))
    runs = {more: load_study(study).runs(profile, seed + more, dataset="drive") for more in set(added)}
    members = [runs[more][name] for name, more in zip(names, added, strict=True)]
    return MeanConfig.parse({**SHARED, **settings, "profile": profile, "members": members})


@dataclass(frozen=True)
class Shortlist:
    """What a store holds of the candidates.

    Attributes:
        profile: of all its records.
        records: name -> record, for candidates and variants; None where there is none.
        configs: name -> config.
    """

    profile: str
    records: dict[str, Record | None]
    configs: dict[str, MeanConfig]

    @property
    def taken(self) -> str | None:
        """The candidate that the rule takes; None as long as one of them has no record, or where none is small enough.

        The highest Dice, mean over the held-out images, among those that fit into `MAX_BYTES` and `MAX_SECONDS`.
        """
        found = {name: self.records[name] for name in CANDIDATES}
        if None in found.values():
            return None
        fitting = {name: record for name, record in found.items() if fits(record)}
        return max(fitting, key=lambda name: _dice(fitting[name]), default=None)


def fits(record: Record) -> bool:
    """Whether the weights of a mean's record are small enough to ship, and it is quick enough."""
    return record.content["model"]["bytes"] <= MAX_BYTES and _seconds(record) < MAX_SECONDS


def open_shortlist(parameters: Parameters, notebook_folder: str | Path = ".") -> Shortlist:
    """The study `shipped` for a notebook, its missing records made first as far as the parameters allow it.

    Everything is run with the first seed. A member whose record is there and whose weights are not is trained again.
    Of the profiles that the notebook may show, the one with the most records is taken.
    """
    store, root = open_store(parameters, notebook_folder), data_folder(parameters)
    seed = parameters.seeds[0]
    if parameters.train != "never":
        _make(store, root, parameters, seed)
    found = [
        read_shortlist(store, profile, seed, root)
        for profile in dict.fromkeys((parameters.profile, *PRECEDENCE[parameters.profile]))
    ]
    return max(found, key=lambda item: sum(record is not None for record in item.records.values()))


def read_shortlist(store: Store, profile: str = "lite", seed: int = 0, root: str | None = None) -> Shortlist:
    """What a store holds of the candidates and their variants."""
    configs = held_out_means(profile, seed)
    return Shortlist(profile, {name: store.find(config, root=root) for name, config in configs.items()}, configs)


def _make(store: Store, root: str | None, parameters: Parameters, seed: int) -> None:
    force = parameters.train == "always"
    options = {"root": root, "device": parameters.device}
    configs = held_out_means(parameters.profile, seed).values()
    due = [config for config in configs if force or store.get(config.identify(root)) is None]
    for member in members_of(due):
        run(member, store, force=force or not _has_weights(member, root), **options)
    for config in configs:
        run_mean(config, store, force=force, **options)


def _has_weights(member: RunConfig, root: str | None) -> bool:
    try:
        member_states(MeanConfig(profile=member.profile, members=(member,)), root)
    except FileNotFoundError:
        return False
    return True


def candidate_frame(shortlist: Shortlist) -> pd.DataFrame:
    """A line a candidate or variant: passes, scores on the held-out images, size, time, and what the rule says."""
    lines = []
    for name, record in shortlist.records.items():
        config = shortlist.configs[name]
        line: dict[str, object] = {"network": name, "passes": str(sum(len(i.seen) for i in config.inference))}
        for metric in METRICS:
            digits = 1 if metric == "betti0_error" else 4
            value = None if record is None else record.metrics(region="fov", average="image")[metric]
            line[LABELS[metric]] = None if value is None else f"{value:.{digits}f}"
        line["MB"] = None if record is None else f"{record.content['model']['bytes'] / 1e6:.2f}"
        line["CPU s an image"] = None if record is None else f"{_seconds(record):.2f}"
        line["the rule"] = _verdict(shortlist, name)
        lines.append(line)
    return pd.DataFrame(lines)


def shipped_sentence(shortlist: Shortlist) -> str:
    """What the rule takes, and by how much, with the numbers; or what is missing for it."""
    missing = [name for name in CANDIDATES if shortlist.records[name] is None]
    if missing:
        return f"The rule takes nothing yet: no record of {', '.join(missing)}."
    if (taken := shortlist.taken) is None:
        return f"The rule takes nothing: no candidate fits into {MAX_BYTES / 1e6:g} MB and {MAX_SECONDS:g} s."
    dice = {name: _dice(shortlist.records[name]) for name in CANDIDATES}
    others = ", ".join(f"{name} {value:.4f}" for name, value in dice.items() if name != taken)
    images = len(shortlist.records[taken].test()["images"])
    return (
        f"The rule takes **{taken}**, with a Dice of {dice[taken]:.4f} on {images} held-out images ({others};"
        f" {shortlist.profile})."
    )


def _verdict(shortlist: Shortlist, name: str) -> str | None:
    record = shortlist.records[name]
    if name in VARIANTS:
        return "shown for comparison"
    if record is None:
        return None
    if not fits(record):
        return "too large or too slow"
    return "taken" if name == shortlist.taken else "not taken"


def _dice(record: Record) -> float:
    return record.metrics(region="fov", average="image")["dice"]


def _seconds(record: Record) -> float:
    """CPU seconds of one core for the vessel map of an image: the same on a quiet machine and on a busy one."""
    return record.content["timing"]["vessels_cpu_s_per_image"]
