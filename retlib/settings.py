"""The base of every configured object: frozen, strict about names, one readable error."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError


class Settings(BaseModel):
    """A frozen group of settings; an unknown name or a wrong value is an error that names the field."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @classmethod
    def parse(cls, values: dict[str, Any], where: str = "") -> Self:
        """Validate ``values``; ``where`` (a file and key, say) opens the error message.

        Raises:
            ValueError: one line a problem, each with the dotted name of the field and what was expected.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = [
                f"  {'.'.join(map(str, item['loc'])) or cls.__name__}: {item['msg']} (got {_short(item['input'])})"
                for item in error.errors()
            ]
            raise ValueError("\n".join([f"{where or cls.__name__} is not valid:", *problems])) from None


def _short(value: object, width: int = 200) -> str:
    """A field that is missing is reported with all that stands beside it, which may be a whole file."""
    text = repr(value)
    return text if len(text) <= width else f"{text[:width]} ..."
