"""Write on a disk that is full, and look at the error and at what is there afterwards."""

from __future__ import annotations

import contextlib
import errno
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.robustness.writers import Writer


@contextlib.contextmanager
def small_disk(folder: Path, kibibytes: int = 4096) -> Iterator[bool]:
    """Mount a small disk in memory at a folder; whether that worked: it takes root on Linux."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


def fill(folder: Path, left: int) -> None:
    """Fill the disk of a folder but for ``left`` bytes."""
    block = bytes(2**16)
    with contextlib.suppress(OSError), (folder / "filling").open("wb", buffering=0) as file:
        while True:
            file.write(block)
    with (folder / "filling").open("r+b") as file:
        file.truncate(max(0, (folder / "filling").stat().st_size - left))


@contextlib.contextmanager
def short_files(most: int) -> Iterator[None]:
    """Let no file of this process grow beyond ``most`` bytes, where no small disk can be mounted."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_on_a_full_disk(writer: Writer, folder: Path, left: int) -> str:
    """Write a new version where only ``left`` bytes fit.

    Returns:
        The error's message.

    Raises:
        AssertionError: there was no error, or another one; what was there before is gone, or something was left.
    """
    with small_disk(folder) as mounted:
        writer.write(folder, 0)
        writer.write(folder, 1)  # so that whatever a first version brings along is there
        writer.write(folder, 0)
        before = _listing(folder)
        if mounted:
            fill(folder, left)
        try:
            with contextlib.nullcontext() if mounted else short_files(left):
                writer.write(folder, 1)
        except OSError as error:
            message = str(error)
        else:
            raise AssertionError(f"{writer.name}: nothing was said of the full disk")
        assert "\n" not in message and any(word in message for word in ("space left", "too large")), message
        (folder / "filling").unlink(missing_ok=True)
        assert _listing(folder) == before, f"{writer.name}: left behind {_listing(folder) - before}"
        assert writer.read(folder) == 0, f"{writer.name}: the earlier version is gone"
    return message


def is_full(error: OSError) -> bool:
    """Tell whether an error is that of a full disk, or of a file beyond the limit."""
    return error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def _listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
