"""Make the batches of a training, and load them ahead of the network.

Every batch is a function of (samples, settings, seed, epoch, index). torch's DataLoader makes them in worker processes,
or beside the network in a thread.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from retlib.augmentation import augment, build_augmentation
from retlib.device import usable_cores
from retlib.losses import signed_distances
from retlib.preprocessing import InputSettings, Prepared, normalise
from retlib.training.sampling import SampleIndex, count_by_rows, cut_patch, derive_seed, plan_epoch, random_corner
from retlib.training.settings import Region, TrainingSettings

# The heaviest pipeline takes half a millisecond for a patch of 160 pixels: a dozen workers make 20,000 a second.
MOST_WORKERS = 12
PREFETCHED = 2  # batches that each worker process makes ahead


class RawBatch(NamedTuple):
    """A batch before normalisation: uint8 image (N, h, w, C), bool vessels and FOV (N, h, w).

    A quarter of the bytes of a :class:`Batch`. With ``normalisation: standard`` the image is float32 and normalised
    already. Where the loss uses them, ``distances`` holds signed distances to the vessels, float32 (N, h, w).
    """

    image: Any  # tensors, or arrays on their way from a worker process
    vessels: Any
    fov: Any
    distances: Any = None

    def each(self, change: Callable[[Any], Any]) -> RawBatch:
        """Apply ``change`` to every part that is present."""
        return RawBatch(*(part if part is None else change(part) for part in self))


class Batch(NamedTuple):
    """What network and loss take: float32 image (N, C, h, w), channels last, and float32 maps (N, 1, h, w).

    ``vessels`` and ``fov`` are 0 or 1. ``distances`` are signed distances to the vessels, as
    :func:`retlib.losses.boundary` takes them, or None.
    """

    image: torch.Tensor
    vessels: torch.Tensor
    fov: torch.Tensor
    distances: torch.Tensor | None = None


class TrainingDataset(Dataset):
    """Batches of a training by (epoch, index), in any order: ``dataset[epoch, index]`` is a :class:`RawBatch`.

    Args:
        samples: at working size; of one size, unless patches are cut.
        inputs: normalisation.
        settings: batch size, patches, augmentation and copies.
        seed: every random choice is a function of (seed, epoch, position).
        distances: add the signed distances to the vessels in this region; None: leave them out.
    """

    def __init__(
        self,
        samples: Sequence[Prepared],
        inputs: InputSettings,
        settings: TrainingSettings,
        seed: int,
        distances: Region | None = None,
    ) -> None:
        self.samples, self.inputs, self.settings, self.seed, self.distances = samples, inputs, settings, seed, distances
        patches = settings.patches
        self._plan = 1, plan_epoch(samples, settings, seed, 1)  # of the latest epoch
        self.steps = -(-len(self._plan[1]) // settings.batch_size)  # of an epoch
        drawn = patches is not None and patches.layout == "random" and patches.inside_fov
        self._fov_rows = [count_by_rows(sample.fov) if drawn else None for sample in samples]
        self._pipelines: dict[int | None, Any] = {}

    @property
    def constant_shape(self) -> bool:
        """Tell whether all entries have one size; whole images of a camera without a fixed crop may differ."""
        return self.settings.patches is not None or len({sample.vessels.shape for sample in self.samples}) == 1

    def __getitem__(self, key: tuple[int, int]) -> RawBatch:
        """Cut, augment and stack one batch; the last one of an epoch may be smaller."""
        epoch, index = key
        if self._plan[0] != epoch:
            self._plan = epoch, plan_epoch(self.samples, self.settings, self.seed, epoch)
        start = index * self.settings.batch_size
        entries = enumerate(self._plan[1][start : start + self.settings.batch_size], start)
        made = [self._sample(epoch, position, entry) for position, entry in entries]
        return stack_samples(made, self.inputs, self.distances)

    def _sample(self, epoch: int, position: int, entry: SampleIndex) -> Prepared:
        sample, patches = self.samples[entry.sample], self.settings.patches
        if patches is not None:
            seed = derive_seed("patch", self.seed, epoch, position)
            corner = entry.corner or random_corner(sample, patches, seed, self._fov_rows[entry.sample])
            sample = cut_patch(sample, patches, corner)
        if not entry.augmented:
            return sample
        if entry.transform not in self._pipelines:
            self._pipelines[entry.transform] = build_augmentation(self.settings.augmentation, entry.transform)
        return augment(self._pipelines[entry.transform], sample, derive_seed("augment", self.seed, epoch, position))


def stack_samples(samples: Sequence[Prepared], inputs: InputSettings, distances: Region | None = None) -> RawBatch:
    """Stack samples of one size.

    Args:
        samples: photographs, labels and FOVs.
        inputs: normalisation. ``standard`` is applied here: it sums over each image in numpy's order.
        distances: see :class:`TrainingDataset`.
    """
    images = [normalise(s.image, "standard") if inputs.normalisation == "standard" else s.image for s in samples]
    vessels, fov = np.stack([s.vessels for s in samples]), np.stack([s.fov for s in samples])
    raw = RawBatch(np.stack(images), vessels, fov)
    if distances is not None:
        raw = raw._replace(distances=signed_distances(vessels & fov if distances == "fov" else vessels))
    return raw.each(torch.from_numpy)


def to_batch(raw: RawBatch, inputs: InputSettings, device: torch.device | None = None) -> Batch:
    """Normalise a batch on ``device`` (None: where it is); the numbers are the same, bit for bit, on every device."""
    if device is not None:
        if device.type == "cuda":  # page-locked memory, from which the GPU copies while Python goes on
            raw = raw.each(torch.Tensor.pin_memory)
        raw = raw.each(lambda part: part.to(device, non_blocking=True))
    image = raw.image
    count, height, width, channels = image.shape
    # Channels last. For one channel both layouts hold the same bytes, and torch tells them apart by the strides.
    image = image.view(count, 1, height, width) if channels == 1 else image.permute(0, 3, 1, 2)
    if image.dtype == torch.uint8:
        image = _normalise(image.to(torch.float32), inputs.normalisation)
    return Batch(image, *(part if part is None else part[:, None].to(torch.float32) for part in raw[1:]))


def _normalise(values: torch.Tensor, method: str) -> torch.Tensor:
    """Apply `retlib.preprocessing.normalise` to a tensor of 0 to 255, in place."""
    divisor = {"unit": 255.0, "signed": 127.5, "none": None}[method]
    if divisor is not None:
        # A tensor, since CUDA divides by a Python number as it multiplies with its reciprocal: other last bits.
        values.div_(torch.full((), divisor, device=values.device))
    return values.sub_(1.0) if method == "signed" else values


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
