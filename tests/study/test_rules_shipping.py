"""Which network ships: candidates that see training images alone, and the rule on scores that are known."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from retlib.data import split_names
from retlib.study import Store
from retlib.study.rules import shipping
from retlib.study.rules.shipping import CANDIDATES, VARIANTS

LOW = dict.fromkeys(CANDIDATES, 0.7)


@pytest.fixture(autouse=True)
def _without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids follow from committed fingerprints: no file is hashed."""
    monkeypatch.delenv("RETLIB_DATA", raising=False)


def test_no_candidate_sees_a_test_image() -> None:
    test = set(split_names("drive", "test"))
    for profile in ("lite", "paper"):
        for config in shipping.held_out_means(profile).values():
            seen = {name for selection in (config.train, *config.test) for name in selection.names()}
            assert seen and not seen & test


def test_every_candidate_takes_four_passes() -> None:
    configs = shipping.held_out_means("smoke")
    assert list(configs) == [*CANDIDATES, *VARIANTS]
    assert {sum(len(part.seen) for part in configs[name].inference) for name in CANDIDATES} == {4}
    assert len({config.identify() for config in configs.values()}) == len(configs)


def test_what_ships_differs_from_what_was_chosen_in_its_images_and_steps_alone() -> None:
    full_means, held_out = shipping.full_means("lite"), shipping.held_out_means("lite")
    assert list(full_means) == list(CANDIDATES)
    for name, full in full_means.items():
        chosen = held_out[name]
        assert set(full.test[0].names()) == set(split_names("drive", "test"))
        assert full.train.label == "drive:training"
        for one, other in zip(full.members, chosen.members, strict=True):
            same = {"train": other.train, "test": other.test}
            same["training"] = one.training.model_copy(update={"epochs": other.training.epochs})
            assert one.model_copy(update=same).canonical_json() == other.canonical_json()
        same = {"members": chosen.members}
        assert full.model_copy(update=same).canonical_json() == chosen.canonical_json()
    assert shipping.full_means("paper") == {}  # this profile does not have the runs


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
        ({}, {}, None),
    ],
)
def test_the_rule(dice: dict[str, float], changes: dict, taken: str | None) -> None:
    """``changes``: name -> bytes and seconds, where they are not those of a small and quick network."""
    good = {"bytes": 1_900_000, "seconds": 0.5}
    lines = {name: {"dice": value} | good | changes.get(name, {}) for name, value in dice.items()}
    candidates = pd.DataFrame.from_dict(lines, orient="index", columns=["dice", "bytes", "seconds"])
    assert shipping.take(candidates) == taken


def test_weights_that_are_gone_are_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of the members alone do not make a mean; afterwards nothing is trained that is there."""
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "cache"))
    store = Store(tmp_path / "records")
    shipping.make_records(store, "smoke", device="cpu")
    assert len(store) == len(CANDIDATES) + len(VARIANTS) + 3  # and the members
    mean = store.find(shipping.held_out_means("smoke")["mean"])
    for path in (tmp_path / "cache" / "weights").iterdir():
        path.unlink()
    trained = []
    original = shipping.run
    monkeypatch.setattr(shipping, "run", lambda config, *a, **kw: trained.append(config) or original(config, *a, **kw))
    shipping.make_records(store, "smoke", device="cpu")
    assert not trained
    mean.folder.rename(tmp_path / "moved")
    shipping.make_records(store, "smoke", device="cpu")
    assert len(trained) == 2
    assert store.find(shipping.held_out_means("smoke")["mean"]).content["tests"] == mean.content["tests"]
