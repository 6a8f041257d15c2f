"""ResNet-50 encoder (He et al. 2016) of any width, with the parameter names of torchvision's ``resnet50``.

The stride of a down-sampling bottleneck sits on its 3x3 convolution, as in torchvision ('v1.5').
"""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retlib.models.blocks import positive_int

BLOCKS = (3, 4, 6, 3)
EXPANSION = 4
STRIDE = 32
IMAGENET_WIDTH = 64


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 convolution to ``4 * width`` channels, plus the input, then ReLU."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = EXPANSION * width
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != out_channels:
            shortcut = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, 4 * width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet50(nn.Module):
    """The convolutional part of ResNet-50: a stem and four layers of 3, 4, 6 and 3 bottlenecks.

    Args:
        in_channels: channels of the image.
        width: channels of the stem; the layers give 4, 8, 16 and 32 times as many (64: 256, 512, 1024, 2048).
        imagenet: start from ImageNet weights (torchvision's, see :func:`imagenet_state_dict`) instead of a
            random initialisation; at width 64 only.

    Raises:
        ValueError: if ``imagenet`` is asked for at another width or for a number of channels other than 1 and
            3.
        FileNotFoundError: if the ImageNet weights are neither cached nor to be had.
        ImportError: if ImageNet weights are asked for and torchvision cannot be imported.
    """

    def __init__(self, in_channels: int = 1, width: int = 64, imagenet: bool = False) -> None:
        super().__init__()
        positive_int("in_channels", in_channels)
        positive_int("width", width)
        if not isinstance(imagenet, bool):
            raise ValueError(f"imagenet must be True or False, not {imagenet!r}")
        if imagenet and width != IMAGENET_WIDTH:
            raise ValueError(
                f"ImageNet weights exist at width {IMAGENET_WIDTH} only: width={width} needs imagenet=False"
            )
        if imagenet and in_channels not in (1, 3):
            raise ValueError(f"ImageNet weights fit 1 or 3 channels: in_channels={in_channels} needs imagenet=False")
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        channels = width
        for layer, blocks in enumerate(BLOCKS):
            bottlenecks = []
            for block in range(blocks):
                stride = 2 if block == 0 and layer > 0 else 1
                bottlenecks.append(Bottleneck(channels, width * 2**layer, stride))
                channels = EXPANSION * width * 2**layer
            setattr(self, f"layer{layer + 1}", nn.Sequential(*bottlenecks))
        self.channels = (width, *(EXPANSION * width * 2**layer for layer in range(len(BLOCKS))))
        if imagenet:
            self.load_state_dict(adapt_first_convolution(imagenet_state_dict(), in_channels))
        else:
            initialise(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The five maps of a batch (N, in_channels, H, W): stem at 1/2, layers 1 to 4 at 1/4 to 1/32."""
        stem = self.relu(self.bn1(self.conv1(x)))
        maps = [stem, self.layer1(F.max_pool2d(stem, kernel_size=3, stride=2, padding=1))]
        for layer in (self.layer2, self.layer3, self.layer4):
            maps.append(layer(maps[-1]))
        return maps


def initialise(encoder: nn.Module) -> None:
    """He initialisation (normal, fan out) of every convolution, as torchvision starts a ResNet."""
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def imagenet_state_dict() -> dict[str, Tensor]:
    """ResNet-50 weights ``IMAGENET1K_V1`` of torchvision, less the classifier; downloaded once, then cached.

    V1 and not V2: V1 was trained with plain cross-entropy and is what most studies mean by 'ImageNet
    pre-trained'; V2's label smoothing and mixing raise the ImageNet score and are reported to make features
    transfer less well.

    Raises:
        FileNotFoundError: if they can be neither found nor downloaded; the message says where the file
            belongs.
        ImportError: if torchvision cannot be imported.
    """
    try:
        from torchvision.models import ResNet50_Weights
    except (ImportError, RuntimeError, OSError) as error:  # RuntimeError: a build that does not match torch's
        raise ImportError(
            f"imagenet=True needs torchvision, which cannot be imported here ({_one_line(error)}): "
            "install the build that matches torch, or train from scratch with imagenet=False"
        ) from None
    weights = ResNet50_Weights.IMAGENET1K_V1
    try:
        state = weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError, HTTPException) as error:  # RuntimeError: a truncated file, by its hash
        file = Path(torch.hub.get_dir(), "checkpoints", Path(weights.url).name)
        raise FileNotFoundError(
            f"the ImageNet weights of ResNet-50 could not be loaded ({_one_line(error)}): "
            f"put {weights.url} at {file}, or train from scratch with imagenet=False"
        ) from None
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


def _one_line(error: Exception) -> str:
    """An error as one line of text."""
    return " ".join(str(error).split()) or type(error).__name__


def adapt_first_convolution(state: Mapping[str, Tensor], in_channels: int) -> dict[str, Tensor]:
    """State dict whose first convolution takes ``in_channels`` (1 or 3) channels.

    One channel: the three kernels of the colours are summed, so a gray image gives what the same image
    repeated in R, G and B gave.
    """
    adapted = dict(state)
    if in_channels == 1:
        adapted["conv1.weight"] = state["conv1.weight"].sum(dim=1, keepdim=True)
    return adapted
