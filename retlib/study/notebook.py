"""Study: a paper, a store of records and a notebook's parameters, tied together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from retlib.data import find_root
from retlib.files import cache_folder
from retlib.papers import load_paper
from retlib.study import Paper, Record, RunConfig, Store, run
from retlib.study.evidence import Evidence, same_seeds
from retlib.study.parameters import Parameters

# The better evidence first; a smoke record (phantoms) is evidence of nothing but a working pipeline.
PRECEDENCE = {"paper": ("paper", "lite"), "lite": ("paper", "lite"), "smoke": ("smoke",)}


@dataclass(frozen=True)
class Study:
    """What a paper notebook works with.

    A run's records are looked for once, and again after a record was written or removed: to identify a run means to
    look at every file of its data. Data files that change under an open study are seen when it is opened again.

    Attributes:
        paper: the paper.
        parameters: the notebook's parameters.
        store: where records are read and written.
    """

    paper: Paper
    parameters: Parameters
    store: Store
    _memory: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def root(self) -> str | None:
        """Folder of the data sets, or None where there is none."""
        return data_folder(self.parameters)

    def configs(self, name: str, profile: str | None = None) -> list[RunConfig]:
        """The configs of a run, one a seed; empty if the profile does not have this run."""
        profile = profile or self.parameters.profile
        seeds = self.parameters.seeds if name in self.paper.plan(profile) else ()
        return [self.paper.config(name, profile, seed) for seed in seeds]

    def evidence(self, name: str, best: bool = True) -> Evidence | None:
        """Our records of a run, the best there are: ``paper`` before ``lite``; None where there are none.

        Seeds that have no record are left out; the number of records says how many there are.

        Args:
            name: the run.
            best: False takes the records of the notebook's own profile alone, as comparisons between runs need.
        """
        own = self.parameters.profile
        found = (self._evidence(name, profile) for profile in (PRECEDENCE[own] if best else (own,)))
        return next((item for item in found if item is not None), None)

    def every(self, name: str) -> list[Evidence]:
        """Look up our records of a run: one item for each profile that has some, the best first."""
        found = [self._evidence(name, profile) for profile in PRECEDENCE[self.parameters.profile]]
        return [item for item in found if item is not None]

    def pair(self, start: str, end: str) -> tuple[Evidence, Evidence] | None:
        """Look up our records of two runs, with the same seeds, in the best profile in which both have some."""
        for profile in PRECEDENCE[self.parameters.profile]:
            both = same_seeds(self._evidence(start, profile), self._evidence(end, profile))
            if None not in both:
                return both
        return None

    def _evidence(self, name: str, profile: str) -> Evidence | None:
        known = self._known()
        if (name, profile) not in known:
            found = [self.store.find(config, root=self.root) for config in self.configs(name, profile)]
            records = tuple(record for record in found if record is not None)
            known[name, profile] = Evidence(name, profile, records) if records else None
        return known[name, profile]

    def number(self, run: str, metric: str) -> float | None:
        """What a claim's metric is in our records of the notebook's own profile, or None.

        One profile for all: a claim compares runs, and runs of different sizes are not comparable.
        """
        evidence = self.evidence(run, best=False)
        found = math.nan if evidence is None else evidence.number(metric)
        return None if math.isnan(found) else found

    def curve(self, run: str, column: str) -> Sequence[float] | None:
        """A column of the history, one value an epoch of the first seed; None without a record of the own profile."""
        evidence = self.evidence(run, best=False)
        return None if evidence is None else [row[column] for row in evidence.records[0].history if column in row]

    def train(self, names: Iterable[str]) -> list[Record]:
        """Make the missing records of these runs, as far as the parameters allow it: all of one seed, then the next."""
        if self.parameters.train == "never":
            return []
        force = self.parameters.train == "always"
        configs = [config for name in names for config in self.configs(name)]
        return [
            run(config, self.store, root=self.root, device=self.parameters.device, force=force)
            for config in sorted(configs, key=lambda config: self.parameters.seeds.index(config.seed))
        ]

    def _known(self) -> dict[tuple[str, str], Evidence | None]:
        """Run and profile -> what was found; empty again as soon as the store or the folder of the data changes."""
        # A record enters, replaces another or leaves by a rename in the store, which changes the folder's time.
        written = self.store.path.stat().st_mtime_ns if self.store.path.is_dir() else None
        state = self.root, written
        if state not in self._memory:
            self._memory.clear()
            self._memory[state] = {}
        return self._memory[state]


def open_study(key: str, parameters: Parameters, notebook_folder: str | Path = ".") -> Study:
    """The study of a paper for a notebook.

    Args:
        key: the paper's key, or the path of a paper's YAML.
        parameters: checked parameters. Of a smoke run the first seed alone is taken: phantoms say nothing of a spread
            over seeds.
        notebook_folder: where the notebook runs; the book's records are looked for beside it (``../book/records``).
    """
    if parameters.profile == "smoke":
        parameters = parameters.model_copy(update={"seeds": parameters.seeds[:1]})
    return Study(load_paper(key), parameters, open_store(parameters, notebook_folder))


def open_store(parameters: Parameters, notebook_folder: str | Path = ".") -> Store:
    """Where a notebook's records are: as its parameters say; else a scratch folder for smoke, or the book's own."""
    if parameters.records is not None:
        return Store(Path(parameters.records).expanduser())
    if parameters.profile == "smoke":
        return Store(cache_folder() / "smoke-records")
    return Store(book_records(Path(notebook_folder)))


def data_folder(parameters: Parameters) -> str | None:
    """Folder of the data sets, or None where there is none."""
    found = find_root(parameters.data_root)
    return None if found is None or not found.is_dir() else str(found)


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
