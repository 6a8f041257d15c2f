"""Additive attention gate (Oktay et al. 2018, "Attention U-Net: Learning Where to Look for the Pancreas")."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AttentionGate(nn.Module):
    """Attention gate: scales a skip feature x by coefficients in (0, 1) from a gating signal g (equations 1 and 2).

    ``alpha = sigmoid(psi(relu(theta(x) + phi(g))))``, one coefficient a position; the result is ``alpha * x``.
    As published (``equal=False``) g comes from the next coarser level: theta is a 2x2 convolution of stride 2
    without bias, which brings x to the grid of g, phi and psi are 1x1 convolutions with bias, and alpha is
    enlarged bilinearly to the grid of x. With ``equal=True`` g has the size of x, theta is a 1x1 convolution
    with bias, and nothing is enlarged: the form of many later re-implementations.

    Args:
        in_channels: channels of the skip feature x.
        gating_channels: channels of the gating signal g.
        inter_channels: channels in which x and g are added.
        equal: g has the resolution of x, else half of it.
        norm: batch normalisation after theta, phi and psi. The convolutions keep the biases they have without it,
            although the normalisation cancels them.
        output: a 1x1 convolution that keeps the channels and batch normalisation on the scaled feature. The paper
            does not show them; its authors' code has them.
    """

    def __init__(
        self,
        in_channels: int,
        gating_channels: int,
        inter_channels: int,
        equal: bool = False,
        norm: bool = False,
        output: bool = False,
    ) -> None:
        super().__init__()
        self.equal = equal
        if equal:
            theta = nn.Conv2d(in_channels, inter_channels, kernel_size=1)
        else:
            theta = nn.Conv2d(in_channels, inter_channels, kernel_size=2, stride=2, bias=False)
        self.theta = _normalised(theta, norm)
        self.phi = _normalised(nn.Conv2d(gating_channels, inter_channels, kernel_size=1), norm)
        self.psi = _normalised(nn.Conv2d(inter_channels, 1, kernel_size=1), norm)
        self.output = _normalised(nn.Conv2d(in_channels, in_channels, kernel_size=1), True) if output else nn.Identity()

    def coefficients(self, x: Tensor, g: Tensor) -> Tensor:
        """Compute attention coefficients (N, 1, H, W) in (0, 1) for x (N, in_channels, H, W) and g.

        ``g`` is (N, gating_channels, H, W), or (N, gating_channels, H / 2, W / 2) unless ``equal``.
        """
        alpha = torch.sigmoid(self.psi(F.relu(self.theta(x) + self.phi(g))))
        return alpha if self.equal else F.interpolate(alpha, size=x.shape[-2:], mode="bilinear", align_corners=False)

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        """Scale x (N, in_channels, H, W) by its coefficients; the shape stays."""
        return self.output(self.coefficients(x, g) * x)


def _normalised(conv: nn.Conv2d, norm: bool) -> nn.Module:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels)) if norm else conv
