"""Study: the runs of a paper or of a study of ours, the records and a notebook's parameters, tied together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from retlib.data import find_root
from retlib.files import cache_folder
from retlib.study import Paper, Record, RunConfig, Store, StudyFile, results, run
from retlib.study.evidence import Evidence, same_seeds
from retlib.study.loader import list_studies, load_paper, load_study
from retlib.study.parameters import Parameters

# The better evidence first; a smoke record (phantoms) is evidence of nothing but a working pipeline.
PRECEDENCE = {"paper": ("paper", "lite"), "lite": ("paper", "lite"), "smoke": ("smoke",)}


@dataclass(frozen=True)
class Study:
    """What a notebook works with: planned runs, records, parameters.

    Records are looked for once, and again after a record was written or removed: to identify a run means to look at
    every file of its data. Data files that change under an open study are seen when it is opened again.

    Attributes:
        source: a paper, or a study of ours.
        parameters: the notebook's parameters.
        store: where records are read and written.
    """

    source: Paper | StudyFile
    parameters: Parameters
    store: Store
    _memory: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def paper(self) -> Paper:
        """The paper that the study is of."""
        return self.source

    @property
    def root(self) -> str | None:
        """Folder of the data sets, or None where there is none."""
        return data_folder(self.parameters)

    @property
    def profiles(self) -> tuple[str, ...]:
        """Profiles whose records are shown, the best first: smoke records never stand beside others."""
        return PRECEDENCE[self.parameters.profile]

    def seeds(self, dataset: str | None = None) -> tuple[int, ...]:
        """Seeds of the runs of a data set: those of the parameters that the study plans."""
        planned = getattr(self.source, "seeds", {}).get(dataset, self.parameters.seeds)
        return tuple(seed for seed in self.parameters.seeds if seed in planned)

    def configs(self, name: str, profile: str | None = None) -> list[RunConfig]:
        """The configs of a run, one a seed; empty if the profile does not have this run."""
        profile = profile or self.parameters.profile
        planned = self.source.plan(profile).get(name)
        seeds = () if planned is None else self.seeds(planned.dataset)
        return [self.source.config(name, profile, seed) for seed in seeds]

    def train(self, names: Iterable[str], seeds: Sequence[int] | None = None) -> list[Record]:
        """Make the missing records of these runs, as far as the parameters allow it: all of one seed, then the next.

        Args:
            names: runs of the notebook's own profile.
            seeds: of these seeds alone.
        """
        if self.parameters.train == "never":
            return []
        force = self.parameters.train == "always"
        configs = [config for name in names for config in self.configs(name)]
        return [
            run(config, self.store, root=self.root, device=self.parameters.device, force=force)
            for config in sorted(configs, key=lambda config: self.parameters.seeds.index(config.seed))
            if seeds is None or config.seed in seeds
        ]

    def found(self) -> list[tuple[str, Any, Record]]:
        """Every run that may be shown and has a record: (run, planned run, record), profile by profile, in order."""
        known = self._known()
        if "found" not in known:
            known["found"] = [
                (name, planned, record)
                for profile in self.profiles
                for name, planned in self.source.plan(profile).items()
                for seed in self.seeds(planned.dataset)
                if (record := self.store.find(self.source.config(name, profile, seed), root=self.root)) is not None
            ]
        return known["found"]

    def scores(self) -> pd.DataFrame:
        """Read the scores of all records that may be shown into one table, see :mod:`retlib.study.results`."""
        known = self._known()
        if "scores" not in known:
            key = self.source.key
            frames = [
                results.tidy(record, source=key, run=name, role=planned.role, dataset=planned.dataset)
                for name, planned, record in self.found()
            ]
            scores = results.join(frames)
            scores["complete"] = self._complete(scores)
            known["scores"] = scores
        return known["scores"].copy()

    def records(self) -> pd.DataFrame:
        """List all records that may be shown, one a row: what was run, what it cost, whether it learned."""
        lines = []
        for name, planned, record in self.found():
            content = record.content
            lines.append(
                {"run": name, "role": planned.role, "dataset": planned.dataset, "profile": record.profile}
                | {"model": content["config"]["model"], "seed": content["config"]["seed"]}
                | {"parameters": content["model"]["parameters"], "threshold": content["threshold"]}
                | {"steps": content["training"]["steps"], "step_s": content["timing"]["step_s"]}
                | {"learned": not results.never_learned(record), "stale": record.stale, "record": record.folder}
            )
        columns = "run role dataset profile model seed parameters threshold steps step_s learned stale record".split()
        return pd.DataFrame(lines, columns=columns).astype({"learned": bool, "stale": bool})

    def histories(self) -> pd.DataFrame:
        """List the epochs of all records that may be shown: run, profile, seed, epoch, and the recorded columns."""
        frames = [
            pd.DataFrame(record.history).assign(run=name, profile=record.profile, seed=record.content["config"]["seed"])
            for name, _, record in self.found()
        ]
        return (
            pd.concat(frames, ignore_index=True)
            if frames
            else pd.DataFrame(columns=["run", "profile", "seed", "epoch"])
        )

    def record(self, name: str, profile: str | None = None) -> Record | None:
        """Find the record of a run's first seed, in the best profile that has one; None where there is none."""
        shown = (profile,) if profile else self.profiles
        records = [record for run, _, record in self.found() if run == name and record.profile in shown]
        return min(records, key=lambda record: shown.index(record.profile), default=None)

    def _complete(self, scores: pd.DataFrame) -> pd.Series:
        """Whether every planned fold of a row's group, profile and seed has a record; True where a run is no fold."""
        planned = Counter(
            (profile, results.fold_of(name)[0])
            for profile in self.profiles
            for name in self.source.plan(profile)
            if results.fold_of(name)[1]
        )
        folds = scores["run"].where(scores["fold"] > 0)
        count = folds.groupby([scores["profile"], scores["group"], scores["seed"]]).transform("nunique")
        keys = zip(scores["profile"], scores["group"], strict=True)
        return (scores["fold"] == 0) | (count == [planned[key] for key in keys])

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

    def _known(self) -> dict[tuple[str, str], Evidence | None]:
        """Run and profile -> what was found; empty again as soon as the store or the folder of the data changes."""
        # A record enters, replaces another or leaves by a rename in the store, which changes the folder's time.
        written = self.store.path.stat().st_mtime_ns if self.store.path.is_dir() else None
        state = self.root, written
        if state not in self._memory:
            self._memory.clear()
            self._memory[state] = {}
        return self._memory[state]


def in_short(*sentences: str) -> Any:
    """Make the summary box at the top of a page."""
    from IPython.display import Markdown

    return Markdown('<div class="in-short">\n\n**In short.** ' + "\n\n".join(sentences) + "\n\n</div>")


def open_study(key: str, parameters: Parameters, notebook_folder: str | Path = ".") -> Study:
    """Open a paper or a study of ours for a notebook.

    Args:
        key: the paper's or the study's key, or the path of a paper's YAML.
        parameters: checked parameters. Of a smoke run the first seed alone is taken: phantoms say nothing of a spread
            over seeds.
        notebook_folder: where the notebook runs; the book's records are looked for beside it (``../book/records``).
    """
    if parameters.profile == "smoke":
        parameters = parameters.model_copy(update={"seeds": parameters.seeds[:1]})
    source = load_study(key) if key in list_studies() else load_paper(key)
    return Study(source, parameters, open_store(parameters, notebook_folder))


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
