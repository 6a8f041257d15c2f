"""r2u-net.yaml against the report's numbers typed a second time; its runs; and how its epochs are read."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from retlib.data import load_dataset, split_names
from retlib.data.registry import COLLECTIONS
from retlib.metrics import Confusion
from retlib.papers import load_paper
from retlib.preprocessing import to_grid
from retlib.report import check_parameters, collapse, comparison, epochs, open_study
from retlib.study import Printed, Record, run

PAPER = load_paper("r2u-net")

# Table 1, row by row, in the order of the page.
PRINTED = """1 0.5737 0.1617 84.03% 11.69%
2 0.5681 0.1399 84.34% 9.60%
3 0.6597 0.0805 84.56% 5.17%
4 0.7210 0.0161 86.71% 0.82%
5 0.8081 0.0138 86.69% 0.70%
6 0.7601 0.0154 86.70% 0.79%
7 0.7348 0.0193 86.74% 0.98%"""

# --- the table and the text ---------------------------------------------------------------------------------------


def test_cells_are_those_of_the_page():
    table = PAPER.tables["1"]
    assert list(PAPER.tables) == ["1"]
    assert [list(row.cells) for row in table.rows] == [line.split() for line in PRINTED.splitlines()]
    assert list(table.columns) == ["Epoch", "Val Loss", "Dice Score", "Accuracy", "Sensitivity"]
    assert table.reported["Accuracy"].tolist() == [84.03, 84.34, 84.56, 86.71, 86.69, 86.70, 86.74]
    assert table.decimals == {"Epoch": 0, "Val Loss": 4, "Dice Score": 4, "Accuracy": 2, "Sensitivity": 2}


def test_rows_stand_beside_the_epochs_of_one_run():
    rows = PAPER.tables["1"].rows
    assert [(row.run, row.epoch, row.kind) for row in rows] == [("drive-r2unet", e, "measured") for e in range(1, 8)]
    assert PAPER.printed("drive-r2unet", "dice") is None  # no number of the table is the run's own
    values = PAPER.tables["1"].values(6)["drive"]
    assert {metric: value.value for metric, value in values.items()} == pytest.approx(
        {"loss": 0.7348, "dice": 0.0193, "accuracy": 0.8674, "sensitivity": 0.0098}
    )


def test_claims_repeat_the_table_where_they_repeat_it():
    for identity, values in {
        "best-epoch": {"dice": "0.1399"},
        "last-epoch": {"dice": "0.0193", "accuracy": "86.74%"},
    }.items():
        assert PAPER.claim(identity).values == values
        assert all(finding.holds for finding in PAPER.test_claim(identity))
    assert [finding.holds for finding in PAPER.test_claim("drive-files")] == [True, True, True]


def test_what_the_notes_say_of_the_rows_is_so():
    frame = epochs.reported_epochs(PAPER, "1")
    notes = {row.epoch: row.note for row in PAPER.tables["1"].rows if row.note}
    assert "highest Dice" in notes[1] and frame["dice"].idxmax() == frame["sensitivity"].idxmax() == 1
    assert "lowest loss" in notes[2] and frame["loss"].idxmin() == 2
    assert "highest loss" in notes[5] and frame["loss"].idxmax() == frame["dice"].idxmin() == 5
    changes = [later - earlier for earlier, later in pairwise(frame["loss"][1:])]
    assert [change > 0 for change in changes] == [True, True, True, False, False]


def test_every_promise_of_the_text_is_a_claim():
    ids = {claim.id for claim in PAPER.claims}
    assert {
        "three-data-sets",
        "other-methods",
        "best-epoch",
        "reasonably-well",
        "small-vessels",
        "early-stopping",
    } <= ids
    told = [claim for claim in PAPER.claims if claim.values or claim.facts or claim.compares or claim.decided]
    assert all(claim.check for claim in PAPER.claims if claim not in told)


def test_what_a_reader_decided_is_what_the_numbers_say():
    frame = epochs.reported_epochs(PAPER, "1")
    share = epochs.typical_share(frame)
    empty, full = 1 - share, 2 * share / (1 + share)
    decided = {claim.id: claim.decided for claim in PAPER.claims if claim.decided}
    first, second, last = (frame.loc[epoch] for epoch in (1, 2, 7))
    assert decided["best-epoch"] == "holds in part"
    assert frame["loss"].idxmin() == 2 and first.dice > second.dice and first.sensitivity > second.sensitivity
    assert decided["meaningful-features"] == "fails" and second.accuracy < empty and second.dice < full
    assert decided["fails-to-generalise"] == decided["reasonably-well"] == "fails"
    assert (frame["dice"] < full).all() and (frame["accuracy"] < empty + 0.001).all()
    assert decided["loss-rises-steadily"] == "holds in part"
    rises = [later > earlier for earlier, later in pairwise(frame["loss"][1:])]
    assert rises == [True, True, True, False, False] and last.dice < second.dice / 5
    assert last.sensitivity < second.sensitivity / 5
    assert decided["accuracy-from-background"] == "holds"
    assert abs(last.accuracy - empty) < 0.01 and last.sensitivity < 0.01
    assert decided["early-stopping"] == "holds" and frame.index[-1] - frame["loss"].idxmin() == 5
    assert decided["clean-output"] == "fails" and frame["sensitivity"].max() < 1 / 8
    counts = {name: len(COLLECTIONS[name].names) for name in ("stare", "chase_db1", "drive")}
    assert decided["larger-data-sets"] == "fails" and 2 * counts["stare"] == counts["drive"] > counts["chase_db1"]
    assert decided["two-observers"] == "holds in part"
    assert {claim.id for claim in PAPER.claims if claim.kind == "dataset"} == {
        "drive-files",
        "fov-diameter",
        "two-observers",
        "larger-data-sets",
    }


# --- the runs -----------------------------------------------------------------------------------------------------


def test_the_paper_profile_is_what_the_report_states():
    config = PAPER.runs("paper")["drive-r2unet"]
    training = config.training
    assert (config.model, config.model_options["depth"], config.model_options["upsampling"]) == (
        "r2unet",
        3,
        "transposed",
    )
    assert (config.inputs.crop, config.inputs.preprocessing, config.inputs.channels) == ((565, 565), ("gray",), 1)
    assert (training.epochs, training.patience, training.loss, training.optimiser) == (10, 5, {"bce": 1.0}, "adam")
    assert (config.validation, training.patches.layout, training.augmentation) == (0.1, "grid", "none")
    assert config.train.names() == split_names("drive", "training")
    assert config.test[0].names() == split_names("drive", "test")
    assert [len(names) for names in config.split_training()] == [18, 2]


def flat(value: object, path: str = "") -> dict[str, object]:
    """Dotted path -> value of everything in a config."""
    if isinstance(value, dict):
        return {key: item for name, part in value.items() for key, item in flat(part, f"{path}.{name}").items()}
    return {path.removeprefix("."): value}


def changes(profile: str, name: str) -> dict[str, object]:
    """What a run sets otherwise than the run as stated."""
    runs = PAPER.runs(profile)
    base, other = (flat(runs[key].model_dump()) for key in ("drive-r2unet", name))
    return {key: other.get(key) for key in base.keys() | other.keys() if base.get(key) != other.get(key)}


@pytest.mark.parametrize("profile", ["paper", "lite"])
def test_the_diagnosis_changes_one_thing_at_a_time(profile):
    found = {name: changes(profile, name) for name in PAPER.runs(profile, role="ablation")}
    assert found == {
        "drive-r2unet-per-step": {"model_options.norm": "per_step"},
        "drive-r2unet-batch-statistics": {"model_options.running_statistics": False},
        "drive-r2unet-no-norm": {"model_options.norm": "none"},
        "drive-r2unet-rate-1e-2": {"training.learning_rate": 1e-2},
        "drive-r2unet-rate-3e-2": {"training.learning_rate": 3e-2},
        "drive-r2unet-any-patch": {"training.patches.inside_fov": False},
        "drive-r2unet-random-patch": {"training.patches.layout": "random"},
        "drive-r2unet-raw-input": {"inputs.normalisation": "none"},
    }


def test_the_trained_network_is_the_same_but_for_the_statistics_it_keeps():
    for profile in ("paper", "lite"):
        found = changes(profile, "drive-r2unet-trained")
        outside = {key: value for key, value in found.items() if not key.startswith("training.")}
        assert outside == {"model_options.norm": "per_step"}
        runs = PAPER.runs(profile, role="control")
        assert runs["drive-unet-trained"].training == runs["drive-r2unet-trained"].training
        options = runs["drive-unet-trained"].model_options
        assert options.items() <= runs["drive-r2unet-trained"].model_options.items()


def test_lite_and_paper_differ_in_size_alone():
    runs, larger = PAPER.runs("lite"), PAPER.runs("paper")
    size = {"profile", "model_options.width", "training.patches.per_epoch", "training.amp_cpu"}
    schedule = {"training.epochs", "training.learning_rate"}  # of the recipe that is ours
    assert list(runs) == list(larger)
    for name, config in runs.items():
        a, b = flat(config.model_dump()), flat(larger[name].model_dump())
        assert {key for key in a if a[key] != b[key]} <= size | (schedule if name.endswith("-trained") else set())


def test_the_crop_loses_no_field_of_view(data_root):
    config = PAPER.runs("paper")["drive-r2unet"]
    for split in ("training", "test"):
        for sample in load_dataset("drive", split, data_root):
            cropped = to_grid(sample, config.inputs)
            assert cropped.fov.sum() == sample.fov.sum()  # the claim `crop-preserves`
            lost = sample.vessels.sum() - cropped.vessels.sum()  # a few labels reach out of the field of view
            assert lost == 0 if split == "training" else lost < 10


# --- reading epochs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [(30, 12, 70, 888), (1, 0, 132, 867), (400, 300, 10, 290)])
def test_the_implied_share_is_that_of_the_pixels(counts):
    confusion = Confusion(*counts)
    share = epochs.implied_share(confusion.dice, confusion.accuracy, confusion.sensitivity)
    assert share == pytest.approx(confusion.prevalence)
    frame = pd.DataFrame({name: [getattr(confusion, name)] for name in epochs.SCORES[1:]}, index=[1])
    implied = epochs.with_implied(frame).loc[1]
    assert implied["precision"] == pytest.approx(confusion.precision)
    empty = Confusion(0, 0, counts[0] + counts[2], counts[1] + counts[3])
    full = Confusion(counts[0] + counts[2], counts[1] + counts[3], 0, 0)
    assert implied["accuracy of an empty mask"] == pytest.approx(empty.accuracy)
    assert implied["Dice of a full mask"] == pytest.approx(full.dice)


def test_no_share_is_implied_where_nothing_is_found():
    assert np.isnan(epochs.implied_share(0.0, 0.9, 0.0))


def test_the_table_implies_shares_far_above_the_crops():
    shares = epochs.with_implied(epochs.reported_epochs(PAPER, "1"))["vessel share"]
    assert shares.between(0.1305, 0.1335).all()
    assert not epochs.common_share(PAPER, "1")  # no one set of pixels
    numbers = PAPER.tables["1"].values(0)["drive"]
    share = epochs.printed_share(numbers)
    assert share.low < shares[1] < share.high < 0.132 < shares[2]
    assert float(share) == pytest.approx(shares[1])
    texts = {"dice": "0.50000000", "accuracy": "0.80000000", "sensitivity": "0.50000000"}
    share = epochs.printed_share({name: Printed(text) for name, text in texts.items()})
    assert (share.low, share.high) == pytest.approx((0.2, 0.2), abs=1e-6)


def curve(dice: list[float], share: float = 0.1) -> pd.DataFrame:
    """Epochs of a mask whose errors are misses alone: accuracy rises as Dice does, unless it is told otherwise."""
    sensitivity = [d / (2 - d) for d in dice]
    accuracy = [1 - share * (1 - s) for s in sensitivity]
    index = pd.RangeIndex(1, len(dice) + 1)
    return pd.DataFrame({"loss": 0.5, "dice": dice, "accuracy": accuracy, "sensitivity": sensitivity}, index=index)


def test_outcomes():
    assert epochs.outcome(epochs.reported_epochs(PAPER, "1")) == "collapses"
    assert epochs.outcome(curve([0.1, 0.5, 0.7])) == "holds up"
    assert epochs.outcome(curve([0.7, 0.3])) == "falls back"  # accuracy falls with Dice
    assert epochs.outcome(curve([0.05, 0.01])) == "stays low"
    assert epochs.outcome(curve([0.0, 0.0])) == "stays low"
    noisy = curve([0.5, 0.01])
    noisy.loc[1, ["accuracy", "sensitivity"]] = 0.85, 0.75  # false alarms at first, then an empty mask
    assert epochs.outcome(noisy) == "collapses"
    noisy.loc[2, ["accuracy", "sensitivity"]] = 0.88, 0.01 * 0.12 / (0.2 * 0.99)  # rises, but not to the background's
    assert epochs.with_implied(noisy)["vessel share"].tolist() == pytest.approx([0.1, 0.1])
    assert epochs.outcome(noisy) == "falls back"


def test_the_text_is_held_against_the_table():
    told = collapse.text_checks(epochs.reported_epochs(PAPER, "1")).set_index("the text")["its table"]
    assert told["Epoch 2 is the best"] == "the lowest loss is at epoch 2, the highest Dice at epoch 1"
    assert told["The loss rises steadily after epoch 2"] == "it rises in 3 of 5 steps"
    assert told["Stopped at epoch 7"] == "5 epochs after the lowest loss"
    assert told["The model performed reasonably well"].endswith("above a full mask's Dice in no epoch")


# --- studies ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory):
    """A smoke study with records of the run as stated and of one factor."""
    folder = tmp_path_factory.mktemp("r2u-net")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETLIB_CACHE", str(folder / "cache"))
        patch.delenv("RETLIB_DATA", raising=False)
        for name in ("drive-r2unet", "drive-r2unet-per-step"):
            run(PAPER.runs("smoke")[name], folder / "records", device="cpu", progress=False)
        yield open_study("r2u-net", check_parameters({"profile": "smoke", "records": str(folder / "records")}))


def test_records_are_read_epoch_by_epoch(study):
    record = study.evidence("drive-r2unet").records[0]
    frame = epochs.measured_epochs(record)
    assert list(frame.index) == [1, 2, 3]
    assert frame["loss"].tolist() == [row["validation_loss"] for row in record.history]
    table = comparison(study, "1", ["Epoch"])["measured"]
    assert table.xs("Val Loss", level="metric").tolist()[:3] == frame["loss"].tolist()
    assert table.xs("Val Loss", level="metric").isna().tolist()[3:] == [True] * 4


def test_statistics_a_step_change_evaluation_and_not_training(study):
    stated, factor = (study.evidence(name).records[0] for name in ("drive-r2unet", "drive-r2unet-per-step"))
    assert epochs.same_training(stated, factor)
    assert not epochs.measured_epochs(stated)["loss"].equals(epochs.measured_epochs(factor)["loss"])
    moved = Record(factor.folder, {**factor.content, "history": [dict(factor.history[0], train_loss=9.0)]})
    assert not epochs.same_training(stated, moved)


def test_the_diagnosis_shows_what_is_there_and_what_is_not(study):
    names = ["drive-r2unet", *PAPER.runs("smoke", role="ablation")]
    frame = collapse.diagnosis(study, names)
    assert frame["epochs"].tolist() == ["3", "3", None]
    assert frame["profile"].tolist() == ["smoke", "smoke", "—"]
    for column in ("last Dice", "test Dice", "outcome"):
        assert frame[column].isna().tolist() == [False, False, True]


STEPWISE = {"drive-r2unet-per-step": "kept for each recurrence"}


def test_findings_follow_from_the_records(study):
    factors = [name for name in PAPER.runs("smoke", role="ablation") if name not in STEPWISE]
    controls = list(PAPER.runs("smoke", role="control"))
    text = "\n".join(collapse.findings(study, "1", "drive-r2unet", STEPWISE, factors, controls))
    assert "table collapses: Dice from 0.1617 to 0.0193, accuracy from 0.8403 to 0.8674" in text
    stated, factor = (study.evidence(name).records[0] for name in ("drive-r2unet", "drive-r2unet-per-step"))
    assert f"a training Dice of {stated.history[-1]['train_dice']:.2f} in its last epoch" in text
    assert f"The same trainings score {factor.metrics()['dice']:.3f} kept for each recurrence" in text
    assert "None of the other factors has been run." in text
    text = "\n".join(collapse.findings(study, "1", "drive-r2unet", {}, list(STEPWISE), controls))
    assert (
        "The same trainings" not in text
        and "In 1 further runs, each with one factor changed (smoke), the validation Dice" in text
    )
    assert "With one seed per factor this shows no cause" in text


def test_the_books_records_are_of_the_same_trainings(repository, monkeypatch):
    """At the report's own size: what shared statistics score low is trained to the last bit as what scores high."""
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    found = open_study("r2u-net", check_parameters({"seeds": [0, 1, 2]}), repository / "notebooks")
    stated = found.evidence("drive-r2unet")
    assert stated.profile == "paper" and len(stated.records) == 3 and stated.never_learned == ()
    assert max(collapse.kept_dice(stated)) < 0.5
    for name in ("drive-r2unet-per-step", "drive-r2unet-batch-statistics"):
        pair = collapse.same_trainings(stated, found.evidence(name))
        assert len(pair[1].records) == 3 and min(collapse.kept_dice(pair[1])) > 0.75
    assert collapse.same_trainings(stated, found.every("drive-r2unet")[1]) is None  # the preview is another network
    factor = found.evidence("drive-r2unet-random-patch")
    own = next(evidence for evidence in found.every("drive-r2unet") if evidence.profile == factor.profile)
    assert collapse.same_trainings(own, factor) is None
    frame = collapse.diagnosis(found, ["drive-r2unet"])
    assert frame["profile"].tolist() == ["paper, 3 seeds", "lite, 3 seeds"]
    assert frame["last Dice"].iloc[0] == "0.083 / 0.517 / 0.333"


def test_facts_are_looked_up(study):
    facts = collapse.fact_checks(study)["the files"]
    assert facts[0] == "—"  # nothing was measured in this folder
    assert facts[1].startswith("20 of 40") and facts[2].endswith("STARE 20, CHASE_DB1 28, DRIVE 40")
