"""The rule on collapses: shares that scores imply, how a run ends, and which runs learned the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from retlib.metrics import Confusion
from retlib.papers import load_paper
from retlib.study import beside_ours, check_parameters, open_study, reported, results, run
from retlib.study.rules import collapse
from tests.pages import functions_of

page = functions_of("r2u_net")
PAPER = load_paper("r2u-net")
PRINTED = reported(PAPER, ["1"])
TABLE = PRINTED.pivot(index="epoch", columns="metric", values="reported")

# --- what scores imply ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [(30, 12, 70, 888), (1, 0, 132, 867), (400, 300, 10, 290)])
def test_the_implied_share_is_that_of_the_pixels(counts):
    confusion = Confusion(*counts)
    frame = pd.DataFrame({name: [getattr(confusion, name)] for name in page.SCORES[1:]}, index=[1])
    implied = collapse.implied(frame).loc[1]
    assert implied["vessel share"] == pytest.approx(confusion.prevalence)
    assert implied["precision"] == pytest.approx(confusion.precision)
    empty = Confusion(0, 0, counts[0] + counts[2], counts[1] + counts[3])
    full = Confusion(counts[0] + counts[2], counts[1] + counts[3], 0, 0)
    assert implied["accuracy of an empty mask"] == pytest.approx(empty.accuracy)
    assert implied["Dice of a full mask"] == pytest.approx(full.dice)


@pytest.mark.parametrize("scores", [(0.0, 0.9, 0.0), (1.0, 1.0, 1.0)])
def test_no_share_is_implied_where_nothing_is_found_or_nothing_is_wrong(scores):
    frame = pd.DataFrame([dict(zip(page.SCORES[1:], scores, strict=True))])
    assert collapse.implied(frame).isna().all(axis=None) and np.isnan(collapse.typical_share(frame))


def test_the_report_implies_shares_far_above_the_crops():
    shares = collapse.implied(TABLE)["vessel share"]
    assert shares.between(0.1305, 0.1335).all()
    bounds = page.printed_shares(PRINTED)
    assert bounds["low"].max() > bounds["high"].min()  # no single share: not one set of pixels
    assert bounds.loc[4:7, "low"].max() <= bounds.loc[4:7, "high"].min()
    assert bounds["low"][1] < shares[1] < bounds["high"][1] < 0.132 < shares[2]
    assert ((bounds["low"] < shares) & (shares < bounds["high"])).all()


# --- how a run ends ------------------------------------------------------------------------------------------------


def curve(dice: list[float], share: float = 0.1) -> pd.DataFrame:
    """Make epochs of a mask whose errors are misses alone: accuracy rises as Dice does."""
    sensitivity = [d / (2 - d) for d in dice]
    accuracy = [1 - share * (1 - s) for s in sensitivity]
    index = pd.RangeIndex(1, len(dice) + 1)
    return pd.DataFrame({"loss": 0.5, "dice": dice, "accuracy": accuracy, "sensitivity": sensitivity}, index=index)


def test_outcomes():
    assert collapse.outcome(TABLE) == "collapses"
    assert collapse.outcome(curve([0.1, 0.5, 0.7])) == "no collapse"
    assert collapse.outcome(curve([0.7, 0.3])) == "falls back"  # accuracy falls with Dice
    assert collapse.outcome(curve([0.05, 0.01])) == "stays low"
    assert collapse.outcome(curve([0.0, 0.0])) == "stays low"
    noisy = curve([0.5, 0.01])
    noisy.loc[1, ["accuracy", "sensitivity"]] = 0.85, 0.75  # false alarms at first, then an empty mask
    assert collapse.outcome(noisy) == "collapses"
    noisy.loc[2, ["accuracy", "sensitivity"]] = 0.88, 0.01 * 0.12 / (0.2 * 0.99)  # rises, but not to the background's
    assert collapse.implied(noisy)["vessel share"].tolist() == pytest.approx([0.1, 0.1])
    assert collapse.outcome(noisy) == "falls back"


def history(train_dice: list[float], validation: pd.DataFrame | None = None, **about) -> pd.DataFrame:
    """Make rows of `Study.histories`: one run, profile and seed."""
    validation = curve(train_dice) if validation is None else validation
    frame = curve(train_dice).add_prefix("train_").join(validation.add_prefix("validation_"))
    about = {"run": "a", "profile": "lite", "seed": 0} | about
    return frame.rename_axis("epoch").reset_index().assign(**about)


def test_every_run_profile_and_seed_has_its_ending():
    rows = [history([0.6, 0.8]), history([0.6, 0.8], curve([0.05, 0.01]), seed=1), history([0.1], profile="paper")]
    table = page.endings_of(pd.concat(rows))
    assert table[["profile", "seed", "epochs"]].values.tolist() == [["lite", 0, 2], ["lite", 1, 2], ["paper", 0, 1]]
    assert table["outcome"].tolist() == ["no collapse", "stays low", "stays low"]
    assert table.loc[1, ["training Dice", "highest Dice", "last Dice"]].tolist() == [0.8, 0.05, 0.01]
    assert table["background"].tolist() == pytest.approx([0.9] * 3)
    nothing = pd.DataFrame(columns=["run", "profile", "seed", "epoch"])
    assert page.endings_of(nothing).empty and list(page.endings_of(nothing)) == list(table)


# --- the same training ---------------------------------------------------------------------------------------------


def test_the_same_training_is_the_same_to_the_last_bit():
    first = pd.concat([history([0.6, 0.8]), history([0.5, 0.7], seed=1)])
    stopped = history([0.6, 0.8, 0.9], curve([0.1, 0.1, 0.1]), run="b")  # went on, and was evaluated otherwise
    assert page.same_training(first, stopped)
    assert not page.same_training(first, history([0.6, np.nextafter(0.8, 1)]))
    assert not page.same_training(first, pd.concat([stopped, history([0.5, 0.6], seed=1)]))  # one seed differs
    assert not page.same_training(first, history([0.6, 0.8], profile="paper"))  # nothing in common
    assert not page.same_training(first, history([0.6, 0.8], seed=2)) and not page.same_training(first, first[:0])


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory):
    """A smoke study with records of the run as stated and of the one with statistics per step."""
    folder = tmp_path_factory.mktemp("r2u-net")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETLIB_CACHE", str(folder / "cache"))
        patch.delenv("RETLIB_DATA", raising=False)
        for name in ("drive-r2unet", "drive-r2unet-per-step"):
            run(PAPER.runs("smoke")[name], folder / "records", device="cpu", progress=False)
        yield open_study("r2u-net", check_parameters({"profile": "smoke", "records": str(folder / "records")}))


def test_statistics_per_step_change_evaluation_and_not_training(smoke):
    stated, factor = (rows for _, rows in smoke.histories().groupby("run", sort=False))
    assert page.same_training(stated, factor)
    assert not page.epoch_scores(stated)["loss"].equals(page.epoch_scores(factor)["loss"])


def test_printed_epochs_stand_beside_the_history(smoke):
    cells = beside_ours(PRINTED, smoke)
    losses = cells[cells["metric"] == "loss"].set_index("epoch")["value"]
    record = smoke.record("drive-r2unet")
    assert losses[:3].tolist() == [row["validation_loss"] for row in record.history]
    assert losses[3:].isna().all() and cells["difference"].isna().all()  # training had stopped; never beside a paper's


def test_the_books_records_are_of_the_same_trainings(repository, monkeypatch):
    """At the report's own size: what shared statistics score low is trained to the last bit as what scores high."""
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    study = open_study("r2u-net", check_parameters({"seeds": [0, 1, 2]}), repository / "notebooks")
    others = ["drive-r2unet-per-step", "drive-r2unet-batch-statistics"]
    rows = results.same_profile(study.histories(), ["drive-r2unet", *others])
    assert set(rows["profile"]) == {"paper"} and set(rows["seed"]) == {0, 1, 2}
    scores = study.scores().query("as_scored and metric == 'dice' and profile == 'paper'").groupby("run")["value"]
    assert scores.max()["drive-r2unet"] < 0.5
    stated = rows[rows["run"] == "drive-r2unet"]
    for name in others:
        assert page.same_training(stated, rows[rows["run"] == name]) and scores.min()[name] > 0.75
    lite = study.histories().query("profile == 'lite'")
    assert not page.same_training(stated, lite[lite["run"] == "drive-r2unet"])  # the preview is another network
    changed = lite[lite["run"] == "drive-r2unet-random-patch"]
    assert not page.same_training(lite[lite["run"] == "drive-r2unet"], changed)
    endings = page.endings_of(stated)
    assert endings["last Dice"].round(3).tolist() == [0.083, 0.517, 0.333]
