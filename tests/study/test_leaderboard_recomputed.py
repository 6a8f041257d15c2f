"""DRIVE's leaderboard: every number again from the stored files, by NumPy and SciPy and no metric of retlib."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from retlib.models import MODEL_TITLES
from retlib.study import open_study, results
from retlib.study.baselines import METHODS, baseline_scores
from retlib.study.parameters import Parameters
from tests.pages import functions_of

RANKED = ("auc", "average_precision")
COUNTED = ("dice", "iou", "sensitivity", "specificity", "accuracy", "mcc")
METRICS = (*COUNTED, *RANKED, "cldice", "betti0_error", "recall_thin")
COLUMNS = {"Dice": "dice", "IoU": "iou", "AUC": "auc", "AP": "average_precision", "Se": "sensitivity"}
COLUMNS |= {"Sp": "specificity", "Acc": "accuracy", "MCC": "mcc", "clDice": "cldice", "Betti-0": "betti0_error"}
COLUMNS |= {"thin recall": "recall_thin"}
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
def without_data() -> Iterator[None]:
    """Ids follow from committed fingerprints: the book's records are found without any data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RETLIB_DATA", raising=False)
        yield


@pytest.fixture(scope="module")
def scores(repository: Path, without_data: None) -> pd.DataFrame:
    """The table of scores on DRIVE inside the FOV."""
    parameters = Parameters(profile="lite", seeds=(0, 1, 2))
    study = open_study("one-protocol", parameters, repository / "notebooks")
    found = results.join([study.scores(), baseline_scores(study)])
    found.loc[(found["role"] == "control") & (found["kind"] == "network"), "kind"] = "own"
    own = found["kind"] == "own"
    found.loc[own, "model"] = found.loc[own, "run"]
    found = found[(found["dataset"] == "drive") & (found["region"] == "fov") & (found["average"] == "image")]
    assert set(found["kind"]) == {"network", "filter", "observer", "own"} and found["complete"].all()
    assert set(found["profile"]) == {"lite"}
    return found


@pytest.fixture(scope="module")
def frame(scores: pd.DataFrame) -> pd.DataFrame:
    """What the page shows: means and intervals of every model and metric."""
    return results.summarise(scores, by=["model", "metric"])


@pytest.fixture(scope="module")
def kinds(scores: pd.DataFrame) -> dict[str, str]:
    """Model -> its kind."""
    return dict(zip(scores["model"], scores["kind"], strict=True))


@pytest.fixture(scope="module")
def files(scores: pd.DataFrame) -> dict[str, list[Stored]]:
    """Model -> the files of its seeds."""
    return {model: [stored(Path(path)) for path in rows["record"].unique()] for model, rows in scores.groupby("model")}


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
    of_seeds = values[:, rng.integers(images, size=(DRAWS, images))].mean(axis=2)
    means = of_seeds[rng.integers(seeds, size=(seeds, DRAWS)), np.arange(DRAWS)].mean(axis=0)
    return tuple(np.percentile(means, [2.5, 97.5]))


def test_counts_of_the_histograms_give_every_score(frame: pd.DataFrame, files: dict[str, list[Stored]]) -> None:
    for model, seeds in files.items():
        for metric in COUNTED:
            expected = np.mean([from_counts(item)[metric].mean() for item in seeds])
            assert frame.loc[(model, metric), "value"] == pytest.approx(expected, abs=1e-9), (model, metric)


def test_areas_lie_where_the_histograms_leave_room(
    frame: pd.DataFrame, kinds: dict[str, str], files: dict[str, list[Stored]]
) -> None:
    """Between the best and the worst order of the pixels inside the bins; for networks that is within a hundredth."""
    for model, kind in kinds.items():
        for metric in RANKED:
            shown = frame.loc[(model, metric), "value"]
            if kind == "observer":
                assert math.isnan(shown)
                continue
            low, high = (
                np.mean([from_ranks(one, first)[metric].mean() for one in files[model]]) for first in (False, True)
            )
            assert low - 1e-9 <= shown <= high + 1e-9, (model, metric)
            assert kind == "filter" or high - low < 0.01


def test_every_mean_is_that_of_the_stored_images(
    frame: pd.DataFrame, kinds: dict[str, str], files: dict[str, list[Stored]]
) -> None:
    """Areas and structure too, which histograms do not hold or hold to a thousandth."""
    for model, kind in kinds.items():
        for metric in METRICS:
            if kind == "observer" and metric in RANKED:
                continue
            expected = np.mean([np.nanmean(one.per_image[metric]) for one in files[model]])
            assert frame.loc[(model, metric), "value"] == pytest.approx(expected, abs=1e-12)


def test_the_intervals_are_those_of_another_bootstrap(
    frame: pd.DataFrame, kinds: dict[str, str], files: dict[str, list[Stored]]
) -> None:
    """Other draws of images and seeds; the ends may differ by what so many draws leave open."""
    for model, kind in kinds.items():
        names = [json.dumps(sorted(next(iter(one.content["tests"].values()))["images"])) for one in files[model]]
        assert len(set(names)) == 1
        for metric in ("dice", "auc", "cldice", "betti0_error", "recall_thin"):
            if kind == "observer" and metric == "auc":
                continue
            low, high = resampled(np.array([one.per_image[metric] for one in files[model]]))
            shown = frame.loc[(model, metric)]
            assert shown["low"] == pytest.approx(low, abs=0.1 * (high - low)), (model, metric)
            assert shown["high"] == pytest.approx(high, abs=0.1 * (high - low)), (model, metric)
            assert shown["low"] <= shown["value"] <= shown["high"]


@pytest.fixture(scope="module")
def page(build_folder: Path) -> list[pd.DataFrame]:
    """The tables of the page as the book shows it, as text; the caption is in ``attrs``."""
    path = build_folder / "src" / "notebooks" / "one_protocol.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    outputs = [out for cell in notebook["cells"] for out in cell.get("outputs", [])]
    assert not [out for out in outputs if out["output_type"] == "error" or out.get("name") == "stderr"]
    shown = ["".join(out["data"]["text/html"]) for out in outputs if "text/html" in out.get("data", {})]
    return [read_table(html) for html in shown if "<table" in html]


def read_table(html: str) -> pd.DataFrame:
    rows = [
        re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        for row in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    ]
    header, *body = [[unescape(cell).replace("&nbsp;", "").strip() for cell in row] for row in rows if row]
    table = pd.DataFrame([row for row in body if len(row) == len(header)], columns=header)
    table = table.set_index(table.columns[0])
    table.attrs["caption"] = unescape(re.search(r"<caption>(.*?)</caption>", html)[1])
    return table


def test_what_the_page_shows_is_what_was_computed(
    page: list[pd.DataFrame], kinds: dict[str, str], files: dict[str, list[Stored]]
) -> None:
    """The cells of DRIVE's leaderboard and the order of its lines; our own networks are not in it."""
    titles = MODEL_TITLES | METHODS
    table = next(item for item in page if item.attrs["caption"].startswith("DRIVE: 20 test images (lite, 3 seeds)"))
    ranked = [model for model, kind in kinds.items() if kind != "own"]
    dice = {titles[model]: np.mean([from_counts(one)["dice"].mean() for one in files[model]]) for model in ranked}
    assert list(table.index) == sorted(dice, key=lambda title: -dice[title])
    for model in ranked:
        for title, metric in COLUMNS.items():
            text = table.loc[titles[model], title]
            if kinds[model] == "observer" and metric in RANKED:
                assert text == "\N{EM DASH}"
                continue
            expected = np.mean([np.nanmean(one.per_image[metric]) for one in files[model]])
            assert text == f"{expected:.{1 if metric == 'betti0_error' else 4}f}", (model, metric)
    sizes = next(item for item in page if item.attrs["caption"].startswith("Size of the networks"))
    for model in (model for model, kind in kinds.items() if kind == "network"):
        parameters = files[model][0].content["model"]["parameters"]
        assert int(sizes.loc[titles[model], "parameters"].replace(" ", "")) == parameters


def test_the_tests_between_networks_are_scipys(
    page: list[pd.DataFrame], scores: pd.DataFrame, kinds: dict[str, str], files: dict[str, list[Stored]]
) -> None:
    """Networks alone, never our own; p by SciPy on the images' Dice from the histograms."""
    networks = [model for model, kind in kinds.items() if kind == "network"]
    values = {model: np.mean([from_counts(one)["dice"] for one in files[model]], axis=0) for model in networks}
    dice = scores[scores["metric"] == "dice"]
    matrices = {model: results.matrix(dice[dice["model"] == model]).mean().to_numpy() for model in networks}
    tests = functions_of("one_protocol").paired_tests(pd.DataFrame(matrices))
    assert len(tests) == len(networks) * (len(networks) - 1) // 2
    for line in tests.itertuples():
        assert line.p == pytest.approx(stats.wilcoxon(values[line.first], values[line.second]).pvalue, rel=1e-9)
    shown = next(item for item in page if item.attrs["caption"].startswith("All pairs of networks")).loc["DRIVE"]
    assert shown["significant pairs"] == f"{tests['significant'].sum()} of {len(tests)}"
