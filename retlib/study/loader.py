"""Read the YAML of papers and studies: those that come with retlib by key, a paper of your own by path."""

from __future__ import annotations

import os
import re
from collections.abc import Hashable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from retlib.settings import Settings
from retlib.study.paper import Paper
from retlib.study.study_file import StudyFile


def list_papers() -> list[str]:
    """List the keys of the papers that come with retlib, sorted."""
    return _keys("retlib.papers")


def list_studies() -> list[str]:
    """List the keys of the studies, sorted."""
    return _keys("retlib.studies")


def load_paper(key_or_path: str | os.PathLike[str]) -> Paper:
    """Read a paper.

    Args:
        key_or_path: One of `list_papers`, or the path of a YAML file (it ends in ``.yaml`` or ``.yml``).

    Raises:
        ValueError: an unknown key; a file that is no YAML or does not describe a paper: the message names
            the file, the place in it and what was expected.
        FileNotFoundError: there is no file at that path.
    """
    text = os.fspath(key_or_path)
    if text.endswith((".yaml", ".yml")):
        if not Path(text).is_file():
            raise FileNotFoundError(f"{text}: there is no such file; expected the YAML of a paper")
        return _load(Paper, Path(text), where=text)
    if text not in list_papers():
        raise ValueError(
            f"unknown paper {text!r}; known: {', '.join(list_papers())}. "
            "A paper of your own is loaded by the path of its file, which ends in .yaml"
        )
    return _load(Paper, files("retlib.papers") / f"{text}.yaml", where=f"{text}.yaml")


def load_study(key: str) -> StudyFile:
    """Read a study.

    Raises:
        ValueError: an unknown key, or a file that does not describe a study.
    """
    if key not in list_studies():
        raise ValueError(f"unknown study {key!r}; known: {', '.join(list_studies())}")
    return _load(StudyFile, files("retlib.studies") / f"{key}.yaml", where=f"{key}.yaml")


def _keys(package: str) -> list[str]:
    names = (entry.name for entry in files(package).iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def _load(model: type[Settings], file: Path | Traversable, where: str) -> Any:
    """Read a mapping from a YAML file and validate it; ``where`` opens every error message."""
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: expected text in UTF-8 ({error})") from None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
        raise ValueError(f"{where}{place}: expected YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected a mapping with key, title, runs, ...; got {type(values).__name__}")
    return model.parse(values, where=where)


class _Loader(yaml.SafeLoader):
    """YAML's safe subset, with 1e-4 as a number, and an error for a key that is written twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *name`, which a key beside it may override
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} is written twice", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1, which PyYAML reads, takes 1e-4 for a text because it has no point.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)
