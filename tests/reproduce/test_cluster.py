"""The same plan over a real Dask scheduler and two worker processes, one of which is killed in the middle of a run."""

from __future__ import annotations

import os
import shutil
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

from retlib.experiments import Store
from retlib.papers import load_paper
from retlib.reproduce.cluster import Cluster


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


def kill_in_the_middle(place: Workplace, index: int) -> None:
    """SIGKILL a worker once all that are left have a run on the way: so many checkpoints at one time."""
    living = sum(process.poll() is None for process in place.workers)
    deadline = time.monotonic() + 120
    while len(list(place.cache.glob("work/*/checkpoint.pt"))) < living and time.monotonic() < deadline:
        time.sleep(0.001)
    place.workers[index].send_signal(signal.SIGKILL)


@pytest.mark.timeout(300)
def test_a_killed_worker_loses_nothing(call, workplace: Workplace, paper: Path, tmp_path: Path, monkeypatch) -> None:
    longer = tmp_path / "toy.yaml"
    longer.write_text(paper.read_text(encoding="utf-8").replace("epochs: 1,", "epochs: 60,"), encoding="utf-8")
    runs = load_paper(longer).runs("smoke")
    shared, returned = tmp_path / "shared", tmp_path / "returned"
    killer = threading.Thread(target=kill_in_the_middle, args=(workplace, 0))
    killer.start()
    code, out, _ = call(longer, "--profile", "smoke", "--records", shared, "--dask", workplace.scheduler)
    killer.join()
    assert workplace.workers[0].wait(timeout=30) == -signal.SIGKILL
    assert code == 1 and "1 failed:" in out and "2 runs at once" in out
    assert "toy/broken, seed 0: the training loss is not finite" in out  # this one, and no other
    wanted = {config.identify() for name, config in runs.items() if name != "broken"}
    assert {path.name for path in shared.iterdir()} == wanted  # none lost, none twice, none half-written
    records = {record.id: record for record in Store(shared)}
    assert all(len(record.history) == 60 and record.histograms() for record in records.values())
    assert any(record.content["timing"]["resumed_from_epochs"] for record in records.values()), "no run went on"

    # Without the shared folder: the worker that is left sends its records back.
    code, out, _ = call(
        *(longer, "--profile", "smoke", "--role", "table", "--records", returned),
        *("--dask", workplace.scheduler, "--store", "returned"),
    )
    assert code == 0 and "one run at a time" in out
    assert {path.name for path in returned.iterdir()} == {runs[name].identify() for name in ("proposed", "baseline")}
    for record in Store(returned):
        twin = records[record.id]
        assert {path.name for path in record.folder.iterdir()} == {path.name for path in twin.folder.iterdir()}
        for part in ("id", "config", "history", "tests", "threshold"):
            assert record.content[part] == twin.content[part]

    # And without any worker a call ends, in bounded time.
    monkeypatch.setattr("retlib.reproduce.cluster.WORKERS_S", 2.0)
    shutil.rmtree(workplace.cache / "work")  # what the broken run left
    killer = threading.Thread(target=kill_in_the_middle, args=(workplace, 1))
    killer.start()
    abandoned = (longer, "--profile", "smoke", "--role", "table", "--records", tmp_path / "abandoned")
    code, out, _ = call(*abandoned, "--dask", workplace.scheduler)
    killer.join()
    assert code == 1 and "stopped: the cluster has had no worker for 2 seconds" in out and "left: 2 runs" in out
    code, _, err = call(*abandoned, "--dask", workplace.scheduler)
    assert code == 2 and "no worker came within 2 seconds" in err


def test_a_scheduler_that_goes_away_is_trouble_at_once() -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as local:
        cluster = Cluster(local.scheduler_address, "cpu", None)
        assert cluster.workers() == 1 and cluster.trouble() is None
        assert all(lane.own_device for lane in cluster.lanes)
        cluster.client.close()
        assert cluster.workers() == 0 and "the scheduler is gone" in cluster.trouble()
        failed = cluster.lanes[0].submit(int, "7")
        assert failed.exception() is not None  # kept, so the call ends with its table
        cluster.close()


def test_no_scheduler_and_no_dask(call, paper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retlib.reproduce.cluster.CONNECT_S", 1.0)
    arguments = (paper, "--profile", "smoke", "--records", tmp_path, "--dask", "tcp://127.0.0.1:9")
    code, _, err = call(*arguments)
    assert code == 2 and "--dask tcp://127.0.0.1:9: no scheduler answers there" in err
    monkeypatch.setitem(sys.modules, "distributed", None)
    code, _, err = call(*arguments)
    assert code == 2 and "pip install 'retlib[dask]'" in err
