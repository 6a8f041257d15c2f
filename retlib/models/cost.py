"""Count what a forward pass costs, without computing it."""

from __future__ import annotations

import torch
from torch import nn
from torch.func import functional_call

from retlib.models.blocks import positive_int


def multiply_adds(model: nn.Module, channels: int, height: int, width: int) -> int:
    """Count the multiply-adds of one forward pass over one image of (channels, height, width).

    Convolutions and matrix products count, as :class:`torch.utils.flop_counter.FlopCounterMode` defines them (half
    its FLOPs); biases, normalisation, activations, pooling, enlarging and element-wise products do not. The model
    pads the image to whole cells, and the padding counts. Shapes alone are followed (torch's ``meta`` device): nothing
    is computed, and the model, its mode and its statistics stay as they are.

    Raises:
        ValueError: a number is no whole number of at least 1, or the model takes another number of channels.
    """
    from torch.utils.flop_counter import FlopCounterMode  # it imports triton, which takes a while

    shape = (positive_int("channels", channels), positive_int("height", height), positive_int("width", width))
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shapes_only = {name: value.detach().to("meta") for name, value in tensors.items()}
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        functional_call(model, shapes_only, (torch.empty(1, *shape, device="meta"),))
    return counter.get_total_flops() // 2
