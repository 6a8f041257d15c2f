"""Draw a network from itself: map sizes from a forward pass over shapes, boxes on a grid, arrows between boxes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Patch
from torch import Tensor, nn

FONT_SIZE = 9  # points
CHARACTER, LINE = 0.075, 0.155  # inches that a character and a line of text take at this size
GAP = 0.5  # inches between neighbouring boxes


class MapSize(NamedTuple):
    """Size of a feature map; as text ``64 @ 512×512``."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.channels} @ {self.height}×{self.width}"


class Maps(NamedTuple):
    """Sizes of the maps that a module takes, and of the one that it gives."""

    takes: tuple[MapSize, ...]
    gives: MapSize


class Box(NamedTuple):
    """A box at a place of the grid (fractions and negative numbers are allowed), with its text and its kind."""

    column: float
    row: float
    text: str
    kind: str


class Arrow(NamedTuple):
    """An arrow from one box to another, by their keys; ``bend`` is the share of its length that it bends aside."""

    start: str
    end: str
    kind: str
    bend: float = 0.0


def map_sizes(model: nn.Module, channels: int, height: int, width: int) -> dict[str, Maps]:
    """Read the sizes of a network's maps during a forward pass over one image.

    Shapes alone are followed (torch's ``meta`` device): nothing is computed, and the model stays as it is. Height and
    width are in pixels.

    Returns:
        Name of a module, as ``get_submodule`` takes it -> its maps in its last call. Modules that give anything but one
        map are left out.
    """
    sizes: dict[str, Maps] = {}

    def note(name: str):
        def hook(module: nn.Module, inputs: tuple, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
                sizes[name] = Maps(tuple(_map_sizes(inputs)), MapSize(*output.shape[1:]))

        return hook

    empty = copy.deepcopy(model).to("meta")
    for name, module in empty.named_modules():
        module.register_forward_hook(note(name))
    with torch.no_grad():
        empty(torch.empty(1, channels, height, width, device="meta"))
    return sizes


def _map_sizes(value: object) -> Iterator[MapSize]:
    """Find the maps in the arguments of a module, inside lists and tuples too."""
    if isinstance(value, Tensor) and value.ndim == 4:
        yield MapSize(*value.shape[1:])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _map_sizes(item)


def network_figure(
    boxes: Mapping[str, Box],
    arrows: Sequence[Arrow],
    box_kinds: Mapping[str, str],
    arrow_kinds: Mapping[str, tuple[str, str]],
) -> Figure:
    """Draw boxes on a grid and arrows between them, with a legend of the kinds below.

    All boxes have the size that the longest text needs. Arrows go from outline to outline.

    Args:
        boxes: key -> box.
        arrows: drawn below the boxes.
        box_kinds: what a kind means, for the legend -> fill colour.
        arrow_kinds: what a kind means, for the legend -> (colour, line style).

    Raises:
        ValueError: an arrow starts or ends at a box that is not there.
    """
    if missing := {key for arrow in arrows for key in (arrow.start, arrow.end)} - set(boxes):
        raise ValueError(f"arrows: expected keys of boxes, got {', '.join(sorted(missing))}")
    lines = [box.text.split("\n") for box in boxes.values()]
    wide = CHARACTER * max(len(line) for text in lines for line in text) + 0.2
    tall = LINE * max(len(text) for text in lines) + 0.15
    middles = {key: (box.column * (wide + GAP), -box.row * (tall + GAP)) for key, box in boxes.items()}
    across, down = zip(*middles.values(), strict=True)
    limits = (min(across) - 0.6 * wide, max(across) + 0.6 * wide), (min(down) - 0.7 * tall, max(down) + 0.7 * tall)
    width, height = (high - low for low, high in limits)
    kinds = [*box_kinds, *arrow_kinds]
    columns = max(1, int(width / (CHARACTER * max(map(len, kinds)) + 0.6)))
    legend = 1.3 * LINE * -(-len(kinds) // columns) + 0.2
    figure, axis = plt.subplots(figsize=(width, height + legend), layout="constrained")
    axis.set(xlim=limits[0], ylim=limits[1])
    axis.set_axis_off()
    outlines = {}
    for key, (x, y) in middles.items():
        corner, rounded = (x - wide / 2, y - tall / 2), "round,pad=0,rounding_size=0.06"
        fill = box_kinds[boxes[key].kind]
        outlines[key] = axis.add_patch(
            FancyBboxPatch(corner, wide, tall, boxstyle=rounded, facecolor=fill, edgecolor="0.3", zorder=2)
        )
        axis.text(x, y, boxes[key].text, ha="center", va="center", fontsize=FONT_SIZE, color="black", zorder=3)
    for arrow in arrows:
        colour, line = arrow_kinds[arrow.kind]
        look = {"arrowstyle": "-|>", "color": colour, "linestyle": line, "linewidth": 1.4, "mutation_scale": 11}
        ends = {"patchA": outlines[arrow.start], "patchB": outlines[arrow.end], "shrinkA": 0, "shrinkB": 0}
        bent = {"connectionstyle": f"arc3,rad={arrow.bend}"}
        axis.annotate("", middles[arrow.end], middles[arrow.start], arrowprops=look | ends | bent, zorder=1)
    handles = [Patch(facecolor=colour, edgecolor="0.3", label=kind) for kind, colour in box_kinds.items()]
    handles += [Line2D([], [], color=c, linestyle=s, linewidth=1.8, label=kind) for kind, (c, s) in arrow_kinds.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=FONT_SIZE)
    return figure
