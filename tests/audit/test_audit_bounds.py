"""Numbers of one row that break a proven bound, and nothing that true scores can be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retlib.audit import IMPOSSIBLE, Background, audit_row
from retlib.data.measurements import VesselShares, read_measurements, vessel_shares
from retlib.study import Printed

RATES = ("accuracy", "sensitivity", "specificity")
OVERLAP = ("dice", "iou")
F1 = ("dice", "precision", "sensitivity")
SHARES = (0.06, 0.17)


def broken(printed: dict[str, Printed], shares: tuple[float, float] | None = None) -> list[tuple[str, ...]]:
    """Scores that take part in each impossibility, where nothing but the data set's vessel shares is known."""
    single = None if shares is None else {"frame": shares, "fov": shares}
    known = {} if shares is None else {"drive": VesselShares("DRIVE", "all", dict.fromkeys(single, shares[0]), single)}
    row = audit_row(printed, dataset="drive", background=Background(known))
    assert all(check.basis == "bound" for check in row.checks if check.verdict == IMPOSSIBLE)
    return [check.metrics for check in row.checks if check.verdict == IMPOSSIBLE]


@pytest.mark.parametrize(
    ("numbers", "against"),
    [
        ({"accuracy": "0.9529", "sensitivity": "0.7153", "specificity": "0.9876"}, []),
        ({"accuracy": "0.9900", "sensitivity": "0.7153", "specificity": "0.9876"}, [RATES]),
        ({"accuracy": "0.70", "sensitivity": "0.7153", "specificity": "0.9876"}, [RATES]),
        ({"accuracy": "0.72", "sensitivity": "0.7153", "specificity": "0.9876"}, [RATES]),  # nearly all vessel
        ({"accuracy": "1.0", "sensitivity": "0.98", "specificity": "0.99"}, []),  # 0.99 may be 0.995, 1.0 may be 0.95
        ({"accuracy": "0.9170", "sensitivity": "0.8798", "specificity": "0.9857"}, [RATES]),  # a share of 0.65
        ({"accuracy": "0.9900", "sensitivity": "0.9876", "specificity": "0.7153"}, [RATES]),
        ({"dice": "0.8000", "iou": "0.6667"}, []),
        ({"dice": "0.7800", "iou": "0.6667"}, []),  # a mean over images may fall below the identity
        ({"dice": "0.8010", "iou": "0.6667"}, [OVERLAP]),
        ({"dice": "0.6600", "iou": "0.6667"}, [OVERLAP]),
        ({"dice": "0.8", "iou": "0.7"}, []),  # one digit allows it
        ({"dice": "80.10", "iou": "66.67"}, [OVERLAP]),
        ({"dice": "0.7947", "precision": "0.8940", "sensitivity": "0.7153"}, []),
        ({"dice": "0.8053", "precision": "0.8417", "sensitivity": "0.7600"}, [F1]),
        ({"dice": "0.5000", "precision": "0.8417", "sensitivity": "0.7600"}, [F1]),
        ({"dice": "0.9", "accuracy": "0.1"}, [("dice", "accuracy")]),
        ({"dice": "0.9500", "accuracy": "0.8000"}, [("dice", "accuracy")]),  # 0.8889 at most
        ({"dice": "0.8889", "accuracy": "0.8000"}, []),
        ({"iou": "0.8100", "accuracy": "0.8000"}, [("iou", "accuracy")]),
        ({"iou": "0.8000", "accuracy": "0.8000"}, []),
        ({}, []),
    ],
)
def test_proven_bounds(numbers: dict, against: list) -> None:
    printed = {metric: Printed(text, percent=float(text) > 1) for metric, text in numbers.items()}
    assert broken(printed, SHARES) == against


def test_without_the_data_sets_shares_only_what_no_image_allows_is_impossible() -> None:
    printed = {name: Printed(text) for name, text in zip(RATES, ("0.9170", "0.8798", "0.9857"), strict=True)}
    assert broken(printed) == [] and broken(printed, SHARES) == [RATES]
    assert broken(printed | {"accuracy": Printed("0.70")}) == [RATES]


@pytest.mark.parametrize("average", ["pooled", "image"])
def test_true_scores_never_contradict_one_another(average: str) -> None:
    """Whatever the images and however scores are averaged, on some of which sensitivity is the higher."""
    rng = np.random.default_rng(5)
    for _ in range(300):
        images = rng.integers(1, 6)
        share = rng.uniform(0.02, 0.4, images)
        sensitivity = rng.uniform(0.05, 0.9, images)
        specificity = rng.uniform(0.05, 0.999, images)
        tp, fp = share * sensitivity, (1 - share) * (1 - specificity)
        counts = np.stack([tp, fp, share - tp, 1 - share - fp])
        counts = counts.sum(axis=1, keepdims=True) if average == "pooled" else counts
        tp, fp, fn, tn = counts
        scores = {
            "accuracy": (tp + tn) / counts.sum(axis=0),
            "sensitivity": tp / (tp + fn),
            "specificity": tn / (tn + fp),
            "precision": tp / (tp + fp),
            "dice": 2 * tp / (2 * tp + fp + fn),
            "iou": tp / (tp + fp + fn),
        }
        for decimals in (2, 4):
            printed = {metric: Printed(f"{values.mean():.{decimals}f}") for metric, values in scores.items()}
            assert broken(printed, (share.min(), share.max())) == []


def test_shares_come_from_the_measured_data_sets(repository: Path, tmp_path: Path) -> None:
    measured = read_measurements(repository / "book" / "records")
    low, high = vessel_shares(measured, "drive").widest
    assert 0.05 < low < 0.0877 < 0.1273 < high < 0.2  # DRIVE's shares as a whole: frame and FOV
    assert vessel_shares(measured, "kvasir-seg") is None is vessel_shares(measured, None)
    assert vessel_shares(read_measurements(tmp_path), "drive") is None
