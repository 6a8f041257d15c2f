"""A nested decoder drawn from the network itself: channels and sizes come from a forward pass, not from a figure."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import nn

from retlib.models import build_model
from retlib.models.attention_unetpp import GatedNode, NestedGatedDecoder

COARSEST = 32
"""The largest stride of these networks."""

PROBE = (2 * COARSEST, 2 * COARSEST)
"""Height and width of the image that is sent through: the least that none of them pads."""


@dataclass(frozen=True)
class GridNode:
    """One map X(level, column) of a nested decoder.

    Attributes:
        level: 0 is the finest.
        column: 0 is the encoder.
        channels: of the map.
        height: of the map.
        width: of the map.
        gates: attention gates in front of the node.
    """

    level: int
    column: int
    channels: int
    height: int
    width: int
    gates: int


def grid_nodes(name: str, channels: int, size: tuple[int, int], **options: object) -> list[GridNode]:
    """All maps of a network with a nested gated decoder, for an image of ``size`` = (H, W).

    Channels and strides are those of a forward pass over a small empty image; by its strides ``size`` gives the maps'
    sizes.

    Raises:
        ValueError: the model has no nested gated decoder; a side of ``size`` is no multiple of 32, so that the network
            would pad it.
    """
    if any(side % COARSEST for side in size):
        raise ValueError(f"size must be multiples of {COARSEST}, not {size[0]} x {size[1]}")
    model = build_model(name, in_channels=channels, **options).eval()
    decoders = [module for module in model.modules() if isinstance(module, NestedGatedDecoder)]
    if len(decoders) != 1:
        raise ValueError(f"expected a model with one nested gated decoder, got {name!r}")
    found: list[GridNode] = []

    def at_size(x: torch.Tensor) -> tuple[int, int, int]:
        channels, *sides = x.shape[1:]
        return channels, *(side * part // whole for side, part, whole in zip(size, sides, PROBE, strict=True))

    def encoder_maps(module: nn.Module, inputs: tuple) -> None:
        found.extend(GridNode(level, 0, *at_size(x), 0) for level, x in enumerate(inputs[0]))

    def node_map(level: int, column: int, node: GatedNode):
        def note(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
            found.append(GridNode(level, column, *at_size(output), len(node.gates)))

        return note

    decoders[0].register_forward_pre_hook(encoder_maps)
    for column, nodes in enumerate(decoders[0].columns, start=1):
        for level, node in enumerate(nodes):
            node.register_forward_hook(node_map(level, column, node))
    with torch.no_grad():
        model(torch.zeros(1, channels, *PROBE))
    return found


def grid_figure(nodes: list[GridNode]) -> Figure:
    """The grid: levels downwards, columns to the right; solid arrows from below, dashed ones through a gate."""
    figure, axis = plt.subplots(figsize=(10, 4.6))
    places = {(node.level, node.column): (2.0 * node.column + node.level, -1.0 * node.level) for node in nodes}
    for node in nodes:
        x, y = places[node.level, node.column]
        encoder = node.column == 0
        text = f"X({node.level},{node.column})\n{node.channels} @ {node.height}x{node.width}"
        box = {"boxstyle": "round", "facecolor": "#cfe3f3" if encoder else "#fbe3c4", "edgecolor": "grey"}
        axis.text(x, y, text, ha="center", va="center", fontsize=7.5, bbox=box, zorder=3)
        if encoder and node.level:
            _arrow(axis, places[node.level - 1, 0], (x, y), "-", 0.0)
        if not encoder:
            _arrow(axis, places[node.level + 1, node.column - 1], (x, y), "-", 0.0)
            for column in range(node.column):
                # Arcs of different heights, so that a far skip does not run through the nodes between.
                _arrow(axis, places[node.level, column], (x, y), "--", -0.12 * (node.column - column - 1) ** 0.6)
    axis.set(xlim=(-1, max(x for x, _ in places.values()) + 1), ylim=(min(y for _, y in places.values()) - 0.5, 1.3))
    axis.set_axis_off()
    axis.plot([], [], "-", color="grey", label="pooled, or enlarged from below")
    axis.plot([], [], "--", color="grey", label="skip through an attention gate")
    axis.legend(loc="lower right", fontsize=8, frameon=False)
    return figure


def _arrow(axis, start: tuple[float, float], end: tuple[float, float], line: str, arc: float) -> None:
    style = {"arrowstyle": "->", "color": "grey", "linestyle": line, "shrinkA": 24, "shrinkB": 24}
    axis.annotate("", end, start, arrowprops=style | {"connectionstyle": f"arc3,rad={arc}"}, zorder=1)
