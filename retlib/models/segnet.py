"""SegNet (Badrinarayanan, Kendall and Cipolla 2017): VGG-16 without its classifier, and its mirror image.

The encoder stores where each 2x2 max-pooling found its maximum; the decoder puts values back there and fills the rest
by convolutions. No feature map is handed across.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from retlib.models.blocks import SegmentationNetwork, conv_bn_relu, positive_int
from retlib.models.imagenet import adapt_first_convolution, check_imagenet, imagenet_state_dict
from retlib.models.resnet import initialise

STAGES = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))
"""Stages of VGG-16: channels as a multiple of the width, and the number of convolutions."""


class SegNet(SegmentationNetwork):
    """SegNet with VGG-16's thirteen convolutions, each batch-normalised, and a decoder that mirrors them.

    ``encoder`` is torchvision's ``vgg16_bn().features``, module by module, and has its parameter names; so its
    convolutions keep the biases that batch normalisation makes idle, and the decoder's do as well. 29,443,585
    parameters for three channels in and one logit map, as in the paper but for the number of classes (two logit
    maps would be 29,444,162).

    Args:
        in_channels: channels of the image.
        width: channels of the first stage (64: 64-128-256-512-512, VGG-16's own).
        imagenet: start the encoder from ImageNet weights (torchvision's ``VGG16_BN_Weights.IMAGENET1K_V1``) instead
            of a random initialisation; at width 64 only.

    Raises:
        As :class:`retlib.models.resnet.ResNet50`.
    """

    def __init__(self, in_channels: int = 1, width: int = 64, imagenet: bool = False) -> None:
        super().__init__()
        self.in_channels = positive_int("in_channels", in_channels)
        self.cell = 2 ** len(STAGES)
        positive_int("width", width)
        check_imagenet(imagenet, width, in_channels)

        layers: list[nn.Module] = []
        channels = in_channels
        for multiple, count in STAGES:
            for _ in range(count):
                layers += conv_bn_relu(channels, multiple * width, bias=True)
                channels = multiple * width
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2, return_indices=True))
        self.encoder = nn.Sequential(*layers)

        # Each stage ends at the width of the stage above it, so that the next unpooling finds its own indices' width.
        self.decoder = nn.ModuleList()
        for stage in range(len(STAGES) - 1, -1, -1):
            multiple, count = STAGES[stage]
            last = STAGES[stage - 1][0] * width if stage > 0 else width
            layers = []
            for _ in range(count - 1):
                layers += conv_bn_relu(channels, multiple * width, bias=True)
                channels = multiple * width
            if stage > 0:
                layers += conv_bn_relu(channels, last, bias=True)
                channels = last
            self.decoder.append(nn.Sequential(*layers))
        # Both before the head: a head of He's scale would start with logits in the tens.
        initialise(self)
        self.head = nn.Conv2d(width, 1, kernel_size=3, padding=1)
        if imagenet:
            prefix = "features."
            state = imagenet_state_dict("VGG16_BN_Weights", "VGG-16-BN")
            state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            self.encoder.load_state_dict(adapt_first_convolution(state, "0.weight", in_channels))

    def logits(self, x: Tensor) -> Tensor:
        """Compute logits (N, 1, h, w) of a padded batch (N, in_channels, h, w)."""
        places = []
        for layer in self.encoder:
            if isinstance(layer, nn.MaxPool2d):
                x, indices = layer(x)
                places.append(indices)
            else:
                x = layer(x)
        for stage in self.decoder:
            x = stage(F.max_unpool2d(x, places.pop(), kernel_size=2, stride=2))
        return self.head(x)
