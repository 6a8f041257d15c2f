"""RunConfig: validation, identity, splitting."""

from __future__ import annotations

import math

import pytest

from retlib.study import RunConfig, Selection
from retlib.study.config import NUMERICS
from retlib.study.runner import load_training
from retlib.study.steps import planned_steps
from tests.experiments.conftest import PHANTOMS, tiny


def test_equal_configs_have_equal_ids() -> None:
    assert tiny().identify() == tiny().identify()


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"profile": "lite"},
        {"validation": 0.5},
        {"numerics": NUMERICS + 1},
        {"model_options": {"width": 4, "depth": 1}},
        {"scoring": {"threshold": 0.4}},
        {"train": {"dataset": "phantom", "split": "training", "options": PHANTOMS | {"count": 5}}},
    ],
)
def test_whatever_moves_numbers_moves_the_id(changes: dict) -> None:
    assert tiny(**changes).identify() != tiny().identify()


def test_a_field_at_its_default_does_not_move_the_id() -> None:
    assert tiny(inference={"flips": False}).identify() == tiny().identify()


def test_a_config_survives_json() -> None:
    config = tiny()
    assert RunConfig.model_validate_json(config.model_dump_json()).identify() == config.identify()


def test_validation_images_are_cut_from_training_alone() -> None:
    config = RunConfig.parse(
        tiny().model_dump()
        | {"train": {"dataset": "drive", "split": "training"}, "test": [{"dataset": "drive", "split": "test"}]}
        | {"validation": 0.1}
    )
    training, validation = config.split_training()
    assert len(training) == 18 and len(validation) == 2
    assert set(training) | set(validation) == set(config.train.names())
    assert not set(validation) & set(config.test[0].names())
    assert config.model_copy(update={"seed": 1}).split_training()[1] != validation


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": {"dataset": "drvie", "split": "training"}}, ["train", "drvie", "drive"]),
        ({"train": {"dataset": "drive", "split": "trainig"}}, ["train", "trainig", "training"]),
        ({"train": {"dataset": "phantom", "split": "all", "options": PHANTOMS}}, ["shares images", "phantom:test"]),
        ({"scoring": {"threshold": 1.5}}, ["threshold", "between 0 and 1"]),
        ({"inputs": {"preprocessing": ["grene"]}}, ["grene", "green"]),
        ({"training": {"epochs": 0, "batch_size": 1, "learning_rate": 1}}, ["training.epochs"]),
        ({"training": {"epochs": 1, "batch_size": 1, "learning_rate": 1, "lr": 2}}, ["training.lr"]),
        ({"training": {"epochs": 1, "batch_size": 1, "learning_rate": 1, "augmentation": "flip"}}, ["dihedral"]),
        ({"test": []}, ["test"]),
        ({"also": [{"dataset": "phantom", "split": "training", "options": PHANTOMS}]}, ["also", "each once"]),
        ({"also": [{"dataset": "phantom", "split": "test", "options": PHANTOMS}]}, ["shares images", "phantom:test"]),
    ],
)
def test_bad_values_name_the_field_and_the_choices(changes: dict, words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        tiny(**changes)
    for word in words:
        assert word in str(caught.value)


def test_further_training_images_are_all_trained_on() -> None:
    """Those of other data sets: none is held out, their data is part of the id, and they are loaded after the first."""
    changes = {"train": {"dataset": "phantom", "split": "training/fold1of2-test", "options": PHANTOMS}}
    more = {"dataset": "phantom", "split": "training/fold2of2-test", "options": PHANTOMS | {"lesions": True}}
    alone, both = tiny(**changes), tiny(**changes, also=[more])
    assert both.identify() != alone.identify()
    assert both.split_training() == alone.split_training()
    training, validation = load_training(both, None)
    first, _ = load_training(alone, None)
    assert [sample.name for sample in training] == [sample.name for sample in first] + list(both.also[0].names())
    assert not {sample.name for sample in validation} & set(both.also[0].names())
    assert set(both.fingerprints()) == {"train", both.also[0].label, both.test[0].label}
    settings = both.training
    assert planned_steps(both) == settings.epochs * math.ceil(
        2 * len(training) / settings.batch_size
    )  # and a copy of each


def test_stare_is_paired_with_its_fingerprint_without_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    config = Selection(dataset="stare", split="fold1of5-test")
    assert len(config.names()) == 4


def test_the_id_is_the_same_with_and_without_the_data(data_root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    config = RunConfig.parse(
        tiny().model_dump()
        | {"train": {"dataset": "stare", "split": "fold1of5-train"}}
        | {"test": [{"dataset": "stare", "split": "fold1of5-test"}, {"dataset": "drive", "split": "test"}]}
    )
    assert config.identify() == config.identify(str(data_root))


def test_an_augmentation_of_hue_needs_an_rgb_input() -> None:
    training = tiny().training.model_dump() | {"augmentation": "strong"}
    tiny(training=training, inputs={"preprocessing": ["rgb"]})
    with pytest.raises(ValueError, match="needs an RGB input"):
        tiny(training=training, inputs={"preprocessing": ["green"]})
