"""A record says what made it; what cannot be read is None and stops no run."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from retlib import device as module
from retlib.device import environment, peak_memory_mib

CPU = torch.device("cpu")


def test_versions_and_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGES", ("torch", "no-such-package"))
    content = environment(CPU)
    assert content["packages"] == {"torch": metadata.version("torch"), "no-such-package": None}
    assert (content["device"], content["threads"]) == ("cpu", torch.get_num_threads())
    assert content["python"] == sys.version.split()[0]


def test_peak_memory() -> None:
    before = peak_memory_mib(CPU)
    block = bytearray(b"x") * (64 * 2**20)
    assert 20 < before <= peak_memory_mib(CPU) < before + 1000 and len(block) == 64 * 2**20


@pytest.mark.parametrize(
    ("script", "version"), [("echo 580.65.06; echo 580.65.06", "580.65.06"), ("exit 9", None), ("true", None)]
)
def test_the_driver_is_named_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, version: str | None
) -> None:
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert module._driver_version() == version
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert module._driver_version() is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_named() -> None:
    content = environment(torch.device("cuda"))
    assert content["gpu"] == torch.cuda.get_device_name(0)
    assert {"cuda", "cudnn", "driver"} <= set(content)
