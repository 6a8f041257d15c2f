"""ConvLSTM U-Net: a U-Net whose decoder reads skip and up-sampled map as a sequence of two steps.

The paper (convlstm-unet, section 2.1) describes the network of the BCDU-Net family (Azad et al. 2019) without
its dense bottleneck: three down-sampling blocks of two convolutions with ReLU and a max-pooling; transposed
convolution, batch normalisation and ReLU upwards; at each merge skip and up-sampled map are reshaped, concatenated
and go through a ConvLSTM (Shi et al. 2015); a last convolution with two output channels and a sigmoid.

Left open by the paper and decided here: the axis of time that the two maps are stacked along (skip first, as in the
family's code), the widths (64-128-256, bottleneck 512, as the family has them), the
bottleneck (one block of two convolutions; the text names none), two convolutions with ReLU after each ConvLSTM
(the layers that the numbering of its last one, conv9, leaves room for), 3x3 kernels (1x1 in the last layer),
the direction in which the sequence is read, the gates' activation, the initial weights, no dropout, and how one
vessel map comes out of two channels (see :class:`ConvLSTMUNet`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from retlib.models.blocks import DoubleConv, SegmentationNetwork, encode, join, one_of, positive_int, up_convolution

DIRECTIONS = ("backward", "bidirectional")
GATES = ("sigmoid", "hard_sigmoid")
HEADS = ("paired", "family")
KERNEL = 3

State = tuple[Tensor, Tensor]


class ConvLSTMCell(nn.Module):
    """One step of a convolutional LSTM (Shi et al. 2015, equation 3, without the peephole terms).

    With * a convolution and o the product of elements::

        i = s(Wi * x + Ui * h + bi)      f = s(Wf * x + Uf * h + bf)      g = tanh(Wg * x + Ug * h + bg)
        o = s(Wo * x + Uo * h + bo)      c' = f o c + i o g               h' = o o tanh(c')

    Deviation from Shi et al.: the gates do not see the cell state (no peephole), as in Keras's ConvLSTM2D, which
    the family uses, and in torch's LSTM. On a 1x1 map a 1x1 kernel makes this ``torch.nn.LSTMCell`` (whose second
    bias is then 0).

    Args:
        in_channels: channels of the input.
        filters: channels of the hidden and of the cell state.
        kernel: side of both kernels, odd.
        gates: ``"sigmoid"`` (Shi et al.; Keras 3) or ``"hard_sigmoid"``, min(max(0.2 x + 0.5, 0), 1), Keras 2's
            default and steeper than torch's function of that name.
    """

    def __init__(self, in_channels: int, filters: int, kernel: int = KERNEL, gates: str = "sigmoid") -> None:
        super().__init__()
        self.filters = filters
        self.gates = one_of("gates", gates, GATES)
        # Four convolutions in one, in torch's order: input gate, forget gate, candidate, output gate.
        self.input = nn.Conv2d(in_channels, 4 * filters, kernel, padding=kernel // 2)
        self.recurrent = nn.Conv2d(filters, 4 * filters, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor, state: State | None = None) -> State:
        """Hidden and cell state (N, filters, H, W) after seeing (N, in_channels, H, W); None: both start at 0."""
        total = self.input(x)
        if state is not None:  # a hidden state of 0 adds nothing: the convolution is left out
            total = total + self.recurrent(state[0])
        i, f, g, o = total.chunk(4, dim=1)
        cell = self._gate(i) * torch.tanh(g)
        if state is not None:
            cell = cell + self._gate(f) * state[1]
        return self._gate(o) * torch.tanh(cell), cell

    def _gate(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x) if self.gates == "sigmoid" else (0.2 * x + 0.5).clamp(0, 1)


class Merge(nn.Module):
    """ConvLSTM over the sequence [skip, up]: the last hidden states of its cells.

    ``"backward"``: one cell, from the last step to the first, so it starts with the up-sampled map and ends with
    the skip (Keras's ``go_backwards``, as coded in the family, whose name says bidirectional); half as many
    channels come out as either map has. ``"bidirectional"``: a second cell reads forwards, and the two last states
    are concatenated, so as many come out as go in.

    Args:
        channels: channels of the skip and of the up-sampled map, even.
        direction: ``"backward"`` or ``"bidirectional"``.
        gates: see :class:`ConvLSTMCell`.
    """

    def __init__(self, channels: int, direction: str, gates: str) -> None:
        super().__init__()
        one_of("direction", direction, DIRECTIONS)
        self.forwards = ConvLSTMCell(channels, channels // 2, gates=gates) if direction == "bidirectional" else None
        self.backwards = ConvLSTMCell(channels, channels // 2, gates=gates)
        self.out_channels = channels if direction == "bidirectional" else channels // 2

    def forward(self, skip: Tensor, up: Tensor) -> Tensor:
        """Two maps (N, channels, H, W) to (N, out_channels, H, W)."""
        hidden, _ = self.backwards(skip, self.backwards(up))
        if self.forwards is not None:
            ahead, _ = self.forwards(up, self.forwards(skip))
            hidden = join([ahead, hidden])
        return hidden


class DenseBottleneck(nn.Module):
    """Blocks of two 3x3 convolutions with ReLU; from the third on a block reads all earlier ones, concatenated.

    One block is the usual bottleneck (BCDU-Net D1), three are BCDU-Net D3. With none the map passes unchanged: the
    paper's text to the letter, which names no layer between its third pooling and its first up-sampling.
    """

    def __init__(self, in_channels: int, channels: int, blocks: int, dropout: float) -> None:
        super().__init__()
        inputs = [in_channels, *(channels * before for before in range(1, blocks))][:blocks]
        self.blocks = nn.ModuleList(DoubleConv(before, channels, norm=False) for before in inputs)
        self.dropout = nn.Dropout(dropout)
        self.out_channels = channels if blocks else in_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        found: list[Tensor] = []
        for block in self.blocks:
            # Newest first, the order of the family's code.
            x = self.dropout(block(join(found[::-1]) if found else x))
            found.append(x)
        return x


class ConvLSTMUNet(SegmentationNetwork):
    """ConvLSTM U-Net: encoder, bottleneck, decoder whose merges are ConvLSTMs over [skip, up].

    From two channels to one vessel map, option ``head``. ``"paired"``, our reading: the last convolution has two
    channels, background and vessel, and the logit of a pixel is the vessel channel minus the background channel, so
    that its sigmoid is the share of the vessel in the pair (the softmax of the two). The paper has two channels with
    a sigmoid, prints one map and does not say how it takes it. ``"family"``: BCDU-Net's code, a 3x3 convolution to
    two channels with ReLU, then a 1x1 convolution to the one channel that the sigmoid sees.

    ``head="family"`` with ``dense_blocks=3`` has the 20,658,821 parameters of BCDU-Net D3 as coded (one channel
    in), ``dense_blocks=1`` the 8,860,293 of D1, ``dense_blocks=3`` with ``direction="bidirectional"`` the 23,369,221
    of D3 read both ways.

    Args:
        in_channels: channels of the image.
        width: channels at full resolution, even; they double after each pooling.
        depth: number of 2x2 max-poolings.
        direction: ``"backward"`` or ``"bidirectional"``, see :class:`Merge`.
        dense_blocks: blocks of the bottleneck, see :class:`DenseBottleneck`.
        gates: ``"sigmoid"`` or ``"hard_sigmoid"``, see :class:`ConvLSTMCell`.
        head: ``"paired"`` or ``"family"``.
        dropout: share of channels' values dropped after each block of the bottleneck and on the deepest skip: 0.5
            in the family, which pools the map before it is dropped; the paper mentions none.
    """

    def __init__(
        self,
        in_channels: int = 1,
        width: int = 64,
        depth: int = 3,
        direction: str = "backward",
        dense_blocks: int = 1,
        gates: str = "sigmoid",
        head: str = "paired",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_channels = positive_int("in_channels", in_channels)
        self.depth = positive_int("depth", depth)
        self.cell = 2**depth
        positive_int("dense_blocks", dense_blocks, least=0)
        if positive_int("width", width) % 2:
            raise ValueError(f"width must be an even number, not {width}: a ConvLSTM has half as many filters")
        if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
            raise ValueError(f"dropout must be a number from 0 up to, but not, 1, not {dropout!r}")
        widths = [width * 2**stage for stage in range(depth)]
        inputs = [in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(DoubleConv(i, o, norm=False) for i, o in zip(inputs, widths, strict=True))
        self.bridge = DenseBottleneck(widths[-1], 2 * widths[-1], dense_blocks, dropout)
        self.drop_skip = nn.Dropout(dropout)
        below = [self.bridge.out_channels, *reversed(widths[1:])]
        # The transposed convolution keeps the bias that its normalisation cancels, as the family's code and counts do.
        self.up = nn.ModuleList(
            nn.Sequential(up_convolution(i, o), nn.BatchNorm2d(o), nn.ReLU(inplace=True))
            for i, o in zip(below, reversed(widths), strict=True)
        )
        self.merge = nn.ModuleList(Merge(w, direction, gates) for w in reversed(widths))
        self.decoder = nn.ModuleList(
            DoubleConv(merge.out_channels, w, norm=False) for merge, w in zip(self.merge, reversed(widths), strict=True)
        )
        if one_of("head", head, HEADS) == "paired":
            self.head: nn.Module = nn.Conv2d(width, 2, kernel_size=1)
        else:
            squeeze = nn.Conv2d(width, 2, kernel_size=3, padding=1)
            self.head = nn.Sequential(squeeze, nn.ReLU(inplace=True), nn.Conv2d(2, 1, kernel_size=1))
        initialise(self)
        nn.init.xavier_uniform_((self.head if head == "paired" else self.head[-1]).weight)  # no ReLU follows

    def logits(self, x: Tensor) -> Tensor:
        """Compute logits (N, 1, h, w) of a padded batch (N, in_channels, h, w)."""
        skips, x = encode(self.encoder, x)
        skips[-1] = self.drop_skip(skips[-1])
        x = self.bridge(x)
        for up, merge, stage in zip(self.up, self.merge, self.decoder, strict=True):
            x = stage(merge(skips.pop(), up(x)))
        x = self.head(x)
        if x.shape[1] == 2:
            x = x[:, 1:] - x[:, :1]  # paired: vessel minus background
        return x


def initialise(model: nn.Module) -> None:
    """Initialise as the BCDU-Net code: He normal (fan in), orthogonal recurrent kernels, biases 0, forget biases 1.

    The paper names none. Torch's defaults are smaller by a factor of 2.4, and in a network with so few
    normalisations, trained by SGD for five epochs, that factor to the power of its depth is what has to be made up.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.ConvTranspose2d):
            # A pixel that a 2x2 kernel at stride 2 gives is a sum over the input channels alone.
            nn.init.normal_(module.weight, std=(2 / module.in_channels) ** 0.5)
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, ConvLSTMCell):
            nn.init.orthogonal_(module.recurrent.weight)
            nn.init.ones_(module.input.bias[module.filters : 2 * module.filters])
