"""Attention U-Net++ with both encoders: counts from a derivation, wiring against the equation, torchvision's blocks."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from retlib.models import build_model, count_parameters
from retlib.models.attention_unetpp import NestedGatedDecoder
from retlib.models.attention_unetpp_resnet34 import BasicBlock
from retlib.models.drawing import map_sizes
from retlib.models.resnet import ResNet


def widths_of(width: int) -> list[int]:
    return [width * 2**level for level in range(5)]


def double(before: int, after: int) -> int:
    """Two 3x3 convolutions without bias, each with a pair of BN."""
    return 9 * before * after + 9 * after * after + 4 * after


def decoder_count(width: int) -> int:
    """Node by node: a gate for every earlier map, a 2x2 up-convolution with bias, two 3x3 convolutions; a 1x1 head."""
    widths, total = widths_of(width), width + 1
    for level in range(4):
        channels, below = widths[level], widths[level + 1]
        inner = max(1, channels // 2)
        gate = 4 * channels * inner + (below * inner + inner) + (inner + 1)  # theta (2x2), phi and psi (1x1, bias)
        for column in range(1, 5 - level):
            total += column * gate + (4 * below * channels + channels) + double((column + 1) * channels, channels)
    return total


def plain_encoder_count(channels: int, width: int) -> int:
    widths = widths_of(width)
    return sum(double(before, after) for before, after in zip([channels, *widths[:-1]], widths, strict=True))


def residual_encoder_count(channels: int, widths: list[int]) -> int:
    total = 49 * channels * widths[0] + 2 * widths[0]
    for layer, blocks in enumerate((3, 4, 6, 3)):
        before, after = widths[layer], widths[layer + 1]
        total += double(before, after) + (blocks - 1) * double(after, after)
        if layer or before != after:
            total += before * after + 2 * after  # the 1x1 shortcut of the first block
    return total


@pytest.mark.parametrize(("channels", "width"), [(3, 8), (1, 8), (1, 4), (2, 1)])
def test_the_counts_follow_from_the_layers(channels, width):
    plain = build_model("attention_unetpp", in_channels=channels, width=width)
    residual = build_model("attention_unetpp_resnet34", in_channels=channels, width=width)
    assert count_parameters(plain) == plain_encoder_count(channels, width) + decoder_count(width)
    expected = residual_encoder_count(channels, widths_of(width)) + decoder_count(width)
    assert count_parameters(residual) == expected


def test_the_paper_s_models_have_these_counts():
    """In colour at the paper's filters; widths of U-Net++ itself for the scale."""
    assert count_parameters(build_model("attention_unetpp", in_channels=3)) == 595_445
    assert count_parameters(build_model("attention_unetpp_resnet34", in_channels=3)) == 1_632_965
    assert residual_encoder_count(3, [64, 64, 128, 256, 512]) == 21_284_672  # ResNet-34 less its classifier


def test_without_gates_the_grid_is_unetpp_s():
    """Less its gates and its up-convolutions in place of bilinear ones, the count is that quoted for U-Net++."""
    widths = widths_of(32)
    gates = sum(
        column * (4 * w * (w // 2) + (2 * w * (w // 2) + w // 2) + (w // 2 + 1))
        for level, w in enumerate(widths[:4])
        for column in range(1, 5 - level)
    )
    ups = sum((4 * 2 * w * w + w) * (4 - level) for level, w in enumerate(widths[:4]))
    rest = plain_encoder_count(3, 32) + decoder_count(32) - gates - ups
    # Common code enlarges bilinearly, so its nodes read 2w channels from below in place of our w; and its
    # convolutions have biases beside the normalisation.
    wider = sum(9 * w * w * (4 - level) for level, w in enumerate(widths[:4]))
    biases = 2 * sum(w * (5 - level) for level, w in enumerate(widths))
    assert rest + wider + biases == 9_163_329


@pytest.mark.parametrize("name", ["attention_unetpp", "attention_unetpp_resnet34"])
def test_the_grid_follows_the_equation(name):
    """Every node against the equation, from the recorded maps of its arguments."""
    torch.manual_seed(0)
    model = build_model(name, width=2).eval()
    (decoder,) = [module for module in model.modules() if isinstance(module, NestedGatedDecoder)]
    found: dict[tuple[int, int], torch.Tensor] = {}
    decoder.register_forward_pre_hook(
        lambda module, inputs: found.update({(i, 0): x.clone() for i, x in enumerate(inputs[0])})
    )
    for column, nodes in enumerate(decoder.columns, start=1):
        assert len(nodes) == 5 - column
        for level, node in enumerate(nodes):
            node.register_forward_hook(
                lambda m, inputs, output, place=(level, column): found.update({place: output.clone()})
            )
    with torch.no_grad():
        model(torch.rand(1, 1, 64, 96))
        assert len(found) == 15
        for column, nodes in enumerate(decoder.columns, start=1):
            for level, node in enumerate(nodes):
                below = found[level + 1, column - 1]
                assert len(node.gates) == column
                skips = []
                for k, gate in enumerate(node.gates):
                    x = found[level, k]
                    coarse = torch.sigmoid(gate.psi(F.relu(gate.theta(x) + gate.phi(below))))
                    alpha = F.interpolate(coarse, size=x.shape[-2:], mode="bilinear", align_corners=False)
                    skips.append(alpha * x)
                expected = node.fuse(torch.cat([*skips, node.up(below)], 1))
                torch.testing.assert_close(found[level, column], expected)


@pytest.mark.parametrize("name", ["attention_unetpp", "attention_unetpp_resnet34"])
def test_a_closed_gate_shuts_the_skip_and_an_open_one_lets_it_through(name):
    torch.manual_seed(0)
    model = build_model(name, width=4).eval()
    (decoder,) = [module for module in model.modules() if isinstance(module, NestedGatedDecoder)]
    node = decoder.columns[3][0]
    earlier, below = [torch.rand(1, 4, 16, 16) for _ in range(4)], torch.rand(1, 8, 8, 8)
    with torch.no_grad():
        for gate in node.gates:
            gate.psi.weight.zero_()
            gate.psi.bias.fill_(-1e4)
        shut = node([torch.zeros_like(x) for x in earlier], below)
        torch.testing.assert_close(node(earlier, below), shut)
        for gate in node.gates:
            gate.psi.bias.fill_(1e4)
        torch.testing.assert_close(node(earlier, below), node.fuse(torch.cat([*earlier, node.up(below)], 1)))


@pytest.mark.parametrize("training", [False, True])
def test_at_full_width_the_encoder_equals_torchvisions_resnet34(training):
    from torchvision.models import resnet34

    torch.manual_seed(0)
    # In double precision, where the order of a sum does not show.
    reference = resnet34(weights=None).double().train(training)
    encoder = ResNet(BasicBlock, 3, (64, 64, 128, 256, 512)).double().train(training)
    state = {key: value for key, value in reference.state_dict().items() if not key.startswith("fc.")}
    encoder.load_state_dict(state)  # strict: names and shapes are the same
    x = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        found = encoder(x)
        y = reference.relu(reference.bn1(reference.conv1(x)))
        expected = [y]
        y = reference.maxpool(y)
        for layer in (reference.layer1, reference.layer2, reference.layer3, reference.layer4):
            y = layer(y)
            expected.append(y)
    for one, other, stride in zip(found, expected, (2, 4, 8, 16, 32), strict=True):
        assert one.shape[-2:] == (64 // stride, 96 // stride)
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(("stem_stride", "finest"), [(1, 64), (2, 32)])
def test_levels_of_the_narrow_encoder(stem_stride, finest):
    model = build_model("attention_unetpp_resnet34", width=2, stem_stride=stem_stride).eval()
    with torch.no_grad():
        shapes = [tuple(x.shape[1:]) for x in model.encoder(torch.rand(1, 1, 64, 64))]
        assert model(torch.rand(1, 1, 64, 64)).shape == (1, 1, 64, 64)
    assert shapes == [(2 * 2**level, finest // 2**level, finest // 2**level) for level in range(5)]
    assert [len(getattr(model.encoder, f"layer{layer}")) for layer in (1, 2, 3, 4)] == [3, 4, 6, 3]
    assert model.encoder.layer1[0].downsample is not None  # the stem's width is doubled here
    assert model.encoder.layer1[0].conv1.stride == (1, 1)


@pytest.mark.parametrize(
    ("name", "options", "finest"),
    [
        ("attention_unetpp", {}, (704, 1056)),
        ("attention_unetpp_resnet34", {}, (704, 1056)),
        ("attention_unetpp_resnet34", {"stem_stride": 2}, (352, 528)),
    ],
)
def test_maps_at_the_paper_s_size(name, options, finest):
    model = build_model(name, in_channels=3, width=8, **options)
    sizes = map_sizes(model, 3, 704, 1056)
    expected = [(8 * 2**level, finest[0] // 2**level, finest[1] // 2**level) for level in range(5)]
    assert list(sizes["decoder"].takes) == expected
    for column, nodes in enumerate(model.decoder.columns, start=1):
        for level, node in enumerate(nodes):
            assert sizes[f"decoder.columns.{column - 1}.{level}"].gives == expected[level]
            assert len(node.gates) == column
    assert sum(map(len, model.decoder.columns)) == 10
