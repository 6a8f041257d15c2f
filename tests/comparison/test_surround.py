"""The black surround: scores of the whole frame against scikit-learn on the very pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from retlib.comparison import blanked_frame, faults, findings, found_outside
from retlib.comparison.contenders import Comparison, Contender
from retlib.data import FundusSample
from retlib.inference import probabilities
from retlib.study import Record, Store
from retlib.study.scoring import score_test

THRESHOLD = 0.5


@pytest.fixture
def samples() -> list[FundusSample]:
    """Small discs; the second has a vessel that leaves its FOV, the third a vessel outside alone."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :44]
    fov = np.hypot(y - 20, x - 22) < 17
    made = []
    for index in range(3):
        vessels = (np.abs(x - y - index) < 2) & (fov | (index == 1))
        if index == 2:
            vessels = (x < 3) & (y < 3)
        image = rng.integers(0, 255, (*fov.shape, 3), dtype=np.uint8)
        made.append(FundusSample(f"image {index}", image, vessels, fov))
    return made


@pytest.fixture
def logits(samples: list[FundusSample]) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [(rng.normal(size=s.fov.shape) * 2 + 2 * s.vessels - 1).astype(np.float32) for s in samples]


@pytest.fixture
def record(tmp_path: Path, samples: list[FundusSample], logits: list[np.ndarray]) -> Record:
    entry, files = score_test("phantom:test", logits, samples, THRESHOLD, "fov")
    config = {"scoring": {"region": "fov", "average": "image"}, "profile": "smoke"}
    content = {"id": "one", "config": config, "threshold": THRESHOLD, "tests": {"phantom:test": entry}}
    return Store(tmp_path).write(content, files)


def test_a_blanked_frame_is_the_frame_with_a_blanked_prediction(
    record: Record, samples: list[FundusSample], logits: list[np.ndarray]
) -> None:
    found = blanked_frame(record)
    for index, (sample, values) in enumerate(zip(samples, logits, strict=True)):
        scores = probabilities(values).astype(np.float64)
        scores[~sample.fov] = -1.0  # below every probability
        truth, called = sample.vessels.ravel(), (scores >= THRESHOLD).ravel()
        assert found["auc"][index] == pytest.approx(sk.roc_auc_score(truth, scores.ravel()), abs=1e-9)
        assert found["accuracy"][index] == pytest.approx(sk.accuracy_score(truth, called))
        assert found["dice"][index] == pytest.approx(sk.f1_score(truth, called))
        assert found["sensitivity"][index] == pytest.approx(sk.recall_score(truth, called))
        assert found["specificity"][index] == pytest.approx(sk.recall_score(~truth, ~called))
        assert found["mcc"][index] == pytest.approx(sk.matthews_corrcoef(truth, called))


def test_what_is_found_outside(record: Record, samples: list[FundusSample], logits: list[np.ndarray]) -> None:
    called = [probabilities(values) >= THRESHOLD for values in logits]
    outside = sum((c & ~s.fov).sum() for c, s in zip(called, samples, strict=True))
    alarms = sum((c & ~s.vessels).sum() for c, s in zip(called, samples, strict=True))
    alarms_outside = sum((c & ~s.vessels & ~s.fov).sum() for c, s in zip(called, samples, strict=True))
    found = found_outside(record)
    assert found.share == pytest.approx(outside / sum((~s.fov).sum() for s in samples))
    assert found.of_alarms == pytest.approx(alarms_outside / alarms)


def test_the_fault_is_the_mean_over_images_and_then_seeds(comparison: Comparison) -> None:
    drive = comparison.contenders()["drive"]
    unet: Contender = next(item for item in drive if item.key == "unet")
    costs = {(cost.fault, cost.metric): cost for cost in faults.record_costs(unet)}
    for metric in ("accuracy", "specificity", "auc", "dice"):
        expected = np.mean([blanked_frame(record)[metric].mean() for record in unet.records])
        assert costs[faults.BLANKED, metric].faulty == pytest.approx(expected)
        assert costs[faults.BLANKED, metric].sound == pytest.approx(unet.value(metric))
    # Nothing found outside: no false alarm is added, so fewer mistakes than with what the network says there.
    assert costs[faults.BLANKED, "accuracy"].faulty >= costs[faults.FRAME, "accuracy"].faulty
    assert costs[faults.BLANKED, "specificity"].faulty >= costs[faults.BLANKED, "specificity"].sound


def test_the_sentence_on_the_surround(comparison: Comparison) -> None:
    drive = comparison.contenders()["drive"]
    networks = [item for item in drive if item.kind == "network"]
    shares = {item.title: np.mean([found_outside(record).share for record in item.records]) for item in networks}
    sentence = findings.surround_sentence(drive)
    assert "looks inside the FOV alone" in sentence
    for title in (min(shares, key=shares.get), max(shares, key=shares.get)):
        assert f"{shares[title]:.1%} ({title}" in sentence
    assert findings.surround_sentence([]) is None
