"""Res-UNet: ResNet-50 encoder and U-Net decoder (a row of Tables 8 and 9 of Salsabila et al. 2026)."""

from __future__ import annotations

from torch import Tensor, nn

from retlib.models.blocks import (
    UPSAMPLING,
    DoubleConv,
    SegmentationNetwork,
    join,
    one_of,
    true_or_false,
    up_convolution,
    upsample,
)
from retlib.models.resnet import STRIDE, ResNet50

HEADS = ("bilinear", "fifth_stage")


class DecoderStage(nn.Module):
    """Doubles a map, concatenates the encoder's map of that size, then two 3x3 convolutions."""

    def __init__(self, in_channels: int, skip: int, out_channels: int, upsampling: str, norm: bool) -> None:
        super().__init__()
        self.up = up_convolution(in_channels, in_channels) if upsampling == "transposed" else upsample
        self.conv = DoubleConv(in_channels + skip, out_channels, norm=norm)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """(N, in_channels, H, W) and (N, skip, 2H, 2W), or None, to (N, out_channels, 2H, 2W)."""
        x = self.up(x)
        return self.conv(x if skip is None else join([x, skip]))


class Decoder(nn.Module):
    """Four up-sampling stages that fuse layers 3, 2, 1 and the stem, then one logit map.

    Four stages from 1/32 end at half the resolution. ``head="bilinear"`` enlarges the logits twice, which
    keeps the paper's count of stages; ``head="fifth_stage"`` adds a fifth stage at full resolution, without a
    skip.

    Args:
        in_channels: channels of the map at 1/32.
        skips: channels of the stem and of layers 1 to 3.
        width: width of the encoder; the stages give 4, 2, 1, 1/2 (and 1/4) times as many channels.
        upsampling: ``"bilinear"`` or ``"transposed"`` (2x2, keeps the channels).
        head: ``"bilinear"`` or ``"fifth_stage"``.
        norm: batch normalisation before each ReLU.
    """

    def __init__(
        self, in_channels: int, skips: tuple[int, ...], width: int, upsampling: str, head: str, norm: bool
    ) -> None:
        super().__init__()
        one_of("upsampling", upsampling, UPSAMPLING)
        one_of("head", head, HEADS)
        true_or_false("decoder_norm", norm)
        if width % 4:
            raise ValueError(f"width must be a multiple of 4, not {width}: the decoder divides it")
        inputs, outputs = list(reversed(skips)), [4 * width, 2 * width, width, width // 2]
        if head == "fifth_stage":
            inputs.append(0)
            outputs.append(width // 4)
        channels = [in_channels, *outputs[:-1]]
        self.stages = nn.ModuleList(
            DecoderStage(before, skip, after, upsampling, norm)
            for before, skip, after in zip(channels, inputs, outputs, strict=True)
        )
        self.head = nn.Conv2d(outputs[-1], 1, kernel_size=1)

    def forward(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        """Logits (N, 1, H, W) of the map at 1/32 and the skips, from H / 2 to H / 16."""
        skips = list(skips)
        for stage in self.stages:
            x = stage(x, skips.pop() if skips else None)
        x = self.head(x)
        return upsample(x) if len(self.stages) == 4 else x


class ResUNet50(SegmentationNetwork):
    """ResNet-50 encoder, U-Net decoder; the encoder's last map enters the decoder as it is.

    Args:
        in_channels: channels of the image.
        width: channels of the encoder's stem, a multiple of 4; 64 is ResNet-50.
        imagenet: start the encoder from ImageNet weights (width 64 only).
        upsampling: ``"bilinear"`` or ``"transposed"``.
        head: ``"bilinear"`` or ``"fifth_stage"``, see :class:`Decoder`.
        decoder_norm: batch normalisation in the decoder.
    """

    def __init__(
        self,
        in_channels: int = 1,
        width: int = 64,
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
        self.decoder = Decoder(last, tuple(skips), width, upsampling, head, decoder_norm)

    def logits(self, x: Tensor) -> Tensor:
        """Compute logits (N, 1, h, w) of a padded batch (N, in_channels, h, w)."""
        *skips, last = self.encoder(x)
        return self.decoder(last, skips)
