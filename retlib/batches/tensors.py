"""Batches as tensors: pixels as they are stored, and what the network sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch

from retlib.losses import signed_distances
from retlib.preprocessing import InputSettings, Prepared, normalise

# Where a loss looks: at the field of view alone, or at the whole frame.
Region = Literal["fov", "frame"]


class Batch(NamedTuple):
    """float32 (N, C, h, w), float32 (N, 1, h, w) of 0 and 1, float32 (N, 1, h, w): 1 inside the FOV.

    The image is laid out channels last, as the networks want it. Where the loss uses them, signed distances to the
    vessels, float32 (N, 1, h, w), as :func:`retlib.losses.boundary` takes them.
    """

    image: torch.Tensor
    vessels: torch.Tensor
    fov: torch.Tensor
    distances: torch.Tensor | None = None


class Pixels(NamedTuple):
    """A batch as it is carried: (N, h, w, C), (N, h, w), (N, h, w), and maybe distances, float32 (N, h, w).

    Either as stored (uint8, and twice uint8 or bool: a quarter of the bytes), or as numbers already, float32.
    """

    image: torch.Tensor
    vessels: torch.Tensor
    fov: torch.Tensor
    distances: torch.Tensor | None = None

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Pixels:
        """``change`` done to every part that is there."""
        return Pixels(*(part if part is None else change(part) for part in self))


def stack_pixels(
    samples: Sequence[Prepared], settings: InputSettings, *, stored: bool, distances: Region | None = None
) -> Pixels:
    """Stack samples of one size.

    Args:
        samples: photographs, labels and FOVs.
        settings: normalisation.
        stored: leave the pixels as they are stored, for the device to convert. ``normalisation: standard`` looks at
            each image as a whole, with sums in numpy's order: its images are converted here in any case.
        distances: add the signed distances to the vessels in this region; None: leave them out.
    """
    if settings.normalisation == "standard":
        image = np.stack([normalise(s.image, "standard") for s in samples])
    else:
        image = np.stack([s.image for s in samples])
        image = image if stored else normalise(image, settings.normalisation)
    masks = [np.stack([getattr(s, part) for s in samples]) for part in ("vessels", "fov")]
    maps = []
    if distances is not None:
        vessels, fov = (mask.astype(bool) for mask in masks)
        maps = [signed_distances(vessels & fov if distances == "fov" else vessels)]
    masks = masks if stored else [mask.astype(np.float32) for mask in masks]
    return Pixels(*map(torch.from_numpy, (image, *masks, *maps)))


def to_batch(pixels: Pixels, settings: InputSettings, device: torch.device | str | None = None) -> Batch:
    """What the network sees of a batch of pixels, converted on ``device`` (None: where the pixels are).

    The same numbers, bit for bit, whichever device converts.
    """
    if device is not None:
        pixels = pixels.each(lambda part: part.to(device, non_blocking=True))
    image = pixels.image
    count, height, width, channels = image.shape
    # Channels last. For one channel the two layouts hold the same bytes, and torch takes the strides' word for which.
    image = image.view(count, 1, height, width) if channels == 1 else image.permute(0, 3, 1, 2)
    if image.dtype == torch.uint8:
        image = _normalised(image.to(torch.float32), settings.normalisation)
    return Batch(image, *(part if part is None else part[:, None].to(torch.float32) for part in pixels[1:]))


def _normalised(values: torch.Tensor, method: str) -> torch.Tensor:
    """`retlib.preprocessing.normalise` on tensors of 0 to 255, in place."""
    divisor = {"unit": 255.0, "signed": 127.5, "none": None}[method]
    if divisor is not None:
        # A tensor, since CUDA divides by a Python number as it multiplies with its reciprocal: other last bits.
        values.div_(torch.full((), divisor, device=values.device))
    return values.sub_(1.0) if method == "signed" else values


def stack(samples: Sequence[Prepared], settings: InputSettings) -> Batch:
    """Stack samples of one size into a batch, on the CPU."""
    return to_batch(stack_pixels(samples, settings, stored=False), settings)
