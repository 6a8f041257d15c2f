"""Audit a table: its rows, the rows of one set of pixels together, and what is impossible by other readings as well.

A verdict of ``impossible`` stands where no reading of the table allows the numbers. Which reading would, and what to
write or which option to give where it is the right one, is said with the check.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from retlib.audit import headings as naming
from retlib.audit.cross_checks import check_classes, check_one_share, check_twice
from retlib.audit.deviations import Background
from retlib.audit.intervals import read_number
from retlib.audit.matrices import name_scores
from retlib.audit.row_audit import RowAudit, audit_row
from retlib.audit.table_file import TableFile
from retlib.audit.verdicts import IMPOSSIBLE, soften
from retlib.data.registry import COLLECTIONS

OFFICIAL = {"drive"}  # by its authors; of the others, papers call various photographs their test images
_HIGH = {"precision": 0.85, "sensitivity": 0.85, "dice": 0.85, "iou": 0.75}  # above what networks reach on vessels
_SO_HIGH = "scores as high as these are averages over vessels and background more often than of vessels alone"
_CLASSES = (("iou",), ("dice",), ("dice", "iou"), ("accuracy",))  # what papers print as means over both classes
_OF_CLASSES = "{} may be averaged over vessels and background: write 'mean of classes' into the heading where it is"
_OF_BOTH = _OF_CLASSES.format(name_scores(("dice", "iou")))


def audit_table(
    table: TableFile, background: Background, dataset: str | None = None, part: str | None = None
) -> list[RowAudit]:
    """Audit every row, then the rows of one data set, split and region against one another.

    Columns whose headings name different data sets, splits or regions are audited apart. Where a word of a heading is
    not known, only what breaks a proven bound is called impossible.

    Args:
        table: As read.
        background: Measured shares and deviations.
        dataset: The data set of all rows, where the table names none; retlib's name or the usual one.
        part: ``test`` where the customary test part was scored, ``any`` where any photographs of the data set were.
            None assumes the test part, and leaves in doubt what other photographs would explain.

    Raises:
        ValueError: ``dataset`` is not known.
    """
    given = None if dataset is None else naming.find_dataset(dataset)
    if dataset is not None and given is None:
        raise ValueError(f"dataset: expected one of {', '.join(COLLECTIONS)}, got {dataset!r}")
    taken = _audit(table, background, given, part or "test")
    for said, options in _other_readings(table, part):
        if all(row.verdict != IMPOSSIBLE for row in taken.values()):
            break
        other = _audit(table, background, given, **options)
        fits = all(row.verdict != IMPOSSIBLE for row in other.values())
        for key, row in taken.items():
            if key in other or fits or key[0] != "all":  # rows are not compared where the reading fails one of them
                checks = other[key].checks if key in other else ()
                taken[key] = replace(row, checks=soften(row.checks, checks, said))
    doubts = [doubt or _doubt_numbers(table, cells) for doubt, cells in zip(table.doubts, table.rows, strict=True)]
    for key, row in taken.items():
        doubt = next(filter(None, doubts), "") if key[0] == "all" else doubts[key[0]]
        # Beside these two no number tells whether they are of vessels alone.
        if row.readings.keys() == {"dice", "iou"} and doubt in ("", _SO_HIGH):
            doubt = _OF_BOTH
        if doubt:
            # Averages of both classes keep the bounds that means over images keep.
            proven = [check for check in row.checks if check.basis == "bound"] if doubt in (_SO_HIGH, _OF_BOTH) else ()
            taken[key] = replace(row, checks=soften(row.checks, proven, doubt))
    return list(taken.values())


def _other_readings(table: TableFile, part: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield other readings of a table: in words, and as options of `_audit`. Means of classes come last, one by one."""
    options: dict[str, Any] = {"part": part or "other", "without": ()}
    if part is None:
        yield "assumed are the customary test images; others of the data set would explain it: --part any", options
    for heading, read in table.headings.items():
        values = [float(read_number(cells[heading], heading).value) for cells in table.rows if heading in cells]
        meaning = naming.other_meaning(heading, table.columns, values)
        if meaning:
            options = {**options, "without": (*options["without"], heading)}
            said = f"{heading!r} is read as {read.score} and may be {meaning}"
            yield f"{said}: write the word out, or remove the column", options
    for classes in _CLASSES:
        if set(classes) <= set(table.columns.values()):
            yield _OF_CLASSES.format(name_scores(classes)), {**options, "classes": classes}


def _doubt_numbers(table: TableFile, cells: dict[str, str]) -> str:
    """Say where a row's numbers look like averages of the classes: equal where these are equal, or all high."""
    for numbers in table.grouped(cells).values():
        scores = {table.headings[heading].score: number for heading, number in numbers.items()}
        same = [name for name in ("specificity", "accuracy") if scores.get(name) == scores.get("sensitivity", "")]
        if same:
            return f"sensitivity and {same[0]} are one number, as averages over vessels and background are"
        overlaps = {name: float(read_number(scores[name], name).value) for name in _HIGH if name in scores}
        if len(overlaps) > 1 and "specificity" not in scores and all(v >= _HIGH[k] for k, v in overlaps.items()):
            return _SO_HIGH
    return ""


def _audit(
    table: TableFile,
    background: Background,
    given: str | None,
    part: str,
    without: tuple[str, ...] = (),
    classes: tuple[str, ...] = (),
) -> dict[tuple, RowAudit]:
    """Audit a table by one reading: (row, columns' data set and words) or ("all", ...) -> outcome.

    The part ``other`` is any but where the table names an official test part; columns ``without`` are left out, and
    ``classes`` are read as means over vessels and background.
    """
    found: dict[tuple, RowAudit] = {}
    together: dict[tuple, list[RowAudit]] = {}
    rows = zip(table.labels, table.datasets, table.parts, table.rows, strict=True)
    for index, (label, written, more, cells) in enumerate(rows):
        groups = table.grouped({heading: number for heading, number in cells.items() if heading not in without})
        for (qualifier, words), numbers in (groups or {(None, ()): {}}).items():
            key = qualifier or (given if written is None else naming.tell_dataset(written) or written)
            said = {*words, *more}
            test = part == "test" or (part == "other" and key in OFFICIAL and "test" in said)
            known = all(table.headings[heading].known for heading in numbers)
            row = _audit_numbers(
                table,
                numbers,
                classes,
                dataset=key,
                test_part=test and not table.singles and not said & {"train", "val"},
                background=background if known else Background(),
                label=", ".join((label, *words)),
            )
            found[index, qualifier, words] = row
            together.setdefault((key, words, more), []).append(row)
    for (key, words, more), group in together.items():
        check = None if table.singles or table.apart else check_one_share(group)
        if check is not None:
            label = ", ".join(("all rows", *words, *more))
            found["all", key, words, more] = RowAudit(label, "", key, "", {}, {}, None, (check,))
    return found


def _audit_numbers(table: TableFile, numbers: dict[str, str], classes: tuple[str, ...], **options: Any) -> RowAudit:
    """Audit the numbers of one row and group of columns; compare columns for one score (F1 and Dice)."""
    background, dataset = options["background"], options["dataset"]
    first: dict[str, str] = {}
    checks = []
    for heading, number in numbers.items():
        metric = table.headings[heading].score
        other = first.setdefault(metric, heading)
        if other != heading:
            dice = float(read_number(numbers[other], metric).value) if metric == "dice" else None
            tolerance = background.tolerance(metric, ("precision", "sensitivity"), dataset, dice)
            checks.append(check_twice(numbers[other], number, metric, (other, heading), tolerance))
    scores = {metric: numbers[heading] for metric, heading in first.items()}
    row = audit_row({metric: number for metric, number in scores.items() if metric not in classes}, **options)
    known = background.shares
    near = [known[dataset]] if dataset in known else known.values()
    shares = [share for each in near for share in each.pooled.values()]
    checks += [check_classes(scores[metric], metric, row.readings, shares) for metric in classes if metric in scores]
    return replace(row, checks=(*row.checks, *checks))
