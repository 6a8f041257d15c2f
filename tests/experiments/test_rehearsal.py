"""rehearse: the first two steps of a run, at its own size."""

from __future__ import annotations

import math

import pytest

from retlib.experiments import rehearse
from tests.experiments.conftest import tiny


@pytest.mark.parametrize(
    ("changes", "planned"),
    [
        ({}, 4 * 3),  # three images and their copies, two a batch
        ({"patches": {"size": 32, "per_epoch": 10, "validation": 4}, "augmented_copies": 0}, 4 * 5),
        ({"patches": {"size": 32, "layout": "grid", "inside_fov": False}, "augmented_copies": 0}, 4 * 6),
    ],
)
def test_two_steps_of_the_run_itself(changes: dict, planned: int) -> None:
    config = tiny()
    config = tiny(training=config.training.model_dump() | changes)
    found = rehearse(config)
    assert (found["steps"], found["planned_steps"]) == (2, planned)
    assert math.isfinite(found["loss"]) and math.isfinite(found["validation_loss"]) and 0 <= found["dice"] <= 1
    assert found == rehearse(config) | {key: found[key] for key in ("step_s", "environment")}  # time, peak memory


def test_a_run_that_explodes_is_caught() -> None:
    training = tiny().training.model_dump() | {"learning_rate": 1e30, "schedule": "constant"}
    with pytest.raises(FloatingPointError, match="not finite"):
        rehearse(tiny(training=training))
