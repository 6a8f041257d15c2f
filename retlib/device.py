"""Find out what this machine computes with: cores, and bfloat16."""

from __future__ import annotations

import os

import torch


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
