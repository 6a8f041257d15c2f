"""The parameters of every notebook, checked in the cell after them.

papermill only warns of a parameter that the notebook does not have, so a mistyped name would silently run the default.
``check_parameters(globals())`` finds names that do not belong there, and values that are not allowed.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Literal

from pydantic import field_validator

from retlib.settings import Settings

# What an IPython kernel, and papermill's --inject-paths, put into a fresh namespace.
_KERNEL_NAMES = {
    *("In", "Out", "get_ipython", "exit", "quit", "open", "display"),
    *("PAPERMILL_INPUT_PATH", "PAPERMILL_OUTPUT_PATH"),
}
_CHECKED = "_retlib_parameters_checked"  # set in the namespace of a kernel in which later cells may have run


class Parameters(Settings):
    """What a notebook is run with.

    Values may come as text, as papermill's ``-r`` or an editor hand them over: ``"[0, 1]"``, ``"0"``, ``"None"``.
    """

    profile: Literal["smoke", "lite", "paper"] = "lite"  # what to train where a record is missing
    data_root: str | None = None  # folder of the data sets; None takes RETLIB_DATA
    records: str | None = None  # folder of the records; None takes the book's own (smoke: a scratch folder)
    device: str = "auto"  # auto, cpu, cuda, cuda:1
    seeds: tuple[int, ...] = (0,)  # one record a seed
    train: Literal["missing", "never", "always"] = "never"  # whether to train at all

    @field_validator("profile", "data_root", "records", "device", "train", mode="before")
    @classmethod
    def _text_or_none(cls, value: Any) -> Any:
        """Read ``None`` and quotes; other text stays, since a folder may be named ``2026``."""
        read = _read_text(value)
        return read if read is None or isinstance(read, str) else value

    @field_validator("seeds", mode="before")
    @classmethod
    def _distinct_seeds(cls, value: Any) -> Any:
        seeds = _read_text(value)
        seeds = [seeds] if type(seeds) is int else seeds
        whole = isinstance(seeds, (list, tuple)) and all(type(seed) is int and seed >= 0 for seed in seeds)
        if not whole or not seeds or len(set(seeds)) < len(seeds):
            raise ValueError("expected distinct integers from 0 up, such as 0 or [0, 1, 2]")
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
            raise ValueError("there is no such folder; `retlib data status` says where data is looked for")
        return None if root is None else str(Path(root).expanduser().absolute())


def _read_text(value: Any) -> Any:
    """Read a number, list, true, false or None that is given as text; anything else is returned as it is."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError, SyntaxError):
            return ast.literal_eval({"true": "True", "false": "False", "null": "None"}.get(value, value))
    return value


def check_parameters(
    namespace: MutableMapping[str, Any], extra: Mapping[str, Sequence[str]] | None = None
) -> Parameters:
    """Check the parameters that stand in a notebook's ``globals()``.

    When cells are run again in one kernel, names of later cells are there as well. A name that belongs to no parameter
    is then refused only if it is annotated, as the names in the cell of the parameters are. A name that was refused is
    removed, so that the corrected cells run without a restart.

    Args:
        namespace: the notebook's globals, in the cell right after the parameters (imports may have gone before).
        extra: parameters of this notebook alone, with the values that each may have.

    Raises:
        ValueError: a name that is no parameter (mistyped, most likely), or a value that is not allowed.
    """
    extra = extra or {}
    given = {
        name: value
        for name, value in namespace.items()
        if not name.startswith("_")
        and name not in _KERNEL_NAMES
        and not isinstance(value, (ModuleType, FunctionType, type))
    }
    names = {*Parameters.model_fields, *extra}
    annotated = namespace.get("__annotations__", {})
    if namespace.get(_CHECKED):
        given = {name: value for name, value in given.items() if name in names or name in annotated}
    namespace[_CHECKED] = True
    if unknown := sorted(set(given) - names):
        for name in unknown:
            del namespace[name]
            annotated.pop(name, None)
        raise ValueError(
            f"this notebook has no parameter {', '.join(map(repr, unknown))}; it has {', '.join(sorted(names))}"
        )
    for name, choices in extra.items():
        if (value := given.pop(name, None)) not in choices:
            raise ValueError(f"parameter {name}: expected one of {', '.join(choices)}, got {value!r}")
    return Parameters.parse(given, where="the notebook's parameters")
