"""What the hardware did is read where it can be, and never stops a run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from retlib.experiments.telemetry import (
    Rapl,
    Reading,
    Usage,
    ask_smi,
    by_smi,
    gpu_environment,
    metered,
    peak_memory_mib,
    reader,
    summed,
    telemetry,
)
from retlib.training import Trained

CPU, CUDA = torch.device("cpu"), torch.device("cuda:1")


def smi(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> Path:
    """A command of that name that notes what it was asked."""
    command = folder / "nvidia-smi"
    command.write_text(f'#!/bin/sh\necho "$@" > "{folder}/asked"\n{answer}\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder / "asked"


def test_power_is_summed_over_time_and_a_counter_is_believed_first() -> None:
    drawn = [(0.0, Reading(50.0, 100.0)), (2.0, Reading(100.0, 200.0)), (3.0, Reading(90.0, 200.0))]
    assert summed(drawn) == (80.0, 500.0)
    counted = [(when, reading._replace(joules=10.0 * when)) for when, reading in drawn]
    assert summed(counted) == (80.0, 30.0)
    assert summed([]) == (None, None) == summed([(0.0, Reading())])
    assert summed(drawn[:1]) == (50.0, None)


def test_a_device_is_read_while_it_works() -> None:
    calls = []

    def read() -> Reading:
        calls.append(time.perf_counter())
        return Reading(70.0, 250.0)

    with metered(CPU, read=read, every=0.01) as usage:
        time.sleep(0.1)
    assert len(calls) >= 3 and usage.utilisation == 70.0
    assert usage.joules == pytest.approx(250 * (calls[-1] - calls[0]), rel=0.2) and usage.seconds >= 0.1


def test_a_driver_that_fails_and_a_run_that_fails() -> None:
    def broken() -> Reading:
        raise RuntimeError("NVML: lost")

    with metered(CPU, read=broken, every=0.01) as usage:
        time.sleep(0.03)
    assert usage.utilisation is None and usage.joules is None and usage.seconds > 0
    with pytest.raises(KeyError, match="own"), metered(CPU, read=lambda: Reading(1.0, 2.0)) as usage:
        raise KeyError("own")
    assert usage.utilisation == 1.0


def test_nvidia_smi_is_asked_about_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # where there is one, its UUID would be asked for
    monkeypatch.delattr(torch.cuda, "utilization")  # and NVML, before the command
    asked = smi(tmp_path, monkeypatch, 'echo "87, 312.45"')
    assert by_smi(CUDA) == Reading(87.0, 312.45)
    assert asked.read_text().split() == [
        "--id=1",
        "--query-gpu=utilization.gpu,power.draw",
        "--format=csv,noheader,nounits",
    ]
    found = reader(CUDA)
    assert found() == Reading(87.0, 312.45)
    smi(tmp_path, monkeypatch, 'echo "[N/A], 40.5"')
    assert by_smi(CUDA) == Reading(None, 40.5)
    smi(tmp_path, monkeypatch, "exit 9")
    assert reader(CUDA) is None
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(OSError, match="nvidia-smi"):
        ask_smi(CUDA, "driver_version")


def package(folder: Path, number: int, used: int) -> Path:
    zone = folder / f"intel-rapl:{number}"
    zone.mkdir(exist_ok=True)
    (zone / "energy_uj").write_text(f"{used}\n")
    (zone / "max_energy_range_uj").write_text("1000000000\n")
    return zone


def test_energy_counters_of_the_processor(tmp_path: Path) -> None:
    for number, used in ((0, 5_000_000), (1, 999_000_000)):
        package(tmp_path, number, used)
    package(tmp_path, 0, 5_000_000).joinpath("intel-rapl:0:0").mkdir()
    counters = Rapl(tmp_path)
    assert counters() == Reading(joules=0.0)
    package(tmp_path, 0, 8_000_000)
    package(tmp_path, 1, 1_000_000)  # over the end: 1 J to it, 1 J since
    assert counters() == Reading(joules=5.0)
    assert Rapl(tmp_path / "nowhere")() == Reading()


def test_what_a_record_keeps() -> None:
    trained = Trained(torch.nn.Identity(), [], 1, 12.0, 40, samples=320, step_seconds=10.0)
    content = telemetry(trained, Usage(13.0, None, 7200.0), CPU, "patch")
    assert content["steps_per_s"] == 4.0 and content["samples_per_s"] == 32.0 and content["energy_wh"] == 2.0
    assert content["gpu_utilisation"] is None and content["metered_s"] == 13.0 and content["sample"] == "patch"
    assert 20 < content["peak_memory_mib"] == pytest.approx(peak_memory_mib(CPU), rel=0.2)
    resumed = Trained(torch.nn.Identity(), [], 1, 12.0, 40)
    assert telemetry(resumed, Usage(), CPU, "image")["samples_per_s"] is None
    assert gpu_environment(CPU) == {}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_watched() -> None:
    device = torch.device("cuda")
    with metered(device, every=0.05) as usage:
        torch.rand(2048, 2048, device=device).matmul(torch.rand(2048, 2048, device=device)).sum().item()
    assert usage.seconds > 0 and peak_memory_mib(device) > 8
    assert gpu_environment(device)["gpu"] == torch.cuda.get_device_name(device)
