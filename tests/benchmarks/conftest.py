"""What the benchmarks share: two threads, and a comparison whose rounds alternate between ours and theirs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest

from tests.benchmarks.limits import LINES
from tests.benchmarks.measuring import use_threads


@pytest.fixture(autouse=True)
def threads() -> None:
    """Ours and theirs alike run on two threads, or one where there is one core."""
    use_threads()


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@pytest.fixture
def fill(benchmark: object) -> Callable[..., dict]:
    """Fills a line of book/records/benchmarks.json; tests.benchmarks.bench finds it in pytest-benchmark's JSON."""

    def put(key: str, *numbers: float, **options: object) -> dict:
        line = LINES[key].filled(*numbers, **options)
        benchmark.extra_info.setdefault("lines", {})[key] = line
        return line

    return put


@pytest.fixture
def compare(benchmark: object, fill: Callable[..., dict]) -> Callable[..., dict]:
    """Times ours and theirs in turn and fills a line with the medians; the test has called both before."""

    def run(key: str, ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> dict:
        mine: list[float] = []
        others: list[float] = []
        benchmark.pedantic(
            lambda: mine.append(seconds(ours)),
            setup=lambda: others.append(seconds(theirs)),  # before each round, outside of its clock
            rounds=rounds,
        )
        ratios = [other / own for own, other in zip(mine, others, strict=True)]
        return fill(key, statistics.median(mine), statistics.median(others), spread=ratios)

    return run
