"""The rule on operating points: the share that a row implies, where a curve passes, and the slider's counts."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from retlib.metrics import Confusion, ScoreHistogram, ScoreHistograms
from retlib.papers import load_paper
from retlib.study import Printed, figures
from retlib.study.rules.operating_point import RATES, Point, implied_share, point_at, vessel_share

PAPER = load_paper("convlstm-unet")


def printed() -> dict[str, Printed]:
    return PAPER.tables["1"].values(0)["drive"]


def made_scores() -> tuple[np.ndarray, np.ndarray, ScoreHistogram]:
    """Logits, labels and pooled histogram of one image of 200 x 200 pixels; 0.437 is among the exact thresholds."""
    rng = np.random.default_rng(0)
    vessels = rng.random((200, 200)) < 0.13
    logits = rng.normal(2.0 * vessels - 2.0, 1.0).astype(np.float32)
    histograms = ScoreHistograms.from_logits(["a"], [logits], [vessels], thresholds=[0.437])
    return logits, vessels, histograms.select(region="frame")


def test_five_of_the_numbers_fix_one_point_and_one_share():
    found = implied_share(printed())
    share, low, high = found.value, found.low, found.high
    assert low < share < high and high - low < 0.001
    assert 0.1270 < low and high < 0.1280  # DRIVE's test images inside the field of view; whole frames have 0.088
    point = Point(printed()["sensitivity"].value, printed()["specificity"].value)
    assert (1 - point.specificity, point.sensitivity) == pytest.approx((0.0124, 0.7153))
    for name, value in point.scores(share).items():
        assert abs(value - printed()[name].value) < 2e-4  # what four decimals of the others leave open


def test_impossible_quoted_scores_are_found():
    (values,) = PAPER.tables["Introduction"].values(6).values()
    assert implied_share(values).high < 0.01
    with pytest.raises(ValueError, match="accuracy is missing"):
        implied_share({"sensitivity": Printed("0.7"), "specificity": Printed("0.9")})
    with pytest.raises(ValueError, match="equal within rounding"):
        implied_share(dict.fromkeys(("accuracy", "sensitivity", "specificity"), Printed("0.9")))


def test_scores_of_a_point_are_those_of_its_counts():
    counts = Confusion(tp=30, fp=20, fn=10, tn=140)
    point = Point(float(counts.sensitivity), float(counts.specificity))
    scores = point.scores(40 / 200)
    assert scores == pytest.approx({name: float(getattr(counts, name)) for name in RATES})
    assert math.isnan(Point(0.0, 1.0).scores(0.2)["precision"])


def test_where_a_curve_passes():
    logits, vessels, pooled = made_scores()
    assert vessel_share(pooled) == pytest.approx(vessels.mean())
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    for wanted in ({"specificity": 0.9876}, {"specificity": 0.5}, {"sensitivity": 0.7153}):
        point = point_at(pooled, **wanted)
        predicted = scores >= point.threshold
        assert point.sensitivity == pytest.approx(predicted[vessels].mean(), abs=3e-3)
        assert point.specificity == pytest.approx(1 - predicted[~vessels].mean(), abs=3e-3)
        for name, value in wanted.items():
            assert getattr(point, name) == pytest.approx(value, abs=1e-9)
    ends = point_at(pooled, specificity=1.0), point_at(pooled, specificity=0.0)
    assert all(np.isfinite(point.threshold) for point in ends)
    assert ends[1].sensitivity == pytest.approx(1.0)
    for wrong in ({}, {"specificity": 0.5, "sensitivity": 0.5}, {"specificity": 1.2}):
        with pytest.raises(ValueError, match="point_at: expected"):
            point_at(pooled, **wrong)


def explored(pooled: ScoreHistogram, threshold: float, points: dict, caption: str = "") -> dict:
    """Read the counts that the slider embeds in the page."""
    page = figures.threshold_explorer(pooled, threshold, points, caption).data
    (embedded,) = re.findall(r'<script type="application/json">(.*?)</script>', page)
    return json.loads(embedded)


@pytest.mark.parametrize("threshold", [0.437, 0.5])
def test_the_slider_starts_at_the_scores_of_the_run(threshold):
    _, _, pooled = made_scores()
    point = {"sensitivity": 0.7, "specificity": 0.9, "precision": math.nan, "dice": 0.6}
    data = explored(pooled, threshold, {"a </script> b": point})
    start, vessel, background = data["start"], data["vessel"], data["background"]
    assert data["thresholds"][start] == threshold
    tp, fp = data["tp"][start], data["fp"][start]
    counts = Confusion(tp=tp, fp=fp, fn=vessel - tp, tn=background - fp)
    expected = pooled.metrics(threshold)
    for name in RATES:  # exactly, since both are of the same whole numbers
        assert float(getattr(counts, name)) == expected[name]
    del point["precision"]  # undefined
    assert data["points"] == [{"title": "a </script> b"} | point]


def test_the_slider_holds_about_two_hundred_thresholds_in_order():
    _, _, pooled = made_scores()
    data = explored(pooled, 0.5, {}, "<b>")
    assert 150 <= len(data["thresholds"]) <= 230 and len({len(data[name]) for name in ("thresholds", "tp", "fp")}) == 1
    assert data["thresholds"] == sorted(data["thresholds"]) and data["tp"] == sorted(data["tp"], reverse=True)
    assert max(np.diff(data["thresholds"])) < 0.03
    one, other = (figures.threshold_explorer(pooled, 0.5, {}, "<b>").data for _ in range(2))
    assert one == other and "<figcaption>&lt;b&gt;</figcaption>" in one
    with pytest.raises(ValueError, match="between two edges"):
        figures.threshold_explorer(pooled, 0.123456, {}, "")
