"""AF-UNet, "Asymmetric Fusion UNet": a U-Net whose decoder levels also see shallower encoder features."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from retlib.models.blocks import DoubleConv, SegmentationNetwork, encode, join, one_of, positive_int, up_convolution

SKIPS = ("next", "dense")


@dataclass(frozen=True)
class Fusion:
    """Maps that one decoder level concatenates, as names that ``get_submodule`` of the model takes.

    Attributes:
        level: 1 for full resolution, ``depth`` for the lowest decoder level.
        up: the transposed convolution that enlarges the level below; its result comes last in the concatenation.
        same: the encoder stage of the same resolution, the symmetric skip; comes first.
        shallow: encoder stages of higher resolution, the asymmetric skips, finest first; between the two.
        pooling: factor by which each of ``shallow`` is max-pooled.
        decoder: the two convolutions that take the concatenation.
    """

    level: int
    up: str
    same: str
    shallow: tuple[str, ...]
    pooling: tuple[int, ...]
    decoder: str


class AFUNet(SegmentationNetwork):
    """U-Net with asymmetric skips (section 3.2 and figure 1 of the AF-UNet paper).

    ``depth`` encoder stages of ``width`` and twice as many channels after each 2x2 max-pooling (64, 128, 256, 512),
    a bridge (1024), 2x2 transposed convolutions; two 3x3 convolutions with batch normalisation and ReLU everywhere. A
    decoder level concatenates the same-level encoder feature, shallower encoder features and the enlarged map. The
    paper says that a level fuses 'a' shallow feature 'at a higher resolution stage', taken from 'the first to third
    blocks', and neither which one nor how it is brought to size. Our reading:

    * ``skips="next"``: one a level, from the next finer stage: 'non-dense'; 32,584,769 parameters for one channel in.
    * ``skips="dense"``: all finer stages, for comparison; 33,616,961 parameters.

    Either is max-pooled to the level's size, which needs no parameters. The level at full resolution has no finer
    stage and fuses two maps, as in U-Net. With the paper's depth of 4 the shallow features are blocks 1 to 3.

    Args:
        in_channels: channels of the image.
        width: channels of the first stage.
        depth: number of poolings.
        skips: ``"next"`` or ``"dense"``.
    """

    def __init__(self, in_channels: int = 1, width: int = 64, depth: int = 4, skips: str = "next") -> None:
        super().__init__()
        self.in_channels = positive_int("in_channels", in_channels)
        self.depth = positive_int("depth", depth)
        self.cell = 2**depth
        self.skips = one_of("skips", skips, SKIPS)
        widths = [positive_int("width", width) * 2**stage for stage in range(depth + 1)]
        inputs = [in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(DoubleConv(i, o) for i, o in zip(inputs[:-1], widths[:-1], strict=True))
        self.bridge = DoubleConv(inputs[-1], widths[-1])
        lowest_first = range(depth - 1, -1, -1)
        self.up = nn.ModuleList(up_convolution(widths[stage + 1], widths[stage]) for stage in lowest_first)
        self.decoder = nn.ModuleList(
            DoubleConv(2 * widths[stage] + sum(widths[finer] for finer in self._finer(stage)), widths[stage])
            for stage in lowest_first
        )
        self.head = nn.Conv2d(width, 1, kernel_size=1)

    def _finer(self, stage: int) -> range:
        """List the encoder stages (0: full resolution) whose features decoder level ``stage`` takes beside its own."""
        return range(0 if self.skips == "dense" else max(stage - 1, 0), stage)

    def fusions(self) -> list[Fusion]:
        """List what each decoder level fuses, lowest level first, in the order of the forward pass."""
        found = []
        for step, stage in enumerate(range(self.depth - 1, -1, -1)):
            finer = self._finer(stage)
            found.append(
                Fusion(
                    level=stage + 1,
                    up=f"up.{step}",
                    same=f"encoder.{stage}",
                    shallow=tuple(f"encoder.{index}" for index in finer),
                    pooling=tuple(2 ** (stage - index) for index in finer),
                    decoder=f"decoder.{step}",
                )
            )
        return found

    def logits(self, x: Tensor) -> Tensor:
        """Compute logits (N, 1, h, w) of a padded batch (N, in_channels, h, w)."""
        features, x = encode(self.encoder, x)
        x = self.bridge(x)
        for step, stage in enumerate(range(self.depth - 1, -1, -1)):
            shallow = [F.max_pool2d(features[finer], 2 ** (stage - finer)) for finer in self._finer(stage)]
            x = self.decoder[step](join([features[stage], *shallow, self.up[step](x)]))
        return self.head(x)
