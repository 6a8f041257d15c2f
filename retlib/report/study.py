"""Study: a paper, a store of records and a notebook's parameters, tied together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from retlib.cache import cache_folder
from retlib.data import find_root
from retlib.experiments import Record, RunConfig, Store, run
from retlib.papers import Paper, load_paper
from retlib.report.evidence import Evidence
from retlib.report.parameters import Parameters

# The better evidence first; a smoke record (phantoms) is evidence of nothing but a working pipeline.
PRECEDENCE = {"paper": ("paper", "lite"), "lite": ("paper", "lite"), "smoke": ("smoke",)}


@dataclass(frozen=True)
class Study:
    """What a paper notebook works with.

    Attributes:
        paper: the paper.
        parameters: the notebook's parameters.
        store: where records are read and written.
    """

    paper: Paper
    parameters: Parameters
    store: Store

    @property
    def root(self) -> str | None:
        """Folder of the data sets, or None where there is none."""
        found = find_root(self.parameters.data_root)
        return None if found is None or not found.is_dir() else str(found)

    def configs(self, name: str, profile: str | None = None) -> list[RunConfig]:
        """The configs of a run, one a seed; empty if the profile does not have this run."""
        profile = profile or self.parameters.profile
        if name not in self.paper.plan(profile):
            return []
        return [self.paper.plan(profile)[name].config(seed) for seed in self.parameters.seeds]

    def evidence(self, name: str, best: bool = True) -> Evidence | None:
        """Our records of a run, the best there are: ``paper`` before ``lite``; None where there are none.

        Seeds that have no record are left out; the number of records says how many there are.

        Args:
            name: the run.
            best: False takes the records of the notebook's own profile alone, as comparisons between runs need.
        """
        own = self.parameters.profile
        for profile in PRECEDENCE[own] if best else (own,):
            found = [self.store.find(config, root=self.root) for config in self.configs(name, profile)]
            if records := tuple(record for record in found if record is not None):
                return Evidence(name, profile, records)
        return None

    def train(self, names: Iterable[str]) -> list[Record]:
        """Make the missing records of these runs, as far as the parameters allow it."""
        if self.parameters.train == "never":
            return []
        force = self.parameters.train == "always"
        return [
            run(config, self.store, root=self.root, device=self.parameters.device, force=force)
            for name in names
            for config in self.configs(name)
        ]


def open_study(key: str, parameters: Parameters, notebook_folder: str | Path = ".") -> Study:
    """The study of a paper for a notebook.

    Args:
        key: the paper's key, or the path of a paper's YAML.
        parameters: checked parameters.
        notebook_folder: where the notebook runs; the book's records are looked for beside it (``../book/records``).
    """
    if parameters.records is not None:
        store = Store(Path(parameters.records).expanduser())
    elif parameters.profile == "smoke":
        store = Store(cache_folder() / "smoke-records")
    else:
        store = Store(book_records(Path(notebook_folder)))
    return Study(load_paper(key), parameters, store)


def book_records(start: Path) -> Path:
    """The book's records: ``book/records`` in this folder or the nearest one above that has a ``book``."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / "book" / "records").is_dir():
            return folder / "book" / "records"
    raise FileNotFoundError(
        f"book/records: not found in {start} or above it; run the notebook inside a checkout of the repository, "
        "or set the parameter `records` to a folder"
    )
