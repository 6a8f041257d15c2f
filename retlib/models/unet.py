"""U-Net (Ronneberger, Fischer and Brox 2015): an encoder and a decoder, joined by a skip at every resolution."""

from __future__ import annotations

from torch import Tensor, nn

from retlib.models.blocks import DoubleConv, SegmentationNetwork, encode, join, positive_int, up_convolution


class UNet(SegmentationNetwork):
    """U-Net: ``depth`` poolings, channels ``width`` at full resolution and twice as many after each pooling.

    Deviations from the 2015 paper, all customary: padded convolutions (output size = input size), batch
    normalisation before every ReLU, one logit map in place of two class maps. ``width=64, depth=4`` is the
    paper's 64-128-256-512-1024 (31,036,481 parameters for one channel in); ``width=16, depth=3`` is a small
    one for narrow budgets.

    Args:
        in_channels: channels of the image.
        width: channels of the first stage.
        depth: number of 2x2 max-poolings.
    """

    def __init__(self, in_channels: int = 1, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.in_channels = positive_int("in_channels", in_channels)
        self.cell = 2 ** positive_int("depth", depth)
        widths = [positive_int("width", width) * 2**stage for stage in range(depth + 1)]
        inputs = [in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(DoubleConv(i, o) for i, o in zip(inputs[:-1], widths[:-1], strict=True))
        self.bridge = DoubleConv(inputs[-1], widths[-1])
        self.up = nn.ModuleList(up_convolution(2 * w, w) for w in reversed(widths[:-1]))
        self.decoder = nn.ModuleList(DoubleConv(2 * w, w) for w in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, 1, kernel_size=1)

    def logits(self, x: Tensor) -> Tensor:
        """Compute logits (N, 1, h, w) of a padded batch (N, in_channels, h, w)."""
        skips, x = encode(self.encoder, x)
        x = self.bridge(x)
        for up, stage in zip(self.up, self.decoder, strict=True):
            x = stage(join([skips.pop(), up(x)]))
        return self.head(x)
