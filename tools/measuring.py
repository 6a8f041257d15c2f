"""What benchmarks and cost curves share: threads, the machine in words, clocks, memory, files written whole."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "book" / "records"

# The limits speak of two cores.
MOST_THREADS = 2


class Seconds(NamedTuple):
    """Medians over the repetitions: by the clock on the wall, and of one core over all threads of the process."""

    wall: float
    cpu: float


def timed(work: Callable[[], object], *, least: int = 3, budget: float = 1.0) -> Seconds:
    """Run ``work`` once unseen, then at least ``least`` times and until ``budget`` seconds are spent."""
    work()
    walls: list[float] = []
    cpus: list[float] = []
    while len(walls) < least or sum(walls) < budget:
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Seconds(statistics.median(walls), statistics.median(cpus))


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_threads() -> int:
    """Give torch two threads, or one where there is one core; how many it got."""
    import torch

    torch.set_num_threads(min(MOST_THREADS, usable_cores()))
    return torch.get_num_threads()


def machine() -> dict[str, Any]:
    """Processor, its cores, the threads used, torch's version, and the load (processes that were running) just now."""
    import torch

    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": min(MOST_THREADS, usable_cores()),
        "torch": torch.__version__.partition("+")[0],
        "load": round(os.getloadavg()[0], 1),
    }


def processor_name() -> str:
    """As the system calls it: ``AMD EPYC``."""
    if sys.platform == "darwin":
        asked = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        return asked.stdout.strip() or platform.machine()
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def today() -> str:
    """The date, UTC, ``2026-01-31``."""
    return datetime.now(UTC).date().isoformat()


class PeakMemory:
    """Memory of this process from here on: ``PeakMemory().reached()``.

    Linux forgets the highest mark of the past when asked to. Elsewhere that mark may lie before this point, and a
    small piece of work then shows as none.
    """

    def __init__(self) -> None:
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        except OSError:
            pass
        self.before = _highest_mib()

    def reached(self) -> tuple[float, float]:
        """(MiB more than at the start, MiB in all) at the highest point since the start."""
        highest = _highest_mib()
        return highest - self.before, highest


def _highest_mib() -> float:
    for line in _lines("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**10
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="ignore").splitlines()
    except OSError:
        return []


def read_json(path: Path) -> dict[str, Any]:
    """Content of a file that :func:`write_json` wrote; empty if there is none.

    Raises:
        ValueError: it is no JSON object.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON ({error}); delete the file and measure again") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(content).__name__}; delete it and measure again")
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file whole or not at all."""
    from retlib.files import write_whole

    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
