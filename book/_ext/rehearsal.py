"""The directive ``{rehearsal}``: what the first steps of the full-size runs took, from book/records/rehearsal.json.

Its argument is ``papers`` or ``studies``, and it makes one table. The file is written by ``make rehearse``.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

from docutils import nodes
from sphinx.errors import SphinxError
from sphinx.util.docutils import SphinxDirective
from verdicts import entry, table

HEAD = ("paper or study", "runs", "parameters", "batch", "loss", "seconds a step", "steps", "whole run, hours")


def hours(line: dict) -> float:
    """What the whole training would take on the machine of the rehearsal."""
    return line["step_s"] * line["planned_steps"] / 3600


def batch_text(config) -> str:
    """``8 x 512x512`` for whole images, ``16 x 64x64 patches`` for patches."""
    inputs, training = config.inputs, config.training
    if training.patches is not None:
        return f"{training.batch_size} patches of {training.patches.size}x{training.patches.size}"
    size = inputs.size or inputs.resample or inputs.crop
    images = "1 image" if training.batch_size == 1 else f"{training.batch_size} images"
    return images + (f" of {size[0]}x{size[1]}" if size else "")


@functools.cache
def plan_of(key: str) -> tuple[str, dict]:
    """Short title of a paper or study, and the runs of its `paper` profile."""
    from retlib.papers import list_papers, load_paper
    from retlib.studies import load_study

    if key in list_papers():
        paper = load_paper(key)
        return paper.short, paper.runs("paper")
    study = load_study(key)
    return study.title, study.runs("paper")


def rows(lines: dict[str, dict], kind: str) -> list[nodes.row]:
    """One row a rehearsed network and setting, of the ``papers`` or of the ``studies``, in the file's order."""
    from retlib.papers import list_papers

    made = []
    for name, line in lines.items():
        key, run = name.split("/")
        if (key in list_papers()) != (kind == "papers"):
            continue
        title, runs = plan_of(key)
        cells = (
            title,
            ", ".join(f"`{other.split('/')[1]}`" for other in line["stands_for"]),
            f"{line['parameters']:,}",
            batch_text(runs[run]),
            f"{line['loss']:.3f}",
            f"{line['step_s']:.1f}",
            str(line["planned_steps"]),
            f"{hours(line):.1f}",
        )
        made.append(nodes.row("", *(entry(cell) for cell in cells)))
    return made


class RehearsalDirective(SphinxDirective):
    """A table of what was rehearsed."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Sphinx calls this where the directive stands."""
        file = Path(self.env.srcdir) / "book" / "records" / "rehearsal.json"
        self.env.note_dependency(str(file))
        if not file.is_file():
            raise SphinxError(f"{file.name}: not found in book/records; run `make rehearse`, which needs the data sets")
        (kind,) = self.arguments
        if kind not in ("papers", "studies"):
            raise SphinxError(f"rehearsal: expected papers or studies, got {kind!r}")
        return [table(HEAD, rows(json.loads(file.read_text(encoding="utf-8")), kind), ["rehearsal"])]


def setup(app):
    """Register the directive."""
    app.add_directive("rehearsal", RehearsalDirective)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
