"""The book, built once for all of its tests."""

from __future__ import annotations

from pathlib import Path

import build_book
import pytest


@pytest.fixture(scope="session")
def build_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a whole build, as `make book` makes it, outside the checkout."""
    folder = tmp_path_factory.mktemp("book") / "_build"
    build_book.build(folder, progress=False)
    return folder


@pytest.fixture(scope="session")
def site(build_folder: Path) -> Path:
    """Folder of the rendered pages."""
    return build_folder / "html"
