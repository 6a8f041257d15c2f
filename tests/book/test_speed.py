"""The page about speed: it shows what the files say, refuses what is not whole, and its power laws are right."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import bench
import numpy as np
import pytest
from cost_curves import BASES, SWEEPS, fits, point_name, points, power_law, same_machine
from docutils import nodes
from speed_lines import LINES

from tests.book.test_verdicts import Tables

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "book" / "records"
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import speed  # noqa: E402
import speed_plan  # noqa: E402
from speed import SpeedError, benchmark_rows, check_fits, check_line, fit_rows, load, network_rows, number  # noqa: E402
from speed_figures import draw_networks, draw_scale  # noqa: E402

MACHINE = {"processor": "A processor", "cores": 2, "threads": 2, "torch": "2.15.0", "load": 0.1}


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict]:
    """A met ratio, a missed ratio, a missed bound, a met bound on another day, and one that nobody has measured."""
    monkeypatch.setattr("speed_lines.machine", lambda: dict(MACHINE))
    monkeypatch.setattr("speed_lines.today", lambda: "2026-01-31")
    return {
        "scoring_sklearn_image": LINES["scoring_sklearn_image"].filled(0.1, 2.0, spread=[19.0, 22.0]),
        "training_float32": LINES["training_float32"].filled(4.8, 4.0),
        "photograph": LINES["photograph"].filled(0.75, spread=[0.7, 0.9], note="a note"),
        "phantom": LINES["phantom"].filled(0.2) | {"date": "2026-02-01"},
        "tests": LINES["tests"].empty(),
        "training_lite": LINES["training_lite"].empty(),
        "scoring_counts_image": LINES["scoring_counts_image"].empty(),
    }


@pytest.fixture
def laws() -> dict[str, dict]:
    """Fits of made-up points: whatever it is, it takes 0.001 x^1.5 seconds and 2 x MiB."""
    measured = {}
    for (curve, variable), values in SWEEPS.items():
        for value in values:
            point = {"seconds": 0.001 * value**1.5}
            if curve not in ("store", "plan"):
                point["memory_mib"] = 2.0 * value
            measured.setdefault(point_name(curve, BASES[curve] | {variable: value}), point)
    return fits(measured)


def texts(rows: list[nodes.row]) -> list[list[str]]:
    return [[cell.astext() for cell in row.children] for row in rows]


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


def test_the_time_of_the_tests_from_a_junit_file(tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    file.write_text('<testsuites><testsuite name="pytest" tests="3" time="612.5"></testsuite></testsuites>')
    assert bench.junit_seconds(file) == 612.5
    file.write_text("<testsuites></testsuites>")
    for wrong in (file, tmp_path / "gone.xml"):
        with pytest.raises(ValueError, match="--junit: expected a file written by pytest --junitxml"):
            bench.junit_seconds(wrong)


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


# --- the page --------------------------------------------------------------------------------------------------------


def test_rows_say_what_the_lines_say(lines: dict) -> None:
    rows, machines = benchmark_rows(lines)
    shown = texts(rows)
    assert shown[0][1:] == ["0.100 s", "2.00 s", "20.0 (19.0 to 22.0)", "at least 10 times", "met", "A"]
    assert shown[1][1:] == ["4.80 steps/s", "4.00 steps/s", "1.20", "at least 1.3 times", "MISSED", "A"]
    assert shown[2][1:] == ["0.750 s (0.700 to 0.900)", "—", "—", "at most 0.5 s", "MISSED", "A"]
    assert shown[2][0].endswith("(a note)")
    assert shown[3][-2:] == ["met", "B"]
    assert shown[4][1:] == ["—", "—", "—", "at most 720 s", "not measured", "—"]
    assert [cells[4] for cells in shown[5:]] == ["—", "at least 10 times"]
    assert [text.split(", ")[-1] for text in machines] == [
        "2026-01-31; load before a measurement: up to 0.1.",
        "2026-02-01; load before a measurement: up to 0.1.",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"limit": ...}, "line 'photograph' has no limit; run `python tools/bench.py`"),
        ({"machine": None}, "the machine of line 'photograph' has no processor"),
        ({"ours": "fast"}, "expected ours to be a number above 0, got 'fast'"),
        ({"ours": float("nan")}, "expected ours to be a number above 0, got nan"),
        ({"met": True}, "says met: True, but its numbers say False"),
    ],
)
def test_a_wrong_line_is_named(lines: dict, change: dict, words: str) -> None:
    line = {key: value for key, value in (lines["photograph"] | change).items() if value is not ...}
    with pytest.raises(SpeedError) as caught:
        check_line("photograph", line)
    assert words in str(caught.value)


def test_a_missing_file_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(SpeedError, match=r"benchmarks\.json: not found in book/records; run `python tools/bench\.py`"):
        load(tmp_path, "benchmarks.json")
    (tmp_path / "cost-curves.json").write_text("{", encoding="utf-8")
    with pytest.raises(SpeedError, match=r"cost-curves\.json: expected JSON"):
        load(tmp_path, "cost-curves.json")
    with pytest.raises(SpeedError, match=r"expected something under 'fits', found nothing"):
        speed.part({"fits": {}}, "cost-curves.json", "fits")


def test_networks_are_ordered_and_set_against_unet() -> None:
    seconds = {"r2unet": {"wall_s": 0.9, "cpu_s": 1.5}, "unet": {"wall_s": 0.4, "cpu_s": 0.5}}
    assert texts(network_rows(seconds)) == [
        ["unet", "0.400", "0.500", "1.00"],
        ["r2unet", "0.900", "1.50", "3.00"],
    ]
    with pytest.raises(SpeedError, match="network_seconds of 'unet' has no cpu_s"):
        network_rows({"unet": {"wall_s": 1.0}})


def test_exponents_and_figures(laws: dict, tmp_path: Path) -> None:
    check_fits(laws)
    rows = texts(fit_rows(laws))
    assert rows[0] == ["Training step", "side", "64", "320", "1.50 ± 0.00", "1.00 ± 0.00"]
    assert rows[-1][-1] == "—"
    for draw in (draw_networks, draw_scale):
        files = [tmp_path / f"{turn}" / "figure.svg" for turn in range(2)]
        for file in files:
            file.parent.mkdir(exist_ok=True)
            alt, caption = draw(laws, file)
        assert files[0].read_bytes() == files[1].read_bytes() and b"<svg" in files[0].read_bytes()
        assert len(alt) > 40 and len(caption) > 40
    del laws["plan/runs/seconds"]
    with pytest.raises(SpeedError, match="fits has no plan/runs/seconds"):
        check_fits(laws)


@pytest.mark.parametrize(
    ("value", "text"), [(None, "—"), (0.0123456, "0.0123"), (1.239, "1.24"), (54.72, "54.7"), (1234.5, "1,234")]
)
def test_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


# --- what more would cost --------------------------------------------------------------------------------------------

REHEARSAL = {
    "a/x": {"step_s": 2.0, "planned_steps": 1800, "stands_for": ["a/x", "a/y"]},  # an hour each
    "b/z": {"step_s": 4.0, "planned_steps": 2700, "stands_for": ["b/z"]},  # three hours
}


def test_durations() -> None:
    shown = [speed_plan.duration(seconds) for seconds in (0.0234, 41, 720, 12345, 4e6)]
    assert shown == ["23 ms", "41 s", "12 min", "3.4 h", "46 days"]


def test_the_longest_run_bounds_the_whole() -> None:
    assert speed_plan.makespan([1, 1, 3], 1) == 5
    assert speed_plan.makespan([1, 1, 3], 2) == 3
    assert speed_plan.makespan([1, 1, 3], 8) == 3
    assert speed_plan.makespan([2, 2, 2], 2) == 4


def test_ten_thousand_images(laws: dict) -> None:
    rows = {row[0]: row[2] for row in speed_plan.images(10_000, laws)}
    assert rows["Predicting 10,000 photographs"] == speed_plan.duration(10_000 * 0.001 * 544**1.5)
    assert rows["Scoring them, nine metrics, mean over images"] == speed_plan.duration(0.001 * 10_000**1.5)
    # 10 epochs of 480 patches on 20 photographs, 8 a step.
    assert rows["Training on 10,000 photographs, float32"] == speed_plan.duration(300_000 * 0.001 * 160**1.5)
    assert rows["Memory for them while training"] == "15 GB"


def test_ten_papers(laws: dict, tmp_path: Path) -> None:
    rows = speed_plan.papers(10, laws, REHEARSAL, tmp_path)
    assert rows[0][2] == speed_plan.duration(2 * 5 * 3600)
    assert rows[1][2] is None and rows[1][1] == "no record"
    assert rows[2][2] == speed_plan.duration(0.001 * 6**1.5)
    assert speed_plan.papers(10, laws, REHEARSAL, RECORDS)[1][2] is not None


def test_only_rows_of_tables_are_counted() -> None:
    line = {"step_s": 1.0, "planned_steps": 1}
    runs = ["af-unet/drive-unet", "af-unet/drive-af-unet-dense", "recipe/base"]
    kept = speed_plan.table_rows({run: {**line, "stands_for": runs[i:]} for i, run in enumerate(runs)})
    assert {name: entry["stands_for"] for name, entry in kept.items()} == {runs[0]: [runs[0]]}


def test_eight_gpus() -> None:
    lines = {"utilisation_cpu_float32": {"ours": 50.0}, "utilisation_cuda_bfloat16": {"ours": None}}
    rows = speed_plan.gpus(2, REHEARSAL, lines)
    assert [row[2] for row in rows] == ["5.0 h", "3.0 h", None, None]
    lines["utilisation_cuda_bfloat16"]["ours"] = 5000.0
    assert [row[2] for row in speed_plan.gpus(2, REHEARSAL, lines)][2:] == ["3.0 min", "108 s"]


# --- the files and the built book ------------------------------------------------------------------------------------


def test_the_files_of_the_book_are_whole() -> None:
    content = load(RECORDS, "benchmarks.json")
    assert list(content["lines"]) == list(LINES)
    benchmark_rows(content["lines"])
    for key, line in content["lines"].items():
        assert (line["name"], line["limit"], line["unit"]) == (LINES[key].name, LINES[key].limit, LINES[key].unit)
    curves = load(RECORDS, "cost-curves.json")
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
    assert set(load(RECORDS, "benchmarks.json")["network_seconds"]) == {config.model for config in board.values()}


def test_the_page_shows_every_line(site: Path) -> None:
    page = (site / "book" / "speed.html").read_text(encoding="utf-8")
    shown = [cells for cells in Tables(page).of("benchmarks") if len(cells) == len(speed.BENCHMARK_HEAD)]
    assert len(shown) == len(LINES)
    for name in ("speed-networks.svg", "speed-scale.svg"):
        assert (site / "_images" / name).is_file() and name in page
