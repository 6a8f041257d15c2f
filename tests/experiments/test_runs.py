"""run: equal configs, equal records; killed and resumed runs; the store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from retlib.device import pick_device
from retlib.inference import predict_logits, probabilities
from retlib.metrics import evaluate
from retlib.models import build_model
from retlib.predict.weights import read_state
from retlib.study import (
    OUTSIDE,
    Record,
    RunConfig,
    Store,
    load_samples,
    run,
    runner,
    weights_path,
)
from tests.experiments.conftest import tiny

UNTIMED = ("id", "config", "fingerprints", "model", "training", "threshold", "history", "tests")


def comparable(record: Record) -> str:
    """The record without times and hardware."""
    return json.dumps({key: record.content[key] for key in UNTIMED}, sort_keys=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """One finished run, with weights kept in a cache of its own."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETLIB_CACHE", str(folder / "cache"))
        return run(tiny(scoring={"threshold": "validation"}), folder / "records", device="cpu", progress=False)


def test_a_record_holds_what_design_asks(finished: Record) -> None:
    content = finished.content
    assert content["id"] == finished.folder.name == finished.config.identify()
    assert len(finished.history) == 4
    assert {"train_loss", "train_accuracy", "train_dice", "validation_loss"} <= set(finished.history[0])
    assert content["environment"]["packages"]["torch"]
    assert content["timing"]["training_s"] > 0
    assert content["timing"]["training_cpu_s"] > 0 and content["timing"]["inference_cpu_s_per_image"] > 0
    assert content["timing"]["samples_per_s"] > 0 and content["environment"]["peak_memory_mib"] > 0
    assert content["acceleration"]["workers"] == 0
    entry = finished.test()
    assert set(entry["metrics"]) == {"fov", "frame"}
    assert len(entry["images"]) == len(entry["per_image"]["fov"]["dice"]) == 4
    assert set(entry["cases"]) == {"best", "median", "worst", "first"}
    assert entry["cases"]["first"]["image"] == entry["images"][0]


def test_error_maps_count_as_the_metrics_do(finished: Record) -> None:
    entry = finished.test()
    for case, errors in finished.error_maps().items():
        index = entry["images"].index(entry["cases"][case]["image"])
        found, missed, false = (int((errors == value).sum()) for value in (1, 2, 3))
        dice = 2 * found / (2 * found + missed + false)
        assert dice == pytest.approx(finished.per_image(region="fov")["dice"][index], abs=1e-12)
        assert (errors == OUTSIDE).any()


def test_curves_come_back_from_the_histograms(finished: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stored histograms give scikit-learn's AUC and AP, and exact counts at the chosen threshold."""
    monkeypatch.setenv("RETLIB_CACHE", str(finished.folder.parents[1] / "cache"))
    config = finished.config
    model = build_model(config.model, in_channels=1, **config.model_options).eval()
    model.load_state_dict(read_state(weights_path(finished.id)))
    samples = load_samples(config.test[0], config, None)
    scores = np.concatenate([probabilities(predict_logits(model, s, config.inputs))[s.fov] for s in samples])
    truth = np.concatenate([s.vessels[s.fov] for s in samples])
    histogram = finished.histograms().select(region="fov", pooled=True)
    assert float(histogram.auc()) == pytest.approx(roc_auc_score(truth, scores), abs=1e-3)
    assert float(histogram.average_precision()) == pytest.approx(average_precision_score(truth, scores), abs=1e-3)
    threshold = finished.content["threshold"]
    expected = evaluate(scores[None], truth[None], threshold=threshold)
    got = histogram.metrics(threshold)
    for metric in ("accuracy", "sensitivity", "specificity", "dice", "mcc"):
        assert float(got[metric]) == pytest.approx(expected[metric], abs=1e-12)
        assert finished.metrics(average="pooled")[metric] == pytest.approx(expected[metric], abs=1e-12)


def test_two_runs_of_one_config_are_equal(tmp_path: Path) -> None:
    first = run(tiny(), tmp_path / "a", device="cpu", progress=False)
    second = run(tiny(), tmp_path / "b", device="cpu", progress=False)
    assert comparable(first) == comparable(second)
    for file in ("phantom-test.npz", "phantom-test.best.png"):
        assert (first.folder / file).read_bytes() == (second.folder / file).read_bytes()


def test_a_record_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    first = run(tiny(), tmp_path, device="cpu", progress=False)
    written = (first.folder / "record.json").stat().st_mtime_ns
    again = run(tiny(), tmp_path, device="cpu", progress=False)
    assert again.content == first.content
    assert (first.folder / "record.json").stat().st_mtime_ns == written
    run(tiny(), tmp_path, device="cpu", progress=False, force=True)
    assert (first.folder / "record.json").stat().st_mtime_ns > written
    assert [path.name for path in tmp_path.iterdir() if path.is_dir() and path.name.startswith(".")] == []


SCRIPT = """
import sys
from retlib.study import RunConfig, run
from retlib.training import loop
loop.CHECKPOINT_SECONDS = float(sys.argv[2])
config = RunConfig.model_validate_json(sys.stdin.read())
run(config, sys.argv[1], device="cpu", progress=False)
"""


AFTER_EPOCHS = tiny(
    training=tiny().training.model_dump() | {"epochs": 12, "keep": "best", "optimiser": "adamw"},
)
# Dropout draws from torch's generator all through an epoch of 150 steps.
INSIDE_AN_EPOCH = tiny(
    model="convlstm_unet",
    model_options={"width": 2, "depth": 2, "dropout": 0.5},
    training=tiny().training.model_dump()
    | {"epochs": 2, "augmented_copies": 0, "patches": {"size": 16, "per_epoch": 300}, "average_weights": 0.9},
)


@pytest.mark.timeout(500)
@pytest.mark.parametrize(("config", "every"), [(AFTER_EPOCHS, 300), (INSIDE_AN_EPOCH, 0)], ids=["after", "inside"])
def test_a_killed_run_resumes_and_ends_in_the_same_record(tmp_path: Path, config: RunConfig, every: int) -> None:
    """SIGKILL in the middle of training, start again: the record equals one of a run left alone, times apart."""
    alone = run(config, tmp_path / "alone", device="cpu", progress=False)

    cache = tmp_path / "cache-of-the-killed"
    environment = {**os.environ, "RETLIB_CACHE": str(cache)}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "killed"), str(every)]
    checkpoint = cache / "work" / config.identify() / "checkpoint.pt"
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, text=True)
    process.stdin.write(config.model_dump_json())
    process.stdin.close()
    deadline = time.monotonic() + 300
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert checkpoint.exists() and not (tmp_path / "killed").exists()

    command[-1] = "300"
    subprocess.run(command, input=config.model_dump_json(), env=environment, text=True, check=True)
    resumed = Store(tmp_path / "killed").find(config)
    (done,) = resumed.content["timing"]["resumed_from_epochs"]
    assert done > 0 and (done % 1 > 0) == (every == 0)
    assert resumed.history == alone.history
    assert comparable(resumed) == comparable(alone)
    assert (resumed.folder / "phantom-test.npz").read_bytes() == (alone.folder / "phantom-test.npz").read_bytes()


def test_two_processes_with_one_run_make_it_once(tmp_path: Path) -> None:
    """The second waits for the first and reads its record."""
    environment = {**os.environ, "RETLIB_CACHE": str(tmp_path / "shared-cache")}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "records"), "300"]
    pair = [subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, text=True) for _ in range(2)]
    for process in pair:
        process.stdin.write(tiny().model_dump_json())
        process.stdin.close()
    assert [process.wait(timeout=200) for process in pair] == [0, 0]
    (record,) = Store(tmp_path / "records")
    assert record.content["timing"]["resumed_from_epochs"] == []
    assert [path.name for path in (tmp_path / "records").iterdir()] == [record.id]
    assert not (tmp_path / "shared-cache" / "work" / record.id).exists()


def test_a_record_that_another_machine_writes_meanwhile_stays(
    tmp_path: Path, finished: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, rename = Store(tmp_path), Path.rename

    def overtaken(self: Path, target: Path) -> Path:
        if not target.name.endswith(".old"):
            target.mkdir()
            (target / "a").write_bytes(b"other")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", overtaken)
    store.write(finished.content, {"a": b"ours"})
    assert [path.name for path in tmp_path.iterdir()] == [finished.id]
    assert (tmp_path / finished.id / "a").read_bytes() == b"other"


def test_a_failing_write_leaves_nothing(tmp_path: Path, finished: Record) -> None:
    def broken(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        Store(tmp_path).write({"id": "0" * 16}, {"x.npz": broken})
    assert list(tmp_path.iterdir()) == []


def test_writers_of_one_record_at_a_time_leave_one(tmp_path: Path, finished: Record) -> None:
    """None fails, none leaves anything behind, and the record is whole."""
    store, files = Store(tmp_path), {path.name: path.read_bytes() for path in finished.folder.iterdir()}
    files.pop("record.json")
    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(lambda _: store.write(finished.content, files).id, range(64)))
    assert set(written) == {finished.id} and [path.name for path in tmp_path.iterdir()] == [finished.id]
    assert {path.name for path in (tmp_path / finished.id).iterdir()} == {*files, "record.json"}


def test_a_record_that_cannot_be_replaced_stays(
    tmp_path: Path, finished: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, rename = Store(tmp_path), Path.rename
    store.write(finished.content, {"a": b"first"})

    def refuse(self: Path, target: Path) -> Path:
        if (self / "a").read_bytes() == b"second":
            raise PermissionError(13, "not allowed", str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError):
        store.write(finished.content, {"a": b"second"})
    assert [path.name for path in tmp_path.iterdir()] == [finished.id]
    assert (tmp_path / finished.id / "a").read_bytes() == b"first"


def test_older_numerics_are_found_and_called_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = run(tiny(), tmp_path, device="cpu", progress=False)
    assert not old.stale
    monkeypatch.setattr("retlib.study.records.NUMERICS", old.config.numerics + 1)
    newer = tiny(numerics=old.config.numerics + 1)
    found = Store(tmp_path).find(newer)
    assert found.id == old.id and found.stale
    assert Store(tmp_path).find(newer, stale=False) is None


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "abc").mkdir()
    (tmp_path / "abc" / "record.json").write_text("{")
    with pytest.raises(ValueError, match=r"abc.record\.json"):
        list(Store(tmp_path))


def test_cuda_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        assert run(tiny(), tmp_path, device="cuda", progress=False).content["environment"]["device"] == "cuda"
    else:
        with pytest.raises(ValueError, match="no CUDA device"):
            run(tiny(), tmp_path, device="cuda", progress=False)


@pytest.mark.parametrize("name", ["gpu", "mps", "meta"])
def test_a_device_that_is_none_of_ours_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"expected 'auto', 'cpu', 'cuda' or 'cuda:N', got '{name}'"):
        pick_device(name)


def test_a_full_size_run_without_units_for_bfloat16_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def said(able: bool, profile: str = "paper", amp_cpu: bool = True) -> str:
        monkeypatch.setattr(runner, "has_bfloat16", lambda: able)
        config = tiny(profile=profile, training=tiny().training.model_dump() | {"amp_cpu": amp_cpu})
        with pytest.raises(InterruptedError):
            run(config, tmp_path / "records", device="cpu", progress=False)
        out, err = capsys.readouterr()
        assert err == ""
        return out

    def stop(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(runner, "load_training", stop)
    runner._say_slow.cache_clear()
    for nothing in (said(True), said(False, profile="lite"), said(False, amp_cpu=False)):
        assert nothing == ""
    assert "no units for bfloat16" in (words := said(False)) and "up to four times as fast" in words
    assert said(False) == ""
    runner._say_slow.cache_clear()
