"""Audit a table: its rows, the rows of one set of pixels together, and what is impossible by other readings as well.

A verdict of ``impossible`` stands where no reading of the table allows the numbers. Which reading would, and what to
write or which option to give where it is the right one, is said with the check. The comparison of a paper's text with
its tables stands here as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from retlib.audit import headings as naming
from retlib.audit.deviations import Background, Tolerance
from retlib.audit.intervals import Exact, Number, Reading, read_number, show
from retlib.audit.matrices import SCORES, SHORT, Matrices, name_scores
from retlib.audit.prevalence import SHARE_PAIRS
from retlib.audit.row_audit import RowAudit, audit_row
from retlib.audit.table_file import TableFile
from retlib.audit.verdicts import CONSISTENT, CUT_OFF, IMPOSSIBLE, ONLY_MEAN, Check, judge, soften, worst
from retlib.data.registry import COLLECTIONS

ONE_SHARE = "all rows were scored on one set of pixels, which has one vessel share"
OFFICIAL = {"drive"}  # by its authors; of the others, papers call various photographs their test images
_HIGH = {"precision": 0.85, "sensitivity": 0.85, "dice": 0.85, "iou": 0.75}  # above what networks reach on vessels
_SO_HIGH = "scores as high as these are averages over vessels and background more often than of vessels alone"
_CLASSES = (("iou",), ("dice",), ("dice", "iou"), ("accuracy",))  # what papers print as means over both classes
_OF_CLASSES = "{} may be averaged over vessels and background: write 'mean of classes' into the heading where it is"
_OF_BOTH = _OF_CLASSES.format(name_scores(("dice", "iou")))
_CLASS_ROOM = Fraction(1, 20)  # a wider range for a mean of the two classes tells nothing
_CLASS_SLACK = Fraction(1, 50)  # more than averaging over images moves a mean of the two classes


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


def check_one_share(rows: Sequence[RowAudit]) -> Check | None:
    """Check whether one vessel share fits all rows of a table.

    Each row's own scores, pooled, leave an interval of shares; the intervals have a point in common if the highest
    lower end is not above the lowest upper end. With a deviation of t on every row they need not come nearer than 2 t.

    Args:
        rows: Audited rows of one table and data set.

    Returns:
        The outcome; None where fewer than two rows imply a share.
    """
    found = [row for row in rows if row.share is not None and row.share.pair and row.share.exact]
    if len(found) < 2:
        return None
    shares = [row.share for row in found]
    metrics = ("accuracy", *dict.fromkeys(name for share in shares for name in share.pair))
    spans = [(_span(row, "range"), row.label) for row in found]  # rows may share a label
    (above, label_above), (below, label_below) = max(spans, key=lambda s: s[0].low), min(spans, key=lambda s: s[0].high)
    fits, near, moved = above.low <= below.high, None, []
    if fits:
        said = f"{len(found)} rows have {show(Exact(above.low, below.high))} in common"
    else:
        apart = float(above.low - below.high)
        said = f"{label_above} {show(above)}, {label_below} {show(below)}: {apart:.4f} apart"
    if not fits and all(share.wide is not None for share in shares):
        moved = [max(share.exact.low - share.wide.low, share.wide.high - share.exact.high) for share in shares]
        said += f"; averaging moved the share by {float(max(moved)):.4f} at most in our records"
        near = _meet(share.wide for share in shares)
    verdict, basis = judge(fits, near)
    if verdict == IMPOSSIBLE and _meet(_span(row, "cut").widened(by) for row, by in zip(found, moved, strict=True)):
        verdict, basis = CUT_OFF, "cut off"
    return Check("one share", metrics, ONE_SHARE, said, verdict, basis)


def _meet(spans: Iterable[Exact]) -> bool:
    """Whether some number lies in all ranges."""
    lows, highs = zip(*spans, strict=True)
    return max(lows) <= min(highs)


def _span(row: RowAudit, kind: str) -> Exact:
    """The shares of a row. All its numbers narrow them further than three, where one matrix rounds to all."""
    every = Matrices({name: getattr(reading, kind) for name, reading in row.readings.items()})
    return every.range("prevalence") or row.share.exact


def check_text(claim: Mapping[str, Number], table: Mapping[str, Number], where: str) -> Check | None:
    """Check whether a sentence repeats the numbers of a table's row.

    A text may print fewer digits: two numbers agree if some number rounds to both. None where they share no score.

    Args:
        claim: Score -> number in the text.
        table: Score -> number in the row.
        where: The table, ``"Table 8"``.
    """
    verdicts, apart = {}, []
    for name in claim:
        if name in table and name in SCORES:
            said, printed = read_number(claim[name], name), read_number(table[name], name)
            verdicts[name] = CUT_OFF if said.cut.meets(printed.cut) else IMPOSSIBLE
            if said.range.meets(printed.range):
                verdicts[name] = CONSISTENT
            else:
                apart.append(f"{SHORT[name]} {_text(claim[name])} in the text, {_text(table[name])} in {where}")
    if not verdicts:
        return None
    said = "; ".join(apart) or f"{len(verdicts)} numbers as in {where}"
    assumption = f"text and {where} speak of the same scores"
    return Check("text against table", tuple(verdicts), assumption, said, worst(verdicts.values()), "text")


def check_twice(
    first: Number, second: Number, metric: str, headings: tuple[str, str], tolerance: Tolerance | None
) -> Check:
    """Check whether two columns for one score agree (F1 and Dice), pooled or averaged over images each."""
    one, other = read_number(first, metric), read_number(second, metric)
    near = tolerance and other.range.widened(tolerance.exact).meets(one.range)
    verdict, basis = judge(one.range.meets(other.range), near)
    if verdict == IMPOSSIBLE and one.cut.widened(tolerance.exact).meets(other.cut):
        verdict, basis = CUT_OFF, "cut off"
    said = f"{headings[0]} {_text(first)}, {headings[1]} {_text(second)}"
    assumption = f"{headings[0]} and {headings[1]} are one score under two names"
    return Check(f"{headings[0]} against {headings[1]}", (metric,), assumption, said, verdict, basis)


def check_classes(number: Number, metric: str, readings: Mapping[str, Reading], shares: Sequence[float] = ()) -> Check:
    """Check whether a number can be the mean of a score of vessels and that of background, as the mean IoU is.

    Args:
        number: As printed.
        metric: The score under which it is printed. Accuracy is taken for the mean of the two classes' sensitivities.
        readings: The other numbers of the row.
        shares: Vessel shares of the regions that may have been scored; they stand in where there is no accuracy.
    """
    cut = {name: reading.cut for name, reading in readings.items()}
    if shares and metric != "accuracy" and "accuracy" not in cut:
        cut["prevalence"] = Exact(Fraction(min(shares)), Fraction(max(shares)))
    pair = next((pair for pair in SHARE_PAIRS if {"accuracy", *pair} <= cut.keys()), ("sensitivity", "specificity"))
    # Numbers that are means over images have seldom one matrix for all of them.
    matrices = Matrices(cut) or Matrices({name: cut[name] for name in ("accuracy", *pair) if name in cut})
    score = "sensitivity" if metric == "accuracy" else metric
    spans = [span for background in (False, True) if (span := matrices.range(score, background))]
    low, high = (Fraction(sum(ends), 2) for ends in (zip(*spans, strict=True) if spans else ((0,), (0,))))
    mean = Exact(low, high)
    # The mean of Se and Sp is linear in both, so averaging over images does not move it.
    slack = Fraction(0) if metric == "accuracy" else _CLASS_SLACK
    # Where the other numbers leave much room, that a number lies in it tells nothing of classes.
    fits = high - low <= _CLASS_ROOM and mean.widened(slack).meets(read_number(number, metric).cut)
    verdict = ONLY_MEAN if fits else IMPOSSIBLE
    assumption = f"{SHORT[metric]} is a mean over vessels and background"
    return Check("mean of classes", (metric,), assumption, f"expected {show(mean)}", verdict, "reading")


def _text(number: Number) -> str:
    return getattr(number, "text", str(number))
