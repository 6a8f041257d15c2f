"""Small real runs: tiny networks on phantoms, a second each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from retlib.study import RunConfig

PHANTOMS = {"count": 4, "height": 64, "width": 72}


def tiny(**changes: object) -> RunConfig:
    """A run of about a second; ``changes`` replace top-level fields."""
    values = {
        "profile": "smoke",
        "seed": 0,
        "train": {"dataset": "phantom", "split": "training", "options": PHANTOMS},
        "validation": 0.25,
        "test": [{"dataset": "phantom", "split": "test", "options": PHANTOMS}],
        "inputs": {"preprocessing": ["green", "clahe"], "size": [64, 64]},
        "model": "unet",
        "model_options": {"width": 4, "depth": 2},
        "training": {
            "epochs": 4,
            "batch_size": 2,
            "augmentation": "resaspp-unet",
            "augmented_copies": 1,
            "loss": {"bce": 1.0, "dice": 1.0},
            "learning_rate": 1e-2,
            "schedule": "one_cycle",
        },
    }
    return RunConfig.parse({**values, **changes})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of the test's own, so that nothing a test does is resumed by another."""
    folder = tmp_path / "cache"
    monkeypatch.setitem(os.environ, "RETLIB_CACHE", str(folder))
    yield folder
