"""r2u-net.yaml against the report's numbers typed a second time, and its runs."""

from __future__ import annotations

from itertools import pairwise

import pytest

from retlib.data import load_dataset, split_names
from retlib.data.registry import COLLECTIONS
from retlib.papers import load_paper
from retlib.preprocessing import to_grid
from retlib.study import reported
from retlib.study.rules import collapse

PAPER = load_paper("r2u-net")
TABLE = reported(PAPER, ["1"]).pivot(index="epoch", columns="metric", values="reported")

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
    assert (table.reported.dtypes == "float64").all()


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
    frame = TABLE
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
    frame = TABLE
    share = collapse.typical_share(frame)
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
