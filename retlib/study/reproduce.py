"""Make the records of runs over a `concurrent.futures.Executor`, and summarise what was done."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from dataclasses import dataclass
from multiprocessing import active_children, get_context, parent_process
from typing import Any

import torch

from retlib.device import pick_device, usable_cores
from retlib.study import NUMERICS, Record, RunConfig, Store, run
from retlib.study.pending import NamedRun, count_tiers

CONNECT_S, WORKERS_S = 30.0, 120.0
"""Seconds for a Dask scheduler to answer, and for its first worker to appear."""
# torch's generators belong to the process: two runs in threads of one would take each other's random numbers.
_ONE_AT_A_TIME = threading.Lock()


class SerialExecutor(Executor):
    """Run each task in this process, before ``submit`` returns; an interrupt passes through."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future:
        """Run a task; returns a finished future with its result or error."""
        future: Future = Future()
        try:
            future.set_result(function(*arguments, **options))
        except Exception as error:
            future.set_exception(error)
        return future


class ProcessExecutor(Executor):
    """Run tasks in processes that share the CPU's cores evenly.

    When a process is killed, the tasks under way fail with `BrokenExecutor`, and later ones get new processes.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs, self._others = jobs, set(active_children())
        self._open()

    def _open(self) -> None:
        threads = max(1, usable_cores() // self._jobs)
        context = get_context("spawn")
        self._pool = ProcessPoolExecutor(self._jobs, context, initializer=_begin_process, initargs=(threads,))

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future:
        """Start a task in a process that is free."""
        try:
            return self._pool.submit(function, *arguments, **options)
        except BrokenExecutor:
            self._open()
            return self._pool.submit(function, *arguments, **options)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes at once: a run that is cut off goes on from its last checkpoint in the next call."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in set(active_children()) - self._others:
            process.kill()


def _begin_process(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its processes
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    """End this process when its parent was killed; otherwise it would wait for work for ever."""
    parent_process().join()
    os._exit(1)


@contextlib.contextmanager
def open_executor(device: str, jobs: int | None, dask: str | None) -> Iterator[tuple[Executor, list[str]]]:
    """Open an executor: this process for one job, processes for several, or a Dask cluster.

    Args:
        device: ``cpu``, ``cuda`` (all GPUs), ``cuda:1``, ...; ``auto`` takes CUDA if there is any, on each Dask worker.
        jobs: runs at once; None for one, or one for each GPU or Dask worker that there is.
        dask: address of a scheduler, or None.

    Yields:
        The executor, and the devices of the runs that are made at once, GPUs in turn.

    Raises:
        ValueError: no such device; Dask is not installed; its scheduler or workers do not answer in time.
    """
    if dask is not None:
        with _open_dask(dask) as (executor, workers):
            yield executor, [device] * (jobs or workers)
        return
    target = pick_device(device)
    gpus = torch.cuda.device_count() if target.type == "cuda" and target.index is None else 0
    devices = [f"cuda:{index}" for index in range(gpus)] or [str(target)]
    jobs = jobs or len(devices)
    with SerialExecutor() if jobs == 1 else ProcessExecutor(jobs) as executor:
        yield executor, [devices[i % len(devices)] for i in range(jobs)]


@contextlib.contextmanager
def _open_dask(address: str) -> Iterator[tuple[Executor, int]]:
    """Connect to a Dask cluster; yields its executor and the number of workers."""
    try:
        from distributed import Client
    except ImportError:
        raise ValueError(
            "--dask needs the packages dask and distributed: pip install 'retlib[dask]' (or -e '.[dask]')"
        ) from None
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"--dask {address}: no scheduler answers there ({error})") from None
    try:
        client.wait_for_workers(1, timeout=WORKERS_S)
        workers = len(client.ncores())
    except TimeoutError:
        client.close(timeout=CONNECT_S)
        raise ValueError(f"--dask {address}: no worker came within {WORKERS_S:g} seconds") from None
    executor = client.get_executor(pure=False)
    try:
        yield executor, workers
    finally:
        with contextlib.suppress(OSError, RuntimeError):  # the scheduler is gone
            executor.shutdown(wait=False)  # cancels what is not finished
            client.close(timeout=CONNECT_S)


def make_record(
    config: dict[str, Any], identity: str, store: str, root: str | None, device: str, progress: bool
) -> None:
    """Make the record of one run, given as JSON, or go on from its last checkpoint; for the other arguments see `run`.

    Raises:
        ValueError: the code or the data of this machine differ from those that gave the ``identity``.
    """
    with _ONE_AT_A_TIME:
        parsed = RunConfig.parse(config)
        if parsed.numerics != NUMERICS:
            raise ValueError(f"this machine's retlib has numerics {NUMERICS}, the caller's has {parsed.numerics}")
        if (present := parsed.identify(root)) != identity:
            raise ValueError(
                f"this machine's data differ from the caller's: expected the run {identity}, got {present}; "
                "compare with `retlib data verify`"
            )
        try:
            run(parsed, store, root=root, device=device, progress=progress)
        finally:
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()


@dataclass(frozen=True)
class Outcome:
    """A run that ended: with a record, or with an error in one line."""

    run: NamedRun
    seconds: float
    record: Record | None = None
    error: str | None = None

    def __str__(self) -> str:
        end = self.error or f"Dice {self.score('dice')}, record {self.record.id}"
        return f"{self.run.label}: {duration(self.seconds)}, {end}"

    def score(self, metric: str) -> str:
        """Format a metric on the first test selection; a dash where there is none."""
        value = None if self.record is None else self.record.metrics().get(metric)
        return "–" if value is None or math.isnan(value) else f"{value:.4f}"


def make_records(
    runs: Sequence[NamedRun],
    store: Store,
    executor: Executor,
    devices: Sequence[str],
    *,
    root: str | None = None,
    deadline: float = math.inf,
    say: Callable[[str], None] = print,
) -> Iterator[Outcome]:
    """Make the records of runs, started in their order; yields each outcome as it comes.

    A run that fails is an outcome with its error, and the others go on.

    Args:
        runs: runs without a record.
        store: where records go.
        executor: where runs are made.
        devices: devices of the runs that are made at once, one entry for each.
        root: folder of the data sets; RETLIB_DATA by default.
        deadline: time of `time.monotonic` after which no run is started; those under way are waited for.
        say: prints a line when a run starts.
    """
    waiting, free, running = deque(runs), list(devices), {}
    while True:
        while waiting and free and time.monotonic() < deadline:
            item, device, began = waiting.popleft(), free.pop(0), time.monotonic()
            say(f"running {item.label}")
            content, folder = item.config.model_dump(mode="json"), str(store.path.absolute())
            bar = isinstance(executor, SerialExecutor)
            try:
                future = executor.submit(make_record, content, item.id, folder, root, device, bar)
            except Exception as error:  # the executor is gone
                future = Future()
                future.set_exception(error)
            running[future] = item, device, began
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            item, device, began = running.pop(future)
            free.append(device)
            yield _outcome(item, future, store, began)


def _outcome(item: NamedRun, future: Future, store: Store, began: float) -> Outcome:
    try:
        future.result()
        record = _find_record(item.id, store)
    except Exception as error:  # kept: the other runs go on
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, BrokenExecutor):
            text = "a process was killed, perhaps for want of memory; the same command goes on from the last checkpoint"
        elif isinstance(error, CancelledError):
            text = "cancelled by the cluster, or the scheduler is gone"
        return Outcome(item, time.monotonic() - began, error=text)
    return Outcome(item, time.monotonic() - began, record)


def _find_record(identity: str, store: Store) -> Record:
    """Read a record that another process wrote; a shared folder may take some seconds to show it."""
    for _ in range(100):
        if (record := store.get(identity)) is not None:
            return record
        time.sleep(0.1)
    raise FileNotFoundError(
        f"{store.path / identity}: the run is finished, but its record is not here; "
        "do all workers see this folder under this path?"
    )


def duration(seconds: float) -> str:
    """Write a duration: ``4.2 s``, ``45 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def summarise(outcomes: Sequence[Outcome], runs: Sequence[NamedRun], skipped: int) -> str:
    """Make the last table: one row for each run that ended, then the errors, then the counts.

    Args:
        outcomes: runs that ended.
        runs: all that were to be made.
        skipped: how many others had a record before.
    """
    rows = [("run", "time", "Dice", "AUC", "record")]
    for item in outcomes:
        end = "failed" if item.record is None else item.record.id
        rows.append((item.run.label, duration(item.seconds), item.score("dice"), item.score("auc"), end))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines = table if outcomes else ["nothing was run"]
    failed = [item for item in outcomes if item.error is not None]
    if failed:
        lines += ["", f"{len(failed)} failed:", *(f"  {item.run.label}: {item.error}" for item in failed)]
    ended = {item.run.id for item in outcomes}
    left = [item for item in runs if item.id not in ended]
    done = len(outcomes) - len(failed)
    lines += ["", f"done: {done}, failed: {len(failed)}, left: {len(left)}, skipped: {skipped}"]
    if left:
        lines.append(f"left: {len(left)} runs ({count_tiers(left)})")
    return "\n".join(lines)
