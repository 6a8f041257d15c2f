"""The drawing of a network says what the network does."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest
import torch
from torch.nn import functional as F

from retlib.models import build_model
from retlib.report.architecture import FeatureMap, anatomy, architecture_figure


def test_the_paper_s_figure() -> None:
    """Section 3.2 and figure 1 of the AF-UNet paper: 64 to 512 channels, a bridge of 1024, at 512x512."""
    with torch.device("meta"):
        model = build_model("af_unet", in_channels=3)
    body = anatomy(model, 3, 512, 512)
    assert body.image == FeatureMap(3, 512, 512) and body.head == FeatureMap(1, 512, 512)
    assert [(m.channels, m.height, m.width) for m in body.encoder] == [
        (64, 512, 512),
        (128, 256, 256),
        (256, 128, 128),
        (512, 64, 64),
    ]
    assert body.bridge == FeatureMap(1024, 32, 32)
    assert [level.same for level in body.levels] == [3, 2, 1, 0]
    assert [level.shallow for level in body.levels] == [(2,), (1,), (0,), ()]
    assert all(level.out == level.up == body.encoder[level.same] for level in body.levels)


@pytest.mark.parametrize("skips", ["next", "dense"])
def test_the_skips_drawn_are_those_of_the_forward_pass(skips: str) -> None:
    """What a decoder level is given holds just the listed encoder maps, pooled as listed, and the enlarged map."""
    torch.manual_seed(0)
    model = build_model("af_unet", width=2, depth=3, skips=skips).eval()
    body = anatomy(model, 1, 32, 32)
    seen: dict[str, torch.Tensor] = {}
    for name, module in model.named_modules():
        if name.split(".")[0] in ("encoder", "up", "decoder") and name.count(".") == 1:
            module.register_forward_hook(
                lambda module, inputs, output, name=name: seen.update({name: output, f"{name} takes": inputs[0]})
            )
    with torch.no_grad():
        model(torch.rand(1, 1, 32, 32))
    for step, level in enumerate(body.levels):
        parts = [seen[f"encoder.{level.same}"], seen[f"up.{step}"]]
        parts += [F.max_pool2d(seen[f"encoder.{i}"], k) for i, k in zip(level.shallow, level.pooling, strict=True)]
        taken = seen[f"decoder.{step} takes"]
        assert taken.shape[1] == sum(part.shape[1] for part in parts)
        given = {tuple(channel.flatten().tolist()) for part in parts for channel in part[0]}
        assert {tuple(channel.flatten().tolist()) for channel in taken[0]} == given


def test_a_model_that_says_something_else_than_it_does_is_refused() -> None:
    model = build_model("af_unet", width=2)
    model.fusions = build_model("af_unet", width=2, skips="dense").fusions
    with pytest.raises(ValueError, match=r"decoder\.0 takes"):
        anatomy(model, 1, 64, 64)
    with pytest.raises(ValueError, match="fusions"):
        anatomy(build_model("unet", width=2), 1, 64, 64)


def test_reading_leaves_the_model_alone() -> None:
    model = build_model("af_unet", width=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    anatomy(model, 1, 64, 64)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert model.training


def test_the_drawing_carries_every_number_and_arrow() -> None:
    with torch.device("meta"):
        model = build_model("af_unet", in_channels=3, width=6, skips="dense")
    figure = architecture_figure(model, 3, 96, 64)
    texts = [text.get_text() for text in figure.axes[0].texts]
    for wanted in ("3", "6", "12", "24", "48", "96", "1", "96x64", "48x32", "24x16", "12x8", "6x4"):
        assert wanted in texts
    colours = [patch.get_edgecolor() for patch in figure.axes[0].patches if hasattr(patch, "get_arrowstyle")]
    # 4 symmetric and 3 + 2 + 1 asymmetric skips; 5 down, 4 up, 4 inside the levels, 1 out.
    assert sorted(colours.count(colour) for colour in set(colours)) == [4, 6, 14]
    plt.close(figure)
