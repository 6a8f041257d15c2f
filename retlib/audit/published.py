"""Read and audit published results that others quote, each with its source."""

from __future__ import annotations

import functools
from importlib.resources import files

import yaml
from pydantic import Field

from retlib.audit.deviations import Background
from retlib.audit.row_audit import RowAudit, audit_row
from retlib.settings import Settings


class Published(Settings):
    """A method whose results are quoted: a row of ``published.yaml``, where its fields are explained."""

    label: str
    source: str
    protocol: str = ""
    parameters: int | None = None
    scores: dict[str, dict[str, str]] = Field(min_length=1)
    pooled: dict[str, dict[str, str]] = {}
    reference: bool = False
    unchecked: tuple[str, ...] = ()

    def audit(self, dataset: str, background: Background) -> RowAudit:
        """Audit its scores on the customary test part of a data set, retlib's name."""
        return audit_row(
            self.scores[dataset],
            dataset=dataset,
            test_part=True,
            background=background,
            label=self.label + (" *" if self.unchecked else ""),
            where=self.source,
            kind="quoted",
        )


@functools.cache
def list_published() -> tuple[Published, ...]:
    """Read the rows of ``published.yaml``, in its order."""
    text = files("retlib.audit").joinpath("published.yaml").read_text(encoding="utf-8")
    return tuple(Published.parse(row, where="published.yaml") for row in yaml.safe_load(text)["rows"])


def audit_published(background: Background) -> list[RowAudit]:
    """Audit what others printed, wherever a row's numbers can be compared with one another."""
    audits = [row.audit(dataset, background) for row in list_published() if not row.reference for dataset in row.scores]
    return [audit for audit in audits if audit.checks]
