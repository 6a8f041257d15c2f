"""Transfer between data sets on scores that are known: folds joined, pairs by image, gaps where nobody has run."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from retlib.comparison import open_comparison
from retlib.data import split_names
from retlib.report import transfer, transfer_figures, transfer_frames
from retlib.report.transfer import PHANTOMS, Change, Training, Transfer
from retlib.studies import load_study
from retlib.study import Store, statistics
from retlib.study.baselines import baseline_of
from retlib.study.parameters import Parameters
from retlib.study.plan import PROFILES
from tests.report.made_records import write_record

HOME, AWAY = 0.82, 0.75
WORST = "hrf"  # a network of it is worse than any other away from home
GAINS = {"-after-phantoms": 0.01, "-colours": 0.02}


@pytest.fixture(autouse=True)
def _without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids follow from committed fingerprints: no file is hashed."""
    monkeypatch.delenv("RETLIB_DATA", raising=False)


def wobble(image: str) -> float:
    """Something small that differs from image to image."""
    return (sum(map(ord, image)) % 17) / 1000


def dice(name: str, label: str, image: str) -> float:
    """The score of a run on an image: home is better than away, less so where an image is harder."""
    trained = "phantom" if name == "phantoms" else name.split("-")[0]
    level = HOME if label.split(":")[0] == trained else AWAY - (0.02 if trained == WORST else 0)
    gain = next((gain for suffix, gain in GAINS.items() if name.endswith(suffix)), 0.0)
    return level + gain + wobble(image) * (2 if level == HOME else 1)


def fill(folder: Path, leave_out: tuple[str, ...] = (), seeds: tuple[int, ...] = (0,)) -> Transfer:
    """Records of the lite profile; a network of seed k is k thousandths better."""
    store, study = Store(folder), load_study("transfer")
    for seed in seeds:
        for name, config in study.runs("lite", seed).items():
            if name not in leave_out:
                write_record(
                    store, config, lambda label, image, _, name=name, seed=seed: dice(name, label, image) + seed / 1000
                )
    parameters = Parameters(records=str(folder), seeds=seeds)
    return transfer.open_transfer(parameters)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Transfer:
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


# --- cells -------------------------------------------------------------------------------------------------------


def test_every_cell_is_there(whole: Transfer) -> None:
    assert whole.profile == "lite" and whole.runs == (28, 28)
    assert whole.datasets == ("drive", "chase_db1", "stare", "hrf")
    assert len(whole.trainings) == 13 and whole.trainings[-1] == Training(PHANTOMS)
    assert all(whole.cell(row, column) is not None for row in whole.trainings for column in whole.datasets)
    assert whole.cell(Training(PHANTOMS), PHANTOMS) is not None
    assert whole.name(Training("drive", Change.PHANTOMS_FIRST)) == "phantoms, then DRIVE"
    assert whole.name(Training("drive", Change.COLOURS)) == "DRIVE, colours changed"


def test_folds_are_joined_image_by_image(whole: Transfer) -> None:
    cell = whole.own("stare")
    assert cell.images == tuple(sorted(split_names("stare", "all")))
    assert len(cell.parts) == 5 and cell.per_image("dice").shape == (1, 20)
    expected = [HOME + 2 * wobble(image) for image in cell.images]
    assert cell.per_image("dice")[0] == pytest.approx(expected)
    assert cell.value("dice") == pytest.approx(np.mean(expected))
    low, high = cell.interval("dice")
    assert low < cell.value("dice") < high


def test_a_missing_fold_leaves_the_cell_open(tmp_path: Path) -> None:
    found = fill(tmp_path, leave_out=("stare-fold3", "hrf"))
    assert found.own("stare") is None and found.own("hrf") is None
    assert found.cell(Training("drive"), "stare") is not None
    frame = transfer_frames.matrix_frame(found, "dice").set_index("trained on")
    assert pd.isna(frame.loc["STARE", "tested on STARE"])
    assert frame.loc["STARE", "tested on DRIVE"].startswith("0.7")
    assert frame.loc["HRF"].isna().all()
    pairs = transfer_frames.losses(found)
    assert sum(pair.dice is None for pair in pairs) == 3 + 3 + 2  # to STARE, to HRF, from HRF to the other two
    assert "over 4 of 12 pairs" in transfer_frames.findings(found)[1]


def test_seeds_are_rows_of_a_cell(tmp_path: Path) -> None:
    found = fill(tmp_path, seeds=(0, 1))
    assert found.own("drive").per_image("dice").shape == (2, 20)
    assert np.diff(found.own("drive").per_image("dice"), axis=0) == pytest.approx(0.001)


# --- differences -------------------------------------------------------------------------------------------------


def test_a_difference_is_paired_and_tested(whole: Transfer) -> None:
    away, home = whole.cell(Training("drive"), "chase_db1"), whole.own("chase_db1")
    first, second = home.per_image("dice")[0], away.per_image("dice")[0]
    found = transfer.difference(away, home, "dice")
    assert found.mean == pytest.approx(np.mean(second - first)) and found.mean < 0
    assert found.low < found.mean < found.high
    assert found.p == pytest.approx(stats.wilcoxon(second - first).pvalue)
    with pytest.raises(ValueError, match="same images"):
        transfer.difference(whole.own("drive"), home, "dice")


def test_pairs_and_their_correction(whole: Transfer) -> None:
    losses = transfer_frames.losses(whole)
    assert len(losses) == 12 and len({(pair.training, pair.tested) for pair in losses}) == 12
    for change, gain in zip((Change.PHANTOMS_FIRST, Change.COLOURS), GAINS.values(), strict=True):
        gains = transfer_frames.gains(whole, change)
        assert len(gains) == 16 and {pair.training.change for pair in gains} == {change}
        assert all(pair.dice.mean == pytest.approx(gain) for pair in gains)
    frame = transfer_frames.difference_frame(whole, losses)
    adjusted = statistics.holm([pair.dice.p for pair in losses])
    assert list(frame["p (Holm)"]) == [transfer_frames.p_text(p) for p in adjusted]
    assert list(frame["Dice"]) == [transfer_frames.signed(pair.dice.mean) for pair in losses]
    six = next(pair for pair in losses if pair.tested == "hrf")
    assert six.dice.p >= 2 / 2**6
    assert "on HRF (6 images, p at least 0.031) one cannot pass" in transfer_frames.power_sentence(whole, losses)
    assert "on DRIVE (20 images, p at least 1.9 × 10⁻⁶) one can pass" in transfer_frames.power_sentence(whole, losses)


def test_the_worst_training_is_found_among_those_that_ran(whole: Transfer, tmp_path: Path) -> None:
    assert transfer_frames.worst_training(whole) == Training(WORST)
    found = fill(tmp_path, leave_out=(WORST,))
    assert transfer_frames.worst_training(found) not in (None, Training(WORST))


def test_the_oracle_takes_the_best_threshold_of_the_tested_images(whole: Transfer) -> None:
    cell = whole.own("drive")
    histogram = cell.parts[0].record.histograms().select(region="fov", pooled=True)
    best = max(float(histogram.counts(t, nearest=True).dice) for t in np.linspace(0.02, 0.98, 97))
    assert best > float(histogram.counts(0.5).dice) + 0.05
    assert cell.per_image("dice", own_threshold=False).mean() == pytest.approx(best, abs=0.01)


def test_sentences_take_their_numbers_from_records(whole: Transfer) -> None:
    lines = transfer_frames.findings(whole)
    losses = transfer_frames.losses(whole)
    mean = np.mean([pair.dice.mean for pair in losses])
    assert f"changes by {transfer_frames.signed(mean)} on average over 12 of 12 pairs" in lines[1]
    assert "+0.0100 at home (4 cells) and by +0.0100 away from home (12 cells)" in lines[2]
    assert lines[3].startswith("Training in changed colours changes Dice by +0.0200 at home (4 cells)")
    alone = whole.cell(Training(PHANTOMS), "drive").value("dice")
    assert f"never saw a photograph reaches a Dice of {alone:.4f}" in lines[4]


# --- the second observer, and nothing at all ---------------------------------------------------------------------


def test_the_second_observer_stands_beside_the_same_images(tmp_path: Path) -> None:
    store, runs = Store(tmp_path), load_study("transfer").runs("lite")
    for name in ("drive", *(f"stare-fold{k}" for k in range(1, 6))):
        write_record(store, baseline_of("second_observer", runs[name]), lambda *_: 0.7)
    found = transfer.read_transfer(open_comparison(Parameters(records=str(tmp_path)), study="transfer"), "lite")
    assert set(found.observers) == {"drive", "stare"}
    assert len(found.observers["stare"].images) == 20
    assert math.isnan(found.observers["drive"].value("auc"))
    frame = transfer_frames.matrix_frame(found, "dice").set_index("trained on")
    assert frame.loc["second observer", "tested on STARE"].startswith("0.7000")
    assert pd.isna(frame.loc["second observer", "tested on HRF"])


def test_without_records_every_cell_is_a_gap(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    found = transfer.open_transfer(Parameters(records=str(tmp_path)))
    assert found.runs == (28, 0) and not found.cells
    assert transfer_frames.findings(found) == ["No run has a record yet, so nothing can be said."]
    assert transfer_frames.matrix_frame(found, "auc").drop(columns="trained on").isna().all(axis=None)
    assert transfer_figures.error_figure(found, found.trainings) is None
    assert transfer_frames.worst_training(found) is None and transfer_figures.error_figure(found, []) is None
    texts = [text.get_text() for axis in transfer_figures.matrix_figure(found).axes for text in axis.texts]
    assert set(texts) == {"—"} and len(texts) == 2 * 13 * 4
    plt.close("all")


def test_figures_show_every_number(whole: Transfer) -> None:
    import matplotlib.pyplot as plt

    figure = transfer_figures.matrix_figure(whole)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == [
        f"{whole.cell(row, column).value('dice'):.4f}" for row in whole.trainings for column in whole.datasets
    ]
    losses = transfer_frames.losses(whole)
    assert len(transfer_figures.difference_figure(whole, losses, "home").axes[0].get_yticks()) == len(losses)
    rows = [training for training in whole.trainings if not training.change]
    titles = [axis.get_title() for axis in transfer_figures.error_figure(whole, rows).axes]
    assert titles[2].startswith("im0001, Dice") and titles[10].startswith("im0001, Dice")  # also at home, in a fold
    plt.close("all")
