"""Build segmentation networks by name: each maps (N, C, H, W), any H and W, to logits (N, 1, H, W)."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from torch import nn

from retlib.models.af_unet import AFUNet
from retlib.models.attention_unet import AttentionUNet
from retlib.models.attention_unetpp import AttentionUNetPP
from retlib.models.attention_unetpp_resnet34 import AttentionUNetPPResNet34
from retlib.models.convlstm_unet import ConvLSTMUNet
from retlib.models.cost import multiply_adds
from retlib.models.r2unet import R2UNet
from retlib.models.res_unet import ResUNet50
from retlib.models.resaspp_unet import ResASPPUNet
from retlib.models.resunet import ResUNet
from retlib.models.resunetpp import ResUNetPlusPlus
from retlib.models.segnet import SegNet
from retlib.models.unet import UNet
from retlib.models.unetpp import UNetPlusPlus

__all__ = [
    "MODEL_TITLES",
    "build_model",
    "count_parameters",
    "list_models",
    "model_options",
    "multiply_adds",
]

_NETWORKS: dict[str, tuple[str, Callable[..., nn.Module]]] = {
    "unet": ("U-Net", UNet),
    "unetpp": ("UNet++", UNetPlusPlus),
    "resunet": ("ResUNet", ResUNet),
    "resunetpp": ("ResUNet++", ResUNetPlusPlus),
    "attention_unet": ("Attention U-Net", AttentionUNet),
    "segnet": ("SegNet", SegNet),
    "r2unet": ("R2U-Net", R2UNet),
    "convlstm_unet": ("ConvLSTM U-Net", ConvLSTMUNet),
    "res_unet": ("Res-UNet", ResUNet50),
    "resaspp_unet": ("ResASPP-UNet", ResASPPUNet),
    "af_unet": ("AF-UNet", AFUNet),
    "attention_unetpp": ("Attention U-Net++", AttentionUNetPP),
    "attention_unetpp_resnet34": ("Attention U-Net++ (ResNet-34)", AttentionUNetPPResNet34),
}

MODEL_TITLES = {name: title for name, (title, _) in _NETWORKS.items()}
"""Names of the networks in print."""


def list_models() -> list[str]:
    """List the names that :func:`build_model` knows, sorted."""
    return sorted(_NETWORKS)


def model_options(name: str) -> dict[str, object]:
    """List the options of a model with their default values, ``in_channels`` aside.

    Raises:
        ValueError: there is no model of this name.
    """
    if name not in _NETWORKS:
        raise ValueError(f"there is no model {name!r}: choose one of {', '.join(list_models())}")
    parameters = inspect.signature(_NETWORKS[name][1]).parameters
    return {key: value.default for key, value in parameters.items() if key != "in_channels"}


def build_model(name: str, in_channels: int = 1, **options: object) -> nn.Module:
    """Build a network with fresh weights, drawn from torch's global generator: seed it first.

    Args:
        name: one of :func:`list_models`.
        in_channels: channels of the images it will see.
        options: options of that model, see :func:`model_options` and the docstring of its class.

    Returns:
        A module that maps a floating (N, in_channels, H, W) batch, any H and W, to logits (N, 1, H, W).

    Raises:
        ValueError: the name, an option or the value of an option is unknown; the message lists the choices.
    """
    known = model_options(name)
    unknown = [key for key in options if key not in known]
    if unknown:
        choices = ", ".join(f"{key}={value!r}" for key, value in known.items())
        raise ValueError(f"model {name!r} has no option {', '.join(unknown)}: its options are {choices}")
    return _NETWORKS[name][1](in_channels=in_channels, **options)


def count_parameters(model: nn.Module) -> int:
    """Count the trainable values of a model, running statistics of batch normalisation aside."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
