"""Attention U-Net (Oktay et al. 2018): a U-Net whose skips pass through additive attention gates."""

from __future__ import annotations

from torch import Tensor, nn

from retlib.models.attention import AttentionGate
from retlib.models.blocks import (
    DoubleConv,
    SegmentationNetwork,
    conv_bn_relu,
    encode,
    join,
    one_of,
    positive_int,
    upsample,
)

DEPTH = 4
GATES = ("coarser", "equal")


class AttentionUNet(SegmentationNetwork):
    """U-Net with attention gates on its skips; ``gates`` says which gate, and all else stays the same.

    * ``"coarser"``, as published: the gating signal is the decoder's map one level below the skip, before it is
      enlarged; the sum has the skip's channels; the gated skip goes through a 1x1 convolution and batch
      normalisation. The skip at full resolution is not gated, as in the paper.
    * ``"equal"``, as most re-implementations have it: the gating signal is that map after enlarging, half the skip's
      channels in the sum, batch normalisation inside the gate, no convolution after it, all four skips gated.
      34,878,573 parameters for three channels in, 34,877,421 for one.

    Around the gates: two 3x3 convolutions with bias, batch normalisation and ReLU a stage, max-pooling, bilinear
    enlargement and a 3x3 convolution of the same kind before each join.

    Deviations from the paper: two dimensions in place of three, no deep supervision, a gating signal taken from the
    decoder as it is (in its authors' code the lowest one goes through a 1x1 convolution first), and a convolution
    after each enlargement, which the re-implementations have.

    Args:
        in_channels: channels of the image.
        width: channels at full resolution.
        gates: ``"coarser"`` or ``"equal"``.
    """

    def __init__(self, in_channels: int = 1, width: int = 64, gates: str = "coarser") -> None:
        super().__init__()
        self.in_channels = positive_int("in_channels", in_channels)
        self.cell = 2**DEPTH
        self.equal = one_of("gates", gates, GATES) == "equal"
        widths = [positive_int("width", width) * 2**stage for stage in range(DEPTH + 1)]
        if self.equal and width < 2:
            raise ValueError(f"width must be at least 2 with equal gates, not {width}: they halve it")
        inputs = [in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(DoubleConv(i, o, bias=True) for i, o in zip(inputs[:-1], widths[:-1], strict=True))
        self.bridge = DoubleConv(inputs[-1], widths[-1], bias=True)
        skips = list(reversed(widths[:-1]))
        self.up = nn.ModuleList(nn.Sequential(*conv_bn_relu(2 * w, w, bias=True)) for w in skips)
        if self.equal:
            gated = [AttentionGate(w, w, w // 2, equal=True, norm=True) for w in skips]
        else:
            gated = [AttentionGate(w, 2 * w, w, output=True) for w in skips[:-1]]
        self.gates = nn.ModuleList(gated)
        self.decoder = nn.ModuleList(DoubleConv(2 * w, w, bias=True) for w in skips)
        self.head = nn.Conv2d(width, 1, kernel_size=1)

    def logits(self, x: Tensor) -> Tensor:
        """Compute logits (N, 1, h, w) of a padded batch (N, in_channels, h, w)."""
        skips, x = encode(self.encoder, x)
        x = self.bridge(x)
        for level, (up, stage) in enumerate(zip(self.up, self.decoder, strict=True)):
            skip, enlarged = skips.pop(), up(upsample(x))
            if level < len(self.gates):
                skip = self.gates[level](skip, enlarged if self.equal else x)
            x = stage(join([skip, enlarged]))
        return self.head(x)
