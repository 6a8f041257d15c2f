"""Rows that need no training, scored and recorded as a run is: two vessel filters and the second observer."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import Field, model_validator

from retlib.data import FundusSample, load_dataset
from retlib.data.registry import COLLECTIONS
from retlib.metrics import ScoreHistograms
from retlib.study import NUMERICS, Record, RunConfig, ScoringSettings, Selection, Store, results
from retlib.study.config import Profile, Recorded
from retlib.study.environment import environment
from retlib.study.filters import frangi_vesselness, matched_filter, to_native, working_channel
from retlib.study.scoring import best_threshold, score_test

if TYPE_CHECKING:
    from retlib.study.notebook import Study

METHODS = {"frangi": "Frangi filter", "matched_filter": "matched filter", "second_observer": "second observer"}

# Sets of scales (sigma, pixels) for Frangi, and (sigma, L) for the matched filter: Chaudhuri's own, and enlarged.
CANDIDATES: dict[str, tuple[tuple[float, ...], ...]] = {
    "frangi": ((1, 2), (1, 2, 3), (2, 3), (2, 3, 4), (3, 4, 5)),
    "matched_filter": ((2, 9), (3, 13.5), (4, 18)),
    "second_observer": (),
}


class BaselineConfig(Recorded):
    """A baseline on one data set. Equal configs give equal numbers; its id is its hash, as a run's is."""

    kind: Literal["baseline"] = "baseline"
    profile: Profile
    numerics: int = NUMERICS
    method: Literal["frangi", "matched_filter", "second_observer"]
    train: Selection | None = None  # where scales, threshold and probabilities come from
    test: tuple[Selection] = Field(min_length=1)
    candidates: tuple[tuple[float, ...], ...] = ()  # the best by pooled average precision on training images is taken
    choose_on: int = Field(5, ge=1)  # training images, evenly spaced, that the candidates are compared on
    longest: int = Field(1000, ge=32)  # larger photographs are filtered at this longer side, and scored on their own
    scoring: ScoringSettings = ScoringSettings(threshold="training")

    @model_validator(mode="after")
    def _filters_look_at_training_images(self) -> BaselineConfig:
        if self.method != "second_observer" and (self.train is None or not self.candidates):
            raise ValueError(f"{self.method} needs training images (train) and candidates to choose from")
        return self

    def stated(self) -> dict[str, Any]:
        """Every field."""
        return self.model_dump(mode="json")

    def selections(self) -> dict[str, Selection]:
        """The training images, where there are any, and the test images."""
        training = {} if self.train is None else {"train": self.train}
        return training | {selection.label: selection for selection in self.test}


def baseline_of(method: str, run: RunConfig) -> BaselineConfig:
    """The baseline that stands beside a run: the same training images, the same test images, the same region."""
    observer = method == "second_observer"
    return BaselineConfig(
        profile=run.profile,
        method=method,
        train=None if observer else run.train,
        test=run.test[:1],
        candidates=CANDIDATES[method],
        scoring=ScoringSettings(region=run.scoring.region, threshold=0.5 if observer else "training"),
    )


def has_second_observer(selection: Selection) -> bool:
    """Whether the data set comes with a second observer's labels of these images; reads no file."""
    if selection.dataset not in COLLECTIONS:  # phantoms
        return False
    files = COLLECTIONS[selection.dataset].files
    return all("second_observer" in files(name) for name in selection.names())


def baseline_configs(runs: Iterable[RunConfig], methods: Iterable[str] = METHODS) -> list[BaselineConfig]:
    """The baselines that stand beside some runs, each once: both filters, and the second observer where there is one.

    Args:
        runs: runs of one protocol; their training and test selections are taken over.
        methods: keys of :data:`METHODS`.
    """
    found: dict[str, BaselineConfig] = {}
    for run in runs:
        for method in methods:
            if method != "second_observer" or has_second_observer(run.test[0]):
                config = baseline_of(method, run)
                found.setdefault(config.canonical(), config)
    return list(found.values())


def run_baselines(
    store: Store | str | Path,
    runs: Iterable[RunConfig],
    *,
    methods: Iterable[str] = METHODS,
    root: str | None = None,
    force: bool = False,
) -> list[Record]:
    """Make the records of all baselines that stand beside some runs, or find those that are there.

    Args:
        store: where records live.
        runs: see :func:`baseline_configs`.
        methods: keys of :data:`METHODS`.
        root: folder of the data sets; RETLIB_DATA by default.
        force: make them again even if they are there.
    """
    store = store if isinstance(store, Store) else Store(store)
    return [run_baseline(config, store, root=root, force=force) for config in baseline_configs(runs, methods)]


def run_baseline(
    config: BaselineConfig, store: Store | str | Path, *, root: str | None = None, force: bool = False
) -> Record:
    """Make the record of one baseline, or return the one that is there.

    Raises:
        FileNotFoundError: the data is not there.
        ValueError: a test image has no second observer, or a filter's response falls where vessels are.
    """
    store = store if isinstance(store, Store) else Store(store)
    header = config.header(root)
    if not force and (record := store.get(header["id"])) is not None:
        return record
    test = _load(config.test[0], root)
    timing: dict[str, float] = {}
    if config.method == "second_observer":
        threshold, fitted, logits = 0.5, {}, [_observed(sample) for sample in test]
    else:
        training = _load(config.train, root)
        options, to_logits, training_logits, fitted = _fit(config, training)
        threshold = best_threshold(training_logits, training, config.scoring.region)
        started, cpu_started = time.perf_counter(), time.process_time()
        logits = [to_logits(sample) for sample in test]
        timing = {
            "inference_s_per_image": (time.perf_counter() - started) / len(test),
            "inference_cpu_s_per_image": (time.process_time() - cpu_started) / len(test),
        }
        fitted |= {"options": list(options), "training_images": [s.name for s in training]}
    entry, files = score_test(config.test[0].label, logits, test, threshold, config.scoring.region)
    content = {
        **header,
        "model": {"parameters": 0},
        "fitted": fitted,
        "threshold": threshold,
        "history": [],
        "tests": {config.test[0].label: entry},
        "timing": timing,
        "environment": environment(torch.device("cpu")),
    }
    return store.write(content, files)


def respond(method: str, sample: FundusSample, options: Sequence[float], longest: int) -> np.ndarray:
    """A filter's response to one photograph, float32 (H, W); the label is not looked at."""
    channel = working_channel(sample, longest)
    response = frangi_vesselness(channel, options) if method == "frangi" else matched_filter(channel, *options)
    return to_native(response, sample.vessels.shape)


def _load(selection: Selection, root: str | None) -> list[FundusSample]:
    return list(load_dataset(selection.dataset, selection.split, root, **selection.options))


def _observed(sample: FundusSample) -> np.ndarray:
    if sample.second_observer is None:
        raise ValueError(f"{sample.name}: expected a label by a second observer, and there is none")
    return np.where(sample.second_observer, np.inf, -np.inf).astype(np.float32)


def _fit(config: BaselineConfig, training: Sequence[FundusSample]):
    """Options by average precision on some training images, then response -> logit by Platt's scaling on all.

    Platt's scaling (a logistic regression on one number) is monotone, so it changes no ranking and no score at the
    chosen threshold; it makes the response a probability, which the calibration figures need.
    """
    from sklearn.linear_model import LogisticRegression

    region = config.scoring.region
    every = np.linspace(0, len(training) - 1, min(config.choose_on, len(training))).round().astype(int)
    some = [training[i] for i in dict.fromkeys(every.tolist())]
    found: dict[tuple[float, ...], float] = {}
    for options in config.candidates:
        responses = [respond(config.method, s, options, config.longest) for s in some]
        histograms = ScoreHistograms.from_logits(
            [s.name for s in some], responses, [s.vessels for s in some], [s.fov for s in some]
        )
        found[options] = float(histograms.select(region=region).average_precision())
    options = max(found, key=found.__getitem__)
    pixels, labels = [], []
    responses = [respond(config.method, s, options, config.longest) for s in training]
    for sample, response in zip(training, responses, strict=True):
        mask = sample.fov if region == "fov" else np.ones_like(sample.fov)
        step = 1 + int(mask.sum()) // 50_000
        pixels.append(response[mask][::step])
        labels.append(sample.vessels[mask][::step])
    values, truth = np.concatenate(pixels), np.concatenate(labels)
    positive = values[values > 0]
    scale = float(np.median(positive)) if positive.size else 1.0
    model = LogisticRegression(C=1e6).fit(np.arcsinh(values[:, None].astype(np.float64) / scale), truth)
    slope, offset = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope <= 0:
        raise ValueError(f"{config.method}: its response falls where vessels are on {config.train.label}")

    def scaled(response: np.ndarray) -> np.ndarray:
        return (slope * np.arcsinh(response.astype(np.float64) / scale) + offset).astype(np.float32)

    def to_logits(sample: FundusSample) -> np.ndarray:
        return scaled(respond(config.method, sample, options, config.longest))

    candidates = [{"options": list(key), "average_precision": value} for key, value in found.items()]
    logits = [scaled(response) for response in responses]
    return options, to_logits, logits, {"candidates": candidates, "scale": scale, "slope": slope, "offset": offset}


def find_baseline(store: Store, method: str, run: RunConfig, root: str | None = None) -> Record | None:
    """The record of the baseline that stands beside a run, or None."""
    if method == "second_observer" and not has_second_observer(run.test[0]):
        return None
    return store.find(baseline_of(method, run), root=root)


def _in_domain(study: Study, profile: str) -> dict[tuple[str, int], tuple[str, RunConfig]]:
    """Pick the run that baselines stand beside: (data set, fold) -> its role and config.

    It is the first run of the data set's table or folds that is trained and tested on the same data set.
    """
    picked: dict[tuple[str, int], tuple[str, RunConfig]] = {}
    for name, planned in study.source.plan(profile).items():
        config = study.source.config(name, profile, study.parameters.seeds[0])
        if planned.role in ("table", "fold") and config.train.dataset == config.test[0].dataset:
            place = planned.dataset or config.test[0].dataset, results.fold_of(name)[1]
            picked.setdefault(place, (planned.role, config))
    return picked


def train_baselines(study: Study, methods: Iterable[str] = METHODS) -> list[Record]:
    """Make the missing baselines beside a study's runs, as far as the notebook's parameters allow it."""
    if study.parameters.train == "never":
        return []
    runs = [config for _, config in _in_domain(study, study.parameters.profile).values()]
    force = study.parameters.train == "always"
    return run_baselines(study.store, runs, methods=methods, root=study.root, force=force)


def baseline_scores(study: Study, methods: Iterable[str] = METHODS) -> pd.DataFrame:
    """Read the scores of filters and second observer beside a study's runs into rows of the table of scores.

    The run is named by data set, fold and method (``stare-fold2-frangi``, of the group ``stare-frangi``), the model is
    the method, and the kind is ``filter`` or ``observer``. A method that lacks the record of a fold is left out.

    Args:
        study: the study; baselines of all profiles that it may show are read.
        methods: keys of :data:`METHODS`.

    Returns:
        A frame with the columns of :mod:`retlib.study.results`; empty where no baseline has a record.
    """
    frames = []
    for profile in study.profiles:
        runs = _in_domain(study, profile)
        for dataset in dict.fromkeys(dataset for dataset, _ in runs):
            folds = {fold: run for (name, fold), run in runs.items() if name == dataset}
            for method in methods:
                records = [find_baseline(study.store, method, config, study.root) for _, config in folds.values()]
                if None in records:
                    continue
                kind = "observer" if method == "second_observer" else "filter"
                for (fold, (role, _)), record in zip(folds.items(), records, strict=True):
                    name = f"{dataset}-fold{fold}-{method}" if fold else f"{dataset}-{method}"
                    about = {"source": study.source.key, "run": name, "role": role, "dataset": dataset, "kind": kind}
                    frames.append(results.tidy(record, **about))
    return results.join(frames)


def learned(record: Record) -> Mapping[str, Any]:
    """What a filter took from the training images: options, scale, slope, offset; empty for the observer."""
    return record.content.get("fitted", {})
