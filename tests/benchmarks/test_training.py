"""Training steps a second against a plain PyTorch loop: same network, batch, patches, augmentation, optimiser."""

from __future__ import annotations

import statistics

import pytest
import torch

from retlib.study.runner import build
from tests.benchmarks.plain_loop import PatchDataset, PlainLoop
from tests.benchmarks.test_plain_loop import check_same_step
from tests.benchmarks.training_speed import STEPS, epoch_seconds, lite_config, phantom_samples

pytestmark = pytest.mark.benchmark

ROUNDS = 4


@pytest.fixture(scope="module")
def config() -> object:
    return lite_config()


@pytest.fixture(scope="module")
def samples(config: object) -> list:
    return phantom_samples(config.inputs)


def plain_loop(config: object, samples: list, workers: int) -> PlainLoop:
    """One step more an epoch than are timed."""
    training = config.training
    torch.manual_seed(0)
    return PlainLoop(
        build(config),
        PatchDataset(samples, training.patches.size, (STEPS + 1) * training.batch_size),
        batch_size=training.batch_size,
        workers=workers,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
    )


@pytest.mark.parametrize(("key", "bfloat16"), [("training_float32", False), ("training_lite", True)])
def test_training_steps_a_second(
    key: str, bfloat16: bool, config: object, samples: list, benchmark: object, fill
) -> None:
    check_same_step(config, samples)
    loops = {workers: plain_loop(config, samples, workers) for workers in (0, 2)}
    times: dict[int, list[float]] = {workers: [] for workers in loops}
    mine: list[float] = []

    def one_round() -> None:
        # Ours ends before theirs begins: what it does to its process, to be fast, must not help them.
        mine.extend(epoch_seconds(samples, config, epochs=1, bfloat16=bfloat16))
        for workers, loop in loops.items():
            times[workers].append(loop.epoch())

    benchmark.pedantic(one_round, rounds=ROUNDS)
    assert all(loop.history[-1]["loss"] < loop.history[0]["loss"] for loop in loops.values())  # they do learn
    medians = {workers: statistics.median(seconds) for workers, seconds in times.items()}
    workers = min(medians, key=medians.get)
    ratios = [other / own for own, other in zip(mine, times[workers], strict=True)]
    rates = ", ".join(f"{STEPS / seconds:.2f} with {n} workers" for n, seconds in medians.items())
    line = fill(
        key,
        STEPS / statistics.median(mine),
        STEPS / medians[workers],
        spread=ratios,
        note=f"the plain loop's steps per second: {rates}",
    )
    if line["limit"] is not None:
        assert line["ratio"] >= line["limit"]
