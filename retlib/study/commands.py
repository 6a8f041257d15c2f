"""The command `retlib reproduce`."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from retlib.study import Store
    from retlib.study.pending import NamedRun

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
    jobs: Annotated[str, typer.Option(help="Runs at once; auto is one, or one for each GPU or Dask worker.")] = "auto",
    deadline: Annotated[
        float | None,
        typer.Option(help="Minutes after which no run is started; those under way finish. No limit by default."),
    ] = None,
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
    dask: Annotated[
        str | None,
        typer.Option(help="Address of a Dask scheduler, tcp://host:8786; its workers write to the folder --records."),
    ] = None,
) -> None:
    """Make the missing records of papers and studies, in order of value.

    What has a record is skipped, a run that was stopped goes on from its last checkpoint, and a run that fails does not
    stop the others. Exit code: 0 when no run failed (with --deadline some may be left), 1 when a run failed, 2 for a
    wrong argument or missing data (nothing is trained then), 130 after an interrupt.
    """
    began = time.monotonic()
    from retlib.study import PROFILES, Store
    from retlib.study import pending as plan

    _one_of("--profile", profile, PROFILES)
    for name in role or ():
        _one_of("--role", name, ("table", "fold", "ablation", "control"))
    count = None if jobs == "auto" else _whole("--jobs", jobs, 1)
    chosen = None if seeds is None else _seeds(seeds)
    if deadline is not None and not 0 < deadline < math.inf:
        raise ValueError(f"--deadline: expected minutes above 0, got {deadline:g}")
    root = None if data is None else str(data.expanduser().absolute())
    if root is not None and not Path(root).is_dir():
        raise ValueError(f"--data {data}: there is no such folder; expected the one that holds DRIVE/, STARE/, ...")
    store = Store(records.expanduser()) if records is not None else _own_records(profile)
    if dask is None:
        _check_writable(store.path)
    runs = plan.runs_in_order(keys or ["all"], profile, seeds=chosen, roles=role or ())
    missing, skipped = plan.find_missing(runs, store, root)
    tiers = f" ({plan.count_tiers(missing)})" if missing else ""
    typer.echo(
        f"profile {profile}: {len(missing) + skipped} runs; {skipped} have a record, {len(missing)} are missing{tiers}"
    )
    if not missing:
        typer.echo("nothing to do")
        return
    from retlib.study.reproduce import make_records, open_executor, summarise

    with open_executor(device, count, dask) as (executor, devices):
        needed = set().union(*(plan.data_of(run.config) for run in missing))
        if dask is None:
            absent = plan.missing_data(needed, root)
        else:  # the data is where the workers are
            absent = executor.submit(plan.missing_data, needed, root).result()
        missing = _with_data(missing, absent, present_only)
        if not missing:
            typer.echo("nothing to do with the data that is there")
            return
        at_once = "one run at a time" if len(devices) == 1 else f"{len(devices)} runs at once"
        limit = "" if deadline is None else f", none started after {deadline:g} minutes"
        typer.echo(f"{dask or ', '.join(dict.fromkeys(devices))}: {at_once}{limit}\n\nplanned: {len(missing)} runs")
        width = max(len(run.tier) for run in missing)
        typer.echo("\n".join(f"{run.tier:{width}}  {run.label}" for run in missing) + "\n")
        if dry_run:
            return
        outcomes, interrupted = [], False
        end = math.inf if deadline is None else began + 60 * deadline
        try:
            for outcome in make_records(missing, store, executor, devices, root=root, deadline=end, say=typer.echo):
                outcomes.append(outcome)
                typer.echo(outcome)
        except KeyboardInterrupt:
            interrupted = True
        typer.echo(f"\n{summarise(outcomes, missing, skipped)}")
    if interrupted:
        typer.echo("interrupted: the same command goes on from each run's last checkpoint")
        raise typer.Exit(INTERRUPTED)
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(1)


def _with_data(missing: Sequence[NamedRun], absent: dict[tuple[str, str], str], present_only: bool) -> list[NamedRun]:
    """List the runs whose data is there; without ``present_only``, data that is absent ends the call with code 2."""
    from retlib.data.registry import get_collection
    from retlib.study.pending import data_of

    if not absent:
        return list(missing)
    lacking = {run.id: data_of(run.config) & absent.keys() for run in missing}
    present = [run for run in missing if not lacking[run.id]]
    reasons = {dataset: absent[dataset, split] for dataset, split in sorted(absent, reverse=True)}
    for dataset, reason in reasons.items():
        count = sum(any(dataset == name for name, _ in pairs) for pairs in lacking.values())
        typer.echo(f"{get_collection(dataset).title} is needed by {count} of the missing runs. {reason}")
    typer.echo(
        "`retlib data status` says what is there and what to do; --present-only runs what needs none of it; "
        "--profile smoke runs on phantoms and needs no data"
    )
    if not present_only:
        typer.echo(f"nothing was run: {len(missing) - len(present)} of {len(missing)} missing runs lack their data")
        raise typer.Exit(2)
    typer.echo(f"left out: {len(missing) - len(present)} runs whose data is not there")
    return present


def _own_records(profile: str) -> Store:
    """Open the book's records of the checkout around this folder; for smoke, a scratch folder in the cache."""
    from retlib.files import cache_folder
    from retlib.study import Store

    if profile == "smoke":
        return Store(cache_folder() / "smoke-records")
    from retlib.study.notebook import book_records

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
