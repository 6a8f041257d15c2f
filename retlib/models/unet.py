"""U-Net (Ronneberger, Fischer and Brox 2015): an encoder and a decoder, joined by a skip at every resolution."""

from __future__ import annotations

from retlib.models.blocks import DoubleConv, UShapedNetwork, up_convolution


class UNet(UShapedNetwork):
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
        super().__init__(in_channels, width, depth, DoubleConv, up_convolution)
