"""How batches reach the network: made ahead by threads or processes, or gathered on the device."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import torch

from retlib.batches.resident import Resident, can_be_resident, fits
from retlib.batches.source import Source
from retlib.batches.tensors import Batch, Pixels, to_batch

Task = TypeVar("Task")
Result = TypeVar("Result")

# A patch of 160 pixels takes the heaviest pipeline about half a millisecond, so a dozen make some 20,000 a second.
MOST_WORKERS = 12
AHEAD = 2  # batches that each worker makes ahead of the network


class Supply(NamedTuple):
    """How the batches of a training are made."""

    resident: bool  # gathered on the device; a worker only says where
    kind: Literal["threads", "processes"]
    workers: int


def choose_supply(source: Source, device: torch.device) -> Supply:
    """What suits the device: one thread beside a CPU that is busy with the network, all that there is before a GPU.

    Before a GPU heavy pipelines go to processes, since albumentations holds Python's lock for half of its time, and the
    network's own loop needs that lock as well. Where processes cannot be forked, threads do it.
    """
    if device.type != "cuda":
        return Supply(False, "threads", 1)
    if can_be_resident(source) and fits(source.samples, device):
        return Supply(True, "threads", 1)
    workers = min(MOST_WORKERS, max(1, cores() - 1))
    return Supply(False, "processes" if _can_fork() else "threads", workers)


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _can_fork() -> bool:
    """Whether this process may have children that share its memory; those of a Dask worker, say, may not."""
    return not multiprocessing.current_process().daemon and "fork" in multiprocessing.get_all_start_methods()


def supply_batches(
    source: Source, epochs: range, device: torch.device, supply: Supply, start: int = 0
) -> Iterator[Batch]:
    """The batches of ``epochs``, in order, on ``device``; ``source.steps`` of them belong to each epoch.

    What is yielded does not depend on ``supply``. An error of a worker is raised here. Close the iterator when it is
    left before its end: workers are stopped then. The first epoch begins with its batch of index ``start``, the others
    with their first.
    """
    tasks = ((epoch, index) for epoch in epochs for index in range(start if epoch == epochs.start else 0, source.steps))
    on_gpu = device.type == "cuda"
    if supply.resident:
        table = Resident(source, device)
        made = ordered(lambda task: _pinned(table.places(*task), on_gpu), tasks)
    elif supply.kind == "processes":
        arrays = ordered(_work, tasks, supply.workers, start=lambda: _processes(source, supply.workers))
        made = ordered(lambda parts: _pinned_pixels(Pixels(*map(torch.from_numpy, parts)), on_gpu), arrays)
    else:
        # For the CPU the worker turns pixels into numbers as well: numpy does it beside the network.
        made = ordered(
            lambda task: _pinned_pixels(source.pixels(*task, stored=on_gpu), on_gpu),
            tasks,
            supply.workers,
        )
    with closing(made):
        for item in made:
            pixels = table.gather(item) if supply.resident else item
            yield to_batch(pixels, source.inputs, device)


def ordered(
    work: Callable[[Task], Result],
    tasks: Iterable[Task],
    workers: int = 1,
    *,
    start: Callable[[], Executor] | None = None,
) -> Iterator[Result]:
    """``map(work, tasks)``, made ahead of the consumer and handed over in order; an error is raised in its turn.

    Closing the iterator drops what has not begun, waits for what has, and closes ``tasks``.

    Args:
        work: called by the workers.
        tasks: read by the consumer, `AHEAD` a worker in advance.
        workers: how many work at once.
        start: starts them; threads by default.
    """
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="retlib-batches") if start is None else start()
    try:
        for task in tasks:
            pending.append(pool.submit(work, task))
            if len(pending) > workers * AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if hasattr(tasks, "close"):
            tasks.close()


def _processes(source: Source, workers: int) -> ProcessPoolExecutor:
    """Forked processes, which share the samples' memory; `_work` runs in them."""
    context = multiprocessing.get_context("fork")
    return ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(source, os.getpid()))


_of_this_worker: dict[str, Source] = {}


def _begin(source: Source, parent: int) -> None:
    import cv2

    cv2.setNumThreads(0)  # the pool of threads did not survive the fork
    _of_this_worker["source"] = source

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(5)
        os._exit(1)  # the training was killed, and nobody else would end this process

    threading.Thread(target=watch, daemon=True).start()


def _work(task: tuple[int, int]) -> list[np.ndarray]:
    """Arrays and not tensors, which would travel as open files of shared memory: a container has little of that."""
    pixels = _of_this_worker["source"].pixels(*task, stored=True)
    return [part.numpy() for part in pixels if part is not None]  # distances come last


def _pinned_pixels(pixels: Pixels, wanted: bool) -> Pixels:
    return pixels.each(lambda part: _pinned(part, wanted))


def _pinned(part: torch.Tensor, wanted: bool) -> torch.Tensor:
    """Page-locked memory, from which the GPU copies on its own while Python goes on."""
    return part.pin_memory() if wanted else part
