"""Attention U-Net++ on a narrow ResNet-34 (Andrikevych et al. 2025): a residual encoder in place of the plain one.

The encoder has ResNet-34's four layers of 3, 4, 6 and 3 basic blocks (He et al. 2016) with torchvision's parameter
names. How the paper fits it to its five widths is open. Five widths, a stem and four layers: here the stem has the
first and each layer one of the others.

    level   map      blocks   channels (width 8)   resolution (stem_stride 1)
    0       stem     7x7           8               1
    1       layer1   3            16               1/2   (3x3 max-pooling of stride 2 in front, as in ResNet)
    2       layer2   4            32               1/4
    3       layer3   6            64               1/8
    4       layer4   3           128               1/16

Two deviations from ResNet-34 follow. layer1 doubles the stem's channels, so its first block gets a 1x1 shortcut. And
the stem does not halve the image: then both models of the paper decode one and the same grid, whose finest level is
the image's own, and differ in the encoder alone. ``stem_stride=2`` is the other reading, all levels half as fine.
"""

from __future__ import annotations

from torch import Tensor, nn

from retlib.models.attention_unetpp import MULTIPLES, NestedGatedDecoder
from retlib.models.blocks import PointwiseConv, SegmentationNetwork, positive_int, upsample
from retlib.models.resnet import ResNet


class BasicBlock(nn.Module):
    """Two 3x3 convolutions (the first with the stride), plus the input, then ReLU."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != channels:
            shortcut = PointwiseConv(in_channels, channels, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class AttentionUNetPPResNet34(SegmentationNetwork):
    """Attention U-Net++ with a residual encoder: the paper's model 'with ResNet'.

    The decoder is that of :class:`retlib.models.attention_unetpp.AttentionUNetPP`.

    Args:
        in_channels: channels of the image.
        width: channels of the stem; 8 is the paper's 8-16-32-64-128 (section 2).
        stem_stride: 1 keeps the image's resolution in the finest level; 2 halves it, as ResNet-34 does, and the
            logits are enlarged bilinearly.
    """

    def __init__(self, in_channels: int = 1, width: int = 8, stem_stride: int = 1) -> None:
        super().__init__()
        self.in_channels = positive_int("in_channels", in_channels)
        self.stem_stride = positive_int("stem_stride", stem_stride)
        if stem_stride > 2:
            raise ValueError(f"stem_stride must be 1 or 2, not {stem_stride}")
        self.cell = MULTIPLES[-1] * stem_stride
        widths = [positive_int("width", width) * multiple for multiple in MULTIPLES]
        self.encoder = ResNet(BasicBlock, in_channels, widths, stem_stride)
        self.decoder = NestedGatedDecoder(widths)
        self.head = nn.Conv2d(width, 1, kernel_size=1)

    def logits(self, x: Tensor) -> Tensor:
        """Compute logits (N, 1, h, w) of a padded batch (N, in_channels, h, w)."""
        logits = self.head(self.decoder(self.encoder(x)))
        if self.stem_stride > 1:
            logits = upsample(logits, self.stem_stride)
        return logits
