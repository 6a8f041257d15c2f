"""A browser for the tests of the book."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

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
