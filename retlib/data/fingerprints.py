"""Fingerprints of the data: what a run was trained on, and whether a file is the authentic one.

A fingerprint is a hash, so it can be committed where a data file cannot. JPEG files are hashed as bytes,
since decoders may round differently; lossless files as decoded pixels, since the same pixels can be packed in
several ways. Masks are hashed after binarisation, as the study uses them. A computed FOV follows from the
photograph and has no fingerprint of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from retlib.data.collection import Collection, find_file, sample_files
from retlib.data.readers import check_size, read_role
from retlib.data.registry import COLLECTIONS, find_root, get_collection

_JPEG = {".jpg", ".jpeg"}


def dataset_fingerprint(
    dataset: str, names: Iterable[str], root: str | os.PathLike[str] | None = None, **options: object
) -> str:
    """Fingerprint of the named samples: 64 hexadecimal digits, the same with authentic files and without any.

    A file that is there is hashed, so an altered one changes the value; for a file that is not there the
    committed fingerprint stands in. Hashes are kept while the process lives, by path, size and time of
    change.

    Args:
        dataset: One of `retlib.data.list_datasets`.
        names: Names of samples; order and repetition do not matter.
        root: Data root, as in `retlib.data.load_dataset`.
        **options: Options of the phantoms; ``count`` does not enter, since the names say which phantoms are
            meant.

    Raises:
        ValueError: Unknown data set, name or option.
        DataError: A file cannot be read or has the wrong size.
    """
    if dataset == "phantom":
        return _phantom_fingerprint(names, options)
    collection = get_collection(dataset)
    if options:
        raise ValueError(f"{dataset} takes no options, got {', '.join(sorted(options))}; only phantom does")
    wanted = sorted(set(names))
    if unknown := sorted(set(wanted) - set(collection.names)):
        known = f"{collection.names[0]} to {collection.names[-1]}"
        raise ValueError(f"{collection.title} has no sample {', '.join(unknown)}; its samples are {known}")
    folder = find_root(root)
    return _digest(sorted(_sample_fingerprint(collection, name, folder) for name in wanted))


def committed_fingerprints(dataset: str) -> dict[str, dict[str, str]]:
    """Committed fingerprints of a public data set: sample -> role -> 64 hexadecimal digits."""
    return _committed()[dataset]


def file_fingerprint(collection: Collection, path: Path, role: str) -> str:
    """Fingerprint of one file of a data set: bytes for JPEG, decoded pixels for the rest.

    Raises:
        DataError: The file is truncated, no image, or has the wrong size.
    """
    status = path.stat()
    digest, shape = _hash_file(path.absolute(), role, status.st_size, status.st_mtime_ns)
    if shape is not None:
        check_size(collection, path, shape)
    return digest


def compute_fingerprints(root: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Fingerprints of all four public data sets from complete files, in the form of ``fingerprints.json``.

    Raises:
        DataMissingError: A file is not there.
    """
    return {
        key: {
            name: {
                role: file_fingerprint(collection, path, role)
                for role, path in sample_files(collection, root, name).items()
            }
            for name in collection.names
        }
        for key, collection in COLLECTIONS.items()
    }


def write_fingerprints(root: Path, target: Path) -> None:
    """Write ``fingerprints.json`` from authentic files; for maintainers, after a change of what is hashed."""
    target.write_text(json.dumps(compute_fingerprints(root), indent=1) + "\n", encoding="utf-8")


def _sample_fingerprint(collection: Collection, name: str, root: Path | None) -> str:
    parts = [collection.key, name]
    for role, choices in sorted(collection.files(name).items()):
        path = find_file(collection, root, choices) if root is not None else None
        if path is None:
            parts.append(f"{role} {committed_fingerprints(collection.key)[name][role]}")
        else:
            parts.append(f"{role} {file_fingerprint(collection, path, role)}")
    return _digest(parts)


@cache
def _hash_file(path: Path, role: str, size: int, changed_ns: int) -> tuple[str, tuple[int, ...] | None]:
    """Hash of a file and, for decoded ones, its shape; size and time of change tell its states apart."""
    if path.suffix.lower() in _JPEG:
        return hashlib.sha256(path.read_bytes()).hexdigest(), None
    array = np.ascontiguousarray(read_role(path, role))
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    digest.update(array.data)
    return digest.hexdigest(), array.shape


def _phantom_fingerprint(names: Iterable[str], options: dict[str, object]) -> str:
    from retlib.data.phantom import GENERATOR_VERSION
    from retlib.data.phantoms import phantom_options

    chosen = {name: value for name, value in phantom_options(**options).items() if name != "count"}
    parts = [f"generator {GENERATOR_VERSION}", json.dumps(chosen, sort_keys=True), *sorted(set(names))]
    return _digest(parts)


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@cache
def _committed() -> dict[str, dict[str, dict[str, str]]]:
    return json.loads(files("retlib.data").joinpath("fingerprints.json").read_text(encoding="utf-8"))
