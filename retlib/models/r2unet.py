"""R2U-Net: a U-Net of recurrent residual blocks (Alom et al. 2018; report 2025, 'Model' and 'Data Flow').

The report's figure has three encoder blocks, a bottleneck and three decoder blocks (``depth=3``) with transposed
convolutions; the usual public code has four and enlarges by repetition and a 3x3 convolution. Both are options here,
because a parameter count belongs to one of them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retlib.models.blocks import UShapedNetwork, one_of, positive_int, true_or_false, up_convolution

NORMS = ("shared", "per_step", "none")
UPSAMPLING = ("nearest", "transposed")


class StepNorm(nn.Module):
    """Batch normalisation of a map that one layer produces several times: once a step of its recurrence.

    Scale and shift are the same at all steps. In training each step is normalised by the statistics of its own batch
    and step, so ``per_step`` changes nothing there: not one weight. It decides what evaluation sees.

    Args:
        channels: channels of the map.
        steps: how often the layer is applied.
        per_step: running statistics of their own for each step. Otherwise all steps feed one pair of running
            statistics, as in the usual code; the steps' distributions differ, so in evaluation every step is
            normalised by a mixture that fits none of them, and by the last step's the most.
        running_statistics: False keeps none, and evaluation normalises by the batch as training does (an image's
            logits then depend on the batch that it comes in).
    """

    def __init__(self, channels: int, steps: int, per_step: bool, running_statistics: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        kept = steps if per_step else 1
        self.statistics = nn.ModuleList(
            nn.BatchNorm2d(channels, affine=False, track_running_stats=running_statistics) for _ in range(kept)
        )

    def forward(self, x: Tensor, step: int) -> Tensor:
        """(N, channels, H, W) at a step counted from 0, to the same shape."""
        statistics = self.statistics[step if len(self.statistics) > 1 else 0]
        by_batch = self.training or statistics.running_mean is None
        return F.batch_norm(
            x,
            statistics.running_mean,
            statistics.running_var,
            self.weight,
            self.bias,
            training=by_batch,
            momentum=statistics.momentum,
            eps=statistics.eps,
        )


class RecurrentConv(nn.Module):
    """Recurrent convolutional layer: ``h = f(x)``, then ``t`` times ``h = f(x + h)``, f = 3x3 conv, norm, ReLU.

    Deviation from the report's equation O(t) = w_f * x(t) + w_r * x(t - 1) + b, which has a kernel for the input and
    another for the state: as in the usual code one kernel serves both, so that t costs time and no parameter.
    """

    def __init__(self, channels: int, t: int, norm: str, running_statistics: bool) -> None:
        super().__init__()
        self.t = t
        # The bias b of the report's equation. A normalisation by the batch cancels it; it is kept because the
        # published counts contain it.
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.norm = None if norm == "none" else StepNorm(channels, t + 1, norm == "per_step", running_statistics)

    def step(self, x: Tensor, step: int) -> Tensor:
        """One application of the layer, (N, channels, H, W) to the same shape."""
        x = self.conv(x)
        return F.relu(x if self.norm is None else self.norm(x, step))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        state = self.step(x, 0)
        for step in range(1, self.t + 1):
            state = self.step(x + state, step)
        return state


class RecurrentResidualBlock(nn.Module):
    """RRCNN block: a 1x1 convolution sets the channels, two recurrent layers follow, their input is added."""

    def __init__(self, in_channels: int, out_channels: int, t: int, norm: str, running_statistics: bool) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_channels, out_channels, kernel_size=1)
        self.recurrent = nn.Sequential(
            *(RecurrentConv(out_channels, t, norm, running_statistics) for _ in range(2)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        x = self.project(x)
        return x + self.recurrent(x)


class RepeatConv(nn.Module):
    """Up-sampling of the usual code: each value becomes 2x2, then 3x3 convolution, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, norm: bool, running_statistics: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
        self.norm = nn.BatchNorm2d(out_channels, track_running_stats=running_statistics) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, 2H, 2W)."""
        return F.relu(self.norm(self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))))


class R2UNet(UShapedNetwork):
    """U-Net whose blocks are recurrent and residual: ``depth`` poolings, channels doubling from ``width``.

    With ``upsampling="nearest"``, width 64, depth 4 and any t, 39,091,265 parameters for one channel in and
    39,091,393 for three: the count of the usual public code. The report's network is ``depth=3,
    upsampling="transposed"``; it prints neither widths nor a count.

    Args:
        in_channels: channels of the image.
        width: channels of the first block.
        depth: number of 2x2 max-poolings: 3 in the report, 4 as usual.
        t: steps of recurrence after the first application, so each recurrent layer is applied t + 1 times; 0 leaves
            a plain residual U-Net.
        norm: ``"shared"``: running statistics of batch normalisation mixed over the steps (usual); ``"per_step"``:
            kept apart; ``"none"``: no normalisation, as the report's equations have none.
        running_statistics: False: evaluation normalises by the batch, as training does.
        upsampling: ``"nearest"`` (repetition, 3x3 convolution, normalisation, ReLU) or ``"transposed"`` (2x2
            transposed convolution alone); both halve the channels.
    """

    def __init__(
        self,
        in_channels: int = 1,
        width: int = 64,
        depth: int = 4,
        t: int = 2,
        norm: str = "shared",
        running_statistics: bool = True,
        upsampling: str = "nearest",
    ) -> None:
        positive_int("t", t, least=0)
        one_of("norm", norm, NORMS)
        one_of("upsampling", upsampling, UPSAMPLING)
        true_or_false("running_statistics", running_statistics)

        def block(before: int, after: int) -> RecurrentResidualBlock:
            return RecurrentResidualBlock(before, after, t, norm, running_statistics)

        def up(before: int, after: int) -> nn.Module:
            if upsampling == "transposed":
                return up_convolution(before, after)
            return RepeatConv(before, after, norm != "none", running_statistics)

        super().__init__(in_channels, width, depth, block, up)
