"""`retlib data`: what is present, whether it is authentic, and how to get the rest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from retlib.data.inspection import Difference

app = typer.Typer(
    name="data",
    help="The public data sets: what is present, whether it is authentic, how to get the rest.",
    no_args_is_help=True,
)

Root = Annotated[Path | None, typer.Option(help="Data root; by default the environment variable RETLIB_DATA.")]
Names = Annotated[list[str] | None, typer.Argument(help="Data sets: drive, stare, chase_db1, hrf.")]


@app.command()
def status(root: Root = None) -> None:
    """Say which data sets are present and what to do for those that are not."""
    from retlib.data.inspection import inspect_files
    from retlib.data.registry import COLLECTIONS, find_root

    folder = find_root(root)
    _print_root(root, folder)
    found = {key: inspect_files(collection, folder) for key, collection in COLLECTIONS.items()}
    typer.echo(f"\n{'data set':<12}{'state':<10}{'samples':>9}{'files':>11}   folder")
    for key, presence in found.items():
        samples = f"{presence.samples}/{presence.samples_expected}"
        files = f"{presence.files}/{presence.files_expected}"
        place = COLLECTIONS[key].directory(folder) if folder else COLLECTIONS[key].folder
        typer.echo(f"{COLLECTIONS[key].title:<12}{presence.state:<10}{samples:>9}{files:>11}   {place}")
    typer.echo(f"{'phantom':<12}{'built in':<10}{'any':>9}{'none':>11}   made by code when asked for")
    for key, presence in found.items():
        if presence.missing:
            collection = COLLECTIONS[key]
            typer.echo(f"\n{collection.title} is {presence.state} ({collection.terms}; {collection.homepage}).")
            if presence.state == "partial":
                _print_missing(presence.missing)
            typer.echo(f"  {collection.instructions}")


@app.command()
def where(root: Root = None) -> None:
    """Print the data root and how it was chosen; exit code 1 when none is named."""
    from retlib.data.registry import find_root

    folder = find_root(root)
    _print_root(root, folder)
    if folder is None:
        raise typer.Exit(1)


@app.command()
def verify(names: Names = None, root: Root = None) -> None:
    """Compare decoded pixels with the committed fingerprints; exit code 1 when something differs."""
    from retlib.data.inspection import inspect_files, verify_files
    from retlib.data.registry import COLLECTIONS, find_root, get_collection, require_root

    folder = find_root(root)
    if names:
        chosen = [get_collection(_public(name)) for name in names]
        for collection in chosen:
            require_root(collection, root)
    else:
        chosen = [item for item in COLLECTIONS.values() if inspect_files(item, folder).state != "missing"]
        if not chosen:
            _print_root(root, folder)
            typer.echo("no data set is present, so there is nothing to verify; see `retlib data status`")
            raise typer.Exit(1)
        for item in COLLECTIONS.values():
            if item not in chosen:
                typer.echo(f"{item.title}: not present, left out")
    wrong = 0
    for collection in chosen:
        differences = verify_files(collection, folder, progress=True)
        _print_differences(collection.title, len(collection.names), differences)
        wrong += len(differences)
    if wrong:
        raise typer.Exit(1)


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="Data sets: stare, chase_db1, hrf.")],
    root: Root = None,
    base_url: Annotated[str | None, typer.Option(help="Address of the folder with the archives, for a mirror.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Fetch again what is already present.")] = False,
) -> None:
    """Download data sets into the data root and verify them; an interrupted download is resumed.

    Exit code 1 when a file differs from the committed fingerprints.
    """
    from retlib.data.download import fetch_dataset
    from retlib.data.inspection import inspect_files
    from retlib.data.registry import find_root, get_collection

    chosen = [get_collection(_public(name)) for name in names]
    folder = find_root(root)
    if folder is None:
        raise ValueError("no data root is named: say where to put the data with --root or the variable RETLIB_DATA")
    wrong = 0
    for collection in chosen:
        if not force and inspect_files(collection, folder).state == "present":
            typer.echo(f"{collection.title} is present in {collection.directory(folder)}; --force fetches it again")
            continue
        differences = fetch_dataset(collection, folder, base_url, progress=True)
        typer.echo(f"{collection.title} is in {collection.directory(folder)}")
        _print_differences(collection.title, len(collection.names), differences)
        wrong += len(differences)
    if wrong:
        raise typer.Exit(1)


def _public(name: str) -> str:
    """Refuse the phantoms, which have no files, and pass every other name on."""
    if name == "phantom":
        raise ValueError("phantom has no files: its samples are made by code; choose drive, stare, chase_db1 or hrf")
    return name


def _print_root(root: Path | None, folder: Path | None) -> None:
    if folder is None:
        typer.echo("no data root is named: set RETLIB_DATA to the folder that holds (or will hold)")
        typer.echo("DRIVE, STARE, CHASE_DB1 and HRF, or pass --root")
        return
    typer.echo(str(folder))
    how = "the option --root" if root is not None else "the environment variable RETLIB_DATA"
    typer.echo(f"chosen by {how}" + ("" if os.path.isdir(folder) else "; this folder does not exist"))


def _print_missing(missing: tuple[Path, ...], shown: int = 3) -> None:
    for path in missing[:shown]:
        typer.echo(f"  missing: {path}")
    if len(missing) > shown:
        typer.echo(f"  missing: and {len(missing) - shown} more")


def _print_differences(title: str, samples: int, differences: list[Difference]) -> None:
    if not differences:
        typer.echo(f"{title}: all {samples} samples are authentic")
        return
    for difference in differences:
        typer.echo(f"{difference.path} {difference.problem}")
    typer.echo(f"{title}: {len(differences)} files differ from the committed fingerprints")
