"""The model card says of the shipped network what its card, its record and the plans say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from retlib.predict.weights import package_folder
from retlib.study.loader import load_study
from tests.notebooks.in_process import RECORDS, ROOT, run_script

CARD = json.loads(next(package_folder().glob("*.json")).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page() -> tuple[dict, str]:
    return run_script("model_card", RECORDS)


def test_the_card_is_that_of_the_weights(page: tuple) -> None:
    names, shown = page
    facts = names["facts"]
    assert facts["SHA-256 of the weights"] == CARD["sha256"] and CARD["run"] in facts["made by"]
    assert facts["parameters"].replace(" ", "") == str(CARD["parameters"])
    assert facts["threshold"].startswith(f"{CARD['threshold']:.4f}, {CARD['threshold_from']}")
    assert f"> {CARD['licence']}" in shown
    assert f"trained on {sum(map(len, CARD['trained_on'].values()))} photographs of" in shown


def test_the_run_that_trained_it_is_planned_and_named(page: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    names, shown = page
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    config = load_study("shipped").config(names["trained"], "lite")
    assert config.identify() == CARD["run"]
    trained_on = {selection.label: list(selection.names()) for selection in (config.train, *config.also)}
    assert trained_on == CARD["trained_on"]
    record = json.loads((RECORDS / CARD["run"] / "record.json").read_text())
    assert record["threshold"] == CARD["threshold"]
    assert f"{record['timing']['training_cpu_s'] / 60:.0f} minutes of one core" in shown
    assert f"python -m retlib.study.ship {CARD['run']} --name {CARD['name']}" in shown


def test_it_was_trained_as_the_siblings_that_chose_it(page: tuple) -> None:
    """Same settings but for the number of steps; none saw the data set that it is scored on."""
    names, _ = page
    plan, same = load_study("cameras").runs("lite"), names["same"]
    assert len(names["like"]) == 4
    for name in names["like"]:
        config = plan[name]
        assert (config.model, config.model_options, config.inputs) == (same.model, same.model_options, same.inputs)
        assert config.training.model_copy(update={"epochs": same.training.epochs}) == same.training
        assert (config.pretraining is None) == (same.pretraining is None)
        assert config.inference.model_copy(update={"amp_cpu": same.inference.amp_cpu}) == same.inference


def test_what_ships_is_what_the_study_takes(page: tuple) -> None:
    """The change with the highest mean, and the threshold with the highest mean of those that need no labels."""
    chosen, _ = run_script("cameras", RECORDS)
    changes = {chosen["CHANGES"].get(name.split("-")[-1], chosen["BASE"]) for name in page[0]["like"]}
    assert changes == {chosen["taken"]}
    assert (chosen["threshold"] == "of the training images") == ("training images" in CARD["threshold_from"])


def test_its_scores_are_those_of_its_record(page: tuple) -> None:
    record = json.loads((RECORDS / CARD["run"] / "record.json").read_text())
    names = page[0]
    assert set(names["tested"]) == {label.split(":")[0] for label in record["tests"]}
    for label, test in record["tests"].items():
        means = names["means"].loc[label.split(":")[0]]
        for metric in ("dice", "sensitivity", "precision", "auc", "betti0_error", "recall_thin"):
            values = test["per_image"]["fov"][metric]
            assert means.loc[metric, "value"] == pytest.approx(sum(values) / len(values))
            assert means.loc[metric, "low"] < means.loc[metric, "value"] < means.loc[metric, "high"]
        dice = dict(zip(test["images"], test["per_image"]["fov"]["dice"], strict=True))
        assert names["images"][label.split(":")[0]]["dice"].idxmin() == min(dice, key=dice.get)


def test_cameras_not_seen_are_scored_by_the_siblings(page: tuple) -> None:
    names, shown = page
    unseen = [title for title in names["by_image"] if "not seen" in title]
    assert len(unseen) == 4
    worst = [names["by_image"][title].index[0] for title in unseen]
    assert all(name in shown for name in worst)


def test_it_says_what_it_is_not_for() -> None:
    text = re.sub(r"\n# ", " ", (ROOT / "notebooks" / "model_card.py").read_text(encoding="utf-8"))
    for words in ("Not for** diagnosis", "no medical device", "was not measured", "CC BY 4.0"):
        assert words in text


def test_without_records_there_are_gaps_and_no_scores(tmp_path: Path) -> None:
    names, shown = run_script("model_card", tmp_path)
    assert "No record yet" in shown and "nan" not in shown.lower().split() and "Dice 0." not in shown
    assert names["means"].empty and not names["by_image"]
    assert not list(tmp_path.iterdir())
