"""Study: what its YAML file says, and its runs in the order in which they are due."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field, model_validator

from retlib.settings import Settings
from retlib.study.loader import read_yaml
from retlib.study.plan import Plan, PlannedRun

if TYPE_CHECKING:
    from retlib.study import RunConfig, Selection


class ScheduledRun(NamedTuple):
    """One run of one seed."""

    name: str
    seed: int
    config: RunConfig


class Study(Settings):
    """Runs that answer one question of ours.

    Attributes:
        key: Its name, also the file's.
        title: For headings.
        about: What it asks, and what is the same in all its runs.
        sealed: Its runs may name training images alone: those that a search is allowed to look at.
        seeds: Data set -> seeds of its runs; where none are named, seed 0.
        run_plan: Its runs.
    """

    key: str
    title: str
    about: str
    sealed: bool = False
    seeds: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    run_plan: Plan = Field(alias="runs")

    @model_validator(mode="after")
    def _sound_plan(self) -> Study:
        if found := self.run_plan.problems():
            raise ValueError("; ".join(f"runs.{problem}" for problem in found))
        return self

    def plan(self, profile: str) -> dict[str, PlannedRun]:
        """The runs of a profile by name, merged but not validated; needs no torch.

        Raises:
            ValueError: an unknown profile.
        """
        return self.run_plan.runs(profile)

    def runs(self, profile: str, seed: int = 0, *, role: str | None = None, dataset: str | None = None):
        """RunConfigs of a profile by name, in the order of the file.

        Args:
            profile: ``smoke``, ``lite`` or ``paper``.
            seed: The seed of every run.
            role: Only runs of this role.
            dataset: Only runs that stand for this data set.

        Raises:
            ValueError: an unknown profile; a run that is no valid RunConfig; a sealed study that names a test image.
        """
        configs = {
            name: planned.config(seed, where=f"{self.key}: ")
            for name, planned in self.plan(profile).items()
            if role in (None, planned.role) and dataset in (None, planned.dataset)
        }
        if self.sealed:
            for name, config in configs.items():
                for selection in config.selections().values():
                    _check_sealed(f"{self.key}: {name}", selection)
        return configs

    def schedule(self, profile: str) -> list[ScheduledRun]:
        """Every run with each seed of its data set: all runs with the first seed, then what has a second, and so on.

        Within a turn data set by data set, in the order of the file. A driver that skips what has a record goes on
        where it stopped.
        """
        planned = self.plan(profile)
        datasets = list(dict.fromkeys(run.dataset for run in planned.values()))
        due = [
            (turn, datasets.index(run.dataset), place, name, seed)
            for place, (name, run) in enumerate(planned.items())
            for turn, seed in enumerate(self.seeds.get(run.dataset, (0,)))
        ]
        configs = {seed: self.runs(profile, seed) for seed in {seed for *_, seed in due}}
        return [ScheduledRun(name, seed, configs[seed][name]) for *_, name, seed in sorted(due)]


def list_studies() -> list[str]:
    """Keys of the studies, sorted."""
    return sorted(
        entry.name.removesuffix(".yaml") for entry in files("retlib.studies").iterdir() if entry.name.endswith(".yaml")
    )


def load_study(key: str) -> Study:
    """Read a study.

    Raises:
        ValueError: an unknown key, or a file that does not describe a study.
    """
    if key not in list_studies():
        raise ValueError(f"unknown study {key!r}; known: {', '.join(list_studies())}")
    name = f"{key}.yaml"
    return Study.parse(read_yaml(files("retlib.studies").joinpath(name).read_text(encoding="utf-8"), name), where=name)


def _check_sealed(place: str, selection: Selection) -> None:
    from retlib.data import split_names

    if selection.split != "training" and not selection.split.startswith("training/"):
        raise ValueError(
            f"{place}: a study that searches may look at training images alone: expected the split 'training' or a "
            f"fold of it ('training/fold1of5-test'), got {selection.label}"
        )
    test = set(split_names(selection.dataset, "test", **selection.options))
    if shared := sorted(test & set(selection.names())):
        raise ValueError(f"{place}: {selection.label} holds test images: {', '.join(shared[:3])}")
