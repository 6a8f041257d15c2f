"""Read the numbers of a table's column, and whether they are percentages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

_MISSING = re.compile(r"|[-–—/\\?]+|n\.?/?[adr]\.?|#n/a|nan|none|null|not reported", re.IGNORECASE)
_NUMBER = re.compile(r"[~≈]?([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d\d?)?)\s?%?(\s?(?:±|\+/-|\+-|\(|\[).*)?", re.IGNORECASE)
_SURELY_PERCENT = 10  # a column of percentages without a sign has a number at least this large
_MOST_DIGITS = 6  # a score computed in single precision has no more that can be relied on


def is_number(cell: str) -> bool:
    """Whether a cell holds a number."""
    return bool(cell) and not _MISSING.fullmatch(cell) and is_cell(cell)


def is_cell(cell: str) -> bool:
    """Whether a cell holds a number or a mark for a missing one."""
    return bool(cell) and bool(_MISSING.fullmatch(cell) or _NUMBER.fullmatch(cell.replace(",", ".").strip("*† ")))


def read_column(heading: str, cells: Sequence[tuple[int, str]], name: str) -> tuple[list[str | None], bool, list[str]]:
    """Read a column: its numbers as texts (with a percent sign where it holds percentages), whether it does, notes."""
    numbers: dict[int, tuple[str, bool]] = {}  # row -> number, whether it has a percent sign
    notes = []
    for row, (line, cell) in enumerate(cells):
        if not _MISSING.fullmatch(cell):
            plain = re.sub(r"\s?[×x*·]\s?10\^?(?=[+-]?\d)", "e", re.sub(r"(\d),(?=\d)|(?<!\d),(?=\d)", r"\1.", cell))
            match = _NUMBER.fullmatch(plain.strip("*†#abc "))
            if match is None:
                shape = " (one table a file, one method a row, one score a column)" if cell[:2].isalpha() else ""
                raise ValueError(f"{name}, line {line}, column {heading!r}: expected a number, found {cell!r}{shape}")
            if "," in cell and "," in cell[: len(match[1])]:
                notes.append("decimal commas are read as points")
            text = f"{Decimal(match[1]):f}" if "e" in match[1].lower() else match[1]
            numbers[row] = text, "%" in cell
    said = "%" in heading.replace("95%", "").replace("95 %", "")  # a confidence interval of 95 % is no unit
    values = [float(text) for text, _ in numbers.values()]
    above = sum(value > 1 for value in values)
    signed = any(sign for _, sign in numbers.values())
    percent = above > 0 and (signed or said or (above == len(values) and max(values) >= _SURELY_PERCENT))
    if (said or signed) and any(values) and not percent:
        notes.append(f"column {heading!r} says percent and holds nothing above 1: read as fractions")
    top, most = (100, _MOST_DIGITS - 2) if percent else (1, _MOST_DIGITS)
    for row, (text, sign) in numbers.items():
        where = f"{name}, line {cells[row][0]}, column {heading!r}"
        if signed and not sign and not said and float(text) <= 1:
            raise ValueError(f"{where}: other cells have a percent sign, {text} has none")
        if not 0 <= float(text) <= top:
            hint = "" if percent else " (percentages: write a % sign, or give all of the column in percent)"
            raise ValueError(f"{where}: expected a value in [0, {top}], found {text}{hint}")
        if len(text.partition(".")[2]) > most:
            numbers[row] = f"{Decimal(text):.{most}f}", sign
            notes.append(
                f"numbers of more than {_MOST_DIGITS} decimals are rounded to these: the others are not relied on"
            )
    unit = "%" if percent else ""
    return [numbers[row][0] + unit if row in numbers else None for row in range(len(cells))], percent, notes
