"""U-Net: its parameter count, and its values against a plain functional reference."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from retlib.models import build_model, count_parameters
from retlib.models.blocks import pad_to_multiple


def expected_count(channels: int, width: int, depth: int) -> int:
    """From the layer list: 3x3 convs without bias, BN pairs, up-convs and a 1x1 with bias."""

    def double(i: int, o: int) -> int:
        return 9 * i * o + 2 * o + 9 * o * o + 2 * o

    widths = [width * 2**stage for stage in range(depth + 1)]
    down = sum(double(i, o) for i, o in zip([channels, *widths], widths, strict=False))
    up = sum(4 * 2 * w * w + w + double(2 * w, w) for w in widths[:-1])
    return down + up + width + 1


@pytest.mark.parametrize(
    ("channels", "width", "depth", "count"),
    [(1, 64, 4, 31_036_481), (3, 64, 4, 31_037_633), (1, 16, 3, 482_449), (2, 8, 1, None)],
)
def test_parameter_count(channels, width, depth, count):
    model = build_model("unet", in_channels=channels, width=width, depth=depth)
    assert count_parameters(model) == expected_count(channels, width, depth)
    assert count in (None, count_parameters(model))


def reference(state: dict[str, torch.Tensor], x: torch.Tensor, depth: int, training: bool) -> torch.Tensor:
    """U-Net on a size that 2**depth divides, written from the figure of the paper, weights taken in order."""
    tensors = [value for key, value in state.items() if "num_batches" not in key]

    def double(x: torch.Tensor, first: int) -> torch.Tensor:
        for start in (first, first + 5):
            kernel, scale, shift, mean, variance = tensors[start : start + 5]
            x = F.conv2d(x, kernel, padding=1)
            if training:
                mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
            normal = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
            x = (normal * scale[:, None, None] + shift[:, None, None]).clamp(min=0)
        return x

    kept = []
    for stage in range(depth):
        x = double(x, 10 * stage)
        kept.append(x)
        x = x.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2))
    x = double(x, 10 * depth)
    ups, stages = 10 * (depth + 1), 10 * (depth + 1) + 2 * depth
    for stage in range(depth):
        weight, bias = tensors[ups + 2 * stage : ups + 2 * stage + 2]
        enlarged = torch.einsum("nihw,ioab->nohawb", x, weight)  # a stride of 2 without overlap is a reshape
        x = enlarged.flatten(4, 5).flatten(2, 3) + bias[:, None, None]
        x = double(torch.cat([kept.pop(), x], 1), stages + 10 * stage)
    weight, bias = tensors[-2:]
    return torch.einsum("nchw,oc->nohw", x, weight[:, :, 0, 0]) + bias[:, None, None]


@pytest.mark.parametrize("training", [True, False])
def test_values_agree_with_a_plain_reference(training):
    torch.manual_seed(0)
    model = build_model("unet", in_channels=2, width=4, depth=3).double().train(training)
    for name, value in model.state_dict().items():  # statistics and scales that are not 0 and 1
        if value.ndim == 1 and value.is_floating_point():
            value.uniform_(0.5, 1.5) if "bias" not in name else value.uniform_(-0.5, 0.5)
    x = torch.randn(2, 2, 32, 48, dtype=torch.float64)
    expected = reference(model.state_dict(), x, 3, training)
    torch.testing.assert_close(model(x), expected, atol=1e-10, rtol=1e-10)


def test_an_odd_size_is_padded_by_its_border_and_cropped_back():
    torch.manual_seed(0)
    model = build_model("unet", width=4, depth=3).eval()
    x = torch.rand(1, 1, 61, 75)  # 64 x 80: one row above, two below; two columns before, three after
    padded = torch.cat([x[:, :, :1], x, x[:, :, -1:], x[:, :, -1:]], 2)
    padded = torch.cat([padded[..., :1]] * 2 + [padded] + [padded[..., -1:]] * 3, 3)
    with torch.no_grad():
        torch.testing.assert_close(model(x), model(padded)[..., 1:62, 2:77], atol=0, rtol=0)


@pytest.mark.parametrize(("size", "padded"), [((64, 64), (64, 64)), ((33, 64), (64, 64)), ((1, 97), (64, 128))])
def test_padding_goes_to_whole_cells_and_back(size, padded):
    x = torch.rand(2, 3, *size)
    y, (top, left) = pad_to_multiple(x, 32)
    assert y.shape[-2:] == padded
    assert torch.equal(y[..., top : top + size[0], left : left + size[1]], x)
    assert (y is x) == (size == padded)
