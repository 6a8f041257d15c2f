"""AF-UNet, "Asymmetric Fusion UNet": a U-Net whose decoder levels also see shallower encoder features."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from retlib.models.blocks import DoubleConv, UShapedNetwork, encode, join, one_of, up_convolution

SKIPS = ("next", "dense")


class AFUNet(UShapedNetwork):
    """U-Net with asymmetric skips (section 3.2 and figure 1 of the AF-UNet paper).

    ``depth`` encoder stages of ``width`` and twice as many channels after each 2x2 max-pooling (64, 128, 256, 512),
    a bridge (1024), 2x2 transposed convolutions; two 3x3 convolutions with batch normalisation and ReLU everywhere. A
    decoder level concatenates the same-level encoder feature, shallower encoder features and the enlarged map. The
    paper says that a level fuses 'a' shallow feature 'at a higher resolution stage', taken from 'the first to third
    blocks', and neither which one nor how it is brought to size. Our reading:

    * ``skips="next"``: one a level, from the next finer stage: 'non-dense'; 32,584,769 parameters for one channel in.
    * ``skips="dense"``: all finer stages, for comparison; 33,616,961 parameters.

    Either is max-pooled to the level's size, which needs no parameters. The level at full resolution has no finer
    stage and fuses two maps, as in U-Net. With the paper's depth of 4 the shallow features are blocks 1 to 3.

    Args:
        in_channels: channels of the image.
        width: channels of the first stage.
        depth: number of poolings.
        skips: ``"next"`` or ``"dense"``.
    """

    def __init__(self, in_channels: int = 1, width: int = 64, depth: int = 4, skips: str = "next") -> None:
        self.skips = one_of("skips", skips, SKIPS)
        super().__init__(
            in_channels,
            width,
            depth,
            DoubleConv,
            up_convolution,
            extra=lambda widths, stage: sum(widths[finer] for finer in self.finer(stage)),
        )

    def finer(self, stage: int) -> range:
        """List the encoder stages (0: full resolution) whose features decoder level ``stage`` takes beside its own."""
        return range(0 if self.skips == "dense" else max(stage - 1, 0), stage)

    def logits(self, x: Tensor) -> Tensor:
        """Compute logits (N, 1, h, w) of a padded batch (N, in_channels, h, w)."""
        features, x = encode(self.encoder, x)
        x = self.bridge(x)
        for step, stage in enumerate(range(self.depth - 1, -1, -1)):
            shallow = [F.max_pool2d(features[finer], 2 ** (stage - finer)) for finer in self.finer(stage)]
            x = self.decoder[step](join([features[stage], *shallow, self.up[step](x)]))
        return self.head(x)
