"""Goals of our own networks: met or missed, unrounded, by the best clock that a record has."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from retlib.studies import load_study
from retlib.study import Record, Store
from retlib.study.rules import goals, shipping
from retlib.study.rules.goals import GOALS, Goal
from tests.study.made_records import write_record

LEVELS = {"dice": 0.83, "auc": 0.982, "cldice": 0.85, "betti0_error": 57.0, "recall_thin": 0.6}


def made(folder: Path, timing: dict[str, float], device: str = "cpu", **levels: float) -> Record:
    """A record with one value for all images, and times."""
    store = Store(folder)
    config = load_study("one-protocol").runs("lite", 0, dataset="drive")["drive-unet-chosen"]
    record = write_record(store, config, lambda _, __, metric: (LEVELS | levels)[metric])
    content = record.content | {"timing": timing, "environment": {"device": device}, "sha256": None}
    (record.folder / "record.json").write_text(json.dumps(content), encoding="utf-8")
    return store.get(record.id)


def test_goals_are_judged_unrounded_and_bounds_are_inside() -> None:
    dice, components = Goal("dice", 0.829), Goal("betti0_error", 57, lower_is_better=True)
    assert [dice.judge(value) for value in (0.829, 0.82899, math.nan)] == ["met", "missed", "not known"]
    assert [components.judge(value) for value in (57.0, 57.05)] == ["met", "missed"]
    assert (dice.text, components.text) == ("at least 0.829", "at most 57")


def test_the_goals_are_those_that_were_set() -> None:
    assert {(goal.metric, goal.average): goal.text for goal in GOALS} == {
        ("dice", "image"): "at least 0.829",
        ("auc", "image"): "at least 0.982",
        ("auc", "pooled"): "at least 0.981",
        ("cldice", "image"): "at least 0.833",
        ("betti0_error", "image"): "at most 57",
        ("seconds", "image"): "at most 1",
    }


def test_a_record_is_measured_as_its_goal_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    record = made(tmp_path, {"inference_s_per_image": 1.5}, auc=0.9)
    record.content["tests"]["drive:test"]["metrics"]["fov"]["pooled"] = {"auc": 0.9813}
    found = [goal.judge(goals.measure(goal, [record])) for goal in GOALS]
    assert found == ["met", "missed", "met", "met", "met", "missed"]
    assert goals.measure(GOALS[2], [record]) == 0.9813
    assert {goal.judge(goals.measure(goal, [])) for goal in GOALS} == {"not known"}


@pytest.mark.parametrize(
    ("timing", "expected"),
    [
        ({}, (math.nan, "")),
        ({"inference_s_per_image": 2.0}, (2.0, "wall clock")),
        ({"inference_s_per_image": 2.0, "inference_cpu_s_per_image": 1.5}, (1.5, "CPU")),
        ({"inference_cpu_s_per_image": 1.5, "vessels_cpu_s_per_image": 0.9}, (0.9, "CPU")),
    ],
)
def test_seconds_are_of_the_best_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timing: dict[str, float], expected: tuple[float, str]
) -> None:
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    value, clock = goals.seconds([made(tmp_path, timing)])
    assert (value, clock) == (pytest.approx(expected[0], nan_ok=True), expected[1])
    assert math.isnan(goals.seconds([made(tmp_path, timing, device="cuda")])[0])


def test_the_shipped_network_is_one_that_the_study_plans(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page finds it among the planned means by the record that its card names."""
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    cards = [json.loads(path.read_text()) for path in (repository / "retlib" / "weights").glob("*.json")]
    planned = {config.identify() for config in shipping.full_means("lite").values()}
    store = Store(repository / "book" / "records")
    assert cards
    assert all(card["record"] in planned and store.get(card["record"]) is not None for card in cards)
