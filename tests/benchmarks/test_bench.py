"""The lines of the benchmarks and their limits, the fits of the cost curves, and the files in book/records."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import bench
from tests.benchmarks.cost_curves import BASES, SWEEPS, fits, point_name, points, power_law, same_machine
from tests.benchmarks.limits import LINES
from tests.benchmarks.measuring import RECORDS, read_json

MACHINE = {"processor": "A processor", "cores": 2, "threads": 2, "torch": "2.15.0", "load": 0.1}


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict]:
    """A missed limit and one that is met."""
    monkeypatch.setattr("tests.benchmarks.limits.machine", lambda: dict(MACHINE))
    monkeypatch.setattr("tests.benchmarks.limits.today", lambda: "2026-01-31")
    return {"photograph": LINES["photograph"].filled(0.75, spread=[0.7, 0.9]), "phantom": LINES["phantom"].filled(0.2)}


# --- what is measured ------------------------------------------------------------------------------------------------


def test_a_limit_bounds_the_ratio_or_what_is_ours() -> None:
    assert LINES["scoring_sklearn_image"].filled(0.1, 1.0)["met"] is True  # exactly 10 times
    assert LINES["scoring_sklearn_image"].filled(0.1, 0.99)["met"] is False
    rate = LINES["training_float32"].filled(2.0, 1.0)
    assert rate["ratio"] == 2 and rate["met"] is True
    assert LINES["photograph"].filled(0.5)["met"] is True and LINES["photograph"].filled(0.51)["met"] is False
    assert LINES["training_lite"].filled(2.0, 1.0)["met"] is None


@pytest.mark.parametrize(("key", "numbers"), [("training_float32", (1.0,)), ("photograph", (1.0, 2.0))])
def test_a_line_that_compares_needs_two_numbers(key: str, numbers: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected (two numbers|one number)"):
        LINES[key].filled(*numbers)


def test_lines_are_kept_until_they_are_measured_again(tmp_path: Path, lines: dict) -> None:
    target = tmp_path / "benchmarks.json"
    bench.put_down({"photograph": lines["photograph"]}, target=target)
    bench.put_down({"phantom": lines["phantom"]}, {"unet": {"wall_s": 1.0, "cpu_s": 2.0}}, target=target)
    content = bench.put_down({}, target=target)
    assert content == json.loads(target.read_text())
    assert list(content["lines"]) == list(LINES)
    assert content["lines"]["photograph"]["ours"] == 0.75 and content["lines"]["phantom"]["ours"] == 0.2
    assert content["lines"]["book"] == LINES["book"].empty()
    assert content["network_seconds"] == {"unet": {"wall_s": 1.0, "cpu_s": 2.0}}
    # With another limit the old verdict means nothing.
    content["lines"]["photograph"]["limit"] = 9.0
    target.write_text(json.dumps(content))
    assert bench.put_down({}, target=target)["lines"]["photograph"]["ours"] is None


def test_the_time_of_the_tests_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "put_down", functools.partial(bench.put_down, target=tmp_path / "benchmarks.json"))
    assert bench.main(["--parts", "--test-seconds", "612.5"]) == 0
    assert read_json(tmp_path / "benchmarks.json")["lines"]["tests"]["ours"] == 612.5


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    file = tmp_path / "benchmarks.json"
    assert read_json(file) == {}
    for content, words in (("{", "expected JSON"), ("[]", "expected a JSON object, got list")):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=f"benchmarks.json: {words}"):
            read_json(file)


# --- power laws ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("coefficient", "exponent"), [(3e-6, 2.0), (0.5, 1.0), (40.0, 0.25), (7.0, -0.5)])
def test_a_power_law_is_found_again(coefficient: float, exponent: float) -> None:
    x = [16, 50, 128, 300, 1000]
    fit = power_law(x, [coefficient * value**exponent for value in x])
    assert fit["exponent"] == pytest.approx(exponent, abs=1e-9)
    assert fit["coefficient"] == pytest.approx(coefficient, rel=1e-9)
    assert fit["standard_error"] < 1e-7


def test_the_standard_error_covers_what_noise_does() -> None:
    rng = np.random.default_rng(0)
    x = np.geomspace(10, 1000, 8)
    found = [power_law(x, 2 * x**1.7 * np.exp(0.1 * rng.normal(size=8))) for _ in range(400)]
    off = np.array([(fit["exponent"] - 1.7) / fit["standard_error"] for fit in found])
    # Student's t with 6 degrees of freedom: 95 % lie within 2.447.
    assert 0.92 < np.mean(np.abs(off) < 2.447) < 0.98
    spread = np.std([fit["exponent"] for fit in found])
    assert spread == pytest.approx(0.1 / np.sqrt(np.sum((np.log(x) - np.log(x).mean()) ** 2)), rel=0.15)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        ([1, 2], [1, 2], "three points or more"),
        ([2, 2, 2], [1, 2, 3], "three points or more"),
        ([1, 2, 3], [1, 0, 2], "above 0"),
        ([1, 2, 3], [1, float("nan"), 2], "above 0"),
    ],
)
def test_what_is_no_power_law_is_refused(x: list, y: list, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        power_law(x, y)


def test_a_sweep_that_is_not_whole_is_not_fitted() -> None:
    every = {name: {"seconds": 1.0 + i, "memory_mib": 5.0 + i} for i, name in enumerate(points())}
    assert len(fits(every)) == 2 * len(SWEEPS)
    gone = point_name("training", BASES["training"] | {"batch": 16})
    some = {name: point for name, point in every.items() if name != gone}
    assert set(fits(every)) - set(fits(some)) == {"training/batch/seconds", "training/batch/memory_mib"}
    assert same_machine(MACHINE, MACHINE | {"load": 5.0}) and not same_machine(MACHINE, MACHINE | {"threads": 1})


# --- the files ------------------------------------------------------------------------------------


def test_the_files_of_the_book_are_whole() -> None:
    content = read_json(RECORDS / "benchmarks.json")
    assert list(content["lines"]) == list(LINES)
    for key, line in content["lines"].items():
        assert (line["name"], line["limit"], line["unit"]) == (LINES[key].name, LINES[key].limit, LINES[key].unit)
        assert set(line) == set(LINES[key].empty())
        if line["ours"] is not None:
            assert set(line["machine"]) == set(MACHINE) and line["ours"] > 0
    curves = read_json(RECORDS / "cost-curves.json")
    assert list(curves["points"]) == list(points())
    again = fits(curves["points"])
    assert list(curves["fits"]) == list(again)
    # Another processor adds in another order. A residual then moves by eps times the condition number of the fit, which
    # is below 20 for these sweeps, times |log y| over the residual, at most 200; each is a sum over six points at most.
    # Exponent and coefficient move less.
    tolerance = 20 * 200 * 6 * np.finfo(float).eps  # 5e-12
    for key, fit in curves["fits"].items():
        for name, value in again[key].items():
            expected = value if name in ("x", "y") else pytest.approx(value, rel=tolerance)
            assert fit[name] == expected, f"{name} of {key}"


def test_every_network_of_the_board_has_its_seconds() -> None:
    from retlib.studies import load_study

    board = load_study("one-protocol").runs("lite", role="table", dataset="drive")
    assert set(read_json(RECORDS / "benchmarks.json")["network_seconds"]) == {config.model for config in board.values()}
