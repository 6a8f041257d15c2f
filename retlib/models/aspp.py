"""Atrous spatial pyramid pooling (DeepLabv3, Chen et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from retlib.models.blocks import conv_bn_relu, join, positive_int

RATES = (6, 12, 18)


class AtrousConv(nn.Conv2d):
    """3x3 convolution without bias at a rate (dilation), zero padding, same size out.

    Where the map is no larger than the rate, the outer rows or columns of the kernel meet padding at every
    position; they are left out of the computation. The result is that of the whole kernel, and their gradient
    is the 0 it would be.
    """

    def __init__(self, in_channels: int, out_channels: int, rate: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=rate, dilation=rate, bias=False)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        weight, padding = self.weight, [self.rate, self.rate]
        if x.shape[-2] <= self.rate:
            weight, padding[0] = weight[:, :, 1:2, :], 0
        if x.shape[-1] <= self.rate:
            weight, padding[1] = weight[:, :, :, 1:2], 0
        return F.conv2d(x, weight, None, 1, padding, self.rate)


class ImagePooling(nn.Module):
    """Image-level branch: mean over the map, 1x1 convolution, batch normalisation, ReLU, spread over the map.

    Its batch statistics come from N values a channel, one an image. In training on a batch of one the running
    statistics take their place, unchanged. With a batch of two the normalised values are plus or minus one, whatever
    the images: a weakness of the published design.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W), constant over each map."""
        pooled = self.conv(x.mean(dim=(2, 3), keepdim=True))
        if self.training and len(x) == 1:
            bn = self.bn
            pooled = F.batch_norm(pooled, bn.running_mean, bn.running_var, bn.weight, bn.bias, False, 0.0, bn.eps)
        else:
            pooled = self.bn(pooled)
        return F.relu(pooled).expand(-1, -1, *x.shape[-2:])


class ASPP(nn.Module):
    """Parallel branches (1x1 convolution, a 3x3 convolution a rate, image pooling), joined and projected.

    Every convolution is without bias and followed by batch normalisation and ReLU. 2048 channels in, 256 out
    and three rates make 15,535,104 parameters. DeepLab's later code adds a dropout of 0.5 after the
    projection; it is not in the paper's description and left out.

    Args:
        in_channels: channels of the map.
        out_channels: channels of every branch and of the result.
        rates: dilations of the 3x3 branches.
    """

    def __init__(self, in_channels: int, out_channels: int, rates: Sequence[int] = RATES) -> None:
        super().__init__()
        rates = checked_rates(rates)
        branches = [nn.Sequential(*conv_bn_relu(in_channels, out_channels, kernel=1))]
        for rate in rates:
            conv = AtrousConv(in_channels, out_channels, rate)
            branches.append(nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)))
        self.branches = nn.ModuleList(branches)
        self.pooling = ImagePooling(in_channels, out_channels)
        self.project = nn.Sequential(*conv_bn_relu((len(rates) + 2) * out_channels, out_channels, kernel=1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        return self.project(join([*(branch(x) for branch in self.branches), self.pooling(x)]))


def checked_rates(rates: Sequence[int]) -> tuple[int, ...]:
    """Return the rates as a tuple of whole numbers above 0, else raise a ValueError."""
    if not isinstance(rates, Sequence) or isinstance(rates, str) or not rates:
        raise ValueError(f"rates must be a sequence of whole numbers such as {RATES}, not {rates!r}")
    return tuple(positive_int("every rate", rate) for rate in rates)
