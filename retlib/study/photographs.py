"""The photograph that a record scored, for figures: read from the data set, on the grid of the record, and kept."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from retlib.data import FundusSample, load_dataset
from retlib.preprocessing import InputSettings, to_grid
from retlib.study import Record


def photograph(record: Record, name: str, root: str | None) -> FundusSample | None:
    """A test image of a record's first test selection, on the grid that it was scored on.

    A page draws the same image in several figures, so the last few are kept while the process lives.

    Args:
        record: whose test image.
        name: of the image.
        root: folder of the data sets, or None where there is none.

    Returns:
        None without a root, unless the images are phantoms, which need none.

    Raises:
        DataMissingError: the root lacks a file of the data set.
    """
    config = record.config
    selection = config.test[0]
    if root is None and selection.dataset != "phantom":
        return None
    options = tuple(sorted(selection.options.items()))
    return _read(selection.dataset, selection.split, root, options, config.inputs.crop, config.inputs.resample, name)


@lru_cache(maxsize=8)
def _read(
    dataset: str,
    split: str | None,
    root: str | None,
    options: tuple[tuple[str, Any], ...],
    crop: tuple[int, int] | None,
    resample: tuple[int, int] | None,
    name: str,
) -> FundusSample:
    found = load_dataset(dataset, split, root, **dict(options))
    return to_grid(found[found.names.index(name)], InputSettings(crop=crop, resample=resample))
