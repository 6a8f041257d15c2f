"""Download what may be downloaded: STARE, CHASE_DB1 and HRF, with pooch, resumed where it was cut off."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from retlib.data.archives import unpack
from retlib.data.collection import Collection
from retlib.data.errors import DataError
from retlib.data.inspection import Difference, inspect_files, verify_files
from retlib.files import cache_folder

if TYPE_CHECKING:
    import requests

_TIMEOUT = (15, 60)  # seconds to connect, seconds without a byte
_CHUNK = 2**16


def fetch_dataset(
    collection: Collection,
    root: Path,
    base_url: str | None = None,
    cache: Path | None = None,
    progress: bool = False,
    retries: int = 3,
) -> list[Difference]:
    """Download a data set, unpack it under the data root in its official layout, and verify it.

    An interrupted download leaves its part in the cache, and the next call goes on from there. The archives
    are unpacked into a temporary folder beside the data and moved into place when every file is there, so the
    data root never holds half a data set. Files of the data set that are already there are replaced; others
    are left alone.

    Args:
        collection: The data set.
        root: Data root; made where it does not exist.
        base_url: Address of the folder with the archives, in place of the official one.
        cache: Folder for the archives while they arrive; `cache_folder` by default.
        progress: Show bars on stderr for what takes more than two seconds.
        retries: How often a broken connection is taken up again.

    Returns:
        The files that differ from the committed fingerprints; empty when all is well.

    Raises:
        DataError: The data set cannot be downloaded without a registration, the server does not deliver, or
            the archives are not what they should be; the message says what to do.
    """
    if not collection.archives:
        raise DataError(f"{collection.title} cannot be downloaded by a program. {collection.instructions}")
    downloads = (cache or cache_folder()) / "downloads" / collection.key
    base = base_url or collection.archive_base
    archives = [_download(collection, base, name, downloads, progress, retries) for name in collection.archives]
    try:
        differences = _install(collection, archives, root, progress)
    except DataError as error:
        shutil.rmtree(downloads)  # the next call must not meet the bad archive again
        raise DataError(f"{error} The archives came from {base}. {collection.instructions}") from None
    shutil.rmtree(downloads)
    return differences


@dataclass(frozen=True)
class ResumingDownloader:
    """Downloader for pooch that keeps what has arrived and asks the server for the rest.

    Attributes:
        part: File that grows while the download runs; beside it, ``<part>.tag`` keeps the server's mark of
            the version, so that a file which changed meanwhile is started over.
        progress: Show a bar on stderr when it takes more than two seconds.
    """

    part: Path
    progress: bool = False

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Download ``url`` to ``output_file``.

        Raises:
            requests.RequestException: The server cannot be reached, refuses, or breaks off; the part is kept.
        """
        import requests

        tag = self.part.with_name(f"{self.part.name}.tag")
        have = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if tag.exists():
                headers["If-Range"] = tag.read_text(encoding="utf-8")
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            beyond_end = response.status_code == requests.codes.requested_range_not_satisfiable
            if beyond_end and response.headers.get("Content-Range") != f"bytes */{have}":
                self.part.unlink()  # longer than the file on the server: no part of it
                raise requests.ConnectionError(f"{url} changed during the download")
            if not beyond_end:
                response.raise_for_status()
                self._receive(response, have, tag)
        os.replace(self.part, output_file)
        tag.unlink(missing_ok=True)

    def _receive(self, response: requests.Response, have: int, tag: Path) -> None:
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
        with (
            self.part.open("ab" if resumed else "wb") as file,
            tqdm(
                desc=self.part.stem,
                initial=have,
                total=total,
                unit="B",
                unit_scale=True,
                delay=2,
                disable=not self.progress,
            ) as bar,
        ):
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
        arrived = self.part.stat().st_size
        if total is not None and arrived != total:
            raise requests.ConnectionError(f"{response.url} broke off after {arrived} of {total} bytes")


def _download(collection: Collection, base: str, name: str, folder: Path, progress: bool, retries: int) -> Path:
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")  # its notes would tear the progress bar
    url = urljoin(base if base.endswith("/") else f"{base}/", name)
    # The archives' checksums are not published; each unpacked file is verified instead.
    puppy = pooch.create(folder, base, registry={name: None}, urls={name: url}, retry_if_failed=retries)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return Path(puppy.fetch(name, downloader=ResumingDownloader(folder / f"{name}.part", progress)))
    except (requests.RequestException, ValueError) as error:
        reason = str(error)
    raise DataError(
        f"{url} could not be downloaded ({reason}). What has arrived is kept, and the same command goes on"
        f" from there. {collection.instructions}"
    )


def _install(collection: Collection, archives: list[Path], root: Path, progress: bool) -> list[Difference]:
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
        differences = verify_files(collection, staging, progress)
        _move_into_place(collection.directory(staging), collection.directory(root))
    return [Difference(root / item.path.relative_to(staging), item.problem) for item in differences]


def _move_into_place(source: Path, target: Path) -> None:
    """Rename the whole folder, or file by file where the target exists already."""
    if not target.exists():
        source.rename(target)
        return
    for path in sorted(source.rglob("*")):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, place)
