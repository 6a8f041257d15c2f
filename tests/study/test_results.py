"""The table of scores: what is in it, and what it refuses to join."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from retlib.metrics import METRICS
from retlib.study import Record, check_parameters, open_study, results, statistics

IMAGES = ["01", "02", "03"]


def made(folder: Path, seed: int, dice: list[float | None], train_dice: float = 0.8, images=IMAGES, **config) -> Record:
    """Make a record of three images; scores of the frame are those inside the FOV minus 0.1."""
    scoring = {"region": "fov", "average": "image"}
    config = {"profile": "lite", "seed": seed, "numerics": 2, "model": "unet", "scoring": scoring} | config
    regions = {"fov": 0.0, "frame": -0.1}
    shifted = {
        region: [None if value is None else value + shift for value in dice] for region, shift in regions.items()
    }
    content = {
        "id": f"{seed:016x}",
        "config": config,
        "history": [{"epoch": epoch, "train_dice": train_dice} for epoch in range(1, 5)],
        "threshold": 0.5,
        "tests": {
            "drive:test": {
                "images": list(images),
                "per_image": {
                    region: {"dice": values, "auc": [0.9] * len(images)} for region, values in shifted.items()
                },
                "metrics": {region: {"pooled": {"dice": 0.5 + shift, "auc": 0.9}} for region, shift in regions.items()},
            }
        },
    }
    return Record(folder / content["id"], content)


def tidy(record: Record, run: str = "drive-unet", **about) -> pd.DataFrame:
    return results.tidy(record, source="made", run=run, role="table", dataset="drive", **about)


def select(rows: pd.DataFrame, metric: str = "dice") -> pd.DataFrame:
    return rows[rows["as_scored"] & (rows["metric"] == metric)]


def test_a_row_is_one_score(tmp_path: Path) -> None:
    rows = tidy(made(tmp_path, 0, [0.8, 0.7, None]))
    assert list(rows.columns) == list(results.COLUMNS)
    assert len(rows) == 2 * 2 * (len(IMAGES) + 1)  # regions, metrics, images and all pixels together
    frame = rows[(rows["region"] == "frame") & (rows["average"] == "image") & (rows["metric"] == "dice")]
    assert frame["value"].tolist()[:2] == pytest.approx([0.7, 0.6]) and math.isnan(frame["value"].iloc[2])
    assert set(rows.loc[rows["as_scored"], "region"]) == {"fov"} and set(rows.loc[rows["as_scored"], "average"]) == {
        "image"
    }


def test_an_annotation_has_no_auc(tmp_path: Path) -> None:
    rows = tidy(made(tmp_path, 0, [0.8, 0.7, 0.6]), kind="observer")
    assert rows.loc[rows["metric"] == "auc", "value"].isna().all()
    assert rows.loc[rows["metric"] == "dice", "value"].notna().all()


def test_the_mean_is_over_images_and_then_over_seeds(tmp_path: Path) -> None:
    rows = results.join([tidy(made(tmp_path, 0, [0.8, 0.6, None])), tidy(made(tmp_path, 1, [0.9, 0.9, 0.9]))])
    ours = results.measure(select(rows))
    assert ours.value == pytest.approx((0.7 + 0.9) / 2) and ours.seeds == (0, 1) and ours.basis == "lite, 2 seeds"
    assert ours.low < ours.value < ours.high
    summary = results.summarise(rows[rows["as_scored"]])
    assert summary.loc[("drive-unet", "dice"), "value"] == ours.value


def test_runs_that_never_learned_are_in_the_mean_and_named(tmp_path: Path) -> None:
    rows = results.join([tidy(made(tmp_path, 0, [0.8] * 3)), tidy(made(tmp_path, 1, [0.0] * 3, train_dice=0.05))])
    ours = results.measure(select(rows))
    assert ours.value == pytest.approx(0.4) and ours.never_learned == (1,)
    assert ours.basis == "lite, 2 seeds (1 never learned)"
    assert results.measure(select(rows[rows["learned"]])).value == pytest.approx(0.8)


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    one = tidy(made(tmp_path, 0, [0.8, 0.7, 0.6]))
    other_images = tidy(made(tmp_path, 1, [0.8, 0.7, 0.6], images=["01", "02", "04"]))
    with pytest.raises(ValueError, match="not scored on the same images"):
        results.measure(select(results.join([one, other_images])))
    with pytest.raises(ValueError, match="each image once"):
        results.measure(select(results.join([one, one])))
    with pytest.raises(ValueError, match="expected one metric"):
        results.matrix(one[one["as_scored"]])
    with pytest.raises(ValueError, match="expected one region"):
        results.matrix(one[(one["metric"] == "dice") & (one["average"] == "image")])
    with pytest.raises(ValueError, match="expected one group"):
        results.matrix(select(results.join([one, tidy(made(tmp_path, 1, [0.8, 0.7, 0.6]), run="drive-segnet")])))
    with pytest.raises(ValueError, match="cannot be paired"):
        results.difference(select(one), select(tidy(made(tmp_path, 0, [0.8, 0.7, 0.6], images=["07", "08", "09"]))))


def test_folds_are_joined(tmp_path: Path) -> None:
    first = tidy(made(tmp_path, 0, [0.8, 0.7, 0.6]), run="stare-fold1-unet")
    second = tidy(made(tmp_path, 0, [0.5, 0.4, 0.3], images=["04", "05", "06"]), run="stare-fold2-unet")
    rows = results.join([first, second])
    assert set(rows["group"]) == {"stare-unet"} and set(rows["fold"]) == {1, 2}
    assert results.matrix(select(rows)).shape == (1, 6)
    assert results.measure(select(rows)).value == pytest.approx(0.55)


def test_the_best_profile_and_one_profile_for_all(tmp_path: Path) -> None:
    small, full = tidy(made(tmp_path, 0, [0.5] * 3)), tidy(made(tmp_path, 0, [0.8] * 3, profile="paper"))
    other = tidy(made(tmp_path, 0, [0.6] * 3), run="drive-segnet")
    rows = results.join([small, full, other])
    best = results.best_profile(rows)
    assert best.groupby("run")["profile"].first().to_dict() == {"drive-unet": "paper", "drive-segnet": "lite"}
    together = results.same_profile(rows, ["drive-unet", "drive-segnet"])
    assert set(together["profile"]) == {"lite"} and set(together["run"]) == {"drive-unet", "drive-segnet"}
    assert set(results.same_profile(rows, ["drive-unet"])["profile"]) == {"paper"}
    assert set(results.same_profile(rows, ["drive-unet", "missing"])["profile"]) == {"paper"}
    assert results.same_profile(rows, ["missing"]).empty


def test_a_difference_takes_the_seeds_of_both_and_draws_them(tmp_path: Path) -> None:
    start = results.join([tidy(made(tmp_path, seed, [0.8, 0.5, 0.2])) for seed in (0, 1, 2)])
    end = results.join(
        [
            tidy(made(tmp_path, seed, [value + 0.01 + 0.02 * seed for value in (0.8, 0.5, 0.2)]), run="b")
            for seed in (1, 2, 3)
        ]
    )
    found = results.difference(select(start), select(end))
    assert found.seeds == pytest.approx((0.03, 0.05)) and found.value == pytest.approx(0.04)
    # The images cancel out, so that the interval is that of the seeds: both drawn alike, or one of each.
    assert (found.low, found.high) == pytest.approx((0.03, 0.05)) and found.beyond_noise
    assert results.difference(select(start), select(end[end["seed"] == 3])) is None


def test_seeds_of_both_signs_are_no_difference(tmp_path: Path) -> None:
    start = results.join([tidy(made(tmp_path, seed, [0.8, 0.5, 0.2])) for seed in (0, 1)])
    end = results.join(
        [tidy(made(tmp_path, 0, [0.9, 0.6, 0.3]), run="b"), tidy(made(tmp_path, 1, [0.7, 0.4, 0.1]), run="b")]
    )
    assert not results.difference(select(start), select(end)).beyond_noise


def test_pooled_intervals_agree_with_a_bootstrap_written_otherwise(repository: Path) -> None:
    """Of a committed record: draw images one by one, add their histograms up, score them."""
    record = open_committed(repository, "af-unet").record("drive-unet")
    rows = tidy(record, run="drive-unet")
    rows = rows[(rows["region"] == "fov") & (rows["average"] == "pooled")]
    histograms = record.histograms().select(region="fov", pooled=False)
    rng = np.random.default_rng(7)
    for metric in ("dice", "auc"):
        assert metric in METRICS
        ours = results.measure(rows[rows["metric"] == metric])
        values = []
        for _ in range(600):
            drawn = rng.integers(len(histograms.vessel), size=len(histograms.vessel))
            vessel, background = histograms.vessel[drawn].sum(axis=0), histograms.background[drawn].sum(axis=0)
            summed = type(histograms)(histograms.edges, vessel, background, ())
            values.append(summed.auc() if metric == "auc" else summed.counts(record.content["threshold"]).dice)
        low, high = np.percentile(values, [2.5, 97.5])
        width = ours.high - ours.low
        assert abs(low - ours.low) < 0.2 * width and abs(high - ours.high) < 0.2 * width
        assert ours.value == pytest.approx(record.metrics(region="fov", average="pooled")[metric])


@pytest.mark.parametrize("images", [2, 3, 4, 5, 6, 9, 10])
def test_coverage_of_intervals_over_few_images_is_as_said(images: int) -> None:
    rng, weights = np.random.default_rng(images), statistics.draw_images(images)
    scores = rng.normal(size=(2000, images))
    ends = np.array([np.percentile(weights @ each / images, [2.5, 97.5]) for each in scores])
    covered = 100 * np.mean((ends[:, 0] <= 0) & (ends[:, 1] >= 0))
    note = statistics.coverage_note(images)
    if not note:
        assert covered > 88
        return
    low, high = (int(word) for word in note.removesuffix(" %").split(" covers ")[1].split(" to "))
    error = 100 * 3 * math.sqrt(0.25 / 2000)
    assert low - error <= covered <= high + error


def open_committed(repository: Path, key: str):
    """Open a paper with the records of the book."""
    names = {"profile": "lite", "seeds": [0, 1, 2], "records": str(repository / "book" / "records"), "train": "never"}
    return open_study(key, check_parameters(names))


def test_the_scores_of_the_committed_records(repository: Path) -> None:
    study = open_committed(repository, "af-unet")
    scores = study.scores()
    assert scores["complete"].all() and set(scores["profile"]) <= {"paper", "lite"}
    record = study.record("drive-unet")
    rows = scores[(scores["record"] == record.folder) & (scores["image"] == "01_test") & (scores["region"] == "fov")]
    values = record.per_image(region="fov")
    assert rows.set_index("metric")["value"].to_dict() == {m: values[m][0] for m in values}


def test_a_group_with_a_missing_fold_is_incomplete(repository: Path) -> None:
    study = open_committed(repository, "one-protocol")
    whole = study.scores()
    some = whole[whole["group"] == "stare-unet"]
    assert some["complete"].all()
    gone = whole[~(whole["run"] == "stare-fold2-unet")]
    assert not study._complete(gone)[gone["group"] == "stare-unet"].any()
