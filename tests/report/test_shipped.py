"""Which network ships: candidates that see training images alone, and the rule on records whose scores are known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retlib.data import split_names
from retlib.report import shipped
from retlib.report.shipped import CANDIDATES, VARIANTS
from retlib.study import Store
from retlib.study.parameters import Parameters
from tests.report.made_records import write_record

GOOD = {"bytes": 1_900_000, "seconds": 0.5}
LOW = dict.fromkeys(CANDIDATES, 0.7)


@pytest.fixture(autouse=True)
def _without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids follow from committed fingerprints: no file is hashed."""
    monkeypatch.delenv("RETLIB_DATA", raising=False)


def shortlist(folder: Path, dice: dict[str, float], **changes: dict[str, float]) -> shipped.Shortlist:
    """Records with this Dice; ``changes``: name -> bytes and seconds, where they are not `GOOD`."""
    store, configs = Store(folder), shipped.held_out_means("lite")
    for name, level in dice.items():
        record = write_record(store, configs[name], lambda _, __, metric, level=level: level)
        content, costs = record.content, GOOD | changes.get(name, {})
        content["model"]["bytes"] = costs["bytes"]
        content["timing"] = {"vessels_cpu_s_per_image": costs["seconds"]}
        (record.folder / "record.json").write_text(json.dumps(content))
    return shipped.read_shortlist(store)


def test_no_candidate_sees_a_test_image() -> None:
    test = set(split_names("drive", "test"))
    for profile in ("lite", "paper"):
        for config in shipped.held_out_means(profile).values():
            seen = {name for selection in (config.train, *config.test) for name in selection.names()}
            assert seen and not seen & test


def test_every_candidate_takes_four_passes() -> None:
    configs = shipped.held_out_means("smoke")
    assert list(configs) == [*CANDIDATES, *VARIANTS]
    assert {sum(len(part.seen) for part in configs[name].inference) for name in CANDIDATES} == {4}
    assert len({config.identify() for config in configs.values()}) == len(configs)


def test_what_ships_differs_from_what_was_chosen_in_its_images_and_steps_alone() -> None:
    for name in CANDIDATES:
        full, chosen = shipped.full_mean(name), shipped.held_out_means("lite")[name]
        assert set(full.test[0].names()) == set(split_names("drive", "test"))
        assert full.train.label == "drive:training"
        for one, other in zip(full.members, chosen.members, strict=True):
            same = {"train": other.train, "test": other.test}
            same["training"] = one.training.model_copy(update={"epochs": other.training.epochs})
            assert one.model_copy(update=same).canonical() == other.canonical()
        same = {"members": chosen.members}
        assert full.model_copy(update=same).canonical() == chosen.canonical()
    with pytest.raises(ValueError, match="unknown candidate 'median'; known: large, small, mean, two small"):
        shipped.full_mean("median")
    with pytest.raises(ValueError, match="profile 'paper' has no run"):
        shipped.full_mean("mean", "paper")


@pytest.mark.parametrize(
    ("dice", "changes", "taken"),
    [
        (LOW | {"large": 0.80, "small": 0.82, "mean": 0.81}, {}, "small"),
        (LOW | {"large": 0.80, "small": 0.80, "mean": 0.81}, {}, "mean"),
        (LOW | {"small": 0.80, "two small": 0.81}, {}, "two small"),
        (LOW | {"large": 0.80, "small": 0.82, "mean": 0.83}, {"mean": {"bytes": 2_000_001}}, "small"),
        (LOW | {"large": 0.80, "small": 0.82, "mean": 0.83}, {"mean": {"bytes": 2_000_000, "seconds": 0.99}}, "mean"),
        (
            LOW | {"large": 0.80, "small": 0.82, "mean": 0.83},
            {"mean": {"seconds": 1}, "small": {"seconds": 3}},
            "large",
        ),
        (LOW | {"large": 0.80, "small": 0.82, "mean": 0.81} | dict.fromkeys(VARIANTS, 0.9), {}, "small"),
        ({"large": 0.80, "small": 0.82, "two small": 0.81}, {}, None),
        (dict.fromkeys(CANDIDATES, 0.8), {name: {"seconds": 1.5} for name in CANDIDATES}, None),
    ],
)
def test_the_rule(tmp_path: Path, dice: dict[str, float], changes: dict, taken: str | None) -> None:
    found = shortlist(tmp_path, dice, **changes)
    assert found.taken == taken
    frame = shipped.candidate_frame(found).set_index("network")
    assert list(frame.index) == [*CANDIDATES, *VARIANTS]
    assert [name for name in frame.index if frame.loc[name, "the rule"] == "taken"] == ([taken] if taken else [])
    slow = {name for name in dice if name in CANDIDATES and not shipped.fits(found.records[name])}
    assert set(frame.index[frame["the rule"] == "too large or too slow"]) == slow
    for name, value in dice.items():
        assert frame.loc[name, "Dice"] == f"{value:.4f}"
    sentence = shipped.shipped_sentence(found)
    if taken:
        assert f"takes **{taken}**, with a Dice of {dice[taken]:.4f} on 4 held-out images" in sentence
    elif "mean" not in dice:
        assert sentence == "The rule takes nothing yet: no record of mean."
    else:
        assert sentence == "The rule takes nothing: no candidate fits into 2 MB and 1 s."


def test_an_empty_store_is_said_to_be_empty(tmp_path: Path) -> None:
    found = shipped.open_shortlist(Parameters(records=str(tmp_path)))
    assert found.profile == "lite" and found.taken is None
    frame = shipped.candidate_frame(found)
    assert frame.drop(columns=["network", "passes", "the rule"]).isna().all(axis=None)
    assert not list(tmp_path.glob("*"))


def test_weights_that_are_gone_are_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of the members alone do not make a mean; afterwards nothing is trained that is there."""
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "cache"))
    parameters = Parameters(profile="smoke", records=str(tmp_path / "records"), device="cpu", train="missing")
    found = shipped.open_shortlist(parameters)
    assert None not in found.records.values() and found.taken in CANDIDATES
    assert len(Store(tmp_path / "records")) == len(CANDIDATES) + len(VARIANTS) + 3  # and the members
    for path in (tmp_path / "cache" / "weights").iterdir():
        path.unlink()
    trained = []
    original = shipped.run
    monkeypatch.setattr(shipped, "run", lambda config, *a, **kw: trained.append(config) or original(config, *a, **kw))
    assert shipped.open_shortlist(parameters).taken == found.taken and not trained
    (tmp_path / "records" / found.records["mean"].id).rename(tmp_path / "moved")
    again = shipped.open_shortlist(parameters)
    assert len(trained) == 2
    assert again.records["mean"].content["tests"] == found.records["mean"].content["tests"]
