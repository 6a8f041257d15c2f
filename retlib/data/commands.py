"""`retlib data`: what is present, whether it is authentic, how to get the rest, and how to carry it elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from retlib.data.checksums import Difference, inspect_files, verify_files
from retlib.data.collections import Collection
from retlib.data.download import fetch_dataset
from retlib.data.registry import COLLECTIONS, find_root, get_collection, require_root

app = typer.Typer(
    name="data",
    help="The public data sets: what is present, whether it is authentic, how to get the rest.",
    no_args_is_help=True,
)

Root = Annotated[Path | None, typer.Option(help="Data root; by default the environment variable RETLIB_DATA.")]
Names = Annotated[list[str] | None, typer.Argument(help="Data sets: drive, stare, chase_db1, hrf.")]


@app.command()
def status(root: Root = None) -> None:
    """Print which data sets are present and what to do for those that are not."""
    folder = find_root(root)
    _print_root(root, folder)
    found = {key: inspect_files(collection, folder) for key, collection in COLLECTIONS.items()}
    typer.echo(f"\n{'data set':<12}{'state':<10}{'samples':>9}{'files':>11}   folder")
    for key, presence in found.items():
        samples = f"{presence.samples}/{presence.samples_expected}"
        files = f"{presence.files}/{presence.files_expected}"
        place = COLLECTIONS[key].directory(folder) if folder else COLLECTIONS[key].folder
        typer.echo(f"{COLLECTIONS[key].title:<12}{presence.state:<10}{samples:>9}{files:>11}   {place}")
    typer.echo(f"{'phantom':<12}{'built in':<10}{'any':>9}{'none':>11}   synthetic fundus images, drawn when asked for")
    for key, presence in found.items():
        if presence.missing:
            collection = COLLECTIONS[key]
            typer.echo(f"\n{collection.title} is {presence.state} ({collection.terms}; {collection.homepage}).")
            if presence.state == "partial":
                for path in presence.missing[:3]:
                    typer.echo(f"  missing: {path}")
                if len(presence.missing) > 3:
                    typer.echo(f"  missing: and {len(presence.missing) - 3} more")
            typer.echo(f"  {collection.instructions}")


@app.command()
def verify(names: Names = None, root: Root = None) -> None:
    """Compare decoded pixels with the committed fingerprints; exit code 1 when something differs."""
    folder = find_root(root)
    if names:
        chosen = _public(names)
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
    wrong = sum(_print_differences(collection, verify_files(collection, folder)) for collection in chosen)
    raise typer.Exit(int(wrong > 0))


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
    chosen = _public(names)
    folder = _named_root(root, "to put the data")
    wrong = 0
    for collection in chosen:
        if not force and inspect_files(collection, folder).state == "present":
            typer.echo(f"{collection.title} is present in {collection.directory(folder)}; --force fetches it again")
            continue
        differences = fetch_dataset(collection, folder, base_url)
        typer.echo(f"{collection.title} is in {collection.directory(folder)}")
        wrong += _print_differences(collection, differences)
    raise typer.Exit(int(wrong > 0))


@app.command()
def pack(
    out: Annotated[Path, typer.Argument(help="Folder for the parts, made where it does not exist.")],
    names: Names = None,
    root: Root = None,
    limit_mib: Annotated[float, typer.Option(help="Largest size of a part in MiB.")] = 60.0,
) -> None:
    """Pack data sets into zip parts of limited size, for a machine without a network.

    DRIVE may not be passed on: keep the parts to yourself.
    """
    from retlib.data import pack as packing

    for part in packing.pack(_named_root(root, "the data is"), out, limit_mib, _public(names or list(COLLECTIONS))):
        typer.echo(f"{part}: {part.stat().st_size / 2**20:.1f} MiB")


@app.command()
def unpack(
    parts: Annotated[list[Path], typer.Argument(help="Parts written by `retlib data pack`, some or all of them.")],
    root: Root = None,
) -> None:
    """Restore packed data sets under the data root and verify them; exit code 1 when a file is not authentic."""
    from retlib.data import pack as packing

    folder = _named_root(root, "to put the data")
    absent, written = packing.unpack(parts, folder)
    typer.echo(f"{written} files in {folder}")
    if absent:
        typer.echo(f"not among these parts: {', '.join(map(str, absent))}")
    wrong = 0
    for collection in COLLECTIONS.values():
        presence = inspect_files(collection, folder)
        if presence.state == "missing":
            continue
        differences = [item for item in verify_files(collection, folder) if item.path.exists()]
        for item in differences:
            typer.echo(f"{item.path} {item.problem}")
        whole = f"{presence.samples} of {presence.samples_expected} samples are whole"
        typer.echo(f"{collection.title}: {whole}, {len(differences)} files differ from the committed fingerprints")
        wrong += len(differences)
    raise typer.Exit(int(wrong > 0))


def _public(names: list[str]) -> list[Collection]:
    """Look up public data sets; the synthetic images, which have no files, are refused."""
    if "phantom" in names:
        raise ValueError("phantom has no files: its samples are made by code; choose drive, stare, chase_db1 or hrf")
    return [get_collection(name) for name in names]


def _named_root(root: Path | None, purpose: str) -> Path:
    folder = find_root(root)
    if folder is None:
        raise ValueError(f"no data root is named: say where {purpose} with --root or the variable RETLIB_DATA")
    return folder


def _print_root(root: Path | None, folder: Path | None) -> None:
    if folder is None:
        typer.echo("no data root is named: set RETLIB_DATA to the folder that holds (or will hold)")
        typer.echo("DRIVE, STARE, CHASE_DB1 and HRF, or pass --root")
        return
    typer.echo(str(folder))
    how = "the option --root" if root is not None else "the environment variable RETLIB_DATA"
    typer.echo(f"chosen by {how}" + ("" if os.path.isdir(folder) else "; this folder does not exist"))


def _print_differences(collection: Collection, differences: list[Difference]) -> int:
    """Print the files that differ, and return how many there are."""
    for difference in differences:
        typer.echo(f"{difference.path} {difference.problem}")
    if differences:
        typer.echo(f"{collection.title}: {len(differences)} files differ from the committed fingerprints")
    else:
        typer.echo(f"{collection.title}: all {len(collection.names)} samples are authentic")
    return len(differences)
