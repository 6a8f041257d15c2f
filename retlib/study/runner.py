"""Run a config: load, train or resume, predict, score, write a record."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import nn
from tqdm import tqdm

from retlib.data import FundusSample, load_dataset
from retlib.device import has_bfloat16, pick_device
from retlib.files import cache_folder
from retlib.inference import predict_logits
from retlib.models import build_model, count_parameters
from retlib.preprocessing import prepare, to_grid
from retlib.study.config import RunConfig, Selection
from retlib.study.environment import environment, samples_per_second
from retlib.study.records import FileContent, Record, Store
from retlib.study.scoring import choose_threshold, score_test
from retlib.training import Trained, TrainingSettings, fit


def run(
    config: RunConfig,
    store: Store | str | Path,
    *,
    root: str | Path | None = None,
    device: str = "auto",
    force: bool = False,
    progress: bool = True,
    keep_checkpoint: bool = False,
) -> Record:
    """Make the record of a config, or return the record that exists.

    A run that was killed resumes from its last checkpoint. Two processes that are given the same run do not disturb
    each other: the second waits and reads the record of the first.

    Args:
        config: what to run.
        store: where records live.
        root: folder of the data sets; RETLIB_DATA by default.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...; ``auto`` takes CUDA where there is one.
        force: train again even if there is a record.
        progress: a bar with the time left, on standard output, once a run takes over two seconds.
        keep_checkpoint: leave the last checkpoint in the cache, so that a deleted record is scored again without
            training again.

    Raises:
        FileNotFoundError: the data is not there; the message says what to do.
    """
    store = store if isinstance(store, Store) else Store(store)
    root = None if root is None else str(root)
    header = config.header(root)
    identity = header["id"]
    if not force and (record := store.get(identity)) is not None:
        return record
    work = cache_folder() / "work" / identity
    work.mkdir(parents=True, exist_ok=True)
    with FileLock(work.with_suffix(".lock")):
        if not force and (record := store.get(identity)) is not None:
            return record
        if force:  # from the start, not from what an earlier run left
            for name in ("checkpoint.pt", "pretraining.pt"):
                (work / name).unlink(missing_ok=True)
        target = pick_device(device)
        if target.type == "cpu" and config.profile == "paper" and config.training.amp_cpu and not has_bfloat16():
            _say_slow()
        content, files, trained = _execute(config, root, target, work, progress)
        record = store.write(header | content, files)
        _keep_weights(identity, trained)
        if not keep_checkpoint:
            shutil.rmtree(work, ignore_errors=True)
    return record


def run_all(
    configs: Sequence[RunConfig],
    store: Store | str | Path,
    *,
    executor: Executor | None = None,
    **options: Any,
) -> list[Record]:
    """Run many configs and return their records in order; ``executor`` is any concurrent.futures executor or None.

    Runs are independent: if one fails, the records of the others are in the store, and its error is raised at the end.
    """
    if executor is None:
        return [run(config, store, **options) for config in configs]
    path = store.path if isinstance(store, Store) else Path(store)
    futures = {executor.submit(run, config, path, **options): i for i, config in enumerate(configs)}
    done: dict[int, Record] = {}
    errors = []
    for future in as_completed(futures):
        try:
            done[futures[future]] = future.result()
        except Exception as error:  # kept: the other runs go on
            errors.append(error)
    if errors:
        raise errors[0]
    return [done[i] for i in range(len(configs))]


def load_weights(identity: str) -> dict[str, torch.Tensor] | None:
    """Load the state dict that this machine kept of a finished run, or None."""
    path = weights_path(identity)
    return torch.load(path, map_location="cpu", weights_only=True) if path.is_file() else None


def weights_path(identity: str) -> Path:
    """Return the file in which this machine keeps a finished run's weights."""
    return cache_folder() / "weights" / f"{identity}.pt"


def load_samples(
    selection: Selection, config: RunConfig, root: str | None, names: Sequence[str] | None = None
) -> list[FundusSample]:
    """Load the selected samples (only ``names``, if given) on the grid that the config scores on."""
    dataset = load_dataset(selection.dataset, split=selection.split, root=root, **selection.options)
    wanted = dataset.names if names is None else names
    return [to_grid(dataset[i], config.inputs) for i, name in enumerate(dataset.names) if name in wanted]


def load_training(config: RunConfig, root: str | None) -> tuple[list[FundusSample], list[FundusSample]]:
    """Load the images that a run trains on, and those that it holds out of them for validation."""
    training, validation = config.split_training()
    return load_samples(config.train, config, root, training), load_samples(config.train, config, root, validation)


def build(config: RunConfig) -> nn.Module:
    """Build the network of a config, with fresh weights."""
    return build_model(config.model, in_channels=config.inputs.channels, **config.model_options)


def train(
    config: RunConfig,
    build_start: Callable[[], nn.Module],
    training: Sequence[FundusSample],
    validation: Sequence[FundusSample] = (),
    settings: TrainingSettings | None = None,
    *,
    device: torch.device,
    checkpoint: Path,
    progress: Callable[[int, int, dict[str, float]], None] | None,
) -> Trained:
    """Train a network with the inputs, the seed and the settings of a config; resume if there is a checkpoint.

    Args:
        config: the run.
        build_start: builds the network that training starts from.
        training: images to train on.
        validation: images that are held out.
        settings: of the training; the config's own by default.
        device: where to train.
        checkpoint: file of the last checkpoint.
        progress: called after each epoch, see `fit`.
    """
    return fit(
        build_start,
        [prepare(sample, config.inputs) for sample in training],
        [prepare(sample, config.inputs) for sample in validation],
        settings or config.training,
        config.inputs,
        seed=config.seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
    )


def predict_all(
    model: nn.Module, samples: Sequence[FundusSample], config: RunConfig, device: torch.device
) -> list[np.ndarray]:
    """Predict logits as a config says: float32 (H, W) a sample, on its native grid."""
    return [
        predict_logits(model, sample, config.inputs, config.inference, device=device, amp=config.training.amp)
        for sample in samples
    ]


class Stopwatch:
    """Add up the seconds that ``with`` blocks take.

    Attributes:
        wall: seconds on the wall.
        cpu: seconds of one core, summed over the process's threads: comparable between quiet and busy machines.
    """

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter() - self._started[0]
        self.cpu += time.process_time() - self._started[1]


def _execute(
    config: RunConfig, root: str | None, device: torch.device, work: Path, progress: bool
) -> tuple[dict[str, Any], dict[str, FileContent], Trained]:
    training, validation = load_training(config, root)
    before = _pretrain(config, root, device, work, progress)
    title = f"{config.model} on {config.train.label}, seed {config.seed}"
    with _bar(title, config.training.epochs, progress) as advance:
        if device.type == "cuda":  # so that the peak is this run's own
            torch.cuda.init()
            torch.cuda.reset_peak_memory_stats(device)
        trained = train(
            config,
            lambda: build(config) if before is None else before.model,
            training,
            validation,
            device=device,
            checkpoint=work / "checkpoint.pt",
            progress=advance,
        )

        def logits_of(samples: Sequence[FundusSample]) -> list[np.ndarray]:
            return predict_all(trained.model, samples, config, device)

        threshold = choose_threshold(config.scoring, logits_of, training, validation)
        tests, files, images, inference = {}, {}, 0, Stopwatch()
        for selection in config.test:
            samples = load_samples(selection, config, root)
            with inference:
                logits = logits_of(samples)
            images += len(samples)
            tests[selection.label], new = score_test(selection.label, logits, samples, threshold, config.scoring.region)
            files |= new
    content = {
        "model": {"parameters": count_parameters(trained.model)},
        "training": {
            "images": [s.name for s in training],
            "validation": [s.name for s in validation],
            "steps": trained.steps,
            "kept_epoch": trained.epoch,
        },
        "threshold": threshold,
        "history": trained.history,
        "tests": tests,
        "timing": {
            "training_s": trained.seconds,
            "step_s": trained.seconds / trained.steps,
            "samples_per_s": samples_per_second(trained),  # images or patches, of the training steps alone
            "inference_s_per_image": inference.wall / images,
            "training_cpu_s": trained.cpu_seconds,
            "inference_cpu_s_per_image": inference.cpu / images,
            "resumed_from_epochs": trained.resumed_from,  # 2.25: a quarter into the third epoch
        },
        "acceleration": trained.acceleration,
        "environment": environment(device),
    }
    if before is not None:
        content["pretraining"] = {
            "images": list(config.pretraining.train.names()),
            "steps": before.steps,
            "history": before.history,
        }
        content["timing"]["pretraining_s"] = before.seconds
    return content, files, trained


@cache
def _say_slow() -> None:
    """Print once a process that full-size runs will take long."""
    print(
        "This processor has no units for bfloat16 (amx_bf16 or avx512_bf16), in which full-size runs train on a CPU "
        "(training.amp_cpu). The run follows its configuration, and bfloat16 is emulated. With such units, on two "
        "cores of an Intel processor, steps in bfloat16 are up to four times as fast as in float32; emulated "
        "without them they are slower still than in float32.",
        flush=True,
    )


def _pretrain(config: RunConfig, root: str | None, device: torch.device, work: Path, progress: bool) -> Trained | None:
    if config.pretraining is None:
        return None
    selection, settings = config.pretraining.train, config.pretraining.training
    samples = load_samples(selection, config, root)
    with _bar(f"{config.model}, first on {selection.label}", settings.epochs, progress) as advance:
        return train(
            config,
            lambda: build(config),
            samples,
            settings=settings,
            device=device,
            checkpoint=work / "pretraining.pt",
            progress=advance,
        )


def _keep_weights(identity: str, trained: Trained) -> None:
    path = weights_path(identity)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    torch.save({k: v.detach().cpu() for k, v in trained.model.state_dict().items()}, partial)
    partial.replace(path)


@contextmanager
def _bar(title: str, epochs: int, shown: bool) -> Iterator[Callable[[int, int, dict[str, float]], None] | None]:
    """Show the time left, after two seconds, on standard output (a notebook's page must not write to stderr)."""
    if not shown:
        yield None
        return
    with tqdm(total=epochs, desc=title, unit="epoch", delay=2, file=sys.stdout, mininterval=1) as bar:

        def advance(epoch: int, planned: int, row: dict[str, float]) -> None:
            bar.total = planned
            bar.update(epoch - bar.n)
            bar.set_postfix_str(f"loss {row['train_loss']:.4f}", refresh=False)

        yield advance
