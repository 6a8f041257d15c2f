"""Clocks, memory, the machine in words, and the JSON files of measurements in book/records."""

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

from retlib.files import write_whole

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "book" / "records"
MOST_THREADS = 2  # the limits are for two cores


class Seconds(NamedTuple):
    """Medians over the repetitions: wall time, and CPU time summed over the threads of the process."""

    wall: float
    cpu: float


def timed(work: Callable[[], object], *, least: int = 3, budget: float = 1.0) -> Seconds:
    """Run ``work`` once to warm up, then at least ``least`` times and until ``budget`` seconds are spent."""
    work()
    walls: list[float] = []
    cpus: list[float] = []
    while len(walls) < least or sum(walls) < budget:
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Seconds(statistics.median(walls), statistics.median(cpus))


def usable_threads() -> int:
    """Count the cores that this process may use, two at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_THREADS, cores)


def use_threads() -> None:
    """Give torch two threads, or one where there is one core."""
    import torch

    torch.set_num_threads(usable_threads())


def machine() -> dict[str, Any]:
    """Describe the machine: processor, cores, threads in use, torch's version and load (mean of running processes)."""
    import torch

    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": usable_threads(),
        "torch": torch.__version__.partition("+")[0],
        "load": round(os.getloadavg()[0], 1),
    }


def processor_name() -> str:
    """Ask the system for the processor's name, such as ``AMD EPYC``."""
    if sys.platform == "darwin":
        asked = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        return asked.stdout.strip() or platform.machine()
    named = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def today() -> str:
    """Return the date, UTC, as ``2026-01-31``."""
    return datetime.now(UTC).date().isoformat()


class PeakMemory:
    """Peak memory of this process since the object was made.

    Linux resets the peak when asked to. Elsewhere the peak may be an earlier one; a small workload then adds nothing.
    """

    def __init__(self) -> None:
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        except OSError:
            pass
        self.before = _peak_mib()

    def reached(self) -> tuple[float, float]:
        """Return (MiB added since the start, MiB of the whole process) at the peak."""
        peak = _peak_mib()
        return peak - self.before, peak


def _peak_mib() -> float:
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
    """Read a file that :func:`write_json` wrote; an empty dictionary if there is none.

    Raises:
        ValueError: it is no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON ({error}); delete the file and measure again") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(content).__name__}; delete it and measure again")
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
