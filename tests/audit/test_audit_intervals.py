"""Printed numbers as intervals, and the vessel share that follows from them."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from itertools import product
from pathlib import Path

import pytest

from retlib import audit
from retlib.audit import Exact, Matrices, implied_prevalence, read_number
from retlib.study import Printed


@pytest.mark.parametrize(
    ("number", "decimals", "low", "high"),
    [
        ("0.9500", None, "0.94995", "0.95005"),
        ("95.00%", None, "0.94995", "0.95005"),
        (".95", None, "0.945", "0.955"),
        (Printed("95.0", percent=True), None, "0.9495", "0.9505"),
        (0.95, None, "0.945", "0.955"),
        (0.95, 4, "0.94995", "0.95005"),
        (1e-05, None, "0.000005", "0.000015"),
        ("1.000", None, "0.9995", "1"),
        ("0", None, "0", "0.5"),
    ],
)
def test_a_number_stands_for_all_that_round_to_it(number, decimals, low, high):
    assert read_number(number, "x", decimals).range == Exact(Fraction(low), Fraction(high))


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("1.2", r"x: expected a value in \[0, 1\]"),
        (95.5, "percentage is written"),
        ("-0.1", "expected a value"),
        ("101%", r"\[0, 100\] %"),
        ("high", "as printed"),
        (float("nan"), "expected a number"),
        (True, "expected a number"),
    ],
)
def test_what_is_no_score_is_refused(number, message):
    with pytest.raises(ValueError, match=message):
        read_number(number, "x")


def corners(*numbers: str) -> list[tuple[Fraction, ...]]:
    return list(product(*(read_number(number, "x").range for number in numbers)))


def test_share_from_rates_by_the_formula():
    share = implied_prevalence(accuracy="0.9554", sensitivity="0.7294", specificity="0.9771")
    exact = [(sp - acc) / (sp - se) for acc, se, sp in corners("0.9554", "0.7294", "0.9771")]
    assert share.value == pytest.approx(0.0217 / 0.2477, abs=1e-12)
    assert share.low <= min(exact) and max(exact) <= share.high  # rounded outwards
    assert (share.low, share.high) == (pytest.approx(float(min(exact)), 1e-12), pytest.approx(float(max(exact)), 1e-12))
    assert float(share) == share.value and share.value in share and 0.1 not in share


def test_share_from_precision_and_recall_by_the_formula():
    share = implied_prevalence(accuracy="0.9667", precision="0.8276", recall="0.7877")
    exact = [(1 - a) / ((1 - r) + r * (1 / p - 1)) for a, p, r in corners("0.9667", "0.8276", "0.7877")]
    assert (share.low, share.high) == (pytest.approx(float(min(exact)), 1e-12), pytest.approx(float(max(exact)), 1e-12))
    assert share == implied_prevalence(accuracy="0.9667", precision="0.8276", sensitivity="0.7877")


def test_floats_texts_and_printed_agree():
    texts = {"accuracy": "0.9170", "sensitivity": "0.8798", "specificity": "0.9857"}
    expected = implied_prevalence(**texts)
    assert implied_prevalence(**{name: float(text) for name, text in texts.items()}, decimals=4) == expected
    assert implied_prevalence(**{name: Printed(text) for name, text in texts.items()}) == expected
    # Without `decimals` a float keeps the digits that Python shows, and 0.917 has one fewer.
    wider = implied_prevalence(**{name: float(text) for name, text in texts.items()})
    assert wider.low < expected.low < expected.high < wider.high and wider.value == expected.value


def test_more_scores_narrow_the_share():
    three = implied_prevalence(accuracy="0.9529", sensitivity="0.7153", specificity="0.9876")
    all_six = implied_prevalence(
        accuracy="0.9529", sensitivity="0.7153", specificity="0.9876", precision="0.8940", dice="0.7947"
    )
    assert three.low < all_six.low <= all_six.high < three.high


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({"accuracy": "0.95", "sensitivity": "0.7"}, "expected accuracy with"),
        ({"accuracy": "0.95", "sensitivity": "0.7", "recall": "0.7", "specificity": "0.9"}, "another name"),
        ({"accuracy": "0.99", "sensitivity": "0.70", "specificity": "0.95"}, "no share of vessel pixels"),
        ({"accuracy": "0.95", "sensitivity": "70", "specificity": "0.97"}, "sensitivity: expected a value"),
    ],
)
def test_what_implies_no_share_is_refused(scores, message):
    with pytest.raises(ValueError, match=message):
        implied_prevalence(**scores)


def test_a_score_that_is_undefined_is_not_printed():
    """Nothing predicted: precision is 0/0, so no matrix prints one; with one true positive in a thousand it does."""
    silent = {"sensitivity": Exact(Fraction(0), Fraction(0)), "specificity": Exact(Fraction(1), Fraction(1))}
    assert Matrices(silent)
    assert not Matrices(silent | {"precision": read_number("1.0", "precision").range})


def run_alone(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_is_light():
    heavy = "{'torch', 'pandas', 'scipy', 'matplotlib'}"
    run_alone(f"import sys; from retlib.audit import audit_row; assert not {heavy} & set(sys.modules)")


def test_the_package_knows_nothing_of_the_study():
    """It stands on the data sets and the base of settings; the study builds on it."""
    modules = [f"retlib.audit.{path.stem}" for path in Path(audit.__file__).parent.glob("[!_]*.py")]
    others = "{'study', 'papers', 'report', 'comparison', 'prediction', 'training', 'models', 'metrics'}"
    run_alone(
        f"import sys, {', '.join(modules)}; from retlib.audit import list_published; list_published()\n"
        f"assert not {others} & {{name.split('.')[1] for name in sys.modules if name.startswith('retlib.')}}"
    )
