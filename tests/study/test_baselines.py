"""Filters and observer: they are chosen on training images and scored as a run is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

from retlib.data import FundusSample, load_dataset
from retlib.inference import probabilities
from retlib.metrics import evaluate
from retlib.studies import load_study
from retlib.study import Selection, baselines
from retlib.study.baselines import BaselineConfig, baseline_of, has_second_observer, run_baseline

PHANTOMS = {"count": 4, "height": 64, "width": 72}
TRAIN = Selection(dataset="phantom", split="training", options=PHANTOMS)
TEST = Selection(dataset="phantom", split="test", options=PHANTOMS)


def config(method: str, **changes: object) -> BaselineConfig:
    """A baseline on small phantoms."""
    values = {"profile": "smoke", "method": method, "train": TRAIN, "test": (TEST,)}
    values |= {"candidates": baselines.CANDIDATES[method][:2]}
    if method == "second_observer":
        values |= {"train": None, "scoring": {"threshold": 0.5}}
    return BaselineConfig.parse({**values, **changes})


def test_the_rim_of_the_fov_is_no_vessel() -> None:
    """An even retina on black: nothing may answer, and the photograph's black surround must not."""
    y, x = np.mgrid[:80, :80]
    fov = np.hypot(y - 40, x - 40) < 36
    image = np.repeat((fov * 120).astype(np.uint8)[..., None], 3, axis=2)
    sample = FundusSample("even", image, np.zeros_like(fov), fov)
    for method, options in (("frangi", (1, 2)), ("matched_filter", (2, 9))):
        assert np.abs(baselines.respond(method, sample, options, 1000)).max() < 1e-2
    shrunk = baselines.respond("matched_filter", sample, (2, 9), 40)
    assert shrunk.shape == fov.shape


# --- records -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["frangi", "matched_filter"])
def test_a_filters_record_holds_what_the_filter_says(method: str, tmp_path: Path) -> None:
    record = run_baseline(config(method), tmp_path)
    found = record.content["fitted"]
    samples = list(load_dataset("phantom", "test", **PHANTOMS))
    logits = [
        found["slope"] * np.arcsinh(baselines.respond(method, s, found["options"], 1000) / found["scale"])
        + found["offset"]
        for s in samples
    ]
    threshold = record.content["threshold"]
    for index, (sample, scores) in enumerate(zip(samples, map(probabilities, logits), strict=True)):
        inside = sample.fov
        row = {key: values[index] for key, values in record.per_image().items()}
        assert row["auc"] == pytest.approx(roc_auc_score(sample.vessels[inside], scores[inside]), abs=1e-4)
        expected = average_precision_score(sample.vessels[inside], scores[inside])
        assert row["average_precision"] == pytest.approx(expected, abs=1e-3)
        again = evaluate(scores, sample.vessels, fov=inside, threshold=threshold)
        assert row["dice"] == pytest.approx(again["dice"], abs=2e-3)
    assert record.metrics()["auc"] > 0.7
    assert record.content["timing"]["inference_cpu_s_per_image"] > 0
    assert run_baseline(config(method), tmp_path).content == record.content
    best = max(found["candidates"], key=lambda candidate: candidate["average_precision"])
    assert best["options"] == found["options"]


def test_test_labels_decide_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other labels of the test images: the same scales, the same threshold, the same probabilities."""
    sound = run_baseline(config("matched_filter"), tmp_path / "a")
    load = baselines._load

    def tampered(selection: Selection, root: str | None) -> list[FundusSample]:
        samples = load(selection, root)
        return [replace(s, vessels=~s.vessels) for s in samples] if selection.split == "test" else samples

    monkeypatch.setattr(baselines, "_load", tampered)
    other = run_baseline(config("matched_filter"), tmp_path / "b")
    assert other.content["fitted"] == sound.content["fitted"]
    assert other.content["threshold"] == sound.content["threshold"]
    assert other.metrics()["dice"] != sound.metrics()["dice"]


def test_the_observer_is_scored_as_a_segmentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = baselines._load

    def observed(selection: Selection, root: str | None) -> list[FundusSample]:
        return [replace(s, second_observer=ndimage.binary_dilation(s.vessels)) for s in load(selection, root)]

    monkeypatch.setattr(baselines, "_load", observed)
    record = run_baseline(config("second_observer"), tmp_path)
    for index, sample in enumerate(observed(TEST, None)):
        expected = evaluate(sample.second_observer.astype(float), sample.vessels, fov=sample.fov)
        for metric in ("dice", "sensitivity", "specificity", "cldice"):
            assert record.per_image()[metric][index] == pytest.approx(expected[metric])
    counts = record.histograms().select(region="fov").counts(0.5)
    assert float(counts.dice) == pytest.approx(record.metrics(average="pooled")["dice"])


def test_no_observer_no_row(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="second observer, and there is none"):
        run_baseline(config("second_observer"), tmp_path)


def test_ids_follow_config_and_data() -> None:
    one = config("frangi")
    assert one.identify() == config("frangi").identify()
    assert one.identify() != config("frangi", candidates=[[1.0, 2.0]]).identify()
    assert (
        one.identify()
        != config("frangi", test=[{**TEST.model_dump(), "options": {**PHANTOMS, "width": 80}}]).identify()
    )
    assert one.identify() != config("matched_filter").identify()


def test_baselines_of_the_study() -> None:
    """On the training and test images of a run; the observer where the data set has one, which HRF has not."""
    runs = load_study("one-protocol").runs("lite", 0)
    for run in runs.values():
        selection = run.test[0]
        assert has_second_observer(selection) == (selection.dataset != "hrf")
    for run in list(runs.values())[:3]:
        baseline = baseline_of("frangi", run)
        assert baseline.train == run.train and baseline.test == run.test[:1]
        assert not set(baseline.train.names()) & set(baseline.test[0].names())


def test_the_observer_of_drive_has_its_published_score(data_root: Path, tmp_path: Path) -> None:
    """Dice 0.788 inside the FOV, as Idiap prints it, and hardly a broken vessel."""
    run = load_study("one-protocol").runs("lite", 0, dataset="drive")["drive-unet"]
    record = run_baseline(baseline_of("second_observer", run), tmp_path, root=str(data_root))
    assert record.metrics()["dice"] == pytest.approx(0.788, abs=5e-4)
    assert record.metrics()["betti0_error"] < 2
