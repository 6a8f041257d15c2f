"""Fixtures that more than one part of the suite uses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_NAMED = os.environ.get("RETLIB_DATA")  # read once, now: some tests take it out of the environment while they run


def real_data_root() -> Path | None:
    """Folder with the real data sets: RETLIB_DATA, else a ``shared/data`` folder beside the checkout."""
    candidates = [Path(_NAMED)] if _NAMED else [ROOT.parent / "shared" / "data"]
    return next((path.resolve() for path in candidates if path.is_dir()), None)


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    """A test that gives torch other threads keeps them to itself: the last bits of a result depend on their number."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Root of the real data sets; a test that asks for it is skipped where they are not on this machine."""
    root = real_data_root()
    if root is None:
        pytest.skip("the real data sets are not on this machine: set RETLIB_DATA to their folder")
    return root


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return ROOT
