"""ResNet-50 encoder (He et al. 2016) of any width, with the parameter names of torchvision's ``resnet50``.

The stride of a down-sampling bottleneck sits on its 3x3 convolution, as in torchvision ('v1.5').
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from retlib.models.blocks import positive_int
from retlib.models.imagenet import adapt_first_convolution, check_imagenet, imagenet_state_dict

BLOCKS = (3, 4, 6, 3)
EXPANSION = 4
STRIDE = 32


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
        imagenet: start from ImageNet weights (torchvision's) instead of a random initialisation; at width 64 only.
            They are V1, which most studies mean by 'ImageNet pre-trained'; V2's label smoothing and mixing raise the
            ImageNet score and are reported to make features transfer less well.

    Raises:
        ValueError: ``imagenet`` at another width, or with a number of channels other than 1 and 3.
        FileNotFoundError: the ImageNet weights are neither cached nor to be had.
        ImportError: ImageNet weights are asked for and torchvision cannot be imported.
    """

    def __init__(self, in_channels: int = 1, width: int = 64, imagenet: bool = False) -> None:
        super().__init__()
        positive_int("in_channels", in_channels)
        positive_int("width", width)
        check_imagenet(imagenet, width, in_channels)
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
            state = imagenet_state_dict("ResNet50_Weights", "ResNet-50")
            state = {name: value for name, value in state.items() if not name.startswith("fc.")}
            self.load_state_dict(adapt_first_convolution(state, "conv1.weight", in_channels))
        else:
            initialise(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The five maps of a batch (N, in_channels, H, W): stem at 1/2, layers 1 to 4 at 1/4 to 1/32."""
        return five_maps(self, x)


def five_maps(encoder: nn.Module, x: Tensor) -> list[Tensor]:
    """Compute the maps of the stem and the four layers of a ResNet, with its max-pooling before the first layer."""
    stem = encoder.relu(encoder.bn1(encoder.conv1(x)))
    maps = [stem, encoder.layer1(F.max_pool2d(stem, kernel_size=3, stride=2, padding=1))]
    for layer in (encoder.layer2, encoder.layer3, encoder.layer4):
        maps.append(layer(maps[-1]))
    return maps


def initialise(encoder: nn.Module) -> None:
    """Initialise every convolution as torchvision starts a ResNet (He et al. 2015: normal, fan out)."""
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
