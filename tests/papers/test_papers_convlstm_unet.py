"""convlstm-unet.yaml against numbers typed a second time; and its runs."""

from __future__ import annotations

import re

import pytest

from retlib.audit import implied_prevalence
from retlib.metrics import Confusion
from retlib.papers import load_paper
from retlib.study import Printed, run

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


# --- records -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """Two smoke records: the run of the table, and the one that is trained on other phantoms first."""
    folder = tmp_path_factory.mktemp("convlstm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETLIB_CACHE", str(folder / "cache"))
        patch.delenv("RETLIB_DATA", raising=False)
        yield [
            run(PAPER.runs("smoke")[name], folder / "records", device="cpu", progress=False)
            for name in (MAIN, f"{MAIN}-pretrained")
        ]


def test_smoke_records(smoke):
    main, pretrained = smoke
    assert len(main.history) == main.config.training.epochs
    assert "pretraining" not in main.content
    assert len(pretrained.content["pretraining"]["images"]) == 4
    # The same network started elsewhere: already the first epoch differs.
    assert main.history[0]["train_loss"] != pretrained.history[0]["train_loss"]


def test_five_of_the_numbers_fix_one_point_and_one_share():
    rates = ("accuracy", "sensitivity", "specificity")
    printed = PAPER.tables["1"].values(0)["drive"]
    share = implied_prevalence(**{name: printed[name] for name in rates})
    assert 0.1270 < share.low < share.value < share.high < 0.1280  # as inside the FOV; whole frames have 0.088
    found, rejected = share.value * printed["sensitivity"].value, (1 - share.value) * printed["specificity"].value
    implied = Confusion(tp=found, fp=1 - share.value - rejected, fn=share.value - found, tn=rejected)
    for name in ("precision", "dice"):
        assert getattr(implied, name) == pytest.approx(printed[name].value, abs=2e-4)  # what four decimals leave open
    (quoted,) = PAPER.tables["Introduction"].values(6).values()
    assert implied_prevalence(**{name: quoted[name] for name in rates}).high < 0.01
