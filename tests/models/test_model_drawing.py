"""A network drawn from itself: sizes as a real forward pass gives them, arrows that reach their boxes."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from retlib.models import build_model, list_models
from retlib.models.drawing import Arrow, Box, MapSize, map_sizes, network_figure


@pytest.mark.parametrize("name", ["af_unet", "attention_unetpp"])
def test_sizes_are_those_of_a_real_forward_pass(name: str) -> None:
    model = build_model(name, in_channels=1, width=2).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    sizes = map_sizes(model, 1, 64, 96)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules()) and not model.training
    real = {}
    for key, module in model.named_modules():
        module.register_forward_hook(lambda module, inputs, output, key=key: real.update({key: output}))
    with torch.no_grad():
        model(torch.rand(1, 1, 64, 96))
    assert {key: maps.gives for key, maps in sizes.items()} == {
        key: MapSize(*output.shape[1:]) for key, output in real.items() if isinstance(output, torch.Tensor)
    }
    assert sizes[""].gives == MapSize(1, 64, 96) and str(sizes[""].takes[0]) == "1 @ 64×96"


def test_maps_inside_a_list_are_found() -> None:
    takes = map_sizes(build_model("attention_unetpp", width=2), 1, 64, 64)["decoder"].takes
    assert [size.height for size in takes] == [64, 32, 16, 8, 4]


@pytest.mark.parametrize("name", list_models())
def test_every_network_can_be_read(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name, in_channels=3)
    assert map_sizes(model, 3, 64, 64)[""].gives == MapSize(1, 64, 64)


MEANINGS = "map: channels @ height×width", "skip that joins a map of equal size"
KINDS = {MEANINGS[0]: "#cfe3f3"}, {MEANINGS[1]: ("#E69F00", "-")}
BOXES = {
    "start": Box(0, 0, "encoder 1\n64 @ 512×512", MEANINGS[0]),
    "end": Box(1.5, 2, "a longer text of one line", MEANINGS[0]),
}


@pytest.mark.parametrize("bend", [0.0, 0.2])
def test_arrows_go_from_outline_to_outline_and_texts_fit(bend: float) -> None:
    figure = network_figure(BOXES, [Arrow("start", "end", MEANINGS[1], bend)], *KINDS)
    figure.canvas.draw()
    (axis,) = figure.axes
    outlines = [patch.get_window_extent() for patch in axis.patches]
    for text, outline in zip([text for text in axis.texts if text.get_text()], outlines, strict=True):
        extent = text.get_window_extent()
        assert outline.x0 < extent.x0 and extent.x1 < outline.x1 and outline.y0 < extent.y0 and extent.y1 < outline.y1
    (arrow,) = (text.arrow_patch for text in axis.texts if not text.get_text())
    path = arrow.get_path().vertices
    points = arrow.get_transform().transform(path)
    for outline in outlines:  # in pixels: something of the arrow lies at the box
        nearest = np.clip(points, (outline.x0, outline.y0), (outline.x1, outline.y1))
        assert np.hypot(*(points - nearest).T).min() < 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(MEANINGS)
    legend, lowest = figure.legends[0].get_window_extent(), min(outline.y0 for outline in outlines)
    assert 0 <= legend.x0 and legend.x1 <= figure.bbox.width and 0 <= legend.y0 and legend.y1 < lowest
    plt.close(figure)


def test_an_arrow_to_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="arrows: expected keys of boxes, got nowhere"):
        network_figure(BOXES, [Arrow("start", "nowhere", MEANINGS[1])], *KINDS)
