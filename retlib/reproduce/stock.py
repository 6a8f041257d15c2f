"""What there is already: records in the store, data on the disk."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tqdm import tqdm

from retlib.data import load_dataset
from retlib.data.errors import DataMissingError
from retlib.experiments import RunConfig, Store
from retlib.reproduce.order import DueRun


@dataclass(frozen=True)
class Stock:
    """Due runs, told apart.

    Attributes:
        missing: Runs without a record, each id once, in order of value.
        recorded: Runs whose record is in the store, at the present numerics.
        doubled: How many of the due runs are the same as one above them.
    """

    missing: tuple[DueRun, ...]
    recorded: tuple[DueRun, ...]
    doubled: int


def take_stock(due: Iterable[DueRun], store: Store, root: str | None) -> Stock:
    """Identify every due run and look for its record; a record of older numerics does not count.

    To identify the first run of a data set means to hash its files, which takes a while where they are large.
    """
    unique: dict[str, DueRun] = {}
    doubled = 0
    for run in tqdm(list(due), desc="identifying", unit="run", delay=2, file=sys.stdout):
        identity = run.config.identify(root)
        doubled += identity in unique
        unique.setdefault(identity, replace(run, id=identity))
    known = {identity for identity in unique if store.get(identity) is not None}
    return Stock(
        tuple(run for run in unique.values() if run.id not in known),
        tuple(run for run in unique.values() if run.id in known),
        doubled,
    )


def needed_data(runs: Iterable[DueRun]) -> list[tuple[str, str]]:
    """(data set, split) of everything that runs read from the disk, each once."""
    return list(dict.fromkeys(part for run in runs for part in run_data(run.config)))


def run_data(config: RunConfig) -> list[tuple[str, str]]:
    """(data set, split) of what one run reads from the disk: empty for phantoms, which are made by code."""
    return [(s.dataset, s.split) for s in config.selections().values() if s.dataset != "phantom"]


def missing_data(needed: Sequence[tuple[str, str]], root: str | None) -> dict[tuple[str, str], str]:
    """What of (data set, split) pairs cannot be read here, and why, what to do included; opens no file."""
    missing = {}
    for dataset, split in needed:
        try:
            load_dataset(dataset, split=split, root=root)
        except DataMissingError as error:
            missing[dataset, split] = str(error)
    return missing
