"""The book, built once for all of its tests."""

from __future__ import annotations

import os
from pathlib import Path

import build as book
import pytest
from filelock import FileLock


@pytest.fixture(scope="session")
def build_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a whole build, as `make book` makes it, outside the checkout; pytest-xdist's workers share one."""
    shared = "PYTEST_XDIST_WORKER" in os.environ
    folder = (tmp_path_factory.getbasetemp().parent if shared else tmp_path_factory.mktemp("book")) / "_build"
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "html").is_dir():
            book.build(folder, progress=False)
    return folder


@pytest.fixture(scope="session")
def site(build_folder: Path) -> Path:
    """Folder of the rendered pages."""
    return build_folder / "html"
