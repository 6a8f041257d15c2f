"""Open a paper or a study of ours in a notebook: its planned runs, their records, and the notebook's parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from retlib.data import find_root
from retlib.files import cache_folder
from retlib.study import Paper, Record, RunConfig, Store, StudyFile, results, run
from retlib.study.loader import list_studies, load_paper, load_study
from retlib.study.parameters import Parameters
from retlib.study.plan import Entry

# The better evidence first; a smoke record (phantoms) is evidence of nothing but a working pipeline.
PRECEDENCE = {"paper": ("paper", "lite"), "lite": ("paper", "lite"), "smoke": ("smoke",)}


@dataclass(frozen=True)
class Study:
    """Planned runs, records and parameters of a notebook.

    Records are looked up once, and again after one was written or removed, since identifying a run reads every file of
    its data. Data files that change under an open study are noticed when it is opened again.

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
        """The source, of a notebook about a paper."""
        return self.source

    @property
    def root(self) -> str | None:
        """Folder of the data sets, or None where there is none."""
        found = find_root(self.parameters.data_root)
        return None if found is None or not found.is_dir() else str(found)

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

    def found(self) -> list[tuple[str, Entry, Record]]:
        """List the records that may be shown as (run, its plan, record): by profile, in the order of the file."""
        known = self._known()
        if "shown" not in known:
            known["shown"] = [
                (name, entry, record)
                for profile in self.profiles
                for name, entry in self.source.plan(profile).items()
                for config in self.configs(name, profile)
                if (record := self.store.find(config, root=self.root)) is not None
            ]
        return known["shown"]

    def scores(self) -> pd.DataFrame:
        """Read the scores of all records that may be shown into one table, see :mod:`retlib.study.results`."""
        known = self._known()
        if "scores" not in known:
            scores = results.join(
                results.tidy(record, source=self.source.key, run=name, role=entry.role, dataset=entry.dataset)
                for name, entry, record in self.found()
            )
            scores["complete"] = self._complete(scores)
            known["scores"] = scores
        return known["scores"].copy()

    def records(self) -> pd.DataFrame:
        """List all records that may be shown, one a row: what was run, what it cost, whether it learned."""
        lines = [
            {
                "run": name,
                "role": entry.role,
                "dataset": entry.dataset,
                "profile": record.profile,
                "model": record.content["config"]["model"],
                "seed": record.content["config"]["seed"],
                "parameters": record.content["model"]["parameters"],
                "threshold": record.content["threshold"],
                "steps": record.content["training"]["steps"],
                "step_s": record.content["timing"]["step_s"],
                "learned": not results.never_learned(record),
                "stale": record.stale,
                "record": record.folder,
            }
            for name, entry, record in self.found()
        ]
        columns = "run role dataset profile model seed parameters threshold steps step_s learned stale record".split()
        return pd.DataFrame(lines, columns=columns).astype({"learned": bool, "stale": bool})

    def histories(self) -> pd.DataFrame:
        """List the epochs of all records that may be shown: run, profile, seed, epoch, and the recorded columns."""
        none = pd.DataFrame(columns=["run", "profile", "seed", "epoch"])
        frames = [
            pd.DataFrame(record.history).assign(run=name, profile=record.profile, seed=record.content["config"]["seed"])
            for name, _, record in self.found()
        ]
        return pd.concat(frames or [none], ignore_index=True)

    def record(self, name: str, profile: str | None = None) -> Record | None:
        """Find the record of a run's first seed, in the best profile that has one; None where there is none."""
        shown = (profile,) if profile else self.profiles
        records = [record for run, _, record in self.found() if run == name and record.profile in shown]
        return min(records, key=lambda record: shown.index(record.profile), default=None)

    def _complete(self, scores: pd.DataFrame) -> pd.Series:
        """Tell for each row whether every planned fold of its group and seed has a record; True for no fold."""
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

    def _known(self) -> dict[str, Any]:
        """Hold what was read; empty again as soon as the store or the folder of the data changes."""
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
    """Open the records that the parameters name; by default the book's own, or for smoke a scratch folder."""
    if parameters.records is not None:
        return Store(Path(parameters.records).expanduser())
    if parameters.profile == "smoke":
        return Store(cache_folder() / "smoke-records")
    return Store(book_records(Path(notebook_folder)))


def book_records(start: Path) -> Path:
    """Find the book's records: ``book/records`` in this folder, or in the nearest one above that has it."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / "book" / "records").is_dir():
            return folder / "book" / "records"
    raise FileNotFoundError(
        f"book/records: not found in {start} or above it; run this inside a checkout of the repository, "
        "or name a folder with `records`"
    )
