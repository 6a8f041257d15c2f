"""Studies: their files, the order of their runs, and the seal of those that search."""

from __future__ import annotations

import pytest

from retlib.models import list_models
from retlib.studies import list_studies, load_study
from retlib.study import StudyFile
from retlib.study.plan import PROFILES


@pytest.mark.parametrize("key", list_studies())
@pytest.mark.parametrize("profile", PROFILES)
def test_every_run_is_a_sound_config(key: str, profile: str) -> None:
    study = load_study(key)
    assert study.key == key
    configs = study.runs(profile)
    assert configs
    assert all(config.profile == profile for config in configs.values())
    assert len({config.canonical_json() for config in configs.values()}) == len(configs)


def test_one_protocol_holds_every_network_on_every_data_set() -> None:
    runs = load_study("one-protocol").runs("lite")
    for dataset in ("drive", "chase_db1", "hrf", "stare"):
        found = {config.model for config in runs.values() if config.train.dataset == dataset}
        assert found == set(list_models()), dataset
    assert {config.scoring.region for config in runs.values()} == {"fov"}
    assert {config.scoring.threshold for config in runs.values()} == {"training"}


def test_one_protocol_differs_in_network_and_data_alone() -> None:
    same = {
        config.model_copy(
            update={"model": "", "model_options": {}, "train": None, "test": (), "inputs": None}
        ).model_dump_json()
        for config in load_study("one-protocol").runs("lite", role="table").values()
    }
    assert len(same) == 1


def test_all_sets_come_with_their_first_seed_before_any_comes_with_another() -> None:
    due = load_study("one-protocol").schedule("lite")
    assert [run.seed for run in due] == sorted(run.seed for run in due)
    order = ["drive", "chase_db1", "hrf", "stare"]
    for seed, datasets in {0: order, 1: order[:2], 2: order[:2]}.items():
        sets = [run.config.train.dataset for run in due if run.seed == seed]
        assert sets == sorted(sets, key=order.index) and set(sets) == set(datasets)
    assert all(run.config.seed == run.seed for run in due)
    assert len({(run.name, run.seed) for run in due}) == len(due)


def test_the_search_sees_no_test_image() -> None:
    from retlib.data import split_names

    for config in load_study("recipe").runs("lite").values():
        for selection in config.selections().values():
            assert not set(selection.names()) & set(split_names("drive", "test"))


RECIPE = {
    "key": "toy",
    "title": "Toy",
    "about": "A search",
    "sealed": True,
    "runs": {
        "list": {
            "one": {
                "train": {"dataset": "drive", "split": "training/fold1of5-train"},
                "test": [{"dataset": "drive", "split": "training/fold1of5-test"}],
                "model": "unet",
                "training": {"epochs": 1, "batch_size": 1, "learning_rate": 1e-3},
            }
        }
    },
}


def with_run(**fields: object) -> StudyFile:
    run = RECIPE["runs"]["list"]["one"] | fields
    return StudyFile.parse({**RECIPE, "runs": {"list": {"one": run}}}, where="toy.yaml")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"test": [{"dataset": "drive", "split": "test"}]}, "drive:test"),
        ({"test": [{"dataset": "stare", "split": "all/fold1of5-test"}]}, "stare:all/fold1of5-test"),
        (
            {
                "train": {"dataset": "drive", "split": "all/fold1of5-train"},
                "test": [{"dataset": "drive", "split": "all/fold1of5-test"}],
            },
            "drive:all/fold1of5-train",
        ),
        (
            {
                "pretraining": {
                    "train": {"dataset": "chase_db1", "split": "test"},
                    "training": {"epochs": 1, "batch_size": 1, "learning_rate": 1e-3},
                }
            },
            "chase_db1:test",
        ),
    ],
)
def test_a_search_that_reaches_for_test_images_is_refused(fields: dict, named: str) -> None:
    assert with_run().runs("lite")
    with pytest.raises(ValueError, match="training images alone") as refused:
        with_run(**fields).runs("lite")
    assert named in str(refused.value)


def test_unknown_study_and_broken_plan() -> None:
    with pytest.raises(ValueError, match=r"unknown study 'recipes'; known: .*recipe"):
        load_study("recipes")
    with pytest.raises(ValueError, match="expected some of"):
        with_run(use=["nothing"])
