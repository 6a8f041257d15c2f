"""Trained networks as two files: a plain state dict (.pt), and a card (.json) with all it takes to use them."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import nn

import retlib
from retlib.data import FundusSample
from retlib.data.phantoms import make_phantom
from retlib.files import write_whole
from retlib.inference import InferenceSettings, predict_logits, probabilities
from retlib.models import build_model, count_parameters
from retlib.preprocessing import InputSettings
from retlib.settings import Settings
from retlib.study import MeanConfig, Record, RunConfig
from retlib.study.ensembles import member_states
from retlib.study.weights import State, WeightsError, digest, fill, pack, read_state, stored, unpack

MAX_BYTES = 2_000_000
"""Bytes that shipped weights may take."""

MAX_CHANGE = 1e-3
"""How far 16-bit storage may move a probability of a single run; where it moves one further, 32 bits are stored."""


class MemberCard(Settings):
    """One of the networks whose mean is shipped, or the only one."""

    model: str  # see list_models
    model_options: dict[str, Any] = {}
    inputs: InputSettings  # how a photograph becomes the network's input
    inference: InferenceSettings  # its least_piece is the whole's
    record: str  # id of the run that trained it


class ModelCard(Settings):
    """What stands beside shipped weights."""

    name: str
    members: tuple[MemberCard, ...] = Field(min_length=1)  # the mean of their probabilities is the prediction
    parameters: int  # of all members together
    least_piece: int | None = Field(None, ge=2)  # see remove_specks
    threshold: float  # probability from which on a pixel is a vessel
    threshold_from: str  # how it was chosen
    record: str  # id of the record that measured it
    trained_on: dict[str, tuple[str, ...]]  # data set and split -> names of the photographs
    licence: str
    sha256: str  # of the weights file
    retlib: str  # version that wrote it

    @model_validator(mode="before")
    @classmethod
    def _read_a_single_network(cls, values: Any) -> Any:
        """Cards of one network used to have its fields beside the others."""
        single = ("model", "model_options", "inputs", "inference")
        if not isinstance(values, dict) or "members" in values or "model" not in values:
            return values
        member = {key: values[key] for key in (*single, "record") if key in values}
        rest = {key: value for key, value in values.items() if key not in single}
        inference = values.get("inference")
        least = inference.get("least_piece") if isinstance(inference, dict) else None
        return rest | {"members": [member], "least_piece": least}


def ship(
    record: Record,
    weights: str | Path | Mapping[str, str | Path] | None,
    folder: str | Path,
    *,
    name: str,
    licence: str,
    half: bool = True,
) -> ModelCard:
    """Make the two files of a finished run, or of a mean: ``<name>.pt`` and ``<name>.json``.

    Of a run, kernels are stored with 16 bits where that moves no probability by `MAX_CHANGE` on two phantoms, else
    everything keeps its 32 bits. Of a mean, what is stored is, bit for bit, what its record scored. Normalisation
    layers and biases always keep 32 bits.

    Args:
        record: the run's or the mean's record.
        weights: of a run, the state dict that it left in the cache, see `retlib.study.runner.weights_path`; of a
            mean, id of a member's run -> file, or None, see `retlib.study.ensembles.member_states`.
        folder: where the files go; made where it does not exist.
        name: name of the model, also of its files.
        licence: what others may do with the weights, in a sentence or two.
        half: whether 16 bits may be used at all; a mean says so itself (``storage``).

    Returns:
        The card.

    Raises:
        WeightsError: the weights do not fit the record's model, are not those that it scored, hold a value that is not
            finite, or take more than `MAX_BYTES`; or a network has no working size, without which photographs of other
            sizes make no sense to it.
        FileNotFoundError: weights of a mean's member are not there.
    """
    if record.content["config"].get("kind") == "mean":
        config = MeanConfig.parse(record.content["config"], where=f"record {record.id}")
        runs, inference, least_piece = config.members, config.inference, config.least_piece
        _check_any_size(record, runs)
        states = member_states(config, weights=weights)
        if digest(states) != record.content["model"]["digest"]:
            raise WeightsError(
                f"record {record.id}: these are not the weights that it scored; name them with weights={{ID: FILE}}, "
                "or make the record again"
            )
        ids = record.content["members"]
    else:
        config = record.config
        runs, inference, least_piece = (config,), (config.inference,), config.inference.least_piece
        _check_any_size(record, runs)
        if weights is None or isinstance(weights, Mapping):
            raise WeightsError(f"record {record.id}: it is of a single run, for which one weights file is expected")
        states = [_of_run(config, Path(weights), half)]
        ids = [record.id]
    content = pack(states)
    if len(content) > MAX_BYTES:
        raise WeightsError(
            f"record {record.id}: the weights take {len(content) / 1e6:.2f} MB, where {MAX_BYTES / 1e6:g} MB may be"
            " shipped; choose a smaller network, or for a mean storage: float16"
        )
    threshold = config.scoring.threshold
    card = ModelCard(
        name=name,
        members=[
            MemberCard(
                model=run.model,
                model_options=run.model_options,
                inputs=run.inputs,
                inference=settings.model_copy(update={"least_piece": None}),
                record=identity,
            )
            for run, settings, identity in zip(runs, inference, ids, strict=True)
        ],
        parameters=sum(count_parameters(_new_model(run.model, run.inputs, run.model_options)) for run in runs),
        least_piece=least_piece,
        threshold=record.content["threshold"],
        threshold_from=f"best pooled Dice on the {threshold} images"
        if isinstance(threshold, str)
        else "set in advance",
        record=record.id,
        trained_on={config.train.label: tuple(record.content["training"]["images"])},
        licence=licence,
        sha256=hashlib.sha256(content).hexdigest(),
        retlib=retlib.__version__,
    )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{name}.pt", content)
    write_whole(folder / f"{name}.json", (json.dumps(card.model_dump(mode="json"), indent=1) + "\n").encode())
    return card


def shipped_weights() -> Path:
    """The weights file that comes with retlib.

    Raises:
        WeightsError: this installation has none.
    """
    folder = Path(str(resources.files("retlib.weights")))
    found = sorted(folder.glob("*.pt"))
    if len(found) != 1:
        held = "no weights" if not found else f"{len(found)} weights ({', '.join(path.name for path in found)})"
        raise WeightsError(
            f"{held} are shipped with this installation of retlib; name a weights file with --weights FILE"
            " (in Python: load_predictor(weights=FILE)), one that tools/ship_weights.py has made of a run"
        )
    return found[0]


def read_shipped(weights: str | Path) -> tuple[tuple[nn.Module, ...], ModelCard]:
    """The networks in eval mode, with float32 weights, one a member of the card, and the card.

    Raises:
        WeightsError: a file is missing or damaged, or the two do not belong together.
    """
    path = Path(weights)
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such weights file; expected one that tools/ship_weights.py has made")
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise WeightsError(
            f"{path}: {beside.name} is not beside it, so the model is unknown; tools/ship_weights.py makes both files"
        )
    try:
        card = ModelCard.parse(json.loads(beside.read_text(encoding="utf-8")), where=str(beside))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WeightsError(f"{beside}: expected a model card in JSON ({error})") from None
    if hashlib.sha256(path.read_bytes()).hexdigest() != card.sha256:
        raise WeightsError(f"{path}: its content is not what {beside.name} describes; copy both files anew")
    try:
        models = [_new_model(member.model, member.inputs, member.model_options) for member in card.members]
    except ValueError as error:
        raise WeightsError(f"{beside}: {error}") from None
    states = unpack(read_state(path), len(models))
    return tuple(fill(model, state, path) for model, state in zip(models, states, strict=True)), card


def _check_any_size(record: Record, runs: Sequence[RunConfig]) -> None:
    for run in runs:
        if run.inputs.crop or run.inputs.resample or (run.inputs.fov_side or run.inputs.size) is None:
            raise WeightsError(
                f"record {record.id}: its inputs suit its own data set alone; photographs of any size need"
                " inputs.fov_side, and neither crop nor resample"
            )


def _of_run(config: RunConfig, source: Path, half: bool) -> State:
    """A run's weights as they are stored: with 16 bits where that changes next to nothing."""
    state = read_state(source)
    model = fill(_new_model(config.model, config.inputs, config.model_options), state, source)
    if half:
        shorter = stored(state, "float16")
        other = fill(_new_model(config.model, config.inputs, config.model_options), shorter, source)
        if _greatest_change(model, other, config.inputs, config.inference) < MAX_CHANGE:
            return shorter
    return stored(state, "float32")


def _new_model(name: str, inputs: InputSettings, options: Mapping[str, Any]) -> nn.Module:
    with torch.random.fork_rng():  # building draws weights, which the caller's generator should not feel
        return build_model(name, in_channels=inputs.channels, **options)


@functools.cache
def _phantoms() -> tuple[FundusSample, ...]:
    return tuple(make_phantom(seed) for seed in range(2))


def _greatest_change(one: nn.Module, other: nn.Module, inputs: InputSettings, settings: InferenceSettings) -> float:
    """Greatest difference of a probability between two networks, on two phantoms."""
    change = 0.0
    for phantom in _phantoms():
        maps = [probabilities(predict_logits(model, phantom, inputs, settings)) for model in (one, other)]
        change = max(change, float(abs(maps[0] - maps[1]).max()))
    return change
