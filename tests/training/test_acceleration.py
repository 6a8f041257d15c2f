"""What makes training fast changes nothing, and says what it did."""

from __future__ import annotations

import resource
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from retlib.acceleration import (
    COMPILE_MARGIN,
    COMPILE_SECONDS,
    STEP_GAIN_SECONDS,
    _glibc,
    chosen_kernels,
    compile_or_not,
    kept_memory,
    tensor_float,
    why_not_compile,
)
from retlib.batches import Batch
from retlib.models import build_model
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


def test_compiling_follows_the_rule() -> None:
    needed = round(COMPILE_MARGIN * COMPILE_SECONDS / STEP_GAIN_SECONDS)
    assert why_not_compile(CUDA, needed, True) is None
    assert why_not_compile(CUDA, needed - 1, True) == f"{needed - 1} steps are planned, and it pays from {needed} on"
    assert why_not_compile(CUDA, needed, False) == "the shape of the batches changes"
    assert why_not_compile(CPU, needed, True) == "only on CUDA"


def net() -> torch.nn.Module:
    """Convolution, statistics and chance: all that a trial could leave a trace in."""
    torch.manual_seed(5)
    layers = (nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 1, 1))
    return nn.Sequential(*layers).to(memory_format=torch.channels_last).train()


def traces(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_a_compiled_pass_is_the_network_and_its_trial_leaves_no_trace() -> None:
    model = net()
    before, random = traces(model), torch.get_rng_state()
    forward, report = compile_or_not(model, SHAPE, CPU, nullcontext, backend="eager")
    assert report["compiled"] and report["why"] is None and report["compile_s"] > 0 and forward is not model
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in model.parameters())
    after = traces(model)
    assert list(after) == list(before), "the names are those of the plain network"
    assert all(torch.equal(after[name], before[name]) for name in before)

    image = torch.rand(SHAPE)
    torch.manual_seed(1)
    forward(image).sum().backward()
    found = [parameter.grad for parameter in model.parameters()]
    plain = net()
    torch.manual_seed(1)
    plain(image).sum().backward()
    for gradient, parameter in zip(found, plain.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad)
    assert forward(torch.rand(1, *SHAPE[1:])).shape == (1, 1, 32, 32), "another shape goes through the network itself"


def test_a_compiler_that_fails_is_reported_and_done_without() -> None:
    def broken(graph, inputs):
        raise OSError("no compiler here\nand a long story")

    model = net()
    before = traces(model)
    forward, report = compile_or_not(model, SHAPE, CPU, nullcontext, backend=broken)
    assert forward is model and not report["compiled"] and "no compiler here" in report["why"]
    assert "\n" not in report["why"]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert forward(torch.rand(SHAPE)).shape == SHAPE


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_inductor_compiles_a_network_on_the_gpu() -> None:
    model = build_model("unet", width=4, depth=2).to(CUDA).train()
    image = torch.rand(SHAPE, device=CUDA)
    forward, report = compile_or_not(model, SHAPE, CUDA, nullcontext)
    assert report["compiled"], report["why"]
    torch.testing.assert_close(forward(image), model(image), rtol=1e-3, atol=1e-3)


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
