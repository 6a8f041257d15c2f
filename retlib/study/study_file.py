"""StudyFile: the YAML of a study of our own, and its runs in the order in which they are due."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field

from retlib.study.plan import RunsFile

if TYPE_CHECKING:
    from retlib.study import RunConfig, Selection


class ScheduledRun(NamedTuple):
    """One run of one seed."""

    name: str
    seed: int
    config: RunConfig


class StudyFile(RunsFile):
    """Runs that answer one question of ours."""

    about: str  # what it asks, and what is the same in all its runs
    sealed: bool = False  # its runs may name training images alone: those that a search is allowed to look at
    seeds: dict[str, tuple[int, ...]] = Field(default_factory=dict)  # of each data set's runs; seed 0 by default

    def config(self, name: str, profile: str, seed: int = 0) -> RunConfig:
        """Validate one run, and of a sealed study that it names no test image.

        Raises:
            ValueError: see `RunsFile.config`; a sealed study that names a test image.
        """
        config = super().config(name, profile, seed)
        for selection in config.selections().values() if self.sealed else ():
            _check_sealed(f"{self.key}: {name}", selection)
        return config

    def schedule(self, profile: str) -> list[ScheduledRun]:
        """List every run with each seed of its data set: all with the first seed, then what has a second, and so on.

        Runs of one seed are ordered by data set, then as in the file. A driver that skips what has a record goes on
        where it stopped.
        """
        entries = self.plan(profile)
        datasets = list(dict.fromkeys(entry.dataset for entry in entries.values()))
        due = [
            (turn, datasets.index(entry.dataset), place, name, seed)
            for place, (name, entry) in enumerate(entries.items())
            for turn, seed in enumerate(self.seeds.get(entry.dataset, (0,)))
        ]
        return [ScheduledRun(name, seed, self.config(name, profile, seed)) for *_, name, seed in sorted(due)]


def _check_sealed(place: str, selection: Selection) -> None:
    from retlib.data import split_names

    if selection.label == "stare:all":
        return  # STARE has no test images; whole, it may take part
    if selection.split != "training" and not selection.split.startswith("training/"):
        raise ValueError(
            f"{place}: a study that searches may look at training images alone: expected the split 'training' or a "
            f"fold of it ('training/fold1of5-test'), got {selection.label}"
        )
    test = set(split_names(selection.dataset, "test", **selection.options))
    if shared := sorted(test & set(selection.names())):
        raise ValueError(f"{place}: {selection.label} holds test images: {', '.join(shared[:3])}")
