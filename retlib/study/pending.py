"""List the runs of papers and studies in order of value, and find those without a record or without data."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tqdm import tqdm

from retlib.study.loader import list_papers, list_studies, load_paper, load_study

if TYPE_CHECKING:
    from retlib.study import RunConfig, Store

TIERS: dict[str, str] = {
    "papers": "the proposed models of all papers, then the other rows of their tables; first seed",
    "leaderboard": "the networks under one protocol, in the order of that study's own schedule",
    "seeds": "the same rows of the papers' tables with further seeds",
    "folds": "the folds of the papers' cross-validations",
    "transfer": "from one data set to another",
    "ablations": "the rest: ablations and controls, the search for a recipe, the network that ships",
}
"""Tiers of value, the most valuable first, and what belongs to each."""


@dataclass(frozen=True)
class NamedRun:
    """A run of one seed, under its name in a paper or study.

    Attributes:
        key: The paper's or study's key.
        name: The run's name there.
        tier: One of `TIERS`.
        config: The run.
        id: The id of its record; empty until `find_missing` has computed it.
    """

    key: str
    name: str
    tier: str
    config: RunConfig
    id: str = ""

    @property
    def label(self) -> str:
        """Name the run with its paper or study and its seed: ``af-unet/drive-unet, seed 0``."""
        return f"{self.key}/{self.name}, seed {self.config.seed}"


Ranked = tuple[tuple[int, bool, int], NamedRun]


def expand_keys(keys: Sequence[str]) -> list[str]:
    """Write ``all`` out as the keys of all papers and studies, and keep each key once.

    Raises:
        ValueError: neither a paper (key, or path of its YAML), nor a study, nor ``all``; the message lists the choices.
    """
    papers, studies = list_papers(), list_studies()
    expanded: list[str] = []
    for key in keys:
        if key != "all" and key not in papers and key not in studies and not key.endswith((".yaml", ".yml")):
            raise ValueError(
                f"unknown paper or study {key!r}; papers: {', '.join(papers)}; studies: {', '.join(studies)}; "
                "`all` is all of them, and a paper of your own is named by the path of its file, which ends in .yaml"
            )
        expanded += [*papers, *studies] if key == "all" else [key]
    return list(dict.fromkeys(expanded))


def runs_in_order(
    keys: Sequence[str], profile: str, *, seeds: Sequence[int] | None = None, roles: Sequence[str] = ()
) -> list[NamedRun]:
    """List all runs of papers and studies in order of value.

    A run's place is decided by, in this order: its tier; for the papers, the place of its seed, whether the model is
    the proposed one, the place of the key and the place in the file; for a study, its own schedule.

    Args:
        keys: see `expand_keys`.
        profile: ``smoke``, ``lite`` or ``paper``.
        seeds: seeds of every run; by default 0 for papers and what a study plans for each of its data sets.
        roles: only runs of these roles (``table``, ``fold``, ``ablation``, ``control``); empty for all.

    Raises:
        ValueError: an unknown key or profile; a run that is no valid RunConfig.
    """
    ranked = []
    for place, key in enumerate(expand_keys(keys)):
        rank = _rank_study if key in list_studies() else _rank_paper
        for (turn, other, position), run in rank(key, profile, seeds, roles):
            ranked.append(((list(TIERS).index(run.tier), turn, other, place, position), run))
    return [run for _, run in sorted(ranked, key=lambda pair: pair[0])]


def _rank_paper(key: str, profile: str, seeds: Sequence[int] | None, roles: Sequence[str]) -> Iterator[Ranked]:
    """Yield every run of a paper with (turn of its seed, not the proposed model, position in the file)."""
    paper = load_paper(key)
    proposed = set(paper.proposed.values())
    for turn, seed in enumerate(seeds or (0,)):
        for position, (name, planned) in enumerate(paper.plan(profile).items()):
            if not roles or planned.role in roles:
                tier = {"table": "seeds" if turn else "papers", "fold": "folds"}.get(planned.role, "ablations")
                run = NamedRun(paper.key, name, tier, paper.config(name, profile, seed))
                yield (turn, name not in proposed, position), run


def _rank_study(key: str, profile: str, seeds: Sequence[int] | None, roles: Sequence[str]) -> Iterator[Ranked]:
    """Yield every run of a study with its position in the study's schedule."""
    study = load_study(key)
    planned = study.plan(profile)
    if seeds:
        study = study.model_copy(update={"seeds": {run.dataset: tuple(seeds) for run in planned.values()}})
    for position, scheduled in enumerate(study.schedule(profile)):
        role = planned[scheduled.name].role
        if not roles or role in roles:
            tier = "transfer" if key == "transfer" else "ablations"
            if key == "one-protocol" and role == "table":
                tier = "leaderboard"
            yield (0, True, position), NamedRun(key, scheduled.name, tier, scheduled.config)


def find_missing(runs: Sequence[NamedRun], store: Store, root: str | None) -> tuple[list[NamedRun], int]:
    """Find the runs without a record at the present numerics, each id once, in order.

    To identify the first run of a data set means to hash its files, which takes a while where they are large.

    Returns:
        The missing runs, with their ids, and how many distinct runs have a record.
    """
    unique: dict[str, NamedRun] = {}
    for run in tqdm(runs, desc="identifying", unit="run", delay=2, file=sys.stdout):
        identity = run.config.identify(root)
        unique.setdefault(identity, replace(run, id=identity))
    missing = [run for run in unique.values() if store.get(run.id) is None]
    return missing, len(unique) - len(missing)


def count_tiers(runs: Iterable[NamedRun]) -> str:
    """Count runs by tier, in order of value: ``9 papers, 4 folds``."""
    counts = Counter(run.tier for run in runs)
    return ", ".join(f"{counts[tier]} {tier}" for tier in TIERS if counts[tier])


def data_of(config: RunConfig) -> set[tuple[str, str]]:
    """List the (data set, split) pairs that a run reads from the disk; phantoms are made by code."""
    return {(s.dataset, s.split) for s in config.selections().values() if s.dataset != "phantom"}


def missing_data(needed: Iterable[tuple[str, str]], root: str | None) -> dict[tuple[str, str], str]:
    """Find the (data set, split) pairs that cannot be read, with the reason and what to do; opens no file."""
    from retlib.data import load_dataset
    from retlib.data.errors import DataMissingError

    reasons = {}
    for dataset, split in sorted(needed):
        try:
            load_dataset(dataset, split=split, root=root)
        except DataMissingError as error:
            reasons[dataset, split] = str(error)
    return reasons
