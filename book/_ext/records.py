"""Roles that cite numbers, so that no number is typed into prose.

``{rec}`` cites what a run measured, ``{reported}`` what a paper printed::

    {rec}`resaspp-unet/unet-drive/lite:metrics.dice:.4f`
    {rec}`resaspp-unet/unet-drive/lite:tests.drive:test.metrics.fov.image.dice:.4f`
    {reported}`resaspp-unet:4:0:Dice:.4f`

The first part names the paper, its run and the profile; then comes a dotted path into ``record.json``
(``metrics.<name>`` is short for the first test at the run's own region and average), then a format. A record or a
value that is not there is a warning, and warnings fail the build.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

LOGGER = logging.getLogger(__name__)
CITATION = re.compile(r"(?P<source>[^:]+):(?P<key>.+?)(?::(?P<format>[+ ]?,?(?:\.\d+)?[defg%]))?")


class CitationError(Exception):
    """A citation names something that is not there."""


def walk(value: Any, key: str) -> Any:
    """Follow a dotted path through mappings and lists.

    Raises:
        CitationError: a step does not exist; the message lists what does.
    """
    for step in key.split("."):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, Sequence) and not isinstance(value, str) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            choices = ", ".join(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
            raise CitationError(f"no {step!r} in {choices}")
    return value


def measured(source: str, key: str, records: Path) -> Any:
    """A value of the record of ``paper/run/profile``.

    Raises:
        CitationError: the paper, run, profile, record or value does not exist.
    """
    from retlib.papers import load_paper
    from retlib.study import Store

    try:
        paper, run, profile = source.split("/")
    except ValueError:
        raise CitationError(f"{source!r} is not paper/run/profile") from None
    runs = load_paper(paper).runs(profile)
    if run not in runs:
        raise CitationError(f"{paper} has no {profile} run {run!r}; it has {', '.join(runs)}")
    record = Store(records).find(runs[run])
    if record is None:
        raise CitationError(f"nobody has run {source}")
    if key.startswith("metrics."):
        return walk(record.metrics(), key.removeprefix("metrics."))
    return walk(record.content, key)


def reported(source: str, key: str) -> Any:
    """A cell ``table:row:column`` of a paper's tables; the row is a label or a number that counts from 0.

    Raises:
        CitationError: the paper, table, row or column does not exist.
    """
    from retlib.papers import load_paper

    try:
        table, row, column = key.split(":", 2)
    except ValueError:
        raise CitationError(f"{key!r} is not table:row:column") from None
    tables = load_paper(source).tables
    if table not in tables:
        raise CitationError(f"{source} has no table {table!r}; it has {', '.join(tables)}")
    frame = tables[table].reported
    if column not in frame.columns:
        raise CitationError(f"table {table} has no column {column!r}; it has {', '.join(map(str, frame.columns))}")
    if row in frame.index:
        return frame.loc[row, column]
    if row.isdigit() and int(row) < len(frame):
        return frame[column].iloc[int(row)]
    raise CitationError(f"table {table} has no row {row!r}; it has {', '.join(map(str, frame.index))}")


class CitationRole(SphinxRole):
    """Replace a citation by the formatted value."""

    def __init__(self, kind: str) -> None:
        """``kind`` is ``rec`` or ``reported``."""
        super().__init__()
        self.kind = kind

    def run(self):
        """Sphinx calls this for every use of the role."""
        try:
            if not (match := CITATION.fullmatch(self.text.strip())):
                raise CitationError("expected source:key or source:key:format")
            source, key, spec = match["source"], match["key"], match["format"] or ""
            records = Path(self.env.srcdir) / "book" / "records"
            value = measured(source, key, records) if self.kind == "rec" else reported(source, key)
            if value is None or (isinstance(value, float) and value != value):
                raise CitationError(f"{key} has no value")
            text = format(value, spec)
        except (CitationError, ValueError, KeyError, OSError) as error:
            LOGGER.warning("%s %r: %s", self.kind, self.text, error, location=self.get_location())
            return [nodes.problematic(self.rawtext, self.rawtext)], []
        return [nodes.inline(self.rawtext, text, classes=[self.kind])], []


def setup(app):
    """Register the two roles."""
    app.add_role("rec", CitationRole("rec"))
    app.add_role("reported", CitationRole("reported"))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
