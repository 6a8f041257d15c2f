r"""Read the cells of a table as it was exported (CSV, Markdown, LaTeX or Excel), and the numbers in a column of them.

Markup is taken off each cell (``\textbf{0.81}``, ``**0.81**``, ``<b>0.81</b>``); what a cell means is left to
`retlib.audit.table_file`.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

Lines = list[tuple[int, list[str]]]
"""(line in the file, cells); blank lines are left out."""

_SUPERSCRIPTS = str.maketrans("", "", "⁰¹²³⁴⁵⁶⁷⁸⁹ᵃᵇᶜᵈᵉ†‡§\ufeff\u200b")  # footnote marks; zero-width characters
_RULES = (
    r"\\(?:hline|(?:top|mid|bottom)rule(?:\[[^\]]*\])?|centering|small|footnotesize"
    r"|(?:cmidrule|cline)(?:\([^()]*\))?\{[^{}]*\})"
)
_MOST_CELLS, _MOST_COLUMNS = 10**6, 1000
_FORMAT = re.compile(r"0(?:\.(0+))?(%?)")
_MISSING = re.compile(r"|[-–—/\\?]+|n\.?/?[adr]\.?|#n/a|nan|none|null|not reported", re.IGNORECASE)
_NUMBER = re.compile(r"[~≈]?([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d\d?)?)\s?%?(\s?(?:±|\+/-|\+-|\(|\[).*)?", re.IGNORECASE)
_SURELY_PERCENT = 10  # a column of percentages without a sign has a number at least this large
_MOST_DIGITS = 6  # a score computed in single precision has no more that can be relied on


def read_cells(path: Path) -> tuple[Lines, list[str]]:
    """Read the cells of a file, with notes on how they were read.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file that is no table, text in an unknown encoding, or an Excel file without ``retlib[excel]``.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file; expected a table as CSV, Markdown, LaTeX or .xlsx")
    if path.suffix.lower() in (".xlsx", ".xlsm"):
        return _read_workbook(path)
    if path.suffix.lower() in (".xls", ".ods", ".numbers", ".docx", ".pdf"):
        raise ValueError(f"{path.name}: expected a table as CSV, Markdown, LaTeX or .xlsx; save it as one of these")
    raw = path.read_bytes()
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif b"\0" in raw[:64]:
        encoding = "utf-16-le" if raw[1:2] == b"\0" else "utf-16-be"
    else:
        encoding = "utf-8-sig"
    try:
        return split_cells(raw.decode(encoding), path.name)
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    if encoding != "utf-8-sig" or set(text) & set("\ufffdÿþ"):
        raise ValueError(f"{path.name}: expected text in UTF-8; save the table as CSV UTF-8") from None
    lines, notes = split_cells(text, path.name)
    return lines, [*notes, "the file is not UTF-8: read as Windows-1252, as Excel writes it"]


def split_cells(text: str, name: str) -> tuple[Lines, list[str]]:
    """Split the text of a table into cells; ``name`` opens every error message."""
    text = text.lstrip("\ufeff")
    rows = text.strip().splitlines()
    tables = len(re.findall(r"^\s*\\begin\{(?:tabular|longtable)", text, re.MULTILINE))
    if re.search(r"(?<!\\)&", text) and "\\\\" in text:
        lines, kind = _split_latex(text), f"LaTeX, the first of {tables} in the file" if tables > 1 else "LaTeX"
    elif sum(row.count("|") for row in rows) >= 2 * len(rows) or any(
        re.fullmatch(r"[\s|:+-]*-\|[\s|:+-]*", r) for r in rows
    ):
        split = [
            (number, re.split(r"(?<!\\)\|", row.strip().strip("|"))) for number, row in enumerate(text.splitlines(), 1)
        ]
        rule = re.compile(r"[\s:=+-]*")
        lines, kind = [(n, cells) for n, cells in split if not all(rule.fullmatch(cell) for cell in cells)], "Markdown"
    else:
        delimiter = next((mark for mark in "\t;" if 2 * sum(mark in row for row in rows) > len(rows)), ",")
        if not any(map(text.count, ",;\t")):  # columns set apart by blanks
            text = re.sub(r"(?<=\S) {2,}(?=\S)", "\t", text)
            delimiter = "\t"
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        try:
            lines, kind = [(reader.line_num, cells) for cells in reader], ""
        except csv.Error as error:
            raise ValueError(f"{name}, line {reader.line_num}: expected a table as CSV ({error})") from None
        # It takes in the rest of the file, which would go unread.
        if text.count('"') % 2 and any("\n" in cell for _, cells in lines[-1:] for cell in cells[-1:]):
            raise ValueError(f"{name}: a quotation mark is opened and never closed")
    lines = [(number, [clean_cell(cell) for cell in cells]) for number, cells in lines]
    lines = [line for line in lines if any(line[1])]
    if not lines:
        raise ValueError(f"{name}: the file is empty; expected headings and rows")
    return lines, [f"read as a table in {kind}"] if kind else []


def clean_cell(cell: str) -> str:
    """Take LaTeX, Markdown and HTML markup, footnote marks and odd blanks off a cell; a Unicode minus becomes ``-``."""
    cell = cell.translate(_SUPERSCRIPTS)
    cell = unicodedata.normalize("NFKC", cell).replace("\N{MINUS SIGN}", "-")
    cell = re.sub(r"(?<!10)<sup>\s*[^-+<]*</sup>(?![\w-])", "", cell, flags=re.IGNORECASE)
    cell = re.sub(r"</?[a-zA-Z][^<>]*>", " ", cell)
    cell = re.sub(r"\[([^\[\]]*)\]\([^()\s]*[:/#][^()\s]*\)", r"\1", cell)  # a link
    if "\\" in cell or "$" in cell:
        cell = cell.replace(r"\pm", "±").replace(r"\times", "×").replace("$", "").replace("~", " ")
        cell = re.sub(r"\\(?:cite\w*|ref|footnote\w*|label)\s*\{[^{}]*\}|\\rotatebox(?:\[.*?\])?\{[^{}]*\}", "", cell)
        cell = re.sub(r"\\(?:textcolor|color|cellcolor|rowcolor)(?:\[\w*\])?\{[^{}]*\}", "", cell)
        cell = re.sub(
            r"\\(?:textsuperscript|tnote)\s*\{[^{}]*\}(?![\w-])|(?<!10)\^(?:\{[^{}+-]*\}|[\da-z*])(?![\w-])", "", cell
        )
        cell = re.sub(r"(?<=\d)\{\\(?:tiny|scriptsize|footnotesize) ([^{}]*)\}|(?<=\d)_\{([\d.]+)\}", r" (\1\2)", cell)
        cell = re.sub(r"\\multirow\s*(?:\[\w*\])?\{[^{}]*\}\s*(?:\[[^\]]*\])?\{[^{}]*\}", "", cell)
        cell = re.sub(r"\\[a-zA-Z]+\*?|\\[,;!: ]", " ", cell)
        cell = re.sub(r"\\(?=[%&_#|])|_(?=\s*[{±])|\^(?!-?\d)", "", re.sub(r"[_^]\{(?=\s*±)", "", cell))
    cell = re.sub(r"(\*\*|__|~~|`|(?<!\w)[*_](?=[^\s*_]))(.*?)\1", r"\2", re.sub(r"[{}]", "", cell))
    return re.sub(r"\s+", " ", cell).strip()


def is_number(cell: str) -> bool:
    """Whether a cell holds a number."""
    return bool(cell) and not _MISSING.fullmatch(cell) and is_cell(cell)


def is_cell(cell: str) -> bool:
    """Whether a cell holds a number or a mark for a missing one."""
    return bool(cell) and bool(_MISSING.fullmatch(cell) or _NUMBER.fullmatch(cell.replace(",", ".").strip("*† ")))


def read_column(
    heading: str, lines: Sequence[int], cells: Sequence[str], notes: list[str], name: str
) -> list[str | None]:
    """Read the numbers of a column as texts, with a percent sign where it holds percentages; add to the ``notes``."""
    numbers: dict[int, tuple[str, bool]] = {}  # row -> number, whether it has a percent sign
    for row, (line, cell) in enumerate(zip(lines, cells, strict=True)):
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
        where = f"{name}, line {lines[row]}, column {heading!r}"
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
    return [numbers[row][0] + unit if row in numbers else None for row in range(len(cells))]


def _split_latex(text: str) -> Lines:
    r"""Split a LaTeX table at ``\\`` and ``&``; a cell over several columns is followed by blank ones."""
    text = re.sub(r"(?<!\\)%.*", "", text)
    body = re.search(
        r"\\begin\{(?:tabular|array|longtable)\w*\*?\}(.*?)\\end\{(?:tabular|array|longtable)", text, re.DOTALL
    )
    start = text.count("\n", 0, body.start(1)) + 1 if body else 1
    text = body[1] if body else text
    text = re.sub(r"\A\s*(?:\{[^{}]*\}|\[[^\]]*\])*\s*\{(?:[^{}]|\{[^{}]*\})*\}", "", text) if body else text
    lines: Lines = []
    for row in re.split(r"\\\\(?:\[[^\]]*\])?", text):
        plain = re.sub(_RULES, "", row)
        number = start + plain[: len(plain) - len(plain.lstrip())].count("\n")
        start += row.count("\n")
        cells: list[str] = []
        for cell in re.split(r"(?<!\\)&", plain):
            upwards = re.search(r"\\multirow\s*(?:\[\w*\])?\{-(\d+)\}", cell)
            for _, above in lines[-int(upwards[1]) + 1 :] if upwards and upwards[1] != "1" else ():
                if len(above) > len(cells) and not above[len(cells)].strip():
                    above[len(cells)] = cell
            wide = re.search(r"\\multicolumn\s*\{(\d+)\}\s*\{[^{}]*\}", cell)
            cells += [cell.replace(wide[0], ""), *[""] * min(int(wide[1]) - 1, _MOST_COLUMNS)] if wide else [cell]
        lines.append((number, cells))
    return lines


def _read_workbook(path: Path) -> tuple[Lines, list[str]]:
    """Read the first sheet of an Excel file; numbers keep the digits that their format shows, which pandas drops."""
    try:
        import openpyxl
    except ImportError:
        raise ValueError(
            f"{path.name}: Excel files need openpyxl: pip install 'retlib[excel]', or save as CSV"
        ) from None
    try:
        sheets = openpyxl.load_workbook(path, data_only=True, rich_text=True).worksheets
        formulas = openpyxl.load_workbook(path)
        sheet = next((one for one in sheets if one.sheet_state == "visible"), sheets[0])
        height, width = sheet.max_row, sheet.max_column
    except Exception:  # a damaged file makes openpyxl, zipfile and the XML parser raise almost anything
        raise ValueError(f"{path.name}: expected an Excel file (.xlsx); save the table anew, or as CSV") from None
    if height * width > _MOST_CELLS:
        raise ValueError(f"{path.name}: {height} rows and {width} columns are no table of results; save it as CSV")
    notes = [f"sheet {sheet.title!r} was read, the first of {len(sheets)}"] if len(sheets) > 1 else []
    lines = [(number, [_shown(cell) for cell in row]) for number, row in enumerate(sheet.iter_rows(), 1)]
    if hidden := sum(sheet.row_dimensions[number].hidden for number, cells in lines if any(cells)):
        notes.append(f"rows that Excel hides are read too: {hidden}")
    stored = [cell for row in formulas[sheet.title].iter_rows() for cell in row if cell.data_type == "f"]
    if unknown := sum(sheet[cell.coordinate].value is None for cell in stored):
        notes.append(f"formulas without a stored value are read as blank: {unknown} (open and save the file in Excel)")
    if not any(any(cells) for _, cells in lines):
        raise ValueError(f"{path.name}: the first sheet is empty; expected headings and rows")
    return [line for line in lines if any(line[1])], notes


def _shown(cell) -> str:
    """Show the value of an Excel cell as Excel does."""
    if isinstance(cell.value, (int, float)) and not isinstance(cell.value, bool):
        shown = _FORMAT.fullmatch(cell.number_format)
        if shown is None:
            return f"{cell.value:.12g}"
        return f"{cell.value:.{len(shown[1] or '')}{'%' if shown[2] else 'f'}}"
    if isinstance(cell.value, list):  # text in several fonts
        text = ""
        for part in cell.value:
            raised = getattr(getattr(part, "font", None), "vertAlign", None) == "superscript"
            text += str(part) if not raised else f"^{part}" if text.endswith("10") else ""
        return clean_cell(text)
    return "" if cell.value is None else clean_cell(str(cell.value))
