"""Attention U-Net++ (Andrikevych et al. 2025): a nested decoder with an attention gate on every skip of every node.

The grid of nodes is U-Net++'s (Zhou et al. 2018). With X(i, j) the map of level i (0 is the finest) and column j
(column 0 is the encoder),

    X(i, j) = H[ A(X(i, 0)), ..., A(X(i, j-1)), Up(X(i+1, j-1)) ],    j > 0,

H two 3x3 convolutions with batch normalisation and ReLU over the concatenation, Up a 2x2 transposed convolution,
and A an attention gate of Oktay et al. 2018 whose gating signal is X(i+1, j-1), the map from below before it is
enlarged. The output is a 1x1 convolution on X(0, 4).

The paper (section 2) says that attention gates are used in each decoder block and gives no equation. That each
earlier map of a row passes a gate of its own follows the work it cites for the architecture (Li et al. 2022,
'Residual-Attention UNet++'), which has gates of this kind on every skip of the nested grid.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from retlib.models.attention import AttentionGate
from retlib.models.blocks import DoubleConv, SegmentationNetwork, join, positive_int, up_convolution

MULTIPLES = (1, 2, 4, 8, 16)
"""Channels of the five levels, as multiples of the width: 8-16-32-64-128 at the paper's width of 8."""


class GatedNode(nn.Module):
    """One node X(i, j) of the nested decoder.

    Args:
        skips: j, the number of earlier maps of the same level.
        channels: channels of this level.
        below: channels of the level below.
    """

    def __init__(self, skips: int, channels: int, below: int) -> None:
        super().__init__()
        # Half the channels inside the gate, as most code for attention gates has it; the paper gives no number.
        inner = max(1, channels // 2)
        self.gates = nn.ModuleList(AttentionGate(channels, below, inner) for _ in range(skips))
        self.up = up_convolution(below, channels)
        self.fuse = DoubleConv((skips + 1) * channels, channels)

    def forward(self, earlier: Sequence[Tensor], below: Tensor) -> Tensor:
        """X(i, 0..j-1), each (N, channels, H, W), and X(i+1, j-1), (N, below, H/2, W/2), to (N, channels, H, W)."""
        gated = [gate(x, below) for gate, x in zip(self.gates, earlier, strict=True)]
        return self.fuse(join([*gated, self.up(below)]))


class NestedGatedDecoder(nn.Module):
    """All nodes X(i, j) with j > 0 over the maps of an encoder.

    Args:
        widths: channels of the encoder's maps, the finest first; each level has half the resolution of the one
            before.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        depth = len(widths) - 1
        self.columns = nn.ModuleList(
            nn.ModuleList(GatedNode(column, widths[level], widths[level + 1]) for level in range(depth - column + 1))
            for column in range(1, depth + 1)
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """X(0, depth) from the encoder's maps, the finest first."""
        rows = [[x] for x in maps]
        for nodes in self.columns:
            # Left to right, so that X(i+1, j-1) is there when X(i, j) wants it: rows[level + 1] has not grown yet.
            for level, node in enumerate(nodes):
                rows[level].append(node(rows[level], rows[level + 1][-1]))
        return rows[0][-1]


class AttentionUNetPP(SegmentationNetwork):
    """Attention U-Net++ with a plain convolutional encoder: the paper's model 'without ResNet'.

    The paper names the filters, the nested decoder and the gates, and nothing inside a block. Ours: two padded 3x3
    convolutions with batch normalisation and ReLU, 2x2 max-pooling, no deep supervision (one loss curve is shown).

    Args:
        in_channels: channels of the image.
        width: channels of the finest level; 8 is the paper's 8-16-32-64-128 (section 2).
    """

    def __init__(self, in_channels: int = 1, width: int = 8) -> None:
        super().__init__()
        self.in_channels = positive_int("in_channels", in_channels)
        self.cell = MULTIPLES[-1]
        widths = [positive_int("width", width) * multiple for multiple in MULTIPLES]
        inputs = [in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(DoubleConv(i, o) for i, o in zip(inputs, widths, strict=True))
        self.decoder = NestedGatedDecoder(widths)
        self.head = nn.Conv2d(width, 1, kernel_size=1)

    def logits(self, x: Tensor) -> Tensor:
        """Compute logits (N, 1, h, w) of a padded batch (N, in_channels, h, w)."""
        maps: list[Tensor] = []
        for level, stage in enumerate(self.encoder):
            maps.append(stage(x if level == 0 else F.max_pool2d(maps[-1], kernel_size=2)))
        return self.head(self.decoder(maps))
