"""Data sets by name: `load_dataset`, `list_datasets`, `split_names`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import overload

from retlib.data.collections import CHASE_DB1, DRIVE, HRF, STARE, Collection, sample_files
from retlib.data.errors import DataMissingError
from retlib.data.readers import read_sample
from retlib.data.sample import FundusSample
from retlib.data.splits import resolve_split

COLLECTIONS: Mapping[str, Collection] = {item.key: item for item in (DRIVE, STARE, CHASE_DB1, HRF)}
"""The public data sets by key."""

ROOT_VARIABLE = "RETLIB_DATA"
"""Environment variable that names the data root."""


@dataclass(frozen=True, eq=False)
class Dataset(Sequence[FundusSample]):
    """Samples of one split, read (or, for synthetic images, drawn) when asked for and not kept."""

    name: str  #: Key of the data set.
    split: str  #: The split as it was asked for.
    names: tuple[str, ...]  #: Stable names of the samples, sorted; ``dataset[i].name == dataset.names[i]``.
    read: Callable[[str], FundusSample]  #: Name -> sample.

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> FundusSample: ...
    @overload
    def __getitem__(self, index: slice) -> Dataset: ...
    def __getitem__(self, index: int | slice) -> FundusSample | Dataset:
        """One sample, or for a slice the data set of those samples, still unread."""
        if isinstance(index, slice):
            return replace(self, names=self.names[index])
        return self.read(self.names[index])

    def __repr__(self) -> str:
        """Name, split and size."""
        return f"Dataset({self.name!r}, split={self.split!r}, {len(self)} samples)"


def list_datasets() -> list[str]:
    """List the names that `load_dataset` knows: the four public data sets, then the synthetic images (``phantom``)."""
    return [*COLLECTIONS, "phantom"]


def find_root(root: str | os.PathLike[str] | None = None) -> Path | None:
    """Find the folder that holds ``DRIVE/``, ``STARE/``, ``CHASE_DB1/`` and ``HRF/``, whether or not it exists.

    The argument where it is given, else the environment variable ``RETLIB_DATA``, else None.
    """
    chosen = root if root is not None else os.environ.get(ROOT_VARIABLE)
    return Path(chosen).expanduser() if chosen else None


def get_collection(name: str, **options: object) -> Collection:
    """Look up a public data set by its key.

    Raises:
        ValueError: There is none of that name; the message lists the names. Or an option, which only phantom takes.
    """
    if name not in COLLECTIONS:
        raise ValueError(f"unknown data set {name!r}; choose one of {', '.join(list_datasets())}")
    if options:
        raise ValueError(f"{name} takes no options, got {', '.join(sorted(options))}; only phantom does")
    return COLLECTIONS[name]


def split_names(dataset: str, split: str | None, **options: object) -> tuple[str, ...]:
    """List the names of the samples of a split, sorted, without reading or looking for any file.

    Args:
        dataset: One of `list_datasets`.
        split: A base or a fold, see `retlib.data.splits`; None for STARE alone.
        **options: Options of the synthetic images: ``count``, ``height``, ``width``, ``lesions``.

    Raises:
        ValueError: Unknown data set, split or option; the message lists the choices.
    """
    if dataset == "phantom":
        from retlib.data.phantoms import phantom_names

        return phantom_names(split, **options)
    collection = get_collection(dataset, **options)
    return resolve_split(collection.title, collection.bases, split, collection.group, collection.default_split)


def load_dataset(
    name: str, split: str | None = None, root: str | os.PathLike[str] | None = None, **options: object
) -> Dataset:
    """Open a data set; images are read one by one when they are asked for.

    Args:
        name: One of `list_datasets`.
        split: ``"training"``, ``"test"``, ``"all"``, or a fold such as ``"training/fold1of5-train@7"``
            (`retlib.data.splits` has the grammar). STARE has no official split: None or a fold.
        root: Data root; None takes the environment variable ``RETLIB_DATA``. Synthetic images need none.
        **options: For synthetic images alone: ``count=20``, ``height=584``, ``width=565``, ``lesions=False``.

    Raises:
        ValueError: Unknown data set, split or option; the message lists the choices.
        DataMissingError: The folder or a file of the split is not there; the message says what to do.
    """
    names = split_names(name, split, **options)
    if name == "phantom":
        from retlib.data.phantoms import phantom_reader

        return Dataset(name, split or "all", names, phantom_reader(**options))
    collection = get_collection(name)
    folder = require_root(collection, root)
    for sample in names:  # a missing label shows now, not after an hour of training
        sample_files(collection, folder, sample)
    return Dataset(name, split or "all", names, partial(read_sample, collection, folder))


def require_root(collection: Collection, root: str | os.PathLike[str] | None = None) -> Path:
    """Find the data root, and check that the folder of a data set lies under it.

    Raises:
        DataMissingError: No root is named, or it lacks the folder.
    """
    found = find_root(root)
    if found is None:
        raise DataMissingError(
            f"no data root is named, so {collection.title} cannot be found: set {ROOT_VARIABLE} to the folder"
            f" that holds {collection.folder}/, or pass root=. `retlib data status` says how to get the data;"
            " load_dataset('phantom', split='training') needs none."
        )
    if not collection.directory(found).is_dir():
        origin = f"{ROOT_VARIABLE}={found}" if root is None else f"root={found}"
        raise DataMissingError(
            f"{collection.title} is not there: expected the folder {collection.directory(found)} ({origin})."
            f" {collection.instructions} `retlib data status` lists what is present."
        )
    return found
