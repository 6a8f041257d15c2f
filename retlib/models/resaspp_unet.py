"""ResASPP-UNet: ResNet-50 encoder, ASPP bridge, U-Net decoder.

Salsabila et al. 2026, 'Architecture Design' and Figure 2.

Left open by the paper and decided here: the encoder's output stride (32, plain ResNet-50), what the fourth
stage fuses (the stem: layer 4 has the bridge's own size), up-sampling (bilinear), batch normalisation in the
decoder (yes), the decoder's widths (256-128-64-32) and how four stages reach the full resolution (the logits
are enlarged).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from retlib.models.aspp import ASPP, RATES
from retlib.models.blocks import SegmentationNetwork
from retlib.models.res_unet import Decoder
from retlib.models.resnet import STRIDE, ResNet50


class ResASPPUNet(SegmentationNetwork):
    """ResNet-50 encoder, ASPP on its last map, U-Net decoder.

    Args:
        in_channels: channels of the image.
        width: channels of the encoder's stem, a multiple of 4; 64 is ResNet-50. ASPP gives 4 times as many
            (256).
        rates: dilations of the ASPP's 3x3 branches.
        imagenet: start the encoder from ImageNet weights (width 64 only).
        upsampling: ``"bilinear"`` or ``"transposed"``.
        head: ``"bilinear"`` or ``"fifth_stage"``, see :class:`retlib.models.res_unet.Decoder`.
        decoder_norm: batch normalisation in the decoder.
    """

    def __init__(
        self,
        in_channels: int = 1,
        width: int = 64,
        rates: Sequence[int] = RATES,
        imagenet: bool = False,
        upsampling: str = "bilinear",
        head: str = "bilinear",
        decoder_norm: bool = True,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.cell = STRIDE
        self.encoder = ResNet50(in_channels, width, imagenet)
        *skips, last = self.encoder.channels
        self.bridge = ASPP(last, 4 * width, rates)
        self.decoder = Decoder(4 * width, tuple(skips), width, upsampling, head, decoder_norm)

    def logits(self, x: Tensor) -> Tensor:
        """Compute logits (N, 1, h, w) of a padded batch (N, in_channels, h, w)."""
        *skips, last = self.encoder(x)
        return self.decoder(self.bridge(last), skips)
