"""AF-UNet: its parameter count, its relation to U-Net, and that it fuses what it says it fuses."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from retlib.models import build_model, count_parameters


@pytest.mark.parametrize(
    ("channels", "options", "count"),
    [
        (1, {}, 32_584_769),
        (1, {"skips": "dense"}, 33_616_961),
        (3, {}, 32_585_921),
        (1, {"width": 16, "depth": 3}, None),
        (1, {"width": 16, "depth": 3, "skips": "dense"}, None),
        (1, {"width": 4, "depth": 1}, None),
    ],
)
def test_parameter_count(channels, options, count):
    """That of U-Net, and a 3x3 kernel from each shallow feature to its decoder level."""
    width, depth, dense = options.get("width", 64), options.get("depth", 4), options.get("skips") == "dense"
    plain = {key: value for key, value in options.items() if key != "skips"}
    widths = [width * 2**stage for stage in range(depth)]
    extra = sum(
        9 * widths[finer] * widths[stage]
        for stage in range(1, depth)
        for finer in range(0 if dense else stage - 1, stage)
    )
    with torch.device("meta"):
        found = count_parameters(build_model("af_unet", in_channels=channels, **options))
        unet = count_parameters(build_model("unet", in_channels=channels, **plain))
    assert found == unet + extra
    assert count in (None, found)


@pytest.mark.parametrize("skips", ["next", "dense"])
@pytest.mark.parametrize("training", [True, False])
@torch.no_grad()
def test_without_weight_on_the_shallow_features_it_is_unet(skips, training):
    torch.manual_seed(0)
    plain = build_model("unet", in_channels=3, width=4, depth=4)
    model = build_model("af_unet", in_channels=3, width=4, depth=4, skips=skips)
    state = plain.state_dict()
    for step, stage in enumerate((3, 2, 1, 0)):
        key, width = f"decoder.{step}.0.weight", 4 * 2**stage
        kernel = torch.zeros_like(model.state_dict()[key])
        kernel[:, :width], kernel[:, -width:] = state[key][:, :width], state[key][:, width:]
        state[key] = kernel
    model.load_state_dict(state)
    x = torch.rand(2, 3, 61, 75)
    torch.testing.assert_close(model.train(training)(x), plain.train(training)(x), atol=1e-5, rtol=1e-5)


def test_the_asymmetric_skips_of_the_paper_sized_net():
    model = build_model("af_unet", width=2)
    assert [list(model.finer(stage)) for stage in range(4)] == [[], [0], [1], [2]]
    dense = build_model("af_unet", width=2, skips="dense")
    assert [list(dense.finer(stage)) for stage in range(4)] == [[], [0], [0, 1], [0, 1, 2]]


@pytest.mark.parametrize("skips", ["next", "dense"])
@pytest.mark.parametrize("depth", [1, 3, 4])
@torch.no_grad()
def test_a_forward_pass_joins_what_the_model_tells(skips, depth):
    torch.manual_seed(0)
    model = build_model("af_unet", width=4, depth=depth, skips=skips).eval()
    outputs, inputs = {}, {}
    for name, module in model.named_modules():
        if name.count(".") == 1:

            def listen(_module, args, out, name=name):
                inputs[name], outputs[name] = args[0], out

            module.register_forward_hook(listen)
    model(torch.rand(1, 1, 61, 75))
    for step, stage in enumerate(reversed(range(depth))):
        same = outputs[f"encoder.{stage}"]
        finer = [F.max_pool2d(outputs[f"encoder.{index}"], 2 ** (stage - index)) for index in model.finer(stage)]
        expected = torch.cat([same, *finer, outputs[f"up.{step}"]], dim=1)
        assert torch.equal(inputs[f"decoder.{step}"], expected)
        assert outputs[f"decoder.{step}"].shape == same.shape
