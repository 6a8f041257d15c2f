"""Load ImageNet weights for an encoder through torchvision's weights enum: downloaded once, then cached."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPException
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

from retlib.models.blocks import true_or_false

IMAGENET_WIDTH = 64


def check_imagenet(imagenet: object, width: int, in_channels: int) -> None:
    """Raise a ValueError unless ``imagenet`` is a bool and, if True, there are weights of this width and channels."""
    if not true_or_false("imagenet", imagenet):
        return
    if width != IMAGENET_WIDTH:
        raise ValueError(f"ImageNet weights exist at width {IMAGENET_WIDTH} only: width={width} needs imagenet=False")
    if in_channels not in (1, 3):
        raise ValueError(f"ImageNet weights fit 1 or 3 channels: in_channels={in_channels} needs imagenet=False")


def imagenet_state_dict(enum: str, network: str) -> dict[str, Tensor]:
    """Load all weights ``IMAGENET1K_V1`` of a torchvision network.

    Args:
        enum: name of its weights enum, such as ``"ResNet50_Weights"``.
        network: what messages call it.

    Raises:
        FileNotFoundError: if they can be neither found nor downloaded; the message says where the file belongs.
        ImportError: if torchvision cannot be imported.
    """
    try:
        models = import_module("torchvision.models")
    except (ImportError, RuntimeError, OSError) as error:  # RuntimeError: a build that does not match torch's
        raise ImportError(
            f"imagenet=True needs torchvision, which cannot be imported here ({_one_line(error)}): "
            "install the build that matches torch, or train from scratch with imagenet=False"
        ) from None
    weights = getattr(models, enum).IMAGENET1K_V1
    try:
        return weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError, HTTPException) as error:  # RuntimeError: a truncated file, by its hash
        file = Path(torch.hub.get_dir(), "checkpoints", Path(weights.url).name)
        raise FileNotFoundError(
            f"the ImageNet weights of {network} could not be loaded ({_one_line(error)}): "
            f"put {weights.url} at {file}, or train from scratch with imagenet=False"
        ) from None


def adapt_first_convolution(state: Mapping[str, Tensor], name: str, in_channels: int) -> dict[str, Tensor]:
    """Adapt the first convolution of a state dict, the weight called ``name``, to ``in_channels`` (1 or 3) channels.

    For one channel the kernels of the three colours are summed: a gray image gives what it gave repeated as R, G and B.
    """
    adapted = dict(state)
    if in_channels == 1:
        adapted[name] = state[name].sum(dim=1, keepdim=True)
    return adapted


def _one_line(error: Exception) -> str:
    """Put an error on one line."""
    return " ".join(str(error).split()) or type(error).__name__
