"""Read and audit a table from a CSV file: columns by their usual names, percent or fraction recognised per column."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from retlib.audit.cross_checks import check_one_share, check_twice
from retlib.audit.deviations import Background
from retlib.audit.row_audit import RowAudit, audit_row
from retlib.data.registry import COLLECTIONS

NAMES = {
    "accuracy": ("acc", "accuracy", "ac", "oa", "overallaccuracy", "pixelaccuracy"),
    "sensitivity": ("se", "sen", "sens", "sensitivity", "recall", "rec", "re", "tpr", "truepositiverate"),
    "specificity": ("sp", "spe", "spec", "specificity", "tnr", "truenegativerate"),
    "precision": ("pr", "pre", "prec", "precision", "ppv", "positivepredictivevalue"),
    "dice": ("dice", "dsc", "f1", "f1score", "fscore", "fmeasure", "dicescore", "dicecoefficient", "f1dice"),
    "iou": ("iou", "jaccard", "jac", "ji", "js", "jsc", "jaccardindex", "jaccardscore", "intersectionoverunion"),
}
LABELS = ("method", "methods", "model", "models", "name", "network", "algorithm", "reference", "references", "approach")
DATASETS = ("dataset", "datasets", "data", "database", "databases")
IGNORED = {
    "auc": "an area over all thresholds says nothing about one operating point",
    "ap": "an area over all thresholds says nothing about one operating point",
    "mcc": "it is no ratio of sums of pixel counts",
    "kappa": "it is no ratio of sums of pixel counts",
    "miou": "it averages in the background",
    "mdice": "it averages in the background",
}
_MISSING = re.compile(r"|[-–—/\\]+|n\.?/?a\.?|nan|none", re.IGNORECASE)
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))\s?(%?)(?:\s?(?:±|\+/-|\+-|\().*)?")  # what follows ± is a spread
_SURELY_PERCENT = 10  # a column of percentages without a sign has a number at least this large


@dataclass(frozen=True)
class TableFile:
    """A table as read.

    Attributes:
        labels: Name of each row.
        datasets: Data set of each row as the table writes it; None where it has no such column.
        columns: Heading -> score of retlib.
        percent: Headings whose numbers are percentages.
        rows: For each row, heading -> number as a text that says whether it is a percentage.
        notes: Columns that were ignored, and why.
    """

    labels: tuple[str, ...]
    datasets: tuple[str | None, ...]
    columns: dict[str, str]
    percent: tuple[str, ...]
    rows: tuple[dict[str, str], ...]
    notes: tuple[str, ...]


def read_table(path: str | Path) -> TableFile:
    """Read a table from a CSV file (comma, semicolon or tab), one method a row, headings in the first line.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an empty file, no row, no column that is known, a cell that is no number, a number outside [0, 1]
            (or [0, 100] in a column of percentages), a heading that stands twice. The message names line and column.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file; expected a table as CSV")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name}: expected text in UTF-8; save the table as CSV UTF-8") from None
    return parse_table(text, path.name)


def parse_table(text: str, name: str = "table") -> TableFile:
    """Read a table from the text of a CSV file; ``name`` opens every error message."""
    lines = _lines(text, name)
    headings = [cell.strip() for cell in lines[0][1]]
    body = lines[1:]
    if not body:
        raise ValueError(f"{name}: expected rows under the headings, found none")
    scores, notes = _sort_headings(headings, name)
    if not scores:
        known = "Acc, Se (Recall), Sp, Precision (PPV), F1 (Dice, DSC), IoU (Jaccard)"
        raise ValueError(f"{name}: expected some of the columns {known}; found {', '.join(map(repr, headings))}")
    label = next((i for i, heading in enumerate(headings) if _plain(heading) in LABELS), None)
    dataset = next((i for i, heading in enumerate(headings) if _plain(heading) in DATASETS), None)
    rows: list[dict[str, str]] = [{} for _ in body]
    percent = []
    for index, heading in enumerate(headings):
        if heading in scores:
            cells = [(number, line[index].strip()) for number, line in body]
            numbers, is_percent = _column(heading, cells, name)
            percent += [heading] if is_percent else []
            if "%" in heading and not is_percent:
                notes.append(f"column {heading!r} says percent and holds nothing above 1: read as fractions")
            for row, number in zip(rows, numbers, strict=True):
                if number is not None:
                    row[heading] = number
    return TableFile(
        tuple((line[label].strip() if label is not None else "") or f"line {number}" for number, line in body),
        tuple((line[dataset].strip() or None) if dataset is not None else None for _, line in body),
        scores,
        tuple(percent),
        tuple(rows),
        tuple(notes),
    )


def audit_table(
    table: TableFile, background: Background, dataset: str | None = None, test_part: bool = True
) -> list[RowAudit]:
    """Audit every row, then the rows of one data set against one another.

    Args:
        table: As read.
        background: Measured shares and deviations.
        dataset: The data set of all rows, where the table has no such column; retlib's name or the usual one.
        test_part: Whether the customary test part was scored, where the data set has one.

    Raises:
        ValueError: ``dataset`` is not known.
    """
    given = None if dataset is None else _dataset(dataset)
    if dataset is not None and given is None:
        raise ValueError(f"dataset: expected one of {', '.join(COLLECTIONS)}, got {dataset!r}")
    found: list[RowAudit] = []
    groups: dict[str | None, list[RowAudit]] = {}
    for label, written, cells in zip(table.labels, table.datasets, table.rows, strict=True):
        key = given if written is None else (_dataset(written) or written)
        scores: dict[str, str] = {}
        again = []
        for heading, number in cells.items():
            metric = table.columns[heading]
            if metric in scores:
                first = next(h for h in cells if table.columns[h] == metric)
                again.append(check_twice(scores[metric], number, metric, (first, heading)))
            else:
                scores[metric] = number
        row = audit_row(scores, dataset=key, test_part=test_part, background=background, label=label)
        if again:
            row = replace(row, checks=(*row.checks, *again))
        found.append(row)
        groups.setdefault(key, []).append(row)
    for key, rows in groups.items():
        check = check_one_share(rows)
        if check is not None:
            found.append(RowAudit("all rows", "", key, "", {}, {}, None, (check,)))
    return found


def _lines(text: str, name: str) -> list[tuple[int, list[str]]]:
    """Split a CSV text into (line in the file, cells), without blank lines; every row is as long as the headings."""
    if not text.strip():
        raise ValueError(f"{name}: the file is empty; expected headings and rows")
    first = text.strip().splitlines()[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    width = len(lines[0][1])
    for number, cells in lines:
        if len(cells) > width:
            raise ValueError(f"{name}, line {number}: expected {width} cells as in the headings, found {len(cells)}")
        cells += [""] * (width - len(cells))
    return lines


def _sort_headings(headings: Sequence[str], name: str) -> tuple[dict[str, str], list[str]]:
    if len(set(headings)) < len(headings):
        twice = next(heading for heading in headings if headings.count(heading) > 1)
        raise ValueError(f"{name}: the heading {twice!r} stands twice")
    scores, notes = {}, []
    for heading in headings:
        plain = _plain(heading)
        metric = next((metric for metric, names in NAMES.items() if plain in names), None)
        if metric is not None:
            scores[heading] = metric
        elif plain not in (*LABELS, *DATASETS):
            reason = next(
                (why for start, why in IGNORED.items() if plain.startswith(start)), "not a score that is known"
            )
            notes.append(f"column {heading!r} is passed over: {reason}")
    return scores, notes


def _column(heading: str, cells: Sequence[tuple[int, str]], name: str) -> tuple[list[str | None], bool]:
    """Read a column: its numbers as texts (with a percent sign where it holds percentages), and whether it does."""
    numbers: dict[int, tuple[str, bool]] = {}  # line -> number, whether it has a percent sign
    for line, cell in cells:
        if not _MISSING.fullmatch(cell):
            match = _NUMBER.fullmatch(cell.strip("*† "))
            if match is None:
                raise ValueError(f"{name}, line {line}, column {heading!r}: expected a number, found {cell!r}")
            numbers[line] = match[1], bool(match[2])
    values = [float(text) for text, _ in numbers.values()]
    above = sum(value > 1 for value in values)
    signed = any(sign for _, sign in numbers.values())
    percent = signed or (above > 0 and ("%" in heading or (above == len(values) and max(values) >= _SURELY_PERCENT)))
    top = 100 if percent else 1
    for line, (text, sign) in numbers.items():
        where = f"{name}, line {line}, column {heading!r}"
        if signed and not sign and "%" not in heading and float(text) <= 1:
            raise ValueError(f"{where}: other cells have a percent sign, {text} has none")
        if not 0 <= float(text) <= top:
            hint = "" if percent else " (percentages: write a % sign, or give all of the column in percent)"
            raise ValueError(f"{where}: expected a value in [0, {top}], found {text}{hint}")
    unit = "%" if percent else ""
    return [numbers[line][0] + unit if line in numbers else None for line, _ in cells], percent


def _plain(heading: str) -> str:
    """Strip unit, arrows and punctuation from a heading: ``"F1-score (%) ↑"`` gives ``f1score``."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"[(\[].*?[)\]]", "", heading.lower()))


def _dataset(written: str) -> str | None:
    """Find retlib's name for a data set as people write it; None if there is none."""
    plain = re.sub(r"[^a-z0-9]", "", written.lower())
    return next((key for key in COLLECTIONS if plain.startswith(key.split("_")[0])), None)
