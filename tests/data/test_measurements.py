"""The measured labels of the data sets: made once from the files, by the page on them, and kept as numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retlib.data import FundusSample, split_names
from retlib.data.measurements import pooled_shares, read_measurements, vessel_shares, write_measurements
from tests.pages import functions_of


def sample(name: str, vessels: np.ndarray, observer: np.ndarray | None) -> FundusSample:
    fov = np.zeros((8, 8), dtype=bool)
    fov[:, :4] = True
    return FundusSample(name, np.zeros((8, 8, 3), dtype=np.uint8), vessels, fov, observer)


@pytest.fixture
def two() -> dict:
    """Two images of DRIVE's test part, measured without a file."""
    first, second = np.zeros((8, 8), dtype=bool), np.zeros((8, 8), dtype=bool)
    first[:2, :4] = True  # 8 of 32 pixels inside the FOV
    first[0, 7] = True  # one outside
    second[0, :2] = True
    samples = [sample("01_test", first, first), sample("02_test", second, None)]
    measure = functions_of("datasets").measure_label
    return {"fingerprint": "f", "images": {item.name: measure(item) for item in samples}}


def test_shares_are_fractions_of_the_frame_and_of_the_fov(two):
    row = two["images"]["01_test"]
    assert row.pop("observer")["dice"] == 1
    assert row == {
        "fov_share": 0.5,
        "vessels_in_fov": 0.25,
        "vessels_in_frame": 9 / 64,
        "vessel_pixels_outside_fov": 1,
    }
    assert "observer" not in two["images"]["02_test"]


def test_pooled_and_single_shares(two):
    shares = vessel_shares({"drive": two}, "drive")
    assert (shares.title, shares.part) == ("DRIVE", "test")
    assert shares.pooled == {"frame": pytest.approx(11 / 128), "fov": pytest.approx(10 / 64)}
    assert shares.single == {"frame": (2 / 64, 9 / 64), "fov": (2 / 32, 8 / 32)}
    assert shares.widest == (2 / 64, 8 / 32)
    assert shares.nearest(0.05) == "frame" and shares.nearest(0.3) == "fov"
    assert pooled_shares(two["images"], ("02_test",)) == {"frame": 2 / 64, "fov": 2 / 32}


def test_what_was_not_measured_has_no_shares(two):
    assert vessel_shares({}, "drive") is None is vessel_shares({"drive": two}, None)
    assert vessel_shares({"drive": {"images": {}}}, "drive") is None


def test_the_file_is_numbers_alone_and_round_trips(two, tmp_path: Path):
    assert read_measurements(tmp_path) == {}
    write_measurements(tmp_path, {"drive": two})
    assert read_measurements(tmp_path) == {"drive": two}
    assert [path.name for path in tmp_path.iterdir()] == ["datasets.json"]


def test_the_committed_measurements_are_complete():
    committed = read_measurements(Path(__file__).parents[2] / "book" / "records")
    for name in ("drive", "stare", "chase_db1", "hrf"):
        assert tuple(sorted(committed[name]["images"])) == split_names(name, "all")
    # DRIVE's labels, as they were counted before in print: 8.8 % of the frame, 12.7 % of the FOV.
    assert vessel_shares(committed, "drive").pooled == pytest.approx({"frame": 0.0876, "fov": 0.1273}, abs=5e-5)
