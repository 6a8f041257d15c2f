"""Gains: paired by seed and by image, and empty where nobody has run."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from retlib.report import Evidence, Parameters, fine_structure, gains, open_study
from retlib.study import Record, run
from retlib.study.findings import signed
from tests.experiments.conftest import tiny

STEP = {"U-Net to AF-UNet": ("drive-unet", "drive-af-unet")}


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


def test_without_records_the_reported_step_stands_alone(study) -> None:
    line = gains(study, STEP, {"dice": "F1"}).loc[("U-Net to AF-UNet", "F1")]
    assert line["reported"] == pytest.approx(0.0230) and math.isnan(line["measured"])
    assert line["95 % interval"] is None and line["profile"] == line["over seeds"] == "—"
    frame = fine_structure(study, "drive-unet", ["drive-unet", "drive-af-unet"])
    assert frame.drop(columns=["95 % interval", "profile"]).isna().all().all() and (frame["profile"] == "—").all()


def test_seeds_are_paired_whatever_their_order_and_number(study, records, monkeypatch) -> None:
    start, end = records["drive-unet"], records["drive-af-unet"]
    each = [b.metrics()["dice"] - a.metrics()["dice"] for a, b in zip(start, end, strict=True)]
    give(monkeypatch, records | {"drive-af-unet": end[::-1]})
    line = gains(study, STEP, {"dice": "F1"}).iloc[0]
    assert line["measured"] == pytest.approx(np.mean(each)) and line["profile"] == "lite, 2 seeds"
    assert line["over seeds"] == f"{signed(min(each))} to {signed(max(each))}"
    low, high = line["95 % interval"]
    assert low <= line["measured"] <= high
    give(monkeypatch, records | {"drive-unet": start[1:]})  # one of the two seeds of the other run
    line = gains(study, STEP, {"dice": "F1"}).iloc[0]
    assert line["measured"] == pytest.approx(each[1]) and line["over seeds"] == "—"
    give(monkeypatch, {"drive-unet": start[1:], "drive-af-unet": end[:1]})
    assert math.isnan(gains(study, STEP, {"dice": "F1"}).iloc[0]["measured"])


def test_phantoms_are_not_held_against_the_paper(tmp_path: Path, records, monkeypatch) -> None:
    study = open_study("af-unet", Parameters(profile="smoke", records=str(tmp_path)))
    give(monkeypatch, records)
    assert math.isnan(gains(study, STEP, {"dice": "F1"}).iloc[0]["reported"])


def test_thin_vessels_are_compared_image_by_image(study, records, monkeypatch) -> None:
    give(monkeypatch, records)
    frame = fine_structure(study, "drive-unet", list(records))
    for name, found in records.items():
        values = [r.metrics(region="fov", average="image")["recall_thin"] for r in found]
        assert frame.loc[name, "thin-vessel recall"] == pytest.approx(np.mean(values))
    difference = frame.loc["drive-af-unet", "difference"]
    per_image = [
        np.mean([r.per_image(region="fov")["recall_thin"] for r in found], axis=0) for found in records.values()
    ]
    assert difference == pytest.approx((per_image[1] - per_image[0]).mean())
    low, high = frame.loc["drive-af-unet", "95 % interval"]
    assert low <= difference <= high
    assert math.isnan(frame.loc["drive-unet", "difference"]) and frame.loc["drive-unet", "95 % interval"] is None
