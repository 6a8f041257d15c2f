"""Lanes: places where one run at a time is made. One code path for this process, processes of its own and a cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import connection, get_context, parent_process
from typing import Any

from retlib.reproduce.estimates import Pace

MOST_PER_GPU = 4
"""Lanes that ``auto`` gives a GPU at most."""
SMALL_PARAMETERS = 8_000_000
SMALL_SHARE = 1 / 8
"""A small net: at most so many parameters, and so much of the GPU's memory at its peak."""
FILLED_SHARE = 0.8
"""Runs that share a GPU take at most this share of its memory together, a process's own share included."""
CONTEXT_MIB = 600
"""What a process takes of a GPU's memory before it holds a single tensor, about."""
_START_S = 300  # for a new process to start; a machine under load takes its time


class Inline(Executor):
    """An executor without threads or processes: the work is done when ``submit`` returns."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future:
        """Do it now; an interrupt passes through, any other error is kept in the future."""
        future: Future = Future()
        try:
            future.set_result(function(*arguments, **options))
        except Exception as error:
            future.set_exception(error)
        return future


@dataclass
class Lane:
    """A place for one run at a time.

    Attributes:
        device: The device that its runs are given.
        opener: Makes its executor; called when it is first needed, and again after the executor broke.
        own_process: Whether the executor is a process of this lane's own, which may be killed.
        own_device: Whether no other lane has its device, though it may be called the same: a worker's on a cluster.
        shows_bars: Whether a run may show its own progress bar there.
    """

    device: str
    opener: Callable[[], Executor]
    own_process: bool = False
    own_device: bool = False
    shows_bars: bool = False
    _executor: Executor | None = field(default=None, init=False, repr=False)
    _pid: int | None = field(default=None, init=False, repr=False)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future:
        """Hand a task over; what goes wrong in that is kept in the future, as an error of the task itself is."""
        try:
            return self._hand_over(function, *arguments)
        except Exception as error:
            future: Future = Future()
            future.set_exception(error)
            return future

    def _hand_over(self, function: Callable[..., Any], *arguments: Any) -> Future:
        """The same; a process that was killed is replaced by a new one."""
        if self._executor is not None:
            try:
                return self._executor.submit(function, *arguments)
            except BrokenExecutor:
                self.close()
        self._executor = self.opener()
        if self.own_process:
            self._pid = self._executor.submit(os.getpid).result(timeout=_START_S)
        return self._executor.submit(function, *arguments)

    def close(self) -> None:
        """End the lane's process at once, whatever it does: a run that is killed goes on from its last checkpoint."""
        executor, self._executor = self._executor, None
        if executor is None or not self.own_process:
            return
        executor.shutdown(wait=False, cancel_futures=True)
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        self._pid = None


def wait_for(future: Future, seconds: float, trouble: Callable[[], str | None] = lambda: None) -> Any:
    """The result of something short that a lane was given before any run.

    Raises:
        TimeoutError: it took too long, or there is trouble that it cannot survive; the message says so.
    """
    deadline = time.monotonic() + seconds
    while not future.done():
        wait([future], timeout=1.0)
        words = trouble()
        if time.monotonic() > deadline:
            words = f"a lane did not answer within {seconds:g} seconds"
        if words is not None and not future.done():
            future.cancel()
            raise TimeoutError(f"{words}; nothing was run")
    return future.result()


def local_lanes(device: str, jobs: int | None) -> list[Lane]:
    """Lanes on this machine.

    One job is done in this process. Several get a process each, started when it is first needed; on the CPU they share
    the cores evenly, on GPUs they take turns over ``cuda:0``, ``cuda:1``, ...

    Args:
        device: as in `retlib.experiments.run`; ``cuda`` and ``auto`` take all GPUs.
        jobs: how many; None for 1 on the CPU, and up to four a GPU (one for every two cores), of which the second and
            further ones take small nets alone, see `may_start`.
    """
    from retlib.experiments import pick_device

    target = pick_device(device)
    devices = [str(target)]
    cores = available_cores()
    if target.type == "cuda" and target.index is None:
        import torch

        devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if jobs is None:
        jobs = 1 if target.type == "cpu" else len(devices) * max(1, min(MOST_PER_GPU, cores // 2 // len(devices)))
    if jobs == 1:
        return [Lane(devices[0], Inline, shows_bars=True)]
    threads = max(1, cores // jobs)
    return [Lane(devices[i % len(devices)], partial(_open_process, threads), own_process=True) for i in range(jobs)]


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def may_start(pace: Pace | None, beside: Iterable[Pace | None], memory_mib: float | None, auto: bool) -> bool:
    """Whether a run may start on a GPU beside those that are there.

    Alone, or on the CPU, always. Beside others only if all their peaks are known and fill at most four fifths of the
    memory together, and, where the number of jobs was left to ``auto``, if all of them are small nets: a large one
    keeps the GPU busy by itself.

    Args:
        pace: of the run.
        beside: of the runs that this GPU has now.
        memory_mib: of the GPU; None on the CPU.
        auto: whether the number of jobs was left to be found.
    """
    together = [pace, *beside]
    if len(together) == 1 or memory_mib is None:
        return True
    if any(item is None or item.memory_mib is None for item in together):
        return False
    small = all(
        item.parameters <= SMALL_PARAMETERS and item.memory_mib <= SMALL_SHARE * memory_mib for item in together
    )
    filled = sum(item.memory_mib + CONTEXT_MIB for item in together)
    return filled <= FILLED_SHARE * memory_mib and (small or not auto)


def _open_process(threads: int) -> Executor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin, initargs=(threads,))


def _begin(threads: int) -> None:
    """First thing in a lane's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver ends its lanes itself
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    """A driver that was killed takes its lanes with it; what they did is in their checkpoints."""
    connection.wait([parent_process().sentinel])
    os._exit(1)
