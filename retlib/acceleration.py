"""What makes training fast without changing what it computes (memory, kernels), and what the processor can do.

On the CPU nothing here changes a bit of any number. On CUDA the choice of kernels may move last bits, as it does from
one GPU to the next; what was used is reported, and a record keeps it.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})

# mallopt's parameters and glibc's own limits, from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_LARGEST_MMAP_THRESHOLD = 32 * 2**20
_MMAP_MAX = 65536


@contextmanager
def kept_memory(device: torch.device) -> Iterator[bool]:
    """Keep freed memory in the process while a network trains on the CPU; yields whether that was possible.

    A step frees its maps and the next one asks for the same again. glibc gives blocks of such a size back to the system
    at once, and each page of them is cleared and mapped anew in every step: about a tenth of the time of a small U-Net
    on patches, a quarter to a third on whole photographs. The price is up to a sixth more memory, in gaps. Afterwards
    the memory goes back, and the thresholds stand where glibc's own adaption ends. Other C libraries are left alone,
    and so are torch's memory pools on CUDA.
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


@contextmanager
def chosen_kernels(device: torch.device, constant_shape: bool) -> Iterator[bool]:
    """Let cuDNN time its convolutions and take the fastest, where all batches have one shape; yields whether it does.

    With changing shapes each one would be timed anew. The setting is put back afterwards.
    """
    before = torch.backends.cudnn.benchmark
    wanted = device.type == "cuda" and constant_shape
    if wanted:
        torch.backends.cudnn.benchmark = True
    try:
        yield wanted
    finally:
        torch.backends.cudnn.benchmark = before


def tensor_float(device: torch.device) -> dict[str, bool] | None:
    """Whether float32 convolutions and matrix products may round to TensorFloat-32; None on the CPU.

    retlib leaves torch's settings as they are: allowed in convolutions, not in products. Under bfloat16 autocast, the
    default on CUDA, neither is computed in float32 anyway.
    """
    if device.type != "cuda":
        return None
    return {
        "convolutions": torch.backends.cudnn.allow_tf32,
        "products": torch.backends.cuda.matmul.allow_tf32,
    }


def bfloat16_units() -> bool | None:
    """Say whether this processor computes in bfloat16 by itself: AMX or AVX-512 instructions for it.

    None where :func:`processor_flags` is.
    """
    flags = processor_flags()
    return None if flags is None else not BFLOAT16_FLAGS.isdisjoint(flags)


def processor_flags() -> list[str] | None:
    """Read the processor's flags; None where Linux lists none: on other systems, and if the processor is not x86."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), None)
