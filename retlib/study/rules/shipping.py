"""Which network ships: the candidates of the study `shipped`, and the rule that takes one of them.

Each candidate is scored on held-out training images as it would ship, with its views, its storage and its numerical
precision. The rule was fixed before any of them was scored; the study's file states it in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from retlib.study import MeanConfig, Store, run, run_mean, weights_path
from retlib.study.loader import load_study
from retlib.study.ship import MAX_BYTES

MAX_SECONDS = 1.0
"""CPU seconds of one core for the vessel map of an image, the estimation of the field of view not counted."""

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
# Candidates with one thing changed; shown beside them, and not to be taken.
VARIANTS: dict[str, dict[str, Any]] = {
    "small, another seed": CANDIDATES["small"] | {"seeds": (1,)},
    "mean, one view a member": CANDIDATES["mean"] | {"views": (("none",), ("none",))},
    "mean, four views a member": CANDIDATES["mean"] | {"views": (ALL_VIEWS, ALL_VIEWS)},
    "mean, in float32 throughout": CANDIDATES["mean"] | {"storage": "float32", "amp_cpu": False},
}
# The same networks trained on all training images, in the comparison: what ships, and is scored on test images.
FULL = {"large": "drive-unet-chosen", "small": "drive-unet-small-patches"}


def held_out_means(profile: str = "lite", seed: int = 0) -> dict[str, MeanConfig]:
    """Plan the candidates, then the variants, by name; their members see training images alone."""
    return {name: _mean(plan, "shipped", profile, seed) for name, plan in {**CANDIDATES, **VARIANTS}.items()}


def full_means(profile: str = "lite", seed: int = 0) -> dict[str, MeanConfig]:
    """Plan the candidates with members trained on all training images and scored on the test images.

    Empty for a profile that does not have these runs.
    """
    if not set(FULL.values()) <= set(load_study("one-protocol").plan(profile)):
        return {}
    return {
        name: _mean(plan | {"members": [FULL[member] for member in plan["members"]]}, "one-protocol", profile, seed)
        for name, plan in CANDIDATES.items()
    }


def _mean(plan: Mapping[str, Any], study: str, profile: str, seed: int) -> MeanConfig:
    names, settings = plan["members"], {key: value for key, value in plan.items() if key not in ("members", "seeds")}
    added = plan.get("seeds", (0,) * len(names))
    runs = {more: load_study(study).runs(profile, seed + more, dataset="drive") for more in set(added)}
    members = [runs[more][name] for name, more in zip(names, added, strict=True)]
    return MeanConfig.parse({**SHARED, **settings, "profile": profile, "members": members})


def make_records(
    store: Store, profile: str, seed: int = 0, *, root: str | None = None, device: str = "auto", force: bool = False
) -> None:
    """Score the candidates and variants that have no record, their members trained before.

    A member whose record exists and whose weights do not is trained again.
    """
    configs = held_out_means(profile, seed).values()
    missing = [config for config in configs if force or store.get(config.identify(root)) is None]
    for member in {member.identify(root): member for config in missing for member in config.members}.values():
        run(member, store, root=root, device=device, force=force or not weights_path(member.identify(root)).is_file())
    for config in configs:
        run_mean(config, store, root=root, device=device, force=force)


def fits(candidates: pd.DataFrame) -> pd.Series:
    """Tell which networks are small enough to ship and quick enough.

    Args:
        candidates: columns ``bytes`` and ``seconds`` (CPU seconds of one core for the vessel map of an image).
    """
    return (candidates["bytes"] <= MAX_BYTES) & (candidates["seconds"] < MAX_SECONDS)


def take(candidates: pd.DataFrame) -> str | None:
    """Take the candidate of the highest Dice among those that fit into `MAX_BYTES` and `MAX_SECONDS`.

    Args:
        candidates: indexed by name, columns as in :func:`fits` and ``dice`` (mean over the held-out images).

    Returns:
        None while a candidate is missing, or where none fits.
    """
    if not set(CANDIDATES) <= set(candidates.index):
        return None
    named = candidates.loc[list(CANDIDATES)]
    fitting = named.loc[fits(named), "dice"]
    return None if fitting.empty else fitting.idxmax()
