"""Recipe: what each change of a training recipe brings on held-out training images, and the rule that picks from it.

The rule was written before any run was looked at. Everything that it needs is in :func:`Ablation.judge` and
:func:`Ablation.choices`; the page of the notebook says it in words.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import stats

from retlib.comparison import MODEL_TITLES, open_comparison
from retlib.study import Record, RunConfig, Store, StudyFile, run, statistics
from retlib.study.notebook import PRECEDENCE
from retlib.study.parameters import Parameters

BASE = "base"
# What the rule looks at, and what is shown beside it.
TARGETS = ("dice", "auc", "cldice", "betti0_error")
METRICS = (*TARGETS, "recall_thin")
LOWER_IS_BETTER = frozenset({"betti0_error"})
LEVEL = 0.95

# What a change of these fields is called; a change of several kinds at once is a combination.
FACTORS = {
    "training.loss": "loss",
    "training.augmentation": "augmentation",
    "training.schedule": "schedule and rate",
    "training.learning_rate": "schedule and rate",
    "training.batch_size": "patches",
    "training.patches": "patches",
    "inputs.preprocessing": "input",
    "inputs.normalisation": "input",
    "inputs.fov_side": "working size",
    "training.average_weights": "weight averaging",
    "inference.flips": "test-time flips",
    "inference.least_piece": "specks",
    "model_options.width": "width",
    "model_options.depth": "depth",
    "training.epochs": "steps",
}
COMBINATION = "combination"
NETWORK_FACTORS = frozenset({"width", "depth"})

Outcome = Literal["better", "worse", "within noise", "noise unknown"]
Judgement = Literal["gain", "loss", "undecided", "not run"]


@dataclass(frozen=True)
class Change:
    """A run that differs from the base in one factor.

    Attributes:
        name: the run's name in the study.
        about: the change, in words.
        factor: one of the values of `FACTORS`, or `COMBINATION`.
        inference_only: whether the network is the base's own, applied in another way.
        record: of the first seed; None where there is none.
    """

    name: str
    about: str
    factor: str
    inference_only: bool
    record: Record | None


@dataclass(frozen=True)
class Effect:
    """What a change does to one metric.

    Attributes:
        changes: change minus base on every held-out image, (images,).
        band: half the width of the noise band of the seeds; NaN where it is unknown.
        outcome: better or worse beyond noise, or neither; unknown without a second seed.
    """

    changes: np.ndarray
    band: float
    outcome: Outcome

    @property
    def mean(self) -> float:
        """Mean change over the images."""
        return float(np.nanmean(self.changes))


@dataclass(frozen=True)
class Ablation:
    """A base recipe with its seeds, and one change at a time.

    Attributes:
        profile: of all its records.
        base: the records of the base, one a seed, the first seed first; may be empty.
        changes: in the order of the study.
    """

    profile: str
    base: tuple[Record, ...]
    changes: tuple[Change, ...]

    @property
    def images(self) -> list[str]:
        """Names of the held-out images; empty without a record."""
        return self.base[0].test()["images"] if self.base else []

    def level(self, metric: str) -> float:
        """The base's mean over images and seeds; NaN without a record."""
        return statistics.mean(self._base_values(metric)) if self.base else math.nan

    def seed_deviation(self, metric: str) -> float:
        """Standard deviation over seeds of the base's mean over images; NaN for fewer than two seeds."""
        if len(self.base) < 2:
            return math.nan
        return float(np.std(np.nanmean(self._base_values(metric), axis=1), ddof=1))

    def band(self, metric: str) -> float:
        """Half the width of the noise band: how far one more run of the base may lie from the mean of these.

        The 95 % prediction interval for a new seed from n seeds with standard deviation s, t(n - 1) s sqrt(1 + 1/n).
        """
        seeds = len(self.base)
        if seeds < 2:
            return math.nan
        t = stats.t.ppf((1 + LEVEL) / 2, seeds - 1)
        return float(t * self.seed_deviation(metric) * math.sqrt(1 + 1 / seeds))

    def effect(self, change: Change, metric: str) -> Effect | None:
        """A change against the base on the same images; None where a record is missing.

        A change of training is held against the mean over the base's seeds; it counts where it leaves the noise band
        with the same sign on every image. A change of inference is held against the network that it was applied to, so
        that no seed has a part in it: it counts as better with the same sign on every image, and as worse only beyond
        the band.
        """
        if change.record is None or not self.base:
            return None
        reference = self._base_values(metric)
        # The same network: equal configs of training gave equal numbers in every epoch.
        same = [self.base[i].history == change.record.history for i in range(len(self.base))]
        paired = change.inference_only and any(same)
        if paired:
            reference = reference[same]
        changes = _values(change.record, metric) - reference.mean(axis=0)
        band = self.band(metric)
        towards = -changes if metric in LOWER_IS_BETTER else changes
        needed = 0.0 if paired else band
        outcome: Outcome = "within noise"
        if math.isnan(band):
            outcome = "noise unknown"
        elif towards.mean() > needed and (towards > 0).all():
            outcome = "better"
        elif -towards.mean() > band and (towards < 0).all():
            outcome = "worse"
        return Effect(changes, band, outcome)

    def judge(self, change: Change) -> Judgement:
        """Whether a change is a gain: better in at least one of `TARGETS`, worse in none."""
        effects = [self.effect(change, metric) for metric in TARGETS]
        if None in effects:
            return "not run"
        outcomes = {effect.outcome for effect in effects}
        if "worse" in outcomes:
            return "loss"
        return "gain" if "better" in outcomes else "undecided"

    def choices(self) -> dict[str, Change | None]:
        """Factor -> the change that the rule adopts, None where it keeps the base. Combinations are no factor.

        Of several gains in one factor, the one with the highest mean Dice.
        """
        found: dict[str, Change | None] = {}
        for factor in dict.fromkeys(change.factor for change in self.changes if change.factor != COMBINATION):
            gains = [c for c in self.changes if c.factor == factor and self.judge(c) == "gain"]
            found[factor] = max(gains, key=lambda c: self.effect(c, "dice").mean, default=None)
        return found

    def known(self) -> list[Change]:
        """The changes that have a record."""
        return [change for change in self.changes if change.record is not None]

    def _base_values(self, metric: str) -> np.ndarray:
        return np.array([_values(record, metric) for record in self.base])


def open_ablation(parameters: Parameters, notebook_folder: str | Path = ".") -> Ablation:
    """The study `recipe` for a notebook, its missing records made first as far as the parameters allow it.

    The base is run with each of the parameters' seeds, a change with the first of them. Of the profiles that the
    notebook may show, the one with the most records is taken, as a whole: runs of two profiles cannot be compared.
    """
    opened = open_comparison(parameters, notebook_folder, study="recipe")
    if parameters.train != "never":
        options = {"root": opened.root, "device": parameters.device, "force": parameters.train == "always"}
        for _, config in _due(opened.study, parameters.profile, parameters.seeds):
            run(config, opened.store, **options)
    found = [
        read_ablation(opened.study, profile, parameters.seeds, opened.store, opened.root)
        for profile in dict.fromkeys((parameters.profile, *PRECEDENCE[parameters.profile]))
    ]
    return max(found, key=lambda item: len(item.base) + len(item.known()))


def read_ablation(
    study: StudyFile, profile: str, seeds: Sequence[int], store: Store, root: str | None = None
) -> Ablation:
    """What a store holds of a study of one base and its changes."""
    planned = study.plan(profile)
    due = _due(study, profile, seeds)
    base: list[Record] = []
    changes = []
    for name, config in due:
        record = store.find(config, root=root)
        if name == BASE:
            base += [] if record is None else [record]
        else:
            paths = changed(due[0][1], config)
            inference = all(path.startswith("inference.") for path in paths)
            changes.append(Change(name, planned[name].about, factor_of(paths), inference, record))
    return Ablation(profile, tuple(base), tuple(changes))


def _due(study: StudyFile, profile: str, seeds: Sequence[int]) -> list[tuple[str, RunConfig]]:
    """The base with every seed, then the changes with the first."""
    first = study.runs(profile, seeds[0])
    base = [(BASE, first[BASE])] + [(BASE, study.config(BASE, profile, seed)) for seed in seeds[1:]]
    return base + [(name, config) for name, config in first.items() if name != BASE]


def changed(base: RunConfig, other: RunConfig) -> dict[str, Any]:
    """Dotted fields in which a config differs from another, with its own value; None where it lacks the field."""
    before, after = _flat(base.model_dump(mode="json")), _flat(other.model_dump(mode="json"))
    return {path: after.get(path) for path in {**before, **after} if before.get(path) != after.get(path)}


def factor_of(paths: Iterable[str]) -> str:
    """The factor that a change of these fields belongs to.

    Raises:
        ValueError: a field that is in no factor.
    """
    found = set()
    for path in paths:
        if (factor := factor_of_field(path)) is None:
            raise ValueError(f"{path}: no factor has this field; known: {', '.join(FACTORS)}")
        found.add(factor)
    return found.pop() if len(found) == 1 else COMBINATION


def factor_of_field(path: str) -> str | None:
    """The factor that a dotted field belongs to; None where it is in none."""
    return next((title for field, title in FACTORS.items() if path == field or path.startswith(f"{field}.")), None)


def _flat(values: Mapping[str, Any], start: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{start}{key}.") if isinstance(value, dict) else {f"{start}{key}": value}
    return found


def _values(record: Record, metric: str) -> np.ndarray:
    return record.per_image(region="fov")[metric]


def network_means(parameters: Parameters, notebook_folder: str | Path, profile: str) -> dict[str, dict[str, float]]:
    """Network's title -> metric -> mean over DRIVE's test images and seeds, from the comparison under one protocol."""
    opened = open_comparison(parameters, notebook_folder)
    found: dict[str, list[Record]] = {}
    for seed in parameters.seeds:
        for config in opened.study.runs(profile, seed, role="table", dataset="drive").values():
            if (record := opened.store.find(config, root=opened.root)) is not None:
                found.setdefault(MODEL_TITLES.get(config.model, config.model), []).append(record)
    return {
        title: {m: statistics.mean(np.array([_values(record, m) for record in records])) for m in METRICS}
        for title, records in found.items()
    }
