"""What is due, in order of value: the one place that says what is run first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retlib.papers import list_papers, load_paper
from retlib.studies import list_studies, load_study

if TYPE_CHECKING:
    from retlib.experiments import RunConfig

TIERS: dict[str, str] = {
    "papers": "the proposed models of all papers, then the other rows of their tables; first seed",
    "leaderboard": "the networks under one protocol, in the order of that study's own schedule",
    "seeds": "the same rows of the papers' tables with further seeds",
    "folds": "the folds of the papers' cross-validations",
    "transfer": "from one data set to another",
    "ablations": "the rest: ablations and controls, the search for a recipe, the network that ships",
}
"""Tiers of value, the first ones first, and what belongs to each."""


@dataclass(frozen=True)
class DueRun:
    """One run of one seed that somebody asked for.

    Attributes:
        key: The paper's or study's key.
        name: The run's name there.
        tier: One of `TIERS`.
        config: The run.
        id: The id of its record; empty until stock is taken.
    """

    key: str
    name: str
    tier: str
    config: RunConfig
    id: str = ""

    @property
    def label(self) -> str:
        """``af-unet/drive-unet``."""
        return f"{self.key}/{self.name}"

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.config.seed


def expand_keys(keys: Sequence[str]) -> list[str]:
    """The keys with ``all`` written out, each one once.

    Raises:
        ValueError: neither a paper (key, or path of its YAML), nor a study, nor ``all``; the message lists the choices.
    """
    papers, studies = list_papers(), list_studies()
    found: list[str] = []
    for key in keys:
        if key != "all" and key not in papers and key not in studies and not key.endswith((".yaml", ".yml")):
            raise ValueError(
                f"unknown paper or study {key!r}; papers: {', '.join(papers)}; studies: {', '.join(studies)}; "
                "`all` is all of them, and a paper of your own is named by the path of its file, which ends in .yaml"
            )
        found += [*papers, *studies] if key == "all" else [key]
    return list(dict.fromkeys(found))


def due_runs(
    keys: Sequence[str], profile: str, *, seeds: Sequence[int] | None = None, roles: Sequence[str] = ()
) -> list[DueRun]:
    """All runs of papers and studies, in order of value.

    A run's place is decided by, in this order: its tier; for the papers, whether the seed is the first, whether the
    model is the proposed one, the place of the key and the place in the file; for a study, its own schedule.

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
        runs = (
            _study_runs(key, profile, seeds, roles)
            if key in list_studies()
            else _paper_runs(key, profile, seeds, roles)
        )
        for turn, other, position, run in runs:
            ranked.append(((list(TIERS).index(run.tier), turn, other, place, position), run))
    return [run for _, run in sorted(ranked, key=lambda pair: pair[0])]


def _paper_runs(
    key: str, profile: str, seeds: Sequence[int] | None, roles: Sequence[str]
) -> Iterator[tuple[int, bool, int, DueRun]]:
    """(turn of the seed, not the proposed model, position in the file, run) for every run of a paper."""
    paper = load_paper(key)
    proposed = set(paper.proposed.values())
    for turn, seed in enumerate(seeds or (0,)):
        for position, (name, planned) in enumerate(paper.plan(profile).items()):
            if roles and planned.role not in roles:
                continue
            tier = {"table": "seeds" if turn else "papers", "fold": "folds"}.get(planned.role, "ablations")
            run = DueRun(paper.key, name, tier, planned.config(seed, where=f"{paper.key}: "))
            yield turn, name not in proposed, position, run


def _study_runs(
    key: str, profile: str, seeds: Sequence[int] | None, roles: Sequence[str]
) -> Iterator[tuple[int, bool, int, DueRun]]:
    """The same for a study, in the order of its schedule."""
    study = load_study(key)
    planned = study.plan(profile)
    if seeds:
        study = study.model_copy(update={"seeds": {run.dataset: tuple(seeds) for run in planned.values()}})
    for position, scheduled in enumerate(study.schedule(profile)):
        role = planned[scheduled.name].role
        if roles and role not in roles:
            continue
        tier = "ablations"
        if key == "one-protocol" and role == "table":
            tier = "leaderboard"
        elif key == "transfer":
            tier = "transfer"
        yield 0, True, position, DueRun(key, scheduled.name, tier, scheduled.config)
