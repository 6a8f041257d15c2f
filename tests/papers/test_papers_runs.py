"""The runs of the papers that come with retlib: valid, distinct, and what the papers describe."""

from __future__ import annotations

import pytest

from retlib.data import split_names
from retlib.papers import list_papers, load_paper
from retlib.study import PROFILES, RunConfig, plan

PAPER = load_paper("resaspp-unet")


def test_profiles_and_fields_are_those_of_run_config():
    assert plan.PROFILES == PROFILES
    fields = set(plan.Fields.model_fields) - {"role", "dataset", "about"}
    assert fields == set(RunConfig.model_fields) - {"profile", "seed", "numerics"}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("key", list_papers())
def test_every_run_is_a_valid_config_of_its_profile(key, profile):
    paper = load_paper(key)
    planned = paper.plan(profile)
    for name, config in paper.runs(profile, seed=3).items():
        assert (config.profile, config.seed) == (profile, 3)
        assert planned[name].about, f"{name} has no line for people"
        trained_on = "phantom" if profile == "smoke" else planned[name].dataset
        assert config.train.dataset == config.test[0].dataset == trained_on


@pytest.mark.parametrize("key", list_papers())
def test_open_points_and_stated_facts_name_places_that_exist(key):
    paper = load_paper(key)
    for item in (*paper.protocol, *paper.open_points):
        assert set(paper.configured(item)) == set(item.config)


@pytest.mark.parametrize("profile", PROFILES)
def test_runs_of_different_names_are_different_runs(profile):
    names: dict[str, list[str]] = {}
    for name, config in PAPER.runs(profile).items():
        names.setdefault(config.identify(), []).append(name)
    same = [group for group in names.values() if len(group) > 1]
    # STARE's first fold is its 16/4 split, on purpose: trained once, recorded once.
    assert same == ([] if profile == "smoke" else [["stare-resaspp-unet", "stare-resaspp-unet-fold1"]])


def test_seed_and_profile_change_the_run():
    ids = {PAPER.runs(profile, seed)["drive-unet"].identify() for profile in ("paper", "lite") for seed in (0, 1)}
    assert len(ids) == 4


def test_the_paper_profile_is_what_the_paper_states():
    for config in PAPER.runs("paper").values():
        training = config.training
        assert (training.epochs, training.batch_size) == (100, 2)
        assert (training.optimiser, training.learning_rate, training.schedule) == ("adam", 1e-4, "constant")
        assert set(training.loss) == {"dice", "boundary", "cldice"}
        assert config.model_options["width"] == 64
    runs = PAPER.runs("paper", role="table")
    assert {name.removeprefix("drive-").removeprefix("stare-"): c.model for name, c in runs.items()} == {
        "unet": "unet",
        "res-unet": "res_unet",
        "resaspp-unet": "resaspp_unet",
        "resaspp-unet-raw": "resaspp_unet",
    }
    for name, config in runs.items():
        assert config.inputs.channels == (3 if name.endswith("raw") else 1)
        sizes = (len(config.train.names()), len(config.test[0].names()))
        assert sizes == ((20, 20) if name.startswith("drive") else (16, 4))


def test_profiles_differ_in_size_alone():
    def essence(config):
        content = config.model_dump(exclude={"profile"})
        content["model_options"].pop("width")
        for field in ("epochs", "learning_rate", "schedule", "amp_cpu"):
            content["training"].pop(field)
        return content

    lite = PAPER.runs("lite")
    for name, config in PAPER.runs("paper").items():
        assert essence(lite[name]) == essence(config)


def test_cross_data_set_tests_are_on_the_other_data_set():
    for name, config in PAPER.runs("paper", role="table").items():
        own, other = config.test
        assert {own.dataset, other.dataset} == {"drive", "stare"}
        assert config.train.dataset == own.dataset == name.split("-")[0]
    labels = {c.test[1].label for c in PAPER.runs("paper", role="table").values()}
    assert labels == {"stare:all", "drive:test"}


@pytest.mark.parametrize(("dataset", "count", "images"), [("drive", 10, 40), ("stare", 5, 20)])
def test_folds_test_every_image_once(dataset, count, images):
    folds = PAPER.runs("paper", role="fold", dataset=dataset)
    assert list(folds) == [f"{dataset}-resaspp-unet-fold{k}" for k in range(1, count + 1)]
    tested = [name for config in folds.values() for name in config.test[0].names()]
    assert len(tested) == images
    assert sorted(tested) == sorted(split_names(dataset, "all"))
    for config in folds.values():
        assert set(config.train.names()) == set(tested) - set(config.test[0].names())


def test_the_reference_unet_is_a_control_of_lite():
    assert list(PAPER.runs("lite", role="control")) == ["drive-unet-reference"]
    assert PAPER.runs("paper", role="control") == {} == PAPER.runs("smoke", role="control")
    config = PAPER.runs("lite")["drive-unet-reference"]
    training = config.training
    assert training.epochs * training.patches.per_epoch / training.batch_size == 600
    assert (training.patches.size, training.loss, training.loss_region) == (
        160,
        {"bce": 1, "dice": 1},
        "fov",
    )
    assert config.inputs.size is None
    assert config.model_options == {"width": 16, "depth": 3}
    assert config.scoring.region == "fov"
    assert "drive-unet-reference" not in {row.run for t in PAPER.tables.values() for row in t.rows}
