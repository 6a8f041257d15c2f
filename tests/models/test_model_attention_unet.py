"""Attention gate and Attention U-Net: counts, MONAI's gate, a gate worked out by hand, and which gate sees what."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from retlib.models import build_model, count_parameters
from retlib.models.attention import AttentionGate


def expected_count(channels: int, width: int, gates: str) -> int:
    """3x3 convs with bias and BN: two a stage, one after each enlargement; gates from the formula; a 1x1."""

    def conv(i: int, o: int) -> int:
        return (9 * i + 1) * o + 2 * o

    def equal_gate(c: int) -> int:
        f = c // 2
        return 2 * ((c + 1) * f + 2 * f) + (f + 1) + 2

    def coarser_gate(c: int) -> int:
        return 4 * c * c + (2 * c + 1) * c + (c + 1) + (c + 1) * c + 2 * c

    widths = [width * 2**stage for stage in range(5)]
    encoder = sum(conv(i, o) + conv(o, o) for i, o in zip([channels, *widths], widths, strict=False))
    decoder = sum(conv(2 * w, w) + conv(2 * w, w) + conv(w, w) for w in widths[:-1])
    gated = sum(map(equal_gate, widths[:-1])) if gates == "equal" else sum(map(coarser_gate, widths[1:-1]))
    return encoder + decoder + gated + width + 1


@pytest.mark.parametrize(
    ("channels", "width", "gates", "count"),
    [
        (1, 64, "equal", 34_877_421),
        (3, 64, "equal", 34_878_573),
        (1, 64, "coarser", 36_938_820),
        (2, 4, "equal", None),
        (2, 4, "coarser", None),
    ],
)
def test_parameter_count(channels, width, gates, count):
    with torch.device("meta"):
        found = count_parameters(build_model("attention_unet", in_channels=channels, width=width, gates=gates))
    assert found == expected_count(channels, width, gates)
    assert count in (None, found)


@pytest.mark.parametrize("training", [True, False])
@torch.no_grad()
def test_the_gate_at_equal_resolution_is_monais(training):
    from monai.networks.nets.attentionunet import AttentionBlock

    torch.manual_seed(0)
    theirs = AttentionBlock(spatial_dims=2, f_int=3, f_g=10, f_l=6)
    ours = AttentionGate(6, 10, 3, equal=True, norm=True)
    for source, target in ((theirs.W_x, ours.theta), (theirs.W_g, ours.phi), (theirs.psi, ours.psi)):
        nn.init.uniform_(source[1].weight, 0.5, 1.5)
        source[1].running_mean.uniform_(-0.5, 0.5)
        target[0].load_state_dict(source[0].conv.state_dict())
        target[1].load_state_dict(source[1].state_dict())
    g, x = torch.randn(2, 10, 9, 7), torch.randn(2, 6, 9, 7)
    torch.testing.assert_close(ours.train(training)(x, g), theirs.train(training)(g=g, x=x), atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_the_published_gate_by_hand():
    """One coefficient a cell of 2x2 pixels from sums over the cell, then enlarged between the cells' centres."""
    torch.manual_seed(0)
    gate = AttentionGate(3, 5, 4).double()
    assert gate.theta.bias is None and gate.theta.stride == gate.theta.kernel_size == (2, 2)
    x, g = torch.randn(1, 3, 2, 8, dtype=torch.float64), torch.randn(1, 5, 1, 4, dtype=torch.float64)
    cells = torch.zeros(4, dtype=torch.float64)
    for column in range(4):
        patch = x[0, :, :, 2 * column : 2 * column + 2]
        inner = torch.einsum("ocij,cij->o", gate.theta.weight, patch)
        inner = inner + gate.phi.weight[:, :, 0, 0] @ g[0, :, 0, column] + gate.phi.bias
        score = gate.psi.weight[0, :, 0, 0] @ inner.clamp(min=0) + gate.psi.bias[0]
        cells[column] = 1 / (1 + torch.exp(-score))
    a, b, c, d = cells
    alpha = [a, (3 * a + b) / 4, (a + 3 * b) / 4, (3 * b + c) / 4, (b + 3 * c) / 4, (3 * c + d) / 4, (c + 3 * d) / 4, d]
    expected = torch.stack(alpha).expand(2, 8)
    torch.testing.assert_close(gate.coefficients(x, g)[0, 0], expected, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(gate(x, g), x * expected, atol=1e-12, rtol=1e-12)


@torch.no_grad()
def test_normalisation_and_output_are_options_of_both_gates():
    torch.manual_seed(0)
    for equal, size in ((False, 4), (True, 8)):
        x, g = torch.randn(2, 3, 8, 8), torch.randn(2, 5, size, size)
        plain = AttentionGate(3, 5, 4, equal=equal)
        full = AttentionGate(3, 5, 4, equal=equal, norm=True, output=True)
        assert count_parameters(full) - count_parameters(plain) == 2 * (4 + 4 + 1) + (3 * 3 + 3) + 2 * 3
        alpha = full.coefficients(x, g)
        assert alpha.shape == (2, 1, 8, 8) and 0 < alpha.min() < alpha.max() < 1
        torch.testing.assert_close(full.eval()(x, g), full.output(full.coefficients(x, g) * x))


@pytest.mark.parametrize("gates", ["coarser", "equal"])
@torch.no_grad()
def test_each_gate_sees_its_skip_and_its_signal(gates):
    torch.manual_seed(0)
    model = build_model("attention_unet", width=4, gates=gates).eval()
    outputs: dict[str, torch.Tensor] = {}
    inputs: dict[str, tuple[torch.Tensor, ...]] = {}
    for name, module in model.named_modules():
        if name.count(".") == 1 or name == "bridge":

            def listen(_module, args, out, name=name):
                inputs[name], outputs[name] = args, out

            module.register_forward_hook(listen)
    model(torch.rand(1, 1, 32, 48))
    below = "bridge"
    for level in range(4):
        skip = outputs[f"encoder.{3 - level}"]
        assert torch.equal(inputs[f"up.{level}"][0], F.interpolate(outputs[below], scale_factor=2, mode="bilinear"))
        if level < len(model.gates):
            x, g = inputs[f"gates.{level}"]
            assert torch.equal(x, skip)
            assert torch.equal(g, outputs[f"up.{level}"] if gates == "equal" else outputs[below])
            skip = outputs[f"gates.{level}"]
        assert torch.equal(inputs[f"decoder.{level}"][0], torch.cat([skip, outputs[f"up.{level}"]], 1))
        below = f"decoder.{level}"
    assert len(model.gates) == (4 if gates == "equal" else 3)
