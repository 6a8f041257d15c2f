"""Cross-dataset runs: what is planned, and their scores joined and compared on scores that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from retlib.data import split_names
from retlib.study import Store, check_parameters, open_study, results
from retlib.study.loader import load_study
from retlib.study.plan import PROFILES
from tests.study.made_records import write_record

PHANTOMS = "phantom"
SAME, OTHER = 0.82, 0.75  # in-domain and cross-dataset
GAINS = {"-after-phantoms": 0.01, "-colours": 0.02}


@pytest.fixture(autouse=True)
def _without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids follow from committed fingerprints: no file is hashed."""
    monkeypatch.delenv("RETLIB_DATA", raising=False)


def wobble(image: str) -> float:
    """Vary a little from image to image."""
    return (sum(map(ord, image)) % 17) / 1000


def dice(name: str, label: str, image: str) -> float:
    """Score a run on an image: higher in-domain, more so where an image is easy; 0.02 lower for a network of HRF."""
    trained = PHANTOMS if name == "phantoms" else name.split("-")[0]
    level = SAME if label.split(":")[0] == trained else OTHER - (0.02 if trained == "hrf" else 0)
    gain = next((gain for suffix, gain in GAINS.items() if name.endswith(suffix)), 0.0)
    return level + gain + wobble(image) * (2 if level == SAME else 1)


def fill(folder: Path, leave_out: tuple[str, ...] = (), seeds: tuple[int, ...] = (0,)) -> pd.DataFrame:
    """Make records of the lite profile and read their Dice; a network of seed k is k thousandths better."""
    for seed in seeds:
        for name, config in load_study("transfer").runs("lite", seed).items():
            if name not in leave_out:

                def score(label: str, image: str, _: str, name: str = name, seed: int = seed) -> float:
                    return dice(name, label, image) + seed / 1000

                write_record(Store(folder), config, score)
    scores = open_study("transfer", check_parameters({"records": str(folder), "seeds": list(seeds)})).scores()
    scores = scores[(scores["metric"] == "dice") & (scores["average"] == "image")]
    return scores.assign(test=scores["test"].str.split(":").str[0])


def cell(scores: pd.DataFrame, group: str, test: str) -> pd.DataFrame:
    return scores[(scores["group"] == group) & (scores["test"] == test)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RETLIB_DATA", raising=False)
        return fill(tmp_path_factory.mktemp("records"))


# --- the study ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
def test_the_recipe_is_the_one_of_the_comparison(profile: str) -> None:
    protocol = load_study("one-protocol").runs(profile, dataset="drive")["drive-unet"]
    for name, config in load_study("transfer").runs(profile).items():
        changed = {"augmentation": "colour"} if name.endswith("-colours") else {}
        assert config.training == protocol.training.model_copy(update=changed), name
        assert (config.model, config.model_options) == (protocol.model, protocol.model_options), name
        assert config.inputs == protocol.inputs, name  # DRIVE's working size for all sets
        assert (config.scoring, config.inference) == (protocol.scoring, protocol.inference), name
        assert config.validation == protocol.validation, name


@pytest.mark.parametrize("profile", ["lite", "paper"])
def test_every_set_is_scored_by_every_network_and_its_own_comes_first(profile: str) -> None:
    study = load_study("transfer")
    planned = study.plan(profile)
    for name, config in study.runs(profile).items():
        tested = [selection.dataset for selection in config.test]
        own = planned[name].dataset
        if planned[name].role == "fold":
            assert tested == ["stare"]
        elif own == "stare":
            assert sorted(tested) == ["chase_db1", "drive", "hrf"]
        else:
            assert tested[0] == own and set(tested) - {PHANTOMS} == {"drive", "chase_db1", "stare", "hrf"}
        if config.pretraining is not None:
            assert config.pretraining.train.dataset == PHANTOMS
            twin = study.runs(profile)[name.removesuffix("-after-phantoms")]
            assert config.model_copy(update={"pretraining": None}) == twin
        if name.endswith("-colours"):
            twin = study.runs(profile)[name.removesuffix("-colours")]
            assert config.model_copy(update={"training": twin.training}) == twin


def test_the_scored_part_of_hrf_has_two_of_each_class() -> None:
    config = load_study("transfer").runs("lite")["hrf"]
    names = config.test[0].names()
    assert sorted(name.split("_")[1] for name in names) == ["dr", "dr", "g", "g", "h", "h"]
    assert set(names) <= set(split_names("hrf", "test"))


def test_folds_cover_stare_once_without_their_own_training_images() -> None:
    runs = load_study("transfer").runs("lite")
    for suffix in ("", *GAINS):
        folds = [runs[f"stare-fold{k}{suffix}"] for k in range(1, 6)]
        scored = [name for config in folds for name in config.test[0].names()]
        assert sorted(scored) == sorted(split_names("stare", "all"))


# --- scores ------------------------------------------------------------------------------------------------------


def test_every_cell_is_there(whole: pd.DataFrame) -> None:
    assert whole["record"].nunique() == 28 and whole["complete"].all() and whole["group"].nunique() == 13
    assert whole.groupby(["group", "test"]).ngroups == 13 * 4 + 1  # and synthetic images for the network of them
    assert len(results.summarise(whole, by=["group", "test"])) == 13 * 4 + 1


def test_folds_are_joined_image_by_image(whole: pd.DataFrame) -> None:
    scores = results.matrix(cell(whole, "stare", "stare"))
    assert list(scores) == sorted(split_names("stare", "all")) and scores.shape == (1, 20)
    expected = [SAME + 2 * wobble(image) for image in scores]
    assert scores.to_numpy()[0] == pytest.approx(expected)
    ours = results.measure(cell(whole, "stare", "stare"))
    assert ours.value == pytest.approx(np.mean(expected)) and ours.low < ours.value < ours.high


def test_a_missing_fold_leaves_the_folds_incomplete_and_not_the_whole(tmp_path: Path) -> None:
    scores = fill(tmp_path, leave_out=("stare-fold3", "stare-colours"))
    assert not cell(scores, "stare", "stare")["complete"].any()
    assert cell(scores, "stare", "drive")["complete"].all()
    assert cell(scores, "stare-colours", "stare")["complete"].all()


def test_cross_dataset_is_paired_with_in_domain_whether_in_folds_or_not(whole: pd.DataFrame) -> None:
    for test in ("chase_db1", "stare"):
        inside, across = cell(whole, test, test), cell(whole, "drive", test)
        change = results.difference(inside, across)
        first, second = (results.matrix(rows).to_numpy()[0] for rows in (inside, across))
        assert change.value == pytest.approx(np.mean(second - first)) and change.low < change.value < change.high < 0
    with pytest.raises(ValueError, match="same images"):
        results.difference(cell(whole, "drive", "drive"), cell(whole, "chase_db1", "chase_db1"))


def test_a_changed_training_is_paired_with_the_same_without(whole: pd.DataFrame) -> None:
    for suffix, gain in GAINS.items():
        for trained in ("drive", "stare"):
            for test in ("drive", "chase_db1", "stare", "hrf"):
                change = results.difference(cell(whole, trained, test), cell(whole, trained + suffix, test))
                assert (change.value, change.low, change.high) == pytest.approx((gain, gain, gain))


def test_seeds_are_rows_of_a_cell(tmp_path: Path) -> None:
    scores = results.matrix(cell(fill(tmp_path, seeds=(0, 1)), "stare", "stare"))
    assert scores.shape == (2, 20) and np.diff(scores, axis=0) == pytest.approx(0.001)
