"""Score and record what needs no training, as runs are: two vessel filters and the second observer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import pandas as pd
import torch
from pydantic import Field

from retlib.data import FundusSample, load_dataset
from retlib.data.registry import COLLECTIONS
from retlib.device import environment
from retlib.filters import frangi_vesselness, matched_filter, working_channel
from retlib.metrics import ScoreHistograms
from retlib.study import NUMERICS, Record, RunConfig, ScoringSettings, Selection, Store, results
from retlib.study.config import Profile, Recorded
from retlib.study.records import Made, find_or_make
from retlib.study.scoring import best_threshold, score_test
from retlib.training.checkpoints import Clock

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
    """Describe a baseline on one data set. Equal configs give equal numbers."""

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

    def explicit_fields(self) -> dict[str, Any]:
        """List every field."""
        return self.model_dump(mode="json")

    def selections(self) -> dict[str, Selection]:
        """List the training images, where there are any, and the test images."""
        training = {} if self.train is None else {"train": self.train}
        return training | {selection.label: selection for selection in self.test}


def baseline_of(method: str, run: RunConfig) -> BaselineConfig:
    """Describe a baseline for a run: with the same training images, the same test images and the same region."""
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
    """Tell whether the data set has a second observer's labels of these images; reads no file."""
    if selection.dataset not in COLLECTIONS:  # phantoms
        return False
    files = COLLECTIONS[selection.dataset].files
    return all("second_observer" in files(name) for name in selection.names())


def run_baseline(
    config: BaselineConfig, store: Store | str | Path, *, root: str | Path | None = None, force: bool = False
) -> Record:
    """Make the record of one baseline, or return the record that exists.

    Raises:
        FileNotFoundError: the data is not there.
        ValueError: a test image has no second observer, or a filter's response is lower in vessels than elsewhere.
    """

    def make(_: Path) -> Made:
        test = _load(config.test[0], root)
        if config.method == "second_observer":
            threshold, fitted, timing, logits = 0.5, {}, {}, [_observed(sample) for sample in test]
        else:
            training = _load(config.train, root)
            fitted, training_logits = fit_filter(config, training)
            threshold = best_threshold(training_logits, training, config.scoring.region)
            clock = Clock()
            responses = [respond(config.method, sample, fitted["options"], config.longest) for sample in test]
            logits = [_to_logits(response, fitted) for response in responses]
            wall, cpu = clock.lap()
            timing = {"inference_s_per_image": wall / len(test), "inference_cpu_s_per_image": cpu / len(test)}
        entry, files = score_test(config.test[0].label, logits, test, threshold, config.scoring.region)
        content = {
            "model": {"parameters": 0},
            "fitted": fitted,
            "threshold": threshold,
            "history": [],
            "tests": {config.test[0].label: entry},
            "timing": timing,
            "environment": environment(torch.device("cpu")),
        }
        return content, files

    return find_or_make(config, store, root, make, force=force)


def respond(method: str, sample: FundusSample, options: Sequence[float], longest: int) -> np.ndarray:
    """Compute a filter's response to one photograph, float32 (H, W) on its own grid; the label is not used."""
    channel = working_channel(sample, longest)
    response = frangi_vesselness(channel, options) if method == "frangi" else matched_filter(channel, *options)
    height, width = sample.vessels.shape
    return cv2.resize(response, (width, height), interpolation=cv2.INTER_LINEAR)


def _load(selection: Selection, root: str | None) -> list[FundusSample]:
    return list(load_dataset(selection.dataset, selection.split, root, **selection.options))


def _observed(sample: FundusSample) -> np.ndarray:
    if sample.second_observer is None:
        raise ValueError(f"{sample.name}: expected a label by a second observer, and there is none")
    return np.where(sample.second_observer, np.inf, -np.inf).astype(np.float32)


def fit_filter(config: BaselineConfig, training: Sequence[FundusSample]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Choose a filter's options on some training images, and fit the logit of its response on all of them.

    The options are those of the highest pooled average precision. The logit follows from Platt's scaling, a logistic
    regression on one number. It is monotone, so it changes no ranking and no score at the chosen threshold; it makes
    the response a probability, which the calibration figures need.

    Returns:
        What a record says of the fit, and the logits of the training images, float32 (H, W) each.
    """
    from sklearn.linear_model import LogisticRegression

    region = config.scoring.region
    every = np.linspace(0, len(training) - 1, min(config.choose_on, len(training))).round().astype(int)
    some = [training[i] for i in dict.fromkeys(every.tolist())]
    candidates = []
    for options in config.candidates:
        responses = [respond(config.method, sample, options, config.longest) for sample in some]
        histograms = ScoreHistograms.from_logits(
            [s.name for s in some], responses, [s.vessels for s in some], [s.fov for s in some]
        )
        precision = float(histograms.select(region=region).average_precision())
        candidates.append({"options": list(options), "average_precision": precision})
    options = max(candidates, key=lambda candidate: candidate["average_precision"])["options"]
    responses = [respond(config.method, sample, options, config.longest) for sample in training]
    pixels, labels = [], []
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
        raise ValueError(f"{config.method}: on {config.train.label} its response is lower in vessels than elsewhere")
    fitted = {"candidates": candidates, "scale": scale, "slope": slope, "offset": offset, "options": options}
    fitted["training_images"] = [sample.name for sample in training]
    return fitted, [_to_logits(response, fitted) for response in responses]


def _to_logits(response: np.ndarray, fitted: Mapping[str, Any]) -> np.ndarray:
    scaled = np.arcsinh(response.astype(np.float64) / fitted["scale"])
    return (fitted["slope"] * scaled + fitted["offset"]).astype(np.float32)


def _in_domain(study: Study, profile: str) -> dict[tuple[str, int], tuple[str, RunConfig]]:
    """Pick the runs that baselines are compared with: (data set, fold) -> role and config.

    Each is the first run of the data set's table or folds that is trained and tested on the same data set.
    """
    picked: dict[tuple[str, int], tuple[str, RunConfig]] = {}
    for name, planned in study.source.plan(profile).items():
        config = study.source.config(name, profile, study.parameters.seeds[0])
        if planned.role in ("table", "fold") and config.train.dataset == config.test[0].dataset:
            place = planned.dataset or config.test[0].dataset, results.fold_of(name)[1]
            picked.setdefault(place, (planned.role, config))
    return picked


def train_baselines(study: Study, methods: Iterable[str] = METHODS) -> list[Record]:
    """Make the missing baselines for a study's runs, as far as the notebook's parameters allow it."""
    if study.parameters.train == "never":
        return []
    force = study.parameters.train == "always"
    return [
        run_baseline(baseline_of(method, run), study.store, root=study.root, force=force)
        for _, run in _in_domain(study, study.parameters.profile).values()
        for method in methods
        if method != "second_observer" or has_second_observer(run.test[0])
    ]


def baseline_scores(study: Study, methods: Iterable[str] = METHODS) -> pd.DataFrame:
    """Read the scores of the baselines for a study's runs into rows of the table of scores, in all its profiles.

    The run is named by data set, fold and method (``stare-fold2-frangi``, of the group ``stare-frangi``), the model is
    the method, and the kind is ``filter`` or ``observer``. A method that lacks the record of a fold is left out.

    Returns:
        A frame with the columns of :mod:`retlib.study.results`; empty where no baseline has a record.
    """
    frames = []
    for profile in study.profiles:
        runs = _in_domain(study, profile)
        for dataset in dict.fromkeys(dataset for dataset, _ in runs):
            folds = {fold: run for (name, fold), run in runs.items() if name == dataset}
            for method in methods:
                baselines = [baseline_of(method, config) for _, config in folds.values()]
                records = [study.store.find(baseline, root=study.root) for baseline in baselines]
                if None in records:
                    continue
                kind = "observer" if method == "second_observer" else "filter"
                for (fold, (role, _)), record in zip(folds.items(), records, strict=True):
                    name = f"{dataset}-fold{fold}-{method}" if fold else f"{dataset}-{method}"
                    about = {"source": study.source.key, "run": name, "role": role, "dataset": dataset, "kind": kind}
                    frames.append(results.tidy(record, **about))
    return results.join(frames)
