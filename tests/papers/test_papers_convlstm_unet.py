"""convlstm-unet.yaml against numbers typed a second time; its runs; and the operating point of its table."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from retlib.metrics import Confusion, ScoreHistograms
from retlib.papers import load_paper
from retlib.report import Parameters, Study, operating
from retlib.study import Printed, Store, findings, run

PAPER = load_paper("convlstm-unet")
MAIN = "drive-convlstm-unet"
HEADINGS = ["ROC", "F1 score", "Accuracy", "Sensitivity", "Specificity", "Precision"]
ROW = ["0.9773", "0.7947", "0.9529", "0.7153", "0.9876", "0.8940"]

# Scores of the Introduction, row by row, in the order of the page (seconds and references left out).
QUOTED = {
    "[3]": "0.9474 0.9633",
    "[4]": "0.7585 0.7716 0.9587 0.9704",
    "[5]": "95.2% 95.15% 95.3%",
    "[6]": "0.99 0.97",
    "[15]": "97.00% 98.71% 97.62% 99.11%",
    "[18]": "0.8282 0.8979 0.8655",
    "[19]": "80.61% 99.54% 99.49%",
    "[20]": "0.9607 0.7542 0.9843 0.9632 0.7806 0.9825 0.9577 0.7585 0.9846",
}


def printed() -> dict[str, Printed]:
    return PAPER.tables["1"].values(0)["drive"]


# --- what is printed ---------------------------------------------------------------------------------------------


def test_table_1():
    (row,) = PAPER.tables["1"].rows
    assert list(PAPER.tables["1"].columns) == HEADINGS and list(row.cells) == ROW
    assert [value.text for value in printed().values()] == ROW
    assert list(printed()) == ["auc", "dice", "accuracy", "sensitivity", "specificity", "precision"]
    assert PAPER.table_runs("1") == [(0, MAIN)]


def test_the_introductions_scores():
    table = PAPER.tables["Introduction"]
    assert list(PAPER.tables) == ["1", "Introduction"]
    found = {row.cells[0]: re.findall(r"\d+\.\d\d+%?|95\.\d%", row.cells[1]) for row in table.rows}
    assert found == {reference: numbers.split() for reference, numbers in QUOTED.items()}
    for index, row in enumerate(table.rows):
        assert (row.kind, row.run) == ("quoted", None)
        taken = [value.text for metrics in table.values(index).values() for value in metrics.values()]
        # Ranges and bounds over several data sets belong to none of them.
        expected = [] if row.cells[0] in ("[4]", "[6]") else found[row.cells[0]]
        assert sorted(taken) == sorted(expected)


def test_figures_and_facts():
    assert list(PAPER.figures) == ["1", "2", "3"]
    assert all(figure.runs == (MAIN,) for figure in PAPER.figures.values())
    assert all(finding.holds for finding in PAPER.test_claim("drive-files"))
    assert len(PAPER.test_claim("drive-files")) == 3


def test_no_claim_of_the_abstract_can_be_tested_on_the_papers_own_numbers():
    for identity in ("schedule-helps", "optimiser-helps", "augmentation-helps", "pretraining-helps"):
        findings = PAPER.test_claim(identity)
        assert [finding.holds for finding in findings] == [None, None]
        scores = {MAIN: 0.8}
        decided = PAPER.test_claim(identity, lambda run, metric, scores=scores: scores.get(run, 0.7))
        assert {finding.holds for finding in decided} == {identity != "pretraining-helps"}


# --- the runs ----------------------------------------------------------------------------------------------------


def essence(config, *without: str) -> dict:
    content = config.model_dump(mode="json", exclude={"profile", "seed"})
    for path in without:
        *folders, last = path.split(".")
        place = content
        for folder in folders:
            place = place[folder] or {}
        place.pop(last, None)
    return content


CHANGED = {
    "constant": ("training.schedule", "training.schedule_options"),
    "adam": ("training.optimiser", "training.learning_rate"),
    "unaugmented": ("training.augmentation",),
    "pretrained": ("pretraining",),
    "bidirectional": ("model_options.direction",),
}


@pytest.mark.parametrize("profile", ["paper", "lite", "smoke"])
def test_every_run_of_the_ablation_changes_one_thing(profile):
    runs = PAPER.runs(profile)
    # The other reading of the learning rate at full size, and of the batch as whole photographs in a preview.
    alone = {"paper": "rate-0.3", "lite": "whole"}.get(profile)
    changes = CHANGED | {"rate-0.3": ("training.learning_rate",), "whole": ("training.patches", "validation")}
    changes = {name: changes[name] for name in [*CHANGED, alone] if name is not None}
    assert set(runs) == {MAIN, *(f"{MAIN}-{name}" for name in changes)}
    assert list(PAPER.runs(profile, role="table")) == [MAIN]
    assert list(PAPER.runs(profile, role="ablation")) == list(runs)[1:]
    for name, paths in changes.items():
        changed = runs[f"{MAIN}-{name}"]
        assert essence(changed, *paths) == essence(runs[MAIN], *paths)
        assert essence(changed) != essence(runs[MAIN])
    first = runs[f"{MAIN}-pretrained"].pretraining
    assert first.training == runs[MAIN].training
    assert len({config.identify() for config in runs.values()}) == len(runs)


def test_the_paper_profile_is_what_the_paper_states():
    config = PAPER.runs("paper")[MAIN]
    training = config.training
    assert (training.epochs, training.batch_size, training.loss) == (5, 16, {"bce": 1.0})
    assert (training.optimiser, training.momentum, training.schedule) == ("sgd", 0.0, "step")
    assert (config.model, config.model_options["width"], config.model_options["depth"]) == ("convlstm_unet", 64, 3)
    assert (len(config.train.names()), len(config.test[0].names()), len(config.test)) == (20, 20, 1)
    assert (config.scoring.region, config.scoring.average, config.scoring.threshold) == ("fov", "pooled", 0.5)
    assert (training.patches.size, training.patches.per_epoch) == (64, 200_000)
    assert PAPER.runs("paper")[f"{MAIN}-pretrained"].pretraining.train.label == "stare:all"
    assert training.learning_rate == 0.01 and training.amp_cpu
    whole = PAPER.runs("lite")[f"{MAIN}-whole"]
    steps = whole.training.epochs * -(-len(whole.train.names()) // whole.training.batch_size)
    assert whole.training.patches is None and steps == 10


def test_profiles_differ_in_size_alone():
    sizes = ("model_options.width", "training.learning_rate", "training.patches.per_epoch", "training.amp_cpu")
    sizes += ("validation",)  # the paper trains on all twenty and watches none
    pretrained = tuple(f"pretraining.{path}" for path in sizes if path.startswith("training"))
    lite = PAPER.runs("lite")
    paper = PAPER.runs("paper")
    assert set(lite) ^ set(paper) == {f"{MAIN}-rate-0.3", f"{MAIN}-whole"}
    for name in set(lite) & set(paper):
        config = paper[name]
        assert len(config.split_training()[0]) == 20 and len(lite[name].split_training()[0]) == 18
        paths = sizes if config.pretraining is None else sizes + pretrained
        assert essence(lite[name], *paths) == essence(config, *paths)


# --- the operating point -----------------------------------------------------------------------------------------


def test_five_of_the_numbers_fix_one_point_and_one_share():
    found = operating.implied_share(printed())
    share, low, high = found.value, found.low, found.high
    assert low < share < high and high - low < 0.001
    assert 0.1270 < low and high < 0.1280  # DRIVE's test images inside the field of view; whole frames have 0.088
    point = operating.printed_point(printed())
    assert (1 - point.specificity, point.sensitivity) == pytest.approx((0.0124, 0.7153))
    for name, value in point.scores(share).items():
        assert abs(value - printed()[name].value) < 2e-4  # what four decimals of the others leave open


def test_impossible_quoted_scores_are_found():
    (values,) = PAPER.tables["Introduction"].values(6).values()
    assert operating.implied_share(values).high < 0.01
    with pytest.raises(ValueError, match="accuracy is missing"):
        operating.implied_share({"sensitivity": Printed("0.7"), "specificity": Printed("0.9")})
    with pytest.raises(ValueError, match="equal within rounding"):
        operating.implied_share(dict.fromkeys(("accuracy", "sensitivity", "specificity"), Printed("0.9")))


def test_scores_of_a_point_are_those_of_its_counts():
    counts = Confusion(tp=30, fp=20, fn=10, tn=140)
    point = operating.Point(float(counts.sensitivity), float(counts.specificity))
    scores = point.scores(40 / 200)
    assert scores == pytest.approx({name: float(getattr(counts, name)) for name in operating.RATES})
    assert math.isnan(operating.Point(0.0, 1.0).scores(0.2)["precision"])


def test_where_a_curve_passes():
    rng = np.random.default_rng(0)
    vessels = rng.random((200, 200)) < 0.13
    logits = rng.normal(2.0 * vessels - 2.0, 1.0).astype(np.float32)
    pooled = ScoreHistograms.from_logits(["a"], [logits], [vessels]).select(region="frame")
    assert operating.vessel_share(pooled) == pytest.approx(vessels.mean())
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    for wanted in ({"specificity": 0.9876}, {"specificity": 0.5}, {"sensitivity": 0.7153}):
        point = operating.point_at(pooled, **wanted)
        predicted = scores >= point.threshold
        assert point.sensitivity == pytest.approx(predicted[vessels].mean(), abs=3e-3)
        assert point.specificity == pytest.approx(1 - predicted[~vessels].mean(), abs=3e-3)
        for name, value in wanted.items():
            assert getattr(point, name) == pytest.approx(value, abs=1e-9)
    ends = operating.point_at(pooled, specificity=1.0), operating.point_at(pooled, specificity=0.0)
    assert all(np.isfinite(point.threshold) for point in ends)
    assert ends[1].sensitivity == pytest.approx(1.0)
    for wrong in ({}, {"specificity": 0.5, "sensitivity": 0.5}, {"specificity": 1.2}):
        with pytest.raises(ValueError, match="point_at: expected"):
            operating.point_at(pooled, **wrong)


# --- records -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """A store with two smoke records: the run of the table, and the one that is trained on other phantoms first."""
    folder = tmp_path_factory.mktemp("convlstm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETLIB_CACHE", str(folder / "cache"))
        patch.delenv("RETLIB_DATA", raising=False)
        for name in (MAIN, f"{MAIN}-pretrained"):
            run(PAPER.runs("smoke")[name], folder / "records", device="cpu", progress=False)
        yield Study(PAPER, Parameters(profile="smoke"), Store(folder / "records"))


def test_smoke_records(smoke):
    main, pretrained = smoke.evidence(MAIN), smoke.evidence(f"{MAIN}-pretrained")
    assert len(main.records[0].history) == main.records[0].config.training.epochs
    assert "pretraining" not in main.records[0].content
    assert len(pretrained.records[0].content["pretraining"]["images"]) == 4
    # The same network started elsewhere: already the first epoch differs.
    assert main.records[0].history[0]["train_loss"] != pretrained.records[0].history[0]["train_loss"]


def test_the_ablation_table(smoke):
    frame = operating.factors(smoke, MAIN, [f"{MAIN}-pretrained", f"{MAIN}-adam"])
    first, second, missing = (frame.iloc[4 * place : 4 * place + 4] for place in range(3))
    assert first["difference"].isna().all() and (first["profile"] == "smoke").all()
    records = [smoke.evidence(name).records[0] for name in (MAIN, f"{MAIN}-pretrained")]
    auc = [record.per_image()["auc"] for record in records]
    assert second["difference"].iloc[0] == pytest.approx((auc[1] - auc[0]).mean())
    low, high = second["95 % interval"].iloc[0]
    assert (auc[1] - auc[0]).min() <= low <= high <= (auc[1] - auc[0]).max()
    specificity = [record.metrics()["specificity"] for record in records]
    assert second["difference"].iloc[3] == pytest.approx(specificity[1] - specificity[0])
    assert missing["measured"].isna().all() and missing["95 % interval"].isna().all()
    titles = {"AUC": "auc", "Sp": "specificity"}
    assert operating.factor_sentence(smoke, "Adam", MAIN, f"{MAIN}-adam", titles) == "Adam: not run."
    sentence = operating.factor_sentence(smoke, "First on others", MAIN, f"{MAIN}-pretrained", titles)
    assert sentence.startswith(f"First on others: AUC {findings.signed((auc[1] - auc[0]).mean())} (95 % interval")
    assert f"; Sp {findings.signed(specificity[1] - specificity[0])} (95 % interval" in sentence


def test_the_table_of_points(smoke, tmp_path):
    ours = operating.point_table(smoke, MAIN, "1")
    assert len(ours) == 3 and not any(name.startswith("the paper") for name in ours.index)
    record = smoke.evidence(MAIN).records[0]
    assert ours["specificity"].iloc[0] == pytest.approx(record.metrics()["specificity"])
    assert ours["specificity"].iloc[1] == pytest.approx(0.9876)
    assert ours["sensitivity"].iloc[2] == pytest.approx(0.7153)
    unrun = operating.point_table(Study(PAPER, Parameters(profile="lite"), Store(tmp_path)), MAIN, "1")
    assert unrun.iloc[0].drop("threshold").tolist() == [float(ROW[place]) for place in (3, 4, 2, 5, 1)]
    assert unrun.iloc[1]["dice"] == pytest.approx(0.7947, abs=2e-4) and unrun.iloc[2:].isna().all(axis=None)


def test_without_validation_images_the_training_loss_stands_alone() -> None:
    import matplotlib.pyplot as plt

    watched = [{"epoch": 1, "train_loss": 0.5, "validation_loss": 0.4, "validation_dice": 0.6}]
    alone = [{"epoch": 1, "train_loss": 0.5}]
    figures = [operating.histories_figure(found) for found in ({"a": watched, "b": alone}, {"b": alone})]
    assert [[axis.get_title() for axis in figure.axes] for figure in figures] == [
        ["training loss", "validation loss", "validation Dice"],
        ["training loss"],
    ]
    plt.close("all")
