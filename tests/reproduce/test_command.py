"""`retlib reproduce` as a person calls it: plans, budgets, failures, kills."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from retlib.experiments import Store
from retlib.papers import load_paper
from retlib.reproduce import driver, warmup
from retlib.reproduce.lanes import Lane


def names(records: Path, paper: Path) -> set[str]:
    """Names of the runs whose record is in a store."""
    runs = load_paper(paper).runs("smoke")
    return {name for name, config in runs.items() if Store(records).find(config) is not None}


def test_the_table_is_made_once_in_order_of_value(call, paper: Path, tmp_path: Path) -> None:
    records = tmp_path / "records"
    arguments = (paper, "--profile", "smoke", "--role", "table", "--records", records)
    code, out, _ = call(*arguments, "--dry-run")
    assert code == 0 and not records.exists()
    assert out.index("toy/proposed") < out.index("toy/baseline") and "2 are missing (2 papers)" in out
    code, out, err = call(*arguments)
    assert (code, err) == (0, "")
    assert names(records, paper) == {"proposed", "baseline", "twin"}  # the twin has the same id
    rows = {record.id: record.metrics()["dice"] for record in Store(records)}
    table = out[out.rindex("run  ") :]
    for identity, dice in rows.items():
        assert re.search(rf"toy/\w+ .*{dice:.4f}.*{identity}$", table, re.MULTILINE)
    assert len(rows) == 2 and {path.name for path in records.iterdir()} == set(rows)  # nothing else is written
    code, out, _ = call(*arguments[:3], "--role", "table", "--role", "ablation", "--records", records, "--dry-run")
    assert code == 0 and "3 runs, 1 named more than once; 2 have a record, 1 are missing" in out
    code, out, _ = call(*arguments)
    assert code == 0 and "nothing to do" in out


def test_without_a_budget_the_first_run_starts_at_once(
    call, paper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is measured, and what is not known of a run is called so; its twin in pace learns from its record."""
    tasks, timed = [], []
    submit, time_scoring = Lane.submit, warmup.time_scoring

    def noted(lane: Lane, function, *arguments):
        tasks.append(function.__name__)
        return submit(lane, function, *arguments)

    monkeypatch.setattr(Lane, "submit", noted)
    monkeypatch.setattr(warmup, "time_scoring", lambda *arguments: timed.append(arguments) or time_scoring(*arguments))
    arguments = (paper, "--profile", "smoke", "--role", "table", "--records")
    code, out, _ = call(*arguments, tmp_path / "records")
    assert code == 0 and tasks == ["describe", "make_record", "make_record"] and not timed
    assert "measuring" not in out and "warm-up" not in out
    assert re.search(r"^papers +toy/proposed +0 +unknown +–$", out, re.MULTILINE)
    assert "running toy/proposed, seed 0\n" in out and "running toy/baseline, seed 0, about" in out

    tasks.clear()
    code, out, _ = call(*arguments, tmp_path / "others", "--budget", "60")
    assert code == 0 and tasks == ["describe", "warm_up", "make_record", "make_record"] and timed
    assert "measuring toy/proposed, seed 0\n" in out


def test_a_budget_too_small_for_anything(call, paper: Path, tmp_path: Path) -> None:
    records = tmp_path / "records"
    code, out, _ = call(paper, "--profile", "paper", "--records", records, "--budget", "0.02")
    assert code == 0 and not records.exists()
    assert "planned" not in out and "nothing was run" in out and "left: 1 runs" in out
    assert "which would fit into --budget" in out or "too small to measure" in out
    code, out, _ = call(paper, "--profile", "smoke", "--records", records, "--budget", "60", "--dry-run")
    assert code == 0 and "a dry run measures nothing" in out and "in this order: toy/proposed, toy/baseline" in out


def test_what_would_fit_is_said(call, paper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warm-up is made, the run is longer than the budget, and nothing is trained."""
    slow = {"pace": {"step": 60.0, "prediction": 0.0, "scoring": 0.0, "megapixels": 1.0}, "seconds": 0.1}
    monkeypatch.setattr(driver, "warm_up", lambda *_: slow)
    code, out, _ = call(paper, "--profile", "paper", "--records", tmp_path / "records", "--budget", "9")
    assert code == 0 and "nothing was run" in out
    assert re.search(r"toy/long \(seed 0\), which would fit into --budget 3[34]\d\d", out)


def test_without_data_nothing_is_trained(call, paper: Path, tmp_path: Path) -> None:
    records = tmp_path / "records"
    arguments = (paper, "--profile", "lite", "--records", records)
    for more in ((), ("--dry-run",)):
        code, out, _ = call(*arguments, *more)
        assert code == 2 and not records.exists()
        assert "DRIVE is needed by 1 of the missing runs" in out and "retlib data status" in out
        assert "nothing was run: 1 of 1 missing runs lack their data" in out
    code, out, _ = call(*arguments, "--present-only")
    assert code == 0 and "left out: 1 runs" in out and not records.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-paper"], "unknown paper or study 'no-such-paper'; papers: af-unet"),
        (["--profile", "full"], "--profile: expected one of smoke, lite, paper, got 'full'"),
        (["--jobs", "many"], "--jobs: expected a whole number from 1 on, or auto; got 'many'"),
        (["--seeds", "0;1"], "--seeds: expected whole numbers"),
        (["--role", "tables"], "--role: expected one of table, fold, ablation, control"),
        (["--store", "both"], "--store: expected one of shared, returned"),
        (["--data", "/no/such/folder"], "--data /no/such/folder: there is no such folder"),
    ],
)
def test_a_wrong_argument_is_named(call, arguments: list[str], words: str) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (2, "") and words in err


@pytest.mark.parametrize("dry", [True, False])
def test_a_folder_that_takes_no_record_is_refused_before_anything_is_made(
    call, paper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dry: bool
) -> None:
    more = ["--dry-run"] if dry else []
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    code, out, err = call(paper, "--profile", "smoke", "--records", tmp_path / "file" / "records", *more)
    assert (code, out) == (2, "") and f"{tmp_path / 'file'} is a file; expected a folder" in err
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    code, out, err = call(paper, "--profile", "smoke", "--records", tmp_path / "records", *more)
    assert (code, out) == (2, "") and "cannot be written to; choose another folder" in err


@pytest.mark.parametrize(("left", "learned"), [(1.0, 2), (0.1, 0)])
def test_a_run_that_goes_on_says_nothing_of_its_estimate(
    call, paper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: float, learned: int
) -> None:
    """Its estimate is of the rest, and what loading and scoring take is not less for it."""
    noted = []
    monkeypatch.setattr(driver, "share_left", lambda run: left)
    monkeypatch.setattr(driver.Budget, "learn", lambda self, *pair: noted.append(pair))
    arguments = ("--role", "table", "--records", tmp_path / "records", "--budget", "60")
    code, _, _ = call(paper, "--profile", "smoke", *arguments)
    assert code == 0 and len(noted) == learned


def test_two_processes_and_a_run_that_fails(call, paper: Path, tmp_path: Path) -> None:
    """The others go on; the failed one is named at the end with its error."""
    records = tmp_path / "records"
    code, out, _ = call(paper, "--profile", "smoke", "--records", records, "--jobs", 2)
    assert code == 1
    assert names(records, paper) == {"proposed", "baseline", "twin", "fold1", "fold2"}
    assert "2 runs at once" in out
    last = out[out.index("1 failed:") :]
    assert "toy/broken, seed 0: the training loss is not finite" in last
    assert {record.content["environment"]["threads"] for record in Store(records)} == {1}
    assert not [path for path in records.iterdir() if path.name.startswith(".")]


@pytest.mark.timeout(200)
def test_after_a_kill_the_next_call_goes_on(call, paper: Path, tmp_path: Path, cache: Path) -> None:
    """SIGKILL in the middle of the second run; the first one's record is whole and stays as it is."""
    records, name = tmp_path / "records", tmp_path / "killed.yaml"
    text = paper.read_text(encoding="utf-8").replace("baseline: {only: [smoke]}", "baseline: {training: {epochs: 200}}")
    name.write_text(text, encoding="utf-8")
    runs = load_paper(name).runs("smoke")
    arguments = ["reproduce", str(name), "--profile", "smoke", "--role", "table", "--records", str(records)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "retlib.cli", *arguments, "--device", "cpu"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    checkpoint = cache / "work" / runs["baseline"].identify() / "checkpoint.pt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=30) == -signal.SIGKILL, "the driver ended before it could be killed"
    store = Store(records)
    first = store.find(runs["proposed"])
    assert first is not None and len(store) == 1
    written = (first.folder / "record.json").stat().st_mtime_ns
    code, out, _ = call(*arguments[1:])
    assert code == 0 and "1 have a record, 1 are missing" in out
    second = store.find(runs["baseline"])
    assert second.content["timing"]["resumed_from_epochs"] and len(second.history) == 200
    assert (first.folder / "record.json").stat().st_mtime_ns == written
    assert {path.name for path in records.iterdir()} == {first.id, second.id}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu(call, paper: Path, tmp_path: Path) -> None:
    """Small nets share it, a process each; the peak of the memory is measured."""
    records = tmp_path / "records"
    code, out, _ = call(paper, "--profile", "smoke", "--role", "table", "--records", records, "--device", "cuda")
    assert code == 0 and names(records, paper) == {"proposed", "baseline", "twin"}
    assert torch.cuda.get_device_name(0) in out
    assert all(record.content["environment"]["peak_memory_mib"] > 0 for record in Store(records))


@pytest.mark.timeout(200)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_call_in_the_background_ends_with_its_table(paper: Path, tmp_path: Path, cache: Path, number: int) -> None:
    """A script's `&` leaves SIGINT ignored; the signal comes in the middle of the second run."""
    records, name = tmp_path / "records", tmp_path / "long.yaml"
    text = paper.read_text(encoding="utf-8").replace("baseline: {only: [smoke]}", "baseline: {training: {epochs: 999}}")
    name.write_text(text, encoding="utf-8")
    runs = load_paper(name).runs("smoke")
    arguments = ["reproduce", str(name), "--profile", "smoke", "--role", "table", "--records", str(records)]
    process = subprocess.Popen(
        [sys.executable, "-m", "retlib.cli", *arguments, "--device", "cpu"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    checkpoint = cache / "work" / runs["baseline"].identify() / "checkpoint.pt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert Store(records).find(runs["proposed"]).id in out[out.rindex("run  ") :]
    assert "left: 1 runs (1 papers)" in out and "goes on from each run's last checkpoint" in out


def test_an_interrupt_before_the_first_run(call, paper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the data is hashed, say; the handlers that were there before come back."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr("retlib.reproduce.stock.take_stock", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    code, out, _ = call(paper, "--profile", "smoke", "--records", tmp_path / "records")
    assert (code, out) == (130, "interrupted\n")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
