"""Checksums of the data: which data a run was trained on, which files are there, and whether they are authentic.

A fingerprint is a hash, so it can be committed where a data file cannot. JPEG files are hashed as bytes, since decoders
may round differently; lossless files as decoded pixels, since the same pixels can be packed in several ways. Masks are
hashed after binarisation, as the study uses them. A computed FOV follows from the photograph and has no fingerprint.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from retlib.data.collections import Collection
from retlib.data.errors import DataError
from retlib.data.readers import check_size, read_role
from retlib.data.registry import find_root, get_collection
from retlib.files import write_whole

_JPEG = {".jpg", ".jpeg"}


def dataset_fingerprint(
    dataset: str,
    names: Iterable[str],
    root: str | os.PathLike[str] | None = None,
    **options: object,
) -> str:
    """Compute the fingerprint of samples: 64 hexadecimal digits, the same with authentic files and without any.

    A file that is there is hashed, so an altered one changes the value; for a file that is not there the committed
    fingerprint stands in. Hashes are kept while the process lives, by path, size and time of change.

    Args:
        dataset: One of `retlib.data.list_datasets`.
        names: Names of samples; order and repetition do not matter.
        root: Data root, as in `retlib.data.load_dataset`.
        **options: Options of the synthetic images; ``count`` does not enter, since the names say which are meant.

    Raises:
        ValueError: Unknown data set, name or option.
        DataError: A file cannot be read or has the wrong size.
    """
    chosen = sorted(set(names))
    if dataset == "phantom":
        from retlib.data import phantoms

        drawn = {name: value for name, value in phantoms.phantom_options(**options).items() if name != "count"}
        return _digest([f"generator {phantoms.GENERATOR_VERSION}", json.dumps(drawn, sort_keys=True), *chosen])
    collection = get_collection(dataset, **options)
    if unknown := sorted(set(chosen) - set(collection.names)):
        known = f"{collection.names[0]} to {collection.names[-1]}"
        raise ValueError(f"{collection.title} has no sample {', '.join(unknown)}; its samples are {known}")
    folder = find_root(root)
    return _digest(sorted(_sample_fingerprint(collection, name, folder) for name in chosen))


@cache
def committed_fingerprints(dataset: str) -> dict[str, dict[str, str]]:
    """Read the committed fingerprints of a public data set: sample -> role -> 64 hexadecimal digits."""
    return json.loads(files("retlib.data").joinpath("fingerprints.json").read_text(encoding="utf-8"))[dataset]


def file_fingerprint(collection: Collection, path: Path, role: str) -> str:
    """Compute the fingerprint of one file of a data set: of its bytes for JPEG, of decoded pixels for the rest.

    Raises:
        DataError: The file is truncated, no image, or has the wrong size.
    """
    status = path.stat()
    digest, shape = _hash_file(path.absolute(), role, status.st_size, status.st_mtime_ns)
    if shape is not None:
        check_size(collection, path, shape)
    return digest


@dataclass(frozen=True)
class Presence:
    """How much of a data set is on the disk."""

    samples: int  #: Samples with every file in place.
    samples_expected: int  #: Samples of the data set.
    files: int  #: Files in place.
    files_expected: int  #: Files of the data set.
    missing: tuple[Path, ...]  #: Where the missing files were looked for first.

    @property
    def state(self) -> str:
        """``"present"``, ``"partial"`` or ``"missing"``."""
        if not self.missing:
            return "present"
        return "partial" if self.files else "missing"


def inspect_files(collection: Collection, root: Path | None) -> Presence:
    """Look for every file of a data set, without opening any; with no root, everything is missing."""
    files = list(collection.walk(root))
    missing = tuple(place for _, _, place, path in files if path is None)
    samples, incomplete = len(collection.names), len({name for name, _, _, path in files if path is None})
    return Presence(samples - incomplete, samples, len(files) - len(missing), len(files), missing)


@dataclass(frozen=True)
class Difference:
    """A file that is not what it should be: the file and what is wrong with it, in words."""

    path: Path
    problem: str


def verify_files(collection: Collection, root: Path) -> list[Difference]:
    """Compare every file of a data set under a data root with its committed fingerprint.

    Returns:
        The files that are missing, unreadable, or hold other pixels than the authentic ones; empty when all is well. A
        file that holds what belongs to another sample is reported as swapped.
    """
    from tqdm import tqdm

    committed = committed_fingerprints(collection.key)
    owners = {digest: (name, role) for name, roles in committed.items() for role, digest in roles.items()}
    differences = []
    files = list(collection.walk(root))
    for name, role, place, path in tqdm(files, f"verifying {collection.title}", unit="file", delay=2, disable=None):
        if problem := _problem(collection, path, role, committed[name][role], owners):
            differences.append(Difference(path or place, problem))
    return differences


def _problem(
    collection: Collection, path: Path | None, role: str, committed: str, owners: dict[str, tuple[str, str]]
) -> str | None:
    """Say what is wrong with a file, or None when it is authentic."""
    if path is None:
        return "is missing"
    try:
        digest = file_fingerprint(collection, path, role)
    except DataError as error:
        return str(error).removeprefix(f"{path} ")
    if digest == committed:
        return None
    if digest in owners:
        other, other_role = owners[digest]
        return f"holds the {other_role.replace('_', ' ')} of {other}: files were swapped or renamed"
    what = "bytes" if path.suffix.lower() in _JPEG else "pixels"
    return f"holds other {what} than the authentic file: it was changed or re-saved"


def _sample_fingerprint(collection: Collection, name: str, root: Path | None) -> str:
    committed = committed_fingerprints(collection.key)[name]
    found = sorted(collection.find(root, name).items())
    hashes = [f"{role} {file_fingerprint(collection, path, role) if path else committed[role]}" for role, path in found]
    return _digest([collection.key, name, *hashes])


@cache
def _hash_file(path: Path, role: str, size: int, changed_ns: int) -> tuple[str, tuple[int, ...] | None]:
    """Hash a file; for a decoded one, return its shape too. Size and time of change tell its states apart.

    Where ``RETLIB_HASHES`` names a folder, processes share their hashes there: the notebooks of one build do.
    """
    shared = os.environ.get("RETLIB_HASHES")
    state = hashlib.sha256(f"{path} {role} {size} {changed_ns}".encode()).hexdigest()
    if shared and (kept := Path(shared, state)).is_file():
        digest, shape = json.loads(kept.read_text(encoding="utf-8"))
        return digest, None if shape is None else tuple(shape)
    if path.suffix.lower() in _JPEG:
        digest, shape = hashlib.sha256(path.read_bytes()).hexdigest(), None
    else:
        array = np.ascontiguousarray(read_role(path, role))
        described = f"{array.dtype.str} {array.shape} ".encode()
        digest, shape = hashlib.sha256(described + array.tobytes()).hexdigest(), array.shape
    if shared:
        write_whole(Path(shared, state), json.dumps([digest, shape]).encode())
    return digest, shape


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
