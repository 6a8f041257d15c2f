"""The slider over the decision threshold: the counts that it embeds in a page."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from retlib.metrics import Confusion, ScoreHistogram, ScoreHistograms
from retlib.study import figures

RATES = ("sensitivity", "specificity", "accuracy", "precision", "dice")


def made_scores() -> tuple[np.ndarray, np.ndarray, ScoreHistogram]:
    """Logits, labels and pooled histogram of one image of 200 x 200 pixels; 0.437 is among the exact thresholds."""
    rng = np.random.default_rng(0)
    vessels = rng.random((200, 200)) < 0.13
    logits = rng.normal(2.0 * vessels - 2.0, 1.0).astype(np.float32)
    histograms = ScoreHistograms.from_logits(["a"], [logits], [vessels], thresholds=[0.437])
    return logits, vessels, histograms.select(region="frame")


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
