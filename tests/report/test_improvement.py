"""A factor of the ConvLSTM study: paired by seed and by image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retlib.report import Evidence, Parameters, open_study
from retlib.report.operating import factor_step
from retlib.study import Record, run
from retlib.study.evidence import paired_difference
from tests.experiments.conftest import tiny


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Record, ...]]:
    """Two seeds of two runs on the same test images."""
    folder = tmp_path_factory.mktemp("records")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETLIB_CACHE", str(folder / "cache"))
        training = tiny().training.model_dump()
        configs = {
            (name, seed): tiny(
                seed=seed, training=training | {"epochs": epochs}, scoring={"region": "frame", "average": "pooled"}
            )
            for name, epochs in {"drive-unet": 4, "drive-af-unet": 6}.items()
            for seed in (0, 1)
        }
        made = {key: run(config, folder / "records", device="cpu", progress=False) for key, config in configs.items()}
    return {name: tuple(made[name, seed] for seed in (0, 1)) for name in ("drive-unet", "drive-af-unet")}


@pytest.fixture
def study(tmp_path: Path):
    return open_study("af-unet", Parameters(records=str(tmp_path)))


def give(monkeypatch: pytest.MonkeyPatch, records: dict[str, tuple[Record, ...]]) -> None:
    def evidence(self, name: str, profile: str) -> Evidence | None:
        return Evidence(name, "lite", records[name]) if name in records and profile != "paper" else None

    monkeypatch.setattr("retlib.study.notebook.Study._evidence", evidence)


@pytest.mark.parametrize("metric", ["dice", "auc"])
def test_a_factor_of_one_seed_is_held_against_that_seed(study, records, monkeypatch, metric: str) -> None:
    start, end = records["drive-unet"], records["drive-af-unet"]
    give(monkeypatch, {"drive-unet": start, "drive-af-unet": end[1:]})
    found = factor_step(study, "drive-unet", "drive-af-unet", metric)
    if metric == "dice":
        alone = (Evidence("run", "lite", (record,)) for record in (start[1], end[1]))
        assert found == paired_difference(*alone, metric)
    else:
        change = end[1].per_image()["auc"] - start[1].per_image()["auc"]
        assert found[0] == pytest.approx(np.nanmean(change))
