"""Our own networks beside the board: which they are, that nothing ranks or tests them, and goals met or missed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from retlib.comparison import (
    Comparison,
    Goal,
    goal_table,
    list_goals,
    measured_peer,
    network_tests,
    own,
    own_networks,
    pages,
    per_image_values,
)
from retlib.report import Parameters
from retlib.studies import load_study
from retlib.study import Record, RunConfig, Store
from tests.report.made_records import write_record

LEVELS = {"dice": 0.83, "auc": 0.982, "cldice": 0.85, "betti0_error": 57.0, "recall_thin": 0.6}


def made(store: Store, config: RunConfig, timing: dict[str, float], **levels: float) -> Record:
    """A record with one value for all images, and times."""
    record = write_record(store, config, lambda _, __, metric: (LEVELS | levels)[metric])
    return amended(record, timing=timing, environment={"device": "cpu"})


def amended(record: Record, **changes: Any) -> Record:
    file = record.folder / "record.json"
    file.write_text(json.dumps(record.content | changes), encoding="utf-8")
    return Store(record.folder.parent).get(record.id)


@pytest.fixture
def opened(tmp_path: Path) -> Comparison:
    return Comparison(load_study("one-protocol"), Parameters(profile="lite"), Store(tmp_path))


@pytest.fixture
def runs(opened: Comparison) -> dict[str, RunConfig]:
    return opened.study.runs("lite", 0, dataset="drive")


def add_mean(opened: Comparison, identity: str, members: list[str], **config: Any) -> Record:
    """A record as `retlib.study.run_mean` leaves it: that of a run, with members."""
    first = opened.store.get(members[0])
    folder = opened.store.path / identity
    folder.mkdir()
    for file in first.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    content = first.content | {"id": identity, "members": members, "config": first.content["config"] | config}
    return amended(Record(folder, first.content), **content)


def test_all_are_listed_and_the_one_that_ships_comes_first(
    opened: Comparison, runs: dict[str, RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [name for name, planned in opened.study.plan("lite").items() if planned.role == "control"]
    listed = own_networks(opened)
    assert [f"drive-{item.key}" for item in listed] == names and not any(listed)  # none has been run
    records = [made(opened.store, runs[name], {"inference_s_per_image": 1.5}) for name in names]
    stranger = made(opened.store, runs["drive-unet"], {})
    add_mean(opened, "a" * 16, [record.id for record in records], storage="float16")
    add_mean(opened, "b" * 16, [records[0].id, stranger.id])  # with a network of the comparison: none of ours
    monkeypatch.setattr(own, "shipped_records", lambda: frozenset({"a" * 16}))
    listed = own_networks(opened)
    mean = f"mean of {' and '.join(name.removeprefix('drive-') for name in names)}, 16-bit weights"
    assert [item.key for item in listed] == [mean, *(name.removeprefix("drive-") for name in names)]
    assert listed[0].title == f"our network that ships: {mean}" and listed[1].title.startswith("our network: ")
    assert all(item.kind == "own" and "longer recipe, not ranked" in item.evidence for item in listed)
    told = own.abouts(opened, listed)
    assert list(told) == [item.key for item in listed[1:]] and all(told.values())


def test_means_of_one_name_are_told_apart(opened: Comparison, runs: dict[str, RunConfig]) -> None:
    record = made(opened.store, runs["drive-unet-chosen"], {})
    for letter in "cd":
        add_mean(opened, letter * 16, [record.id])
    keys = [item.key for item in own_networks(opened) if item]
    assert keys == ["unet-chosen", "unet-chosen, cccccc", "unet-chosen, dddddd"]
    assert own.mean_key(["a", "b", "c"], {"amp_cpu": True}) == "mean of a, b and c, bfloat16"


def test_they_are_in_no_ranking_and_in_no_test(opened: Comparison, runs: dict[str, RunConfig]) -> None:
    for name in ("drive-unet", "drive-segnet", "drive-unet-chosen"):
        made(opened.store, runs[name], {}, dice=0.9 if name.endswith("chosen") else 0.8)
    drive, ours = opened.contenders()["drive"], own_networks(opened)
    assert not [item for item in drive if item.kind == "own"]
    for items in (drive, [*drive, *ours]):
        assert set(per_image_values(items)) == {"U-Net", "SegNet"}
        assert len(network_tests(items)) == 1


def test_the_board_shows_them_last_with_the_measured_peer(
    opened: Comparison, runs: dict[str, RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    made(opened.store, runs["drive-unet"], {"inference_cpu_s_per_image": 0.25})
    made(opened.store, runs["drive-unet-chosen"], {"inference_cpu_s_per_image": 0.75}, dice=0.95)
    shown: list[pd.DataFrame] = []
    monkeypatch.setattr(pages, "style", lambda frame, caption: shown.append(frame.set_index("row")))
    pages.show_boards("drive", opened.contenders()["drive"], own_networks(opened))
    pixels, structure = shown
    for frame in shown:
        assert frame.index[0] == "U-Net" and frame.index[-1] == measured_peer().label
        assert "our network" in frame.index[-2] and "not ranked" in frame["evidence"].iloc[-1]
    peer = measured_peer().scores["drive"]
    assert pixels["Dice"].iloc[-1] == peer["dice"] and structure["Betti-0 error"].iloc[-1] == peer["betti0_error"]
    assert structure["CPU s an image"].dropna().tolist() == ["0.25", "0.75"]
    shown.clear()
    pages.show_boards("drive", opened.contenders()["drive"])
    assert measured_peer().label not in shown[0].index


def test_the_shipped_card_names_the_record(repository: Path) -> None:
    cards = [json.loads(path.read_text()) for path in (repository / "retlib" / "weights").glob("*.json")]
    assert own.shipped_records() == {card["record"] for card in cards} and cards
    store = Store(repository / "book" / "records")
    assert all(store.get(identity) is not None for identity in own.shipped_records())


# --- goals -------------------------------------------------------------------------------------------------------


def test_goals_are_judged_unrounded_and_bounds_are_inside() -> None:
    dice, pieces = Goal(metric="dice", at_least=0.829), Goal(metric="betti0_error", at_most=57)
    assert [dice.judge(value) for value in (0.829, 0.82899, math.nan)] == ["met", "missed", "not known"]
    assert [pieces.judge(value) for value in (57.0, 57.05)] == ["met", "missed"]
    assert (dice.text, pieces.text) == ("at least 0.829", "at most 57")
    for bounds in ({}, {"at_least": 1.0, "at_most": 2.0}):
        with pytest.raises(ValueError, match="one of at_least and at_most"):
            Goal(metric="dice", **bounds)


def test_the_goals_are_those_that_were_set() -> None:
    goals = {(goal.metric, goal.average): goal.text for goal in list_goals()}
    assert set(goals) == {
        ("dice", "image"),
        ("auc", "image"),
        ("auc", "pooled"),
        ("cldice", "image"),
        ("betti0_error", "image"),
        ("seconds", "image"),
    }
    assert all(
        text.startswith("at most") == (metric in ("betti0_error", "seconds")) for (metric, _), text in goals.items()
    )


def test_table_and_sentence_say_met_or_missed(opened: Comparison, runs: dict[str, RunConfig]) -> None:
    record = made(opened.store, runs["drive-unet-chosen"], {"inference_s_per_image": 1.5}, auc=0.9)
    (item,) = [item for item in own_networks(opened) if item]
    table = goal_table([item]).set_index("score")
    peer = measured_peer()
    assert (
        table.loc["Dice", item.title] == "0.8300, met" and table.loc["Dice", peer.label] == peer.scores["drive"]["dice"]
    )
    assert table.loc["AUC", item.title] == "0.9000, missed"
    assert table.loc["AUC of all pixels pooled", peer.label] == peer.pooled["drive"]["auc"]
    assert table.loc["Betti-0 error", item.title] == "57.0, met"
    assert table.loc["seconds an image", item.title] == "1.50 by the wall clock, missed"
    assert pd.isna(table.loc["seconds an image", peer.label])
    (sentence,) = own.own_sentences([item])
    assert sentence.count(": met)") == sentence.count(": missed)") == 3 and peer.label in sentence
    pooled = record.content["tests"]["drive:test"]["metrics"]["fov"]
    pooled["pooled"] = pooled["pooled"] | {"auc": 0.9813}
    amended(record)
    (item,) = [item for item in own_networks(opened) if item]
    assert goal_table([item]).set_index("score").loc["AUC of all pixels pooled", item.title] == "0.9813, met"


@pytest.mark.parametrize(
    ("timing", "expected"),
    [
        ({}, (math.nan, "")),
        ({"inference_s_per_image": 2.0}, (2.0, "by the wall clock")),
        ({"inference_s_per_image": 2.0, "inference_cpu_s_per_image": 1.5}, (1.5, "of CPU")),
        ({"inference_cpu_s_per_image": 1.5, "vessels_cpu_s_per_image": 0.9}, (0.9, "of CPU")),
    ],
)
def test_seconds_are_of_the_best_clock_there_is(
    opened: Comparison, runs: dict[str, RunConfig], timing: dict[str, float], expected: tuple[float, str]
) -> None:
    made(opened.store, runs["drive-unet-chosen"], timing)
    (item,) = [item for item in own_networks(opened) if item]
    assert own.seconds(item) == pytest.approx(expected, nan_ok=True) if timing == {} else own.seconds(item) == expected


def test_what_has_not_been_run_is_a_dash_and_no_sentence(opened: Comparison) -> None:
    listed = own_networks(opened)
    assert goal_table(listed)[listed[0].title].isna().all() and own.own_sentences(listed) == []
