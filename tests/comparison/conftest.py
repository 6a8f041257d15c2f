"""A small study on phantoms under one protocol: two networks on DRIVE's place, folds on STARE's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from retlib.comparison import Comparison, make_fault_records
from retlib.report import Parameters
from retlib.study import Store, StudyFile

PHANTOMS = {"count": 4, "height": 64, "width": 72}


def small_study() -> StudyFile:
    """Runs of a second and less; UNet++ on STARE's place is never made."""
    fold = {"dataset": "stare", "for": {"k": [1, 2]}}
    fold |= {
        "train": {"dataset": "phantom", "split": "training/fold{k}of2-train", "options": PHANTOMS},
        "test": [{"dataset": "phantom", "split": "training/fold{k}of2-test", "options": PHANTOMS}],
    }
    drive = {"dataset": "drive", "train": {"dataset": "phantom", "split": "training", "options": PHANTOMS}}
    drive |= {"test": [{"dataset": "phantom", "split": "test", "options": PHANTOMS}]}
    nets = {"unet": {"width": 4, "depth": 2}, "segnet": {"width": 4}, "unetpp": {"width": 2}}

    def runs(place: dict, name: str, *keys: str) -> dict:
        return {name.format(key): place | {"model": key, "model_options": nets[key]} for key in keys}

    return StudyFile.parse(
        {
            "key": "small",
            "title": "Small",
            "about": "For tests",
            "seeds": {"drive": [0, 1]},
            "runs": {
                "base": {
                    "role": "table",
                    "validation": 0,
                    "inputs": {"preprocessing": ["green"]},
                    "training": {
                        "epochs": 3,
                        "batch_size": 2,
                        "learning_rate": 0.01,
                        "loss_region": "fov",
                        "average_weights": 0.5,
                    },
                    "scoring": {"threshold": "training"},
                },
                "list": runs(drive, "drive-{}", "unet", "segnet")
                | runs(fold, "stare-fold{{k}}-{}", "unet", "segnet", "unetpp"),
            },
        }
    )


@pytest.fixture(scope="session")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comparison]:
    """The study with its records, but for UNet++, and for SegNet's second fold."""
    folder = tmp_path_factory.mktemp("comparison")
    parameters = Parameters(profile="lite", seeds=(0, 1), device="cpu", train="missing")
    found = Comparison(small_study(), parameters, Store(folder / "records"))
    left_out = ("stare-fold2-segnet", "stare-fold1-unetpp", "stare-fold2-unetpp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETLIB_CACHE", str(folder / "cache"))
        patch.delenv("RETLIB_DATA", raising=False)
        schedule = Comparison.schedule
        patch.setattr(
            Comparison,
            "schedule",
            lambda self, profile=None: [e for e in schedule(self, profile) if e[0] not in left_out],
        )
        found.train()
        make_fault_records(found)
        patch.setattr(Comparison, "schedule", schedule)
        yield found


@pytest.fixture(autouse=True)
def _no_data(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "data_root" not in request.fixturenames:
        monkeypatch.delenv("RETLIB_DATA", raising=False)


@pytest.fixture
def records(repository: Path) -> Path:
    """The book's records."""
    return repository / "book" / "records"
