"""Apply or score finished runs in another way: means of networks, resized labels, single epochs.

Each has a config and an id of its own (see `retlib.study.config`) and is recorded beside the runs, so that its numbers
come from records too.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from retlib.data import FundusSample
from retlib.device import has_bfloat16, pick_device
from retlib.inference import Member, area_opening, predict_mean_logits, probabilities, remove_small_components
from retlib.metrics import evaluate
from retlib.models import count_parameters
from retlib.predict.weights import UNUSED, State, fill, package_folder, read_state
from retlib.preprocessing import InputSettings, to_grid
from retlib.study.config import EpochsConfig, MeanConfig, RescoredConfig, Storage
from retlib.study.environment import environment
from retlib.study.records import Made, Record, Store, find_or_make
from retlib.study.runner import (
    build,
    load_samples,
    load_training,
    predict_all,
    score_selections,
    train,
    weights_path,
)
from retlib.study.scoring import choose_threshold, score_test
from retlib.training.checkpoints import Clock


def run_mean(
    config: MeanConfig,
    store: Store | str | Path,
    *,
    root: str | Path | None = None,
    device: str = "auto",
    force: bool = False,
) -> Record:
    """Score a mean and write its record, or return the record that exists. Nothing is trained.

    The record holds what a run's does, and ``members`` (ids of the members' runs), ``model.bytes`` (size of the weights
    as one file), ``model.digest`` (their hash) and ``inference.bfloat16`` (whether it was used). It has two times per
    image: ``inference_s_per_image`` removes small components at all thresholds, as scoring needs it, and
    ``vessels_s_per_image`` at one, as prediction does. Neither includes the estimation of the FOV.

    The arguments are those of `run`.

    Raises:
        FileNotFoundError: the data, or a member's weights, are not there; the message says what to do.
        WeightsError: weights are damaged or do not fit their network.
    """

    def make(_: Path) -> Made:
        target = pick_device(device)
        states = member_states(config, root)
        members = build_members(config, states, target)
        first, min_size = config.members[0], config.least_piece
        training, validation = load_training(first, root)
        passes, opening, removal = np.zeros((3, 2))  # seconds: on the wall, and of one core

        def predict(sample: FundusSample) -> np.ndarray:
            return predict_mean_logits(members, sample, device=target)

        def opened(logits: np.ndarray) -> np.ndarray:
            return logits if min_size is None else area_opening(logits, min_size)

        def predict_timed(samples: Sequence[FundusSample]) -> list[np.ndarray]:
            maps, clock = [], Clock()
            for sample in samples:
                clock.lap()
                logits = predict(sample)
                passes[:] += clock.lap()
                maps.append(opened(logits))
                opening[:] += clock.lap()
                if min_size is not None:
                    vessels = probabilities(logits) >= threshold
                    clock.lap()
                    remove_small_components(vessels, min_size)
                    removal[:] += clock.lap()
            return maps

        threshold = choose_threshold(
            config.scoring, lambda samples: [opened(predict(s)) for s in samples], training, validation
        )
        tests, files = score_selections(first, root, threshold, config.scoring.region, predict_timed)
        images = sum(len(entry["images"]) for entry in tests.values())
        scoring_s, scoring_cpu_s = (passes + opening).tolist()
        prediction_s, prediction_cpu_s = (passes + removal).tolist()
        content = {
            "members": [member.identify(root) for member in config.members],
            "model": {
                "parameters": sum(count_parameters(member.model) for member in members),
                "bytes": len(pack(states)),
                "digest": digest(states),
            },
            "training": {"images": [s.name for s in training], "validation": [s.name for s in validation]},
            "inference": {"bfloat16": target.type == "cuda" or (config.amp_cpu and has_bfloat16())},
            "threshold": threshold,
            "history": [],
            "tests": tests,
            "timing": {
                "inference_s_per_image": scoring_s / images,
                "inference_cpu_s_per_image": scoring_cpu_s / images,
                "vessels_s_per_image": prediction_s / images,
                "vessels_cpu_s_per_image": prediction_cpu_s / images,
            },
            "environment": environment(target),
        }
        return content, files

    return find_or_make(config, store, root, make, force=force)


def member_states(config: MeanConfig, root: str | Path | None = None) -> list[State]:
    """Read the members' weights, rounded as the config says, in order.

    They are read from where the members' runs left them on this machine, else from the weights that come with retlib,
    if their card names the run. Rounded weights serve only a config that rounds in the same way.

    Raises:
        FileNotFoundError: some are not there; the message names the runs and says what to do.
        WeightsError: a file is damaged, or does not fit its network.
    """
    shipped = {json.loads(c.read_text(encoding="utf-8")).get("run"): c for c in package_folder().glob("*.json")}
    states, missing = [], []
    for member in config.members:
        identity = member.identify(root)
        path = weights_path(identity)
        if not path.is_file() and identity in shipped:
            path = shipped[identity].with_suffix(".pt")
        state = read_state(path) if path.is_file() else None
        rounded = state is not None and any(value.dtype == torch.float16 for value in state.values())
        if state is None or (rounded and config.storage != "float16"):
            missing.append(f"{identity} ({member.model} on {member.train.label}, seed {member.seed})")
            continue
        fill(build(member), state, path)
        states.append(stored(state, config.storage))
    if missing:
        raise FileNotFoundError(
            f"no weights of {', '.join(missing)} on this machine: train with retlib.study.run(member, store, "
            f"force=True), which leaves them in {weights_path('ID')}, or copy them there"
        )
    return states


def build_members(config: MeanConfig, states: Sequence[State], device: torch.device) -> tuple[Member, ...]:
    """Build the members from their weights, on a device and ready to predict."""
    members = []
    for run, state, settings in zip(config.members, states, config.inference, strict=True):
        model = fill(build(run), state, f"weights of {run.model}")
        members.append(Member(model.to(device, memory_format=torch.channels_last), run.inputs, settings))
    return tuple(members)


def stored(state: Mapping[str, torch.Tensor], storage: Storage) -> State:
    """Convert a state dict to the types of a weights file: kernels to ``storage``, tensors with fewer axes to float32.

    A network that is filled with it computes in float32 (or bfloat16), with the values that were stored. Converting
    twice changes nothing.
    """
    kernel = torch.float16 if storage == "float16" else torch.float32
    return {
        key: value.detach().to(kernel if value.ndim > 1 else torch.float32).contiguous().clone()
        for key, value in state.items()
        if not key.endswith(UNUSED)
    }


def pack(states: Sequence[Mapping[str, torch.Tensor]]) -> bytes:
    """Make a ``.pt`` file of one network's tensors, or of several, whose names then start with ``0.``, ``1.``, ..."""
    buffer = io.BytesIO()
    torch.save(_joined(states), buffer)
    return buffer.getvalue()


def digest(states: Sequence[Mapping[str, torch.Tensor]]) -> str:
    """Hash names, types, shapes and bits of the tensors of some networks: 16 hexadecimal digits."""
    hashed = hashlib.sha256()
    for key, value in sorted(_joined(states).items()):
        hashed.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        hashed.update(value.cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()[:16]


def _joined(states: Sequence[Mapping[str, torch.Tensor]]) -> State:
    if len(states) == 1:
        return dict(states[0])
    return {f"{number}.{key}": value for number, state in enumerate(states) for key, value in state.items()}


def rescore(
    config: RescoredConfig, store: Store | str | Path, *, root: str | Path | None = None, device: str = "cpu"
) -> Record | None:
    """Score a finished run against resized labels, at its own threshold.

    The network is applied as in the run. Its logits are then resized to ``grid`` bilinearly, and the labels and the FOV
    by nearest neighbour, as in pipelines that resize a whole data set once.

    Returns:
        The record; None where the run has no record, or this machine has not kept its weights.
    """
    store, run = Store(store), config.run
    sound, weights = store.find(run, root=root, stale=False), weights_path(run.identify(root))

    def make(_: Path) -> Made:
        target = pick_device(device)
        model = fill(build(run), read_state(weights), weights)
        model.to(target, memory_format=torch.channels_last)  # as in training: another layout changes the last bits
        selection, threshold = run.test[0], sound.content["threshold"]
        samples = load_samples(selection, run, root)
        resized = [to_grid(sample, InputSettings(resample=config.grid)) for sample in samples]
        logits = [
            cv2.resize(native, config.grid[::-1], interpolation=cv2.INTER_LINEAR)
            for native in predict_all(model, samples, run, target)
        ]
        entry, files = score_test(selection.label, logits, resized, threshold, config.scoring.region)
        content = {
            "environment": environment(target),
            "model": sound.content["model"],
            "threshold": threshold,
            "history": [],
            "tests": {selection.label: entry},
        }
        return content, files

    if store.get(config.identify(root)) is None and (sound is None or not weights.is_file()):
        return None
    return find_or_make(config, store, root, make)


def score_epochs(
    config: EpochsConfig, store: Store | str | Path, *, root: str | Path | None = None, device: str = "cpu"
) -> Record:
    """Train a run again and score its test images during training, each time at a threshold from the training images.

    ``epochs`` of the record holds one row per scored epoch: epoch, threshold, and mean Dice and AUC over the test
    images, inside the run's region. Training is that of the run, seeds included, so the last row is the run itself. A
    killed training resumes from its last checkpoint.

    Raises:
        ValueError: the run keeps the best epoch on validation images, stops early, or is pre-trained: its last epoch
            would not be the run's result.
    """
    run = config.run

    def make(work: Path) -> Made:
        if run.training.looks_at_validation or run.pretraining is not None:
            raise ValueError(
                "score_epochs: expected a run without validation and pre-training, whose last epoch counts"
            )
        target = pick_device(device)
        training, validation = load_training(run, root)
        test = load_samples(run.test[0], run, root)
        vessels = [sample.vessels for sample in test]
        fovs = [sample.fov if run.scoring.region == "fov" else None for sample in test]
        checkpoint, log = work / "checkpoint.pt", work / "epochs.json"
        model = build(run).to(target, memory_format=torch.channels_last).eval()  # as in training
        rows: list[dict[str, float]] = json.loads(log.read_text()) if log.is_file() else []

        def predict(samples: Sequence[FundusSample]) -> list[np.ndarray]:
            return predict_all(model, samples, run, target)

        def score(epoch: int, planned: int, _: dict[str, float]) -> None:
            if epoch % config.every and epoch != planned:
                return
            model.load_state_dict(_last_epoch(checkpoint))
            threshold = choose_threshold(run.scoring, predict, training, validation)
            maps = [probabilities(logits) for logits in predict(test)]
            scores = evaluate(maps, vessels, fovs, threshold, average="image", metrics=("dice", "auc"))
            rows.append({"epoch": epoch, "threshold": threshold} | scores)
            log.write_text(json.dumps(rows))

        trained = train(run, training, validation, device=target, checkpoint=checkpoint, progress=score)
        content = {
            "environment": environment(target),
            "history": trained.history,
            "test_images": [sample.name for sample in test],
            "epochs": sorted({row["epoch"]: row for row in rows}.values(), key=lambda row: row["epoch"]),
            "tests": {},
        }
        return content, {}

    return find_or_make(config, store, root, make)


def _last_epoch(checkpoint: Path) -> State:
    """Read the weights of the last finished epoch: their running average if training keeps one."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    if "averaged" not in content:
        return content["model"]
    return {k.removeprefix("module."): v for k, v in content["averaged"].items() if k.startswith("module.")}
