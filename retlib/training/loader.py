"""Load batches ahead of the network: by torch's DataLoader, in worker processes or beside the network in a thread."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from torch.utils.data import DataLoader

from retlib.device import usable_cores
from retlib.training.batches import Batch, RawBatch, TrainingDataset, to_batch

# The heaviest pipeline takes half a millisecond for a patch of 160 pixels: a dozen workers make 20,000 a second.
MOST_WORKERS = 12
PREFETCHED = 2  # batches that each worker process makes ahead


def choose_workers(device: torch.device) -> int:
    """Choose the number of worker processes: one a core but one for a GPU; 0 on the CPU, and if none can be forked."""
    can_fork = not multiprocessing.current_process().daemon and "fork" in multiprocessing.get_all_start_methods()
    return min(MOST_WORKERS, max(1, usable_cores() - 1)) if device.type == "cuda" and can_fork else 0


def load_batches(
    dataset: TrainingDataset, epochs: range, device: torch.device, workers: int, start: int = 0
) -> Iterator[Batch]:
    """Yield the batches of ``epochs`` in order, on ``device``: ``dataset.steps`` of them an epoch.

    ``workers`` processes make them ahead, or with 0 a thread; the batches are the same. The first epoch begins with its
    batch of index ``start``. An error of a worker is raised here. Close the iterator to stop the workers.
    """
    keys = ((epoch, i) for epoch in epochs for i in range(start if epoch == epochs.start else 0, dataset.steps))
    loader = DataLoader(
        dataset,
        batch_size=None,  # the dataset's items are batches
        sampler=keys,
        collate_fn=_to_arrays,
        num_workers=workers,
        prefetch_factor=PREFETCHED if workers else None,
        multiprocessing_context="fork" if workers else None,  # the workers share the samples' memory
        worker_init_fn=partial(_start_worker, os.getpid()) if workers else None,
        generator=torch.Generator(),  # DataLoader draws a seed; torch's global generator belongs to dropout
    )
    for raw in iter(loader) if workers else _one_ahead(iter(loader)):
        yield to_batch(raw.each(torch.from_numpy), dataset.inputs, device)


def _to_arrays(raw: RawBatch) -> RawBatch:
    """Turn tensors into arrays, which travel by pipe: tensors take shared memory, of which containers have little."""
    return raw.each(torch.Tensor.numpy)


def _one_ahead(batches: Iterator[RawBatch]) -> Iterator[RawBatch]:
    """Yield what ``batches`` yields, with the next one being made in a thread."""
    with ThreadPoolExecutor(1, thread_name_prefix="retlib-batches") as pool:
        pending = pool.submit(next, batches, None)
        while (raw := pending.result()) is not None:
            pending = pool.submit(next, batches, None)
            yield raw


def _start_worker(parent: int, _: int) -> None:
    """Prepare a worker process: no threads of OpenCV, and an end when the training is killed."""
    import cv2

    cv2.setNumThreads(0)  # its pool of threads did not survive the fork

    def watch() -> None:  # DataLoader's own watch never ends a worker whose batch is stuck in the pipe
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
