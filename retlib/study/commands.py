"""The command `retlib reproduce`."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt, and end with exit code 130.

    Batch systems send SIGTERM before they kill. A process that a script starts in the background begins with SIGINT
    ignored, so Python's own handler is not there.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():  # no other may have handlers
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("interrupted: the same command goes on from each run's last checkpoint")
        raise typer.Exit(130) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@_interruptible()
def reproduce(
    keys: Annotated[
        list[str] | None, typer.Argument(help="Papers and studies; all of them by default.", metavar="[KEY…|all]")
    ] = None,
    profile: Annotated[str, typer.Option(help="smoke, lite or paper.")] = "paper",
    device: Annotated[str, typer.Option(help="cpu, cuda (all GPUs), cuda:1, ...; auto takes CUDA if any.")] = "auto",
    jobs: Annotated[str, typer.Option(help="Runs at once; auto is one, or one for each GPU or Dask worker.")] = "auto",
    deadline: Annotated[
        float | None, typer.Option(help="Minutes after which no run is started; those under way finish.")
    ] = None,
    records: Annotated[Path | None, typer.Option(help="Folder of the records; the book's own by default.")] = None,
    seeds: Annotated[str | None, typer.Option(help='Seeds of every run, "0,1,2"; by default those planned.')] = None,
    role: Annotated[
        list[str] | None, typer.Option(help="Only runs of this role: table, fold, ablation, control; may be repeated.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Data root; by default the variable RETLIB_DATA.")] = None,
    present_only: Annotated[bool, typer.Option("--present-only", help="Leave out runs whose data is absent.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and do nothing.")] = False,
    dask: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, tcp://host:8786.")] = None,
) -> None:
    """Make the missing records of papers and studies, in order of value.

    What has a record is skipped, a run that was stopped goes on from its last checkpoint, and a run that fails does not
    stop the others. Exit code: 0 when no run failed (with --deadline some may be left), 1 when a run failed, 2 for a
    wrong argument or missing data (nothing is trained then), 130 after an interrupt.
    """
    end = time.monotonic() + 60 * (math.inf if deadline is None else deadline)
    from retlib.study import pending
    from retlib.study.notebook import open_store
    from retlib.study.parameters import Parameters

    for name in role or ():
        _expect(name in pending.ROLES, "--role", f"one of {', '.join(pending.ROLES)}", name)
    _expect(jobs == "auto" or (jobs.isdecimal() and int(jobs) > 0), "--jobs", "a whole number from 1 on, or auto", jobs)
    _expect(deadline is None or 0 < deadline < math.inf, "--deadline", "minutes above 0", deadline)
    options = {"profile": profile, "device": device, "seeds": seeds, "records": records, "data_root": data}
    given = {name: str(value) for name, value in options.items() if value is not None}
    parameters = Parameters.parse(given, where="the command line")
    store, root = open_store(parameters), parameters.data_root
    if dask is None:
        _check_writable(store.path)
    chosen = None if seeds is None else parameters.seeds
    runs = pending.runs_in_order(keys or ["all"], profile, seeds=chosen, roles=role or ())
    missing, skipped = pending.find_missing(runs, store, root)
    tiers = f" ({pending.count_tiers(missing)})" if missing else ""
    present = f"{len(missing) + skipped} runs; {skipped} have a record"
    typer.echo(f"profile {profile}: {present}, {len(missing)} are missing{tiers}")
    if not missing:
        typer.echo("nothing to do")
        return
    from retlib.study.reproduce import SerialExecutor, make_records, open_executor, summarise

    with open_executor(device, None if jobs == "auto" else int(jobs), dask) as (executor, devices):
        place = SerialExecutor() if dask is None else executor  # the data is where the workers are
        needed = {run.id: pending.data_of(run.config) for run in missing}
        lacking = place.submit(pending.find_lacking, needed, root).result()
        for reason, count in Counter(itertools.chain(*lacking.values())).items():
            typer.echo(f"{count} of the missing runs lack data. {reason}")
        if lacking and not present_only:
            typer.echo("--present-only runs what needs none of it; --profile smoke needs no data")
            typer.echo(f"nothing was run: {len(lacking)} of {len(missing)} missing runs lack their data")
            raise typer.Exit(2)
        if lacking:
            typer.echo(f"left out: {len(lacking)} runs whose data is not there")
            missing = [run for run in missing if run.id not in lacking]
        at_once = "one run at a time" if len(devices) == 1 else f"{len(devices)} runs at once"
        limit = "" if deadline is None else f", none started after {deadline:g} minutes"
        typer.echo(f"{dask or ', '.join(dict.fromkeys(devices))}: {at_once}{limit}\n\nplanned: {len(missing)} runs")
        typer.echo("\n".join(f"{run.tier:12}{run.label}" for run in missing) + "\n")
        if dry_run:
            return
        outcomes = []
        try:
            for outcome in make_records(missing, store, executor, devices, root=root, deadline=end, say=typer.echo):
                outcomes.append(outcome)
                typer.echo(outcome)
        finally:
            typer.echo(f"\n{summarise(outcomes, missing, skipped)}")
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(1)


def _expect(fits: bool, option: str, expected: str, value: object) -> None:
    if not fits:
        raise ValueError(f"{option}: expected {expected}, got {value!r}")


def _check_writable(folder: Path) -> None:
    """Refuse a folder that takes no record before hours are spent on making one."""
    above = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ValueError(f"--records {folder}: {above} is no folder that can be written to; choose another place")
