"""Contenders, leaderboard, faults and peers: every number again from the records."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from retlib.audit import load_background
from retlib.comparison import (
    Comparison,
    all_costs,
    baseline_configs,
    board,
    curves,
    faults,
    figures,
    findings,
    leaderboard,
    network_tests,
    peers,
    power_table,
    quoted,
)
from retlib.comparison.boards import p_text
from retlib.comparison.contenders import Contender, model_key
from retlib.report import Parameters
from retlib.studies import load_study
from retlib.study import RunConfig, Store, statistics
from retlib.study.config import EpochsConfig, RescoredConfig
from retlib.study.evidence import Evidence
from retlib.study.rescore import rescore, score_epochs


def by_key(contenders: list[Contender]) -> dict[str, Contender]:
    return {item.key: item for item in contenders}


def test_names_of_runs() -> None:
    assert [model_key(name) for name in ("drive-unet", "chase_db1-af_unet", "stare-fold3-r2unet")] == [
        "unet",
        "af_unet",
        "r2unet",
    ]


def test_folds_are_joined_and_every_image_counts_once(comparison: Comparison) -> None:
    unet = by_key(comparison.contenders()["stare"])["unet"]
    assert len(unet.seeds) == 1 and len(unet.seeds[0]) == 2
    assert len(unet.images) == 4 == len(set(unet.images))
    expected = {}
    for record in unet.records:
        expected |= dict(zip(record.test()["images"], record.per_image()["dice"], strict=True))
    assert unet.per_image("dice")[0].tolist() == [expected[name] for name in unet.images]
    doubled = Contender("x", "X", "network", "stare", "lite", ((unet.records[0], unet.records[0]),))
    with pytest.raises(ValueError, match="each image once"):
        _ = doubled.images


def test_what_has_not_been_run_stays_a_dash(comparison: Comparison) -> None:
    stare = by_key(comparison.contenders()["stare"])
    assert not stare["unetpp"] and stare["unetpp"].evidence == "not run"
    assert not stare["segnet"] and stare["segnet"].evidence == "1 of 2 folds"
    shown = board(leaderboard(stare.values()), ("dice", "auc"), "CPU s").set_index("row")
    assert shown.loc["UNet++", "Dice"] == "—" and shown.loc["SegNet", "AUC"] == "—"
    assert "(" in shown.loc["U-Net", "Dice"]
    assert list(shown.index)[-2:] == ["SegNet", "UNet++"]  # what has not been run comes last


def test_the_leaderboard_follows_from_the_histograms(comparison: Comparison) -> None:
    """Counts at the recorded threshold, image by image; means over images, then over seeds."""
    drive = comparison.contenders()["drive"]
    frame = leaderboard(drive).set_index(["key", "metric"])
    unet = by_key(drive)["unet"]
    assert len(unet.seeds) == 2 and unet.evidence == "lite, 2 seeds"
    for metric in ("dice", "iou", "sensitivity", "specificity", "accuracy", "mcc"):
        means = []
        for record in unet.records:
            counts = record.histograms().select(region="fov", pooled=False).counts(record.content["threshold"])
            means.append(np.nanmean(getattr(counts, metric)))
        assert frame.loc[("unet", metric), "mean"] == pytest.approx(np.mean(means), abs=1e-12)
    areas = [np.mean(r.histograms().select(region="fov", pooled=False).auc()) for r in unet.records]
    assert frame.loc[("unet", "auc"), "mean"] == pytest.approx(np.mean(areas), abs=1e-3)
    assert frame.loc[("frangi", "auc"), "mean"] > 0.7
    assert frame.loc[("unet", "dice"), "parameters"] == unet.records[0].content["model"]["parameters"]
    assert frame.loc[("unet", "dice"), "seconds"] > 0


def test_intervals_are_those_of_a_papers_evidence(comparison: Comparison) -> None:
    """One bootstrap in the book: the same numbers, the same interval."""
    unet = by_key(comparison.contenders()["drive"])["unet"]
    evidence = Evidence("drive-unet", "lite", unet.records)
    for metric in ("dice", "auc", "betti0_error"):
        expected = evidence.interval(metric, region="fov", average="image")
        assert unet.interval(metric) == pytest.approx(expected, abs=1e-12)
        assert unet.value(metric) == pytest.approx(evidence.value(metric, region="fov", average="image"))
        assert unet.interval(metric)[0] <= unet.value(metric) <= unet.interval(metric)[1]


def test_tests_and_power_of_a_data_set(comparison: Comparison) -> None:
    datasets = comparison.contenders()
    tests = network_tests(datasets["drive"])
    unet, segnet = by_key(datasets["drive"])["unet"], by_key(datasets["drive"])["segnet"]
    expected = statistics.signed_rank(unet.paired("dice"), segnet.paired("dice"))
    assert tests["p"].tolist() == [pytest.approx(expected)]
    assert tests["difference"][0] == pytest.approx((unet.paired("dice") - segnet.paired("dice")).mean())
    table = power_table(datasets).set_index("data set")
    assert table.loc["drive", "can one of all pairs pass"] == "no" and table.loc["drive", "images"] == "4"
    assert table.loc["drive", "real differences"] == "0 of 1" and table.loc["stare", "networks run"] == "1 of 3"
    assert table.loc["stare", "pairs run"] == "0 of 3" and table.loc["stare", "images"] == "4"
    sentences = findings.power_sentences(datasets)
    assert len(sentences) == 2 and all("no difference can pass" in sentence for sentence in sentences)
    assert "Among the 1 pairs" in sentences[0] and "Among" not in sentences[1]
    assert len(findings.best_sentences(datasets)) == 2


def test_what_tests_can_decide_is_known_before_any_run(tmp_path: Path) -> None:
    """Eight CHASE_DB1 images cannot pass 78 comparisons; the other data sets' images can."""
    opened = Comparison(load_study("one-protocol"), Parameters(profile="lite"), Store(tmp_path))
    datasets = opened.contenders()
    table = power_table(datasets).set_index("data set")
    assert table["networks run"].eq("0 of 13").all() and table["pairs run"].eq("0 of 78").all()
    assert table["images"].to_dict() == {"drive": "20", "chase_db1": "8", "hrf": "30", "stare": "20"}
    assert table["can one of all pairs pass"].to_dict() == {
        "drive": "yes",
        "chase_db1": "no",
        "hrf": "yes",
        "stare": "yes",
    }
    (sentence,) = findings.power_sentences(datasets)
    assert sentence.startswith("CHASE_DB1") and "78 pairs of 13 networks" in sentence and "at most 6" in sentence


def test_people_stand_beside_networks(comparison: Comparison) -> None:
    """The observer's sentence counts networks above it, and those beyond noise, among those that were run."""
    drive = [item for item in comparison.contenders()["drive"] if item.kind == "network"]
    networks = sorted(drive, key=lambda item: item.value("dice"))
    person = replace(networks[0], kind="observer", key="second_observer", title="second observer")
    (line,) = findings.observer_sentences({"drive": [person, networks[1]]})
    assert line.startswith("DRIVE: 1 of 1 networks have a higher Dice") and ", 0 beyond noise" in line
    widths = findings.width_sentence([person, networks[1]])
    assert (
        f"{networks[1].value('recall_thin'):.3f}" in widths
        and f"second observer {person.value('recall_wide'):.3f}" in widths
    )
    assert findings.width_sentence([]) is None and findings.observer_sentences({"drive": [networks[1]]}) == []


def test_size_and_dice_are_correlated_as_scipy_does(comparison: Comparison) -> None:
    drive = [item for item in comparison.contenders()["drive"] if item.kind == "network"]
    assert findings.size_sentence(drive) is None  # two networks are no trend
    five = [replace(drive[k % 2], seeds=drive[k % 2].seeds[: 1 + k // 2]) for k in range(4)] + [drive[0]]
    expected = stats.spearmanr([item.parameters for item in five], [item.value("dice") for item in five])
    line = findings.size_sentence(five)
    assert findings.signed(float(expected.statistic), 2) in line and f"p {p_text(float(expected.pvalue))}" in line


def test_curves_are_the_histograms(comparison: Comparison) -> None:
    """One record: its own curve and calibration. Parts of the pixels, joined: those of all pixels."""
    unet = by_key(comparison.contenders()["drive"])["unet"]
    one = Contender("unet", "U-Net", "network", "drive", "lite", unet.seeds[:1])
    histogram = unet.records[0].histograms().select(region="fov")
    false, true, _ = histogram.roc_curve()
    assert curves.roc(one) == pytest.approx(np.interp(curves.GRID, false, true))
    assert np.trapezoid(curves.roc(one), curves.GRID) == pytest.approx(float(histogram.auc()), abs=5e-3)
    whole = histogram.calibration(10)
    assert curves.reliability(one).ece == pytest.approx(whole.ece)
    images = unet.records[0].histograms()
    parts = [images.select(region="fov", images=name).calibration(10) for name in images.names]
    joined = curves.join(parts)
    assert joined.ece == pytest.approx(whole.ece)
    assert joined.pixels.sum() == whole.pixels.sum()


def test_figures_are_drawn_only_from_records(comparison: Comparison) -> None:
    datasets = comparison.contenders()
    for draw in (figures.curve_figure, figures.calibration_figure, figures.betti_figure, figures.dominance_figure):
        assert draw(datasets["drive"]) is not None
        assert draw([item for item in datasets["stare"] if not item]) is None
    assert figures.cost_figure(datasets) is not None and figures.cost_figure({}) is None
    assert figures.critical_difference_figure(datasets["drive"]) is None  # two networks make no ranking
    pieces = figures.pieces_figure(datasets["drive"])
    assert next(axis.get_title() for axis in pieces.axes).startswith("the labels: ")


# --- faults ------------------------------------------------------------------------------------------------------


def test_costs_of_faults_by_hand(comparison: Comparison) -> None:
    drive = comparison.contenders()["drive"]
    unet = by_key(drive)["unet"]
    found = {(c.fault, c.metric): c for c in faults.record_costs(unet)}
    for metric in ("accuracy", "auc"):
        cost = found[faults.FRAME, metric]
        frame = [record.metrics(region="frame", average="image")[metric] for record in unet.records]
        assert cost.faulty == pytest.approx(np.mean(frame)) and cost.sound == pytest.approx(unet.value(metric))
    # A threshold that saw the test images cannot be worse there, and one an image is best of all.
    sound, test, image = (
        unet.value("dice"),
        found[faults.TEST_THRESHOLD, "dice"].faulty,
        found[faults.IMAGE_THRESHOLD, "dice"].faulty,
    )
    assert sound <= test + 1e-12 and test <= image + 1e-12
    best = []
    for record in unet.records:
        histogram = record.histograms().select(region="fov", pooled=False)
        best.append(max(np.nanmean(histogram.counts(t).dice) for t in histogram.thresholds if 0 < t < 1))
    assert test == pytest.approx(np.mean(best))


def first_run(comparison: Comparison) -> RunConfig:
    return comparison.study.runs("lite", 0)["drive-unet"]


def test_a_truth_that_keeps_its_size_costs_nothing(comparison: Comparison) -> None:
    run = first_run(comparison)
    native = RescoredConfig(profile=run.profile, scoring=run.scoring, run=run, grid=(64, 72))
    sound = comparison.store.find(run)
    same = rescore(native, comparison.store)
    assert [cost.difference for cost in faults.resized_costs("U-Net", sound, same)] == pytest.approx([0, 0, 0])
    other = rescore(RescoredConfig(profile=run.profile, scoring=run.scoring, run=run, grid=(48, 40)), comparison.store)
    assert any(abs(cost.difference) > 1e-4 for cost in faults.resized_costs("U-Net", sound, other))
    assert other.id != same.id != sound.id


def test_without_weights_nothing_is_rescored(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = first_run(comparison)
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path))
    config = RescoredConfig(profile=run.profile, scoring=run.scoring, run=run, grid=(50, 50))
    assert rescore(config, comparison.store) is None


def test_the_last_epoch_is_the_run_itself(comparison: Comparison) -> None:
    run = first_run(comparison)
    record = comparison.store.find(EpochsConfig.of(run))
    rows, sound = record.content["epochs"], comparison.store.find(run)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[-1]["threshold"] == pytest.approx(sound.content["threshold"])
    for metric in ("dice", "auc"):
        assert rows[-1][metric] == pytest.approx(sound.metrics(region="fov", average="image")[metric], abs=1e-9)
    assert [row["train_loss"] for row in record.history] == [row["train_loss"] for row in sound.history]
    dice = next(cost for cost in faults.epoch_costs("U-Net", record) if cost.metric == "dice")
    assert (
        dice.difference == pytest.approx(max(row["dice"] for row in rows) - rows[-1]["dice"]) and dice.difference >= 0
    )


def test_a_run_that_stops_by_validation_is_refused(comparison: Comparison) -> None:
    run = first_run(comparison)
    training = run.training.model_copy(update={"keep": "best"})
    changed = run.model_copy(update={"training": training, "validation": 0.25})
    with pytest.raises(ValueError, match="last epoch counts"):
        score_epochs(EpochsConfig.of(changed), comparison.store)


def test_the_table_of_faults_keeps_a_line_for_what_was_not_run(comparison: Comparison) -> None:
    drive = comparison.contenders()["drive"]
    table = faults.fault_table(all_costs(comparison, drive)).set_index(["fault", "metric"])
    assert table.loc[(faults.FRAME, "Acc"), "networks"] == table.loc[(faults.BLANKED, "Acc"), "networks"] == "2"
    assert table.loc[(faults.TEST_EPOCH, "Dice"), "networks"] == "1"
    of_all = faults.fault_table(all_costs(comparison, drive), drive).set_index(["fault", "metric"])
    assert of_all.loc[(faults.TEST_EPOCH, "Dice"), "networks"] == "1 of 2"
    told = findings.fault_sentences(all_costs(comparison, drive), drive)
    assert len(told) == len(faults.FAULTS) and "mean over 1 of 2 networks" in told[-1]
    empty = faults.fault_table([])
    assert set(empty["fault"]) == set(faults.FAULTS) and empty["difference"].isna().all()
    assert all("not run" in line for line in findings.fault_sentences([]))


def test_nothing_is_made_when_training_is_off(comparison: Comparison) -> None:
    still = Comparison(comparison.study, comparison.parameters.model_copy(update={"train": "never"}), comparison.store)
    before = len(comparison.store)
    assert still.train() == [] and faults.make_fault_records(still) == [] and len(comparison.store) == before


def test_every_record_beside_the_runs_is_planned(comparison: Comparison) -> None:
    """Ids of all records follow from the study: nothing is left over."""
    runs = [config for _, _, config in comparison.schedule()]
    planned = {config.identify() for config in (*runs, *baseline_configs(runs), *faults.fault_configs(comparison))}
    extra = {record.id for record in comparison.store} - planned
    assert all(record.content["config"]["kind"] == "rescored" for record in comparison.store if record.id in extra)


def test_what_lacks_weights_is_left_out_and_said(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rescorings and the epochs are there; elsewhere, without weights and with one record less, it goes on."""
    said: list[str] = []
    made = faults.make_fault_records(comparison, said.append)
    assert len(made) == 3 and all("there already" in line for line in said)
    store = Store(tmp_path / "records")
    for record in comparison.store:
        if record.content["config"].get("kind") != "rescored":
            shutil.copytree(record.folder, store.path / record.id)
    elsewhere = Comparison(comparison.study, comparison.parameters, store)
    said.clear()
    again = faults.make_fault_records(elsewhere, said.append)  # the weights are in the cache: made anew, equal
    assert [record.id for record in again] == [record.id for record in made]
    assert again[0].metrics() == made[0].metrics() and sum("made" in line for line in said) == 2
    shutil.rmtree(store.path / again[0].id)
    shutil.rmtree(store.path / again[1].id)
    shutil.rmtree(store.path / store.find(first_run(comparison)).id)
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "empty"))
    said.clear()
    assert [record.id for record in faults.make_fault_records(elsewhere, said.append)] == [made[2].id]
    assert said[0] == "U-Net, truth resized: left out, the run has no record"
    assert said[1].startswith("SegNet, truth resized: left out, this machine has not kept the run's weights")


# --- peers -------------------------------------------------------------------------------------------------------


def test_peers_are_fractions_with_sources() -> None:
    for peer in peers.list_peers():
        assert peer.source
        for scores in peer.scores.values():
            for metric, text in scores.items():
                assert math.isfinite(float(text)) and (metric == "betti0_error" or 0 < float(text) < 1), peer.label


@pytest.mark.parametrize(
    ("label", "dataset", "region"),
    [
        ("FSG-Net", "drive", "whole frame"),
        ("VesselSeg-Pytorch, example", "drive", "inside the FOV"),
        ("SA-UNet", "drive", "whole frame"),
        ("Little W-Net, its authors' weights", "drive", "inside the FOV"),
    ],
)
def test_what_a_peers_numbers_imply(records: Path, label: str, dataset: str, region: str) -> None:
    peer = next(item for item in peers.list_peers() if item.label == label)
    assert peers.implied(peer, dataset, load_background(records)).startswith(region)


def test_quoted_rows_are_marked(records: Path) -> None:
    frame = quoted("drive", load_background(records)).set_index("row")
    assert frame["evidence"].str.startswith("quoted: ").all()
    assert frame.loc["SA-UNet", "Sp"] == "0.9840*" and frame.loc["DRIU", "Dice"] == "0.821"
    assert frame.loc["DRIU", "implied region"] == "its numbers do not tell"
    assert "AP" in frame.columns and "AP" not in quoted("hrf", load_background(records)).columns
