"""The book, built once for all of its tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import build as book
import pytest
from filelock import FileLock

from tests.benchmarks.bench import find_browser

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


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


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """A headless Chromium; where there is none the tests are skipped, but not in continuous integration."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra [test]")
    path = find_browser()
    if path is None:
        message = "no Chromium found: `make browser` installs one or says how"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(message)
        pytest.skip(message)
    with playwright.sync_playwright() as engine:
        chromium = engine.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()
