"""UNet++: its parameter counts, and its values against segmentation_models_pytorch and MONAI."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from retlib.models import build_model, count_parameters


def expected_count(channels: int, width: int, heads: int) -> int:
    """From equation 1: node X(i, j) takes j maps of row i and one of row i + 1; two 3x3 convs with bias and BN."""

    def node(i: int, o: int) -> int:
        return (9 * i + 1) * o + 2 * o + (9 * o + 1) * o + 2 * o

    widths = [width * 2**row for row in range(5)]
    encoder = sum(node(i, o) for i, o in zip([channels, *widths], widths, strict=False))
    nested = sum(node(j * widths[i] + widths[i + 1], widths[i]) for i in range(4) for j in range(1, 5 - i))
    return encoder + nested + heads * (width + 1)


@pytest.mark.parametrize(
    ("channels", "options", "count"),
    [
        (3, {}, 9_163_329),
        (3, {"deep_supervision": True}, 9_163_428),
        (1, {}, 9_162_753),
        (2, {"width": 4}, None),
    ],
)
def test_parameter_count(channels, options, count):
    with torch.device("meta"):
        found = count_parameters(build_model("unetpp", in_channels=channels, **options))
    heads = 4 if options.get("deep_supervision") else 1
    assert found == expected_count(channels, options.get("width", 32), heads)
    assert count in (None, found)


def shake(model: nn.Module) -> None:
    """Statistics and scales that are not 0 and 1."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)


def copy_norm(source: nn.BatchNorm2d, target: nn.BatchNorm2d, bias: torch.Tensor) -> None:
    """A bias before the normalisation is the same as a mean that is smaller by it."""
    target.load_state_dict(source.state_dict())
    target.running_mean -= bias


@pytest.mark.parametrize("deep_supervision", [False, True])
@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_the_nested_decoder_equals_that_of_segmentation_models(training, deep_supervision):
    """Theirs joins [up, X(i, j - 1), ..., X(i, 0)]; its last block, which enlarges once more, is only listened to."""
    from segmentation_models_pytorch.decoders.unetplusplus.decoder import UnetPlusPlusDecoder

    torch.manual_seed(0)
    width = 4
    widths = [width * 2**row for row in range(5)]
    model = build_model("unetpp", width=width, deep_supervision=deep_supervision).double()
    shake(model)
    model.train(training)
    decoder = UnetPlusPlusDecoder((1, *widths), (*reversed(widths[:-1]), 2), interpolation_mode="bilinear").double()
    for j, diagonal in enumerate(model.nested, start=1):
        for i, node in enumerate(diagonal):
            block = decoder.blocks[f"x_{4 - i - j}_{3 - i}"]
            parts = node[0].weight.split([widths[i]] * j + [widths[i + 1]], dim=1)
            block.conv1[0].weight.copy_(torch.cat(parts[::-1], dim=1))
            block.conv2[0].weight.copy_(node[3].weight)
            copy_norm(node[1], block.conv1[1], node[0].bias)
            copy_norm(node[4], block.conv2[1], node[3].bias)
    decoder.train(training)
    full: dict[int, torch.Tensor] = {}
    for j in range(1, 5):
        decoder.blocks[f"x_{4 - j}_3"].register_forward_hook(lambda _m, _x, out, j=j: full.__setitem__(j, out))
    x = torch.rand(2, 1, 32, 48, dtype=torch.float64)
    features = [x, model.encoder[0](x)]
    for stage in model.encoder[1:]:
        features.append(stage(F.max_pool2d(features[-1], 2)))
    decoder(features)
    heads = zip(model.heads, [full[j] for j in ((1, 2, 3, 4) if deep_supervision else (4,))], strict=True)
    expected = torch.stack([head(node) for head, node in heads]).mean(0)
    torch.testing.assert_close(model(x), expected, atol=1e-10, rtol=1e-10)


@torch.no_grad()
def test_the_whole_net_equals_monais():
    """Theirs has a 1x1 convolution before enlarging on rows 1 to 3: it and the 3x3 behind it are one 3x3 of ours."""
    from monai.networks.nets import BasicUNetPlusPlus

    torch.manual_seed(0)
    features = (4, 8, 16, 32, 64, 4)
    settings = {"act": "relu", "norm": "batch", "upsample": "nontrainable", "deep_supervision": True}
    theirs = BasicUNetPlusPlus(spatial_dims=2, in_channels=3, out_channels=1, features=features, **settings)
    shake(theirs)
    for module in theirs.modules():
        if isinstance(module, nn.Upsample):
            module.align_corners = False
    ours = build_model("unetpp", in_channels=3, width=4, deep_supervision=True)

    def copy(source: nn.Module, target: nn.Sequential, kernel: torch.Tensor | None = None) -> None:
        for conv, norm, layer in ((target[0], target[1], source.conv_0), (target[3], target[4], source.conv_1)):
            first = {"weight": kernel} if kernel is not None and conv is target[0] else {}
            conv.load_state_dict(layer.conv.state_dict() | first)
            norm.load_state_dict(layer.adn.N.state_dict())

    copy(theirs.conv_0_0, ours.encoder[0])
    for i in range(1, 5):
        copy(getattr(theirs, f"conv_{i}_0").convs, ours.encoder[i])
    for j in range(1, 5):
        for i in range(5 - j):
            source, kernel = getattr(theirs, f"upcat_{i}_{j}"), None
            pre = getattr(source.upsample, "preconv", None)
            assert (pre is None) == (i == 0)
            if pre is not None:
                pre.bias.zero_()  # at the border a bias before the padding is not one after it
                skip, up = source.convs.conv_0.conv.weight.tensor_split([j * features[i]], dim=1)
                kernel = torch.cat([skip, torch.einsum("omhw,mi->oihw", up, pre.weight[:, :, 0, 0])], dim=1)
            copy(source.convs, ours.nested[j - 1][i], kernel)
        ours.heads[j - 1].load_state_dict(getattr(theirs, f"final_conv_0_{j}").state_dict())
    x = torch.rand(1, 3, 32, 48)
    expected = torch.stack(theirs.eval()(x)).mean(0)
    torch.testing.assert_close(ours.eval()(x), expected, atol=1e-5, rtol=1e-5)


def test_without_deep_supervision_the_last_node_alone_decides():
    torch.manual_seed(0)
    deep, plain = build_model("unetpp", width=4, deep_supervision=True), build_model("unetpp", width=4)
    state = {key: value for key, value in deep.state_dict().items() if not key.startswith("heads")}
    plain.load_state_dict(state | {f"heads.0.{key}": value for key, value in deep.heads[3].state_dict().items()})
    x = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(deep.eval()(x), plain.eval()(x), atol=1e-3)
        for head in deep.heads[:3]:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        torch.testing.assert_close(4 * deep(x), plain(x), atol=1e-6, rtol=1e-6)
