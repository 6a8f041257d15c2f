"""Multiply-adds against sums worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from retlib.models import build_model, list_models, multiply_adds


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(3, 8, kernel_size=3, padding=1), 10 * 12 * 8 * 3 * 9),
        (nn.Conv2d(3, 8, kernel_size=3, padding=1, stride=2), 5 * 6 * 8 * 3 * 9),
        (nn.Conv2d(3, 8, kernel_size=3, padding=6, dilation=6), 10 * 12 * 8 * 3 * 9),
        (nn.ConvTranspose2d(3, 8, kernel_size=2, stride=2), 10 * 12 * 3 * 8 * 4),
        (nn.BatchNorm2d(3), 0),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 7)), 3 * 7),
    ],
)
def test_one_layer(layer, expected):
    assert multiply_adds(layer, 3, 10, 12) == expected


def unet_cost(channels: int, width: int, depth: int, height: int, columns: int) -> int:
    widths = [width * 2**stage for stage in range(depth + 1)]
    total, before = 0, channels
    for stage, after in enumerate(widths):
        pixels = height * columns // 4**stage
        total += pixels * 9 * (before * after + after * after)
        before = after
        if stage < depth:  # the decoder level: up-convolution from the stage below, then 2 * after -> after -> after
            total += pixels // 4 * 4 * (2 * after) * after + pixels * 9 * (2 * after * after + after * after)
    return total + height * columns * width


@pytest.mark.parametrize(("channels", "width", "depth"), [(1, 64, 4), (3, 8, 2)])
def test_unet(channels, width, depth):
    model = build_model("unet", in_channels=channels, width=width, depth=depth)
    assert multiply_adds(model, channels, 64, 96) == unet_cost(channels, width, depth, 64, 96)


def test_the_padding_counts():
    model = build_model("unet", width=4, depth=4)
    assert multiply_adds(model, 1, 61, 75) == multiply_adds(model, 1, 64, 80) == unet_cost(1, 4, 4, 64, 80)


def test_four_times_the_pixels_cost_four_times_as_much():
    model = build_model("af_unet", width=4)
    assert multiply_adds(model, 1, 128, 128) == 4 * multiply_adds(model, 1, 64, 64)


@pytest.mark.parametrize("name", list_models())
def test_every_model_is_counted_and_stays_as_it_was(name):
    model = build_model(name, width=8)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert multiply_adds(model, 1, 64, 64) > 0
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 0, 64), "height must be a whole number of at least 1, not 0"),
        ((1, 64, 64.0), "width must be a whole number of at least 1, not 64.0"),
        ((True, 64, 64), "channels must be a whole number of at least 1, not True"),
        ((3, 64, 64), r"takes a floating \(N, 1, H, W\) batch"),
    ],
)
def test_a_bad_size_is_one_clear_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        multiply_adds(build_model("unet", width=4, depth=2), *arguments)
