"""Fixtures of the data tests: links to real data, a tiny data set, a file server that can fail."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retlib.data.collections import CHASE_DB1, Collection


@pytest.fixture
def mirror(data_root: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Data root of links to the real files of a data set, any of which can be replaced."""

    def make(folder: str) -> Path:
        root = tmp_path / "mirror"
        for path in (data_root / folder).rglob("*"):
            if path.is_file():
                link = root / path.relative_to(data_root)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path)
        return root

    return make


@pytest.fixture
def swap_in(tmp_path: Path) -> Callable[[Path, bytes], None]:
    """Put other bytes in the place of a link or file."""

    def put(path: Path, content: bytes) -> None:
        path.unlink()
        path.write_bytes(content)

    return put


@pytest.fixture
def tiny() -> Collection:
    """CHASE_DB1 reduced to one child and 60 x 48 pixels."""
    names = ("Image_01L", "Image_01R")
    return replace(CHASE_DB1, height=48, width=60, bases={"all": names})


@pytest.fixture
def tiny_root(tiny: Collection, tmp_path: Path) -> Path:
    """Files of the tiny data set: a red disc on black with one vertical vessel."""
    rows, columns = np.mgrid[: tiny.height, : tiny.width]
    disc = (rows - 24) ** 2 + (columns - 30) ** 2 < 20**2
    image = np.where(disc[..., None], np.array([180, 90, 40]), 2).astype(np.uint8)
    vessels = disc & (abs(columns - 30) < 2)
    folder = tmp_path / "root" / tiny.folder
    folder.mkdir(parents=True)
    for name in tiny.names:
        Image.fromarray(image).save(folder / f"{name}.jpg", quality=95)
        for observer, label in (("1stHO", vessels), ("2ndHO", vessels & (rows > 24))):
            Image.fromarray(label.astype(np.uint8) * 255).convert("1").save(folder / f"{name}_{observer}.png")
    return tmp_path / "root"


@dataclass
class FileServer:
    """Files on 127.0.0.1 and how the server treats the next requests.

    Attributes:
        address: Base address, ending in a slash.
        files: Path below the address -> content.
        etags: Path -> mark of the version; a file without one is sent without.
        ranges: Whether parts are served.
        cut_after: Bytes of the body after which the connection breaks, one entry a request.
        requests: What was asked for: path, Range header or None, bytes sent.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    cut_after: list[int] = field(default_factory=list)
    requests: list[tuple[str, str | None, int]] = field(default_factory=list)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.lstrip("/")
        if name not in self.files:
            self.requests.append((name, handler.headers.get("Range"), 0))
            handler.send_error(404)
            return
        body, etag = self.files[name], self.etags.get(name)
        wanted = handler.headers.get("Range")
        fresh = handler.headers.get("If-Range") in (None, etag)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges and fresh else None
        if start is not None and start >= len(body):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(body)}")
            rest = b""
        elif start is not None:
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            rest = body[start:]
        else:
            handler.send_response(200)
            rest = body
        handler.send_header("Content-Length", str(len(rest)))
        if etag:
            handler.send_header("ETag", etag)
        sent = rest[: self.cut_after.pop(0)] if self.cut_after else rest
        # Noted before the first byte leaves: the client may be done, and the test look, before this thread goes on.
        self.requests.append((name, wanted, len(sent)))
        handler.end_headers()
        handler.wfile.write(sent)
        handler.close_connection = True


@pytest.fixture
def server() -> Iterator[FileServer]:
    """A file server for one test."""
    state = FileServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, *arguments: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{http.server_address[1]}/"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    http.shutdown()
    http.server_close()
    thread.join()
