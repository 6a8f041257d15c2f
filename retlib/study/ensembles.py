"""The mean of several trained networks, scored and recorded as a run is; of one, that network as it would ship."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator

from retlib.data import FundusSample
from retlib.device import has_bfloat16
from retlib.inference import (
    InferenceSettings,
    Member,
    View,
    cut_specks,
    predict_mean_logits,
    probabilities,
    remove_specks,
)
from retlib.models import count_parameters
from retlib.study.config import NUMERICS, Profile, Recorded, RunConfig, ScoringSettings, Selection
from retlib.study.environment import environment
from retlib.study.records import FileContent, Record, Store
from retlib.study.runner import build, load_samples, pick_device, weights_path
from retlib.study.scoring import best_threshold, score_test
from retlib.study.weights import State, Storage, digest, fill, pack, read_state, stored, unpack


class MeanConfig(Recorded):
    """Mean probability of trained networks. Equal configs give equal numbers; its id is its hash, as a run's is.

    Each member works on its own inputs. All of them were trained on the same images, and are scored on the same ones.
    """

    kind: Literal["mean"] = "mean"
    profile: Profile
    numerics: int = NUMERICS
    members: tuple[RunConfig, ...] = Field(min_length=1)
    # Member by member the views that it sees; None: those of its own run.
    views: tuple[tuple[View, ...], ...] | None = None
    storage: Storage = "float32"  # kernels are rounded to so many bits before anything is scored
    amp_cpu: bool = False  # bfloat16 on the CPU, see InferenceSettings
    least_piece: int | None = Field(None, ge=2)  # of the mean; that of the members plays no part
    scoring: ScoringSettings = ScoringSettings(threshold="training")

    @model_validator(mode="after")
    def _one_task(self) -> MeanConfig:
        first = self.members[0]
        for number, member in enumerate(self.members):
            if member.profile != self.profile:
                raise ValueError(f"members.{number} has the profile {member.profile}, expected {self.profile}")
            for name in ("train", "test"):
                if getattr(member, name) != getattr(first, name):
                    raise ValueError(f"members.{number}.{name} differs from members.0.{name}; expected the same images")
            if member.split_training() != first.split_training():
                raise ValueError(
                    f"members.{number} was trained on other images of {first.train.label} than members.0; "
                    "expected validation: 0, or the same seed"
                )
            if (member.inputs.crop, member.inputs.resample) != (first.inputs.crop, first.inputs.resample):
                raise ValueError(f"members.{number}.inputs: crop and resample have to be those of members.0")
        if self.views is not None and len(self.views) != len(self.members):
            raise ValueError(f"views: expected one entry a member, {len(self.members)}, got {len(self.views)}")
        self.inference  # noqa: B018 - views that are named twice
        return self

    @property
    def train(self) -> Selection:
        """What the members were trained on."""
        return self.members[0].train

    @property
    def test(self) -> tuple[Selection, ...]:
        """What the members, and their mean, are scored on."""
        return self.members[0].test

    @property
    def inference(self) -> tuple[InferenceSettings, ...]:
        """How each member is applied."""
        views = [member.inference.seen for member in self.members] if self.views is None else self.views
        return tuple(
            InferenceSettings(
                views=seen, amp_cpu=self.amp_cpu, tile=member.inference.tile, overlap=member.inference.overlap
            )
            for seen, member in zip(views, self.members, strict=True)
        )

    def stated(self) -> dict[str, Any]:
        """Fields at their defaults are left out, as in a run's."""
        content = self.model_dump(mode="json", exclude_defaults=True) | {"kind": self.kind, "numerics": self.numerics}
        return content | {"members": [member.stated() for member in self.members]}

    def selections(self) -> dict[str, Selection]:
        """All images that a member names."""
        return {label: found for member in self.members for label, found in member.selections().items()}


def run_mean(
    config: MeanConfig,
    store: Store | str | Path,
    *,
    root: str | Path | None = None,
    device: str = "auto",
    weights: Mapping[str, str | Path] | None = None,
    force: bool = False,
) -> Record:
    """Make the record of a mean, or return the one that is there. Nothing is trained.

    Beside what a run's record holds, ``members`` has the ids of the members' runs, ``model.bytes`` is the size of the
    weights as one file, ``model.digest`` their hash, and ``inference.bfloat16`` says whether the passes were computed
    so. Two times an image are given: ``inference_s_per_image`` with specks removed at all thresholds at once, as
    scoring needs it, and ``vessels_s_per_image`` with the vessel map of one threshold, as prediction gives it. Neither
    counts the search for the field of view.

    Args:
        config: what to score.
        store: where records live.
        root: folder of the data sets; RETLIB_DATA by default.
        device: see `run`.
        weights: id of a member's run -> state dict that it left; see `member_states` for the rest.
        force: make it again even if it is there.

    Raises:
        FileNotFoundError: the data, or weights of a member, are not there; the message says what to do.
        WeightsError: weights are damaged or do not fit their network.
    """
    store = store if isinstance(store, Store) else Store(store)
    root = None if root is None else str(root)
    header = config.header(root)
    if not force and (record := store.get(header["id"])) is not None:
        return record
    target = pick_device(device)
    states = member_states(config, root, weights)
    members = build_members(config, states, target)
    content, files = _score(config, members, root, target)
    content |= header | {"members": [member.identify(root) for member in config.members]}
    content["model"] |= {"bytes": len(pack(states)), "digest": digest(states)}
    return store.write(content, files)


def member_states(
    config: MeanConfig, root: str | None = None, weights: Mapping[str, str | Path] | None = None
) -> list[State]:
    """The members' weights as they are stored (and shipped), in order.

    A member's weights are looked for in ``weights``, then where its run left them on this machine, then among the
    weights that come with retlib, whose card names the run; those that were rounded serve only where the config rounds
    in the same way.

    Args:
        config: the mean.
        root: folder of the data sets; RETLIB_DATA by default.
        weights: id of a member's run -> file.

    Raises:
        FileNotFoundError: some are not there; the message names the runs and says what to do.
        WeightsError: a file is damaged, or does not fit its network.
    """
    states, missing = [], []
    for member in config.members:
        identity = member.identify(root)
        named = None if weights is None else weights.get(identity)
        path = Path(named) if named is not None else weights_path(identity)
        if named is None and not path.is_file():
            state, path = _shipped_state(identity, config.storage)
        elif path.is_file():
            state = read_state(path)
        else:
            state = None
        if state is None:
            where = "" if named is None else f", which is not in {named}"
            missing.append(f"{identity} ({member.model} on {member.train.label}, seed {member.seed}{where})")
            continue
        fill(build(member), state, path)
        states.append(stored(state, config.storage))
    if missing:
        raise FileNotFoundError(
            f"no weights of {', '.join(missing)} on this machine: train with retlib.study.run(member, store, "
            f"force=True), which leaves them in {weights_path('ID')}, or name a file: weights={{'ID': FILE}}"
        )
    return states


def build_members(config: MeanConfig, states: Sequence[State], device: torch.device) -> tuple[Member, ...]:
    """The members, filled with weights as they are stored, on a device and ready to predict."""
    members = []
    for run, state, settings in zip(config.members, states, config.inference, strict=True):
        model = fill(build(run), state, f"weights of {run.model}")
        model = model.to(device, memory_format=torch.channels_last)
        members.append(Member(model, run.inputs, settings))
    return tuple(members)


def _shipped_state(identity: str, storage: Storage) -> tuple[State | None, Path]:
    """The weights of a run among those that come with retlib, if they are there, and the file."""
    folder = Path(str(resources.files("retlib.weights")))
    for card in sorted(folder.glob("*.json")):
        values = json.loads(card.read_text(encoding="utf-8"))
        runs = [entry["record"] for entry in values.get("members", [values])]
        path = card.with_suffix(".pt")
        if identity in runs and path.is_file():
            state = unpack(read_state(path), len(runs))[runs.index(identity)]
            if storage == "float16" or all(value.dtype != torch.float16 for value in state.values()):
                return state, path
    return None, folder


def _score(
    config: MeanConfig, members: Sequence[Member], root: str | None, device: torch.device
) -> tuple[dict[str, Any], dict[str, FileContent]]:
    first = config.members[0]
    names, held_out = first.split_training()

    def logits_of(sample: FundusSample) -> np.ndarray:
        return predict_mean_logits(members, sample, device=device)

    def opened(logits: np.ndarray) -> np.ndarray:
        return logits if config.least_piece is None else remove_specks(logits, config.least_piece)

    threshold = config.scoring.threshold
    if isinstance(threshold, str):
        chosen_on = names if threshold == "training" else held_out
        if not chosen_on:
            raise ValueError("scoring.threshold: 'validation' needs validation images, but validation is 0")
        samples = load_samples(config.train, first, root, chosen_on)
        threshold = best_threshold([opened(logits_of(s)) for s in samples], samples, config.scoring.region)
    tests, files, clock, images = {}, {}, _Clock(), 0
    for selection in config.test:
        samples = load_samples(selection, first, root)
        maps = []
        for sample in samples:
            logits = clock.time(("inference", "vessels"), lambda sample=sample: logits_of(sample))
            maps.append(clock.time(("inference",), lambda logits=logits: opened(logits)))
            if config.least_piece is not None:
                found = probabilities(logits) >= threshold
                clock.time(("vessels",), lambda found=found: cut_specks(found, config.least_piece))
        images += len(samples)
        entry, new = score_test(selection.label, maps, samples, threshold, config.scoring.region)
        tests[selection.label] = entry
        files |= new
    content = {
        "model": {"parameters": sum(count_parameters(member.model) for member in members)},
        "training": {"images": list(names), "validation": list(held_out)},
        "inference": {"bfloat16": device.type == "cuda" or (config.amp_cpu and has_bfloat16())},
        "threshold": threshold,
        "history": [],
        "tests": tests,
        "timing": {key: value / images for key, value in clock.spent.items()},
        "environment": environment(device),
    }
    return content, files


class _Clock:
    """Seconds, on the wall and of one core, by what they were spent on."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def time(self, parts: Sequence[str], work: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        for part in parts:
            for key, value in ((f"{part}_s_per_image", wall), (f"{part}_cpu_s_per_image", cpu)):
                self.spent[key] = self.spent.get(key, 0.0) + value
        return result
