"""The parameters of every paper notebook, checked in the cell after them.

papermill only warns of a parameter that the notebook does not have, so a mistyped name would silently run the default.
``check_parameters(globals())`` finds names that do not belong there, and values that make no sense.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Literal

from pydantic import Field, field_validator

from retlib.settings import Settings

# What an IPython kernel puts into a fresh namespace.
_KERNEL_NAMES = {"In", "Out", "get_ipython", "exit", "quit", "open", "display"}


class Parameters(Settings):
    """What a paper notebook is run with."""

    profile: Literal["smoke", "lite", "paper"] = "lite"  # what to train where a record is missing
    data_root: str | None = None  # folder of the data sets; None takes RETLIB_DATA
    records: str | None = None  # folder of the records; None takes the book's own (smoke: a scratch folder)
    device: str = "auto"  # auto, cpu, cuda, cuda:1
    seeds: tuple[int, ...] = Field((0,), min_length=1)  # one record a seed
    train: Literal["missing", "never", "always"] = "never"  # whether to train at all

    @field_validator("seeds", mode="before")
    @classmethod
    def _one_or_many(cls, seeds: Any) -> Any:
        return (seeds,) if isinstance(seeds, int) and not isinstance(seeds, bool) else seeds

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError("seeds are distinct integers from 0 up, such as [0, 1, 2]")
        return seeds

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if device not in ("auto", "cpu", "cuda") and not (device[:5] == "cuda:" and device[5:].isdigit()):
            raise ValueError("expected 'auto', 'cpu', 'cuda' or 'cuda:N'")
        return device

    @field_validator("data_root")
    @classmethod
    def _existing_root(cls, root: str | None) -> str | None:
        if root is not None and not Path(root).expanduser().is_dir():
            raise ValueError("there is no such folder; `retlib data where` says where data is looked for")
        return None if root is None else str(Path(root).expanduser())


def check_parameters(namespace: Mapping[str, Any], extra: Mapping[str, Sequence[str]] | None = None) -> Parameters:
    """The parameters that stand in a notebook's ``globals()``, validated.

    Args:
        namespace: the notebook's globals, in the cell right after the parameters (imports may have gone before).
        extra: parameters of this notebook alone, with the values that each may have.

    Raises:
        ValueError: a name that is no parameter (mistyped, most likely), or a value that is not allowed.
    """
    extra = extra or {}
    known = {*Parameters.model_fields, *extra}
    given = {
        name: value
        for name, value in namespace.items()
        if not name.startswith("_")
        and name not in _KERNEL_NAMES
        and not isinstance(value, (ModuleType, FunctionType, type))
    }
    if unknown := sorted(set(given) - known):
        raise ValueError(
            f"this notebook has no parameter {', '.join(map(repr, unknown))}; it has {', '.join(sorted(known))}"
        )
    for name, choices in extra.items():
        if given.get(name) not in choices:
            raise ValueError(f"parameter {name}: expected one of {', '.join(choices)}, got {given.get(name)!r}")
    common = {name: value for name, value in given.items() if name in Parameters.model_fields}
    return Parameters.parse(common, where="the notebook's parameters")
