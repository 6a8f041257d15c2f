"""Files: the cache folder, and files that are whole or not there at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

CACHE_VARIABLE = "RETLIB_CACHE"
"""Environment variable that names the cache folder."""


def cache_folder() -> Path:
    """Return the folder for downloads, unfinished runs and weights, which may be deleted at any time.

    The environment variable ``RETLIB_CACHE`` names it, else it is ``retlib`` in the user's own folder for caches.
    """
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("retlib"))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, then rename it into place, so that no reader meets half of it."""
    partial = path.with_name(f".{path.name[-80:]}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
