"""ResUNet (Zhang, Liu and Wang 2018): a U-Net of pre-activation residual units, with strides in place of poolings."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from retlib.models.blocks import PreActivationUnit, SegmentationNetwork, join, positive_int, upsample

POOLINGS = 3


class ResUNet(SegmentationNetwork):
    """Deep residual U-Net: pre-activation units, strides in place of poolings (figure 2, table I of the paper).

    Encoder of ``width``, 2 and 4 times ``width`` channels (64, 128, 256), bridge of 8 times (512), and a decoder that
    enlarges, joins the encoder's map and applies a unit, back to ``width``; a 1x1 convolution ends it. The first unit
    starts with its convolution, without normalisation and ReLU. 8,223,809 parameters for three channels in.

    The paper leaves open how maps are enlarged (here: bilinear), whether convolutions carry a bias (here: all do) and
    whether the shortcut is normalised (here: it is).

    Args:
        in_channels: channels of the image.
        width: channels at full resolution.
    """

    def __init__(self, in_channels: int = 1, width: int = 64) -> None:
        super().__init__()
        self.in_channels = positive_int("in_channels", in_channels)
        self.cell = 2**POOLINGS
        widths = [positive_int("width", width) * 2**stage for stage in range(POOLINGS + 1)]
        self.encoder = nn.ModuleList([PreActivationUnit(in_channels, width, first=True)])
        self.encoder.extend(PreActivationUnit(i, o, stride=2) for i, o in pairwise(widths[:-1]))
        self.bridge = PreActivationUnit(widths[-2], widths[-1], stride=2)
        self.decoder = nn.ModuleList(PreActivationUnit(2 * w + w, w) for w in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, 1, kernel_size=1)

    def logits(self, x: Tensor) -> Tensor:
        """Compute logits (N, 1, h, w) of a padded batch (N, in_channels, h, w)."""
        skips = []
        for unit in self.encoder:
            x = unit(x)
            skips.append(x)
        x = self.bridge(x)
        for unit in self.decoder:
            x = unit(join([upsample(x), skips.pop()]))
        return self.head(x)
