"""Download STARE, CHASE_DB1 and HRF with pooch, resume what broke off, and unpack it into the official layout."""

from __future__ import annotations

import lzma
import os
import shutil
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING
from urllib.parse import urljoin

from retlib.data.checksums import Difference, inspect_files, verify_files
from retlib.data.collections import Collection
from retlib.data.errors import DataError
from retlib.files import cache_folder, naming, of_system, write_whole

if TYPE_CHECKING:
    import requests

_TIMEOUT = (15, 60)  # seconds to connect, seconds without a byte
_CHUNK = 2**16
_LARGEST_FILE = 64 * 2**20  # bytes; the largest file of the four data sets, uncompressed, has 25 MB
# What reading a broken archive raises.
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    OSError,  # gzip; a place before the beginning of the file
    RuntimeError,  # an encrypted member, or a compression that zipfile does not know
    ValueError,
)


def fetch_dataset(
    collection: Collection, root: Path, base_url: str | None = None, retries: int = 3
) -> list[Difference]:
    """Download a data set, unpack it under the data root in its official layout, and verify it.

    An interrupted download leaves its part in the cache (`retlib.files.cache_folder`), and the next call resumes it.
    The archives are unpacked into a temporary folder beside the data and moved into place when every file is there, so
    the data root never holds half a data set. Files of the data set that are already there are replaced; others are
    left alone.

    Args:
        collection: The data set.
        root: Data root; made where it does not exist.
        base_url: Address of the folder with the archives, in place of the official one.
        retries: How often a broken connection is taken up again.

    Returns:
        The files that differ from the committed fingerprints; empty when all is well.

    Raises:
        DataError: The data set cannot be downloaded without a registration, the server does not deliver, or the
            archives are not what they should be; the message says what to do.
    """
    if not collection.archives:
        raise DataError(f"{collection.title} cannot be downloaded by a program. {collection.instructions}")
    downloads = cache_folder() / "downloads" / collection.key
    base = base_url or collection.archive_base
    archives = [_download(collection, base, name, downloads, retries) for name in collection.archives]
    try:
        differences = _install(collection, archives, root)
    except DataError as error:
        shutil.rmtree(downloads)  # the next call must not meet the bad archive again
        raise DataError(f"{error} The archives came from {base}. {collection.instructions}") from None
    shutil.rmtree(downloads)
    return differences


def resume_download(url: str, output_file: str, pooch: object, part: Path) -> None:
    """Download a file for pooch: keep what has arrived, and ask the server for the rest.

    Args:
        url: Address of the file.
        output_file: Where the whole file goes.
        pooch: Not used; pooch hands itself over.
        part: File that grows while the download runs. Beside it ``<part>.tag`` keeps the server's mark of the version,
            so that a file which changed meanwhile is started over.

    Raises:
        requests.RequestException: The server cannot be reached, refuses, or breaks off; the part is kept.
    """
    import requests

    tag = part.with_name(f"{part.name}.tag")
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag.exists():
            headers["If-Range"] = tag.read_text(encoding="utf-8")
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if response.status_code != requests.codes.requested_range_not_satisfiable:
            response.raise_for_status()
            _receive(response, part, have, tag)
        elif response.headers.get("Content-Range") != f"bytes */{have}":
            part.unlink()  # longer than the file on the server: no part of it
            raise requests.ConnectionError(f"{url} changed during the download")
    os.replace(part, output_file)
    tag.unlink(missing_ok=True)


def _receive(response: requests.Response, part: Path, have: int, tag: Path) -> None:
    """Append the rest, or start over where the server sends the whole file."""
    import requests
    from tqdm import tqdm

    resumed = response.status_code == requests.codes.partial_content
    if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        raise requests.ConnectionError(f"{response.url} answered with another range than asked for")
    have = have if resumed else 0
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else None
    mark = response.headers.get("ETag", "")
    if not mark or mark.startswith("W/"):  # a weak mark does not vouch for the bytes
        mark = response.headers.get("Last-Modified", "")
    if mark:
        tag.write_text(mark, encoding="utf-8")
    else:
        tag.unlink(missing_ok=True)
    # disable=None: a bar only where standard error is a terminal, and there only after two seconds.
    show = {"desc": part.stem, "unit": "B", "unit_scale": True, "delay": 2, "disable": None}
    with part.open("ab" if resumed else "wb") as file, tqdm(initial=have, total=total, **show) as bar:
        for chunk in response.iter_content(_CHUNK):
            with naming(part):
                file.write(chunk)
            bar.update(len(chunk))
    arrived = part.stat().st_size
    if total is not None and arrived != total:
        raise requests.ConnectionError(f"{response.url} broke off after {arrived} of {total} bytes")


def unpack(collection: Collection, archive: Path, root: Path) -> int:
    """Unpack the files of a data set from a tar or zip archive to their official places under a root.

    A member is recognised by its file name alone and written to the place that the data set's layout gives it. The
    folders named in the archive are never followed, so no member can be written elsewhere; whatever is not a file of
    the data set (read-me files, links, other names) is left out.

    Returns:
        Number of files written.

    Raises:
        DataError: The file is no archive, is broken, or holds a file of unreasonable size.
    """
    # Where two places differ by case alone, the official one stays: it comes last.
    places = {PurePosixPath(place).name.casefold(): place for place in collection.places}
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
            with open_member() as source:
                content = source.read()
            write_whole(target, content)
            written.add(place)
    except DataError:
        raise
    except _BROKEN as error:
        if of_system(error):
            raise
        reason = str(error) or type(error).__name__
        raise DataError(f"{archive} is no readable tar or zip archive ({reason}); delete it and fetch again") from None
    return len(written)


def _members(archive: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    """Iterate over name, size and opener of every regular file in an archive."""
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


def _download(collection: Collection, base: str, name: str, folder: Path, retries: int) -> Path:
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")  # its notes would tear the progress bar
    url = urljoin(base if base.endswith("/") else f"{base}/", name)
    # The archives' checksums are not published; each unpacked file is verified instead.
    downloader = pooch.create(folder, base, registry={name: None}, urls={name: url}, retry_if_failed=retries)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return Path(downloader.fetch(name, downloader=partial(resume_download, part=folder / f"{name}.part")))
    except (requests.RequestException, ValueError) as error:
        reason = str(error)
    raise DataError(
        f"{url} could not be downloaded ({reason}). What has arrived is kept, and the same command goes on"
        f" from there. {collection.instructions}"
    )


def _install(collection: Collection, archives: list[Path], root: Path) -> list[Difference]:
    """Unpack beside the data, check, verify, and move into place what is complete."""
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{collection.folder}-", dir=root) as folder:
        staging = Path(folder)
        for archive in archives:
            unpack(collection, archive, staging)
        if missing := inspect_files(collection, staging).missing:
            names = ", ".join(path.name for path in missing[:5])
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise DataError(
                f"{', '.join(collection.archives)} held only a part of {collection.title}:"
                f" {len(missing)} files are missing ({names}{more}), so nothing was put into {root}."
            )
        differences = verify_files(collection, staging)
        source, target = collection.directory(staging), collection.directory(root)
        if target.exists():  # file by file, beside whatever else lies there
            shutil.copytree(source, target, copy_function=os.replace, dirs_exist_ok=True)
        else:
            source.rename(target)
    return [Difference(root / item.path.relative_to(staging), item.problem) for item in differences]
