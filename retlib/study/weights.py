"""Weights on disk: plain state dicts of one network or of several, finite, and of the shape that is asked for."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import nn

Storage = Literal["float32", "float16"]
State = dict[str, torch.Tensor]

_UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    KeyError,
    AttributeError,
    TypeError,
    pickle.UnpicklingError,
)
_UNUSED = "num_batches_tracked"  # what a normalisation layer counts in training, and never looks at again


class WeightsError(ValueError):
    """Weights that are missing, damaged, or do not fit; the message names the file and says what to do."""


def read_state(path: str | Path) -> State:
    """A state dict of finite tensors.

    Raises:
        WeightsError: the file is no plain state dict, or a value is not finite.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{path}: cannot be read as a plain state dict ({reason})") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path}: expected a plain state dict, names with tensors, and nothing else")
    for key, value in state.items():
        if not torch.isfinite(value).all():
            raise WeightsError(f"{path}: {key} holds a value that is not finite")
    return state


def fill(model: nn.Module, state: Mapping[str, torch.Tensor], where: str | Path) -> nn.Module:
    """Load a state dict into a network, which is returned in eval mode; ``where`` opens the message.

    Raises:
        WeightsError: names or shapes are not those of the network.
    """
    wanted = model.state_dict()
    state = {key: value for key, value in wanted.items() if key.endswith(_UNUSED)} | dict(state)
    odd = sorted(set(wanted) ^ set(state)) or [key for key in wanted if wanted[key].shape != state[key].shape]
    if odd:
        raise WeightsError(f"{where}: the weights do not fit the model: {', '.join(odd[:3])}{' ...' * (len(odd) > 3)}")
    model.load_state_dict(state)
    return model.eval()


def stored(state: Mapping[str, torch.Tensor], storage: Storage) -> State:
    """A state dict as it is stored: float16 for kernels alone, float32 for everything with one axis or none.

    A network that is filled with it computes in float32 (or bfloat16), with the values that were stored. To store what
    was stored before changes nothing.
    """
    kernel = torch.float16 if storage == "float16" else torch.float32
    return {
        key: value.detach().to(kernel if value.ndim > 1 else torch.float32).contiguous().clone()
        for key, value in state.items()
        if not key.endswith(_UNUSED)
    }


def pack(states: Sequence[Mapping[str, torch.Tensor]]) -> bytes:
    """A ``.pt`` file of one network's tensors, or of several, whose names then start with ``0.``, ``1.``, ..."""
    buffer = io.BytesIO()
    torch.save(_joined(states), buffer)
    return buffer.getvalue()


def unpack(state: Mapping[str, torch.Tensor], count: int) -> list[State]:
    """The networks' own tensors out of what `pack` joined, in order; names of no network stay with the first."""
    if count == 1:
        return [dict(state)]
    parts: list[State] = [{} for _ in range(count)]
    for key, value in state.items():
        number, _, name = key.partition(".")
        known = number.isdecimal() and int(number) < count
        parts[int(number) if known else 0][name if known else key] = value
    return parts


def digest(states: Sequence[Mapping[str, torch.Tensor]]) -> str:
    """Hash of names, types, shapes and bits of some networks' tensors: 16 hexadecimal digits."""
    found = hashlib.sha256()
    for key, value in sorted(_joined(states).items()):
        found.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def _joined(states: Sequence[Mapping[str, torch.Tensor]]) -> State:
    if len(states) == 1:
        return dict(states[0])
    return {f"{number}.{key}": value for number, state in enumerate(states) for key, value in state.items()}
