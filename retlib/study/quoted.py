"""Read published results that stand beside ours as quoted rows, and what their own numbers imply."""

from __future__ import annotations

import functools
from importlib.resources import files

from pydantic import Field

from retlib.audit import Background, audit_row, list_published
from retlib.settings import Settings
from retlib.study.loader import read_yaml
from retlib.study.printed import Text


class Quoted(Settings):
    """A method whose results are quoted.

    Attributes:
        label: Name of the method.
        source: Where the numbers stand.
        protocol: What the source says, or its code shows, of region, threshold and averaging.
        parameters: Number of weights, by the source or a count of its code; None where unknown.
        scores: Data set (retlib's name) -> score (retlib's name) -> number as printed, as a fraction; means over images
            where the source says so.
        pooled: The same over the pixels of all images together, where the source has both.
        reference: Whether it was run under the one protocol of this study, by its authors' weights and code.
        unchecked: Scores that were noted down without the source at hand.
    """

    label: str
    source: str
    protocol: str = ""
    parameters: int | None = None
    scores: dict[str, dict[str, Text]] = Field(min_length=1)
    pooled: dict[str, dict[str, Text]] = {}
    reference: bool = False
    unchecked: tuple[str, ...] = ()


class _File(Settings):
    rows: tuple[Quoted, ...] = Field(min_length=1)


def list_quoted() -> tuple[Quoted, ...]:
    """List the rows of ``quoted.yaml``, then those of the audit's published results."""
    published = [
        Quoted(label=row.label, source=row.source, scores={row.dataset: row.scores}, unchecked=row.unchecked)
        for row in list_published()
    ]
    return (*_read().rows, *published)


def reference_model() -> Quoted:
    """Find the method that was run under the one protocol by its authors' weights and code."""
    return next(row for row in _read().rows if row.reference)


@functools.cache
def _read() -> _File:
    text = files("retlib.study").joinpath("quoted.yaml").read_text(encoding="utf-8")
    return _File.parse(read_yaml(text, "quoted.yaml"), where="quoted.yaml")


def implied_region(row: Quoted, dataset: str, background: Background) -> str:
    """Word the region that the numbers of a quoted row imply, by the arithmetic of the audit."""
    share = audit_row(row.scores[dataset], dataset=dataset, test_part=True, background=background).share
    if share is None or share.interval is None:
        return "cannot be told"
    return f"{share.region or 'region unknown'}: share {share.interval.low:.3f} to {share.interval.high:.3f}"
