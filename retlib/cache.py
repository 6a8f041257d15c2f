"""The cache folder: downloads, unfinished runs, weights. It may be deleted at any time."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "RETLIB_CACHE"
"""Environment variable that names the cache folder."""


def cache_folder() -> Path:
    """The environment variable ``RETLIB_CACHE``, else ``retlib`` in the user's own folder for caches."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("retlib"))
