"""The model card says of the shipped network what its card, its record and the plans say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pairing
import pytest

from retlib.data import split_names
from retlib.predict.weights import package_folder
from retlib.study.rules import shipping

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "book" / "records"
CARD = json.loads(next(package_folder().glob("*.json")).read_text(encoding="utf-8"))


def execute(records: Path) -> tuple[dict, str]:
    """Run the notebook's code in this process: its names, and what it shows by `display`."""
    shown: list[str] = []

    def show(value: object, display_id: bool | None = None) -> object:
        shown.append(value.data)
        return type("Handle", (), {"update": staticmethod(show)})

    names: dict = {}
    script = (ROOT / "notebooks" / "model_card.py").read_text(encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RETLIB_DATA", raising=False)  # ids follow from committed fingerprints
        patch.setattr("IPython.display.display", show)
        patch.setattr(plt, "show", lambda: plt.close("all"))
        for cell in pairing.read_script(script).cells[1:]:
            if cell.cell_type == "code":
                exec(cell.source, names)
            if "parameters" in cell.metadata.get("tags", []):
                names["records"] = str(records)
    return names, "\n".join(shown)


@pytest.fixture(scope="module")
def page() -> tuple[dict, str]:
    return execute(RECORDS)


def test_the_card_is_that_of_the_weights(page: tuple) -> None:
    names, shown = page
    facts = names["facts"]
    assert facts["SHA-256 of the weights"] == CARD["sha256"] and CARD["record"] in facts["made by"]
    assert facts["parameters"].replace(" ", "") == str(CARD["parameters"])
    assert facts["threshold"].startswith(f"{CARD['threshold']:.4f}, {CARD['threshold_from']}")
    assert f"> {CARD['licence']}" in shown
    assert f"{len(split_names('drive', 'training'))} photographs of DRIVE" in shown


def test_the_run_that_trained_it_is_named(page: tuple) -> None:
    names, shown = page
    assert names["trained"] == shipping.FULL[names["taken"]]
    minutes = json.loads((RECORDS / CARD["run"] / "record.json").read_text())["timing"]["training_s"] / 60
    assert f"{minutes:.0f} minutes" in shown
    assert f"python -m retlib.study.ship {CARD['record']} --name {CARD['name']}" in shown


def test_its_scores_are_those_of_its_record(page: tuple) -> None:
    record = json.loads((RECORDS / CARD["record"] / "record.json").read_text())
    test = record["tests"]["drive:test"]
    means, images = page[0]["means"], page[0]["images"]
    for metric in ("dice", "sensitivity", "precision", "auc", "betti0_error", "recall_thin"):
        values = test["per_image"]["fov"][metric]
        assert means.loc[metric, "value"] == pytest.approx(sum(values) / len(values))
        assert means.loc[metric, "low"] < means.loc[metric, "value"] < means.loc[metric, "high"]
    dice = dict(zip(test["images"], test["per_image"]["fov"]["dice"], strict=True))
    worst = min(dice, key=dice.get)
    assert images["dice"].idxmin() == worst == test["cases"]["worst"]["image"]
    assert f"{worst}, with a Dice of {dice[worst]:.4f}" in page[1]


def test_other_cameras_are_scored_by_the_sibling_alone(page: tuple) -> None:
    names, shown = page
    boards = names["boards"]["value"].xs("dice", level="metric")
    assert set(boards["shipped"].index) == {"drive:test"}
    sets = {test.split(":")[0] for test in boards["sibling"].index}
    assert sets == {"drive", "chase_db1", "stare", "hrf"}
    home = boards["sibling", "drive:test"]
    assert names["losses"]["STARE"] == pytest.approx(home - boards["sibling", "stare:all"])
    worst = [values.index[0] for values in names["by_image"].values()]
    assert len(worst) == 5 and all(name in shown for name in worst)


def test_it_says_what_it_is_not_for() -> None:
    text = re.sub(r"\n# ", " ", (ROOT / "notebooks" / "model_card.py").read_text(encoding="utf-8"))
    for words in ("Not for** diagnosis", "no medical device", "was not measured", "CC BY 4.0"):
        assert words in text


def test_without_records_there_are_gaps_and_no_scores(tmp_path: Path) -> None:
    names, shown = execute(tmp_path)
    assert "No record yet" in shown and "nan" not in shown.lower().split() and "Dice 0." not in shown
    assert names["means"]["value"].isna().all() and names["taken"] is None
    assert not list(tmp_path.iterdir())
