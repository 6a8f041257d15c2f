"""What lies on the disk: which files of a data set are there, and whether they are the authentic ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from retlib.data.collection import Collection, find_file
from retlib.data.errors import DataError
from retlib.data.fingerprints import committed_fingerprints, file_fingerprint


@dataclass(frozen=True)
class Presence:
    """How much of a data set is on the disk.

    Attributes:
        samples: Samples with every file in place.
        samples_expected: Samples of the data set.
        files: Files in place.
        files_expected: Files of the data set.
        missing: Where the missing files were looked for first.
    """

    samples: int
    samples_expected: int
    files: int
    files_expected: int
    missing: tuple[Path, ...]

    @property
    def state(self) -> str:
        """``"present"``, ``"partial"`` or ``"missing"``."""
        if not self.missing:
            return "present"
        return "partial" if self.files else "missing"


@dataclass(frozen=True)
class Difference:
    """A file that is not what it should be: the file and what is wrong with it, in words."""

    path: Path
    problem: str


def inspect_files(collection: Collection, root: Path | None) -> Presence:
    """Look for every file of a data set, without opening any; with no root, everything is missing."""
    base = root if root is not None else Path()
    missing, samples, files = [], 0, 0
    for name in collection.names:
        choices = collection.files(name).values()
        found = [root is not None and find_file(collection, root, choice) is not None for choice in choices]
        missing += [
            collection.directory(base) / choice[0] for choice, here in zip(choices, found, strict=True) if not here
        ]
        samples += all(found)
        files += sum(found)
    return Presence(samples, len(collection.names), files, files + len(missing), tuple(missing))


def verify_files(collection: Collection, root: Path, progress: bool = False) -> list[Difference]:
    """Compare every file of a data set with its committed fingerprint.

    Args:
        collection: The data set.
        root: Data root.
        progress: Show a bar on stderr when it takes more than two seconds.

    Returns:
        The files that are missing, unreadable, or hold other pixels than the authentic ones; empty when all
        is well. A file that holds what belongs to another sample is said to.
    """
    from tqdm import tqdm

    committed = committed_fingerprints(collection.key)
    owners = {digest: (name, role) for name, roles in committed.items() for role, digest in roles.items()}
    bar = tqdm(collection.names, desc=f"verifying {collection.title}", unit="sample", delay=2, disable=not progress)
    return [difference for name in bar for difference in _differences(collection, root, name, committed[name], owners)]


def _differences(
    collection: Collection,
    root: Path,
    name: str,
    committed: dict[str, str],
    owners: dict[str, tuple[str, str]],
) -> Iterator[Difference]:
    for role, choices in collection.files(name).items():
        path = find_file(collection, root, choices)
        if path is None:
            yield Difference(collection.directory(root) / choices[0], "is missing")
            continue
        try:
            found = file_fingerprint(collection, path, role)
        except DataError as error:
            yield Difference(path, str(error).removeprefix(f"{path} "))
            continue
        if found == committed[role]:
            continue
        if found in owners:
            other, other_role = owners[found]
            yield Difference(
                path, f"holds the {other_role.replace('_', ' ')} of {other}: files were swapped or renamed"
            )
        else:
            what = "bytes" if path.suffix.lower() in {".jpg", ".jpeg"} else "pixels"
            yield Difference(path, f"holds other {what} than the authentic file: it was changed or re-saved")
