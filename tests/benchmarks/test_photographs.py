"""The shipped network on a small and on a large photograph, and the drawing of a phantom."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from retlib.data.phantoms import make_phantom
from retlib.metrics import evaluate
from retlib.predict import load_predictor
from tests.benchmarks.conftest import seconds
from tests.benchmarks.workloads import in_fresh_process

pytestmark = pytest.mark.benchmark


def test_one_photograph(benchmark: object, fill) -> None:
    sample = make_phantom(0)
    predictor = load_predictor(device="cpu")
    result = predictor(sample.image)
    # It did find the vessels, and finds the same ones again.
    assert evaluate(result.probabilities, sample.vessels, sample.fov, metrics="dice")["dice"] > 0.5
    np.testing.assert_array_equal(predictor(sample.image).probabilities, result.probabilities)
    times: list[float] = []
    benchmark.pedantic(lambda: times.append(seconds(lambda: predictor(sample.image))), rounds=7)
    line = fill("photograph", statistics.median(times), spread=times)
    assert line["ours"] <= line["limit"]


@pytest.mark.parametrize(("key", "tiled"), [("photograph_tiled_memory", True), ("photograph_large_memory", False)])
def test_a_large_photograph_in_little_memory(key: str, tiled: bool, benchmark: object, fill) -> None:
    found = benchmark.pedantic(lambda: in_fresh_process("photograph", tiled=tiled), rounds=1)
    note = f"{found['seconds']:.1f} s, torch and its libraries included in the memory"
    line = fill(key, found["peak_mib"] * 2**20 / 1e9, note=note)
    assert line["ours"] <= line["limit"]


def test_a_phantom(benchmark: object, fill) -> None:
    make_phantom(1)
    times: list[float] = []
    seeds = iter(range(100))
    benchmark.pedantic(lambda: times.append(seconds(lambda: make_phantom(next(seeds)))), rounds=10)
    line = fill("phantom", statistics.median(times), spread=times)
    assert line["ours"] <= line["limit"]
