"""ConvLSTM U-Net: counts against published code, the cell against a plain loop and torch's LSTM, the net in full."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from retlib.models import build_model, count_parameters
from retlib.models.convlstm_unet import ConvLSTMCell, Merge

# Channels in, options, parameters. BCDU-Net's code, counted in Keras without running statistics.
CITED = [
    (1, {"head": "family", "dense_blocks": 3}, 20_658_821),
    (1, {"head": "family", "dense_blocks": 1}, 8_860_293),
    (1, {"head": "family", "dense_blocks": 3, "direction": "bidirectional"}, 23_369_221),
]


@pytest.mark.parametrize(("channels", "options", "count"), CITED)
def test_parameters_of_the_published_code(channels, options, count):
    assert count_parameters(build_model("convlstm_unet", in_channels=channels, **options)) == count


def expected_count(channels: int, width: int, depth: int, direction: str, blocks: int, head: str) -> int:
    """From the layer list: all convolutions with bias, a pair of values a channel in each normalisation."""

    def conv(i: int, o: int, kernel: int = 3) -> int:
        return kernel * kernel * i * o + o

    def double(i: int, o: int) -> int:
        return conv(i, o) + conv(o, o)

    widths = [width * 2**stage for stage in range(depth)]
    total = sum(double(i, o) for i, o in zip([channels, *widths], widths, strict=False))
    bottom, below = widths[-1], 2 * widths[-1]
    total += sum(double(bottom if block == 0 else block * below, below) for block in range(blocks))
    last = below if blocks else bottom
    cells = 2 if direction == "bidirectional" else 1
    for w in reversed(widths):
        total += conv(last, w, 2) + 2 * w  # transposed convolution, normalisation
        total += cells * 4 * (conv(w, w // 2) + 9 * (w // 2) ** 2)  # four gates: input with bias, state without
        total += double(cells * w // 2, w)
        last = w
    return total + (conv(width, 2, 1) if head == "paired" else conv(width, 2) + conv(2, 1, 1))


@pytest.mark.parametrize("blocks", [0, 1, 2, 3])
@pytest.mark.parametrize("direction", ["backward", "bidirectional"])
@pytest.mark.parametrize(("channels", "width", "depth", "head"), [(3, 4, 2, "paired"), (1, 6, 3, "family")])
def test_parameters_of_any_variant(channels, width, depth, direction, blocks, head):
    options = {"width": width, "depth": depth, "direction": direction, "dense_blocks": blocks, "head": head}
    model = build_model("convlstm_unet", in_channels=channels, **options)
    assert count_parameters(model) == expected_count(channels, width, depth, direction, blocks, head)


def sigmoid_of(gates: str):
    if gates == "sigmoid":
        return lambda x: 1 / (1 + torch.exp(-x))
    return lambda x: torch.minimum(torch.maximum(0.2 * x + 0.5, torch.zeros_like(x)), torch.ones_like(x))


def convolve(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Convolution with zero padding as one sum over the kernel's places."""
    reach = weight.shape[-1] // 2
    padded = F.pad(x, (reach,) * 4)
    height, width = x.shape[-2:]
    return sum(
        torch.einsum("nchw,oc->nohw", padded[:, :, a : a + height, b : b + width], weight[:, :, a, b])
        for a in range(weight.shape[-2])
        for b in range(weight.shape[-1])
    )


def loop(cell: ConvLSTMCell, steps: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Shi et al. 2015, equation 3 without peepholes: gate by gate, from states of zero."""
    filters, s = cell.filters, sigmoid_of(cell.gates)
    names = ("input", "forget", "candidate", "output")
    into = dict(zip(names, cell.input.weight.split(filters), strict=True))
    bias = dict(zip(names, cell.input.bias.split(filters), strict=True))
    back = dict(zip(names, cell.recurrent.weight.split(filters), strict=True))
    hidden = torch.zeros(len(steps[0]), filters, *steps[0].shape[-2:], dtype=steps[0].dtype)
    state = hidden.clone()
    for x in steps:
        total = {k: convolve(x, into[k]) + convolve(hidden, back[k]) + bias[k][:, None, None] for k in names}
        state = s(total["forget"]) * state + s(total["input"]) * torch.tanh(total["candidate"])
        hidden = s(total["output"]) * torch.tanh(state)
    return hidden, state


def random_cell(in_channels: int, filters: int, kernel: int, gates: str) -> ConvLSTMCell:
    torch.manual_seed(0)
    cell = ConvLSTMCell(in_channels, filters, kernel, gates).double()
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter, std=0.7)  # large enough to saturate some gates
    return cell


@pytest.mark.parametrize("gates", ["sigmoid", "hard_sigmoid"])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_the_cell_agrees_with_a_plain_loop(kernel, gates):
    cell = random_cell(3, 2, kernel, gates)
    steps = [torch.randn(2, 3, 7, 6, dtype=torch.float64) for _ in range(3)]
    state = None
    for x in steps:
        state = cell(x, state)
    torch.testing.assert_close(state, loop(cell, steps), atol=1e-12, rtol=1e-12)


def test_no_state_means_states_of_zero():
    cell = random_cell(2, 3, 3, "sigmoid")
    x, zero = torch.randn(2, 2, 5, 5, dtype=torch.float64), torch.zeros(2, 3, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(cell(x), cell(x, (zero, zero)), atol=0, rtol=0)


def test_on_a_single_pixel_the_cell_is_torchs_lstm():
    cell = random_cell(4, 5, 1, "sigmoid")
    lstm = torch.nn.LSTMCell(4, 5).double()
    with torch.no_grad():
        lstm.weight_ih.copy_(cell.input.weight.flatten(1))
        lstm.weight_hh.copy_(cell.recurrent.weight.flatten(1))
        lstm.bias_ih.copy_(cell.input.bias)
        lstm.bias_hh.zero_()
    ours = theirs = None
    for _ in range(4):
        x = torch.randn(3, 4, dtype=torch.float64)
        ours, theirs = cell(x[..., None, None], ours), lstm(x, theirs)
    for left, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(left.flatten(1), right, atol=1e-12, rtol=1e-12)


def test_backward_starts_with_the_upsampled_map_and_ends_with_the_skip():
    torch.manual_seed(0)
    skip, up = torch.randn(2, 2, 4, 5, 6, dtype=torch.float64)
    merge = Merge(4, "backward", "sigmoid").double()
    expected, _ = loop(merge.backwards, [up, skip])
    torch.testing.assert_close(merge(skip, up), expected, atol=1e-12, rtol=1e-12)
    assert merge.out_channels == 2
    assert not torch.allclose(merge(up, skip), expected, atol=1e-3)


def test_bidirectional_adds_a_second_cell_that_reads_forwards():
    torch.manual_seed(0)
    skip, up = torch.randn(2, 2, 4, 5, 6, dtype=torch.float64)
    merge = Merge(4, "bidirectional", "hard_sigmoid").double()
    halves = loop(merge.forwards, [skip, up])[0], loop(merge.backwards, [up, skip])[0]
    torch.testing.assert_close(merge(skip, up), torch.cat(halves, 1), atol=1e-12, rtol=1e-12)
    assert merge.out_channels == 4


def reference(model: torch.nn.Module, x: torch.Tensor, training: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The net of three dense blocks read from the weights alone, on a size that needs no padding: head map, logits."""
    state = model.state_dict()

    def conv(x: torch.Tensor, name: str) -> torch.Tensor:
        return convolve(x, state[f"{name}.weight"]) + state[f"{name}.bias"][:, None, None]

    def double(x: torch.Tensor, name: str) -> torch.Tensor:
        return conv(conv(x, f"{name}.0").clamp(min=0), f"{name}.2").clamp(min=0)

    def pool(x: torch.Tensor) -> torch.Tensor:
        return x.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2))

    def up(x: torch.Tensor, name: str) -> torch.Tensor:
        enlarged = torch.einsum("nihw,ioab->nohawb", x, state[f"{name}.0.weight"]).flatten(4, 5).flatten(2, 3)
        x = enlarged + state[f"{name}.0.bias"][:, None, None]
        mean, variance = state[f"{name}.1.running_mean"], state[f"{name}.1.running_var"]
        if training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        return (x * state[f"{name}.1.weight"][:, None, None] + state[f"{name}.1.bias"][:, None, None]).clamp(min=0)

    skips = []
    for stage in range(model.depth):
        x = double(x, f"encoder.{stage}")
        skips.append(x)
        x = pool(x)
    first = double(x, "bridge.blocks.0")
    second = double(first, "bridge.blocks.1")
    x = double(torch.cat([second, first], 1), "bridge.blocks.2")
    for stage in range(model.depth):
        merged, _ = loop(model.merge[stage].backwards, [up(x, f"up.{stage}"), skips.pop()])
        x = double(merged, f"decoder.{stage}")
    x = conv(x, "head")
    return x, x[:, 1:] - x[:, :1]


@pytest.mark.parametrize("training", [True, False])
def test_values_agree_with_a_plain_reference(training):
    torch.manual_seed(0)
    model = build_model("convlstm_unet", in_channels=2, width=4, depth=2, dense_blocks=3).double().train(training)
    for name, value in model.state_dict().items():  # biases, statistics and scales that are not 0 and 1
        if value.ndim == 1 and value.is_floating_point():
            value.uniform_(0.5, 1.5) if "running_var" in name else value.uniform_(-0.5, 0.5)
    x = torch.randn(2, 2, 16, 24, dtype=torch.float64)
    pair, logits = reference(model, x, training)
    found = model(x)
    torch.testing.assert_close(found, logits, atol=1e-10, rtol=1e-10)
    # One vessel map out of two channels: the vessel's share of the pair.
    torch.testing.assert_close(torch.sigmoid(found), pair.softmax(1)[:, 1:], atol=1e-10, rtol=1e-10)


def test_the_last_convolution_has_two_channels():
    assert build_model("convlstm_unet", width=4).head.out_channels == 2
    squeeze, _, last = build_model("convlstm_unet", width=4, head="family").head
    assert (squeeze.out_channels, last.in_channels, last.out_channels) == (2, 2, 1)


def test_without_blocks_the_bottleneck_passes_the_map_on():
    bridge = build_model("convlstm_unet", width=4, dense_blocks=0).bridge
    x = torch.rand(1, 16, 3, 3)
    assert torch.equal(bridge(x), x) and bridge.out_channels == 16


def test_dropout_acts_in_training_alone():
    torch.manual_seed(0)
    dropping, plain = (build_model("convlstm_unet", width=8, dropout=share) for share in (0.5, 0.0))
    x = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert not torch.equal(dropping(x), dropping(x))
        plain.load_state_dict(dropping.state_dict())
        assert torch.equal(dropping.eval()(x), plain.eval()(x))


def test_initial_weights():
    torch.manual_seed(0)
    model = build_model("convlstm_unet", width=16)
    cell = model.merge[0].backwards
    one = torch.arange(4 * cell.filters) // cell.filters == 1
    assert torch.equal(cell.input.bias, one.float())  # the forget gate starts open
    flat = cell.recurrent.weight.flatten(1)
    gram = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
    torch.testing.assert_close(gram, torch.eye(len(gram)), atol=1e-5, rtol=0)
    conv = model.encoder[2][2]
    assert conv.weight.std().item() == pytest.approx((2 / (9 * conv.in_channels)) ** 0.5, rel=0.03)
    assert not conv.bias.any()
