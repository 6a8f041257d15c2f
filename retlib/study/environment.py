"""Record what a run was made with: versions, hardware, driver and peak memory."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from importlib import metadata
from typing import Any

import torch

import retlib

PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "opencv-python-headless", "albumentations")


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
