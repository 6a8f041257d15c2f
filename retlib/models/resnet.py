"""ResNet encoders (He et al. 2016) of any width, with the parameter names of torchvision's ``resnet50``.

The stride of a down-sampling bottleneck sits on its 3x3 convolution, as in torchvision ('v1.5').
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from retlib.models.blocks import positive_int
from retlib.models.imagenet import adapt_first_convolution, check_imagenet, imagenet_state_dict

BLOCKS = (3, 4, 6, 3)
EXPANSION = 4
STRIDE = 32


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride) convolution to a quarter of the channels, 1x1, plus the input, then ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        width = out_channels // EXPANSION
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
        """(N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet(nn.Module):
    """The convolutional part of a ResNet: a 7x7 stem and four layers of 3, 4, 6 and 3 blocks.

    Args:
        block: builds a block from its channels in and out and its stride.
        in_channels: channels of the image.
        channels: channels of the stem and of the four layers.
        stem_stride: stride of the stem; 2 is ResNet's own.
    """

    def __init__(
        self,
        block: Callable[[int, int, int], nn.Module],
        in_channels: int,
        channels: Sequence[int],
        stem_stride: int = 2,
    ) -> None:
        super().__init__()
        self.channels = tuple(channels)
        stem = self.channels[0]
        self.conv1 = nn.Conv2d(in_channels, stem, kernel_size=7, stride=stem_stride, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        for layer, (count, (before, after)) in enumerate(zip(BLOCKS, pairwise(self.channels), strict=True), 1):
            first = block(before, after, 1 if layer == 1 else 2)
            rest = [block(after, after, 1) for _ in range(count - 1)]
            setattr(self, f"layer{layer}", nn.Sequential(first, *rest))
        initialise(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The five maps of a batch (N, in_channels, H, W), each half as fine as the one before; the stem's first."""
        stem = self.relu(self.bn1(self.conv1(x)))
        maps = [stem, self.layer1(F.max_pool2d(stem, kernel_size=3, stride=2, padding=1))]
        for layer in (self.layer2, self.layer3, self.layer4):
            maps.append(layer(maps[-1]))
        return maps


class ResNet50(ResNet):
    """ResNet-50: its maps are the stem's at 1/2 of the image and those of layers 1 to 4 at 1/4 to 1/32.

    Args:
        in_channels: channels of the image.
        width: channels of the stem; the layers give 4, 8, 16 and 32 times as many (64: 256, 512, 1024, 2048).
        imagenet: start from ImageNet weights (torchvision's) instead of a random initialisation; at width 64 only.
            They are V1, which most studies mean by 'ImageNet pre-trained'; V2's label smoothing and mixing raise the
            ImageNet score and are reported to make features transfer less well.

    Raises:
        ValueError: ``imagenet`` at another width, or with a number of channels other than 1 and 3.
        FileNotFoundError: the ImageNet weights are neither cached nor to be had.
        ImportError: ImageNet weights are asked for and torchvision cannot be imported.
    """

    def __init__(self, in_channels: int = 1, width: int = 64, imagenet: bool = False) -> None:
        positive_int("in_channels", in_channels)
        positive_int("width", width)
        check_imagenet(imagenet, width, in_channels)
        layers = (EXPANSION * width * 2**layer for layer in range(len(BLOCKS)))
        super().__init__(Bottleneck, in_channels, (width, *layers))
        if imagenet:
            state = imagenet_state_dict("ResNet50_Weights", "ResNet-50")
            state = {name: value for name, value in state.items() if not name.startswith("fc.")}
            self.load_state_dict(adapt_first_convolution(state, "conv1.weight", in_channels))


def initialise(encoder: nn.Module) -> None:
    """Initialise every convolution as torchvision starts a ResNet (He et al. 2015: normal, fan out)."""
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
