"""What makes training fast changes nothing, and says what it did."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch
from torch import nn

from retlib import acceleration
from retlib.acceleration import _glibc, chosen_kernels, kept_memory, tensor_float
from retlib.batches import Batch
from retlib.training.optimisation import update_average
from retlib.training.scores import Running

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SHAPE = (2, 1, 32, 32)


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
    with kept_memory(CUDA) as on_gpu:
        assert not on_gpu
    with kept_memory(CPU) as kept:
        assert kept == (_glibc() is not None)
        assert not kept or faults_of_a_step() < pages / 2


def net() -> torch.nn.Module:
    """Parameters, and statistics of the batches."""
    torch.manual_seed(5)
    layers = (nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 1, 1))
    return nn.Sequential(*layers).to(memory_format=torch.channels_last).train()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16 amx_tile\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx2 amx_tile amx_bf16 amx_int8\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\nvmx flags\t: vnmi amx_bf16\n", False),
        ("processor\t: 0\nFeatures\t: fp asimd bf16\n", None),
        (None, None),
    ],
)
def test_units_for_bfloat16_are_read_from_the_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, expected: bool | None
) -> None:
    """No line of flags, as on a processor that is not x86, or no such file: unknown."""
    monkeypatch.setattr(acceleration, "CPUINFO", tmp_path / "cpuinfo")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")
    assert acceleration.bfloat16_units() is expected


def test_kernels_are_timed_for_one_shape_only_and_the_setting_comes_back() -> None:
    before = torch.backends.cudnn.benchmark
    for device, constant, expected in ((CPU, True, False), (CUDA, False, False), (CUDA, True, True)):
        with chosen_kernels(device, constant) as timed:
            assert timed is expected and torch.backends.cudnn.benchmark == (expected or before)
        assert torch.backends.cudnn.benchmark == before
    assert tensor_float(CPU) is None and set(tensor_float(CUDA)) == {"convolutions", "products"}


def test_the_average_is_torchs_own() -> None:
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    model = net()
    ours = AveragedModel(model, use_buffers=True)
    torchs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for _ in range(4):
        with torch.no_grad():
            model(torch.rand(SHAPE))
            for parameter in model.parameters():
                parameter.add_(torch.rand_like(parameter))
        update_average(ours, model, 0.9)
        torchs.update_parameters(model)
    assert ours.n_averaged == torchs.n_averaged == 4
    expected = torchs.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in ours.state_dict().items())


@pytest.mark.parametrize("masked", [False, True])
def test_running_scores_count_pixels(masked: bool) -> None:
    torch.manual_seed(0)
    shape = (3, 1, 17, 23)
    logits, running = torch.randn(shape), Running(CPU)
    vessels, fov = (torch.rand(shape) < 0.3).float(), (torch.rand(shape) < 0.8).float()
    mask = fov if masked else None
    for _ in range(2):
        running.add(torch.tensor(0.25), logits, Batch(logits, vessels, fov), mask)
    inside = fov.bool() if masked else torch.ones(shape, dtype=torch.bool)
    found, truth = (logits >= 0)[inside], vessels.bool()[inside]
    row = running.row("x")
    both = int((found & truth).sum())
    assert row["x_loss"] == 0.25
    assert row["x_accuracy"] == int((found == truth).sum()) / int(inside.sum())
    assert row["x_sensitivity"] == both / int(truth.sum())
    assert row["x_dice"] == 2 * both / (int(found.sum()) + int(truth.sum()))
