"""Run a config: load, train or resume, predict, score, write a record."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from retlib.data import FundusSample, load_dataset
from retlib.device import environment, has_bfloat16, pick_device
from retlib.files import cache_folder, write_whole
from retlib.inference import predict_logits
from retlib.models import build_model, count_parameters
from retlib.preprocessing import prepare, to_grid
from retlib.study.config import RunConfig, Selection
from retlib.study.records import Made, Record, Store, find_or_make
from retlib.study.scoring import choose_threshold, score_test
from retlib.training import Trained, TrainingSettings, fit
from retlib.training.checkpoints import Clock

Progress = Callable[[int, int, dict[str, float]], None]  # called after each epoch, see `fit`


def run(
    config: RunConfig,
    store: Store | str | Path,
    *,
    root: str | Path | None = None,
    device: str = "auto",
    force: bool = False,
    progress: bool = True,
) -> Record:
    """Make the record of a config, or return the record that exists.

    A run that was killed resumes from its last checkpoint. Its weights stay on this machine, see `weights_path`.

    Args:
        config: what to run.
        store: where records live.
        root: folder of the data sets; RETLIB_DATA by default.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...; ``auto`` takes CUDA where there is one.
        force: train again even if there is a record.
        progress: a bar with the time left, on standard output, once a run takes over two seconds.

    Raises:
        FileNotFoundError: the data is not there; the message says what to do.
    """
    return find_or_make(
        config, store, root, lambda work: _execute(config, root, pick_device(device), work, progress), force=force
    )


def _execute(config: RunConfig, root: str | Path | None, device: torch.device, work: Path, progress: bool) -> Made:
    """Load, train, predict and score; returns the record's content and files, and keeps the weights."""
    if device.type == "cpu" and config.profile == "paper" and config.training.amp_cpu and not has_bfloat16():
        _say_slow()
    training, validation = load_training(config, root)
    before, settings = None, config.pretraining
    if settings is not None:
        samples = load_samples(settings.train, config, root)
        with _bar(f"{config.model}, first on {settings.train.label}", settings.training.epochs, progress) as advance:
            checkpoint = work / "pretraining.pt"
            before = train(
                config, samples, settings=settings.training, device=device, checkpoint=checkpoint, progress=advance
            )
    title = f"{config.model} on {config.train.label}, seed {config.seed}"
    with _bar(title, config.training.epochs, progress) as advance:
        if device.type == "cuda":  # so that the peak is this run's own
            torch.cuda.init()
            torch.cuda.reset_peak_memory_stats(device)
        trained = train(
            config,
            training,
            validation,
            start=None if before is None else before.model,
            device=device,
            checkpoint=work / "checkpoint.pt",
            progress=advance,
        )

        def predict(samples: Sequence[FundusSample]) -> list[np.ndarray]:
            return predict_all(trained.model, samples, config, device)

        threshold = choose_threshold(config.scoring, predict, training, validation)
        spent = np.zeros(2)  # seconds of predicting test images: on the wall, and of one core
        tests, files = {}, {}
        for selection in config.test:  # one in memory at a time
            samples = load_samples(selection, config, root)
            clock = Clock()
            logits = predict(samples)
            spent += clock.lap()
            tests[selection.label], new = score_test(selection.label, logits, samples, threshold, config.scoring.region)
            files |= new
    _keep_weights(work.name, trained.model)  # the folder bears the record's id
    inference_s, inference_cpu_s = (spent / sum(len(entry["images"]) for entry in tests.values())).tolist()
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
            # Images or patches, of the training steps alone.
            "samples_per_s": trained.samples / trained.step_seconds if trained.step_seconds else None,
            "inference_s_per_image": inference_s,
            "training_cpu_s": trained.cpu_seconds,
            "inference_cpu_s_per_image": inference_cpu_s,
            "resumed_from_epochs": trained.resumed_from,  # 2.25: a quarter into the third epoch
        },
        "acceleration": trained.acceleration,
        "environment": environment(device),
    }
    if before is not None:
        content["pretraining"] = {
            "images": list(settings.train.names()),
            "steps": before.steps,
            "history": before.history,
        }
        content["timing"]["pretraining_s"] = before.seconds
    return content, files


def weights_path(identity: str) -> Path:
    """Return the file in which this machine keeps a finished run's weights."""
    return cache_folder() / "weights" / f"{identity}.pt"


def load_samples(
    selection: Selection, config: RunConfig, root: str | Path | None, names: Sequence[str] | None = None
) -> list[FundusSample]:
    """Load the selected samples (only ``names``, if given) on the grid that the config scores on."""
    dataset = load_dataset(selection.dataset, split=selection.split, root=root, **selection.options)
    wanted = dataset.names if names is None else names
    return [to_grid(dataset[i], config.inputs) for i, name in enumerate(dataset.names) if name in wanted]


def load_training(config: RunConfig, root: str | Path | None) -> tuple[list[FundusSample], list[FundusSample]]:
    """Load the images that a run trains on, and those that it holds out of them for validation."""
    training, validation = config.split_training()
    also = [sample for selection in config.also for sample in load_samples(selection, config, root)]
    held_out = load_samples(config.train, config, root, validation)
    return load_samples(config.train, config, root, training) + also, held_out


def build(config: RunConfig) -> nn.Module:
    """Build the network of a config, with fresh weights."""
    return build_model(config.model, in_channels=config.inputs.channels, **config.model_options)


def train(
    config: RunConfig,
    training: Sequence[FundusSample],
    validation: Sequence[FundusSample] = (),
    *,
    settings: TrainingSettings | None = None,
    start: nn.Module | None = None,
    device: torch.device,
    checkpoint: Path,
    progress: Progress | None,
) -> Trained:
    """Train a network with the inputs and the seed of a config; resume if there is a checkpoint.

    Training has the config's own settings unless others are given, and begins with fresh weights unless ``start`` is a
    network with other ones.
    """
    return fit(
        lambda: build(config) if start is None else start,
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
    """Predict logits as a config says: float32 (H, W) per sample, on its native grid."""
    return [
        predict_logits(model, sample, config.inputs, config.inference, device=device, amp=config.training.amp)
        for sample in samples
    ]


@cache
def _say_slow() -> None:
    """Print once per process that full-size runs will take long."""
    print(
        "This processor has no units for bfloat16 (amx_bf16 or avx512_bf16), in which full-size runs train on a CPU "
        "(training.amp_cpu). The run follows its configuration, and bfloat16 is emulated. With such units, on two "
        "cores of an Intel processor, steps in bfloat16 are up to four times as fast as in float32; emulated "
        "without them they are slower still than in float32.",
        flush=True,
    )


def _keep_weights(identity: str, model: nn.Module) -> None:
    path, content = weights_path(identity), io.BytesIO()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({k: v.detach().cpu() for k, v in model.state_dict().items()}, content)
    write_whole(path, content.getvalue())


@contextmanager
def _bar(title: str, epochs: int, shown: bool) -> Iterator[Progress | None]:
    """Show the time left, after two seconds, on standard output: output on stderr fails a notebook's page."""
    if not shown:
        yield None
        return
    with tqdm(total=epochs, desc=title, unit="epoch", delay=2, file=sys.stdout, mininterval=1) as bar:

        def advance(epoch: int, planned: int, row: dict[str, float]) -> None:
            bar.total = planned
            bar.update(epoch - bar.n)
            bar.set_postfix_str(f"loss {row['train_loss']:.4f}", refresh=False)

        yield advance
