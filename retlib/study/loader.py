"""Reading papers: those that come with retlib by key, any other by path."""

from __future__ import annotations

import os
import re
from collections.abc import Hashable
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from retlib.study.checks import problems
from retlib.study.paper import Paper


def list_papers() -> list[str]:
    """Keys of the papers that come with retlib, sorted."""
    return sorted(
        entry.name.removesuffix(".yaml") for entry in files("retlib.papers").iterdir() if entry.name.endswith(".yaml")
    )


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
        path = Path(text)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: there is no such file; expected the YAML of a paper")
        name, content = str(path), path.read_text(encoding="utf-8")
    else:
        if text not in list_papers():
            raise ValueError(
                f"unknown paper {text!r}; known: {', '.join(list_papers())}. "
                "A paper of your own is loaded by the path of its file, which ends in .yaml"
            )
        name = f"{text}.yaml"
        content = files("retlib.papers").joinpath(name).read_text(encoding="utf-8")
    return parse_paper(content, where=name)


def parse_paper(text: str, where: str) -> Paper:
    """A paper from the text of its file; ``where`` (the file's name) opens every error message."""
    values = read_yaml(text, where)
    paper = Paper.parse(_numbered(values), where=where)
    if found := problems(paper):
        raise ValueError("\n".join([f"{where} is not valid:", *(f"  {problem}" for problem in found)]))
    return paper


def read_yaml(text: str, where: str) -> dict[str, Any]:
    """The mapping that a YAML text holds; ``where`` opens every error message.

    Raises:
        ValueError: no YAML, a key that is written twice, or no mapping.
    """
    try:
        values = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
        raise ValueError(f"{where}{place}: expected YAML: {error.problem}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected a mapping with key, title, runs, ...; got {type(values).__name__}")
    return values


def _numbered(values: dict[str, Any]) -> dict[str, Any]:
    """Tables and figures carry their own number, so that it is written once."""
    values = dict(values)
    for kind in ("tables", "figures"):
        if isinstance(values.get(kind), dict):
            values[kind] = {
                key: {"number": key, **item} if isinstance(item, dict) else item for key, item in values[kind].items()
            }
    return values


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
