"""What is known of a public data set before a file is opened: names, sizes, places, where to get it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from retlib.data.errors import DataMissingError

ROLES = ("image", "vessels", "fov", "second_observer")
"""What a file of a data set can be for a sample."""

FileChoices = Mapping[str, tuple[str, ...]]
"""Role -> the places in the data set's folder where that file is looked for, the official one first."""


@dataclass(frozen=True)
class Collection:
    """One public data set in its official layout.

    Attributes:
        key: Name for ``load_dataset``.
        title: Name in print.
        folder: Folder under the data root.
        height: Rows of every image.
        width: Columns of every image.
        bases: Base split -> names of its samples, sorted; ``"all"`` is always among them.
        files: Name of a sample -> its files by role, the official place first.
        group: Name of a sample -> what must not be divided between folds (the eyes of one child).
        default_split: What ``split=None`` means, or None where a split has to be named.
        homepage: Page on which a person finds the data set.
        terms: Terms of use, in a few words.
        archives: Archives to download, or empty where a person has to register first.
        archive_base: Address of the folder in which the archives lie.
        instructions: What a person does to get the data set by hand.
    """

    key: str
    title: str
    folder: str
    height: int
    width: int
    bases: Mapping[str, tuple[str, ...]]
    files: Callable[[str], FileChoices]
    group: Callable[[str], str]
    homepage: str
    terms: str
    instructions: str
    default_split: str | None = None
    archives: tuple[str, ...] = ()
    archive_base: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all samples, sorted."""
        return self.bases["all"]

    def directory(self, root: Path) -> Path:
        """Folder of the data set under the data root."""
        return root / self.folder


def find_file(collection: Collection, root: Path, choices: tuple[str, ...]) -> Path | None:
    """First of the places that holds a file, or None."""
    directory = collection.directory(root)
    return next((path for choice in choices if (path := directory / choice).is_file()), None)


def sample_files(collection: Collection, root: Path, name: str) -> dict[str, Path]:
    """Files of one sample by role.

    Raises:
        DataMissingError: A file is not there; the message names it and says what to do.
    """
    found = {}
    for role, choices in collection.files(name).items():
        path = find_file(collection, root, choices)
        if path is None:
            raise DataMissingError(_missing_message(collection, root, name, role, choices))
        found[role] = path
    return found


def _missing_message(collection: Collection, root: Path, name: str, role: str, choices: tuple[str, ...]) -> str:
    what = {
        "image": "image",
        "vessels": "vessel label",
        "fov": "FOV mask",
        "second_observer": "second observer",
    }
    others = f" (or {', '.join(Path(choice).name for choice in choices[1:])})" if choices[1:] else ""
    return (
        f"{collection.title} lacks the {what[role]} of {name}:"
        f" expected {collection.directory(root) / choices[0]}{others}."
        f" {collection.instructions} `retlib data status` lists what is missing."
    )
