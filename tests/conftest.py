"""Fixtures that more than one part of the suite uses."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests import warm

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
def warm_python() -> Iterator[list[str]]:
    """Start of a command line that runs a module in a process that has the libraries, in place of the interpreter."""
    if not sys.platform.startswith("linux"):  # elsewhere a process that has loaded much cannot always be forked
        yield [sys.executable]
        return
    with tempfile.TemporaryDirectory(prefix="warm") as folder:  # a socket's path has to be short
        process, command = warm.start(folder)
        yield command
        process.stdin.close()
        process.wait(timeout=30)


@pytest.fixture
def _warm_kernels(warm_python: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels of notebooks start warm."""
    monkeypatch.setattr("pairing.PYTHON", warm_python)


@pytest.fixture(scope="session")
def build_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a whole build, as `make book` makes it, outside the checkout; pytest-xdist's workers share one."""
    import build as book

    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0"))
    folder = (tmp_path_factory.getbasetemp().parent if workers else tmp_path_factory.mktemp("book")) / "_build"
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "html").is_dir():
            # The other workers have work of their own meanwhile, see pytest_collection_modifyitems.
            book.build(folder, progress=False, jobs=1 if workers > 1 else book.JOBS)
    return folder


@pytest.fixture(scope="session")
def site(build_folder: Path) -> Path:
    """Folder of the rendered pages."""
    return build_folder / "html"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Build the book first and read it last: one worker builds, and the others have all the other files meanwhile.

    The files that need the book keep together; one of them begins, those that need none follow, then the rest.
    """
    readers = dict.fromkeys(item.path for item in items if "build_folder" in getattr(item, "fixturenames", ()))
    first = next(iter(readers), None)
    items.sort(key=lambda item: 0 if item.path == first else 2 if item.path in readers else 1)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return ROOT
