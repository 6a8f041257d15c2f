"""The same plan over a real Dask scheduler and two worker processes, one of which is killed in the middle of a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from distributed import LocalCluster

from retlib.papers import load_paper
from retlib.study import Store
from retlib.study import reproduce as run_module
from retlib.study.pending import find_missing, runs_in_order


@dataclass
class Workplace:
    """A scheduler on 127.0.0.1, two worker processes of one thread each, and the cache that they share."""

    scheduler: str
    workers: list[subprocess.Popen]
    cache: Path


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    folder = tmp_path_factory.mktemp("cluster")
    environment = {**os.environ, "RETLIB_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    environment.pop("RETLIB_DATA", None)
    with LocalCluster(n_workers=0, host="127.0.0.1", scheduler_port=0, dashboard_address="127.0.0.1:0") as cluster:
        command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
        command += ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory", str(folder)]
        workers = [subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) for _ in range(2)]
        try:
            deadline = time.monotonic() + 120
            while len(cluster.scheduler.workers) < len(workers) and time.monotonic() < deadline:
                time.sleep(0.05)
            yield Workplace(cluster.scheduler_address, workers, folder / "cache")
        finally:
            for process in workers:
                process.kill()
                process.wait(timeout=30)


def kill_in_the_middle(place: Workplace) -> None:
    """SIGKILL the first worker once both are in the middle of a run: two checkpoints at one time."""
    deadline = time.monotonic() + 120
    while len(list(place.cache.glob("work/*/checkpoint.pt"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    place.workers[0].send_signal(signal.SIGKILL)


@pytest.mark.timeout(300)
def test_a_killed_worker_loses_nothing(call, workplace: Workplace, paper: Path, tmp_path: Path) -> None:
    longer = tmp_path / "toy.yaml"
    longer.write_text(paper.read_text(encoding="utf-8").replace("epochs: 1,", "epochs: 60,"), encoding="utf-8")
    runs = load_paper(longer).runs("smoke")
    shared = tmp_path / "shared"
    killer = threading.Thread(target=kill_in_the_middle, args=(workplace,))
    killer.start()
    code, out, _ = call(longer, "--profile", "smoke", "--records", shared, "--dask", workplace.scheduler)
    killer.join()
    assert workplace.workers[0].wait(timeout=30) == -signal.SIGKILL
    assert code == 1 and "1 failed:" in out and "2 runs at once" in out
    assert "toy/broken, seed 0: the training loss is not finite" in out  # this one, and no other
    assert "done: 4, failed: 1, left: 0, skipped: 0" in out
    wanted = {config.identify() for name, config in runs.items() if name != "broken"}
    assert {path.name for path in shared.iterdir()} == wanted  # none lost, none twice, none half-written
    records = list(Store(shared))
    assert all(len(record.history) == 60 and record.histograms() for record in records)
    assert any(record.content["timing"]["resumed_from_epochs"] for record in records), "no run went on"


def test_a_scheduler_that_goes_away_fails_the_runs(paper: Path, tmp_path: Path) -> None:
    """What was to come is reported with an error each, and nothing waits for ever."""
    store = Store(tmp_path)
    missing, _ = find_missing(runs_in_order([str(paper)], "smoke", roles=["table"]), store, None)
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as local,
        run_module.open_executor("cpu", None, local.scheduler_address) as (executor, devices),
    ):
        assert devices == ["cpu"]
        executor._client.close()
        outcomes = list(run_module.make_records(missing, store, executor, devices))
    assert [outcome.run.name for outcome in outcomes] == ["proposed", "baseline"]
    assert all(outcome.error and outcome.record is None for outcome in outcomes)


def test_no_scheduler_and_no_dask(call, paper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retlib.study.reproduce.CONNECT_S", 1.0)
    arguments = (paper, "--profile", "smoke", "--records", tmp_path, "--dask", "tcp://127.0.0.1:9")
    code, _, err = call(*arguments)
    assert code == 2 and "--dask tcp://127.0.0.1:9: no scheduler answers there" in err
    monkeypatch.setattr("retlib.study.reproduce.WORKERS_S", 0.5)
    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as empty:
        code, _, err = call(*arguments[:-1], empty.scheduler_address)
    assert code == 2 and "no worker came within 0.5 seconds" in err
    monkeypatch.setitem(sys.modules, "distributed", None)
    code, _, err = call(*arguments)
    assert code == 2 and "pip install 'retlib[dask]'" in err
