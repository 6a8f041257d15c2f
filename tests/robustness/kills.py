"""Kill processes with SIGKILL at random moments of their writing, and look at what is there afterwards.

A killed process is a fork of this one, which has everything imported, so that the kills fall into the work.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from tests.robustness.writers import Writer


def fork(work: Callable[[], object]) -> int:
    """Start a process that does ``work`` and exits with 0, or with 1 and a traceback after an error.

    Returns:
        Its id, once it is at work.
    """
    sys.stdout.flush()
    ready, begin = os.pipe()
    if (process := os.fork()) != 0:
        os.close(begin)
        os.read(ready, 1)
        os.close(ready)
        return process
    code = 1
    try:
        os.setsid()  # a group of its own, which is killed with all that it starts
        os.write(begin, b"!")
        os.close(begin)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def kill(process: int) -> bool:
    """Kill a process that :func:`fork` started; whether it was still at work.

    Raises:
        RuntimeError: it had ended with an error by itself.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError("the process failed before it was killed; its traceback is above")
    return os.WIFSIGNALED(status)


def kill_writer(writer: Writer, folder: Path, kills: int, processes: int = 1) -> dict[str, int]:
    """Kill the writing of ever new versions, and read what is there after each kill.

    Returns:
        ``kills``; ``new_versions``: after how many of them a version was there that had not been there before;
        ``halves``: hidden files and folders that were half-written when they came.

    Raises:
        Exception: of `Writer.read`, where no whole version is there.
    """
    rng = random.Random(writer.name)
    folder.mkdir(parents=True, exist_ok=True)
    writer.write(folder, 0)
    started_at = time.perf_counter()
    writer.write(folder, 0)
    seconds = max(0.05, 8 * (time.perf_counter() - started_at))  # a kill comes within this time
    before, done, new, halves = writer.read(folder), 0, 0, set()
    while done < kills:
        first = 1 + 1000 * done
        started = [
            fork(lambda start=first + 500 * number: _write_for_ever(writer, folder, start))
            for number in range(processes)
        ]
        time.sleep(rng.uniform(0, seconds))
        done += sum([kill(process) for process in started])
        halves |= {path for path in folder.rglob(".*") if path.suffix != ".old"}
        found = writer.read(folder)
        new += found != before
        before = found
    return {"kills": done, "new_versions": new, "halves": len(halves)}


def _write_for_ever(writer: Writer, folder: Path, version: int) -> None:
    while True:
        writer.write(folder, version)
        version += 1


# --- whole runs, two processes on one store ---------------------------------------------------------------------------


def kill_runs(folder: Path, kills: int, runs: int = 3) -> dict[str, int]:
    """Kill two processes again and again that make the same records, until so many kills are done; then let them end.

    Returns:
        ``kills``, ``rounds`` (times that all records were complete) and ``resumed`` (records whose run had resumed).

    Raises:
        AssertionError: a record differs from the one of a run left alone, or something else is in the store.
    """
    import torch

    from retlib.study import Store, run
    from tests.experiments.conftest import tiny

    rng, threads = random.Random(0), torch.get_num_threads()
    torch.set_num_threads(1)  # a fork has no other threads
    configs = [tiny(seed=seed) for seed in range(runs)]
    started_at = time.perf_counter()
    with mock.patch.dict(os.environ, RETLIB_CACHE=str(folder / "cache-alone")):
        alone = {config.identify(): run(config, folder / "alone", device="cpu", progress=False) for config in configs}
    seconds = time.perf_counter() - started_at
    done = rounds = resumed = 0
    with mock.patch.dict(os.environ, RETLIB_CACHE=str(folder / "cache")), _often():
        while done < kills or rounds == 0:
            store = Store(folder / f"records{rounds}")

            def make_all(store: Store = store) -> None:
                for config in configs:
                    run(config, store, device="cpu", progress=False)

            while done < kills and len(store) < runs:
                started = [fork(make_all) for _ in range(2)]
                time.sleep(rng.uniform(0, seconds))
                done += sum([kill(process) for process in started])
                for record in store:
                    _check_same(record, alone[record.id])
            make_all()
            rounds += 1
            for record in store:
                _check_same(record, alone[record.id])
                resumed += bool(record.content["timing"]["resumed_from_epochs"])
            names = {path.name for path in store.path.iterdir() if not path.name.startswith(".")}
            assert names == set(alone), names
    torch.set_num_threads(threads)
    return {"kills": done, "rounds": rounds, "resumed": resumed}


@contextlib.contextmanager
def _often() -> Iterator[None]:
    """Write a checkpoint after every step."""
    from retlib.training import loop

    with mock.patch.object(loop, "CHECKPOINT_SECONDS", 0.0):
        yield


def _check_same(record: Any, other: Any) -> None:
    untimed = ("id", "config", "fingerprints", "model", "training", "threshold", "history", "tests", "files")
    one, two = (json.dumps({key: entry.content[key] for key in untimed}, sort_keys=True) for entry in (record, other))
    assert one == two, f"record {record.id} differs from that of a run left alone"
    record.histograms(), record.error_maps()


# --- downloads --------------------------------------------------------------------------------------------------------


def kill_downloads(folder: Path, kills: int) -> dict[str, int]:
    """Kill the download and unpacking of a small data set, and look at the data root after each kill.

    Returns:
        ``kills``, and ``arrived``: how often the data set was complete.

    Raises:
        AssertionError: the root holds a part of the data set, or another content.
    """
    from dataclasses import replace

    import pooch  # noqa: F401  (imported before the forks)
    import requests  # noqa: F401

    from retlib.data.collections import CHASE_DB1
    from retlib.data.download import fetch_dataset

    rng = random.Random(1)
    small = replace(CHASE_DB1, height=48, width=60, bases={"all": ("Image_01L", "Image_01R")})
    archive, expected = _small_archive()
    done = arrived = 0
    address, stop = _slow_server({"CHASEDB1.zip": archive})
    try:
        with mock.patch.dict(os.environ, RETLIB_CACHE=str(folder / "cache")):
            while done < kills:
                root = folder / f"data{arrived}"
                process = fork(lambda root=root: fetch_dataset(small, root, address))
                time.sleep(rng.uniform(0, 1.5))
                done += kill(process)
                place = small.directory(root)
                if place.exists():
                    found = {path.name: path.read_bytes() for path in place.iterdir()}
                    assert found == expected, sorted(found)
                    arrived += 1
            fetch_dataset(small, folder / "last", address)
            found = {path.name: path.read_bytes() for path in small.directory(folder / "last").iterdir()}
            assert found == expected
    finally:
        stop()
    return {"kills": done, "arrived": arrived}


def _small_archive() -> tuple[bytes, dict[str, bytes]]:
    import io
    import zipfile

    import numpy as np
    from PIL import Image

    files = {}
    for name in ("Image_01L", "Image_01R"):
        for ending, mode in ((".jpg", "RGB"), ("_1stHO.png", "1"), ("_2ndHO.png", "1")):
            buffer = io.BytesIO()
            picture = Image.fromarray(np.full((48, 60), 200, np.uint8)).convert(mode)
            picture.save(buffer, "JPEG" if mode == "RGB" else "PNG")
            files[name + ending] = buffer.getvalue()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        for name, content in {**files, "read me.bin": np.random.default_rng(0).bytes(2_000_000)}.items():
            opened.writestr(name, content)
    return archive.getvalue(), files


def _slow_server(files: dict[str, bytes]) -> tuple[str, Callable[[], None]]:
    """Serve files on 127.0.0.1 from a process of its own, some tenths of a second each: its address, how to stop it."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files[self.path.lstrip("/")]
            start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.send_header("ETag", '"1"')
            self.end_headers()
            with contextlib.suppress(OSError):
                for place in range(start, len(body), 100_000):
                    self.wfile.write(body[place : place + 100_000])
                    time.sleep(0.01)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    process = fork(server.serve_forever)
    server.server_close()
    return f"http://127.0.0.1:{server.server_address[1]}/", lambda: kill(process) and None
