"""A U-shaped network drawn from itself: channels, sizes and skips come from the model, none is typed.

The model says what its decoder levels fuse (``fusions()``, as :class:`retlib.models.af_unet.AFUNet` has it); a forward
pass over shapes alone (torch's ``meta`` device) says how large every map is, and whether the two agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Patch, Rectangle
from torch import nn
from torch.func import functional_call

# Blue maps, gray symmetric and yellow asymmetric copies, as in the AF-UNet paper; the tones are colour-blind safe.
MAP, SYMMETRIC, ASYMMETRIC = "#56B4E9", "#999999", "#E69F00"


@dataclass(frozen=True)
class FeatureMap:
    """Shape of what a module gives for one image.

    Attributes:
        channels: of the map.
        height: pixels.
        width: pixels.
    """

    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class Level:
    """One decoder level, with the maps that it concatenates.

    Attributes:
        up: the enlarged map.
        same: the symmetric skip: index of the encoder stage (0 is full resolution).
        shallow: the asymmetric skips: indices of encoder stages.
        pooling: factor by which each of ``shallow`` is reduced.
        out: the level's own map.
    """

    up: FeatureMap
    same: int
    shallow: tuple[int, ...]
    pooling: tuple[int, ...]
    out: FeatureMap


@dataclass(frozen=True)
class Anatomy:
    """Everything that the drawing shows.

    Attributes:
        image: the input.
        encoder: the map of each stage, full resolution first.
        bridge: the map at the bottom.
        levels: decoder levels, lowest resolution first.
        head: the output.
    """

    image: FeatureMap
    encoder: tuple[FeatureMap, ...]
    bridge: FeatureMap
    levels: tuple[Level, ...]
    head: FeatureMap


def anatomy(model: nn.Module, channels: int, height: int, width: int) -> Anatomy:
    """Read a network's maps and skips off the network.

    Args:
        model: with ``encoder``, ``bridge``, ``head`` and ``fusions()``; it stays as it is.
        channels: of the image.
        height: of the image, pixels.
        width: of the image, pixels.

    Raises:
        ValueError: the model cannot say what its levels fuse, or a level takes another number of channels, or maps of
            another size, than what it says it fuses.
    """
    if not hasattr(model, "fusions"):
        raise ValueError(f"model: expected one that lists its skips in fusions(), got {type(model).__name__}")
    fusions = model.fusions()
    stages = [f"encoder.{index}" for index in range(len(model.encoder))]
    decoders = [fusion.decoder for fusion in fusions]
    given, taken = _shapes(
        model, [*stages, "bridge", "head", *(f.up for f in fusions), *decoders], channels, height, width
    )
    levels = []
    for fusion in fusions:
        up, same = given[fusion.up], given[fusion.same]
        shallow = [given[name] for name in fusion.shallow]
        sizes = {(up.height, up.width), (same.height, same.width)}
        sizes |= {(m.height // k, m.width // k) for m, k in zip(shallow, fusion.pooling, strict=True)}
        total = up.channels + same.channels + sum(m.channels for m in shallow)
        if taken[fusion.decoder].channels != total or len(sizes) > 1:
            raise ValueError(
                f"model: {fusion.decoder} takes {taken[fusion.decoder].channels} channels, but what fusions() lists "
                f"has {total}, at sizes {sorted(sizes)}"
            )
        places = tuple(stages.index(name) for name in fusion.shallow)
        levels.append(Level(up, stages.index(fusion.same), places, tuple(fusion.pooling), given[fusion.decoder]))
    image = FeatureMap(channels, height, width)
    return Anatomy(image, tuple(given[name] for name in stages), given["bridge"], tuple(levels), given["head"])


def architecture_figure(model: nn.Module, channels: int, height: int, width: int) -> Figure:
    """Draw a network: a box a map, its channels above and its size below; skips as arrows in two colours.

    Args:
        model: see :func:`anatomy`.
        channels: of the image.
        height: of the image, pixels.
        width: of the image, pixels.

    Raises:
        ValueError: see :func:`anatomy`.
    """
    body = anatomy(model, channels, height, width)
    depth = len(body.encoder)
    figure, axis = plt.subplots(figsize=(12, 1.7 * depth + 1.2))
    pen = _Pen(axis, body.bridge.channels)
    image = pen.box(body.image, 0, 0)
    before, stages = image, []
    for stage, found in enumerate(body.encoder):
        box = pen.box(found, 1.4 + 1.15 * stage, stage)
        pen.arrow(before, box, "0.2")
        stages.append(box)
        before = box
    bridge = pen.box(body.bridge, 1.9 + 1.15 * depth, depth)
    pen.arrow(before, bridge, "0.2")
    before, left = bridge, 3.2 + 1.15 * depth
    for level in body.levels:
        same = pen.box(body.encoder[level.same], left, level.same, SYMMETRIC)
        pen.arrow(stages[level.same], same, SYMMETRIC)
        edge = same
        for source, factor in zip(level.shallow, level.pooling, strict=True):
            pooled = body.encoder[source]
            pooled = FeatureMap(pooled.channels, pooled.height // factor, pooled.width // factor)
            edge = pen.box(pooled, edge.right, level.same, ASYMMETRIC, sized=False)
            pen.over(stages[source], edge)
        up = pen.box(level.up, edge.right, level.same, sized=False)
        pen.rise(before, up)
        before = pen.box(level.out, up.right + 0.45, level.same)
        pen.arrow(up, before, "0.2")
        left = before.right + 0.75
    head = pen.box(body.head, left - 0.2, 0)
    pen.arrow(before, head, "0.2")
    pen.finish(head.right, depth)
    return figure


def _shapes(
    model: nn.Module, names: list[str], channels: int, height: int, width: int
) -> tuple[dict[str, FeatureMap], dict[str, FeatureMap]]:
    """What each named module gives, and what it takes, for one image; nothing is computed."""
    given: dict[str, FeatureMap] = {}
    taken: dict[str, FeatureMap] = {}

    def note(name: str):
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            given[name] = FeatureMap(*output.shape[1:])
            taken[name] = FeatureMap(*inputs[0].shape[1:])

        return hook

    handles = [model.get_submodule(name).register_forward_hook(note(name)) for name in dict.fromkeys(names)]
    try:
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        empty = {name: value.detach().to("meta") for name, value in tensors.items()}
        with torch.no_grad():
            functional_call(model, empty, (torch.empty(1, channels, height, width, device="meta"),))
    finally:
        for handle in handles:
            handle.remove()
    return given, taken


@dataclass(frozen=True)
class _Placed:
    """A box that has been drawn, in the axes' units."""

    left: float
    right: float
    bottom: float
    top: float

    @property
    def middle(self) -> float:
        return (self.bottom + self.top) / 2


class _Pen:
    """Draws boxes and arrows; levels run downwards, one unit of height each."""

    def __init__(self, axis: Axes, most: int) -> None:
        self.axis = axis
        self.most = most

    def box(self, found: FeatureMap, left: float, level: int, colour: str = MAP, sized: bool = True) -> _Placed:
        """A map: wider with more channels (by their logarithm), lower at lower levels."""
        width = 0.1 + 0.26 * log2(found.channels + 1) / log2(self.most + 1)
        height = 0.56 * 0.86**level
        bottom = -level - height / 2
        self.axis.add_patch(Rectangle((left, bottom), width, height, facecolor=colour, edgecolor="0.2", linewidth=0.8))
        self.axis.text(left + width / 2, bottom + height + 0.03, str(found.channels), ha="center", fontsize=7)
        if sized:
            size = f"{found.height}x{found.width}"
            self.axis.text(left + width, bottom - 0.04, size, ha="right", va="top", fontsize=6, color="0.25")
        return _Placed(left, left + width, bottom, bottom + height)

    def arrow(self, start: _Placed, end: _Placed, colour: str) -> None:
        """Straight, from the right of one box to the left of another; a symmetric skip, a convolution, a pooling."""
        self._draw((start.right, start.middle), (end.left, end.middle), colour, 0.0)

    def rise(self, start: _Placed, end: _Placed) -> None:
        """A transposed convolution: from below into a box's lower edge."""
        self._draw((start.right, start.middle), ((end.left + end.right) / 2, end.bottom), "0.2", 0.15)

    def over(self, start: _Placed, end: _Placed) -> None:
        """An asymmetric skip: from the corner of a finer stage into a box's upper edge, past its number."""
        self._draw((start.right, start.bottom), ((end.left + end.right) / 2, end.top + 0.15), ASYMMETRIC, -0.06)

    def _draw(self, start: tuple[float, float], end: tuple[float, float], colour: str, bend: float) -> None:
        style = f"arc3,rad={bend}"
        patch = FancyArrowPatch(
            start, end, connectionstyle=style, arrowstyle="-|>", mutation_scale=9, color=colour, shrinkA=1, shrinkB=1
        )
        patch.set_linewidth(1.3)
        self.axis.add_patch(patch)

    def finish(self, right: float, depth: int) -> None:
        """Limits and legend."""
        self.axis.set(xlim=(-0.6, right + 0.3), ylim=(-depth - 0.6, 0.6))
        self.axis.set_axis_off()
        handles = [
            Patch(color=MAP, label="feature map (channels above, size below)"),
            Patch(color=SYMMETRIC, label="copied by a symmetric skip"),
            Patch(color=ASYMMETRIC, label="copied by an asymmetric skip, max-pooled"),
        ]
        self.axis.legend(handles=handles, loc="lower left", frameon=False, fontsize=8)
