"""ResUNet and ResUNet++: parameter counts, values against plain references and against MONAI's pieces."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retlib.models import build_model, count_parameters
from retlib.models.blocks import PreActivationUnit
from retlib.models.resunetpp import SqueezeExcitation


def unit_count(i: int, o: int, first: bool = False) -> int:
    """BN, 3x3, BN, 3x3, and a 1x1 shortcut with BN; every convolution has a bias."""
    return (0 if first else 2 * i) + (9 * i + 1) * o + 2 * o + (9 * o + 1) * o + (i + 1) * o + 2 * o


def resunet_count(channels: int, width: int) -> int:
    units = [(channels, 1), (1, 2), (2, 4), (4, 8), (8 + 4, 4), (4 + 2, 2), (2 + 1, 1)]
    pairs = [(i if k == 0 else i * width, o * width) for k, (i, o) in enumerate(units)]
    return sum(unit_count(i, o, first=k == 0) for k, (i, o) in enumerate(pairs)) + width + 1


def resunetpp_count(channels: int, width: int) -> int:
    def scaled(i: int, o: int, first: bool = False) -> int:
        return unit_count(i, o, first) + 2 * o * max(o // 8, 2)

    def pyramid(i: int, o: int) -> int:
        return 4 * ((9 * i + 1) * o + 2 * o) + (o + 1) * o

    def attention(skip: int, x: int) -> int:
        return 2 * skip + (9 * skip + 1) * x + 2 * (2 * x + (9 * x + 1) * x)

    a, b, c, d, e = (width * 2**stage for stage in range(5))
    encoder = scaled(channels, a, first=True) + scaled(a, b) + scaled(b, c) + scaled(c, d)
    decoder = sum(attention(s, x) + scaled(s + x, o) for s, x, o in ((c, e, d), (b, d, c), (a, c, b)))
    return encoder + pyramid(d, e) + decoder + pyramid(b, a) + a + 1


@pytest.mark.parametrize(
    ("channels", "width", "count"),
    [(3, 64, 8_223_809), (1, 8, None)],
)
def test_parameter_count_of_resunet(channels, width, count):
    with torch.device("meta"):
        found = count_parameters(build_model("resunet", in_channels=channels, width=width))
    assert found == resunet_count(channels, width)
    assert count in (None, found)


@pytest.mark.parametrize(
    ("channels", "width", "count"), [(3, 16, 4_062_993), (1, 16, None), (1, 8, None), (2, 4, None)]
)
def test_parameter_count_of_resunetpp(channels, width, count):
    with torch.device("meta"):
        found = count_parameters(build_model("resunetpp", in_channels=channels, width=width))
    assert found == resunetpp_count(channels, width)
    assert count in (None, found)


class Reference:
    """The layers of a model, applied one by one with its weights by name."""

    def __init__(self, model: nn.Module) -> None:
        self.state, self.training = model.state_dict(), model.training

    def conv(self, x: Tensor, name: str, stride: int = 1, rate: int = 1) -> Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        return F.conv2d(x, weight, bias, stride, rate * (weight.shape[-1] // 2), rate)

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, variance = self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"]
        if self.training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        return x * self.state[f"{name}.weight"][:, None, None] + self.state[f"{name}.bias"][:, None, None]

    def unit(self, x: Tensor, name: str, stride: int = 1, first: bool = False) -> Tensor:
        shortcut = self.norm(self.conv(x, f"{name}.shortcut.0", stride), f"{name}.shortcut.1")
        if first:
            x, layers = self.conv(x, f"{name}.main.0", stride), ("1", "3")
        else:
            x, layers = self.conv(self.norm(x, f"{name}.main.0").clamp(min=0), f"{name}.main.2", stride), ("3", "5")
        return self.conv(self.norm(x, f"{name}.main.{layers[0]}").clamp(min=0), f"{name}.main.{layers[1]}") + shortcut

    def scale(self, x: Tensor, name: str) -> Tensor:
        middle = (x.mean((2, 3)) @ self.state[f"{name}.squeeze.weight"].T).clamp(min=0)
        return x * (middle @ self.state[f"{name}.excite.weight"].T).sigmoid()[:, :, None, None]

    def pyramid(self, x: Tensor, name: str) -> Tensor:
        branches = [
            self.norm(self.conv(x, f"{name}.branches.{k}.0", rate=rate), f"{name}.branches.{k}.1")
            for k, rate in enumerate((1, 6, 12, 18))
        ]
        return self.conv(torch.stack(branches).sum(0), f"{name}.project")

    def attention(self, x: Tensor, skip: Tensor, name: str) -> Tensor:
        def branch(x: Tensor, part: str) -> Tensor:
            return self.conv(self.norm(x, f"{name}.{part}.0").clamp(min=0), f"{name}.{part}.2")

        pooled = branch(skip, "encoder").unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2))
        return x * branch(pooled + branch(x, "decoder"), "joint")


def shaken(name: str, training: bool, **options: object) -> nn.Module:
    """A model in double precision with statistics, scales and shifts that are not 0 and 1."""
    torch.manual_seed(0)
    model = build_model(name, in_channels=2, **options).double().train(training)
    for key, value in model.state_dict().items():
        if value.ndim == 1 and value.is_floating_point():
            value.uniform_(-0.5, 0.5) if "bias" in key else value.uniform_(0.5, 1.5)
    return model


@pytest.mark.parametrize("training", [True, False])
@torch.no_grad()
def test_resunet_agrees_with_a_plain_reference(training):
    model = shaken("resunet", training, width=4)
    net, x = Reference(model), torch.randn(2, 2, 32, 48, dtype=torch.float64)
    one = net.unit(x, "encoder.0", first=True)
    two = net.unit(one, "encoder.1", 2)
    three = net.unit(two, "encoder.2", 2)
    y = net.unit(three, "bridge", 2)
    for k, skip in enumerate((three, two, one)):
        y = F.interpolate(y, size=skip.shape[-2:], mode="bilinear")
        y = net.unit(torch.cat([y, skip], 1), f"decoder.{k}")
    expected = net.conv(y, "head")
    torch.testing.assert_close(model(x), expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("training", [True, False])
@torch.no_grad()
def test_resunetpp_agrees_with_a_plain_reference(training):
    model = shaken("resunetpp", training, width=4)
    net, x = Reference(model), torch.randn(2, 2, 32, 48, dtype=torch.float64)
    maps = [net.scale(net.unit(x, "encoder.0.0", first=True), "encoder.0.1")]
    for k in (1, 2, 3):
        maps.append(net.scale(net.unit(maps[-1], f"encoder.{k}.0", 2), f"encoder.{k}.1"))
    y = net.pyramid(maps[3], "bridge")
    for k, skip in enumerate((maps[2], maps[1], maps[0])):
        y = net.attention(y, skip, f"decoder.{k}.attention")
        y = y.repeat_interleave(2, 2).repeat_interleave(2, 3)
        y = net.scale(net.unit(torch.cat([y, skip], 1), f"decoder.{k}.unit"), f"decoder.{k}.scale")
    expected = net.conv(net.pyramid(y, "pyramid"), "head")
    torch.testing.assert_close(model(x), expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("training", [True, False])
@torch.no_grad()
def test_a_unit_with_an_identity_shortcut_is_monais_pre_activation_block(training):
    from monai.networks.blocks.segresnet_block import ResBlock

    torch.manual_seed(0)
    ours, theirs = PreActivationUnit(6, 6), ResBlock(2, 6, norm="batch")
    for layer, source in ((0, theirs.norm1), (3, theirs.norm2)):
        nn.init.uniform_(source.weight, 0.5, 1.5)
        source.running_mean.uniform_(-0.5, 0.5)
        ours.main[layer].load_state_dict(source.state_dict())
    for layer, source in ((2, theirs.conv1.conv), (5, theirs.conv2.conv)):
        assert source.bias is None
        ours.main[layer].weight.copy_(source.weight)
        ours.main[layer].bias.zero_()
    ours.shortcut[0].weight.copy_(torch.eye(6)[:, :, None, None])
    ours.shortcut[0].bias.zero_()
    ours.shortcut[1] = nn.Identity()  # their shortcut has no normalisation
    x = torch.randn(2, 6, 9, 7)
    torch.testing.assert_close(ours.train(training)(x), theirs.train(training)(x), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_squeeze_and_excitation_is_monais():
    from monai.networks.blocks.squeeze_and_excitation import ChannelSELayer

    torch.manual_seed(0)
    ours, theirs = SqueezeExcitation(32), ChannelSELayer(2, 32, r=8)
    for source, target in ((theirs.fc[0], ours.squeeze), (theirs.fc[2], ours.excite)):
        source.bias.zero_()
        target.weight.copy_(source.weight)
    x = torch.randn(2, 32, 9, 7)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-6, rtol=1e-6)


def test_a_unit_leaves_its_input_as_it_was():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 8, 8)
    before = x.clone()
    PreActivationUnit(4, 8, stride=2)(x)
    assert torch.equal(x, before)
