"""The data sets in a few parts of limited size, for a machine that has no network.

    python tools/pack_data.py pack DATA OUT --limit-mib 60      DATA as OUT/retlib-data-1of3.zip, ...
    python tools/pack_data.py unpack PARTS... DATA              and back, byte for byte

Only the files that retlib's readers use are packed, under their places in the official layout; nothing else is
unpacked. `unpack` compares every file with the checksum that was packed with it, and with the committed fingerprints,
as `retlib data verify` does. It takes any of the parts, and says which ones are not there yet.

The data sets have their own terms: DRIVE may not be passed on, so keep the parts to yourself.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from retlib.data.collection import Collection, find_file
from retlib.data.inspection import inspect_files, verify_files
from retlib.data.registry import COLLECTIONS, get_collection
from retlib.files import write_whole

MANIFEST = "retlib-data.json"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # one time for all, so that equal files give equal parts
_ENTRY_BYTES = 600  # of a part, for one file's headers and its line in the manifest


def main(arguments: Sequence[str] | None = None) -> int:
    """Pack or unpack; the exit code: 1 where an unpacked file is not the authentic one, 2 for a wrong argument."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="write the parts")
    packing.add_argument("data", type=Path, help="data root, with DRIVE/, STARE/, ... under it")
    packing.add_argument("out", type=Path, help="folder for the parts")
    packing.add_argument("--limit-mib", type=float, default=60.0, help="largest size of a part (60)")
    packing.add_argument("--only", nargs="+", metavar="DATASET", help=f"some of {', '.join(COLLECTIONS)}")
    unpacking = commands.add_parser("unpack", help="restore the files")
    unpacking.add_argument("parts", type=Path, nargs="+")
    unpacking.add_argument("data", type=Path, help="data root, made where it does not exist")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "pack":
            collections = [get_collection(name) for name in chosen.only or COLLECTIONS]
            for part in pack(chosen.data, chosen.out, chosen.limit_mib, collections):
                print(f"{part}: {part.stat().st_size / 2**20:.1f} MiB")
            return 0
        return _unpack_and_verify(chosen.parts, chosen.data)
    except (ValueError, OSError) as error:
        print(f"pack_data: {error}", file=sys.stderr)
        return 2


def pack(
    data: Path, out: Path, limit_mib: float = 60.0, collections: Sequence[Collection] = tuple(COLLECTIONS.values())
) -> list[Path]:
    """Write the files of data sets into numbered zip parts, none of them over the limit.

    Args:
        data: data root; a data set that is not there is left out.
        out: folder for the parts, made where it does not exist.
        limit_mib: largest size of a part.
        collections: data sets, in the order in which they are packed.

    Returns:
        The parts.

    Raises:
        ValueError: no file of these data sets; a file that does not fit into a part by itself.
    """
    limit = int(limit_mib * 2**20)
    packed = []
    files = list(used_files(data, collections))
    if not files:
        raise ValueError(
            f"{data}: no file of {', '.join(c.title for c in collections)} there; see `retlib data status`"
        )
    for name in tqdm(files, desc="packing", unit="file", delay=2):
        content = (data / name).read_bytes()
        size = _packed_size(content) + _ENTRY_BYTES
        if size + _ENTRY_BYTES > limit:
            raise ValueError(f"--limit-mib {limit_mib:g}: {name} alone takes {size / 2**20:.1f} MiB; expected more")
        packed.append((name, hashlib.sha256(content).hexdigest(), size))
    groups: list[list[tuple[str, str]]] = [[]]
    filled = _ENTRY_BYTES
    for name, digest, size in packed:
        if filled + size > limit:
            groups.append([])
            filled = _ENTRY_BYTES
        groups[-1].append((name, digest))
        filled += size
    out.mkdir(parents=True, exist_ok=True)
    width = len(str(len(groups)))
    parts = []
    for number, group in enumerate(groups, start=1):
        part = out / f"retlib-data-{number:0{width}d}of{len(groups)}.zip"
        write_whole(part, _zip(data, group, {"part": number, "of": len(groups), "sha256": dict(group)}))
        parts.append(part)
    return parts


def unpack(parts: Sequence[Path], data: Path) -> tuple[list[int], int]:
    """Restore the files of some or all parts.

    Returns:
        Numbers of the parts that were not among these, and how many files were written.

    Raises:
        ValueError: no part of `pack`; parts of two packings; a file that is damaged or belongs to no data set. Files of
            the parts before it are then in place, each of them whole.
    """
    known = set(places())
    seen: set[int] = set()
    of = written = 0
    for part in tqdm(parts, desc="unpacking", unit="part", delay=2):
        try:
            with zipfile.ZipFile(part) as archive:
                manifest = json.loads(archive.read(MANIFEST))
                if of not in (0, manifest["of"]):
                    raise ValueError(f"{part}: one of {manifest['of']} parts, but the others are of {of}")
                of = manifest["of"]
                seen.add(manifest["part"])
                for name, digest in manifest["sha256"].items():
                    if name not in known:
                        raise ValueError(f"{part}: {name} is no file of a data set; is this a part of pack_data?")
                    content = archive.read(name)
                    if hashlib.sha256(content).hexdigest() != digest:
                        raise ValueError(f"{part}: {name} is damaged; copy the part again")
                    (data / name).parent.mkdir(parents=True, exist_ok=True)
                    write_whole(data / name, content)
                    written += 1
        except (zipfile.BadZipFile, KeyError, json.JSONDecodeError, EOFError) as error:
            raise ValueError(f"{part}: no whole part of pack_data ({error}); copy it again") from None
    return sorted(set(range(1, of + 1)) - seen), written


def used_files(data: Path, collections: Sequence[Collection]) -> Iterator[str]:
    """Places under a data root of the files that the readers would open, in the order of the data sets."""
    for collection in collections:
        for name in collection.names:
            for choices in collection.files(name).values():
                if (path := find_file(collection, data, choices)) is not None:
                    yield path.relative_to(data).as_posix()


def places() -> Iterator[str]:
    """Every place under a data root where a reader looks for a file."""
    for collection in COLLECTIONS.values():
        for name in collection.names:
            for choices in collection.files(name).values():
                yield from (f"{collection.folder}/{choice}" for choice in choices)


def _unpack_and_verify(parts: Sequence[Path], data: Path) -> int:
    absent, written = unpack(parts, data)
    print(f"{written} files in {data}")
    if absent:
        print(f"not among these parts: {', '.join(map(str, absent))}")
    wrong = 0
    for collection in COLLECTIONS.values():
        presence = inspect_files(collection, data)
        if presence.state == "missing":
            continue
        differences = [item for item in verify_files(collection, data, progress=True) if item.path.exists()]
        for item in differences:
            print(f"{item.path} {item.problem}")
        whole = f"{presence.samples} of {presence.samples_expected} samples are whole"
        print(f"{collection.title}: {whole}, {len(differences)} files differ from the committed fingerprints")
        wrong += len(differences)
    return 1 if wrong else 0


def _zip(data: Path, group: Sequence[tuple[str, str]], manifest: dict) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_entry(MANIFEST), json.dumps(manifest, indent=1))
        for name, _ in group:
            archive.writestr(_entry(name), (data / name).read_bytes())
    return buffer.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _LONG_AGO)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _packed_size(content: bytes) -> int:
    """Bytes of a file in a part, its headers aside: as zipfile will pack it, so that no part is over the limit."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_entry("x"), content)
        return archive.getinfo("x").compress_size


if __name__ == "__main__":
    sys.exit(main())
