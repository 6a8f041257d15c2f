"""Compare the rows of a table with one another, and the text with its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from retlib.audit.intervals import Exact, Number, read_number, show
from retlib.audit.matrices import SCORES, SHORT, Matrices
from retlib.audit.row_audit import RowAudit
from retlib.audit.verdicts import CONSISTENT, IMPOSSIBLE, ONLY_MEAN, Check

ONE_SHARE = "all rows were scored on one set of pixels, which has one vessel share"


def check_one_share(rows: Sequence[RowAudit]) -> Check | None:
    """Check whether one vessel share fits all rows of a table.

    Each row's own scores, pooled, leave an interval of shares; the intervals have a point in common if the highest
    lower end is not above the lowest upper end. With a deviation of t on every row they need not come nearer than 2 t.

    Args:
        rows: Audited rows of one table and data set.

    Returns:
        The outcome; None where fewer than two rows imply a share.
    """
    spans: list[tuple[str, Exact]] = []
    shares = []
    for row in rows:
        if row.share is not None and row.share.pair is not None and row.share.exact is not None:
            # All numbers of a row narrow the share further than three of them, where one matrix rounds to all.
            every = Matrices({name: reading.range for name, reading in row.readings.items()})
            spans.append((row.label, every.range("prevalence") or row.share.exact))
            shares.append(row.share)
    if len(spans) < 2:
        return None
    metrics = ("accuracy", *dict.fromkeys(name for share in shares for name in share.pair))
    highest, lowest = max(spans, key=lambda item: item[1].low), min(spans, key=lambda item: item[1].high)
    if highest[1].low <= lowest[1].high:
        said = f"{len(spans)} rows have {show(Exact(highest[1].low, lowest[1].high))} in common"
        return Check("one share", metrics, ONE_SHARE, said, CONSISTENT, "rounding")
    said = f"{highest[0]} {show(highest[1])}, {lowest[0]} {show(lowest[1])}"
    said += f": {float(highest[1].low - lowest[1].high):.4f} apart"
    if any(share.wide is None for share in shares):
        return Check("one share", metrics, ONE_SHARE, said, ONLY_MEAN, "not judged")
    near = max(share.wide.low for share in shares) <= min(share.wide.high for share in shares)
    moved = max(max(share.exact.low - share.wide.low, share.wide.high - share.exact.high) for share in shares)
    said += f"; averaging moved the share by {float(moved):.4f} at most in our records"
    return Check("one share", metrics, ONE_SHARE, said, ONLY_MEAN if near else IMPOSSIBLE, "records")


def check_text(claim: Mapping[str, Number], table: Mapping[str, Number], where: str) -> Check | None:
    """Check whether a sentence repeats the numbers of a table's row.

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
    """Check whether two columns for one score agree (F1 and Dice, recall and sensitivity)."""
    agree = read_number(first, metric).range.meets(read_number(second, metric).range)
    said = f"{headings[0]} {_text(first)}, {headings[1]} {_text(second)}"
    verdict, basis = (CONSISTENT, "rounding") if agree else (IMPOSSIBLE, "bound")
    assumption = f"{headings[0]} and {headings[1]} are one score under two names"
    return Check(f"{headings[0]} against {headings[1]}", (metric,), assumption, said, verdict, basis)


def _text(number: Number) -> str:
    return getattr(number, "text", str(number))
