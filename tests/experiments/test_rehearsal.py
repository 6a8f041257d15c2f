"""rehearse: a few steps of a run at its own size; what runs have in common; how many steps a run has."""

from __future__ import annotations

import pytest

from retlib.study import rehearse
from retlib.study.rehearsal import planned_steps, step_key
from tests.experiments.conftest import tiny

TRAININGS = [
    ({}, 4 * 3),  # three images and their copies, two a batch
    ({"schedule": "plateau", "patience": 2, "keep": "best", "augmented_copies": 0}, 4 * 2),
    ({"patches": {"size": 32, "per_epoch": 10, "validation": 4}, "augmented_copies": 0}, 4 * 5),
    ({"patches": {"size": 32, "layout": "grid", "inside_fov": False}, "augmented_copies": 0}, None),
]


@pytest.mark.parametrize(("changes", "planned"), TRAININGS)
def test_a_step_of_the_run_itself_is_timed(changes: dict, planned: int | None) -> None:
    config = tiny(training=tiny().training.model_dump() | changes)
    found = rehearse(config)
    assert list(found) == ["bfloat16", "float32"] and all(0 < seconds < 60 for seconds in found.values())
    assert planned_steps(config) == planned


def test_a_schedule_of_few_steps_makes_nothing_explode() -> None:
    rehearse(tiny(training=tiny().training.model_dump() | {"learning_rate": 1e30}), ["float32"])


def test_a_pre_training_has_steps_too() -> None:
    config = tiny()
    training = config.training.model_dump() | {"epochs": 5}
    first = {"train": config.train.model_dump() | {"options": {"count": 6, "height": 64, "width": 72}}}
    assert planned_steps(tiny(pretraining=first | {"training": training})) == 4 * 3 + 5 * 6


def test_runs_whose_steps_take_as_long_share_a_key() -> None:
    training = tiny().training.model_dump()
    same = tiny(seed=1, profile="lite", training=training | {"learning_rate": 1.0, "epochs": 9, "amp_cpu": True})
    assert step_key(same) == step_key(tiny())
    for other in (tiny(training=training | {"batch_size": 1}), tiny(model_options={"width": 8, "depth": 2})):
        assert step_key(other) != step_key(tiny())
