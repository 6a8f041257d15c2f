"""Pieces that several architectures share: convolution blocks, up-sampling, padding to a multiple.

All tensors are (N, C, H, W). Convolutions that a batch normalisation follows carry no bias: the normalisation
would cancel it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

UPSAMPLING = ("bilinear", "transposed")


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel: int = 3, dilation: int = 1, norm: bool = True
) -> list[nn.Module]:
    """Convolution that keeps the size, batch normalisation (without ``norm`` a bias) and ReLU, as a list."""
    padding = dilation * (kernel // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=not norm)
    ]
    if norm:
        layers.append(nn.BatchNorm2d(out_channels))
    layers.append(nn.ReLU(inplace=True))
    return layers


class DoubleConv(nn.Sequential):
    """Two 3x3 convolutions, each with batch normalisation (``norm``) and ReLU; keeps H and W."""

    def __init__(self, in_channels: int, out_channels: int, norm: bool = True) -> None:
        super().__init__(
            *conv_bn_relu(in_channels, out_channels, norm=norm),
            *conv_bn_relu(out_channels, out_channels, norm=norm),
        )


def up_convolution(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """2x2 transposed convolution with bias that doubles H and W: the 'up-conv' of Ronneberger et al. 2015."""
    return nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2)


def upsample(x: Tensor, scale: int = 2) -> Tensor:
    """Bilinear enlargement of (N, C, H, W) by a whole factor, pixel areas aligned, not corners."""
    return F.interpolate(x, scale_factor=float(scale), mode="bilinear", align_corners=False)


def pad_to_multiple(x: Tensor, multiple: int, cells: int = 2) -> tuple[Tensor, tuple[int, int]]:
    """Pads (N, C, H, W) to whole cells of ``multiple`` pixels, at least ``cells`` of them a side.

    The border value is repeated (replicate padding), half before and half after: zeros would draw a
    bright-to-dark edge that looks like structure. With two cells a side the coarsest map has 2x2 values at
    least, so batch normalisation can train on a single image of any size.

    Returns:
        The padded tensor (``x`` itself where nothing is missing) and (top, left), the offset of the image in
        it.
    """
    height, width = x.shape[-2:]
    rows = max(-(-height // multiple), cells) * multiple - height
    columns = max(-(-width // multiple), cells) * multiple - width
    top, left = rows // 2, columns // 2
    if rows or columns:
        x = F.pad(x, (left, columns - left, top, rows - top), mode="replicate")
    return x, (top, left)


def crop_back(x: Tensor, offset: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The (height, width) part of a padded map that is the image: the inverse of :func:`pad_to_multiple`."""
    (top, left), (height, width) = offset, size
    return x[..., top : top + height, left : left + width]


def positive_int(name: str, value: object, least: int = 1) -> int:
    """``value`` if it is an int of at least ``least``, else a ValueError that names the option."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return value


def one_of(name: str, value: object, choices: tuple[str, ...]) -> str:
    """``value`` if it is among ``choices``, else a ValueError that lists them."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return str(value)


def check_images(x: Tensor, in_channels: int) -> None:
    """Raises a ValueError unless ``x`` is a floating (N, ``in_channels``, H, W) batch."""
    if x.ndim != 4 or x.shape[1] != in_channels or not torch.is_floating_point(x):
        shape = tuple(x.shape)
        raise ValueError(f"the model takes a floating (N, {in_channels}, H, W) batch, not {x.dtype} of shape {shape}")
