"""`retlib reproduce` as a person calls it: plans, deadlines, failures, kills."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future
from pathlib import Path

import pytest
import torch

from retlib.papers import load_paper
from retlib.study import NUMERICS, Store
from retlib.study import reproduce as run_module
from retlib.study.pending import find_missing, runs_in_order


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
        assert re.search(rf"^toy/\w+, seed 0 .*{dice:.4f}.*{identity}$", table, re.MULTILINE)
    assert len(rows) == 2 and {path.name for path in records.iterdir()} == set(rows)  # nothing else is written
    code, out, _ = call(*arguments[:3], "--role", "table", "--role", "ablation", "--records", records, "--dry-run")
    assert code == 0 and "3 runs; 2 have a record, 1 are missing" in out
    code, out, _ = call(*arguments)
    assert code == 0 and "nothing to do" in out


def test_a_deadline_starts_no_run_after_it(call, paper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run is under way when the deadline comes, and finishes; the second is left."""
    records, make_record = tmp_path / "records", run_module.make_record

    def slow(*arguments: object) -> None:
        make_record(*arguments)
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 3600)

    monkeypatch.setattr(run_module, "make_record", slow)
    arguments = (paper, "--profile", "smoke", "--role", "table", "--records", records)
    code, out, _ = call(*arguments, "--deadline", 30)
    assert code == 0 and names(records, paper) == {"proposed"}
    assert "one run at a time, none started after 30 minutes" in out and "running toy/baseline" not in out
    assert "done: 1, failed: 0, left: 1, skipped: 0\nleft: 1 runs (1 papers)" in out


def test_without_data_nothing_is_trained(call, paper: Path, tmp_path: Path) -> None:
    records = tmp_path / "records"
    arguments = (paper, "--profile", "lite", "--records", records)
    for more in ((), ("--dry-run",)):
        code, out, _ = call(*arguments, *more)
        assert code == 2 and not records.exists()
        assert "1 of the missing runs lack data. no data root is named, so DRIVE cannot" in out
        assert "retlib data status" in out
        assert "nothing was run: 1 of 1 missing runs lack their data" in out
    code, out, _ = call(*arguments, "--present-only")
    assert code == 0 and "left out: 1 runs" in out and not records.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-paper"], "unknown paper or study 'no-such-paper'; papers: af-unet"),
        (["--profile", "full"], "profile: Input should be 'smoke', 'lite' or 'paper' (got 'full')"),
        (["--jobs", "many"], "--jobs: expected a whole number from 1 on, or auto, got 'many'"),
        (["--seeds", "0;1"], "seeds: expected distinct integers from 0 up, such as 0 or [0, 1, 2] (got '0;1')"),
        (["--role", "tables"], "--role: expected one of table, fold, ablation, control"),
        (["--deadline", "0"], "--deadline: expected minutes above 0, got 0"),
        (["--deadline", "nan"], "--deadline: expected minutes above 0, got nan"),
        (["--data", "/no/such/folder"], "data_root: there is no such folder"),
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
    assert (code, out) == (2, "") and f"{tmp_path / 'file'} is no folder that can be written to" in err
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    code, out, err = call(paper, "--profile", "smoke", "--records", tmp_path / "records", *more)
    assert (code, out) == (2, "") and "no folder that can be written to; choose another place" in err


def test_two_processes_and_a_run_that_fails(call, paper: Path, tmp_path: Path) -> None:
    """The others go on; the failed one is named at the end with its error."""
    records = tmp_path / "records"
    roles = ("--role", "table", "--role", "ablation")
    code, out, _ = call(paper, "--profile", "smoke", *roles, "--records", records, "--jobs", 2)
    assert code == 1
    assert names(records, paper) == {"proposed", "baseline", "twin"}
    assert "2 runs at once" in out
    last = out[out.index("1 failed:") :]
    assert "toy/broken, seed 0: the training loss is not finite" in last
    assert {record.content["environment"]["threads"] for record in Store(records)} == {1}
    assert not [path for path in records.iterdir() if path.name.startswith(".")]


def kill_own_process(config: dict, *rest: object) -> None:
    """Stand for a run that is killed for want of memory, if it is the proposed one."""
    if config["training"]["learning_rate"] == 2e-2:
        os.kill(os.getpid(), signal.SIGKILL)
    run_module.make_record(config, *rest)


@pytest.mark.timeout(200)
def test_a_killed_process_of_the_pool_is_a_failed_run(
    call, paper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run has a process of its own, so the others go on."""
    records, three = tmp_path / "records", tmp_path / "toy.yaml"
    three.write_text(paper.read_text(encoding="utf-8").replace("k: [1, 2]", "k: [1]"), encoding="utf-8")
    monkeypatch.setattr(run_module, "make_record", kill_own_process)
    arguments = (three, "--profile", "smoke", "--role", "table", "--role", "fold", "--records", records, "--jobs", 2)
    code, out, err = call(*arguments)
    assert code == 1 and "Traceback" not in out + err
    assert re.search(r"toy/proposed, seed 0: a process was killed, .* goes on from the last checkpoint", out)
    assert names(records, paper) == {"baseline", "twin", "fold1"}
    assert "done: 2, failed: 1, left: 0, skipped: 0" in out


@pytest.mark.parametrize(("gpus", "jobs", "expected"), [(2, None, "01"), (2, 3, "010"), (2, 1, "0"), (1, 2, "00")])
def test_gpus_are_taken_in_turn(monkeypatch: pytest.MonkeyPatch, gpus: int, jobs: int | None, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with run_module.open_executor("cuda", jobs, None) as (executor, devices):
        assert devices == [f"cuda:{index}" for index in expected]
        assert isinstance(executor, run_module.SerialExecutor) == (len(expected) == 1)
    with run_module.open_executor("cuda:0", None, None) as (_, devices):
        assert devices == ["cuda:0"]


@pytest.mark.timeout(60)  # with a fault it waits for ever
def test_a_free_device_gets_the_next_run(paper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run on the second device ends last, so the first device gets all the others."""
    runs, _ = find_missing(runs_in_order([str(paper)], "smoke"), Store(tmp_path), None)
    monkeypatch.setattr(run_module, "_find_record", lambda identity, store: None)
    used: dict[str, list[Future]] = {"cuda:0": [], "cuda:1": []}

    class Controlled(Executor):
        def submit(self, function, config, identity, store, root, device, progress):
            used[device].append(future := Future())
            if device == "cuda:0":
                future.set_result(None)
            if len(used["cuda:0"]) == len(runs) - 1:
                used["cuda:1"][0].set_result(None)
            return future

    outcomes = list(run_module.make_records(runs, Store(tmp_path), Controlled(), list(used)))
    assert [len(futures) for futures in used.values()] == [len(runs) - 1, 1] and len(outcomes) == len(runs) > 2


def test_other_data_or_other_numerics_are_refused(paper: Path, tmp_path: Path) -> None:
    """A worker's data or code may differ from the caller's."""
    config = load_paper(paper).runs("smoke")["baseline"]
    older = {"numerics": NUMERICS - 1}
    for changes, words in (({}, "data differ from the caller's"), (older, f"the caller's has {NUMERICS - 1}")):
        content = config.model_dump(mode="json") | changes
        with pytest.raises(ValueError, match=words):
            run_module.make_record(content, "0" * 16, str(tmp_path), None, "cpu", False)
    assert not list(tmp_path.iterdir())


def start_long(paper: Path, tmp_path: Path, cache: Path, jobs: int = 1, epochs: int = 999) -> tuple:
    """Start a call in the background and wait until its first run is done and its second, longer one began."""
    store, name = Store(tmp_path / "records"), tmp_path / "long.yaml"
    longer = f"baseline: {{training: {{epochs: {epochs}}}}}"
    text = paper.read_text(encoding="utf-8").replace("baseline: {only: [smoke]}", longer)
    name.write_text(text, encoding="utf-8")
    runs = load_paper(name).runs("smoke")
    arguments = ["reproduce", str(name), "--profile", "smoke", "--role", "table", "--records", str(store.path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "retlib.cli", *arguments, "--device", "cpu", "--jobs", str(jobs)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    checkpoint = cache / "work" / runs["baseline"].identify() / "checkpoint.pt"
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if checkpoint.exists() and store.find(runs["proposed"]) is not None:
            time.sleep(0.2)  # for the call to take note of the first record
            break
        time.sleep(0.01)
    return process, store, runs, checkpoint


def rests(checkpoint: Path) -> bool:
    """Whether nothing writes a checkpoint any more; an epoch takes some hundredths of a second."""
    written = checkpoint.stat().st_mtime_ns
    time.sleep(2)
    return checkpoint.stat().st_mtime_ns == written


@pytest.mark.timeout(200)
def test_after_a_kill_the_next_call_goes_on(call, paper: Path, tmp_path: Path, cache: Path) -> None:
    """SIGKILL in the middle of the second run; the first one's record is whole and stays as it is."""
    process, store, runs, _ = start_long(paper, tmp_path, cache, epochs=100)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL, "the call ended before it could be killed"
    first = store.find(runs["proposed"])
    assert first is not None and len(store) == 1
    written = (first.folder / "record.json").stat().st_mtime_ns
    code, out, _ = call(tmp_path / "long.yaml", "--profile", "smoke", "--role", "table", "--records", store.path)
    assert code == 0 and "1 have a record, 1 are missing" in out and "skipped: 1" in out
    second = store.find(runs["baseline"])
    assert second.content["timing"]["resumed_from_epochs"] and len(second.history) == 100
    assert (first.folder / "record.json").stat().st_mtime_ns == written
    assert {path.name for path in store.path.iterdir()} == {first.id, second.id}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu(call, paper: Path, tmp_path: Path) -> None:
    """One run at a time on each; the peak of the memory is measured."""
    records = tmp_path / "records"
    code, out, _ = call(paper, "--profile", "smoke", "--role", "table", "--records", records, "--device", "cuda")
    assert code == 0 and names(records, paper) == {"proposed", "baseline", "twin"}
    assert "cuda:0" in out
    assert all(record.content["environment"]["peak_memory_mib"] > 0 for record in Store(records))


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("number", "jobs"),
    [(signal.SIGINT, 1), (signal.SIGTERM, 2), pytest.param(signal.SIGTERM, 1, marks=pytest.mark.slow)],
)
def test_a_call_in_the_background_ends_with_its_table(
    paper: Path, tmp_path: Path, cache: Path, number: int, jobs: int
) -> None:
    """A script's `&` leaves SIGINT ignored; the signal comes in the middle of the longer run."""
    process, store, runs, checkpoint = start_long(paper, tmp_path, cache, jobs)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err == ""
    assert store.find(runs["proposed"]).id in out[out.rindex("run  ") :]
    assert "left: 1 runs (1 papers)" in out and "goes on from each run's last checkpoint" in out
    assert rests(checkpoint)


@pytest.mark.timeout(200)
def test_a_killed_call_takes_its_processes_with_it(paper: Path, tmp_path: Path, cache: Path) -> None:
    process, _, _, checkpoint = start_long(paper, tmp_path, cache, jobs=2)
    process.kill()
    process.wait(timeout=30)
    time.sleep(1)  # for the processes to notice
    assert process.returncode == -signal.SIGKILL and rests(checkpoint)


def test_an_interrupt_before_the_first_run(call, paper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the data is hashed, say; the handlers that were there before come back."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr("retlib.study.pending.find_missing", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    code, out, _ = call(paper, "--profile", "smoke", "--records", tmp_path / "records")
    assert (code, out) == (130, "interrupted: the same command goes on from each run's last checkpoint\n")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
