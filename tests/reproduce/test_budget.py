"""The clock, the choice of the next run, estimates, and what may share a GPU."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from retlib.experiments import Store, run
from retlib.reproduce.budget import ALL_WARM_UPS, MARGIN, ONE_WARM_UP, Budget, decide
from retlib.reproduce.driver import Driver
from retlib.reproduce.estimates import Estimate, Estimates, Pace, device_name, essence, run_seconds, share_left
from retlib.reproduce.lanes import Inline, Lane, may_start, wait_for
from retlib.reproduce.order import DueRun, due_runs
from retlib.reproduce.tables import Report, duration
from retlib.reproduce.warmup import describe, warm_up


@pytest.fixture
def toys(paper: Path) -> dict[str, DueRun]:
    return {run.name: replace(run, id=run.name) for run in due_runs([str(paper)], "smoke")}


# --- the choice ----------------------------------------------------------------------------------------------------


def test_a_shorter_run_of_less_value_fills_the_gap(toys) -> None:
    waiting = [toys["proposed"], toys["baseline"], toys["twin"]]
    seconds = {"proposed": 50.0, "baseline": 8.0, "twin": 5.0}.get

    def chosen(room: float, **options: bool):
        return decide(waiting, lambda run: seconds(run.name), room, **{"may_warm": False, **options})

    assert chosen(60) == (toys["proposed"], False)
    assert chosen(50) == (toys["proposed"], False)
    assert chosen(49.9) == (toys["baseline"], False)
    assert chosen(6) == (toys["twin"], False)
    assert chosen(4) is None


def test_the_unknown_is_measured_first_or_left(toys) -> None:
    waiting = [toys["proposed"], toys["baseline"]]
    seconds = {"baseline": 8.0}.get

    def chosen(**options: bool):
        return decide(waiting, lambda run: seconds(run.name), 10, **options)

    assert chosen(may_warm=True) == (toys["proposed"], True)
    assert chosen(may_warm=False) == (toys["baseline"], False)
    assert chosen(may_warm=False, start_unknown=True) == (toys["proposed"], False)


def test_the_budget_learns_from_what_was_slower_than_estimated() -> None:
    budget = Budget(10, clock=lambda: 0.0)
    assert budget.factor == MARGIN
    budget.learn(10, 5)
    assert budget.factor == MARGIN
    budget.learn(10, 35)
    assert budget.factor == pytest.approx(2 * MARGIN)
    for _ in range(5):
        budget.learn(10, 10)
    assert budget.factor == MARGIN


def test_warm_ups_take_a_small_share() -> None:
    now = [0.0]
    budget = Budget(10, clock=lambda: now[0])
    assert budget.warm_up_allowance() == pytest.approx(ONE_WARM_UP * 600)
    assert budget.warm_up_allowance(room=59) == 0  # what would fit in there is not worth measuring
    budget.warming_s = ALL_WARM_UPS * 600 - 1
    assert budget.warm_up_allowance() == 0
    budget.warming_s, now[0] = 0.0, 541.0
    assert budget.left() == 59 and budget.warm_up_allowance() == 0
    assert Budget(None).left() == float("inf") and Budget(None).warm_up_allowance() == 0


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_a_budget_is_above_zero(minutes: float) -> None:
    with pytest.raises(ValueError, match="--budget"):
        Budget(minutes)


# --- estimates -----------------------------------------------------------------------------------------------------

PACE = Pace(step=2.0, prediction=3.0, scoring=1000.0, megapixels=0.002304, start=5.0, loading=7.0)


def test_a_run_is_its_steps_its_images_and_its_scores(toys) -> None:
    config = toys["baseline"].config  # one epoch of one batch; two images trained on, two scored
    assert run_seconds(config, PACE) == pytest.approx(5 + 2 + 2 * (3 + 1000 * 48 * 48 / 1e6) + 4 * 7)
    threshold = config.model_copy(update={"scoring": config.scoring.model_copy(update={"threshold": "training"})})
    assert run_seconds(threshold, PACE) == pytest.approx(run_seconds(config, PACE) + 2 * 3)
    longer = config.model_copy(update={"training": config.training.model_copy(update={"epochs": 4})})
    assert run_seconds(longer, PACE) == pytest.approx(run_seconds(config, PACE) + 3 * 2)


def test_runs_of_one_essence_share_a_warm_up(toys) -> None:
    assert essence(toys["baseline"].config) == essence(toys["proposed"].config) == essence(toys["broken"].config)
    config = toys["baseline"].config
    wider = config.model_copy(update={"model_options": {"width": 3, "depth": 1}})
    assert essence(wider) != essence(config)


def test_a_warm_up_measures_and_a_record_of_the_same_device_replaces_it(toys, tmp_path: Path) -> None:
    toy = toys["baseline"]
    measured = warm_up(toy.config.model_dump(mode="json"), None, "cpu", 1.0)
    pace = Pace(**measured["pace"])
    assert pace.step > 0 and pace.prediction > 0 and pace.scoring > 0 and pace.parameters > 0
    assert pace.memory_mib is None and measured["seconds"] > pace.step

    machine = describe("cpu", True)
    assert machine["scoring"] > 0 == describe("cpu", False)["scoring"]
    device = device_name(machine["environment"])
    record = run(toy.config, tmp_path, device="cpu", progress=False)
    other = Estimates(Store(tmp_path), "NVIDIA of another kind", machine["scoring"])
    assert other.get(toy) is None
    other.add(toy, pace)
    assert other.get(toys["proposed"]).pace == pace
    same = Estimates(Store(tmp_path), device, machine["scoring"]).get(toys["broken"])
    assert same.pace.source == f"record {record.id}" and same.pace.step == record.content["timing"]["step_s"]
    for name, learned in ((device, True), ("another", False)):
        made_now = Estimates(Store(tmp_path / "nothing"), name, 0.0)
        made_now.learn(record)
        assert (made_now.get(toy) is not None) == learned


def test_a_checkpoint_shortens_the_rest(toys, cache: Path) -> None:
    import torch

    assert share_left(toys["broken"]) == 1
    folder = cache / "work" / "broken"
    folder.mkdir(parents=True)
    torch.save({"state": {"epoch": 2}}, folder / "checkpoint.pt")
    assert share_left(toys["broken"]) == pytest.approx(1 / 3)
    torch.save({"state": {"epoch": 2, "inside": {"share": 0.25}}}, folder / "checkpoint.pt")
    assert share_left(toys["broken"]) == pytest.approx(1 / 4)
    (folder / "checkpoint.pt").write_bytes(b"half")
    assert share_left(toys["broken"]) == 1


def test_durations() -> None:
    texts = [duration(seconds) for seconds in (None, 0.31, 45, 100, 5400, 12000)]
    assert texts == ["unknown", "0.3 s", "45 s", "2 min", "1 h 30 min", "3 h 20 min"]


# --- lanes ---------------------------------------------------------------------------------------------------------


def test_small_nets_share_a_gpu_and_large_ones_do_not() -> None:
    small = replace(PACE, parameters=500_000, memory_mib=2000.0)
    large = replace(PACE, parameters=30_000_000, memory_mib=9000.0)
    assert may_start(large, [], 80_000, auto=True)
    assert may_start(small, [small, small], 80_000, auto=True)
    assert not may_start(large, [small], 80_000, auto=True)
    assert not may_start(small, [large], 80_000, auto=True)
    assert may_start(large, [large], 80_000, auto=False)
    assert not may_start(large, [large], 20_000, auto=False)  # over four fifths of the memory
    assert not may_start(small, [None], 80_000, auto=True)
    assert may_start(None, [None], None, auto=True)  # the CPU


class Silent(Inline):
    """Answers what comes before any run, and nothing else."""

    def submit(self, function, /, *arguments, **options) -> Future:
        return super().submit(function, *arguments, **options) if function is describe else Future()


def driver_of(toys, tmp_path: Path, lanes: list[Lane], minutes: float | None = None, **options) -> Driver:
    return Driver(list(toys.values()), Store(tmp_path / "records"), lanes, Budget(minutes), **options)


def test_without_a_cluster_a_warm_up_is_not_waited_for(toys, tmp_path: Path) -> None:
    trouble: list[str | None] = [None]
    driver = driver_of(toys, tmp_path, [Lane("cpu", Silent)], 10, trouble=lambda: trouble[0])
    trouble[0] = "the cluster is gone"
    planned = driver.plan(Report(lambda _: None, bar=False))
    assert driver.stopped == "the cluster is gone" and not planned.now
    assert driver.drive(Report(lambda _: None, bar=False)) == []


@pytest.mark.parametrize(("own_device", "large", "fit"), [(False, False, 4), (False, True, 2), (True, True, 4)])
def test_the_plan_gives_a_large_net_a_gpu_of_its_own(toys, tmp_path: Path, own_device: bool, large: bool, fit) -> None:
    """Two lanes, time for two runs one after the other: four small nets, or two large ones, or a GPU each."""
    lanes = [Lane("cpu", Silent, own_device=own_device) for _ in range(2)]
    five = {name: toys[name] for name in ("proposed", "baseline", "fold1", "fold2", "twin")}
    driver = driver_of(five, tmp_path, lanes)
    driver.machine["memory_mib"], driver._auto, driver.budget = 80_000.0, True, Budget(1)
    size = {"parameters": 30_000_000, "memory_mib": 9000.0} if large else {"parameters": 500_000, "memory_mib": 900.0}
    driver.estimates.get = lambda run: Estimate(25.0, replace(PACE, **size))
    assert len(driver.plan().now) == fit


def test_a_lane_that_does_not_answer_is_not_waited_for() -> None:
    with pytest.raises(TimeoutError, match=r"did not answer within 0 seconds; nothing was run"):
        wait_for(Future(), 0)
    with pytest.raises(TimeoutError, match="no worker"):
        wait_for(Future(), 60, lambda: "no worker")
    assert wait_for(Inline().submit(int, "7"), 0) == 7


def test_the_inline_executor_keeps_errors_and_lets_interrupts_through() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    assert Inline().submit(int, "7").result() == 7
    assert isinstance(Inline().submit(int, "x").exception(), ValueError)
    with pytest.raises(KeyboardInterrupt):
        Inline().submit(interrupt)
