"""What makes training fast without changing what it computes: memory, kernels, compilation.

On the CPU nothing here changes a bit of any number. On CUDA the choice of kernels may move last bits, as it does from
one GPU to the next; what was used is reported, and a record keeps it.
"""

from __future__ import annotations

import ctypes
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

# Compilation, by a rule that looks at nothing measured, so that the same run always decides the same way.
# Assumed: what inductor takes for the forward and backward graphs of a network of this study, at the slow end.
COMPILE_SECONDS = 90.0
# Assumed: what a compiled step saves, by launching fewer kernels and passing over the maps fewer times; about a tenth
# of a full-size U-Net's step on a GPU of a data centre.
STEP_GAIN_SECONDS = 0.004
# Both are guesses, so the gain has to be clear: twice what it costs.
COMPILE_MARGIN = 2.0

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


def why_not_compile(device: torch.device, steps: int, constant_shape: bool) -> str | None:
    """Why a network is not compiled for ``steps`` optimiser steps; None if it is to be.

    It is on CUDA, for batches of one shape, where what the steps save (`STEP_GAIN_SECONDS` each) is at least
    `COMPILE_MARGIN` times `COMPILE_SECONDS`.
    """
    if device.type != "cuda":
        return "only on CUDA"
    if not constant_shape:
        return "the shape of the batches changes"
    needed = round(COMPILE_MARGIN * COMPILE_SECONDS / STEP_GAIN_SECONDS)
    if steps < needed:
        return f"{steps} steps are planned, and it pays from {needed} on"
    return None


def compile_or_not(
    model: nn.Module,
    shape: tuple[int, int, int, int],
    device: torch.device,
    context: Callable[[], torch.autocast],
    *,
    backend: str = "inductor",
) -> tuple[Callable[[torch.Tensor], torch.Tensor], dict[str, Any]]:
    """A compiled forward pass of a network in training, tried once forward and backward, or the network itself.

    The compiled pass shares the network's parameters, and the network stays what is saved, averaged and validated.
    Batches of another shape, such as the last one of an epoch, go through the network as it is. Nothing is left of the
    trial: no gradient, no statistics, no random number.

    Args:
        model: on ``device``, in training mode.
        shape: (N, C, h, w) of a full batch.
        device: where it trains.
        context: the autocast that training runs under.
        backend: of ``torch.compile``.

    Returns:
        The forward pass, and a report: ``compiled``, ``compile_s`` (seconds the trial took), ``why`` (the error, where
        it failed).
    """
    started = time.perf_counter()
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    example = torch.zeros(shape, device=device).contiguous(memory_format=torch.channels_last)
    why = None
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            compiled = torch.compile(model, dynamic=False, backend=backend)
            with context():
                logits = compiled(example)
            logits.float().sum().backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
    except Exception as error:  # whatever a compiler may say: training goes on without it
        why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    finally:
        model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
    report = {"compiled": why is None, "compile_s": time.perf_counter() - started, "why": why}
    if why is not None:
        return model, report
    return lambda image: compiled(image) if tuple(image.shape) == tuple(shape) else model(image), report
