"""Measure steps per second of retlib's training loop, and count the FLOPs of a step, on the processor or a GPU."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import torch
from torch.utils.flop_counter import FlopCounterMode

from retlib.data import load_dataset
from retlib.preprocessing import InputSettings, Prepared, prepare
from retlib.studies import load_study
from retlib.study import RunConfig
from retlib.study.runner import build
from retlib.training import TrainingSettings, fit

STEPS = 10  # in an epoch of a measurement


def lite_config() -> RunConfig:
    """Return the config of the one protocol's U-Net on DRIVE, lite profile: 160x160 patches, batch 8."""
    return load_study("one-protocol").runs("lite")["drive-unet"]


def phantom_samples(inputs: InputSettings, count: int = 4) -> list[Prepared]:
    """Prepare synthetic images of DRIVE's size at the working size of the settings."""
    return [prepare(sample, inputs) for sample in load_dataset("phantom", split="training", count=count)]


def bare_settings(config: RunConfig, epochs: int, bfloat16: bool) -> TrainingSettings:
    """Change the config's training to that of a plain loop: loss on whole patches, constant rate, no clipping."""
    training = config.training
    patches = training.patches.model_copy(update={"per_epoch": STEPS * training.batch_size})
    changes = {"epochs": epochs, "patches": patches, "loss_region": "frame", "schedule": "constant"}
    changes |= {"gradient_clip": None, "amp": bfloat16, "amp_cpu": bfloat16}
    return training.model_copy(update=changes)


def epoch_seconds(
    samples: list[Prepared], config: RunConfig, *, epochs: int, bfloat16: bool, device: str = "cpu"
) -> list[float]:
    """Time ``epochs`` epochs of ``STEPS`` steps in :func:`retlib.training.fit`, after one that warms up."""
    ends: list[float] = []
    settings = bare_settings(config, epochs + 1, bfloat16)
    fit(
        lambda: build(config),
        samples,
        [],
        settings,
        config.inputs,
        seed=0,
        device=torch.device(device),
        progress=lambda *_: ends.append(time.perf_counter()),
    )
    return [end - start for start, end in pairwise(ends)]


def step_flops(config: RunConfig) -> int:
    """Count the FLOPs of forward and backward pass of one step from shapes: convolutions and matrix products."""
    side = config.training.patches.size
    model = build(config).to("meta").train()
    image = torch.empty(config.training.batch_size, config.inputs.channels, side, side, device="meta")
    counter = FlopCounterMode(display=False)
    with counter:
        model(image).sum().backward()
    return counter.get_total_flops()


def product_rate(device: str, bfloat16: bool) -> float:
    """Measure the highest FLOPs per second of a square matrix product: 2048 wide on the processor, 8192 on a GPU.

    The product is computed as such and as a convolution with a kernel of one pixel, and the faster one counts: torch
    leaves float32 products on a processor to MKL, which has half the speed of oneDNN's convolutions on some processors.
    On a GPU float32 means TF32, which torch's convolutions use there as well.
    """
    side = 8192 if device == "cuda" else 2048
    kind = torch.bfloat16 if bfloat16 else torch.float32
    left, right = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    pixels = left.view(1, side, side // 32, 32).contiguous(memory_format=torch.channels_last)
    kernels = right.view(side, side, 1, 1).contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def seconds(product: Callable[..., torch.Tensor], *operands: torch.Tensor) -> float:
        started = time.perf_counter()
        product(*operands)
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if device == "cuda" else precision)
    try:
        ways = ((torch.mm, left, right), (torch.nn.functional.conv2d, pixels, kernels))
        best = min(seconds(*way) for _ in range(11) for way in ways)
    finally:
        torch.set_float32_matmul_precision(precision)
    return 2 * side**3 / best


def utilisation(device: str, bfloat16: bool) -> tuple[float, float]:
    """Return FLOPs per second of the training loop, and of the matrix product (the better one of before and after)."""
    config = lite_config()
    before = product_rate(device, bfloat16)
    seconds = epoch_seconds(phantom_samples(config.inputs), config, epochs=3, bfloat16=bfloat16, device=device)
    rate = max(before, product_rate(device, bfloat16))
    return step_flops(config) * STEPS / statistics.median(seconds), rate
