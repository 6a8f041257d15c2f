"""Res-UNet and ResASPP-UNet: counts and values against other libraries, and which ASPP taps are alive."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from retlib.models import build_model, count_parameters
from retlib.models.aspp import ASPP, AtrousConv, ImagePooling

RESNET50 = 23_508_032  # torchvision's resnet50 has 25,557,032; its classifier 2,049,000 of them


def randomise(model: nn.Module) -> None:
    """Scales, shifts and statistics of every normalisation away from 1 and 0."""
    for name, value in model.state_dict().items():
        if value.ndim == 1 and value.is_floating_point():
            value.uniform_(-0.3, 0.3) if "bias" in name or "mean" in name else value.uniform_(0.7, 1.3)


def copy_in_order(source: nn.Module, target: nn.Module) -> None:
    """Copies tensors by position: two implementations of one design register them in the same order."""
    values = list(source.state_dict().values())
    target.load_state_dict(dict(zip(target.state_dict(), values, strict=True)))


def decoder_count(into: int, fifth: bool) -> int:
    """Two 3x3 convs and two BN a stage, then a 1x1 conv with bias."""
    skips, widths = [1024, 512, 256, 64], [256, 128, 64, 32]
    if fifth:
        skips, widths = [*skips, 0], [*widths, 16]
    inputs = [into, *widths]
    stages = (9 * (i + s) * w + 9 * w * w + 4 * w for i, s, w in zip(inputs, skips, widths, strict=False))
    return sum(stages) + widths[-1] + 1


@pytest.mark.parametrize("fifth", [False, True])
def test_parameter_counts(fifth):
    head = {"head": "fifth_stage" if fifth else "bilinear"}
    encoder = RESNET50 - 2 * 64 * 49  # one channel in
    assert count_parameters(build_model("res_unet", **head)) == encoder + decoder_count(2048, fifth)
    proposed = count_parameters(build_model("resaspp_unet", **head))
    assert proposed == encoder + 15_535_104 + decoder_count(256, fifth)
    assert proposed == (43_921_041 if fifth else 43_914_081)


def test_full_aspp_has_15535104_parameters():
    assert count_parameters(ASPP(2048, 256)) == 15_535_104


def test_res_unet_agrees_with_segmentation_models_pytorch():
    """Their U-Net on resnet50 has five stages and a 3x3 head: the 1x1 is its centre."""
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    other = smp.Unet(
        "resnet50",
        encoder_weights=None,
        in_channels=1,
        decoder_interpolation="bilinear",
        decoder_use_norm="batchnorm",
    )
    ours = build_model("res_unet", head="fifth_stage")
    randomise(other)
    copy_in_order(other.encoder, ours.encoder)
    copy_in_order(other.decoder, ours.decoder.stages)
    with torch.no_grad():
        head = other.segmentation_head[0]
        head.weight.zero_()
        head.weight[:, :, 1:2, 1:2] = ours.decoder.head.weight
        head.bias.copy_(ours.decoder.head.bias)
    assert count_parameters(ours) == count_parameters(other) - 8 * 16
    x = torch.rand(2, 1, 96, 64)
    with torch.no_grad():
        for training in (False, True):
            expected = other.train(training)(x)
            torch.testing.assert_close(ours.train(training)(x), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [(16, 16), (5, 13), (20, 19)])
def test_aspp_agrees_with_torchvision(training, size):
    from torchvision.models.segmentation.deeplabv3 import ASPP as Reference

    torch.manual_seed(0)
    other, ours = Reference(12, [6, 12, 18], 8).double(), ASPP(12, 8).double()
    other.project[3].p = 0.0  # the dropout that the paper does not state
    randomise(other)
    copy_in_order(other, ours)
    x = torch.rand(3, 12, *size, dtype=torch.float64)
    expected, found = other.train(training)(x), ours.train(training)(x)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)
    expected.square().sum().backward()
    found.square().sum().backward()
    for one, two in zip(ours.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("size", [(16, 16), (18, 19), (6, 7), (1, 30), (40, 3)])
@pytest.mark.parametrize("rate", [1, 6, 12, 18])
def test_leaving_dead_taps_out_changes_nothing(rate, size):
    torch.manual_seed(0)
    conv = AtrousConv(3, 4, rate).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    found = conv(x)
    expected = F.conv2d(x, conv.weight, padding=rate, dilation=rate)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    gradients = [torch.autograd.grad(y.square().sum(), conv.weight)[0] for y in (found, expected)]
    torch.testing.assert_close(*gradients, atol=1e-10, rtol=0)
    rows, columns = (3 if side > rate else 1 for side in size)  # taps that meet the map at some position
    assert int((gradients[0].abs().sum((0, 1)) > 0).sum()) == rows * columns


def test_image_pooling_of_one_image_trains_on_the_running_statistics():
    torch.manual_seed(0)
    branch = ImagePooling(6, 5).train()
    randomise(branch)
    before = {key: value.clone() for key, value in branch.state_dict().items()}
    x = torch.rand(1, 6, 1, 1)
    y = branch(x)
    assert all(torch.equal(value, before[key]) for key, value in branch.state_dict().items())
    torch.testing.assert_close(y, branch.eval()(x))
    y.sum().backward()
    assert branch.conv.weight.grad.any()


def test_image_pooling_of_two_images_is_plus_or_minus_one_before_its_scale():
    """With the batch of two of the paper the branch knows only which image has more of a feature."""
    torch.manual_seed(0)
    branch = ImagePooling(64, 32).train()
    seen = []
    branch.bn.register_forward_hook(lambda module, inputs, output: seen.append(output))
    branch(50 * torch.rand(2, 64, 16, 16) * torch.rand(2, 64, 1, 1))
    torch.testing.assert_close(seen[0].abs(), torch.ones_like(seen[0]), atol=1e-2, rtol=0)
    assert torch.equal(seen[0][0].sign(), -seen[0][1].sign())


def test_bilinear_head_doubles_the_logits_of_the_fourth_stage():
    torch.manual_seed(0)
    model = build_model("resaspp_unet", width=8).eval()
    seen = []
    model.decoder.head.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        logits = model(torch.rand(1, 1, 64, 96))
    assert seen[0].shape == (1, 1, 32, 48)
    expected = F.interpolate(seen[0], size=(64, 96), mode="bilinear", align_corners=False)
    torch.testing.assert_close(logits, expected)
