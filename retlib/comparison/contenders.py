"""Contenders: what is compared on one data set, with the records that speak for it (seeds, and folds joined)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retlib.studies import load_study
from retlib.study import Record, RunConfig, Store, StudyFile, run, statistics
from retlib.study.baselines import METHODS, baseline_configs, find_baseline, has_second_observer, run_baseline
from retlib.study.notebook import PRECEDENCE, data_folder, open_store
from retlib.study.parameters import Parameters

MODEL_TITLES = {
    "unet": "U-Net",
    "unetpp": "UNet++",
    "resunet": "ResUNet",
    "resunetpp": "ResUNet++",
    "attention_unet": "Attention U-Net",
    "segnet": "SegNet",
    "r2unet": "R2U-Net",
    "convlstm_unet": "ConvLSTM U-Net",
    "res_unet": "Res-UNet",
    "resaspp_unet": "ResASPP-UNet",
    "af_unet": "AF-UNet",
    "attention_unetpp": "Attention U-Net++",
    "attention_unetpp_resnet34": "Attention U-Net++ (ResNet-34)",
}
DATASETS = {"drive": "DRIVE", "stare": "STARE", "chase_db1": "CHASE_DB1", "hrf": "HRF"}
STUDY = "one-protocol"
# A smoke run shows the pipeline, not a comparison.
SMOKE_NETWORKS, SMOKE_SEEDS = 3, 2
# What a binary label has no ranking for.
RANKED = ("auc", "average_precision")


@dataclass(frozen=True)
class Contender:
    """A network, a filter or a person on one data set.

    Attributes:
        key: the model's or the baseline's name.
        title: for people.
        kind: ``network``, ``filter`` or ``observer``; ``own`` for a network of ours that was trained by a longer
            recipe and takes no part in the comparison.
        dataset: the data set that it is compared on.
        profile: of its records; None where there is none.
        seeds: one entry a seed, each the records of that seed: one, or one a fold. Only complete seeds.
        note: what is missing, if anything.
        planned: how many images it is to be scored on, whether it has been or not.
    """

    key: str
    title: str
    kind: str
    dataset: str
    profile: str | None
    seeds: tuple[tuple[Record, ...], ...]
    note: str = ""
    planned: int = 0

    def __bool__(self) -> bool:
        """Whether there is a record."""
        return bool(self.seeds)

    @property
    def records(self) -> tuple[Record, ...]:
        """All records."""
        return tuple(record for seed in self.seeds for record in seed)

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the scored images, sorted, folds joined; each is there once.

        Raises:
            ValueError: an image was scored in two folds, or the seeds were scored on different images.
        """
        names = [[record.test()["images"] for record in seed] for seed in self.seeds]
        return joined_images(names, f"{self.title} on {self.dataset}")

    def per_image(self, metric: str, region: str = "fov") -> np.ndarray:
        """A metric of every image, float (seeds, images) in the order of `images`; NaN where undefined.

        A person's label ranks no pixels, so its AUC and average precision are NaN.
        """

        def scores(record: Record) -> dict[str, float]:
            names = record.test()["images"]
            column = record.per_image(region=region).get(metric, np.full(len(names), math.nan))
            return dict(zip(names, column.tolist(), strict=True))

        result = joined_scores([[scores(record) for record in seed] for seed in self.seeds], self.images)
        return np.full_like(result, math.nan) if self.kind == "observer" and metric in RANKED else result

    def paired(self, metric: str, region: str = "fov") -> np.ndarray:
        """One value an image: the mean over seeds, (images,)."""
        return self.per_image(metric, region).mean(axis=0)

    def value(self, metric: str, region: str = "fov") -> float:
        """Mean over images, then over seeds; NaN without a record."""
        return statistics.mean(self.per_image(metric, region)) if self else math.nan

    def interval(self, metric: str, region: str = "fov") -> tuple[float, float]:
        """95 % bootstrap interval of `value` over images and seeds."""
        return statistics.interval(self.per_image(metric, region)) if self else (math.nan, math.nan)

    @property
    def parameters(self) -> int | None:
        """Trained weights; None for a person, and without a record."""
        return None if not self or self.kind == "observer" else self.records[0].content["model"]["parameters"]

    @property
    def cpu_seconds(self) -> float:
        """Seconds of one core an image, summed over threads; NaN where no record has them (older ones do not)."""
        return self.fewest("inference_cpu_s_per_image")

    @property
    def wall_seconds(self) -> float:
        """Seconds an image by the clock on the wall, which counts what else the machine did; NaN without a record."""
        return self.fewest("inference_s_per_image")

    def fewest(self, name: str) -> float:
        """The least of a time (of a record's ``timing``) among records made on a CPU; NaN where none has it."""
        found = [
            record.content["timing"].get(name, math.nan)
            for record in self.records
            if record.content["environment"]["device"] == "cpu"
        ]
        known = [value for value in found if not math.isnan(value)]
        return min(known) if known else math.nan

    @property
    def evidence(self) -> str:
        """What its numbers rest on, in a few words."""
        if not self:
            return self.note or "not run"
        seeds = len(self.seeds)
        words = {"filter": "no training", "observer": "a person"}.get(
            self.kind, f"{self.profile}, {seeds} seed{'s' if seeds > 1 else ''}"
        )
        if len(self.seeds[0]) > 1:
            words += f", {len(self.seeds[0])} folds"
        if self.kind == "own":
            words += ", longer recipe, not ranked"
        return words + (" (stale)" if any(record.stale for record in self.records) else "")


def joined_images(seeds: Sequence[Sequence[Sequence[str]]], what: str) -> tuple[str, ...]:
    """Names of the images that every seed scored, its folds joined, sorted.

    Args:
        seeds: for each seed, for each of its parts (one, or one a fold), the names of the images.
        what: opens the error message.

    Raises:
        ValueError: an image was scored in two folds, or the seeds were scored on different images.
    """
    found = {tuple(sorted(name for part in seed for name in part)) for seed in seeds}
    if len(found) > 1 or any(len(set(names)) < len(names) for names in found):
        raise ValueError(f"{what}: its records do not score each image once")
    return next(iter(found), ())


def joined_scores(seeds: Sequence[Sequence[Mapping[str, float]]], images: Sequence[str]) -> np.ndarray:
    """One score an image, float (seeds, images), from image -> score of each part of each seed."""
    rows = [{name: value for part in seed for name, value in part.items()} for seed in seeds]
    found = [[row[name] for name in images] for row in rows]
    return np.array(found, dtype=np.float64).reshape(len(seeds), -1)


@dataclass(frozen=True)
class Comparison:
    """What the notebook works with: a study of runs under one protocol, parameters, and a store."""

    study: StudyFile
    parameters: Parameters
    store: Store

    @property
    def root(self) -> str | None:
        """Folder of the data sets, or None where there is none."""
        return data_folder(self.parameters)

    def schedule(self, profile: str | None = None) -> list[tuple[str, int, RunConfig]]:
        """(name, seed, config) of every run, in the order in which they are due; of the parameters' seeds alone.

        Of the smoke profile the first networks and seeds alone: it shows the pipeline, not a comparison.
        """
        profile = profile or self.parameters.profile
        due = [entry for entry in self.study.schedule(profile) if entry.seed in self.parameters.seeds]
        if profile == "smoke":
            first = list(dict.fromkeys(model_key(entry.name) for entry in due))[:SMOKE_NETWORKS]
            due = [e for e in due if model_key(e.name) in first and e.seed in self.parameters.seeds[:SMOKE_SEEDS]]
        return [(name, seed, config) for name, seed, config in due]

    def train(self) -> list[Record]:
        """Make the missing records, as far as the parameters allow: the runs, then the baselines beside them."""
        if self.parameters.train == "never":
            return []
        force = self.parameters.train == "always"
        configs = [config for _, _, config in self.schedule()]
        made = [run(c, self.store, root=self.root, device=self.parameters.device, force=force) for c in configs]
        return made + [run_baseline(c, self.store, root=self.root, force=force) for c in baseline_configs(configs)]

    def contenders(self) -> dict[str, list[Contender]]:
        """Data set -> its contenders in the order of the study: networks, filters, the observer where there is one."""
        found: dict[str, list[Contender]] = {}
        profiles = PRECEDENCE[self.parameters.profile]
        plans = {profile: self._planned(profile) for profile in profiles}
        for dataset in dict.fromkeys(key for plan in plans.values() for key in plan):
            models = dict.fromkeys(model for plan in plans.values() for model in plan.get(dataset, {}))
            members = [self._network(dataset, model, plans) for model in models]
            found[dataset] = members + self._baselines(dataset, plans)
        return found

    def _planned(self, profile: str) -> dict[str, dict[str, dict[int, list[RunConfig]]]]:
        """Data set -> model -> seed -> its configs, one or one a fold."""
        planned = self.study.plan(profile)
        found: dict[str, dict[str, dict[int, list[RunConfig]]]] = {}
        for name, seed, config in self.schedule(profile):
            if planned[name].role in ("table", "fold"):
                dataset = planned[name].dataset or config.test[0].dataset
                key = model_key(name)
                found.setdefault(dataset, {}).setdefault(key, {}).setdefault(seed, []).append(config)
        return found

    def _network(self, dataset: str, model: str, plans: Mapping[str, dict]) -> Contender:
        title = MODEL_TITLES.get(model, model)
        note, planned = "", 0
        for profile, plan in plans.items():
            complete = []
            for configs in plan.get(dataset, {}).get(model, {}).values():
                planned = sum(len(config.test[0].names()) for config in configs)
                records = [self.store.find(config, root=self.root) for config in configs]
                there = tuple(record for record in records if record is not None)
                if len(there) == len(configs):
                    complete.append(there)
                elif there:
                    note = f"{len(there)} of {len(configs)} folds"
            if complete:
                return Contender(model, title, "network", dataset, profile, tuple(complete), planned=planned)
        return Contender(model, title, "network", dataset, None, (), note, planned)

    def _baselines(self, dataset: str, plans: Mapping[str, dict]) -> list[Contender]:
        """The filters and the observer, beside the runs of the first profile that has them all."""
        found = []
        for method, title in METHODS.items():
            kind = "observer" if method == "second_observer" else "filter"
            best = None
            for profile, plan in reversed(plans.items()):  # the same for every profile of real images: lite's will do
                configs = next(iter(next(iter(plan.get(dataset, {None: {}}).values())).values()), [])
                if not configs or (kind == "observer" and not has_second_observer(configs[0].test[0])):
                    continue
                records = [find_baseline(self.store, method, config, self.root) for config in configs]
                there = tuple(record for record in records if record is not None)
                if len(there) == len(configs):
                    best = Contender(method, title, kind, dataset, profile, (there,))
                    break
                note = f"{len(there)} of {len(configs)} folds" if there else ""
                best = best or Contender(method, title, kind, dataset, None, (), note)
            found += [best] if best is not None else []
        return found


def open_comparison(parameters: Parameters, notebook_folder: str | Path = ".", study: str = STUDY) -> Comparison:
    """The comparison for a notebook; where its records are is decided as for a paper's notebook."""
    return Comparison(load_study(study), parameters, open_store(parameters, notebook_folder))


def model_key(name: str) -> str:
    """The model's part of a run's name: ``unet`` of ``drive-unet`` and of ``stare-fold2-unet``."""
    return re.sub(r"^[a-z0-9_]+-(?:fold\d+-)?", "", name)


def with_records(contenders: Iterable[Contender], kinds: Sequence[str] = ("network",)) -> list[Contender]:
    """Those of some kinds that have a record."""
    return [item for item in contenders if item and item.kind in kinds]


def best_by(contenders: Iterable[Contender], metric: str = "dice") -> Contender | None:
    """The one with the highest value; None without any."""
    known = [item for item in contenders if not math.isnan(item.value(metric))]
    return max(known, key=lambda item: item.value(metric), default=None)
