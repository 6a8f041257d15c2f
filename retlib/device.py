"""Find out what this machine computes with, choose a device, keep its memory, and describe it for a record."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import torch

import retlib

PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "opencv-python-headless", "albumentations")
# mallopt's parameters and glibc's own limits, from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_LARGEST_MMAP_THRESHOLD = 32 * 2**20
_MMAP_MAX = 65536


def usable_cores() -> int:
    """Count the CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_bfloat16() -> bool:
    """Tell whether this processor has bfloat16 instructions (AVX512_BF16 or AMX) that torch can use.

    Others emulate bfloat16, which takes longer than float32.
    """
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return torch.backends.mkldnn.is_available() and any(getattr(torch.cpu, name, bool)() for name in names)


def autocast(device: torch.device, cuda: bool, cpu: bool = False) -> torch.autocast:
    """Return the bfloat16 autocast of a device: enabled by ``cuda`` on a GPU and by ``cpu`` on the processor."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled={"cuda": cuda, "cpu": cpu}.get(device.type, False))


def pick_device(name: str) -> torch.device:
    """Return the device that a name stands for.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1``, ...; ``auto`` takes CUDA where there is one.

    Raises:
        ValueError: an unknown name, or a CUDA device that torch does not see.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"device: expected 'auto', 'cpu', 'cuda' or 'cuda:N', got {name!r}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device: {name!r} was asked for, but torch sees no CUDA device here; use 'cpu' or 'auto'")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device: {name!r} was asked for, but torch sees {torch.cuda.device_count()} CUDA device(s)")
    return device


def environment(device: torch.device) -> dict[str, Any]:
    """List versions and hardware, as far as they can change scores or times."""
    content = {
        "retlib": retlib.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "device": device.type,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "peak_memory_mib": peak_memory_mib(device),
    }
    if device.type == "cuda":
        content |= {
            "gpu": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "driver": _driver_version(),
        }
    return content


def peak_memory_mib(device: torch.device) -> float:
    """Read the peak memory in MiB: on CUDA of the tensors since the last reset, else of this process since it began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource  # Windows has none

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux KiB


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _driver_version() -> str | None:
    """Ask nvidia-smi for the driver's version; all GPUs of a machine have the same. None without an answer."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    return answer[0] if answer else None


@contextmanager
def keep_freed_memory(device: torch.device) -> Iterator[bool]:
    """Keep freed memory in the process while a network trains on the CPU; no number changes.

    A step frees its feature maps, and the next step asks for the same sizes again. glibc returns such large blocks to
    the system at once, which clears and maps each page anew in every step: about a tenth of the time of a small U-Net
    on patches, a quarter to a third on whole photographs. Keeping the blocks costs up to a sixth more memory. On
    leaving, the memory goes back and the thresholds take glibc's largest values. Other C libraries, and torch's memory
    pools on CUDA, stay as they are. Yields whether freed memory is kept.
    """
    library = _glibc() if device.type == "cpu" else None
    kept = library is not None and bool(library.mallopt(_M_MMAP_MAX, 0) and library.mallopt(_M_TRIM_THRESHOLD, -1))
    try:
        yield kept
    finally:
        if kept:
            library.mallopt(_M_MMAP_MAX, _MMAP_MAX)
            library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
            library.mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST_MMAP_THRESHOLD)
            library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
