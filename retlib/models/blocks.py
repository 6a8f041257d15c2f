"""Blocks that several architectures share: their base class, convolutions, up-sampling, checks of options.

All tensors are (N, C, H, W). Convolutions that a batch normalisation follows carry no bias, which the normalisation
would cancel, except where a model is to have as many parameters as a reference that keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

UPSAMPLING = ("bilinear", "transposed")


class SegmentationNetwork(nn.Module):
    """Base of the networks: logits (N, 1, H, W) of a floating batch (N, in_channels, H, W), any H and W.

    A sub-class sets ``in_channels`` and ``cell``, the side in pixels of one value of its coarsest map, and implements
    ``logits`` for batches of whole cells.
    """

    in_channels: int
    cell: int

    def forward(self, x: Tensor) -> Tensor:
        """Pad the batch to whole cells, compute its logits and crop them to its size.

        Raises:
            ValueError: ``x`` is no floating (N, in_channels, H, W) batch.
        """
        if x.ndim != 4 or x.shape[1] != self.in_channels or not torch.is_floating_point(x):
            expected, got = f"(N, {self.in_channels}, H, W)", f"{x.dtype} of shape {tuple(x.shape)}"
            raise ValueError(f"the model takes a floating {expected} batch, not {got}")
        height, width = x.shape[-2:]
        x, (top, left) = pad_to_multiple(x, self.cell)
        return self.logits(x)[..., top : top + height, left : left + width]


def encode(stages: Iterable[nn.Module], x: Tensor) -> tuple[list[Tensor], Tensor]:
    """Apply encoder stages with a 2x2 max-pooling after each: returns their maps, and the last one pooled."""
    maps = []
    for stage in stages:
        maps.append(stage(x))
        x = F.max_pool2d(maps[-1], kernel_size=2)
    return maps, x


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel: int = 3, dilation: int = 1, norm: bool = True, bias: bool = False
) -> list[nn.Module]:
    """List a convolution that keeps the size, batch normalisation and ReLU; a bias if ``bias`` or not ``norm``."""
    padding = dilation * (kernel // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=bias or not norm)
    ]
    if norm:
        layers.append(nn.BatchNorm2d(out_channels))
    layers.append(nn.ReLU(inplace=True))
    return layers


class DoubleConv(nn.Sequential):
    """Two 3x3 convolutions, each with batch normalisation (``norm``) and ReLU; keeps H and W."""

    def __init__(self, in_channels: int, out_channels: int, norm: bool = True, bias: bool = False) -> None:
        super().__init__(
            *conv_bn_relu(in_channels, out_channels, norm=norm, bias=bias),
            *conv_bn_relu(out_channels, out_channels, norm=norm, bias=bias),
        )


class PointwiseConv(nn.Conv2d):
    """1x1 convolution of any stride, computed as one of stride 1 on every stride-th pixel: the same numbers.

    torch 2.15's own strided one overruns its memory on the CPU, in the gradient of the weights, for channels-last maps
    of fewer than sixteen channels.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel_size=1, bias=bias)
        self.every = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        return super().forward(x[..., :: self.every, :: self.every])


class PreActivationUnit(nn.Module):
    """Residual unit of the deep residual U-Net: twice batch normalisation, ReLU, 3x3 convolution; 1x1 shortcut.

    The stride is in the first convolution and in the shortcut. All convolutions carry a bias, and batch normalisation
    follows the shortcut's.

    Args:
        in_channels: channels of the map.
        out_channels: channels of the result.
        stride: factor by which H and W shrink.
        first: leave out the leading normalisation and ReLU, as the unit that sees the image does.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, first: bool = False) -> None:
        super().__init__()
        # The ReLU works in place on the normalised copy: x itself stays whole for the shortcut.
        activation = [] if first else [nn.BatchNorm2d(in_channels), nn.ReLU(inplace=True)]
        self.main = nn.Sequential(
            *activation,
            nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1),
        )
        self.shortcut = nn.Sequential(PointwiseConv(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        return self.main(x) + self.shortcut(x)


def join(maps: Sequence[Tensor]) -> Tensor:
    """Concatenate maps (N, C_i, H, W) along the channels, with a channels-last gradient for each of them.

    The gradient of a concatenation is a strided view for each map. torch's CPU kernels for the gradients of bilinear
    enlargement and batch normalisation take ten to twenty times as long on such a view as on a channels-last map, which
    was a third of a step of UNet++ and ResUNet. The numbers are the same.
    """
    if maps[0].device.type == "cpu":
        for part in maps:
            if part.requires_grad:
                part.register_hook(_channels_last)
    return torch.cat(tuple(maps), dim=1)


def _channels_last(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)


def up_convolution(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """Build the 'up-conv' of Ronneberger et al. 2015: a 2x2 transposed convolution with bias that doubles H and W."""
    return nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2)


def upsample(x: Tensor, scale: int = 2) -> Tensor:
    """Enlarge (N, C, H, W) bilinearly by a whole factor, with pixel areas aligned, not corners."""
    return F.interpolate(x, scale_factor=float(scale), mode="bilinear", align_corners=False)


def pad_to_multiple(x: Tensor, multiple: int) -> tuple[Tensor, tuple[int, int]]:
    """Pad (N, C, H, W) to whole cells of ``multiple`` pixels, at least two of them a side.

    The border value is repeated, half before and half after: zeros would draw an edge that looks like structure. With
    two cells a side the coarsest map has at least 2x2 values, so batch normalisation can train on one image of any
    size. Returns the padded tensor (``x`` itself where nothing is missing) and (top, left) of the image in it.
    """
    height, width = x.shape[-2:]
    rows = max(-(-height // multiple), 2) * multiple - height
    columns = max(-(-width // multiple), 2) * multiple - width
    top, left = rows // 2, columns // 2
    if rows or columns:
        x = F.pad(x, (left, columns - left, top, rows - top), mode="replicate")
    return x, (top, left)


class UShapedNetwork(SegmentationNetwork):
    """Encoder, bridge and decoder of a U-Net: ``depth`` poolings, channels doubling from ``width``, a skip a level.

    Args:
        in_channels: channels of the image.
        width: channels of the first stage.
        depth: number of 2x2 max-poolings.
        block: builds the convolutions of a stage from its channels in and out.
        up: builds the layer that doubles H and W, likewise.
        extra: channels that a decoder stage (0: full resolution) joins beside its skip and the enlarged map, from the
            channels of all stages and its number; by default none.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        depth: int,
        block: Callable[[int, int], nn.Module],
        up: Callable[[int, int], nn.Module],
        extra: Callable[[Sequence[int], int], int] = lambda widths, stage: 0,
    ) -> None:
        super().__init__()
        self.in_channels = positive_int("in_channels", in_channels)
        self.depth = positive_int("depth", depth)
        self.cell = 2**depth
        widths = [positive_int("width", width) * 2**stage for stage in range(depth + 1)]
        inputs = [in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(block(i, o) for i, o in zip(inputs[:-1], widths[:-1], strict=True))
        self.bridge = block(inputs[-1], widths[-1])
        lowest_first = [(stage, widths[stage]) for stage in reversed(range(depth))]
        self.up = nn.ModuleList(up(2 * w, w) for _, w in lowest_first)
        self.decoder = nn.ModuleList(block(2 * w + extra(widths, stage), w) for stage, w in lowest_first)
        self.head = nn.Conv2d(width, 1, kernel_size=1)

    def logits(self, x: Tensor) -> Tensor:
        """Compute logits (N, 1, h, w) of a padded batch (N, in_channels, h, w)."""
        skips, x = encode(self.encoder, x)
        x = self.bridge(x)
        for up, stage in zip(self.up, self.decoder, strict=True):
            x = stage(join([skips.pop(), up(x)]))
        return self.head(x)


def positive_int(name: str, value: object, least: int = 1) -> int:
    """Return ``value`` if it is an int of at least ``least``, else raise a ValueError that names the option."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return value


def true_or_false(name: str, value: object) -> bool:
    """Return ``value`` if it is True or False, else raise a ValueError that names the option."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, not {value!r}")
    return value


def one_of(name: str, value: object, choices: tuple[str, ...]) -> str:
    """Return ``value`` if it is among ``choices``, else raise a ValueError that lists them."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return str(value)
