"""Unpack the archives of the data sets into their official layout."""

from __future__ import annotations

import gzip
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from retlib.data.collection import Collection
from retlib.data.errors import DataError

_LARGEST_FILE = 64 * 2**20  # bytes; the largest file of the four data sets, uncompressed, has 25 MB
# What reading a broken archive raises; an OSError of the disk that is written to is not among them.
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    NotImplementedError,  # a compression that zipfile does not know
    RuntimeError,  # an encrypted member
)


def unpack(collection: Collection, archive: Path, root: Path) -> int:
    """Unpack the files of a data set from a tar or zip archive to their official places under a root.

    A member is recognised by its file name alone and written to the place that the data set's layout gives
    it. The folders named in the archive are never followed, so no member can be written elsewhere; whatever
    is not a file of the data set (read-me files, links, other names) is left out.

    Returns:
        Number of files written.

    Raises:
        DataError: The file is no archive, is broken, or holds a file of unreasonable size.
    """
    places = official_places(collection)
    written: set[str] = set()
    try:
        for name, size, open_member in _members(archive):
            place = places.get(PurePosixPath(name.replace("\\", "/")).name.casefold())
            if place is None or place in written:
                continue
            if size > _LARGEST_FILE:
                raise DataError(f"{archive.name}: {name} has {size} bytes, more than any file of {collection.title}.")
            target = collection.directory(root) / place
            target.parent.mkdir(parents=True, exist_ok=True)
            with open_member() as source, target.open("wb") as destination:
                shutil.copyfileobj(source, destination)
            written.add(place)
    except _BROKEN as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{archive} is no readable tar or zip archive ({reason}); delete it and fetch again") from None
    return len(written)


def official_places(collection: Collection) -> dict[str, str]:
    """File name in lower case -> path of that file in the data set's folder."""
    return {
        PurePosixPath(choice).name.casefold(): choice
        for name in collection.names
        for choices in collection.files(name).values()
        for choice in reversed(choices)  # where two places differ by case alone, the official one stays
    }


def _members(archive: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    """Name, size and opener of every regular file in an archive."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                if not entry.is_dir():
                    yield entry.filename, entry.file_size, partial(opened.open, entry)
    else:
        with tarfile.open(archive) as opened:
            for member in opened:
                if member.isreg():
                    yield member.name, member.size, partial(opened.extractfile, member)
