"""Seconds of networks: one source a table and a figure, and which it is."""

from __future__ import annotations

import json
import math
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from retlib.comparison import Comparison, board, figures, findings, leaderboard, load_benchmark, pick_times
from retlib.comparison.times import recorded_times


def test_the_benchmark_file(tmp_path: Path) -> None:
    assert load_benchmark(tmp_path) == {}
    file = tmp_path / "benchmarks.json"
    file.write_text(json.dumps({"lines": []}))
    assert load_benchmark(tmp_path) == {}
    file.write_text(json.dumps({"network_seconds": {"unet": {"wall_s": 0.5, "cpu_s": 0.4}}}))
    assert load_benchmark(tmp_path) == {"unet": 0.4}
    for wrong in ('{"network_seconds": {"unet": {"wall_s": 0.5}}}', "{", "[]", '{"network_seconds": {"unet": 1}}'):
        file.write_text(wrong)
        with pytest.raises(ValueError, match=r"benchmarks\.json: expected network_seconds"):
            load_benchmark(tmp_path)


def test_one_source_for_all(comparison: Comparison) -> None:
    drive = comparison.contenders()["drive"]
    by_key = {item.key: item for item in drive}
    whole, part = {"unet": 1.5, "segnet": 2.5}, {"unet": 1.5}
    assert pick_times(drive, {}) == pick_times(drive, part) == recorded_times()  # records know both networks
    assert recorded_times().of(by_key["unet"]) == min(
        record.content["timing"]["inference_cpu_s_per_image"] for record in by_key["unet"].records
    )
    assert recorded_times().of(by_key["frangi"]) > 0
    times = pick_times(drive, whole)
    assert [times.of(by_key[key]) for key in whole] == list(whole.values())
    assert math.isnan(times.of(by_key["frangi"])), "a filter's seconds are of another source"
    shown = board(leaderboard(drive, ("dice",), times), ("dice",), times.label).set_index("row")
    assert shown.loc["U-Net", times.label] == "1.50" and math.isnan(shown.loc["Frangi filter", times.label])


def test_wall_clock_seconds_are_never_compared(comparison: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of before CPU seconds were kept: a gap, not another clock's number."""
    drive = comparison.contenders()["drive"]
    unet = next(item for item in drive if item.key == "unet")
    for record in unet.records:
        monkeypatch.delitem(record.content["timing"], "inference_cpu_s_per_image")
    assert math.isnan(unet.cpu_seconds) and unet.wall_seconds > 0
    assert math.isnan(pick_times(drive, {}).of(unet))
    assert "1 of the 2 networks" in findings.time_sentence({"drive": drive}, {})
    assert pick_times(drive, {"unet": 0.5}).measured == {"unet": 0.5}  # the benchmark knows as many as the records do


def test_axis_and_sentence_name_the_source(comparison: Comparison) -> None:
    datasets = {"drive": comparison.contenders()["drive"]}
    for benchmark, words in (({}, "kept by each record"), ({"unet": 1.5, "segnet": 2.5}, "one forward pass")):
        times = pick_times(datasets["drive"], benchmark)
        figure = figures.cost_figure(datasets, benchmark)
        parameters, seconds = figure.axes
        assert (parameters.get_xlabel(), seconds.get_xlabel()) == ("parameters", times.label)
        drawn = {float(line.get_xdata()[0]) for line in seconds.lines if line.get_linestyle() == "None"}
        assert drawn == {times.of(item) for item in datasets["drive"] if item.kind == "network"}
        sentence = findings.time_sentence(datasets, benchmark)
        assert words in sentence and "missing" not in sentence
        plt.close(figure)
