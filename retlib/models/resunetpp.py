"""ResUNet++ (Jha et al. 2019): ResUNet with squeeze-and-excitation, atrous pooling and attention."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retlib.models.blocks import PreActivationUnit, SegmentationNetwork, join, positive_int

POOLINGS = 3
REDUCTION = 8
RATES = (1, 6, 12, 18)


class SqueezeExcitation(nn.Module):
    """Squeeze and excitation: scales each channel by a coefficient in (0, 1) from the means of all (Hu et al. 2018).

    Two fully connected layers without bias with a ReLU between them; ``channels // 8`` values in the middle, at
    least two (of one, the ReLU leaves nothing where it starts below 0).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        middle = max(channels // REDUCTION, 2)
        self.squeeze = nn.Linear(channels, middle, bias=False)
        self.excite = nn.Linear(middle, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        scale = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean(dim=(2, 3))))))
        return x * scale[:, :, None, None]


class SummedASPP(nn.Module):
    """Atrous pyramid of this model: 3x3 convolutions at rates 1, 6, 12 and 18, normalised, *summed*, then 1x1.

    DeepLab's (see ``retlib.models.aspp``) concatenates its branches, rectifies each and has an image-level branch;
    this one does none of it.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=rate, dilation=rate),
                nn.BatchNorm2d(out_channels),
            )
            for rate in RATES
        )
        self.project = nn.Conv2d(out_channels, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        total = self.branches[0](x)
        for branch in self.branches[1:]:
            total = total + branch(x)
        return self.project(total)


class DecoderAttention(nn.Module):
    """Attention of this model: multiplies the decoder's map by a map made of it and of the finer encoder feature.

    Each of the two goes through normalisation, ReLU and a 3x3 convolution; the encoder's is max-pooled to the size of
    the decoder's; their sum goes through the same once more. Neither a sigmoid nor anything else bounds the result,
    which has a value a channel: unlike an attention gate it is no coefficient between 0 and 1.
    """

    def __init__(self, encoder_channels: int, channels: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*_bn_relu_conv(encoder_channels, channels), nn.MaxPool2d(kernel_size=2))
        self.decoder = nn.Sequential(*_bn_relu_conv(channels, channels))
        self.joint = nn.Sequential(*_bn_relu_conv(channels, channels))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Decoder map (N, channels, H, W) and skip (N, encoder_channels, 2H, 2W) to (N, channels, H, W)."""
        return self.joint(self.encoder(skip) + self.decoder(x)) * x


class DecoderStep(nn.Module):
    """Attention, nearest-neighbour enlargement, concatenation with the skip, residual unit, squeeze-and-excitation."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.attention = DecoderAttention(skip_channels, in_channels)
        self.unit = PreActivationUnit(in_channels + skip_channels, out_channels)
        self.scale = SqueezeExcitation(out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, in_channels, H, W) and (N, skip_channels, 2H, 2W) to (N, out_channels, 2H, 2W)."""
        x = F.interpolate(self.attention(x, skip), scale_factor=2.0, mode="nearest")
        return self.scale(self.unit(join([x, skip])))


class ResUNetPlusPlus(SegmentationNetwork):
    """ResUNet++: three strided stages, an atrous pyramid as bridge and as last stage (figure 1 of the paper).

    Stem and stages of 1, 2, 4 and 8 times ``width`` channels, a squeeze-and-excitation after each residual unit;
    bridge of 16 times; decoder steps of 8, 4 and 2 times; pyramid back to ``width``; 1x1 convolution. Widths, biases,
    the sum in the pyramids and the squeeze-and-excitation in every decoder step are those of its authors' PyTorch
    code: 4,062,993 parameters for three channels in.

    Deviation below a ``width`` of 16: squeeze-and-excitation keeps two values in the middle where an eighth of the
    channels would be fewer.

    Args:
        in_channels: channels of the image.
        width: channels at full resolution.
    """

    def __init__(self, in_channels: int = 1, width: int = 16) -> None:
        super().__init__()
        self.in_channels = positive_int("in_channels", in_channels)
        self.cell = 2**POOLINGS
        widths = [positive_int("width", width) * 2**stage for stage in range(POOLINGS + 1)]
        stem = PreActivationUnit(in_channels, width, first=True)
        self.encoder = nn.ModuleList([nn.Sequential(stem, SqueezeExcitation(width))])
        self.encoder.extend(
            nn.Sequential(PreActivationUnit(i, o, stride=2), SqueezeExcitation(o)) for i, o in pairwise(widths)
        )
        self.bridge = SummedASPP(widths[-1], 2 * widths[-1])
        self.decoder = nn.ModuleList(DecoderStep(4 * skip, skip, 2 * skip) for skip in reversed(widths[:-1]))
        self.pyramid = SummedASPP(2 * width, width)
        self.head = nn.Conv2d(width, 1, kernel_size=1)

    def logits(self, x: Tensor) -> Tensor:
        """Compute logits (N, 1, h, w) of a padded batch (N, in_channels, h, w)."""
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        x = self.bridge(skips.pop())
        for step in self.decoder:
            x = step(x, skips.pop())
        return self.head(self.pyramid(x))


def _bn_relu_conv(in_channels: int, out_channels: int) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
    return [nn.BatchNorm2d(in_channels), nn.ReLU(inplace=True), conv]
