"""Costs of faults of the protocol: again by hand or by scikit-learn on the very pixels, and how they are recorded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from retlib.data import FundusSample
from retlib.inference import probabilities
from retlib.study import Record, RunConfig, Store, StudyFile
from retlib.study.notebook import Study
from retlib.study.parameters import Parameters
from retlib.study.scoring import score_test
from tests.pages import functions_of

faults = functions_of("protocol_faults")
THRESHOLD = 0.5
RUNS = ("drive-unet", "drive-segnet")
PHANTOMS = {"count": 4, "height": 64, "width": 72}


def small_study() -> StudyFile:
    """Two networks on synthetic images, a second a run."""
    training = {"epochs": 3, "batch_size": 2, "learning_rate": 0.01, "loss_region": "fov", "average_weights": 0.5}
    base = {"role": "table", "dataset": "drive", "validation": 0, "inputs": {"preprocessing": ["green"]}}
    base |= {"train": {"dataset": "phantom", "split": "training", "options": PHANTOMS}}
    base |= {"test": [{"dataset": "phantom", "split": "test", "options": PHANTOMS}], "training": training}
    runs = {
        "drive-unet": {"model": "unet", "model_options": {"width": 4, "depth": 2}},
        "drive-segnet": {"model": "segnet", "model_options": {"width": 4}},
    }
    plan = {"base": base | {"scoring": {"threshold": "training"}}, "list": runs}
    return StudyFile.parse(
        {"key": "small", "title": "Small", "about": "For tests", "seeds": {"drive": [0, 1]}, "runs": plan}
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """The study with the records of both networks and seeds, and those that faults need."""
    folder = tmp_path_factory.mktemp("faults")
    parameters = Parameters(profile="lite", seeds=(0, 1), device="cpu", train="missing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETLIB_CACHE", str(folder / "cache"))
        patch.delenv("RETLIB_DATA", raising=False)
        made = Study(small_study(), parameters, Store(folder / "records"))
        made.train(RUNS)
        faults.make_records(made, RUNS)
        yield made


def first_run(study: Study) -> RunConfig:
    return study.source.config("drive-unet", "lite", 0)


# --- the surround ------------------------------------------------------------------------------------------------


@pytest.fixture
def samples() -> list[FundusSample]:
    """Small discs; the second has a vessel that leaves its FOV, the third a vessel outside alone."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :44]
    fov = np.hypot(y - 20, x - 22) < 17
    made = []
    for index in range(3):
        vessels = (np.abs(x - y - index) < 2) & (fov | (index == 1))
        if index == 2:
            vessels = (x < 3) & (y < 3)
        image = rng.integers(0, 255, (*fov.shape, 3), dtype=np.uint8)
        made.append(FundusSample(f"image {index}", image, vessels, fov))
    return made


@pytest.fixture
def logits(samples: list[FundusSample]) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [(rng.normal(size=s.fov.shape) * 2 + 2 * s.vessels - 1).astype(np.float32) for s in samples]


@pytest.fixture
def record(tmp_path: Path, samples: list[FundusSample], logits: list[np.ndarray]) -> Record:
    entry, files = score_test("phantom:test", logits, samples, THRESHOLD, "fov")
    config = {"scoring": {"region": "fov", "average": "image"}, "profile": "smoke"}
    content = {"id": "one", "config": config, "threshold": THRESHOLD, "tests": {"phantom:test": entry}}
    return Store(tmp_path).write(content, files)


def test_a_blanked_frame_is_the_frame_with_a_blanked_prediction(
    record: Record, samples: list[FundusSample], logits: list[np.ndarray]
) -> None:
    found = faults.blanked_frame(record)
    for index, (sample, values) in enumerate(zip(samples, logits, strict=True)):
        scores = probabilities(values).astype(np.float64)
        scores[~sample.fov] = -1.0  # below every probability
        truth, called = sample.vessels.ravel(), (scores >= THRESHOLD).ravel()
        assert found["auc"][index] == pytest.approx(sk.roc_auc_score(truth, scores.ravel()), abs=1e-9)
        assert found["accuracy"][index] == pytest.approx(sk.accuracy_score(truth, called))
        assert found["dice"][index] == pytest.approx(sk.f1_score(truth, called))
        assert found["sensitivity"][index] == pytest.approx(sk.recall_score(truth, called))
        assert found["specificity"][index] == pytest.approx(sk.recall_score(~truth, ~called))
        assert found["mcc"][index] == pytest.approx(sk.matthews_corrcoef(truth, called))


def test_what_is_predicted_outside(record: Record, samples: list[FundusSample], logits: list[np.ndarray]) -> None:
    called = [probabilities(values) >= THRESHOLD for values in logits]
    outside = sum((c & ~s.fov).sum() for c, s in zip(called, samples, strict=True))
    alarms = sum((c & ~s.vessels).sum() for c, s in zip(called, samples, strict=True))
    alarms_outside = sum((c & ~s.vessels & ~s.fov).sum() for c, s in zip(called, samples, strict=True))
    found = faults.predicted_outside(record)
    assert found == pytest.approx((outside / sum((~s.fov).sum() for s in samples), alarms_outside / alarms))


# --- costs of runs -----------------------------------------------------------------------------------------------


def test_costs_of_a_record_by_hand(study: Study) -> None:
    record = study.store.find(first_run(study))
    costs = faults.record_costs(record).set_index(["fault", "metric"])
    sound, frame = (record.metrics(region=region, average="image") for region in ("fov", "frame"))
    for metric in ("accuracy", "specificity", "auc", "dice"):
        assert costs.loc[(faults.FRAME, metric), "faulty"] == pytest.approx(frame[metric])
        assert costs.loc[(faults.FRAME, metric), "sound"] == pytest.approx(sound[metric])
        blanked = faults.blanked_frame(record)[metric].mean()
        assert costs.loc[(faults.BLANKED, metric), "faulty"] == pytest.approx(blanked)
    # Nothing predicted outside: no false positive is added, so fewer mistakes than with what the network says there.
    assert costs.loc[(faults.BLANKED, "accuracy"), "faulty"] >= costs.loc[(faults.FRAME, "accuracy"), "faulty"]
    # A threshold that saw the test images cannot be worse there, and one for each image is best of all.
    chosen = [costs.loc[(fault, "dice"), "faulty"] for fault in (faults.TEST_THRESHOLD, faults.IMAGE_THRESHOLD)]
    assert sound["dice"] <= chosen[0] + 1e-12 and chosen[0] <= chosen[1] + 1e-12
    histogram = record.histograms().select(region="fov", pooled=False)
    best = max(np.nanmean(histogram.counts(t).dice) for t in histogram.thresholds if 0 < t < 1)
    assert chosen[0] == pytest.approx(best)


def test_costs_of_a_study_hold_every_run_and_seed(study: Study) -> None:
    costs = faults.costs_of(study, RUNS)
    counts = costs.groupby(["fault", "metric"])["run"].agg(["size", "nunique"])
    for fault, metrics in faults.FAULTS.items():
        expected = {faults.RESIZED: (2, 2), faults.TEST_EPOCH: (1, 1)}.get(fault, (4, 2))  # the first seed alone
        assert all(tuple(counts.loc[(fault, metric)]) == expected for metric in metrics)
    assert set(zip(costs["run"], costs["model"], strict=True)) == {("drive-unet", "unet"), ("drive-segnet", "segnet")}
    assert faults.costs_of(study, ["drive-segnet"])["run"].unique().tolist() == ["drive-segnet"]
    empty = replace(study, store=Store(study.store.path / "nothing"))
    assert faults.costs_of(empty, RUNS).empty and "sound" in faults.costs_of(empty, RUNS)


def test_labels_that_keep_their_size_cost_nothing(study: Study) -> None:
    run = first_run(study)
    sound = study.store.find(run)
    shared = {"profile": run.profile, "scoring": run.scoring, "run": run}
    same = faults.rescore(faults.RescoredConfig(**shared, grid=(64, 72)), study)
    costs = faults.extra_costs(same, sound)
    assert costs["faulty"].tolist() == pytest.approx(costs["sound"].tolist())
    other = faults.rescore(faults.RescoredConfig(**shared, grid=(48, 40)), study)
    costs = faults.extra_costs(other, sound)
    assert (costs["faulty"] - costs["sound"]).abs().max() > 1e-4
    assert other.id != same.id != sound.id
    assert faults.extra_costs(other, None) is None


def test_the_last_epoch_is_the_run_itself(study: Study) -> None:
    run = first_run(study)
    record, sound = study.store.find(faults.EpochsConfig.of(run, every=1)), study.store.find(run)
    rows = record.content["epochs"]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[-1]["threshold"] == pytest.approx(sound.content["threshold"])
    for metric in ("dice", "auc"):
        assert rows[-1][metric] == pytest.approx(sound.metrics(region="fov", average="image")[metric], abs=1e-9)
    assert [row["train_loss"] for row in record.history] == [row["train_loss"] for row in sound.history]
    dice = faults.extra_costs(record, sound).set_index("metric").loc["dice"]
    assert dice["faulty"] == max(row["dice"] for row in rows) and dice["sound"] == rows[-1]["dice"]


def test_a_run_that_stops_by_validation_is_refused(study: Study) -> None:
    run = first_run(study)
    training = run.training.model_copy(update={"keep": "best"})
    changed = run.model_copy(update={"training": training, "validation": 0.25})
    with pytest.raises(ValueError, match="last epoch counts"):
        faults.score_epochs(faults.EpochsConfig.of(changed, every=1), study)


# --- records -----------------------------------------------------------------------------------------------------


def test_nothing_is_made_when_training_is_off(study: Study) -> None:
    still = replace(study, parameters=study.parameters.model_copy(update={"train": "never"}))
    before = len(study.store)
    assert still.train(RUNS) == [] and faults.make_records(still, RUNS) == [] and len(study.store) == before


def test_without_weights_nothing_is_rescored(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = first_run(study)
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path))
    config = faults.RescoredConfig(profile=run.profile, scoring=run.scoring, run=run, grid=(50, 50))
    assert faults.rescore(config, study) is None


def test_what_lacks_weights_is_left_out_and_named(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Two rescorings and the epochs are there; elsewhere, without weights and with one record less, it goes on."""
    made = faults.make_records(study, RUNS)
    assert len(made) == 3 and capsys.readouterr().out.count("there already") == 3
    store = Store(tmp_path / "records")
    for record in study.store:
        if record.content["config"].get("kind") != "rescored":
            shutil.copytree(record.folder, store.path / record.id)
    elsewhere = replace(study, store=store)
    again = faults.make_records(elsewhere, RUNS)  # the weights are in the cache: made anew, equal
    assert [record.id for record in again] == [record.id for record in made]
    assert again[0].metrics() == made[0].metrics() and capsys.readouterr().out.count("made\n") == 2
    shutil.rmtree(store.path / again[0].id)
    shutil.rmtree(store.path / again[1].id)
    shutil.rmtree(store.path / store.find(first_run(study)).id)
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "empty"))
    assert [record.id for record in faults.make_records(elsewhere, RUNS)] == [made[2].id]
    said = capsys.readouterr().out.splitlines()
    lacking = "left out, the run has no record or this machine has not kept its weights"
    assert said[:2] == [f"{model}, labels resized: {lacking}" for model in ("unet", "segnet")]
