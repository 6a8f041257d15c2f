"""What the hardware did while a network trained: throughput, memory, utilisation, energy.

Everything is read where it can be and is None where it cannot: nothing here is needed, and nothing here can stop a run.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch

from retlib.training import Trained

EVERY_SECONDS = 1.0  # between two readings
POWERCAP = Path("/sys/class/powercap")


class Reading(NamedTuple):
    """One look at the hardware."""

    utilisation: float | None = None  # per cent of the time that the GPU ran a kernel, as its driver sees it
    watts: float | None = None  # drawn now
    joules: float | None = None  # drawn since the first reading, by a counter of the hardware's own


@dataclass
class Usage:
    """What :func:`metered` found."""

    seconds: float | None = None
    utilisation: float | None = None  # per cent, mean of the readings
    joules: float | None = None


Reader = Callable[[], Reading]


@contextmanager
def metered(device: torch.device, *, read: Reader | None = None, every: float = EVERY_SECONDS) -> Iterator[Usage]:
    """Watch a device in a background thread; the `Usage` that is yielded is filled in at the end.

    Args:
        device: the GPU is watched on CUDA; the processor's packages elsewhere (the whole machine's, whoever uses them).
        read: another way to look.
        every: seconds between two readings.
    """
    read = reader(device) if read is None else read
    if device.type == "cuda":
        torch.cuda.init()
        torch.cuda.reset_peak_memory_stats(device)
    usage, readings, stop = Usage(), [], threading.Event()

    def look() -> bool:
        try:
            readings.append((time.perf_counter(), read()))
        except Exception:  # a driver that answers no longer is no reason to stop a run
            return False
        return True

    def watch() -> None:
        while look() and not stop.wait(every):
            pass

    started = time.perf_counter()
    thread = threading.Thread(target=watch, daemon=True, name="retlib-telemetry") if read is not None else None
    if thread is not None:
        thread.start()
    try:
        yield usage
    finally:
        usage.seconds = time.perf_counter() - started
        if thread is not None:
            stop.set()
            thread.join()
            look()
            usage.utilisation, usage.joules = summed(readings)


def summed(readings: list[tuple[float, Reading]]) -> tuple[float | None, float | None]:
    """Mean utilisation in per cent, and joules: by the counter, else power over time by the trapezium rule.

    Args:
        readings: (seconds on any clock, reading), in order.
    """
    used = [reading.utilisation for _, reading in readings if reading.utilisation is not None]
    counted = [reading.joules for _, reading in readings if reading.joules is not None]
    drawn = [(when, reading.watts) for when, reading in readings if reading.watts is not None]
    joules = None
    if len(counted) > 1:
        joules = counted[-1] - counted[0]
    elif len(drawn) > 1:
        joules = sum((t1 - t0) * (w0 + w1) / 2 for (t0, w0), (t1, w1) in pairwise(drawn))
    return (sum(used) / len(used) if used else None), joules


def reader(device: torch.device) -> Reader | None:
    """A way to look at a device, or None: NVML through torch, ``nvidia-smi``, or the processor's energy counters."""
    ways: list[Reader] = [lambda: by_nvml(device), lambda: by_smi(device)] if device.type == "cuda" else [Rapl()]
    for way in ways:
        try:
            if any(value is not None for value in way()):
                return way
        except Exception:  # not installed, not there, not allowed: the next one
            continue
    return None


def by_nvml(device: torch.device) -> Reading:
    """By NVML, which torch asks where the package pynvml is installed; an error where it is not."""
    return Reading(float(torch.cuda.utilization(device)), torch.cuda.power_draw(device) / 1000)


def by_smi(device: torch.device) -> Reading:
    """By the command ``nvidia-smi``; an error where there is none."""
    utilisation, watts = ask_smi(device, "utilization.gpu,power.draw")
    return Reading(_number(utilisation), _number(watts))


def ask_smi(device: torch.device, query: str) -> list[str]:
    """The values of a ``--query-gpu`` of ``nvidia-smi`` about one device.

    Raises:
        OSError: there is no such command, or it failed, or said nothing for ten seconds.
    """
    command = shutil.which("nvidia-smi")
    if command is None:
        raise FileNotFoundError("nvidia-smi is not on the PATH")
    try:
        done = subprocess.run(
            [command, f"--id={_identifier(device)}", f"--query-gpu={query}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except subprocess.SubprocessError as error:
        raise OSError(f"nvidia-smi gave no answer: {error}") from error
    return [value.strip() for value in done.stdout.strip().splitlines()[0].split(",")]


def _identifier(device: torch.device) -> str:
    """What nvidia-smi calls a device: its UUID, since CUDA_VISIBLE_DEVICES renumbers only what CUDA sees."""
    if not torch.cuda.is_available():
        return str(device.index or 0)
    found = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    return str(device.index or 0) if found is None else f"GPU-{found}"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # "[N/A]"
        return None


class Rapl:
    """The energy counters of the processor's packages, which Linux often lets only root read.

    Args:
        folder: where the kernel shows them.
    """

    def __init__(self, folder: Path = POWERCAP) -> None:
        self._packages = sorted(path for path in folder.glob("*-rapl:*") if path.name.count(":") == 1)
        self._last: list[int] | None = None
        self._total = 0

    def __call__(self) -> Reading:
        """Joules since the first call; an empty reading where the kernel shows no counters."""
        if not self._packages:
            return Reading()
        now = [int((package / "energy_uj").read_text()) for package in self._packages]
        for package, before, value in zip(self._packages, self._last or now, now, strict=True):
            # The counter starts anew at its end, after some minutes under load.
            whole = int((package / "max_energy_range_uj").read_text()) if value < before else 0
            self._total += value - before + whole
        self._last = now
        return Reading(joules=self._total / 1e6)


def peak_memory_mib(device: torch.device) -> float | None:
    """On CUDA the most that tensors took since :func:`metered` began; else the process's own peak, since its start."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux KiB


def telemetry(trained: Trained, usage: Usage, device: torch.device, sample: str) -> dict[str, Any]:
    """What a record keeps of a training's hardware.

    Args:
        trained: its steps and times, over all parts of a run that was resumed.
        usage: from :func:`metered`, of the last part.
        device: where it ran.
        sample: ``image`` or ``patch``, what a batch holds.

    Returns:
        ``sample``; ``samples_per_s`` and ``steps_per_s`` of the training steps alone; ``peak_memory_mib``, see
        :func:`peak_memory_mib`; ``metered_s``, the seconds that the following were read for, validation included;
        ``gpu_utilisation`` (mean, per cent); ``energy_j`` and ``energy_wh``, of the GPU or of the processor's packages.
    """
    seconds = trained.step_seconds
    return {
        "sample": sample,
        "samples_per_s": trained.samples / seconds if seconds else None,
        "steps_per_s": trained.steps / seconds if seconds else None,
        "peak_memory_mib": peak_memory_mib(device),
        "metered_s": usage.seconds,
        "gpu_utilisation": usage.utilisation,
        "energy_j": usage.joules,
        "energy_wh": None if usage.joules is None else usage.joules / 3600,
    }


def gpu_environment(device: torch.device) -> dict[str, Any]:
    """Name, CUDA and cuDNN versions and the driver's of a CUDA device; empty for another one."""
    if device.type != "cuda":
        return {}
    try:
        (driver,) = ask_smi(device, "driver_version")
    except Exception:  # no nvidia-smi: everything else is known all the same
        driver = None
    return {
        "gpu": torch.cuda.get_device_name(device),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "driver": driver,
    }
