"""List the runs of papers and studies in order of value, and find those without a record or without data."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

from tqdm import tqdm

from retlib.study.loader import list_papers, list_studies, load_paper, load_study
from retlib.study.plan import Role

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
ROLES: tuple[str, ...] = get_args(Role)


@dataclass(frozen=True)
class NamedRun:
    """A run of one seed, under its name in a paper or study."""

    key: str  # of the paper or study
    name: str
    tier: str  # one of `TIERS`
    config: RunConfig
    turn: int = 0  # place of its seed among those of a paper's runs
    proposed: bool = False  # whether a paper proposes this model
    id: str = ""  # of its record; empty until `find_missing` has computed it

    @property
    def label(self) -> str:
        """Name the run with its paper or study and its seed: ``af-unet/drive-unet, seed 0``."""
        return f"{self.key}/{self.name}, seed {self.config.seed}"


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

    They are sorted by tier, the turn of the seed, proposed models before others, then as keys and files list them.

    Args:
        keys: see `expand_keys`.
        profile: ``smoke``, ``lite`` or ``paper``.
        seeds: seeds of every run; by default 0 for papers and what a study plans for each of its data sets.
        roles: only runs of these roles; empty for all.

    Raises:
        ValueError: an unknown key or profile; a run that is no valid RunConfig.
    """
    tiers, runs = list(TIERS), []
    for key in expand_keys(keys):
        list_runs = _study_runs if key in list_studies() else _paper_runs
        runs += list_runs(key, profile, seeds, set(roles or ROLES))
    return sorted(runs, key=lambda run: (tiers.index(run.tier), run.turn, not run.proposed))


def _paper_runs(key: str, profile: str, seeds: Sequence[int] | None, roles: set[str]) -> Iterator[NamedRun]:
    paper = load_paper(key)
    proposed = set(paper.proposed.values())
    for turn, seed in enumerate(seeds or (0,)):
        for name, entry in paper.plan(profile).items():
            if entry.role in roles:
                tier = {"table": "seeds" if turn else "papers", "fold": "folds"}.get(entry.role, "ablations")
                yield NamedRun(paper.key, name, tier, paper.config(name, profile, seed), turn, name in proposed)


def _study_runs(key: str, profile: str, seeds: Sequence[int] | None, roles: set[str]) -> Iterator[NamedRun]:
    """Yield the runs of a study in the order of its own schedule."""
    study = load_study(key)
    plan = study.plan(profile)
    if seeds:
        study = study.model_copy(update={"seeds": {entry.dataset: tuple(seeds) for entry in plan.values()}})
    for name, _, config in study.schedule(profile):
        role = plan[name].role
        if role in roles:
            tier = "leaderboard" if (key, role) == ("one-protocol", "table") else "ablations"
            yield NamedRun(key, name, "transfer" if key == "transfer" else tier, config)


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


def find_lacking(needed: dict[str, set[tuple[str, str]]], root: str | None) -> dict[str, set[str]]:
    """Find the runs whose data cannot be read, and say for each what is missing and what to do; opens no image.

    Args:
        needed: the (data set, split) pairs of each run, by its id.
        root: folder of the data sets; RETLIB_DATA by default.
    """
    from retlib.data import load_dataset
    from retlib.data.errors import DataMissingError

    reasons = {}
    for dataset, split in sorted(set().union(*needed.values())):
        try:
            load_dataset(dataset, split=split, root=root)
        except DataMissingError as error:
            reasons[dataset, split] = str(error)
    return {
        run: {reasons[pair] for pair in pairs & reasons.keys()}
        for run, pairs in needed.items()
        if pairs & reasons.keys()
    }
