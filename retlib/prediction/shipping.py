"""A trained network as two files: a plain state dict (.pt), and a card (.json) with all it takes to use it."""

from __future__ import annotations

import functools
import hashlib
import io
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import nn

import retlib
from retlib.data import FundusSample
from retlib.data.phantom import make_phantom
from retlib.experiments import Record
from retlib.inference import InferenceSettings, predict_logits, probabilities
from retlib.models import build_model, count_parameters
from retlib.prediction.files import write_whole
from retlib.preprocessing import InputSettings
from retlib.validation import Settings

MAX_BYTES = 2_000_000
"""Bytes that shipped weights may take."""

MAX_CHANGE = 1e-3
"""How far 16-bit storage may move a probability; where it moves one further, 32 bits are stored."""

_UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, KeyError, AttributeError, TypeError)


class ModelCard(Settings):
    """What stands beside shipped weights."""

    name: str
    model: str  # see list_models
    model_options: dict[str, Any] = {}
    parameters: int
    inputs: InputSettings  # how a photograph becomes the network's input
    inference: InferenceSettings
    threshold: float  # probability from which on a pixel is a vessel
    threshold_from: str  # how it was chosen
    record: str  # id of the run that trained it
    trained_on: dict[str, tuple[str, ...]]  # data set and split -> names of the photographs
    licence: str
    sha256: str  # of the weights file
    retlib: str  # version that wrote it


class WeightsError(ValueError):
    """Weights that are missing, damaged, or do not fit their card; the message names the file and says what to do."""


def ship(
    record: Record,
    weights: str | Path,
    folder: str | Path,
    *,
    name: str,
    licence: str,
    half: bool = True,
) -> ModelCard:
    """Make the two files of a finished run: ``<name>.pt`` and ``<name>.json``.

    Kernels are stored with 16 bits where that moves no probability by `MAX_CHANGE` on two phantoms, else everything
    keeps its 32 bits. Normalisation layers and biases always do.

    Args:
        record: the run's record.
        weights: state dict that the run left in the cache, see `retlib.experiments.runner.weights_path`.
        folder: where the files go; made where it does not exist.
        name: name of the model, also of its files.
        licence: what others may do with the weights, in a sentence or two.
        half: whether 16 bits may be used at all.

    Returns:
        The card.

    Raises:
        WeightsError: the weights do not fit the record's model, hold a value that is not finite, or take more than
            `MAX_BYTES`; or the run has no working size, without which photographs of other sizes make no sense to it.
    """
    config = record.config
    source = Path(weights)
    if config.inputs.crop or config.inputs.resample or (config.inputs.fov_side or config.inputs.size) is None:
        raise WeightsError(
            f"record {record.id}: its inputs suit its own data set alone; photographs of any size need inputs.fov_side,"
            " and neither crop nor resample"
        )
    state = _load_state(source)
    model = _fill(_new_model(config.model, config.inputs, config.model_options), state, source)
    stored = state
    if half:
        shorter = {
            key: value.half() if value.is_floating_point() and value.ndim > 1 else value for key, value in state.items()
        }
        other = _fill(_new_model(config.model, config.inputs, config.model_options), shorter, source)
        if _greatest_change(model, other, config.inputs, config.inference) < MAX_CHANGE:
            stored = shorter
    buffer = io.BytesIO()
    torch.save({key: value.contiguous().clone() for key, value in stored.items()}, buffer)
    content = buffer.getvalue()
    if len(content) > MAX_BYTES:
        raise WeightsError(
            f"{source}: the weights take {len(content) / 1e6:.2f} MB, where {MAX_BYTES / 1e6:g} MB may be shipped;"
            " choose a smaller network"
        )
    train = config.train.label
    threshold = config.scoring.threshold
    card = ModelCard(
        name=name,
        model=config.model,
        model_options=config.model_options,
        parameters=count_parameters(model),
        inputs=config.inputs,
        inference=config.inference,
        threshold=record.content["threshold"],
        threshold_from=f"best pooled Dice on the {threshold} images"
        if isinstance(threshold, str)
        else "set in advance",
        record=record.id,
        trained_on={train: tuple(record.content["training"]["images"])},
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


def read_shipped(weights: str | Path) -> tuple[nn.Module, ModelCard]:
    """The network in eval mode, with float32 weights, and its card.

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
        model = _new_model(card.model, card.inputs, card.model_options)
    except ValueError as error:
        raise WeightsError(f"{beside}: {error}") from None
    return _fill(model, _load_state(path), path).eval(), card


def _new_model(name: str, inputs: InputSettings, options: Mapping[str, Any]) -> nn.Module:
    with torch.random.fork_rng():  # building draws weights, which the caller's generator should not feel
        return build_model(name, in_channels=inputs.channels, **options)


def _load_state(path: Path) -> dict[str, torch.Tensor]:
    """A state dict of finite tensors."""
    import pickle

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (*_UNREADABLE, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{path}: cannot be read as a plain state dict ({reason})") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path}: expected a plain state dict, names with tensors, and nothing else")
    for key, value in state.items():
        if not torch.isfinite(value).all():
            raise WeightsError(f"{path}: {key} holds a value that is not finite")
    return state


def _fill(model: nn.Module, state: Mapping[str, torch.Tensor], path: Path) -> nn.Module:
    wanted = model.state_dict()
    odd = sorted(set(wanted) ^ set(state)) or [key for key in wanted if wanted[key].shape != state[key].shape]
    if odd:
        raise WeightsError(f"{path}: the weights do not fit the model: {', '.join(odd[:3])}{' ...' * (len(odd) > 3)}")
    model.load_state_dict(state)
    return model.eval()


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
