"""Read a table of scores: columns by their usual names, percent or fraction recognised per column."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from retlib.audit import headings as naming
from retlib.audit.headings import Heading, plain_text, read_heading
from retlib.audit.table_cells import Lines, is_cell, is_number, read_cells, read_column, split_cells

_MEAN = re.compile(r"(mean|average|avg|mean\s?±\s?(sd|std))\.?", re.IGNORECASE)


@dataclass(frozen=True)
class TableFile:
    """A table as read.

    Attributes:
        labels: Name of each row.
        datasets: Data set of each row as the table writes it; None where it writes none.
        parts: Split, region and the like of each row, as read from its label and from columns such as *Split*.
        headings: Heading -> what it says.
        rows: For each row, heading -> number as a text that says whether it is a percentage.
        singles: Whether the rows are images or folds, so that they have no vessel share in common.
        apart: Whether the rows differ in a column that is not understood, so that they may have none in common.
        doubts: For each row, why its numbers may be no means over images; empty where nothing says so.
        notes: How the table was read, which columns were ignored, and why.
    """

    labels: tuple[str, ...]
    datasets: tuple[str | None, ...]
    parts: tuple[tuple[str, ...], ...]
    headings: dict[str, Heading]
    rows: tuple[dict[str, str], ...]
    singles: bool
    apart: bool
    doubts: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def columns(self) -> dict[str, str]:
        """Heading -> score of retlib."""
        return {heading: read.score for heading, read in self.headings.items()}

    def grouped(self, row: Mapping[str, str]) -> dict[tuple, dict[str, str]]:
        """Group the numbers of a row by the data set, split and region of their columns, see `Heading.group`."""
        groups: dict[tuple, dict[str, str]] = {}
        for heading, number in row.items():
            groups.setdefault(self.headings[heading].group, {})[heading] = number
        return groups

    @property
    def percent(self) -> tuple[str, ...]:
        """Headings whose numbers are percentages."""
        return tuple(heading for heading in self.headings if any("%" in row.get(heading, "") for row in self.rows))


def read_table(path: str | Path) -> TableFile:
    """Read a table from a file: CSV (comma, semicolon or tab), Markdown, LaTeX or Excel, one method a row.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an empty file, no row, no column that is known, a cell that is no number, a number outside [0, 1]
            (or [0, 100] in a column of percentages), columns that cannot be told apart, an Excel file
            without ``retlib[excel]``. The message names line and column.
    """
    path = Path(path)
    return _interpret(*read_cells(path), path.name)


def parse_table(text: str, name: str = "table") -> TableFile:
    """Read a table from its text; ``name`` opens every error message."""
    return _interpret(*split_cells(text, name), name)


class _Columns(NamedTuple):
    """What the columns of a table hold: places of names, of the data set, of what sets rows apart; and the scores."""

    label: int | None
    kind: str  # the heading of the names, without unit and punctuation
    dataset: int | None
    special: set[int]
    unknown: list[int]
    scores: dict[int, Heading]


def _interpret(lines: Lines, notes: list[str], name: str) -> TableFile:
    headings, body = _split_headings(lines, notes, name)
    if not body:
        raise ValueError(f"{name}: expected rows under the headings, found none")
    columns = _choose_columns(headings, body, notes, name)
    body = _fill_down(body, columns)
    kept = list(_read_rows(columns, body, notes))
    if not kept:
        raise ValueError(f"{name}: expected rows under the headings, found none")
    numbers, rows, labels, datasets, parts = zip(*kept, strict=True)
    scores = {
        heading: read_column(heading, numbers, [cells[i] for cells in rows], notes, name)
        for i, heading in enumerate(headings)
        if i in columns.scores
    }
    singles = columns.kind in naming.SINGLES or any(map(_MEAN.fullmatch, labels))
    singles |= 2 * sum(map(bool, map(naming.SINGLE.fullmatch, labels))) > len(labels)
    scored = [cells for _, cells in body if any(cells[i] for i in columns.scores)]
    unread = [i for i in columns.unknown if len({cells[i] for cells in scored}) > 1]
    apart = "they are not expected to have one vessel share in common"
    if singles:
        notes.append(f"the rows are read as images or folds: {apart}")
    elif unread:
        which = ", ".join(repr(headings[i]) for i in unread)
        notes.append(f"the rows differ in {which}, which is not understood: {apart}")
    title = " ".join(cells[0] for number, cells in lines if number < body[0][0] and not any(cells[1:]))
    read = {headings[i]: heading for i, heading in columns.scores.items()}
    return TableFile(
        labels=tuple(label or f"line {number}" for label, number in zip(labels, numbers, strict=True)),
        datasets=datasets,
        parts=parts,
        headings=read,
        rows=tuple(
            {heading: column[row] for heading, column in scores.items() if column[row] is not None}
            for row in range(len(kept))
        ),
        singles=singles,
        apart=bool(unread),
        doubts=tuple(
            _doubt_row(label, [title, *(f"{headings[i]} {cells[i]}" for i in columns.scores)], len(set(datasets)) > 1)
            for label, cells in zip(labels, rows, strict=True)
        ),
        notes=(*dict.fromkeys(notes), *_describe_groups(read)),
    )


def _choose_columns(headings: list[str], body: Lines, notes: list[str], name: str) -> _Columns:
    """Find the columns of names, data sets and scores."""
    plains = [plain_text(heading) for heading in headings]
    reads = [read_heading(heading) for heading in headings]
    values = list(zip(*(cells for _, cells in body), strict=True))
    label = next((plains.index(plain) for plain in (*naming.LABELS, *naming.SINGLES) if plain in plains), None)
    dataset = next((plains.index(plain) for plain in naming.DATASETS if plain in plains), None)
    special = {i for i, plain in enumerate(plains) if plain in naming.SPECIAL}
    if label is not None and plains[label] in naming.LABELS:
        special -= {i for i, plain in enumerate(plains) if plain in naming.NUMBERS}
    named = [  # columns of words that no list of ours has
        i
        for i, plain in enumerate(plains)
        if i not in special | {label}
        and not reads[i].score
        and (_holds_words(values[i]) or re.search("fov|mask", plain))
    ]
    if dataset is None:
        asked = re.compile("|".join(("", ".*(test|target|evaluat).*", "db", "benchmark", *naming.LABELS)))
        full = [i for i in (*named, *{label} - {None}) if asked.fullmatch(plains[i])]
        full = [i for i in full if all(map(naming.tell_dataset, filter(None, values[i])))]
        dataset = full[0] if full and full[0] != label else None
        if dataset is not None:
            notes.append(f"column {headings[dataset]!r} is read as the data set")
            special.add(dataset)
    if label is None:
        words = {i: list(filter(None, values[i])) for i in named if i != dataset}
        label = next((i for i, cells in words.items() if 2 * len(set(cells)) > len(cells)), None)
    scores: dict[int, Heading] = {}
    counts = Counter(headings)
    once = min((counts[heading] for heading, read in zip(headings, reads, strict=True) if read.score), default=0)
    for index, (heading, read) in enumerate(zip(headings, reads, strict=True)):
        if index in special | {label}:
            continue
        spread = read.spread and not any(re.search(r"\d.*[±(\[+]", cell) for cell in values[index])
        # Beside scores that stand once, SE that stands twice is their standard error.
        spread |= plains[index] in naming.AMBIGUOUS and counts[heading] > once
        if read.score and not spread:
            scores[index] = read
        else:
            name_of = repr(heading) if heading else f"{index + 1} without a heading"
            notes.append(f"column {name_of} is passed over: {read.reason or 'it holds spreads'}")
    if not scores:
        known = "Acc, Se (Recall), Sp, Precision (PPV), F1 (Dice, DSC), IoU (Jaccard)"
        raise ValueError(f"{name}: expected some of the columns {known}; found {', '.join(map(repr, headings))}")
    _tell_apart([(headings[i], heading) for i, heading in scores.items()], name)
    unknown = [i for i in named if (plains[i] or i != label) and i != dataset and plains[i] not in naming.OF_METHODS]
    kind = "" if label is None else plains[label]
    return _Columns(label, kind, dataset, special, unknown, scores)


def _read_rows(columns: _Columns, body: Lines, notes: list[str]) -> Iterator[tuple]:
    """Pick the rows that hold scores: line, cells, label, data set and part of each."""
    label, dataset = columns.label, columns.dataset
    texts = [i for i in columns.special if i not in (label, dataset)]
    titles = [cells[label] if label is not None else "" for _, cells in body]
    summary = any(_MEAN.fullmatch(text) or naming.NO_SCORES.fullmatch(text) for text in titles)
    inside = [naming.dataset_in(re.split(r"[(\[,]", text)[0]) for text in titles]
    # One name alone may be an author's, or of what was trained on.
    many = len(set(inside) - {None}) > 1 and columns.kind in ("", "db", *naming.LABELS)
    section = ""
    for (number, cells), text, word in zip(body, titles, inside, strict=True):
        if [i for i, cell in enumerate(cells) if cell] == [0] and len(cells) > 2:
            section = cells[0]
            notes.append(f"line {number}, {section!r}, is read as a heading of the rows under it")
            continue
        ends = re.split(r"[(\[,)\]]|\s[-–]\s", text)
        quantile = (summary and re.fullmatch(r"\d+ ?%", text)) or any(part.strip() == "median" for part in ends[1:])
        if quantile or any(naming.NO_SCORES.fullmatch(part) for part in (text, *(cells[i] for i in texts))):
            notes.append(f"line {number} is passed over: it holds spreads, or no scores and means of them ({text})")
            continue
        end = " / ".join(ends[1:])
        own, about = read_heading(end), read_heading(" / ".join([section, *(cells[i] for i in texts)]))
        said = read_heading(cells[dataset]) if dataset is not None else about
        words = {*about.words, *({*own.words, *said.words} & naming.KNOWN), *naming.read_regions(text)}
        # A name that says more (trained on, pre-trained on) tells of no data set that was scored.
        unclear = own.dataset is not None and naming.tell_dataset(end) is None
        found = about.dataset or (end if unclear else own.dataset) or (word if many else None)
        found = found if dataset is None else cells[dataset] or None
        yield number, cells, text, found, tuple(sorted(words))


def _doubt_row(label: str, shown: list[str], several: bool) -> str:
    """Say why the numbers of a row may be no means over the images of one data set; empty where nothing tells so.

    Args:
        label: Name of the row.
        shown: The title of the table, then the row's cells, each behind its heading.
        several: Whether the table has rows of several data sets.
    """
    shown = [shown[0], *(each for each in shown[1:] if not naming.OF_MEANS.search(each))]
    if not _MEAN.fullmatch(label) and any(map(naming.QUARTILES.search, shown)):
        return "the numbers may be medians, by the title or the ranges in brackets: write '95% CI' or 'mean' over them"
    if naming.BEST.search(label):
        return "the best of several runs may be another run for each score"
    if naming.OVERALL.fullmatch(label) and several:
        return "the row may average over data sets"
    return ""


def _split_headings(lines: Lines, notes: list[str], name: str) -> tuple[list[str], Lines]:
    """Join the rows of headings to one; give it and the rows under it, each as long as the headings."""
    counts = [sum(bool(read_heading(cell).score) for cell in cells) for _, cells in lines]
    first = next((i for i, count in enumerate(counts) if count), 0)
    last = next((i for i, (_, cells) in enumerate(lines) if i > first and any(map(is_number, cells[1:]))), len(lines))
    start = counts.index(max(counts[first:last]))
    notes += [f"the title {cells[0]!r} is passed over" for _, cells in lines[:start] if not any(cells[1:])]
    end = start + 1
    while end < len(lines) and any(lines[end][1][1:]) and not any(map(is_cell, lines[end][1])):
        end += 1
    above = [cells for _, cells in lines[:start] if any(cells[1:])]
    stack = [*above, *(cells for _, cells in lines[start:end])]
    width = max(map(len, stack))
    for number, cells in lines[start:]:
        if any(cells[width:]):
            raise ValueError(
                f"{name}, line {number}: expected {width} cells as in the headings, found {len(cells)} (where the "
                "decimal mark is a comma, separate the cells by semicolons)"
            )
    notes += [
        f"line {number} has {len(cells)} cells where the headings have {width}; the rest is read as blank"
        for number, cells in lines[end:]
        if 1 < len(cells) < width
    ]
    stack = [(cells + [""] * width)[:width] for cells in stack]
    body = [(number, (cells + [""] * width)[:width]) for number, cells in lines[end:]]
    headings = [""] * width
    for depth, row in enumerate(stack):
        # A cell over several columns fills the blanks beside it, as far as there are headings under them.
        under = stack[max(depth + 1, len(above)) :] if depth <= len(above) else []
        last = ""
        for i, cell in enumerate(row):
            last = "" if plain_text(cell) in naming.SPECIAL else cell or last
            text = cell or (last if any(other[i] for other in under) else "")
            if text and headings[i]:
                first, second = (text, headings[i]) if read_heading(text).score else (headings[i], text)
                headings[i] = f"{first} ({second})"
            else:
                headings[i] = headings[i] or text
    filled = [i for i in range(width) if headings[i] or any(cells[i] for _, cells in body)]
    if len(filled) < width:
        notes.append(f"{width - len(filled)} empty columns are passed over")
    return [headings[i] for i in filled], [(number, [cells[i] for i in filled]) for number, cells in body]


def _holds_words(cells: Sequence[str]) -> bool:
    """Whether a column holds words, and not numbers with units or check marks alone."""
    words = [cell for cell in cells if cell and not is_cell(cell)]
    number = re.compile(r"[~<>(]*\d[\d.,]*\s?[^\W\d_]{0,4}\)?|\d+\s?[x×]\s?\d+|[\d.]+\s?[–-]\s?[\d.]+")  # with a unit
    return not all(map(number.fullmatch, words)) and not set(words) <= set("✓✔✗✘×xX√●○")


def _fill_down(body: Lines, columns: _Columns) -> Lines:
    """Fill blank names under a merged cell with the name above; rows without a number are left as they are."""
    names = columns.special | {columns.label} - {None}
    last: dict[int, str] = {}
    filled = []
    for number, cells in body:
        if any(cells[i] for i in columns.scores):
            last |= {i: cells[i] for i in names if cells[i]}
            cells = [cell or last.get(i, "") if i in names else cell for i, cell in enumerate(cells)]
        filled.append((number, cells))
    return filled


def _tell_apart(scores: Sequence[tuple[str, Heading]], name: str) -> None:
    """Refuse columns of one score that nothing tells apart."""
    advice = "; name the data set, split or region in each heading, as in 'Dice (DRIVE)', or remove one of the two"
    twice = next((heading for heading, count in Counter(heading for heading, _ in scores).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"{name}: the heading {twice!r} stands twice, so its columns cannot be told apart{advice}")
    seen: dict[tuple, tuple[str, bool]] = {}
    for heading, read in scores:
        first, plain = seen.setdefault((read.score, read.group), (heading, read.plain))
        if first != heading and not (read.plain and plain):
            raise ValueError(f"{name}: the columns {first!r} and {heading!r} cannot be told apart{advice}")


def _describe_groups(scores: dict[str, Heading]) -> list[str]:
    """Say which columns are read as belonging together, where their headings tell them apart."""
    groups: dict[str, list[str]] = {}
    for heading, read in scores.items():
        groups.setdefault(", ".join(filter(None, (read.dataset, *read.words))) or "no qualifier", []).append(heading)
    if set(groups) == {"no qualifier"}:
        return []
    said = "; ".join(f"{group}: {', '.join(headings)}" for group, headings in groups.items())
    return [f"columns are audited by data set, split and region ({said}); the words of the headings decide"]
