"""The command `retlib reproduce`."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from retlib.experiments import Store
    from retlib.reproduce.cluster import Cluster
    from retlib.reproduce.lanes import Lane
    from retlib.reproduce.order import DueRun

INTERRUPTED = 130


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt, and end with its exit code.

    Batch systems send SIGTERM before they kill. A process that a script starts in the background begins with SIGINT
    ignored, so Python's own handler is not there.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():  # no other may have handlers
        before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:  # before the first run, or a second one while the table is printed
        typer.echo("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@_interruptible()
def reproduce(
    keys: Annotated[
        list[str] | None,
        typer.Argument(help="Papers and studies by key; all of them by default.", metavar="[KEY…|all]"),
    ] = None,
    profile: Annotated[str, typer.Option(help="smoke, lite or paper.")] = "paper",
    device: Annotated[str, typer.Option(help="cpu, cuda (all GPUs), cuda:1, ...; auto takes CUDA if any.")] = "auto",
    jobs: Annotated[str, typer.Option(help="Runs at once, or auto.")] = "auto",
    budget: Annotated[float | None, typer.Option(help="Minutes that this call may take; no limit by default.")] = None,
    records: Annotated[Path | None, typer.Option(help="Folder of the records; the book's own by default.")] = None,
    seeds: Annotated[
        str | None, typer.Option(help='Seeds of every run, "0,1,2"; by default as papers (0) and studies plan.')
    ] = None,
    role: Annotated[
        list[str] | None, typer.Option(help="Only runs of this role: table, fold, ablation, control; may be repeated.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Data root; by default the variable RETLIB_DATA.")] = None,
    present_only: Annotated[
        bool, typer.Option("--present-only", help="Leave out the runs whose data is not there.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and do nothing.")] = False,
    dask: Annotated[str | None, typer.Option(help="Address of a Dask scheduler: tcp://host:8786.")] = None,
    store: Annotated[
        str, typer.Option(help="With --dask: workers write to the shared folder, or have records returned.")
    ] = "shared",
) -> None:
    """Make the missing records of papers and studies, in order of value, within a budget of time.

    What has a record is skipped, a run that was stopped goes on from its last checkpoint, and a run that fails does not
    stop the others. Exit code: 0 when all that was planned is done, 1 when a run failed, 2 for a wrong argument or
    missing data (nothing is trained then), 130 after an interrupt.
    """
    from retlib.experiments import PROFILES, Store
    from retlib.reproduce.budget import Budget
    from retlib.reproduce.order import due_runs
    from retlib.reproduce.stock import take_stock
    from retlib.reproduce.tables import stock_line

    _one_of("--profile", profile, PROFILES)
    _one_of("--store", store, ("shared", "returned"))
    for name in role or ():
        _one_of("--role", name, ("table", "fold", "ablation", "control"))
    count = None if jobs == "auto" else _whole("--jobs", jobs, 1)
    chosen = None if seeds is None else _seeds(seeds)
    clock = Budget(budget)
    root = None if data is None else str(data.expanduser().absolute())
    if root is not None and not Path(root).is_dir():
        raise ValueError(f"--data {data}: there is no such folder; expected the one that holds DRIVE/, STARE/, ...")
    place = Store(records.expanduser()) if records is not None else _own_records(profile)
    if dask is None or store == "returned":
        _check_writable(place.path)
    stock = take_stock(due_runs(keys or ["all"], profile, seeds=chosen, roles=role or ()), place, root)
    typer.echo(stock_line(stock, profile))
    if not stock.missing:
        typer.echo("nothing to do")
        return
    with _lanes(device, count, dask) as (lanes, cluster):
        present = _without_missing_data(stock.missing, root, cluster, present_only)
        if not present:
            typer.echo("nothing to do with the data that is there")
            return
        from retlib.reproduce.driver import Driver

        driver = Driver(
            present,
            place,
            lanes,
            clock,
            root=root,
            returned=cluster is not None and store == "returned",
            auto=count is None,
            trouble=(lambda: None) if cluster is None else cluster.trouble,
        )
        code = _work(driver, dry_run)
    if code:
        raise typer.Exit(code)


def _work(driver, dry_run: bool) -> int:
    """Plan, print, run, print; the exit code."""
    from retlib.reproduce.tables import Report, done_lines, left_lines, plan_lines

    def say(*lines: str) -> None:
        typer.echo("\n".join(lines))

    if dry_run:
        say(*plan_lines(driver, driver.plan(), dry_run=True))
        return 0
    report = Report(say, bar=not any(lane.shows_bars for lane in driver.lanes))
    interrupted = False
    try:
        planned = driver.plan(report)
        report.close()
        say("", *plan_lines(driver, planned), "")
        driver.drive(report)
    except KeyboardInterrupt:
        interrupted = True
    report.close()
    say("", *done_lines(driver.done))
    if left := driver.unfinished():
        say("", *left_lines(driver, left))
    if interrupted:
        say("interrupted: the same command goes on from each run's last checkpoint")
        return INTERRUPTED
    if driver.stopped:
        say(f"stopped: {driver.stopped}")
    return 1 if driver.stopped or any(done.error for done in driver.done) else 0


def _without_missing_data(
    missing: tuple[DueRun, ...], root: str | None, cluster: Cluster | None, present_only: bool
) -> list[DueRun]:
    """The runs whose data is there; unless only these are wanted, one without its data ends the call.

    Raises:
        typer.Exit: with code 2, after naming what is missing and what to do.
    """
    from retlib.data.registry import get_collection
    from retlib.reproduce.driver import ANSWER_S
    from retlib.reproduce.lanes import wait_for
    from retlib.reproduce.stock import missing_data, needed_data, run_data
    from retlib.reproduce.tables import missing_lines

    needed = needed_data(missing)
    if cluster is None:
        absent = missing_data(needed, root)
    else:  # the data is where the workers are
        absent = wait_for(cluster.lanes[0].submit(missing_data, needed, root), ANSWER_S, cluster.trouble)
    present = [run for run in missing if not absent.keys() & set(run_data(run.config))]
    if not absent:
        return present
    reasons = {}
    for (dataset, _), reason in absent.items():
        reasons.setdefault(dataset, reason)
    for line in missing_lines(
        (
            get_collection(dataset).title,
            reason,
            sum(any(part[0] == dataset and part in absent for part in run_data(run.config)) for run in missing),
        )
        for dataset, reason in reasons.items()
    ):
        typer.echo(line)
    if not present_only:
        typer.echo(f"nothing was run: {len(missing) - len(present)} of {len(missing)} missing runs lack their data")
        raise typer.Exit(2)
    typer.echo(f"left out: {len(missing) - len(present)} runs whose data is not there")
    return present


@contextlib.contextmanager
def _lanes(device: str, jobs: int | None, dask: str | None) -> Iterator[tuple[list[Lane], Cluster | None]]:
    """Lanes, closed at the end whatever happens."""
    if dask is None:
        from retlib.reproduce.lanes import local_lanes

        lanes = local_lanes(device, jobs)
        try:
            yield lanes, None
        finally:
            for lane in lanes:
                lane.close()
        return
    from retlib.reproduce.cluster import Cluster

    cluster = Cluster(dask, device, jobs)
    try:
        yield cluster.lanes, cluster
    finally:
        cluster.close()


def _own_records(profile: str) -> Store:
    """The book's records of the checkout around this folder; for smoke, a scratch folder in the cache."""
    from retlib.cache import cache_folder
    from retlib.experiments import Store

    if profile == "smoke":
        return Store(cache_folder() / "smoke-records")
    from retlib.report.study import book_records

    try:
        return Store(book_records(Path()))
    except FileNotFoundError:
        raise ValueError("--records: this is no checkout of the study, so say which folder records go to") from None


def _check_writable(folder: Path) -> None:
    """Refuse a folder of records that none can be written to before hours are spent on making them."""
    above = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not above.is_dir():
        raise ValueError(f"--records {folder}: {above} is a file; expected a folder, or a place for a new one")
    if not os.access(above, os.W_OK | os.X_OK):
        raise ValueError(f"--records {folder}: {above} cannot be written to; choose another folder")


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{option}: expected one of {', '.join(choices)}, got {value!r}")


def _whole(option: str, text: str, least: int) -> int:
    if not text.strip().isdecimal() or int(text) < least:
        raise ValueError(f"{option}: expected a whole number from {least} on, or auto; got {text!r}")
    return int(text)


def _seeds(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f'--seeds: expected whole numbers like "0,1,2", got {text!r}')
    return tuple(dict.fromkeys(int(part) for part in parts))
