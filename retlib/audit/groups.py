"""Rows against one another, and the text against its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from retlib.audit.intervals import Exact, Number, read_number, show
from retlib.audit.matrices import SCORES, Matrices
from retlib.audit.rows import RowAudit
from retlib.audit.verdicts import CONSISTENT, IMPOSSIBLE, ONLY_MEAN, Check
from retlib.audit.words import SHORT

ONE_SHARE = "all rows were scored on one set of pixels, which has one vessel share"


def check_one_share(rows: Sequence[RowAudit]) -> Check | None:
    """Whether one vessel share fits all rows of a table.

    Each row's own scores, pooled, leave an interval of shares; the intervals have a point in common if the highest
    lower end is not above the lowest upper end. With a departure of t on every row they need not come nearer than 2 t.

    Args:
        rows: Audited rows of one table and data set.

    Returns:
        The outcome; None where fewer than two rows imply a share.
    """
    spans: list[tuple[str, Exact, Exact | None]] = []
    for row in rows:
        if row.share is None or row.share.pair is None or row.share.exact is None:
            continue
        # All numbers of a row at once say more than three of them, where one matrix rounds to all.
        every = Matrices({name: reading.range for name, reading in row.readings.items()})
        exact = every.range("prevalence") or row.share.exact
        spans.append((row.label, exact, row.share.wide))
    if len(spans) < 2:
        return None
    highest, lowest = max(spans, key=lambda item: item[1].low), min(spans, key=lambda item: item[1].high)
    said = f"{highest[0]} {show(highest[1])}, {lowest[0]} {show(lowest[1])}"
    if highest[1].low <= lowest[1].high:
        common = Exact(highest[1].low, lowest[1].high)
        verdict, basis, said = CONSISTENT, "rounding", f"{len(spans)} rows have {show(common)} in common"
    else:
        wide = [span for _, _, span in spans]
        said += f": {float(highest[1].low - lowest[1].high):.4f} apart"
        if None in wide:
            verdict, basis = ONLY_MEAN, "not judged"
        else:
            near = max(span.low for span in wide) <= min(span.high for span in wide)
            verdict, basis = (ONLY_MEAN if near else IMPOSSIBLE), "records"
            said += f"; averaging moved the share by {float(_largest(rows)):.4f} at most in our records"
    metrics = dict.fromkeys(name for row in rows if row.share and row.share.pair for name in row.share.pair)
    return Check("one share", ("accuracy", *metrics), ONE_SHARE, said, verdict, basis)


def _largest(rows: Sequence[RowAudit]) -> Fraction:
    shares = [row.share for row in rows if row.share and row.share.exact and row.share.wide]
    return max(max(s.exact.low - s.wide.low, s.wide.high - s.exact.high) for s in shares)


def check_text(claim: Mapping[str, Number], table: Mapping[str, Number], where: str) -> Check | None:
    """Whether a sentence repeats the numbers of a table's row.

    A text may print fewer digits: two numbers agree if some number rounds to both. None where they share no score.

    Args:
        claim: Score -> number in the text.
        table: Score -> number in the row.
        where: The table, ``"Table 8"``.
    """
    pairs = {name: (claim[name], table[name]) for name in claim if name in table and name in SCORES}
    if not pairs:
        return None
    apart = [
        f"{SHORT[name]} {_text(said)} in the text, {_text(printed)} in {where}"
        for name, (said, printed) in pairs.items()
        if not read_number(said, name).range.meets(read_number(printed, name).range)
    ]
    said = "; ".join(apart) if apart else f"{len(pairs)} numbers as in {where}"
    verdict = IMPOSSIBLE if apart else CONSISTENT
    return Check(
        "text against table", tuple(pairs), f"text and {where} speak of the same scores", said, verdict, "text"
    )


def check_twice(first: Number, second: Number, metric: str, headings: tuple[str, str]) -> Check:
    """Whether two columns for one score agree (F1 and Dice, recall and sensitivity)."""
    agree = read_number(first, metric).range.meets(read_number(second, metric).range)
    said = f"{headings[0]} {_text(first)}, {headings[1]} {_text(second)}"
    verdict, basis = (CONSISTENT, "rounding") if agree else (IMPOSSIBLE, "bound")
    assumption = f"{headings[0]} and {headings[1]} are one score under two names"
    return Check(f"{headings[0]} against {headings[1]}", (metric,), assumption, said, verdict, basis)


def _text(number: Number) -> str:
    return getattr(number, "text", str(number))
