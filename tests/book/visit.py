"""A visit to pages in a real browser."""

from __future__ import annotations

from pathlib import Path

WIDTHS = {"wide": (1280, 900), "narrow": (390, 844)}


class Visit:
    """A fresh profile that opens pages and keeps what goes wrong on them."""

    def __init__(self, browser: object, size: tuple[int, int] = WIDTHS["wide"], **options: object) -> None:
        self.context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        self.context.set_default_timeout(120_000)  # of a busy machine
        self.page = self.context.new_page()
        self.faults: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.faults.append(f"script error: {error}"))
        self.page.on("requestfailed", lambda request: self.faults.append(f"failed: {request.url}"))
        self.page.on("request", self._request)

    def _console(self, message: object) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console {message.type}: {message.text}")

    def _request(self, request: object) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.faults.append(f"asks outside: {request.url}")

    def open(self, path: Path) -> object:
        """Open a page and wait until it has loaded."""
        self.page.goto(path.as_uri(), wait_until="load")
        return self.page
