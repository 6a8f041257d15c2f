"""attention-unetpp.yaml against numbers typed a second time, by hand, from the paper; its runs."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from retlib.data import split_names
from retlib.papers import load_paper
from retlib.study import Printed

PAPER = load_paper("attention-unetpp")
PLAIN, RESIDUAL = "hrf-attention-unetpp", "hrf-attention-unetpp-resnet34"
PRINTED = {
    "U-Net": ("0.5644", "0.3931"),
    "SegNet": ("0.7093", "0.5496"),
    "Attention U-Net": ("0.8334", "0.7144"),
    "Attention U-Net with ResNet": ("0.8694", "0.7690"),
}


# --- what the paper prints ---------------------------------------------------------------------------------------


def test_the_table_holds_every_number_of_the_paper_s():
    assert list(PAPER.tables) == ["1"]
    table = PAPER.tables["1"]
    assert {row.cells[0]: row.cells[1:] for row in table.rows} == PRINTED
    assert [row.kind for row in table.rows] == ["quoted", "quoted", "measured", "measured"]
    assert list(table.reported.columns) == ["Model", "Dice", "IOU"] and (table.reported.dtypes[1:] == "float64").all()


def test_every_row_has_a_run_and_quoted_ones_are_not_judged():
    assert [name for _, name in PAPER.table_runs("1")] == ["hrf-unet", "hrf-segnet", PLAIN, RESIDUAL]
    assert PAPER.printed("hrf-unet", "dice") is None and PAPER.printed("hrf-segnet", "iou") is None
    assert PAPER.printed(RESIDUAL, "dice").text == "0.8694"


def test_the_table_s_note_on_dice_and_iou_is_borne_out():
    for dice, iou in PRINTED.values():
        half = Printed(iou).half_unit
        low, high = (2 * value / (1 + value) for value in (float(iou) - half, float(iou) + half))
        assert low - half <= float(dice) <= high + half


def test_the_headline_is_the_same_wherever_it_is_given():
    for identity in ("abstract", "introduction", "conclusion", "resnet-improves"):
        assert PAPER.claim(identity).values == {"dice": "0.8694", "iou": "0.7690"}
        assert all(finding.holds for finding in PAPER.test_claim(identity))
    assert PAPER.claim("attention-improves").values == {"dice": "0.8334", "iou": "0.7144"}


@pytest.mark.parametrize(("identity", "base", "stated"), [("above-unet", 0, "54.03"), ("above-segnet", 1, "22.57")])
def test_percentages_of_improvement(identity, base, stated):
    claim = PAPER.claim(identity)
    dice = [table.value for table in (PAPER.tables["1"].values(row)["hrf"]["dice"] for row in (3, base))]
    percent = 100 * (dice[0] - dice[1]) / dice[1]
    assert f"{stated} %" in claim.statement
    # What the note says: the first is cut off, the second is right.
    assert f"{percent:.2f}" in ((claim.note, "54.04")[1], stated)
    assert abs(percent - float(stated)) < 0.01
    assert (f"{percent:.2f}" == stated) == (identity == "above-segnet")


def test_what_the_paper_states_of_hrf_is_so():
    assert [finding.holds for finding in PAPER.test_claim("hrf-facts")] == [True, True, True]
    height, width = PAPER.runs("paper")[RESIDUAL].inputs.resample
    (finding,) = PAPER.test_claim("proportions")
    assert width / height == 3504 / 2336 == 3 / 2 and finding.holds and finding.left == "3:2"


def test_a_stated_size_is_tested_and_not_its_direction_alone():
    for identity in ("above-unet", "above-segnet"):
        assert [finding.holds for finding in PAPER.test_claim(identity)] == [True]
    for segnet, holds in ((0.8694 / 1.2257, True), (0.66, False)):
        values = {RESIDUAL: 0.8694, "hrf-segnet": segnet}
        (finding,) = PAPER.test_claim("above-segnet", lambda run, metric, values=values: values[run])
        assert finding.holds is holds


def test_claims_on_curves_and_order_can_be_held_against_records():
    curve = {"train_loss": [1.8] * 18 + [0.25] * 2, "validation_loss": [1.8] * 18 + [0.15] * 2}
    found = PAPER.test_claim("loss-level", curve_of=lambda name, column: curve[column])
    assert [finding.holds for finding in found] == [True, False] * 2
    values = {"hrf-unet": 0.7, "hrf-segnet": 0.6, PLAIN: 0.65, RESIDUAL: 0.64}
    found = PAPER.test_claim("attention-improves", lambda name, metric: values[name])
    assert [finding.holds for finding in found] == [False, False, True, True]
    assert not any(finding.holds for finding in PAPER.test_claim("resnet-improves", lambda name, metric: values[name]))


def test_figures_are_those_of_the_paper():
    assert list(PAPER.figures) == ["1", "2a", "2b", "3", "4"]
    assert PAPER.figures["2a"].runs == (PLAIN,) and PAPER.figures["2b"].runs == (RESIDUAL,)


# --- the runs ----------------------------------------------------------------------------------------------------


def test_the_paper_profile_is_what_the_paper_states():
    for config in PAPER.runs("paper").values():
        training = config.training
        assert config.inputs.resample == (704, 1056) and config.inputs.size is None and config.inputs.channels == 3
        assert (config.inputs.normalisation, config.inputs.resample_label) == ("unit", "linear")
        assert training.batch_size == 2 and training.amp_cpu
        assert (training.epochs, training.patience, training.keep) == (300, 30, "best")
        assert (training.optimiser, training.learning_rate, training.schedule) == ("adam", 1e-3, "plateau")
        assert training.schedule_options == {"factor": 0.5, "patience": 9}
        assert training.loss == {"bce": 1, "dice": 1} and training.loss_options["dice_smooth"] == 1e-6
        assert (config.scoring.region, config.scoring.average, config.scoring.threshold) == ("frame", "pooled", 0.5)
    runs = PAPER.runs("paper", role="table")
    assert {name: config.model for name, config in runs.items()} == {
        "hrf-unet": "unet",
        "hrf-segnet": "segnet",
        PLAIN: "attention_unetpp",
        RESIDUAL: "attention_unetpp_resnet34",
    }
    assert [runs[name].model_options["width"] for name in (PLAIN, RESIDUAL)] == [8, 8]


def test_the_tenth_epoch_without_improvement_halves_the_rate():
    import torch

    from retlib.training.loop import build_optimiser, build_schedule

    settings = PAPER.runs("paper")[PLAIN].training
    optimiser = build_optimiser(torch.nn.Linear(1, 1), settings)
    schedule = build_schedule(optimiser, settings, 1000)
    rates = []
    for loss in [1.0] + [2.0] * 20:
        schedule.step(loss)
        rates.append(optimiser.param_groups[0]["lr"])
    assert rates == [1e-3] * 10 + [5e-4] * 10 + [2.5e-4]


def test_profiles_differ_in_size_alone():
    def essence(config):
        content = config.model_dump(exclude={"profile"})
        content["model_options"].pop("width")
        for field in ("size", "resample_label"):
            content["inputs"].pop(field)
        for field in ("epochs", "batch_size", "learning_rate", "schedule_options", "patience"):
            content["training"].pop(field)
        return content

    paper, lite = PAPER.runs("paper"), PAPER.runs("lite")
    for name, config in lite.items():
        assert essence(config) == essence(paper[name])
        assert [2 * side for side in config.inputs.size] == list(paper[name].inputs.resample)
        assert config.inputs.resample == paper[name].inputs.resample
    assert [lite[name].model_options for name in (PLAIN, RESIDUAL)] == [
        paper[name].model_options for name in (PLAIN, RESIDUAL)
    ]


def test_the_table_s_run_and_the_folds_hold_every_photograph_out_once():
    folds = [PAPER.runs("paper")[RESIDUAL], *PAPER.runs("paper", role="fold").values()]
    assert len(folds) == 10
    tested = [name for config in folds for name in config.test[0].names()]
    assert len(tested) == 45 and sorted(tested) == sorted(split_names("hrf", "all"))
    for config in folds:
        training, validation = config.split_training()
        assert {*training, *validation} == set(tested) - set(config.test[0].names())
        assert len(validation) == 4


def test_runs_of_different_names_are_different_runs():
    for profile in ("paper", "lite", "smoke"):
        identities = [config.identify() for config in PAPER.runs(profile).values()]
        assert len(set(identities)) == len(identities)


def test_the_wide_network_differs_in_its_width_alone():
    wide, own = (PAPER.runs("paper")[name].model_dump() for name in (f"{RESIDUAL}-wide", RESIDUAL))
    assert wide.pop("model_options") == own.pop("model_options") | {"width": 32}
    assert wide == own
    assert list(PAPER.runs("paper", role="ablation")) == [f"{RESIDUAL}-wide"]
    assert PAPER.runs("lite", role="ablation") == {}


def test_details_kept_is_decided_as_the_labels_say(data_root) -> None:
    """On one training photograph of each class; the 45 together keep 0.58 of their finest centre lines."""
    import cv2
    import numpy as np

    from retlib.data import load_dataset
    from retlib.metrics import vessel_width_recall

    found = []
    samples = load_dataset("hrf", "training", data_root)
    for label in (samples[i].vessels for i in range(0, len(samples), 5)):
        small = cv2.resize(label.astype(np.float32), (1056, 704)) >= 0.5
        back = cv2.resize(small.astype(np.float32), label.shape[::-1]) >= 0.5
        found.append(vessel_width_recall(back, label))
    finest, *_, widest = pd.DataFrame(found).mean()
    assert finest == pytest.approx(0.6, abs=0.15) and widest > 0.99
    assert PAPER.claim("details-kept").decided == "fails"


def test_imperfect_labels_is_decided_as_the_second_observers_say(repository) -> None:
    from retlib.data.measurements import read_measurements

    records = repository / "book" / "records"
    measured = read_measurements(records)
    networks = [json.loads(file.read_text(encoding="utf-8")) for file in records.glob("[!.]*/record.json")]
    for dataset in ("drive", "stare", "chase_db1"):
        observers = [row["observer"]["dice"] for row in measured[dataset]["images"].values() if "observer" in row]
        ours = [
            test["metrics"]["fov"]["image"]["dice"]
            for record in networks
            if "kind" not in record["config"] and record["config"]["profile"] != "smoke"
            for label, test in record["tests"].items()
            if label.split(":")[0] == dataset
        ]
        assert observers and sum(observers) / len(observers) < max(ours)
    assert PAPER.claim("imperfect-labels").decided == "holds"
