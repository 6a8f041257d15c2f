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
from concurrent import futures
from multiprocessing import active_children, get_context, parent_process
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import torch

from retlib.device import pick_device, usable_cores
from retlib.study import NUMERICS, Record, RunConfig, Store, run
from retlib.study.pending import NamedRun, count_tiers

if TYPE_CHECKING:
    from distributed import Client

CONNECT_S, WORKERS_S = 30.0, 120.0
"""Seconds for a Dask scheduler to answer, and for its first worker to appear."""
# torch's generators belong to the process: two runs in threads of one would take each other's random numbers.
_ONE_AT_A_TIME = threading.Lock()


class SerialExecutor(futures.Executor):
    """Run each task in this process, before ``submit`` returns; an interrupt passes through."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> futures.Future:
        """Run a task; returns a finished future with its result or error."""
        future = futures.Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


class ProcessExecutor(futures.Executor):
    """Run each task in a process of its own; those that run at once share the CPU's cores evenly.

    A process that is killed fails its own task with `BrokenExecutor`, and no other.
    """

    def __init__(self, jobs: int) -> None:
        self._threads, self._others = max(1, usable_cores() // jobs), set(active_children())

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> futures.Future:
        """Start a process, which ends with its task."""
        context = get_context("spawn")
        pool = futures.ProcessPoolExecutor(1, context, initializer=_begin_process, initargs=(self._threads,))
        future = pool.submit(function, *arguments)
        pool.shutdown(wait=False)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Kill the processes: a run that is cut off goes on from its last checkpoint in the next call."""
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
def open_executor(device: str, jobs: int | None, dask: str | None) -> Iterator[tuple[futures.Executor, list[str]]]:
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
    if dask is None:
        target = pick_device(device)
        gpus = torch.cuda.device_count() if target.type == "cuda" and target.index is None else 0
        devices = [f"cuda:{index}" for index in range(gpus)] or [str(target)]
        jobs = jobs or len(devices)
        with SerialExecutor() if jobs == 1 else ProcessExecutor(jobs) as executor:
            yield executor, [devices[i % len(devices)] for i in range(jobs)]
        return
    client = _connect(dask)
    executor = client.get_executor(pure=False)
    try:
        yield executor, [device] * (jobs or len(client.ncores()))
    finally:
        with contextlib.suppress(OSError, RuntimeError):  # the scheduler is gone
            executor.shutdown(wait=False)  # cancels what is not finished
            client.close(timeout=CONNECT_S)


def _connect(address: str) -> Client:
    """Connect to a Dask scheduler that has a worker."""
    try:
        from distributed import Client
    except ImportError:
        needs = "--dask needs the packages dask and distributed: pip install 'retlib[dask]' (or -e '.[dask]')"
        raise ValueError(needs) from None
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"--dask {address}: no scheduler answers there ({error})") from None
    try:
        client.wait_for_workers(1, timeout=WORKERS_S)
    except TimeoutError:
        client.close(timeout=CONNECT_S)
        raise ValueError(f"--dask {address}: no worker came within {WORKERS_S:g} seconds") from None
    return client


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
        run(parsed, store, root=root, device=device, progress=progress)


class Outcome(NamedTuple):
    """A run that ended: with a record, or with an error in one line."""

    run: NamedRun
    seconds: float
    record: Record | None = None
    error: str = ""

    def row(self) -> dict[str, str | float]:
        """Give the time, the Dice and AUC on the first test selection (NaN for none), and the record's id."""
        scores = {} if self.record is None else self.record.metrics()
        dice, auc = (math.nan if scores.get(name) is None else scores[name] for name in ("dice", "auc"))
        identity = "failed" if self.record is None else self.record.id
        return {"time": duration(self.seconds), "Dice": dice, "AUC": auc, "record": identity}

    def __str__(self) -> str:
        end = self.error or "Dice {Dice:.4f}, record {record}".format(**self.row())
        return f"{self.run.label}: {duration(self.seconds)}, {end}"


def make_records(
    runs: Sequence[NamedRun],
    store: Store,
    executor: futures.Executor,
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
        store: where their records go.
        executor: see `open_executor`.
        devices: see `open_executor`.
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
                future = futures.Future()
                future.set_exception(error)
            running[future] = item, device, began
        if not running:
            return
        for future in futures.wait(running, return_when=futures.FIRST_COMPLETED).done:
            item, device, began = running.pop(future)
            free.append(device)
            try:
                future.result()
                end = {"record": _find_record(item.id, store)}
            except Exception as error:  # the other runs go on
                end = {"error": _describe(error)}
            yield Outcome(item, time.monotonic() - began, **end)


def _describe(error: Exception) -> str:
    """Word an error in one line."""
    if isinstance(error, futures.BrokenExecutor):
        return "a process was killed, perhaps for want of memory; the same command goes on from the last checkpoint"
    if isinstance(error, futures.CancelledError):
        return "cancelled by the cluster, or the scheduler is gone"
    return " ".join(str(error).split()) or type(error).__name__


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
    """Write a duration with two digits: ``55 ms``, ``4.2 s``, ``12 min``, ``3.4 h``, ``9.1 days``; a dash for NaN."""
    units = (("ms", 0.001, 1), ("s", 1, 120), ("min", 60, 7200), ("h", 3600, 48 * 3600), ("days", 86400, math.inf))
    for unit, size, end in units:
        if seconds < end:
            return f"{seconds / size:.{1 if seconds < 9.95 * size else 0}f} {unit}"
    return "—"


def summarise(outcomes: Sequence[Outcome], runs: Sequence[NamedRun], skipped: int) -> str:
    """Make the last table: one row for each run that ended, then the errors, then the counts.

    ``runs`` are all that were to be made; ``skipped`` others had a record before.
    """
    labels = pd.Index([outcome.run.label for outcome in outcomes])
    table = pd.DataFrame([outcome.row() for outcome in outcomes], labels).rename_axis(columns="run")
    lines = [table.to_string(float_format="%.4f", na_rep="–") if outcomes else "nothing was run"]
    if failed := [f"  {outcome.run.label}: {outcome.error}" for outcome in outcomes if outcome.error]:
        lines += ["", f"{len(failed)} failed:", *failed]
    left = [run for run in runs if run.id not in {outcome.run.id for outcome in outcomes}]
    done = len(outcomes) - len(failed)
    lines += ["", f"done: {done}, failed: {len(failed)}, left: {len(left)}, skipped: {skipped}"]
    if left:
        lines.append(f"left: {len(left)} runs ({count_tiers(left)})")
    return "\n".join(lines)
