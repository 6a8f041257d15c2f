"""Base class of every configured object: frozen, strict about names, with readable errors."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

_SHORT = reprlib.Repr()  # YAML may nest references so deeply that the whole value could not be written out
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 4, 200, 200
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 12


class Problems(ValueError):
    """Report several problems of one object, each as ``place: what was expected there``."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class Settings(BaseModel):
    """A frozen group of settings; an unknown name or a wrong value is an error that names the field."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def _problems(self) -> Iterable[str]:
        """List what is wrong with the fields together, each as ``place: what was expected there``; to be overridden."""
        return ()

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if problems := tuple(self._problems()):
            raise Problems(problems)
        return self

    @classmethod
    def parse(cls, values: dict[str, Any], where: str = "") -> Self:
        """Validate ``values``; ``where`` (a file and key, say) opens the error message.

        Raises:
            ValueError: one line a problem, each with the dotted name of the field and what was expected.
        """
        try:
            # The context collects names that validators of later fields look up.
            return cls.model_validate(values, context={})
        except ValidationError as error:
            lines = [f"  {line}" for item in error.errors() for line in _lines(item, cls.__name__)]
            raise ValueError("\n".join([f"{where or cls.__name__} is not valid:", *lines])) from None


def _lines(item: dict[str, Any], name: str) -> list[str]:
    place = ".".join(str(part) for part in item["loc"] if part != "[key]")
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, Problems):
        return [f"{place}.{problem}" if place else problem for problem in cause.problems]
    return [f"{place or name}: {item['msg'].removeprefix('Value error, ')} (got {_short(item['input'])})"]


def _short(value: object, width: int = 200) -> str:
    """Cut a long value: a missing field is reported with its whole surrounding group, which may be a file."""
    text = _SHORT.repr(value)
    return text if len(text) <= width else f"{text[:width]} ..."
