"""Files: the cache folder, files that are whole or not there at all, and JSON that carries its checksum."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def cache_folder() -> Path:
    """Return the folder for downloads, unfinished runs and weights, which may be deleted at any time.

    The environment variable ``RETLIB_CACHE`` names it, else it is ``retlib`` in the user's own folder for caches.
    """
    if named := os.environ.get("RETLIB_CACHE"):
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("retlib"))


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file beside its place, then rename it into place, so that no reader meets half of it.

    Raises:
        OSError: the disk is full, say; what was there before stays, and nothing else is left.
    """
    partial = path.with_name(f".{path.name[-80:]}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with naming(path):
            with partial.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name a file in an error of the system that names none, as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None


def of_system(error: Exception) -> bool:
    """Tell whether the system failed to read or write (a full disk, no such file), and not a file's content."""
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


def json_checksum(content: Mapping[str, Any]) -> str:
    """Hash a JSON object without its key ``sha256``: 64 hexadecimal digits."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def seal_json(content: Mapping[str, Any]) -> bytes:
    """Write a JSON object with its checksum under the key ``sha256``, for `read_json`.

    Raises:
        ValueError: a number is not finite.
    """
    content = json.loads(json.dumps(content, allow_nan=False))  # keys and numbers as they are read again
    return (json.dumps(content | {"sha256": json_checksum(content)}, indent=1) + "\n").encode()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; one with the key ``sha256`` has to have the content that this is the checksum of.

    Raises:
        ValueError: no such file, no JSON object, or another content; the message names the file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(content).__name__}")
    if content.get("sha256") not in (None, json_checksum(content)):
        raise ValueError(f"{path}: its content was changed after it was written (sha256 differs)")
    return content


def load_tensors(path: str | Path, device: str | torch.device = "cpu") -> Any:
    """Load what `torch.save` wrote, after its checksums have been compared; code in the file is not run.

    Raises:
        ValueError: a checksum differs.
        Exception: of any other kind, from zipfile, pickle or torch, for a file that is damaged otherwise.
    """
    import torch

    if zipfile.is_zipfile(path):  # older files of torch are none
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise ValueError(f"the checksum of {damaged} differs")
    return torch.load(path, map_location=device, weights_only=True)
