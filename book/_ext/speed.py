"""Directives of the page about speed, made from book/records/benchmarks.json and cost-curves.json.

``{benchmarks}`` and ``{network-seconds}`` make tables, ``{cost-curves}`` two figures and a table of exponents, and
``{cost-of} images 10000`` (or ``papers 10``, ``gpus 8``) a table that answers what a larger study would cost. A line
that nobody has measured is an em dash; a file or an entry that is not there fails the build.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import speed_plan
from docutils import nodes
from speed_figures import NAMES, draw_networks, draw_scale
from sphinx.errors import SphinxError
from sphinx.util.docutils import SphinxDirective
from verdicts import DASH, entry, table

BENCHMARKS, CURVES, REHEARSAL = "benchmarks.json", "cost-curves.json", "rehearsal.json"
REMEDY = {
    BENCHMARKS: "python tools/bench.py",
    CURVES: "python tools/cost_curves.py",
    REHEARSAL: "make rehearse",
}
LINE_KEYS = ("name", "ours", "theirs", "ratio", "range", "limit", "compares", "unit", "met", "note", "machine", "date")
MACHINE_KEYS = ("processor", "cores", "threads", "torch", "load")
FIT_KEYS = ("exponent", "standard_error", "coefficient", "x", "y")
BENCHMARK_HEAD = ("what", "ours", "theirs", "times faster", "limit", "", "on")
NETWORK_HEAD = ("network", "seconds", "CPU seconds", "of U-Net's")
FIT_HEAD = ("what", "against", "from", "to", "time grows with the power", "memory with the power")


class SpeedError(SphinxError):
    """A file of measurements is missing, or does not hold what the page shows."""

    category = "Speed"


def load(folder: Path, name: str) -> dict[str, Any]:
    """One of the files in book/records.

    Raises:
        SpeedError: it is not there or no JSON; the message says which command writes it.
    """
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpeedError(f"{name}: not found in book/records; run `{REMEDY[name]}`") from None
    except ValueError as error:
        raise SpeedError(f"{name}: expected JSON ({error}); delete it and run `{REMEDY[name]}`") from None


def part(content: Mapping[str, Any], name: str, key: str) -> dict[str, Any]:
    """A part of a file that has to be there and to hold something."""
    if not content.get(key):
        raise SpeedError(f"{name}: expected something under {key!r}, found nothing; run `{REMEDY[name]}`")
    return content[key]


def require(entry_: Mapping[str, Any], keys: tuple[str, ...], where: str, name: str) -> None:
    """Every key is there."""
    if missing := [key for key in keys if key not in entry_]:
        raise SpeedError(f"{name}: {where} has no {', '.join(missing)}; run `{REMEDY[name]}`")


def check_line(key: str, line: Mapping[str, Any]) -> None:
    """A line of the benchmarks holds what the table shows, and its verdict is what its numbers say.

    Raises:
        SpeedError: naming the line and the entry.
    """
    require(line, LINE_KEYS, f"line {key!r}", BENCHMARKS)
    if line["ours"] is None:
        return
    for what in ("ours", "theirs", "ratio", "limit"):
        value = line[what]
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0
        if not number and (value is not None or what == "ours"):
            raise SpeedError(f"{BENCHMARKS}: line {key!r}: expected {what} to be a number above 0, got {value!r}")
    require(line["machine"] or {}, MACHINE_KEYS, f"the machine of line {key!r}", BENCHMARKS)
    met = None
    if line["limit"] is not None:
        met = line["ours"] <= line["limit"] if line["ratio"] is None else line["ratio"] >= line["limit"]
    if met is not line["met"]:
        raise SpeedError(
            f"{BENCHMARKS}: line {key!r} says met: {line['met']}, but its numbers say {met}; measure again"
        )


def number(value: float | None, unit: str = "") -> str:
    """Three digits that count, and the unit; an em dash for nothing."""
    if value is None:
        return DASH
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{min(digits, 5)}f}{' ' if unit else ''}{unit}"


def verdict(line: Mapping[str, Any]) -> nodes.Node:
    """``met``, ``MISSED``, ``not measured``, or nothing where there is no limit."""
    if line["ours"] is None:
        return nodes.inline("", "not measured")
    return {True: nodes.inline("", "met"), False: nodes.strong("", "MISSED"), None: nodes.inline("", DASH)}[line["met"]]


def limit_text(line: Mapping[str, Any]) -> str:
    """``at least 10 times``, ``at most 0.5 s``."""
    if line["limit"] is None:
        return DASH
    return f"at least {line['limit']:g} times" if line["compares"] else f"at most {line['limit']:g} {line['unit']}"


def spread_text(line: Mapping[str, Any]) -> str:
    """`` (9.8 to 12.1)``: lowest and highest round."""
    return "" if line["range"] is None else f" ({number(line['range'][0])} to {number(line['range'][1])})"


def machine_text(machine: Mapping[str, Any], date: str, load: float) -> str:
    """One machine and day in words."""
    threads = f"{machine['threads']} thread{'' if machine['threads'] == 1 else 's'}"
    return (
        f"{machine['processor']}, {machine['cores']} cores, {threads}, torch {machine['torch']}, {date}; "
        f"load before a measurement: up to {load:g}."
    )


def benchmark_rows(lines: Mapping[str, Mapping[str, Any]]) -> tuple[list[nodes.row], list[str]]:
    """Rows of the table, and the machines that its last column names by a letter."""
    machines: dict[tuple, list[Mapping[str, Any]]] = {}
    rows = []
    for key, line in lines.items():
        check_line(key, line)
        letter = DASH
        if line["ours"] is not None:
            same = (*(line["machine"][name] for name in MACHINE_KEYS[:-1]), line["date"])
            machines.setdefault(same, []).append(line)
            letter = chr(ord("A") + list(machines).index(same))
        cells = (
            line["name"] + (f" ({line['note']})" if line["note"] else ""),
            number(line["ours"], line["unit"]) + ("" if line["compares"] else spread_text(line)),
            number(line["theirs"], line["unit"]),
            number(line["ratio"]) + (spread_text(line) if line["compares"] else ""),
            limit_text(line),
        )
        rows.append(nodes.row("", *(entry(cell) for cell in cells), entry(verdict(line)), entry(letter)))
    texts = [
        machine_text(own[0]["machine"], own[0]["date"], max(line["machine"]["load"] for line in own))
        for own in machines.values()
    ]
    return rows, texts


def network_rows(seconds: Mapping[str, Mapping[str, float]]) -> list[nodes.row]:
    """A row a network, the fastest first."""
    for key, line in seconds.items():
        require(line, ("wall_s", "cpu_s"), f"network_seconds of {key!r}", BENCHMARKS)
    require(seconds, ("unet",), "network_seconds", BENCHMARKS)
    base = seconds["unet"]["cpu_s"]
    ordered = sorted(seconds.items(), key=lambda item: item[1]["wall_s"])
    return [
        nodes.row(
            "",
            entry(f"`{key}`"),
            entry(number(line["wall_s"])),
            entry(number(line["cpu_s"])),
            entry(number(line["cpu_s"] / base)),
        )
        for key, line in ordered
    ]


def check_fits(fits: Mapping[str, Mapping[str, Any]]) -> None:
    """Every fit is whole; the ones that the page needs are there."""
    needed = [f"{curve}/{variable}/seconds" for curve, variables in NAMES.items() for variable in variables[1]]
    require(fits, tuple(needed), "fits", CURVES)
    for key, fit in fits.items():
        require(fit, FIT_KEYS, f"fit {key!r}", CURVES)


def fit_rows(fits: Mapping[str, Mapping[str, Any]]) -> list[nodes.row]:
    """A row a sweep."""

    def power(key: str) -> str:
        fit = fits.get(key)
        return DASH if fit is None else f"{fit['exponent']:.2f} ± {fit['standard_error']:.2f}"

    rows = []
    for curve, (title, variables) in NAMES.items():
        for variable in variables:
            key = f"{curve}/{variable}"
            ends = [f"{end(fits[f'{key}/seconds']['x']):,}" for end in (min, max)]
            cells = (title, variable, *ends, power(f"{key}/seconds"), power(f"{key}/memory_mib"))
            rows.append(nodes.row("", *(entry(cell) for cell in cells)))
    return rows


class _FromRecords(SphinxDirective):
    """A directive that reads files in book/records."""

    def read(self, name: str) -> dict[str, Any]:
        """A file, noted as what the page depends on."""
        folder = Path(self.env.srcdir) / "book" / "records"
        self.env.note_dependency(str(folder / name))
        return load(folder, name)


class BenchmarksDirective(_FromRecords):
    """Every benchmark, its limit and whether it was met."""

    def run(self) -> list[nodes.Node]:
        """Sphinx calls this where the directive stands."""
        rows, machines = benchmark_rows(part(self.read(BENCHMARKS), BENCHMARKS, "lines"))
        items = [nodes.list_item("", nodes.paragraph("", f"{chr(ord('A') + i)}: {t}")) for i, t in enumerate(machines)]
        return [table(BENCHMARK_HEAD, rows, ["benchmarks"]), *([nodes.bullet_list("", *items)] if items else [])]


class NetworkSecondsDirective(_FromRecords):
    """Seconds of a forward pass, network by network."""

    def run(self) -> list[nodes.Node]:
        """Sphinx calls this where the directive stands."""
        content = self.read(BENCHMARKS)
        rows = network_rows(part(content, BENCHMARKS, "network_seconds"))
        machine = part(content, BENCHMARKS, "network_machine")
        require(machine, (*MACHINE_KEYS, "date"), "network_machine", BENCHMARKS)
        where = nodes.paragraph("", f"Measured on: {machine_text(machine, machine['date'], machine['load'])}")
        return [table(NETWORK_HEAD, rows, ["network-seconds"]), where]


class CostCurvesDirective(_FromRecords):
    """Two figures with logarithmic axes, and the exponents."""

    def run(self) -> list[nodes.Node]:
        """Sphinx calls this where the directive stands."""
        content = self.read(CURVES)
        fits = part(content, CURVES, "fits")
        check_fits(fits)
        machine = part(content, CURVES, "machine")
        require(machine, MACHINE_KEYS, "machine", CURVES)
        where = machine_text(machine, part(content, CURVES, "date"), machine["load"])
        return [
            self.figure("speed-networks.svg", draw_networks, fits),
            self.figure("speed-scale.svg", draw_scale, fits),
            table(FIT_HEAD, fit_rows(fits), ["cost-curves"]),
            nodes.paragraph("", f"Measured on: {where}"),
        ]

    def figure(self, name: str, draw: Callable[[Mapping, Path], tuple[str, str]], fits: Mapping) -> nodes.figure:
        """Draw into the build folder; the image has a text, the figure a caption."""
        file = Path(self.env.app.doctreedir) / "speed" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        alt, caption = draw(fits, file)
        uri = Path(os.path.relpath(file, Path(self.env.doc2path(self.env.docname)).parent)).as_posix()
        return nodes.figure("", nodes.image(uri=uri, alt=alt), nodes.caption("", caption))


class CostOfDirective(_FromRecords):
    """``{cost-of} images 10000``: what it would cost, and how that is reckoned."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        """Sphinx calls this where the directive stands."""
        kind, text = self.arguments
        if kind not in ("images", "papers", "gpus") or not text.isdigit() or int(text) < 1:
            raise self.error(f"cost-of: expected images, papers or gpus and a whole number, got {kind} {text}")
        count, records = int(text), Path(self.env.srcdir) / "book" / "records"
        if kind == "gpus":
            lines = part(self.read(BENCHMARKS), BENCHMARKS, "lines")
            rows = speed_plan.gpus(count, speed_plan.table_rows(self.read(REHEARSAL)), lines)
        else:
            fits = part(self.read(CURVES), CURVES, "fits")
            check_fits(fits)
            if kind == "images":
                rows = speed_plan.images(count, fits)
            else:
                rows = speed_plan.papers(count, fits, speed_plan.table_rows(self.read(REHEARSAL)), records)
        cells = [nodes.row("", *(entry(cell or DASH) for cell in row)) for row in rows]
        return [table(("", "how it is reckoned", "cost"), cells, ["cost-of"])]


def setup(app):
    """Register the directives."""
    app.add_directive("benchmarks", BenchmarksDirective)
    app.add_directive("network-seconds", NetworkSecondsDirective)
    app.add_directive("cost-curves", CostCurvesDirective)
    app.add_directive("cost-of", CostOfDirective)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
