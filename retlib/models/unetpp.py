"""UNet++ (Zhou et al. 2018), a nested U-Net whose skips pass through dense convolution blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retlib.models.blocks import DoubleConv, SegmentationNetwork, join, positive_int, true_or_false, upsample

DEPTH = 4


class UNetPlusPlus(SegmentationNetwork):
    """UNet++: node X(i, j) joins X(i, 0), ..., X(i, j - 1) and the enlarged X(i + 1, j - 1) (equation 1).

    X(i, 0) is the encoder, i poolings below full resolution, with ``width * 2**i`` channels, and so has every node
    of row i. A node is two 3x3 convolutions, each with bias, batch normalisation and ReLU. The logits come from
    X(0, 4), or with deep supervision from X(0, 1) to X(0, 4). 9,163,329 parameters for three channels in.

    Deviations: equation 1 has a convolution and an activation; batch normalisation and the second convolution are
    those of the usual PyTorch version, whose parameter counts this model has. Enlarging is bilinear with pixel areas
    aligned (there: corners). Deep supervision trains the mean of the four logits, so that the model has one output
    like every other; the paper trains a loss a head and averages the heads at inference ('accurate mode').

    Args:
        in_channels: channels of the image.
        width: channels at full resolution.
        deep_supervision: a head on each of X(0, 1) to X(0, 4), in training and in evaluation.
    """

    def __init__(self, in_channels: int = 1, width: int = 32, deep_supervision: bool = False) -> None:
        super().__init__()
        self.in_channels = positive_int("in_channels", in_channels)
        self.cell = 2**DEPTH
        true_or_false("deep_supervision", deep_supervision)
        widths = [positive_int("width", width) * 2**row for row in range(DEPTH + 1)]
        inputs = [in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(DoubleConv(i, o, bias=True) for i, o in zip(inputs, widths, strict=True))
        # nested[j - 1][i] is X(i, j): the j-th diagonal of the figure, from full resolution down.
        self.nested = nn.ModuleList(
            nn.ModuleList(
                DoubleConv(j * widths[row] + widths[row + 1], widths[row], bias=True) for row in range(DEPTH + 1 - j)
            )
            for j in range(1, DEPTH + 1)
        )
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, kernel_size=1) for _ in range(DEPTH if deep_supervision else 1))

    def logits(self, x: Tensor) -> Tensor:
        """Compute logits (N, 1, h, w) of a padded batch (N, in_channels, h, w)."""
        rows: list[list[Tensor]] = []  # rows[i][j] is X(i, j)
        for row, stage in enumerate(self.encoder):
            rows.append([stage(x if row == 0 else F.max_pool2d(rows[-1][0], kernel_size=2))])
        for column in self.nested:
            coarser = [row[-1] for row in rows[1:]]
            rows = rows[:-1]  # the lowest row is complete
            for row, node, coarse in zip(rows, column, coarser, strict=True):
                row.append(node(join([*row, upsample(coarse)])))
        # One head: that of X(0, 4); four: those of X(0, 1) to X(0, 4).
        logits = [head(node) for head, node in zip(self.heads, rows[0][-len(self.heads) :], strict=True)]
        return torch.stack(logits).mean(dim=0)
