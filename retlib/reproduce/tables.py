"""The plan and the table that a call prints, and its progress in between."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from tqdm import tqdm

from retlib.reproduce.driver import Done, Driver, Planned
from retlib.reproduce.order import TIERS, DueRun
from retlib.reproduce.stock import Stock


def duration(seconds: float | None) -> str:
    """``45 s``, ``12 min``, ``3 h 20 min``; ``unknown`` where it is not known."""
    if seconds is None or math.isnan(seconds):
        return "unknown"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of texts as lines, each column as wide as its widest text."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def stock_line(stock: Stock, profile: str) -> str:
    """What is due, what is there, what is missing."""
    total = len(stock.missing) + len(stock.recorded)
    doubled = f", {stock.doubled} named more than once" if stock.doubled else ""
    tiers = tier_counts(stock.missing)
    return (
        f"profile {profile}: {total} runs{doubled}; {len(stock.recorded)} have a record, "
        f"{len(stock.missing)} are missing{f' ({tiers})' if tiers else ''}"
    )


def tier_counts(runs: Iterable[DueRun]) -> str:
    """``9 papers, 4 folds``: runs by tier, in order of value."""
    counts = Counter(run.tier for run in runs)
    return ", ".join(f"{counts[tier]} {tier}" for tier in TIERS if counts[tier])


def plan_lines(driver: Driver, planned: Planned, dry_run: bool = False) -> list[str]:
    """The plan: the machine, what fits into the budget in order of starting, and what is left for later.

    Args:
        driver: whose plan it is.
        planned: the plan.
        dry_run: whether it was made without measuring anything.
    """
    budget = driver.budget
    lanes = f"{len(driver.lanes)} runs at once" if len(driver.lanes) > 1 else "one run at a time"
    limit = f"{duration(max(0.0, budget.left()))} of {duration(budget.seconds)} left" if budget.limited else "no budget"
    warming = f"; warm-ups took {duration(budget.warming_s)}" if budget.limited else ""
    lines = [f"{driver.estimates.device}: {lanes}, {limit}{warming}"]
    if planned.now:
        rows = [("tier", "run", "seed", "estimate", "by")]
        for run, _ in planned.now:
            estimate = driver.estimates.get(run)
            by = "–" if estimate is None else estimate.pace.source
            seconds = None if estimate is None else estimate.seconds
            rows.append((run.tier, run.label, str(run.seed), duration(seconds), by))
        lines += ["", f"planned: {len(planned.now)} runs", *columns(rows)]
    if planned.later:
        lines += ["", *left_lines(driver, planned.later)]
    if budget.limited and not planned.now and planned.later:
        lines.append(_what_would_fit(driver, planned.later, dry_run))
    return lines


def left_lines(driver: Driver, runs: Sequence[DueRun]) -> list[str]:
    """What is left, by tier, with the time that it is estimated to take on one lane."""
    known = [seconds for run in runs if (seconds := driver.seconds(run)) is not None]
    line = f"left: {len(runs)} runs ({tier_counts(runs)})"
    if known:
        line += f"; {duration(sum(known))} for the {len(known)} that have an estimate"
    if len(known) < len(runs):
        line += f"; {len(runs) - len(known)} have none yet"
    return [line]


def done_lines(done: Sequence[Done]) -> list[str]:
    """The last table: one line a run that ended, and below it each error."""
    if not done:
        return ["nothing was run"]
    rows = [("run", "seed", "estimated", "actual", "Dice", "AUC", "record")]
    for item in done:
        scores = {} if item.record is None else item.record.metrics()
        cells = [_score(scores.get(name)) for name in ("dice", "auc")]
        end = "failed" if item.record is None else item.record.id
        rows.append((item.run.label, str(item.run.seed), duration(item.estimated), duration(item.seconds), *cells, end))
    lines = columns(rows)
    if failed := [item for item in done if item.error is not None]:
        lines += ["", f"{len(failed)} failed:"]
        lines += [f"  {item.run.label}, seed {item.run.seed}: {item.error}" for item in failed]
    return lines


def missing_lines(reasons: Iterable[tuple[str, str, int]]) -> list[str]:
    """Data sets that are missing: (title, reason, runs that need it)."""
    lines = [f"{title} is needed by {count} of the missing runs. {reason}" for title, reason, count in reasons]
    return [
        *lines,
        "`retlib data status` says what is there and what to do; --present-only runs what needs none of it; "
        "--profile smoke runs on phantoms and needs no data",
    ]


class Report:
    """Progress on standard output: a line a run, and a bar with the time left where runs go on elsewhere.

    Args:
        say: prints a line.
        bar: whether to show a bar (runs in this process show their own).
    """

    def __init__(self, say: Callable[[str], None], bar: bool) -> None:
        self._say, self._wanted, self._bar, self._began = say, bar, None, time.monotonic()

    def began(self, run: DueRun, seconds: float | None, measuring: bool) -> None:
        """Name what starts."""
        about = "" if seconds is None else f", about {duration(seconds)}"
        self._write(f"{'measuring' if measuring else 'running'} {run.label}, seed {run.seed}{about}")

    def ended(self, done: Done) -> None:
        """Say how it ended."""
        end = done.error or f"record {done.record.id}"
        self._write(f"{done.run.label}, seed {done.run.seed}: {duration(done.seconds)}, {end}")

    def tick(self, running: int, seconds_left: float | None) -> None:
        """Move the bar."""
        passed = time.monotonic() - self._began
        if not self._wanted or not running or passed < 2:
            return
        if self._bar is None:
            every = 1 if sys.stdout.isatty() else 60
            self._bar = tqdm(
                total=1.0, file=sys.stdout, mininterval=every, bar_format="{desc}|{bar}| {percentage:.0f}%"
            )
        self._bar.set_description_str(f"{running} running, time left: {duration(seconds_left)}", refresh=False)
        if seconds_left is not None:
            self._bar.update(passed / max(passed + seconds_left, 1e-9) - self._bar.n)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _write(self, line: str) -> None:
        if self._bar is None:
            self._say(line)
        else:
            with tqdm.external_write_mode(file=sys.stdout):
                self._say(line)


def _what_would_fit(driver: Driver, runs: Sequence[DueRun], dry_run: bool) -> str:
    known = [(seconds, run) for run in runs if (seconds := driver.seconds(run)) is not None]
    if not known and dry_run:
        return (
            "no record of this device says how long a run takes, and a dry run measures nothing; the call without "
            "--dry-run measures first, in this order: "
            + ", ".join(run.label for run in runs[:5])
            + (", ..." if len(runs) > 5 else "")
        )
    if not known:
        return "the budget is too small to measure a run; try --budget with more minutes"
    seconds, run = min(known, key=lambda pair: pair[0])
    return (
        f"nothing fits into the budget: the shortest run that has an estimate is {run.label} (seed {run.seed}), "
        f"which would fit into --budget {math.ceil((seconds + driver.budget.spent()) / 60)}"
    )


def _score(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4f}"
