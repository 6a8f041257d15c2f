"""Freed memory is used again while a network trains on the CPU."""

from __future__ import annotations

import resource

import torch

from retlib.device import _glibc, keep_freed_memory


def faults_of_a_step() -> float:
    """Pages that the system had to map for four maps of 48 MiB, as a step holds and frees them, after three others."""
    for step in range(6):
        if step == 3:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        maps = [torch.ones(12 * 2**20) for _ in range(4)]
        del maps
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 3


def test_freed_memory_is_used_again() -> None:
    """Blocks of that size go back to the system when they are freed, and all of their pages come anew."""
    pages = 4 * 48 * 2**20 / resource.getpagesize()
    with keep_freed_memory(torch.device("cuda")) as on_gpu:
        assert not on_gpu
    with keep_freed_memory(torch.device("cpu")) as kept:
        assert kept == (_glibc() is not None)
        assert not kept or faults_of_a_step() < pages / 2
