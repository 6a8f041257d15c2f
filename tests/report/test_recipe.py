"""The recipe study's rule on scores that are known: noise band, better and worse, what is adopted, what is missing."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from retlib.report import recipe, recipe_figures, recipe_frames
from retlib.report.recipe import COMBINATION, FACTORS, TARGETS, Ablation
from retlib.studies import load_study
from retlib.study import Store
from retlib.study.parameters import Parameters
from retlib.study.plan import PROFILES
from tests.report.made_records import write_record

SEEDS = (0, 1, 2)
# What a seed adds to the base's score of every image.
SHIFT = {0: 0.0, 1: 0.001, 2: -0.001}
LEVEL = {"dice": 0.8, "auc": 0.97, "cldice": 0.8, "betti0_error": 60.0, "recall_thin": 0.5}
HISTORY = [{"epoch": epoch, "train_dice": 0.1 * epoch} for epoch in (1, 2, 3, 4)]


@pytest.fixture(autouse=True)
def _without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids follow from committed fingerprints: no file is hashed."""
    monkeypatch.delenv("RETLIB_DATA", raising=False)


def base_score(seed: int, metric: str) -> float:
    scale = 1000.0 if metric == "betti0_error" else 1.0
    return LEVEL[metric] + SHIFT[seed] * scale


def ablation(
    folder: Path, changes: dict[str, dict[str, tuple[float, ...]]], seeds: tuple[int, ...] = SEEDS, same: bool = True
) -> Ablation:
    """Base records of some seeds, and changes: run -> metric -> what is added to seed 0 on each of the four images.

    Args:
        folder: of the store.
        changes: metrics that are not named are as in seed 0.
        seeds: of the base.
        same: whether the changes have the base's history.
    """
    study, store = load_study("recipe"), Store(folder)
    for seed in seeds:
        config = study.runs("lite", seed)["base"]
        history = HISTORY if seed == 0 else [{**row, "train_dice": row["train_dice"] + seed} for row in HISTORY]
        write_record(store, config, lambda _, __, metric, seed=seed: base_score(seed, metric), history)
    configs = study.runs("lite", 0)
    for name, added in changes.items():
        places = {image: place for place, image in enumerate(configs[name].test[0].names())}

        def score(_: str, image: str, metric: str, added: dict = added, places: dict = places) -> float:
            return base_score(0, metric) + added.get(metric, (0.0,) * 4)[places[image]]

        history = HISTORY if same else HISTORY[:2]
        write_record(store, configs[name], score, history)
    return recipe.read_ablation(study, "lite", SEEDS, store)


def change(found: Ablation, name: str) -> recipe.Change:
    return next(item for item in found.changes if item.name == name)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_run_changes_one_factor_and_only_one_combines(profile: str) -> None:
    runs = load_study("recipe").runs(profile)
    factors = {name: recipe.factor_of(recipe.changed(runs["base"], c)) for name, c in runs.items() if name != "base"}
    assert [name for name, factor in factors.items() if factor == COMBINATION] == ["long-strong"]
    assert set(factors.values()) == {*FACTORS.values(), COMBINATION}


def test_a_field_of_no_factor_is_refused() -> None:
    with pytest.raises(ValueError, match=r"training\.momentum: no factor has this field"):
        recipe.factor_of(["training.loss.dice", "training.momentum"])


def test_the_band_is_the_prediction_interval_for_a_new_seed(tmp_path: Path) -> None:
    found = ablation(tmp_path, {})
    assert found.level("dice") == pytest.approx(0.8)
    assert found.seed_deviation("dice") == pytest.approx(0.001)
    expected = stats.t.ppf(0.975, 2) * 0.001 * math.sqrt(4 / 3)
    assert found.band("dice") == pytest.approx(expected)
    rng = np.random.default_rng(0)  # it holds a new one 95 times in a hundred
    draws = rng.normal(size=(20_000, 4))
    width = stats.t.ppf(0.975, 2) * draws[:, :3].std(axis=1, ddof=1) * math.sqrt(4 / 3)
    assert np.mean(np.abs(draws[:, 3] - draws[:, :3].mean(axis=1)) < width) == pytest.approx(0.95, abs=0.005)


def test_a_change_counts_beyond_the_band_and_on_every_image(tmp_path: Path) -> None:
    found = ablation(
        tmp_path,
        {
            "loss-bce": {"dice": (0.006, 0.007, 0.008, 0.009)},
            "loss-dice": {"dice": (0.04, 0.04, 0.04, -0.001)},  # larger, but not on every image
            "augmentation-none": {"dice": (0.002,) * 4},  # on every image, but within the band
            "augmentation-colour": {"betti0_error": (-20.0,) * 4},  # fewer broken vessels
            "input-green": {"auc": (-0.02,) * 4},
            "input-standard": {"betti0_error": (20.0,) * 4},
        },
    )
    told = {name: (found.effect(change(found, name), metric).outcome, found.judge(change(found, name)))
            for name, metric in (("loss-bce", "dice"), ("loss-dice", "dice"), ("augmentation-none", "dice"),
                                 ("augmentation-colour", "betti0_error"), ("input-green", "auc"),
                                 ("input-standard", "betti0_error"))}  # fmt: skip
    assert told == {
        "loss-bce": ("better", "gain"),
        "loss-dice": ("within noise", "undecided"),
        "augmentation-none": ("within noise", "undecided"),
        "augmentation-colour": ("better", "gain"),
        "input-green": ("worse", "loss"),
        "input-standard": ("worse", "loss"),
    }
    assert found.effect(change(found, "loss-bce"), "dice").mean == pytest.approx(0.0075)
    assert found.judge(change(found, "width-8")) == "not run"


def test_a_loss_in_one_metric_outweighs_gains_in_the_others(tmp_path: Path) -> None:
    both = {"dice": (0.02,) * 4, "auc": (0.02,) * 4, "cldice": (-0.02,) * 4}
    found = ablation(tmp_path, {"loss-bce": both})
    assert found.judge(change(found, "loss-bce")) == "loss"
    assert found.choices()["loss"] is None


def test_of_several_gains_the_one_with_the_highest_dice_is_adopted(tmp_path: Path) -> None:
    found = ablation(
        tmp_path,
        {
            "loss-bce": {"dice": (0.01,) * 4},
            "loss-dice": {"auc": (0.02,) * 4, "dice": (0.001,) * 4},
            "loss-cldice": {"dice": (0.02,) * 4},
            "long-strong": {"dice": (0.05,) * 4},
        },
    )
    choices = found.choices()
    assert choices["loss"].name == "loss-cldice"
    assert COMBINATION not in choices and choices["width"] is None


def test_a_change_of_inference_is_held_against_its_own_network(tmp_path: Path) -> None:
    small = {"flips": {"dice": (0.0001,) * 4}, "specks": {"dice": (-0.0001,) * 4}}
    found = ablation(tmp_path / "same", small)
    assert found.judge(change(found, "flips")) == "gain"
    assert found.effect(change(found, "flips"), "dice").mean == pytest.approx(0.0001)  # seed 0 alone
    assert found.judge(change(found, "specks")) == "undecided"  # a loss that small is no reason against it
    found = ablation(tmp_path / "other", small, same=False)  # another network after all: the band has to be passed
    assert found.judge(change(found, "flips")) == "undecided"


def test_without_a_second_seed_nothing_is_adopted(tmp_path: Path) -> None:
    found = ablation(tmp_path, {"loss-bce": {"dice": (0.1,) * 4}, "flips": {"dice": (0.1,) * 4}}, seeds=(0,))
    assert found.effect(change(found, "flips"), "dice").outcome == "noise unknown"
    assert math.isnan(found.band("dice"))
    assert set(found.choices().values()) == {None}
    groups = recipe_frames.spread_groups(found, {})
    assert any("no noise band" in line for line in recipe_frames.findings(found, groups))


def test_frames_show_what_is_known_and_gaps_for_the_rest(tmp_path: Path) -> None:
    found = ablation(tmp_path, {"loss-bce": {"dice": (0.006, 0.007, 0.008, 0.009)}})
    frame = recipe_frames.change_frame(found).set_index("change")
    assert frame.loc["Cross-entropy alone", "Dice"] == "+0.0075 *"
    assert frame.loc["Cross-entropy alone", "AUC"] == "+0.0000"
    assert frame.loc["Cross-entropy alone", "Dice rose on"] == "4 of 4"
    assert frame.loc["Cross-entropy alone", "judged"] == "gain"
    assert frame.drop("Cross-entropy alone").drop(columns="factor").isna().all(axis=None)
    assert len(frame) == len(found.changes)
    assert recipe_frames.noise_frame(found).set_index("metric").loc["Dice", "base"] == "0.8000"


def test_training_times_are_of_one_clock(tmp_path: Path) -> None:
    """CPU seconds where every change that is shown has them; as soon as one lacks them, the wall clock's for all."""
    changes = {"loss-bce": {}, "input-green": {}}
    found = ablation(tmp_path, changes)
    timings = [change(found, name).record.content["timing"] for name in changes]
    for number, timing in enumerate(timings):
        timing |= {"training_s": 60.0 + number, "training_cpu_s": 30.0 + number}
    assert recipe_frames.has_cpu_time(found)
    assert recipe_frames.change_frame(found)["training, CPU s"].dropna().tolist() == ["30", "31"]
    assert "CPU seconds" in recipe_frames.time_sentence(found)
    del timings[0]["training_cpu_s"]
    shown = recipe_frames.change_frame(found)
    assert shown[recipe_frames.WALL].dropna().tolist() == ["60", "61"] and "training, CPU s" not in shown
    assert "wall clock" in recipe_frames.time_sentence(found)
    assert not recipe_frames.has_cpu_time(ablation(tmp_path / "empty", {}))


def test_what_another_study_trains_with_is_named(tmp_path: Path) -> None:
    found = ablation(tmp_path, {"loss-bce": {"dice": (0.02,) * 4}})
    config = load_study("recipe").runs("lite")["base"]
    used = config.model_copy(
        update={
            "inputs": config.inputs.model_copy(update={"fov_side": 544}),
            "training": config.training.model_copy(update={"gradient_clip": 1.0, "learning_rate": 0.5}),
        }
    )
    frame = recipe_frames.choice_frame(found, {"theirs": used, "ours": config}).set_index("factor")
    assert set(frame["ours"]) == {"the base"}
    column = frame["theirs"]
    assert column["working size"] == "Field of view scaled to 544 pixels"
    assert column["schedule and rate"] == "training.learning_rate 0.5"
    assert column["loss"] == "the base"
    assert column["not varied here"] == "training.gradient_clip 1.0"
    assert frame.loc["loss", "the rule takes"] == "Cross-entropy alone (Dice +0.0200)"
    assert frame.loc["loss", "alternatives run"] == "1 of 3" and pd.isna(frame.loc["input", "the rule takes"])


def test_the_spread_is_over_recipes_without_the_network(tmp_path: Path) -> None:
    added = {"loss-bce": 0.01, "loss-dice": -0.1, "width-8": -0.05, "long-strong": 0.2}
    found = ablation(tmp_path, {name: {"dice": (value,) * 4} for name, value in added.items()})
    networks = {name: dict.fromkeys(LEVEL, value) for name, value in (("a", 0.7), ("b", 0.8), ("c", 0.82))}
    groups = recipe_frames.spread_groups(found, networks)
    assert sorted(scores["dice"] for scores in groups[recipe_frames.RECIPES].values()) == pytest.approx(
        [0.7, 0.8, 0.81]
    )
    assert sorted(scores["dice"] for scores in groups[recipe_frames.SIZES].values()) == pytest.approx([0.75, 0.8])
    assert recipe_frames.spread(groups[recipe_frames.NETWORKS], "dice")[2] == pytest.approx(
        np.std([0.7, 0.8, 0.82], ddof=1)
    )
    assert "c" in recipe_frames.without_worst(networks) and "a" not in recipe_frames.without_worst(networks)
    sentence = recipe_frames.findings(found, groups)[-1]
    assert "3 networks by one recipe lie between 0.7000 and 0.8200" in sentence
    wider = np.std([0.7, 0.8, 0.82], ddof=1) / np.std([0.7, 0.8, 0.81], ddof=1)
    assert f"The choice of network spreads scores {wider:.1f} times as widely as the choice of recipe" in sentence
    assert "not decided yet" in recipe_frames.findings(found, recipe_frames.spread_groups(found, {}))[-1]


def test_an_empty_store_is_said_to_be_empty(tmp_path: Path) -> None:
    parameters = Parameters(records=str(tmp_path), seeds=SEEDS)
    found = recipe.open_ablation(parameters)
    assert found.profile == "lite" and not found.base and not found.known()
    assert recipe.network_means(parameters, ".", "lite") == {}
    assert recipe_frames.change_frame(found).drop(columns=["factor", "change"]).isna().all(axis=None)
    assert recipe_frames.findings(found, recipe_frames.spread_groups(found, {})) == [
        "The base has no record yet, so nothing can be said."
    ]


def test_luck_is_counted(tmp_path: Path) -> None:
    found = ablation(tmp_path, {"loss-bce": {}, "loss-dice": {}})
    sentence = recipe_frames.luck_sentence(found)
    assert "cannot give a p below 0.125, so no comparison can pass" in sentence  # 2 / 2^4
    assert f"makes up to {2 * len(TARGETS) * 0.025:.1f} gains by luck" in sentence


def test_figures_draw_every_change(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    found = ablation(tmp_path, {"loss-bce": {"dice": (0.006, 0.007, 0.008, 0.009)}, "loss-dice": {"dice": (-0.5,) * 4}})
    figure = recipe_figures.forest_figure(found)
    assert len(figure.axes[0].get_yticks()) == len(found.changes)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("—") == len(found.changes) - 2
    curves = recipe_figures.curves_figure(found)
    assert curves.axes[0].get_title() == "loss" and len(curves.axes[0].lines) == len(SEEDS) + 2
    recipe_figures.spread_figure(recipe_frames.spread_groups(found, {}))
    plt.close("all")
