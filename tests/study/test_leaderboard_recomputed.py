"""DRIVE's board in the book: every number again from the stored files, by NumPy and SciPy and no metric of retlib."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from retlib.comparison import Comparison, Contender, board, leaderboard, network_tests, own_networks
from retlib.comparison.boards import METRICS, PIXELS, STRUCTURE, TITLES
from retlib.report import Parameters
from retlib.studies import load_study
from retlib.study import Store

RANKED = ("auc", "average_precision")
COUNTED = ("dice", "iou", "sensitivity", "specificity", "accuracy", "mcc")
DRAWS = 4000


@dataclass(frozen=True)
class Stored:
    """What one record's files hold, read without retlib."""

    content: dict
    edges: np.ndarray
    inside: np.ndarray  # (images, class, bin)

    @property
    def per_image(self) -> dict[str, np.ndarray]:
        columns = next(iter(self.content["tests"].values()))["per_image"]["fov"]
        return {key: np.array([math.nan if v is None else v for v in values]) for key, values in columns.items()}


def stored(folder: Path) -> Stored:
    content = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    test = next(iter(content["tests"].values()))
    with np.load(folder / test["scores"]) as file:
        assert [str(name) for name in file["names"]] == test["images"]
        return Stored(content, file["edges"].astype(np.float64), file["counts"][:, 0].astype(np.float64))


@pytest.fixture(scope="module")
def members(repository: Path) -> list[Contender]:
    """Everything on DRIVE's board that was measured; found by committed fingerprints, without any data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RETLIB_DATA", raising=False)
        store = Store(repository / "book" / "records")
        opened = Comparison(load_study("one-protocol"), Parameters(profile="lite", seeds=(0, 1, 2)), store)
        found = [item for item in [*opened.contenders()["drive"], *own_networks(opened)] if item]
    assert {item.kind for item in found} == {"network", "filter", "observer", "own"}
    return found


@pytest.fixture(scope="module")
def files(members: list[Contender]) -> dict[str, list[Stored]]:
    """Title -> the files of its seeds."""
    return {item.title: [stored(record.folder) for record in item.records] for item in members}


def from_counts(item: Stored) -> dict[str, np.ndarray]:
    """Scores of each image at the record's threshold, from its histograms of background and vessel scores."""
    chances = special.expit(item.edges)
    cut = int(np.argmin(np.abs(chances - item.content["threshold"])))
    assert chances[cut] == pytest.approx(item.content["threshold"], abs=1e-6)
    fp, tp = item.inside[:, :, cut + 1 :].sum(axis=2).T
    tn, fn = item.inside[:, :, : cut + 1].sum(axis=2).T
    return {
        "dice": 2 * tp / (2 * tp + fp + fn),
        "iou": tp / (tp + fp + fn),
        "sensitivity": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "accuracy": (tp + tn) / (tp + tn + fp + fn),
        "mcc": (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)),
    }


def from_ranks(item: Stored, vessels_first: bool) -> dict[str, np.ndarray]:
    """Areas of each image if the pixels inside every bin of its histogram lie in the best order, or in the worst."""
    background, vessel = (item.inside[:, k, ::-1] for k in (0, 1))  # from the highest scores down
    found, wrong = vessel.cumsum(axis=1) - vessel, background.cumsum(axis=1) - background  # above each bin
    if not vessels_first:
        wrong = wrong + background
    lost = (vessel * wrong).sum(axis=1)  # pairs in which a background pixel comes first
    above = found + wrong
    # The i-th vessel pixel of a bin has the precision (found + i) / (above + i), summed over i by the digamma function.
    steps = vessel - wrong * (special.digamma(above + vessel + 1) - special.digamma(above + 1))
    return {
        "auc": 1 - lost / (vessel.sum(axis=1) * background.sum(axis=1)),
        "average_precision": steps.sum(axis=1) / vessel.sum(axis=1),
    }


def resampled(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of (seeds, images): images drawn for all seeds at once, then seeds."""
    rng = np.random.default_rng(99)
    seeds, images = values.shape
    means = np.empty(DRAWS)
    for k in range(DRAWS):
        row = values[:, rng.integers(images, size=images)].mean(axis=1)
        means[k] = row[rng.integers(seeds, size=seeds)].mean()
    return tuple(np.percentile(means, [2.5, 97.5]))


def test_counts_of_the_histograms_give_every_score_of_the_board(
    members: list[Contender], files: dict[str, list[Stored]]
) -> None:
    frame = leaderboard(members).set_index(["row", "metric"])
    for title, seeds in files.items():
        for metric in COUNTED:
            expected = np.mean([from_counts(item)[metric].mean() for item in seeds])
            assert frame.loc[(title, metric), "mean"] == pytest.approx(expected, abs=1e-9), (title, metric)


def test_areas_lie_where_the_histograms_leave_room(members: list[Contender], files: dict[str, list[Stored]]) -> None:
    """Between the best and the worst order of the pixels inside the bins; for networks that is within a hundredth."""
    frame = leaderboard(members).set_index(["row", "metric"])
    for item in members:
        for metric in RANKED:
            shown = frame.loc[(item.title, metric), "mean"]
            if item.kind == "observer":
                assert math.isnan(shown)
                continue
            low, high = (
                np.mean([from_ranks(one, first)[metric].mean() for one in files[item.title]]) for first in (False, True)
            )
            assert low - 1e-9 <= shown <= high + 1e-9, (item.title, metric)
            assert item.kind == "filter" or high - low < 0.01


def test_every_mean_is_that_of_the_stored_images(members: list[Contender], files: dict[str, list[Stored]]) -> None:
    """Areas and structure too, which histograms do not hold or hold to a thousandth."""
    frame = leaderboard(members).set_index(["row", "metric"])
    for item in members:
        for metric in METRICS:
            if item.kind == "observer" and metric in RANKED:
                continue
            expected = np.mean([np.nanmean(one.per_image[metric]) for one in files[item.title]])
            assert frame.loc[(item.title, metric), "mean"] == pytest.approx(expected, abs=1e-12)


def test_the_intervals_are_those_of_another_bootstrap(members: list[Contender], files: dict[str, list[Stored]]) -> None:
    """Other draws of images and seeds; the ends may differ by what so many draws leave open."""
    frame = leaderboard(members).set_index(["row", "metric"])
    for item in members:
        names = [json.dumps(sorted(next(iter(one.content["tests"].values()))["images"])) for one in files[item.title]]
        assert len(set(names)) == 1
        for metric in ("dice", "auc", "cldice", "betti0_error", "recall_thin"):
            if item.kind == "observer" and metric == "auc":
                continue
            low, high = resampled(np.array([one.per_image[metric] for one in files[item.title]]))
            shown = frame.loc[(item.title, metric)]
            assert shown["low"] == pytest.approx(low, abs=0.1 * (high - low)), (item.title, metric)
            assert shown["high"] == pytest.approx(high, abs=0.1 * (high - low)), (item.title, metric)
            assert shown["low"] <= shown["mean"] <= shown["high"]


def test_what_is_shown_is_what_was_computed(members: list[Contender], files: dict[str, list[Stored]]) -> None:
    """The cells of both tables, and the order of the lines, from the stored files."""
    ranked = [item for item in members if item.kind != "own"]
    frame = leaderboard(ranked)
    dice = {item.title: np.mean([from_counts(one)["dice"].mean() for one in files[item.title]]) for item in ranked}
    for metrics in (PIXELS, STRUCTURE):
        shown = board(frame, metrics, "CPU s").set_index("row")
        assert list(shown.index) == sorted(dice, key=lambda title: -dice[title])
        for item in ranked:
            assert shown.loc[item.title, "evidence"]
            for metric in metrics:
                text = shown.loc[item.title, TITLES[metric]]
                if item.kind == "observer" and metric in RANKED:
                    assert text == "—"
                    continue
                expected = np.mean([np.nanmean(one.per_image[metric]) for one in files[item.title]])
                decimals = 1 if metric == "betti0_error" else 4
                assert text.split(" ")[0] == f"{expected:.{decimals}f}"
            size = files[item.title][0].content["model"]["parameters"]
            seconds = [one.content["timing"].get("inference_cpu_s_per_image") for one in files[item.title]]
            known = [value for value in seconds if value is not None]
            text = shown.loc[item.title, "CPU s"]
            assert (text == f"{min(known):.2f}") if known else pd.isna(text)
            if item.kind != "observer":
                assert int(shown.loc[item.title, "parameters"].replace(" ", "")) == size


def test_the_tests_between_networks_are_scipys(members: list[Contender], files: dict[str, list[Stored]]) -> None:
    """Networks alone, never our own; p by SciPy on the images' Dice from the histograms."""
    networks = [item for item in members if item.kind == "network"]
    values = {item.title: np.mean([from_counts(one)["dice"] for one in files[item.title]], axis=0) for item in networks}
    tests = network_tests(members)
    assert {*tests["first"], *tests["second"]} == set(values)
    assert len(tests) == len(networks) * (len(networks) - 1) // 2
    for line in tests.itertuples():
        assert line.p == pytest.approx(stats.wilcoxon(values[line.first], values[line.second]).pvalue, rel=1e-9)
