"""Random honest tables, and the dresses in which people export them."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

SHORTS = {
    "accuracy": "Acc",
    "sensitivity": "Se",
    "specificity": "Sp",
    "precision": "Precision",
    "dice": "F1",
    "iou": "IoU",
}
GROUPS = (
    ("DRIVE", "STARE"),
    ("train", "test"),
    ("FOV", "full"),
    ("IOSTAR", "LES"),
    ("DRIVE, FOV", "DRIVE, full"),
    ("thin", "thick"),
)
HOW = ("{0} ({1})", "{0} [{1}]", "{0} - {1}", "{1}_{0}", "two rows")


@dataclass(frozen=True)
class Table:
    """Headings' scores, one group or two, and each row's numbers as fractions, for each group."""

    scores: tuple[str, ...]
    groups: tuple[str, ...]
    rows: tuple[tuple[tuple[float, ...], ...], ...]
    decimals: int
    percent: bool

    def number(self, value: float) -> str:
        return f"{100 * value:.{self.decimals - 2}f}" if self.percent else f"{value:.{self.decimals}f}"

    @property
    def cells(self) -> list[list[str]]:
        return [[self.number(value) for numbers in row for value in numbers] for row in self.rows]


def draw_table(rng: np.random.Generator, groups: tuple[str, ...] = ("",)) -> Table:
    """Draw confusion counts of each image, the same images for all methods, and score them pooled or averaged."""
    scores = tuple(rng.permutation([name for name in SHORTS if rng.random() < 0.8 or name == "accuracy"]))
    images = [(rng.uniform(0.07, 0.16, n := rng.integers(5, 21)), rng.integers(200_000, 400_000, n)) for _ in groups]
    averaged = rng.random() < 0.5
    rows = []
    for _ in range(rng.integers(1, 5)):
        row = []
        for shares, pixels in images:
            vessels = np.round(shares * pixels)
            found = np.round(vessels * np.clip(rng.normal(rng.uniform(0.65, 0.85), 0.05, len(pixels)), 0.05, 0.99))
            alarms = np.round(
                (pixels - vessels) * np.clip(rng.normal(rng.uniform(0.01, 0.04), 0.005, len(pixels)), 0.001, 1)
            )
            cells = np.array([found, vessels - found, alarms, pixels - vessels - alarms])
            values = score(cells if averaged else cells.sum(axis=1, keepdims=True))
            row.append(tuple(float(values[name].mean()) for name in scores))
        rows.append(tuple(row))
    return Table(scores, groups, tuple(rows), int(rng.integers(3, 6)), bool(rng.random() < 0.4))


def score(cells: np.ndarray) -> dict[str, np.ndarray]:
    tp, fn, fp, tn = cells
    return {
        "accuracy": (tp + tn) / cells.sum(axis=0),
        "sensitivity": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "precision": tp / (tp + fp),
        "dice": 2 * tp / (2 * tp + fp + fn),
        "iou": tp / (tp + fp + fn),
    }


def plain(table: Table, cells: list[list[str]] | None = None) -> str:
    """As a plain CSV file of one group."""
    lines = [["Method", *(SHORTS[name] for name in table.scores)]]
    lines += [[f"net {i}", *row] for i, row in enumerate(table.cells if cells is None else cells)]
    return "\n".join(map(",".join, lines)) + "\n"


def dressed(table: Table, rng: np.random.Generator) -> tuple[str, bytes]:
    """As a file of a random kind: its suffix and its bytes."""
    how = HOW[rng.integers(len(HOW))] if table.groups != ("",) else "{0}"
    unit = rng.choice([" (%)", "(%)", " [%]", ""]) if table.percent else ""
    names = [SHORTS[name] + unit for name in table.scores]
    if how == "two rows":
        first = [cell for group in table.groups for cell in [group, *[""] * (len(names) - 1)]]
        heads = [["Method", *first], ["", *names * len(table.groups)]]
    else:
        heads = [["Method", *(how.format(name, group) for group in table.groups for name in names)]]
    spread = rng.choice(["", " ± 0.012", "±0.01", " (0.012)", " +/- 0.01"])
    sign = "%" if table.percent and rng.random() < 0.3 else ""
    body = [[f"net {i}", *(f"{cell}{sign}{spread}" for cell in row)] for i, row in enumerate(table.cells)]
    kind = rng.choice(["comma", "semicolon", "tab", "latex", "markdown", "excel"])
    if kind == "latex":
        unpercent = [[cell.replace("%", r"\%") for cell in row] for row in heads + body]
        bold = [
            [rf"\textbf{{{c}}}" if j and rng.random() < 0.2 else c.replace("±", r"$\pm$") for j, c in enumerate(r)]
            for r in unpercent
        ]
        rows = " \\\\ \\hline\n".join(map(" & ".join, bold))
        return (
            ".tex",
            f"\\begin{{tabular}}{{l{'c' * (len(body[0]) - 1)}}}\n\\toprule\n{rows} \\\\\n\\end{{tabular}}\n".encode(),
        )
    if kind == "markdown":
        bold = [[f"**{cell}**" if j and rng.random() < 0.2 else cell for j, cell in enumerate(row)] for row in body]
        rule = ["---"] * len(body[0])
        lines = [*heads, *bold] if how == "two rows" else [heads[0], rule, *bold]
        return ".md", "\n".join(f"| {' | '.join(line)} |" for line in lines).encode()
    if kind == "excel":
        openpyxl = __import__("pytest").importorskip("openpyxl")
        book = openpyxl.Workbook()
        for line in heads:
            book.active.append(line)
        for i, row in enumerate(body, len(heads) + 1):
            for j, cell in enumerate(row, 1):
                where = book.active.cell(i, j, cell)
                if j > 1 and not sign and not spread:
                    where.value, where.number_format = float(cell), "0." + "0" * len(cell.partition(".")[2])
        stream = io.BytesIO()
        book.save(stream)
        return ".xlsx", stream.getvalue()
    mark = {"comma": ",", "semicolon": ";", "tab": "\t"}[kind]
    if kind != "comma" and rng.random() < 0.6:
        body = [[cell.replace(".", ",") for cell in row] for row in body]
    more = [""] * int(rng.integers(0, 3))
    quoted = [[f'"{cell}"' if mark in cell else cell for cell in line] + more for line in heads + body]
    encoding = rng.choice(["utf-8", "utf-8-sig", "utf-16", "cp1252"])
    return ".csv", "\r\n".join(map(mark.join, quoted)).encode(encoding)
