"""Published results that others quote, with their sources, and what their own numbers imply."""

from __future__ import annotations

from pydantic import Field

from retlib.audit.background import Background
from retlib.audit.rows import RowAudit, audit_row
from retlib.settings import Settings
from retlib.study.printed import Text


class Published(Settings):
    """One row of ``published.yaml``.

    Attributes:
        label: What the source calls the method.
        dataset: The data set whose customary test part was scored, retlib's name.
        source: Where the numbers stand.
        scores: retlib's name of a score -> number as printed.
        unchecked: Scores that were noted down without the source at hand.
        note: What a reader should know.
    """

    label: str
    dataset: str
    source: str
    scores: dict[str, Text]
    unchecked: tuple[str, ...] = ()
    note: str = ""


class _File(Settings):
    rows: tuple[Published, ...] = Field(min_length=1)


def list_published() -> tuple[Published, ...]:
    """The rows of ``published.yaml``, in its order."""
    from importlib.resources import files

    import yaml

    text = files("retlib.audit").joinpath("published.yaml").read_text(encoding="utf-8")
    return _File.parse(yaml.safe_load(text), where="published.yaml").rows


def audit_published(background: Background) -> list[RowAudit]:
    """The audit of every published row, scored on the customary test part of its data set."""
    return [
        audit_row(
            row.scores,
            dataset=row.dataset,
            test_part=True,
            background=background,
            label=row.label + (" *" if row.unchecked else ""),
            where=row.source,
            kind="quoted",
        )
        for row in list_published()
    ]
