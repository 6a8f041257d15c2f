"""resaspp-unet.yaml against numbers typed a second time, by hand, from the paper."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections import Counter

import pytest

from retlib.papers import load_paper
from retlib.study.tables import parameters_of

PAPER = load_paper("resaspp-unet")

# Every number of Tables 1 to 9, row by row, in the order of the page.
PRINTED = {
    "1": """.8489 .9861 .9697
            .9685 .8149 .9842
            .9680 .9694 .8837 .8263 .8698 .7951
            .9561 .9635 .7985 .8039 .9791 .9836 .8229 .8315""",
    "2": """.9572 .8298
            .9676 .8099 .8065 .9826 .9732 .8411 .8290 .9866
            .9667 .8159 .9805 .8059 .9732 .8272 .9866 .8400
            79.67 69.57 82.06 79.67""",
    "3": """.8252 .8440 .8397 .9780 .9830 .9810
            .9692 .8278 .9861 .9740 .8342 .9916
            .9657 .8228 .7957 .6761 .9671 .7944 .7944 .6505
            .84
            .8715 .8042""",
    "4": """.9545 .6820 .9806 .7238 .5674
            .9554 .7294 .9771 .7408 .5884""",
    "5": """.9572 .7586 .9747 .7344 .5822
            .9556 .7902 .9702 .7386 .5865""",
    "6": """.9572 .8298
            .9676 .8065 .9826 .8099
            .7967 .7967 .8206 .6957
            .8397 .8252 .8440
            .9692 .8278 .9861
            .9657 .8228 .6761
            .9554 .7294 .9771 .7408 .5884""",
    "7": """.9732 .8290 .9866 .8411
            .9810 .9780 .9830
            .9740 .8342 .9916
            .9671 .7944 .6505
            .9556 .7902 .9702 .7386 .5865""",
    "8": """.9517 .6727 .9784 .7083 .5485
            .9500 .7196 .9720 .7153 .5569
            .9554 .7294 .9771 .7408 .5884""",
    "9": """.9460 .7209 .9650 .6730 .5080
            .9554 .7402 .9736 .7199 .5632
            .9556 .7902 .9702 .7386 .5865""",
}


def printed_rows(number: str) -> list[list[str]]:
    rows = [line.split() for line in PRINTED[number].splitlines()]
    return [[f"0{text}" if text.startswith(".") else text for text in row] for row in rows]


def numbers_in(cells) -> list[str]:
    return re.findall(r"(?<![\w.])\d+\.\d+", " ".join(cell for cell in cells if cell))


@pytest.mark.parametrize("number", PRINTED)
def test_cells_hold_every_number_of_the_table_in_its_order(number):
    assert [numbers_in(row.cells) for row in PAPER.tables[number].rows] == printed_rows(number)


@pytest.mark.parametrize("number", PRINTED)
def test_values_take_every_number_of_a_row_and_add_none(number):
    table = PAPER.tables[number]
    for index, expected in enumerate(printed_rows(number)):
        found = [value.text for metrics in table.values(index).values() for value in metrics.values()]
        assert Counter(found) == Counter(expected)


def test_there_are_nine_tables_and_no_more():
    assert list(PAPER.tables) == [str(number) for number in range(1, 10)]
    assert [len(table.rows) for table in PAPER.tables.values()] == [4, 4, 5, 2, 2, 7, 5, 3, 3]


def test_reported_keeps_columns_gaps_and_decimals():
    table = PAPER.tables["6"]
    frame = table.reported
    assert list(frame.columns) == [
        "References",
        "Method",
        "Accuracy",
        "Sensitivity",
        "Specificity",
        "Dice",
        "IoU",
    ]
    assert frame["Accuracy"].tolist() == [0.9572, 0.9676, 0.7967, 0.8397, 0.9692, 0.9657, 0.9554]
    assert frame["IoU"].dtype == "float64"
    assert [i for i, value in enumerate(frame["IoU"]) if math.isnan(value)] == [0, 1, 3, 4]
    assert set(frame.select_dtypes("float64")) == set(frame.columns[2:]) == set(table.metrics)


def test_reported_of_a_review_table_keeps_its_texts():
    frame = PAPER.tables["2"].reported
    assert list(frame.columns) == ["Reference", "Method", "Results", "Limitations"]
    assert frame["Limitations"][1] == "STARE: Acc: 0.9732 Dice: 0.8411 Sen: 0.8290 Spec: 0.9866"
    assert PAPER.tables["2"].reported.select_dtypes("float64").empty


def test_two_columns_in_one_cell_are_told_apart():
    values = PAPER.tables["1"].values(2)
    assert {d: {m: v.value for m, v in metrics.items()} for d, metrics in values.items()} == {
        "drive": {"accuracy": 0.9680, "sensitivity": 0.8837, "iou": 0.8698},
        "stare": {"accuracy": 0.9694, "sensitivity": 0.8263, "iou": 0.7951},
    }


def test_percentages_become_fractions():
    value = PAPER.tables["2"].values(3)["drive"]["iou"]
    assert value.text == "69.57"
    assert value.value == pytest.approx(0.6957)
    assert value.half_unit == pytest.approx(0.00005)
    fractions = PAPER.tables["6"].values(2)["drive"]
    percentages = PAPER.tables["2"].values(3)["drive"]
    assert {m: v.value for m, v in fractions.items()} == pytest.approx({m: v.value for m, v in percentages.items()})


def test_notes_on_oddities_are_borne_out_by_the_rows():
    resdo = {metric: value.value for metric, value in PAPER.tables["1"].values(3)["stare"].items()}
    share = (resdo["specificity"] - resdo["accuracy"]) / (resdo["specificity"] - resdo["sensitivity"])
    tp, fp = share * resdo["sensitivity"], (1 - share) * (1 - resdo["specificity"])
    dice = 2 * tp / (tp + fp + share)
    assert resdo["iou"] == pytest.approx(dice, abs=1e-3)  # what the row calls an IoU is its Dice
    assert dice / (2 - dice) < 0.75

    md, msu = (PAPER.tables["2"].values(index)["stare"] for index in (1, 2))
    assert (md["accuracy"], md["specificity"]) == (msu["accuracy"], msu["specificity"])
    mobile = PAPER.tables["2"].values(3)["drive"]
    assert mobile["accuracy"] == mobile["sensitivity"]
    resvnet = PAPER.tables["3"].values(2)["stare"]
    assert resvnet["precision"] == resvnet["sensitivity"]
    assert resvnet["iou"].value < resvnet["precision"].value / (2 - resvnet["precision"].value)

    dilunet = {metric: value.value for metric, value in PAPER.tables["1"].values(2)["drive"].items()}
    wrong = (1 - dilunet["sensitivity"]) + (dilunet["sensitivity"] / dilunet["iou"] - 1)  # a vessel pixel
    assert (1 - dilunet["accuracy"]) / wrong > 0.2

    for identity in ("conclusion-drive", "conclusion-stare"):
        stated = {metric: float(text) for metric, text in PAPER.claim(identity).values.items()}
        spread = stated["specificity"] - stated["sensitivity"]
        assert (stated["specificity"] - stated["accuracy"]) / spread > 0.5


def test_rows_and_runs():
    assert PAPER.table_runs("8") == [(0, "drive-unet"), (1, "drive-res-unet"), (2, "drive-resaspp-unet")]
    assert PAPER.table_runs("5") == [(0, "stare-resaspp-unet-raw"), (1, "stare-resaspp-unet")]
    assert PAPER.table_runs("7") == [(4, "stare-resaspp-unet")]
    assert PAPER.table_runs("3") == []
    for table in PAPER.tables.values():
        assert {row.kind for row in table.rows if row.run} <= {"measured"}
        assert all(row.run for row in table.rows if row.kind == "measured")


def test_a_run_that_stands_in_several_tables_has_the_same_numbers_in_all():
    seen: dict[str, dict] = {}
    for number, table in PAPER.tables.items():
        for index, run in PAPER.table_runs(number):
            (values,) = table.values(index).values()
            assert seen.setdefault(run, values) == values
    assert len(seen) == 8


# Abstract and conclusion, accuracy sensitivity specificity Dice IoU.
STATED = {
    "abstract-drive": "0.9554 0.7294 0.9771 0.7408 0.5884",
    "abstract-stare-accuracy": "0.9170",
    "abstract-stare": "0.9556 0.7902 0.9702 0.7386 0.5865",
    "conclusion-drive": "0.9170 0.8798 0.9857 0.8332 0.7144",
    "conclusion-stare": "0.9272 0.8868 0.9922 0.8550 0.7469",
}


@pytest.mark.parametrize("identity", STATED)
def test_numbers_of_abstract_and_conclusion(identity):
    values = PAPER.claim(identity).values
    assert list(values) == ["accuracy", "sensitivity", "specificity", "dice", "iou"][: len(values)]
    assert list(values.values()) == STATED[identity].split()


def verdicts(identity: str) -> dict[tuple[str, str], bool | None]:
    return {(finding.what, finding.metric): finding.holds for finding in PAPER.test_claim(identity)}


def test_the_paper_contradicts_itself_where_it_does_and_nowhere_else():
    repeating = [claim.id for claim in PAPER.claims if claim.same_as]
    broken = {
        identity
        for identity in repeating
        if not all(f.holds for f in PAPER.test_claim(identity) if "repeats" in f.what)
    }
    assert broken == {"abstract-stare-accuracy", "conclusion-drive", "conclusion-stare"}
    assert len(repeating) == 9


def test_claims_against_the_papers_own_tables():
    encoder = verdicts("encoder-improves")
    assert [key for key, holds in encoder.items() if not holds] == [
        ("drive-res-unet above drive-unet", "accuracy"),
        ("drive-res-unet above drive-unet", "specificity"),
    ]
    assert all(verdicts("better-than-unet").values())
    assert all(verdicts("overlap-below-literature").values())
    assert len(verdicts("overlap-below-literature")) == 7
    assert all(verdicts("sensitivity-stare-higher").values())
    preprocessing = {metric: holds for (_, metric), holds in verdicts("preprocessing-improves").items()}
    assert [metric for metric, holds in preprocessing.items() if not holds] == ["specificity"]
    gains = verdicts("aspp-improves-more")
    assert [metric for (what, metric), holds in gains.items() if what.startswith("drive") and not holds] == [
        "sensitivity"
    ]
    assert [metric for (what, metric), holds in gains.items() if what.startswith("stare") and holds] == ["sensitivity"]


def test_aspp_adds_parameters_at_full_size():
    runs = PAPER.runs("paper")
    counts = {name: parameters_of(runs[name]) for name in ("drive-res-unet", "drive-resaspp-unet")}
    assert [round(count / 1e6, 1) for count in counts.values()] == [32.5, 43.9]
    (finding,) = PAPER.test_claim("aspp-free", lambda run, metric: counts[run])
    assert (finding.metric, finding.holds) == ("parameters", False)
    (finding,) = PAPER.test_claim("aspp-free", lambda run, metric: 1.0)  # none added
    assert finding.holds


def test_claims_about_the_files_are_held_against_the_readers():
    assert verdicts("drive-size-method") == {
        ("width of drive", "width"): False,
        ("height of drive", "height"): True,
    }
    assert verdicts("drive-format") == {
        ("images of drive", "images"): True,
        ("format of drive", "format"): False,
    }
    assert all(verdicts("drive-size-result").values())
    assert all(verdicts("stare-files").values())


def test_claims_can_be_held_against_other_numbers():
    measured = {"stare-resaspp-unet": 0.80, "drive-resaspp-unet": 0.85}
    (finding,) = PAPER.test_claim("sensitivity-stare-higher", lambda run, metric: measured[run])
    assert (finding.left, finding.right, finding.holds) == (0.80, 0.85, False)
    (finding,) = PAPER.test_claim("sensitivity-stare-higher", lambda run, metric: None)
    assert finding.holds is None

    curves = {"train_accuracy": [0.5] * 18 + [0.96, 0.94], "validation_accuracy": [0.99] * 18 + [0.92, 0.92]}
    found = PAPER.test_claim("accuracy-level", curve_of=lambda run, column: curves[column])
    assert [(round(f.left, 6), f.holds) for f in found] == [(0.95, True), (0.92, False)]


def test_reading_a_paper_imports_neither_torch_nor_pandas():
    code = (
        "import sys; from retlib.papers import load_paper; p = load_paper('resaspp-unet'); p.plan('paper'); "
        "p.test_claim('encoder-improves'); "
        "print([m for m in ('torch', 'pandas', 'cv2') if m in sys.modules]); "
        "p.tables['8'].reported; print([m for m in ('torch', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "['pandas']"]


def test_few_false_positives_is_decided_as_the_tables_say() -> None:
    from retlib.audit.deviations import derive_score

    rates = ("accuracy", "sensitivity", "specificity")
    found = {}
    for number, dataset in (("6", "drive"), ("7", "stare")):
        table = PAPER.tables[number]
        (row,) = (index for index, row in enumerate(table.rows) if row.kind == "measured")
        printed = table.values(row)[dataset]
        found[dataset] = 1 - derive_score("precision", {name: printed[name].value for name in rates})
    assert found == pytest.approx({"drive": 0.25, "stare": 0.30}, abs=0.005)
    assert PAPER.claim("few-false-positives").decided == "fails"


def test_green_contrast_is_decided_as_the_photographs_say(data_root) -> None:
    import cv2
    import numpy as np

    from retlib.data import load_dataset

    for dataset in ("drive", "stare"):
        for sample in load_dataset(dataset, "all", data_root):
            around = cv2.dilate(sample.vessels.astype(np.uint8), np.ones((15, 15))) > 0
            vessel, ground = sample.vessels & sample.fov, around & ~sample.vessels & sample.fov
            sides = sample.image[ground].astype(float), sample.image[vessel].astype(float)
            spread = np.sqrt(sum(side.var(axis=0) for side in sides) / 2)
            assert np.argmax((sides[0].mean(axis=0) - sides[1].mean(axis=0)) / spread) == 1, sample.name
    assert PAPER.claim("green-contrast").decided == "holds"
