"""The loop: measure what is unknown, plan, run, learn, and say what is left."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass, field
from typing import Any, Protocol

from retlib.experiments import Record, Store
from retlib.reproduce.budget import Budget, decide
from retlib.reproduce.estimates import Estimate, Estimates, Pace, device_name, share_left
from retlib.reproduce.lanes import Lane, may_start, wait_for
from retlib.reproduce.order import DueRun
from retlib.reproduce.tasks import keep_record, make_record, wait_for_record
from retlib.reproduce.warmup import describe, warm_up

_TICK_S = 1.0
ANSWER_S = 600.0
"""Seconds for a lane to do what comes before any run: start, import, look around."""
# A run on a cluster that takes so many times its estimate, and so many seconds beyond, hangs.
_OVERDUE_TIMES, _OVERDUE_S = 20.0, 600.0
_UNKNOWN_RUN_S = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Done:
    """A run that ended: with a record, or with an error in words."""

    run: DueRun
    estimated: float | None
    seconds: float
    record: Record | None = None
    error: str | None = None


@dataclass
class Planned:
    """What is to be run in this call, in the order of starting, as far as estimates can tell; and the rest."""

    now: list[tuple[DueRun, float | None]]
    later: list[DueRun]


class Progress(Protocol):
    """What the driver tells while it works."""

    def began(self, run: DueRun, seconds: float | None, measuring: bool) -> None:
        """A run, or a warm-up for it, starts; ``seconds`` is the run's estimate."""

    def tick(self, running: int, seconds_left: float | None) -> None:
        """About once a second where runs go on elsewhere; ``seconds_left`` for all that is planned, if known."""

    def ended(self, done: Done) -> None:
        """A run ended."""


class _Shares:
    """When the lanes are free on paper, where some of them share a GPU."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        groups: dict[object, list[float]] = {}
        for place, lane in enumerate(lanes):
            groups.setdefault(place if lane.own_device else lane.device, []).append(0.0)
        self._groups = list(groups.values())

    def start(self, alone: bool) -> float:
        """Seconds until a run can start: on any lane, or ``alone`` on a device that is free altogether."""
        return min((max if alone else min)(ends) for ends in self._groups)

    def take(self, alone: bool, seconds: float) -> None:
        """Give a run the place that is free first."""
        start = self.start(alone)
        group = next(ends for ends in self._groups if (max if alone else min)(ends) == start)
        if alone:
            group[:] = [start + seconds] * len(group)
        else:
            group[group.index(start)] += seconds


@dataclass
class _Job:
    run: DueRun
    lane: Lane
    estimate: Estimate | None
    measuring: bool
    whole: bool  # whether the run starts at its first epoch, and so says how good its estimate was
    began: float = field(default_factory=time.monotonic)


class Driver:
    """Makes the records of missing runs, in order of value, within a budget.

    Args:
        waiting: runs without a record, in order of value.
        store: where records are and go.
        lanes: where runs are made.
        budget: the clock.
        root: folder of the data sets, as the lanes know it; None for their own RETLIB_DATA.
        returned: whether lanes send their records back instead of writing to the store.
        auto: whether the number of lanes was left to be found.
        trouble: asked about once a second; a text ends the call.
    """

    def __init__(
        self,
        waiting: Sequence[DueRun],
        store: Store,
        lanes: Sequence[Lane],
        budget: Budget,
        *,
        root: str | None = None,
        returned: bool = False,
        auto: bool = False,
        trouble: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.waiting, self.store, self.lanes, self.budget = list(waiting), store, list(lanes), budget
        self.done: list[Done] = []
        self.stopped: str | None = None
        self._root, self._returned, self._auto, self._trouble = root, returned, auto, trouble
        self._jobs: dict[Future, _Job] = {}
        lane = self.lanes[0]
        self.machine = wait_for(lane.submit(describe, lane.device, budget.limited), ANSWER_S, trouble)
        self.estimates = Estimates(store, device_name(self.machine["environment"]), self.machine["scoring"])

    def seconds(self, run: DueRun) -> float | None:
        """What a run is expected to take, the safety factor included; None where nothing is known."""
        estimate = self.estimates.get(run)
        return None if estimate is None else estimate.seconds * self.budget.factor

    def plan(self, progress: Progress | None = None) -> Planned:
        """Fill the budget on paper; with ``progress``, the unknown is measured first, as far as the budget allows.

        Without a budget nothing is measured, and every run is planned.
        """
        shares = _Shares(self.lanes)
        later, now = list(self.waiting), []

        def end_of(run: DueRun) -> float | None:
            seconds = self.seconds(run)
            return None if seconds is None else shares.start(self._has_to_itself(run)) + seconds

        while later:
            left = self.budget.left()
            room = left - shares.start(False)
            allowance = self.budget.warm_up_allowance(room) if progress is not None else 0.0
            step = decide(later, end_of, left, may_warm=allowance > 0, start_unknown=not self.budget.limited)
            if step is None:
                break
            run, measure = step
            if measure:
                self._start(self.lanes[0], run, progress, allowance)
                while self._jobs and self.stopped is None:
                    self._collect(progress)
                    self.stopped = self._trouble()
                if self.stopped is not None:
                    break
                later = [item for item in later if item in self.waiting]  # but for those that cannot even be measured
                continue
            seconds = self.seconds(run)
            shares.take(self._has_to_itself(run), seconds or 0.0)
            later.remove(run)
            now.append((run, seconds))
        return Planned(now, later)

    def drive(self, progress: Progress) -> list[Done]:
        """Run until nothing is left that fits; returns what ended, in the order of ending.

        A run that fails is kept with its error, and the others go on. On an interrupt the lanes are the caller's to
        close.
        """
        while self.stopped is None:
            self._fill(progress)
            if not self._jobs:
                break
            self._collect(progress)
            self.stopped = self._trouble()
        for future in self._jobs:
            future.cancel()
        return self.done

    def unfinished(self) -> list[DueRun]:
        """Runs that are not done: waiting, or stopped on their way."""
        return [*(job.run for job in self._jobs.values() if not job.measuring), *self.waiting]

    def _has_to_itself(self, run: DueRun) -> bool:
        """Whether the other lanes of a GPU wait while it has this run."""
        pace = _pace(self.estimates.get(run))
        return not may_start(pace, [pace], self.machine["memory_mib"], self._auto)

    def _fill(self, progress: Progress) -> None:
        """Give every free lane something to do, as far as there is something that fits."""
        busy = {id(job.lane) for job in self._jobs.values()}
        for lane in self.lanes:
            if id(lane) in busy:
                continue
            left = self.budget.left()
            beside = [
                _pace(job.estimate)
                for job in self._jobs.values()
                if job.lane.device == lane.device and not lane.own_device
            ]
            # Beside a run a warm-up would measure both.
            allowance = 0.0 if beside else self.budget.warm_up_allowance()
            step = decide(
                self.waiting,
                self.seconds,
                left,
                may_warm=allowance > 0,
                start_unknown=not self.budget.limited,
            )
            if step is None or left <= 0:
                return
            run, measure = step
            pace = _pace(self.estimates.get(run))
            if not may_start(pace, beside, self.machine["memory_mib"], self._auto):
                continue
            self._start(lane, run, progress, allowance if measure else None)

    def _start(self, lane: Lane, run: DueRun, progress: Progress, allowance: float | None) -> None:
        """Hand a run to a lane, or with an allowance its warm-up."""
        estimate = self.estimates.get(run)
        progress.began(run, None if estimate is None else estimate.seconds, allowance is not None)
        job = _Job(run, lane, estimate, allowance is not None, whole=share_left(run) == 1)
        content = run.config.model_dump(mode="json")
        if allowance is not None:
            future = lane.submit(warm_up, content, self._root, lane.device, allowance)
        else:
            store = None if self._returned else str(self.store.path.absolute())
            arguments = (content, run.id, store, self._root, lane.device, lane.shows_bars)
            future = lane.submit(make_record, *arguments)
            self.waiting.remove(run)  # not before: a run that was interrupted in this process is still to be made
        self._jobs[future] = job

    def _collect(self, progress: Progress) -> None:
        """Wait until at least one job ended, or a second passed; take what ended."""
        ended, _ = wait(self._jobs, timeout=_TICK_S, return_when=FIRST_COMPLETED)
        for future in ended:
            job = self._jobs.pop(future)
            try:
                result = future.result()
            except Exception as error:  # kept: the other runs go on
                self._fail(job, error, progress)
                continue
            if job.measuring:
                self.estimates.add(job.run, Pace(**result["pace"]))
                self.budget.warming_s += result["seconds"]
            else:
                self._finish(job, result, progress)
        self._give_up_overdue()
        progress.tick(len(self._jobs), self._seconds_left())

    def _finish(self, job: _Job, result: dict[str, Any], progress: Progress) -> None:
        try:
            if result["files"] is not None:
                record = keep_record(result["files"], job.run.id, self.store)
            else:
                record = wait_for_record(job.run.id, self.store)
        except (OSError, ValueError, KeyError) as error:
            self._fail(job, error, progress)
            return
        if self.estimates.get(job.run) is None:
            self.estimates.learn(record)
        estimated = None if job.estimate is None else job.estimate.seconds
        if estimated is not None and job.whole:
            self.budget.learn(estimated, result["seconds"])
        self._end(Done(job.run, estimated, result["seconds"], record), progress)

    def _fail(self, job: _Job, error: BaseException, progress: Progress) -> None:
        """Keep the error of a run; of a warm-up, of every run that it stood for."""
        words = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, CancelledError):
            words = "given up: it took far longer than estimated, or the cluster dropped it"
        seconds = time.monotonic() - job.began
        runs = [job.run]
        if job.measuring:
            self.budget.warming_s += seconds
            words = f"in its warm-up: {words}"
            runs = [run for run in self.waiting if self.estimates.same(run, job.run)]
            self.waiting = [run for run in self.waiting if run not in runs]
        for run in runs:
            self._end(Done(run, None if job.estimate is None else job.estimate.seconds, seconds, error=words), progress)

    def _end(self, done: Done, progress: Progress) -> None:
        self.done.append(done)
        progress.ended(done)

    def _give_up_overdue(self) -> None:
        """Cancel runs on a cluster that hang; a process of this machine ends when the call does."""
        for future, job in self._jobs.items():
            allowed = _UNKNOWN_RUN_S
            if job.estimate is not None:
                allowed = _OVERDUE_TIMES * job.estimate.seconds + _OVERDUE_S
            if not job.lane.own_process and time.monotonic() - job.began > allowed:
                future.cancel()

    def _seconds_left(self) -> float | None:
        """Of all that goes on and is planned, over all lanes; None while something is unknown."""
        ends = []
        for job in self._jobs.values():
            if job.estimate is None:
                return None
            passed = time.monotonic() - job.began
            ends.append(max(0.0, job.estimate.seconds * self.budget.factor - passed))
        ends += [0.0] * (len(self.lanes) - len(ends))
        for run in self.waiting:
            if (seconds := self.seconds(run)) is None:
                if not self.budget.limited:
                    return None
            elif min(ends) + seconds <= self.budget.left():
                ends[ends.index(min(ends))] += seconds
        return max(ends, default=math.nan)


def _pace(estimate: Estimate | None) -> Pace | None:
    return None if estimate is None else estimate.pace
