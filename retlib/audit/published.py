"""Read and audit published results that others quote, each with its source."""

from __future__ import annotations

from importlib.resources import files

import yaml
from pydantic import Field

from retlib.audit.deviations import Background
from retlib.audit.row_audit import RowAudit, audit_row
from retlib.settings import Settings


class Published(Settings):
    """One row of ``published.yaml``.

    Attributes:
        label: Name of the method in the source.
        dataset: The data set whose customary test part was scored, retlib's name.
        source: Where the numbers are printed.
        scores: retlib's name of a score -> number as printed, quoted.
        unchecked: Scores that were noted down without the source at hand.
        note: A remark for the reader.
    """

    label: str
    dataset: str
    source: str
    scores: dict[str, str]
    unchecked: tuple[str, ...] = ()
    note: str = ""


class _File(Settings):
    rows: tuple[Published, ...] = Field(min_length=1)


def list_published() -> tuple[Published, ...]:
    """Read the rows of ``published.yaml``, in its order."""
    text = files("retlib.audit").joinpath("published.yaml").read_text(encoding="utf-8")
    return _File.parse(yaml.safe_load(text), where="published.yaml").rows


def audit_published(background: Background) -> list[RowAudit]:
    """Audit every published row, as scored on the customary test part of its data set."""
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
