"""run: RunConfig -> Record. Load, train (or resume), predict, score, write."""

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
from retlib.device import has_bfloat16
from retlib.files import cache_folder
from retlib.inference import predict_logits
from retlib.models import build_model, count_parameters
from retlib.preprocessing import prepare, to_grid
from retlib.study.config import RunConfig, Selection
from retlib.study.environment import environment, samples_per_second
from retlib.study.records import FileContent, Record, Store
from retlib.study.scoring import best_threshold, score_test
from retlib.training import Trained, fit


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
    """Make the record of a config, or return the one that is there.

    A run that was killed is resumed from its last checkpoint; two processes that are given the same run do not
    disturb each other, the second waits and finds the record.

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
    """Records of many configs, in order; ``executor`` is any concurrent.futures executor (default: in this process).

    Runs are independent: one that fails leaves the others' records in the store, and its error is raised at the end.
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
    """State dict that this machine kept of a finished run, or None."""
    path = weights_path(identity)
    return torch.load(path, map_location="cpu", weights_only=True) if path.is_file() else None


def weights_path(identity: str) -> Path:
    """Where a finished run's weights are kept on this machine."""
    return cache_folder() / "weights" / f"{identity}.pt"


def pick_device(name: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N`` as a device; CUDA that is not there is an error."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"device: expected 'auto', 'cpu', 'cuda' or 'cuda:N', got {name!r}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device: {name!r} was asked for, but torch sees no CUDA device here; use 'cpu' or 'auto'")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device: {name!r} was asked for, but torch sees {torch.cuda.device_count()} CUDA device(s)")
    return device


def load_samples(selection: Selection, config: RunConfig, root: str | None, names: Sequence[str] | None = None):
    """The selected samples (only ``names``, if given), on the grid that the config scores on."""
    dataset = load_dataset(selection.dataset, split=selection.split, root=root, **selection.options)
    wanted = None if names is None else set(names)
    return [
        to_grid(dataset[i], config.inputs) for i, name in enumerate(dataset.names) if wanted is None or name in wanted
    ]


def _execute(
    config: RunConfig, root: str | None, device: torch.device, work: Path, progress: bool
) -> tuple[dict[str, Any], dict[str, FileContent], Trained]:
    training_names, validation_names = config.split_training()
    training = load_samples(config.train, config, root, training_names)
    validation = load_samples(config.train, config, root, validation_names) if validation_names else []
    before = _pretrain(config, root, device, work, progress)

    def starting_model() -> nn.Module:
        return build(config) if before is None else before.model

    with _bar(
        f"{config.model} on {config.train.label}, seed {config.seed}", config.training.epochs, progress
    ) as advance:
        if device.type == "cuda":  # the peak is this run's own
            torch.cuda.init()
            torch.cuda.reset_peak_memory_stats(device)
        trained = fit(
            starting_model,
            [prepare(s, config.inputs) for s in training],
            [prepare(s, config.inputs) for s in validation],
            config.training,
            config.inputs,
            seed=config.seed,
            device=device,
            checkpoint=work / "checkpoint.pt",
            progress=advance,
        )

        def logits_of(samples: Sequence[FundusSample]) -> list[np.ndarray]:
            return [
                predict_logits(
                    trained.model, s, config.inputs, config.inference, device=device, amp=config.training.amp
                )
                for s in samples
            ]

        threshold = config.scoring.threshold
        if isinstance(threshold, str):
            chosen_on = training if threshold == "training" else validation
            if not chosen_on:
                raise ValueError("scoring.threshold: 'validation' needs validation images, but validation is 0")
            threshold = best_threshold(logits_of(chosen_on), chosen_on, config.scoring.region)
        tests, files, seconds, cpu_seconds, images = {}, {}, 0.0, 0.0, 0
        for selection in config.test:
            samples = load_samples(selection, config, root)
            started, cpu_started = time.perf_counter(), time.process_time()
            logits = logits_of(samples)
            seconds, images = seconds + time.perf_counter() - started, images + len(samples)
            cpu_seconds += time.process_time() - cpu_started
            entry, new = score_test(selection.label, logits, samples, threshold, config.scoring.region)
            tests[selection.label] = entry
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
            "inference_s_per_image": seconds / images,
            # Of one core, summed over the process's threads: comparable between quiet and busy machines.
            "training_cpu_s": trained.cpu_seconds,
            "inference_cpu_s_per_image": cpu_seconds / images,
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
    """Say once a process, on standard output (a notebook's stderr is an alarm), that full-size runs will take long."""
    print(
        "This processor has no units for bfloat16 (amx_bf16 or avx512_bf16), in which full-size runs train on a CPU "
        "(training.amp_cpu). The run follows its configuration, and bfloat16 is emulated. With such units, on two "
        "cores of an Intel processor, steps in bfloat16 are up to four times as fast as in float32; emulated "
        "without them they are slower still than in float32.",
        flush=True,
    )


def build(config: RunConfig) -> nn.Module:
    """The network of a config, with fresh weights."""
    return build_model(config.model, in_channels=config.inputs.channels, **config.model_options)


def _pretrain(config: RunConfig, root: str | None, device: torch.device, work: Path, progress: bool) -> Trained | None:
    if config.pretraining is None:
        return None
    selection, settings = config.pretraining.train, config.pretraining.training
    samples = [prepare(s, config.inputs) for s in load_samples(selection, config, root)]
    with _bar(f"{config.model}, first on {selection.label}", settings.epochs, progress) as advance:
        return fit(
            lambda: build(config),
            samples,
            [],
            settings,
            config.inputs,
            seed=config.seed,
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
    """A bar with the time left that appears after two seconds, on standard output (a notebook's stderr is an alarm)."""
    if not shown:
        yield None
        return
    with tqdm(total=epochs, desc=title, unit="epoch", delay=2, file=sys.stdout, mininterval=1) as bar:

        def advance(epoch: int, planned: int, row: dict[str, float]) -> None:
            bar.total = planned
            bar.update(epoch - bar.n)
            bar.set_postfix_str(f"loss {row['train_loss']:.4f}", refresh=False)

        yield advance
