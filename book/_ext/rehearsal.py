"""The directive ``{rehearsal}``: what full-size runs cost, from book/records/rehearsal.json and the records.

``{rehearsal} papers`` and ``{rehearsal} studies`` make a table, ``{rehearsal} machines`` says where its seconds were
measured. ``make rehearse`` writes the file; what nobody has measured is an em dash.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from docutils import nodes
from speed import REHEARSAL, load, number
from sphinx.util.docutils import SphinxDirective
from verdicts import DASH, entry, table

COLUMNS = {"float32": "float32", "bfloat16": "bfloat16", "gpu": "GPU"}
HEAD = (
    "paper or study",
    "runs",
    "steps",
    "batch",
    *(f"{title}, s a step" for title in COLUMNS.values()),
    "bfloat16, hours",
    "GPU, hours",
    "hours on record",
)
SEEDS = (0, 1, 2)


def batch_text(config) -> str:
    """``8 images of 512x512``, or ``16 patches of 64x64``."""
    inputs, training = config.inputs, config.training
    if training.patches is None:
        what, size = "image" if training.batch_size == 1 else "images", inputs.size or inputs.resample or inputs.crop
    else:
        what, size = "patch" if training.batch_size == 1 else "patches", training.patches.sides
    return f"{training.batch_size} {what}" + (f" of {size[0]}x{size[1]}" if size else "")


def hours_on_record(configs: Iterable, store) -> str:
    """Hours of training in the records of these runs, mean over runs and seeds, on each kind of device.

    On a CPU they are the processor's time over the threads: the wall clock of a run that shared its machine, or was
    stopped for a while, says nothing.
    """
    spent: dict[str, list[float]] = {}
    for config in configs:
        for seed in SEEDS:
            if (record := store.find(config.model_copy(update={"seed": seed}))) is not None:
                timing, environment = record.content["timing"], record.content["environment"]
                on_cpu = environment["device"] == "cpu"
                seconds = timing["training_cpu_s"] / environment["threads"] if on_cpu else timing["training_s"]
                spent.setdefault(environment["device"], []).append(seconds / 3600)
    names = {"cpu": "", "cuda": " (GPU)"}
    return ", ".join(number(mean(hours)) + names[device] for device, hours in spent.items()) or DASH


def rows(plans: Iterable, lines: Mapping[str, Mapping[str, Any]], store) -> list[nodes.row]:
    """Make a row for the runs of a paper or study whose steps take as long and are as many.

    Args:
        plans: (title, runs of the `paper` profile by name).
        lines: lines of the file by ``step``.
        store: the records.
    """
    from retlib.study.rehearsal import planned_steps, step_key

    made = []
    for title, runs in plans:
        groups: dict[tuple, list[str]] = {}
        for name, config in runs.items():
            groups.setdefault((step_key(config), planned_steps(config)), []).append(name)
        for (key, steps), names in groups.items():
            line = lines.get(key, {})
            seconds = {column: line[column]["step_s"] if column in line else None for column in COLUMNS}
            hours = {c: None if None in (s, steps) else s * steps / 3600 for c, s in seconds.items()}
            cells = (
                title,
                ", ".join(f"`{name}`" for name in names),
                DASH if steps is None else f"{steps:,}",
                batch_text(runs[names[0]]),
                *map(number, seconds.values()),
                number(hours["bfloat16"]),
                number(hours["gpu"]),
                hours_on_record((runs[name] for name in names), store),
            )
            made.append(nodes.row("", *(entry(cell) for cell in cells)))
    return made


def machine_texts(lines: Collection[Mapping[str, Any]]) -> list[str]:
    """Say on which machines each column was measured."""
    texts = []
    for column, title in COLUMNS.items():
        for facts in (line[column]["machine"] for line in lines if column in line):
            units = " and ".join(unit for unit in ("amx_bf16", "avx512_bf16") if facts[unit]) or "none"
            texts.append(
                f"{title}: {facts.get('gpu', facts['processor'])}, {facts['cores']} cores, {facts['threads']} threads, "
                f"units for bfloat16: {units}; torch {facts['torch']}, {facts['date']}."
            )
    return list(dict.fromkeys(texts))


class RehearsalDirective(SphinxDirective):
    """What full-size runs cost."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Sphinx calls this where the directive stands."""
        from retlib.papers import list_papers, load_paper
        from retlib.studies import list_studies, load_study
        from retlib.study import Store

        folder = Path(self.env.srcdir) / "book" / "records"
        self.env.note_dependency(str(folder / REHEARSAL))
        lines = {line["step"]: line for line in load(folder, REHEARSAL).values() if "step" in line}
        (kind,) = self.arguments
        if kind == "papers":
            plans = [(paper.short, paper.runs("paper")) for paper in map(load_paper, list_papers())]
        elif kind == "studies":
            plans = [(study.title, study.runs("paper")) for study in map(load_study, list_studies())]
        elif kind == "machines":
            items = [nodes.list_item("", nodes.paragraph("", text)) for text in machine_texts(lines.values())]
            return [nodes.bullet_list("", *items)] if items else []
        else:
            raise self.error(f"rehearsal: expected papers, studies or machines, got {kind!r}")
        return [table(HEAD, rows(plans, lines, Store(folder)), ["rehearsal"])]


def setup(app):
    """Register the directive."""
    app.add_directive("rehearsal", RehearsalDirective)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
