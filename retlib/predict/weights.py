"""Read a weights file: a plain state dict (.pt), and beside it a card (.json) with all that prediction needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import nn

from retlib.files import load_tensors
from retlib.inference import InferenceSettings
from retlib.models import build_model
from retlib.preprocessing import InputSettings
from retlib.settings import Settings

State = dict[str, torch.Tensor]
UNUSED = "num_batches_tracked"
"""Ending of the names of a normalisation layer's counters, which prediction does not use and files leave out."""

_SHIP = "python -m retlib.study.ship"


class WeightsError(ValueError):
    """Weights are missing, damaged, or do not fit; the message names the file and says what to do."""


class ModelCard(Settings):
    """Describe a weights file."""

    name: str
    model: str  # see list_models
    model_options: dict[str, Any] = {}
    inputs: InputSettings  # how a photograph becomes the network's input
    inference: InferenceSettings
    parameters: int
    threshold: float  # probability from which on a pixel is a vessel
    threshold_from: str  # how it was chosen
    run: str  # id of the run that trained the network, and of its record
    trained_on: dict[str, tuple[str, ...]]  # data set and split -> names of the photographs
    licence: str
    sha256: str  # of the weights file
    retlib: str  # version that wrote it


def package_folder() -> Path:
    """Return the folder of the weights that come with retlib."""
    return Path(str(resources.files("retlib.weights")))


def shipped_weights() -> Path:
    """Find the weights file that comes with retlib.

    Raises:
        WeightsError: this installation has none.
    """
    files = sorted(package_folder().glob("*.pt"))
    if len(files) != 1:
        held = f"{len(files)} weights ({', '.join(path.name for path in files)})" if files else "no weights"
        raise WeightsError(
            f"{held} are shipped with this installation of retlib; name a weights file with --weights FILE"
            f" (in Python: load_predictor(weights=FILE)), one that `{_SHIP}` has made of a run"
        )
    return files[0]


def read_weights(weights: str | Path) -> tuple[nn.Module, ModelCard]:
    """Read a weights file and its card.

    Returns:
        The network in eval mode, with float32 weights, and the card.

    Raises:
        WeightsError: a file is missing or damaged, or the two do not belong together.
        ValueError: the card lacks a field, or has a wrong one.
    """
    path = Path(weights)
    beside = path.with_suffix(".json")
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such weights file; expected one that `{_SHIP}` has made")
    if not beside.is_file():
        raise WeightsError(f"{path}: {beside.name} is not beside it, so the model is unknown; `{_SHIP}` makes both")
    try:
        values = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WeightsError(f"{beside}: expected a model card in JSON ({error})") from None
    card = ModelCard.parse(values, where=str(beside))
    if hashlib.sha256(path.read_bytes()).hexdigest() != card.sha256:
        raise WeightsError(f"{path}: its content is not what {beside.name} describes; copy both files again")
    try:
        with torch.random.fork_rng():  # building draws weights, and leaves the caller's generator alone
            model = build_model(card.model, in_channels=card.inputs.channels, **card.model_options)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{beside}: {error}") from None
    return fill(model, read_state(path), path), card


def read_state(path: str | Path) -> State:
    """Read a state dict of finite tensors. Code in the file is not run.

    Raises:
        WeightsError: the file is no plain state dict, or a value is not finite.
    """
    try:
        state = load_tensors(path)
    except Exception as error:  # torch raises almost anything
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{path}: cannot be read as a plain state dict ({reason})") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path}: expected a plain state dict, names with tensors, and nothing else")
    for key, value in state.items():
        if not torch.isfinite(value).all():
            raise WeightsError(f"{path}: {key} holds a value that is not finite")
    return state


def fill(model: nn.Module, state: Mapping[str, torch.Tensor], where: str | Path) -> nn.Module:
    """Load a state dict into a network and set it to eval mode; ``where`` opens the error message.

    Raises:
        WeightsError: names or shapes are not those of the network.
    """
    expected = model.state_dict()
    state = {key: value for key, value in expected.items() if key.endswith(UNUSED)} | dict(state)
    odd = sorted(set(expected) ^ set(state)) or [key for key in expected if expected[key].shape != state[key].shape]
    if odd:
        raise WeightsError(f"{where}: the weights do not fit the model: {', '.join(odd[:3])}{' ...' * (len(odd) > 3)}")
    model.load_state_dict(state)
    return model.eval()
