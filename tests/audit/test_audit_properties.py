"""What holds for every table: one matrix is never flagged, and what no matrix gives always is."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from retlib.audit import (
    CONSISTENT,
    SCORES,
    Exact,
    Matrices,
    audit_row,
    check_one_share,
    dice_of_iou,
    dice_of_precision,
    iou_of_precision,
    rates_can_hold,
    read_number,
)
from retlib.audit.bounds import dice_of_accuracy, iou_of_accuracy
from retlib.metrics import Confusion

COUNTS = st.integers(0, 300_000)
NAMES = [name for name in SCORES if name != "prevalence"]


@st.composite
def matrices(draw) -> tuple[int, int, int, int]:
    """TP, FN, FP, TN with vessels and background, and something predicted."""
    return draw(st.integers(1, 300_000)), draw(COUNTS), draw(COUNTS), draw(st.integers(1, 300_000))


def scores_of(tp: int, fn: int, fp: int, tn: int) -> dict[str, float]:
    confusion = Confusion(tp=tp, fp=fp, fn=fn, tn=tn)
    return {name: float(getattr(confusion, name)) for name in NAMES}


def printed(value: float, decimals: int, percent: bool) -> str:
    return f"{100 * value:.{decimals}f}%" if percent else f"{value:.{decimals}f}"


rounding = st.tuples(st.integers(1, 6), st.booleans())


@settings(max_examples=60, deadline=None)
@given(matrices(), st.lists(rounding, min_size=6, max_size=6), st.sets(st.sampled_from(NAMES), min_size=1))
def test_one_matrix_is_never_flagged(cells, roundings, chosen):
    values = scores_of(*cells)
    row = {name: printed(values[name], *roundings[i]) for i, name in enumerate(NAMES) if name in chosen}
    audit = audit_row(row)
    assert audit.verdict in (None, CONSISTENT), audit.checks
    if audit.share is not None and audit.share.pair is not None:
        true = Fraction(cells[0] + cells[1], sum(cells))
        assert audit.share.exact.low <= true <= audit.share.exact.high


@settings(max_examples=15, deadline=None)
@given(
    st.tuples(st.integers(1, 200_000), st.integers(1, 200_000)),
    st.lists(st.tuples(st.floats(0.01, 1), st.floats(0, 0.99), rounding), min_size=2, max_size=3),
)
def test_rows_on_one_set_of_pixels_share_one_share(truth, models):
    vessels, background = truth
    rows = []
    for sensitivity, alarms, how in models:
        tp, fp = max(1, round(sensitivity * vessels)), round(alarms * background)
        values = scores_of(tp, vessels - tp, fp, background - fp)
        rows.append(audit_row({name: printed(value, *how) for name, value in values.items()}))
    check = check_one_share(rows)
    assert check is None or check.verdict == CONSISTENT


def feasible(row: dict[str, Exact]) -> float:
    """By how much a matrix can stay inside all intervals (negative: there is none), with SciPy's linear programming."""
    above, top = [], []
    for name, (low, high) in row.items():
        numerator, denominator = (np.array(part, dtype=float) for part in SCORES[name])
        above += [[*(float(low) * denominator - numerator), 1.0], [*(numerator - float(high) * denominator), 1.0]]
        top += [0.0, 0.0]
    found = linprog(
        [0, 0, 0, 0, -1], A_ub=above, b_ub=top, A_eq=[[1, 1, 1, 1, 0]], b_eq=[1], bounds=[(0, 1)] * 4 + [(-1, 1)]
    )
    return float(found.x[-1])


@settings(max_examples=60, deadline=None)
@given(
    matrices(),
    st.integers(2, 5),
    st.sets(st.sampled_from(NAMES), min_size=2),
    st.integers(0, 5),
    st.integers(1, 5),
    st.integers(1, 9),
)
def test_an_altered_digit_is_flagged_exactly_when_no_matrix_gives_the_row(cells, decimals, chosen, which, place, step):
    """A digit must be caught as soon as the altered number's interval does not meet what the others leave for it: no
    confusion matrix rounds to the row then, which linear programming finds independently. A row of three free numbers
    (accuracy, sensitivity, specificity) is not over-determined, and most alterations of it give another matrix.
    """
    values = scores_of(*cells)
    names = [name for name in NAMES if name in chosen]
    row = {name: printed(values[name], decimals, False) for name in names}
    victim = names[which % len(names)]
    unit = 10.0 ** -min(place, decimals)
    altered = float(row[victim]) + step * unit
    row[victim] = printed(altered if altered <= 1 else altered - 10 * unit, decimals, False)
    assume(0 <= float(row[victim]) <= 1)
    ranges = {name: read_number(text, name).range for name, text in row.items()}
    margin = feasible(ranges)
    assume(abs(margin) > 1e-9)  # beyond the solver's own tolerance
    assert bool(Matrices(ranges)) == (margin > 0)
    verdict = audit_row(row).verdict
    assert (verdict in (None, CONSISTENT)) == (margin > 0)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.05, 0.2), st.floats(0.5, 0.85), st.floats(0.95, 0.995), st.sampled_from([-0.01, 0.01]))
def test_a_wrong_second_digit_of_dice_is_caught_in_a_usual_row(share, sensitivity, specificity, step):
    vessels, background = round(share * 1_000_000), round((1 - share) * 1_000_000)
    tp, tn = round(sensitivity * vessels), round(specificity * background)
    values = scores_of(tp, vessels - tp, background - tn, tn)
    row = {name: f"{values[name]:.4f}" for name in ("accuracy", "sensitivity", "specificity", "dice")}
    assert audit_row(row).verdict == CONSISTENT
    assert audit_row(row | {"dice": f"{float(row['dice']) + step:.4f}"}).verdict != CONSISTENT


@settings(max_examples=60, deadline=None)
@given(st.lists(matrices(), min_size=1, max_size=6))
def test_no_mean_over_images_breaks_a_bound(images):
    """The bounds behind 'impossible', on means of arbitrary images."""
    rows = [scores_of(*cells) for cells in images]
    mean = {name: sum(Fraction(row[name]) for row in rows) / len(rows) for name in NAMES}
    slack = Fraction(1, 10**12)  # the scores are floats
    span = {name: Exact(value - slack, value + slack) for name, value in mean.items()}
    assert dice_of_iou(span["iou"]).meets(span["dice"])
    assert dice_of_precision(span["precision"], span["sensitivity"]).meets(span["dice"])
    assert dice_of_accuracy(span["accuracy"]).meets(span["dice"])
    assert iou_of_accuracy(span["accuracy"]).meets(span["iou"])
    assert iou_of_precision(span["precision"], span["sensitivity"]).meets(span["iou"])
    shares = [Fraction(tp + fn, tp + fn + fp + tn) for tp, fn, fp, tn in images]
    rates = (span["accuracy"], span["sensitivity"], span["specificity"])
    assert rates_can_hold(*rates, shares=(min(shares), max(shares)))
