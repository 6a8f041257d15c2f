"""Pack the data sets into a few zip files of limited size, for a machine without a network, and unpack them there.

Only the files that retlib's readers use are packed, under their places in the official layout. The data sets have their
own terms: DRIVE may not be passed on, so keep the parts to yourself.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from retlib.data.collections import Collection
from retlib.data.registry import COLLECTIONS
from retlib.files import of_system, write_whole

_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # one time for all, so that equal files give equal parts
_ENTRY_BYTES = 600  # of a part, for the headers of one file
_UNMARKED = (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError)  # reading the comment of a foreign zip


def pack(
    root: Path, out: Path, limit_mib: float = 60.0, collections: Sequence[Collection] = tuple(COLLECTIONS.values())
) -> list[Path]:
    """Write the files of data sets into numbered zip parts, none of them over the limit.

    Args:
        root: Data root; a data set that is not there is left out.
        out: Folder for the parts, made where it does not exist.
        limit_mib: Largest size of a part in MiB.
        collections: Data sets, in the order in which they are packed.

    Returns:
        The parts, ``retlib-data-1of3.zip`` and so on.

    Raises:
        ValueError: There is no file of these data sets; a file does not fit into a part by itself.
    """
    limit = int(limit_mib * 2**20)
    files = [path for collection in collections for *_, path in collection.walk(root) if path is not None]
    if not files:
        titles = ", ".join(collection.title for collection in collections)
        raise ValueError(f"{root}: no file of {titles} there; see `retlib data status`")
    groups: list[list[Path]] = [[]]
    filled = _ENTRY_BYTES
    for path in tqdm(files, desc="packing", unit="file", delay=2, disable=None):
        size = len(zlib.compress(path.read_bytes(), wbits=-zlib.MAX_WBITS)) + _ENTRY_BYTES
        if size + _ENTRY_BYTES > limit:
            raise ValueError(f"--limit-mib {limit_mib:g}: {path} alone takes {size / 2**20:.1f} MiB; expected more")
        if filled + size > limit:
            groups.append([])
            filled = _ENTRY_BYTES
        groups[-1].append(path)
        filled += size
    out.mkdir(parents=True, exist_ok=True)
    parts = []
    for number, group in enumerate(groups, start=1):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.comment = json.dumps({"part": number, "of": len(groups)}).encode()
            for path in group:
                entry = zipfile.ZipInfo(path.relative_to(root).as_posix(), _LONG_AGO)
                archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
        parts.append(out / f"retlib-data-{number:0{len(str(len(groups)))}d}of{len(groups)}.zip")
        write_whole(parts[-1], buffer.getvalue())
    return parts


def unpack(parts: Sequence[Path], root: Path) -> tuple[list[int], int]:
    """Restore the files of some or all parts; each file is compared with the checksum packed with it.

    Returns:
        Numbers of the parts that were not among these, and how many files were written.

    Raises:
        ValueError: No part of `pack`; parts of two packings; a file that is damaged or belongs to no data set. Files of
            the parts before it are then in place, each of them whole.
    """
    places = {f"{item.folder}/{place}" for item in COLLECTIONS.values() for place in item.places}
    seen: set[int] = set()
    of = written = 0
    for part in tqdm(parts, desc="unpacking", unit="part", delay=2, disable=None):
        try:
            with zipfile.ZipFile(part) as archive:
                mark = json.loads(archive.comment)
                if of not in (0, mark["of"]):
                    raise ValueError(f"{part}: one of {mark['of']} parts, but the others are of {of}")
                of = mark["of"]
                seen.add(mark["part"])
                for name in archive.namelist():
                    if name not in places:
                        raise ValueError(
                            f"{part}: {name} is no file of a data set; was it written by `retlib data pack`?"
                        )
                    content = archive.read(name)
                    (root / name).parent.mkdir(parents=True, exist_ok=True)
                    write_whole(root / name, content)
                    written += 1
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, *_UNMARKED) as error:
            if of_system(error):
                raise
            raise ValueError(f"{part}: no whole part of `retlib data pack` ({error}); copy it again") from None
    return sorted(set(range(1, of + 1)) - seen), written
