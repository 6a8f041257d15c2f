"""Resolve named splits from names alone, so that a split means the same with and without the files.

Grammar: ``[base/]fold{k}of{n}-{train|test}[@{seed}]``, or a bare base (``training``, ``test``, ``all``). A fold without
a base cuts ``all``; k counts from 1; the seed defaults to 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

_FOLD = re.compile(r"(?:(?P<base>[a-z]+)/)?fold(?P<k>\d+)of(?P<n>\d+)-(?P<side>train|test)(?:@(?P<seed>\d+))?")


def resolve_split(
    title: str,
    bases: Mapping[str, tuple[str, ...]],
    split: str | None,
    group: Callable[[str], str],
    default: str | None = None,
) -> tuple[str, ...]:
    """List the names of the samples of a split, sorted.

    Args:
        title: Name of the data set, for messages.
        bases: Base split -> its names.
        split: A base or a fold in the grammar of this module; None only where ``default`` says what that means.
        group: Name -> group that is never divided between folds.
        default: The base that None stands for.

    Raises:
        ValueError: The split is unknown; the message lists the choices.
    """
    split = default if split is None else split
    if split in bases:
        return tuple(sorted(bases[split]))
    match = _FOLD.fullmatch(split) if isinstance(split, str) else None
    if match is None or (match["base"] or "all") not in bases:
        raise ValueError(_unknown_split(title, bases, split, default))
    names = bases[match["base"] or "all"]
    k, n, seed = int(match["k"]), int(match["n"]), int(match["seed"] or 0)
    groups = len({group(name) for name in names})
    if not 2 <= n <= groups:
        limits = f"between 2 and {groups}, the images that can be held apart"
        raise ValueError(f"{title} split {split!r}: n has to lie {limits}")
    if not 1 <= k <= n:
        raise ValueError(f"{title} split {split!r}: k counts from 1 to {n}")
    held_out = fold_names(names, k, n, seed, group)
    if match["side"] == "test":
        return held_out
    return tuple(sorted(set(names) - set(held_out)))


def fold_names(names: Sequence[str], k: int, n: int, seed: int, group: Callable[[str], str]) -> tuple[str, ...]:
    """List the names of the held-out part k (1 to n) of n near-equal parts, sorted; a group is never divided."""
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(group(name), []).append(name)
    members = list(groups.values())
    order = np.random.default_rng(seed).permutation(len(members))
    return tuple(sorted(name for index in np.array_split(order, n)[k - 1] for name in members[index]))


def _unknown_split(title: str, bases: Mapping[str, Sequence[str]], split: object, default: str | None) -> str:
    counts = ", ".join(f"{base!r} ({len(names)} images)" for base, names in bases.items())
    base = "" if default else f"{next(iter(bases))}/"
    folds = (
        f"a named fold '{'' if default else '[base/]'}fold{{k}}of{{n}}-{{train|test}}[@{{seed}}]' such as"
        f" '{base}fold1of5-train' with '{base}fold1of5-test'"
    )
    if default:
        start = f"{title} has no official split, so there is no {split!r}"
        return f"{start}; choose None or {counts}, or {folds}"
    start = f"{title} needs a split" if split is None else f"{title} has no split {split!r}"
    return f"{start}; choose {counts}, or {folds}"
