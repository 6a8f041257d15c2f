"""The rule of the recipe study on scores that are known: noise band, better and worse, what is adopted."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from retlib.studies import load_study
from retlib.study.plan import PROFILES
from retlib.study.rules import recipe
from retlib.study.rules.recipe import COMBINATION, TARGETS
from tests.pages import functions_of

page = functions_of("recipe")

SHIFT = {0: 0.0, 1: 0.001, 2: -0.001}  # what a seed adds to the base's score of every image
LEVEL = {"dice": 0.8, "auc": 0.97, "cldice": 0.8, "betti0_error": 60.0, "recall_thin": 0.5}
IMAGES = ["23", "25", "27", "40"]
CHANGES = page.describe_changes(load_study("recipe").runs("lite"))


def rows(run: str, seed: int, added: dict[str, tuple[float, ...]]) -> list[dict]:
    """Scores of one run: the base's of this seed, and what is added to a metric image by image."""
    scale = {"betti0_error": 1000.0}
    return [
        {"run": run, "group": run, "profile": "lite", "region": "fov", "average": "image", "seed": seed}
        | {"metric": metric, "image": image, "value": level + SHIFT[seed] * scale.get(metric, 1.0) + more}
        for metric, level in LEVEL.items()
        for image, more in zip(IMAGES, added.get(metric, (0.0,) * 4), strict=True)
    ]


def effects(changes: dict[str, dict[str, tuple[float, ...]]], seeds=(0, 1, 2), same: bool = True) -> pd.DataFrame:
    """Compare changes, run -> metric -> what is added to seed 0, with a base of these seeds.

    Args:
        changes: metrics that are not named are as in seed 0.
        seeds: of the base.
        same: whether the changes have the history of the base's seed 0.
    """
    base = [row for seed in seeds for row in rows("base", seed, {})]
    scores = pd.DataFrame(base + [row for run, added in changes.items() for row in rows(run, 0, added)])
    runs = [("base", seed, float(seed)) for seed in seeds] + [(run, 0, 0.0 if same else 9.0) for run in changes]
    histories = pd.DataFrame(
        {"run": run, "profile": "lite", "seed": seed, "epoch": epoch, "train_dice": 0.1 * epoch + more}
        for run, seed, more in runs
        for epoch in (1, 2, 3)
    )
    return recipe.effects(scores, histories, CHANGES)


def outcome(compared: pd.DataFrame, run: str, metric: str) -> str:
    return compared.set_index(["run", "metric"]).loc[(run, metric), "outcome"]


@pytest.mark.parametrize("profile", PROFILES)
def test_every_run_changes_one_factor_and_only_one_combines(profile: str) -> None:
    changes = page.describe_changes(load_study("recipe").runs(profile))
    assert changes.index[changes["factor"] == COMBINATION].tolist() == ["long-strong"]
    assert set(changes["factor"]) == {*page.FACTORS.values(), COMBINATION}
    assert changes.index[changes["inference_only"]].tolist() == ["flips", "specks"]


def test_a_field_of_no_factor_is_refused() -> None:
    runs = load_study("recipe").runs("lite")
    training = runs["base"].training.model_copy(update={"gradient_clip": 0.5})
    other = runs["base"].model_copy(update={"training": training})
    with pytest.raises(ValueError, match=r"other: expected fields of one of the factors, got training\.gradient_clip"):
        page.describe_changes({"base": runs["base"], "other": other})


def test_fields_that_differ_are_named_with_the_other_value() -> None:
    runs = load_study("recipe").runs("lite")
    assert page.changed(runs["base"], runs["loss-bce"]) == {"training.loss.dice": None}
    assert page.changed(runs["base"], runs["side-544"]) == {"inputs.fov_side": 544}
    assert page.changed(runs["base"], runs["base"]) == {}


def test_the_band_is_the_prediction_interval_for_a_new_seed() -> None:
    base = pd.DataFrame([[0.8 + SHIFT[seed]] * 4 for seed in (0, 1, 2)])
    assert recipe.noise_band(base) == pytest.approx(stats.t.ppf(0.975, 2) * 0.001 * math.sqrt(4 / 3))
    assert math.isnan(recipe.noise_band(base.iloc[:1]))
    rng = np.random.default_rng(0)  # it holds a new one 95 times in a hundred
    draws = rng.normal(size=(20_000, 4))
    width = stats.t.ppf(0.975, 2) * draws[:, :3].std(axis=1, ddof=1) * math.sqrt(4 / 3)
    assert np.mean(np.abs(draws[:, 3] - draws[:, :3].mean(axis=1)) < width) == pytest.approx(0.95, abs=0.005)


@pytest.mark.parametrize(
    ("run", "metric", "added", "expected", "judged"),
    [
        ("loss-bce", "dice", (0.006, 0.007, 0.008, 0.009), "better", "gain"),
        ("loss-dice", "dice", (0.04, 0.04, 0.04, -0.001), "not the same sign on every image", "undecided"),
        ("average", "dice", (-0.04, -0.04, -0.04, 0.001), "not the same sign on every image", "undecided"),
        ("augmentation-none", "dice", (0.002,) * 4, "within the noise band", "undecided"),
        ("augmentation-colour", "betti0_error", (-20.0,) * 4, "better", "gain"),  # fewer broken vessels
        ("input-green", "auc", (-0.02,) * 4, "worse", "loss"),
        ("input-standard", "betti0_error", (20.0,) * 4, "worse", "loss"),
        ("loss-bce", "recall_thin", (-0.4,) * 4, "worse", "undecided"),  # thin vessels are shown and judge nothing
    ],
)
def test_a_change_counts_beyond_the_band_and_on_every_image(run, metric, added, expected, judged) -> None:
    compared = effects({run: {metric: added}})
    assert outcome(compared, run, metric) == expected
    assert recipe.judge(compared)[run] == judged
    row = compared.set_index(["run", "metric"]).loc[(run, metric)]
    assert row["mean"] == pytest.approx(np.mean(added)) and row["by_image"] == pytest.approx(added)


def test_a_loss_in_one_metric_outweighs_gains_in_the_others() -> None:
    compared = effects({"loss-bce": {"dice": (0.02,) * 4, "auc": (0.02,) * 4, "cldice": (-0.02,) * 4}})
    assert recipe.judge(compared)["loss-bce"] == "loss"
    assert recipe.adopt(compared, CHANGES)["loss"] is None


def test_of_several_gains_the_one_with_the_highest_dice_is_adopted() -> None:
    adopted = recipe.adopt(
        effects(
            {
                "loss-bce": {"dice": (0.01,) * 4},
                "loss-dice": {"auc": (0.02,) * 4, "dice": (0.001,) * 4},
                "loss-cldice": {"dice": (0.02,) * 4},
                "long-strong": {"dice": (0.05,) * 4},
            }
        ),
        CHANGES,
    )
    assert adopted["loss"] == "loss-cldice"
    assert COMBINATION not in adopted and adopted["width"] is None and set(adopted) == set(page.FACTORS.values())


def test_a_change_of_inference_is_compared_with_its_own_network() -> None:
    small = {"flips": {"dice": (0.0001,) * 4}, "specks": {"dice": (-0.0001,) * 4}}
    compared = effects(small)
    assert recipe.judge(compared).to_dict() == {"flips": "gain", "specks": "undecided"}  # so small a loss is no reason
    assert compared.set_index(["run", "metric"]).loc[("flips", "dice"), "mean"] == pytest.approx(0.0001)  # seed 0 alone
    compared = effects(small, same=False)  # another network after all: the band has to be passed
    assert recipe.judge(compared)["flips"] == "undecided"


def test_without_a_second_seed_nothing_is_adopted() -> None:
    compared = effects({"loss-bce": {"dice": (0.1,) * 4}, "flips": {"dice": (0.1,) * 4}}, seeds=(0,))
    assert set(compared["outcome"]) == {"noise unknown"} and compared["band"].isna().all()
    assert set(recipe.adopt(compared, CHANGES).values()) == {None}


def test_other_images_are_refused() -> None:
    base, other = pd.DataFrame(rows("base", 0, {})), pd.DataFrame(rows("loss-bce", 0, {}))
    other["image"] = other["image"].replace("40", "41")
    histories = pd.DataFrame(columns=["run", "profile", "seed", "epoch"])
    with pytest.raises(ValueError, match="loss-bce: expected scores of one seed on the images of the base"):
        recipe.effects(pd.concat([base, other]), histories, CHANGES)


def test_without_scores_nothing_is_judged() -> None:
    nothing = effects({}).iloc[:0]
    assert recipe.judge(nothing).empty and set(recipe.adopt(nothing, CHANGES).values()) == {None}
    assert effects({}).empty and set(TARGETS) < set(LEVEL)
