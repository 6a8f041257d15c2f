"""Compare the rows of a table with one another, and the text with its tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from retlib.audit.deviations import Tolerance
from retlib.audit.intervals import Exact, Number, Reading, read_number, show
from retlib.audit.matrices import SCORES, SHORT, Matrices
from retlib.audit.prevalence import SHARE_PAIRS
from retlib.audit.row_audit import RowAudit
from retlib.audit.verdicts import CONSISTENT, CUT_OFF, IMPOSSIBLE, ONLY_MEAN, Check, judge, worst

ONE_SHARE = "all rows were scored on one set of pixels, which has one vessel share"
_CLASS_ROOM = Fraction(1, 20)
_CLASS_SLACK = Fraction(1, 50)  # more than averaging over images moves a mean of the two classes


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
