"""Preprocess photographs by named steps, resize samples to working size, and normalise the network's input.

The order is fixed: steps on the native grid (``preprocess``), resizing of photograph, label and FOV together
(``prepare``), in training augmentation, then normalisation (``to_input``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from pydantic import Field, field_validator, model_validator

from retlib.data import FundusSample
from retlib.settings import Settings

Step = str | dict[str, dict[str, Any]]


def rgb(image: np.ndarray) -> np.ndarray:
    """Return the photograph unchanged: (H, W, 3) uint8."""
    return image


def green(image: np.ndarray) -> np.ndarray:
    """Take the green channel, where vessels have the most contrast: (H, W, 3) -> (H, W, 1) uint8."""
    _require_colour(image, "green")
    return image[..., 1:2]


def gray(image: np.ndarray) -> np.ndarray:
    """Compute luma by ITU-R BT.601 weights: (H, W, 3) -> (H, W, 1) uint8."""
    _require_colour(image, "gray")
    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)[..., None]


def clahe(image: np.ndarray, clip_limit: float = 2.0, tile: int = 8) -> np.ndarray:
    """Equalise each channel by contrast-limited adaptive histograms (OpenCV): (H, W, C) -> (H, W, C) uint8.

    Args:
        image: uint8 photograph, any number of channels.
        clip_limit: OpenCV's clip limit, in multiples of a flat histogram; above 0.
        tile: the image is cut into ``tile`` x ``tile`` regions.
    """
    if clip_limit <= 0 or tile < 1:
        raise ValueError(f"clahe: clip_limit must be above 0 and tile at least 1, got {clip_limit} and {tile}")
    equaliser = cv2.createCLAHE(clipLimit=float(clip_limit), tileGridSize=(int(tile), int(tile)))
    channels = [equaliser.apply(np.ascontiguousarray(image[..., c])) for c in range(image.shape[-1])]
    return np.stack(channels, axis=-1)


def local_normalisation(image: np.ndarray, reach: float = 0.06) -> np.ndarray:
    """Give all surroundings the same mean, 128, and the same standard deviation, 40: (H, W, C) -> (H, W, C) uint8.

    From each pixel of a channel the mean around it is taken away, and the rest is divided by the standard deviation
    around it, after Foracchia, Grisan and Ruggeri (Medical Image Analysis 9(3), 2005). Pixels below a tenth of the
    photograph's brightness, such as those around the field of view, count for nothing.

    Args:
        image: uint8 photograph, any number of channels.
        reach: standard deviation of the Gaussian window, as a share of the longer side, 0.01 to 1.
    """
    if not 0.01 <= reach <= 1:
        raise ValueError(f"local_normalisation: reach must be from 0.01 to 1, got {reach:g}")
    height, width = image.shape[:2]
    scale = min(1.0, 300 / max(height, width))  # mean and deviation vary slowly: a small copy has them
    small = (max(1, round(width * scale)), max(1, round(height * scale)))

    def shrink(values: np.ndarray) -> np.ndarray:
        return cv2.resize(values, small, interpolation=cv2.INTER_AREA)

    def around(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (0, 0), reach * max(small), borderType=cv2.BORDER_CONSTANT)

    light = np.maximum.reduce(np.moveaxis(image, -1, 0))
    weight = shrink((light > np.percentile(light[::4, ::4], 99) / 10).astype(np.float32))
    total, channels = np.maximum(around(weight), 1e-3), []
    for values in np.moveaxis(image.astype(np.float32), -1, 0):
        mean = around(shrink(values) * weight) / total
        variance = around(shrink(values * values) * weight) / total - mean * mean
        gain = 40 / np.sqrt(np.maximum(variance, 1))
        gain, offset = (cv2.resize(part, (width, height)) for part in (gain, 128 - gain * mean))
        channels.append(cv2.add(cv2.multiply(values, gain), offset, dtype=cv2.CV_8U))
    return np.stack(channels, axis=-1)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize to ``size`` = (H, W). uint8 (H, W, C): area averaging down, bilinear up; bool (H, W): nearest neighbour.

    Nearest neighbour keeps labels binary and the vessel share unbiased, but breaks thin vessels.
    """
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    if image.dtype == bool:
        scaled = cv2.resize(image.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return scaled.astype(bool)
    shrinks = height * width < image.shape[0] * image.shape[1]
    scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return scaled.reshape(height, width, -1)


def resize_label(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a bool (H, W) label to ``size`` = (H, W): interpolate bilinearly, then cut at one half."""
    height, width = size
    return cv2.resize(label.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) > 0.5


def crop(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Crop the centre, ``size`` = (H, W), of (H, W, ...); a size beyond the image is a ValueError."""
    height, width = size
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    if top < 0 or left < 0:
        raise ValueError(f"crop: {height}x{width} does not fit into an image of {image.shape[0]}x{image.shape[1]}")
    return image[top : top + height, left : left + width]


def normalise(image: np.ndarray, method: str = "unit") -> np.ndarray:
    """Normalise uint8 (H, W, C) to float32 (H, W, C).

    ``unit``: 0 to 1; ``signed``: -1 to 1; ``standard``: zero mean and unit variance of this array, a patch or a whole
    photograph with the pixels outside its FOV; ``none``: 0 to 255.
    """
    values = image.astype(np.float32)
    if method == "unit":
        return values / np.float32(255)
    if method == "signed":
        return values / np.float32(127.5) - np.float32(1)
    if method == "standard":
        return (values - values.mean(dtype=np.float64)).astype(np.float32) / np.float32(values.std() + 1e-6)
    if method == "none":
        return values
    raise ValueError(f"normalise: method must be 'unit', 'signed', 'standard' or 'none', got {method!r}")


STEPS: dict[str, Callable[..., np.ndarray]] = {
    "rgb": rgb,
    "green": green,
    "gray": gray,
    "clahe": clahe,
    "local_normalisation": local_normalisation,
}


def preprocess(image: np.ndarray, steps: Sequence[Step]) -> np.ndarray:
    """Run named steps in order on a photograph.

    Args:
        image: uint8 (H, W, 3).
        steps: names (``"green"``) or one-entry mappings with arguments (``{"clahe": {"clip_limit": 2.0}}``).

    Returns:
        uint8 (H, W, C), C = 3 or 1.

    Raises:
        ValueError: an unknown step, or arguments that the step does not take.
    """
    for step in steps:
        name, arguments = parse_step(step)
        image = STEPS[name](image, **arguments)
    return image


def parse_step(step: Step) -> tuple[str, dict[str, Any]]:
    """Split a step into (name, arguments); an unknown name is an error that lists the known ones."""
    if isinstance(step, str):
        name, arguments = step, {}
    elif isinstance(step, dict) and len(step) == 1:
        name, arguments = next(iter(step.items()))
    else:
        raise ValueError(f"a preprocessing step is a name or a one-entry mapping, got {step!r}")
    if name not in STEPS:
        raise ValueError(f"unknown preprocessing step {name!r}; known: {', '.join(STEPS)}")
    return name, dict(arguments or {})


class InputSettings(Settings):
    """Settings of the network's input."""

    preprocessing: tuple[Step, ...] = ("rgb",)
    crop: tuple[int, int] | None = None  # centre crop (H, W) of the sample itself: the crop becomes the native grid
    # Then photograph, labels and FOV are resized to (H, W), which becomes the native grid, on which runs are scored.
    resample: tuple[int, int] | None = None
    resample_label: Literal["nearest", "linear"] = "nearest"  # linear: interpolated, then cut at one half
    size: tuple[int, int] | None = None  # working size (H, W); None keeps the native grid
    # Or: the FOV's bounding box, scaled until its longer side has so many pixels. Vessels are then about equally wide
    # for every camera, so that a network can be applied to photographs of another one.
    fov_side: int | None = Field(None, ge=64)
    normalisation: Literal["unit", "signed", "standard", "none"] = "unit"

    @field_validator("preprocessing")
    @classmethod
    def _known_steps(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        for step in steps:
            parse_step(step)
        return steps

    @model_validator(mode="after")
    def _one_working_size(self) -> InputSettings:
        if self.size is not None and self.fov_side is not None:
            raise ValueError("size and fov_side both set the working size: give one of them")
        if self.resample_label != "nearest" and self.resample is None:
            raise ValueError("resample_label says how labels come to the size of resample: give resample too")
        return self

    @property
    def channels(self) -> int:
        """Channels of the network's input."""
        names = [parse_step(step)[0] for step in self.preprocessing]
        return 1 if {"green", "gray"} & set(names) else 3


class Prepared(NamedTuple):
    """A sample at working size: uint8 (h, w, C), bool (h, w), bool (h, w)."""

    image: np.ndarray
    vessels: np.ndarray
    fov: np.ndarray


def to_grid(sample: FundusSample, settings: InputSettings) -> FundusSample:
    """Crop, then resize a sample, second observer included, to the grid that it is scored on."""
    if settings.crop is not None:
        sample = _each_part(sample, lambda part: crop(part, settings.crop))
    if settings.resample is not None:
        of_label = resize if settings.resample_label == "nearest" else resize_label
        sample = _each_part(sample, lambda part: (of_label if part.dtype == bool else resize)(part, settings.resample))
    return sample


def _each_part(sample: FundusSample, change: Callable[[np.ndarray], np.ndarray]) -> FundusSample:
    second = None if sample.second_observer is None else change(sample.second_observer)
    parts = [change(part) for part in (sample.image, sample.vessels, sample.fov)]
    return FundusSample(sample.name, *parts, second_observer=second)


def prepare(sample: FundusSample, settings: InputSettings) -> Prepared:
    """Preprocess a sample and bring photograph, label and FOV to working size by the same geometry."""
    image = preprocess(sample.image, settings.preprocessing)
    window, size = working_grid(sample.fov, settings)
    return Prepared(*(resize(part[window], size) for part in (image, sample.vessels, sample.fov)))


def working_grid(fov: np.ndarray, settings: InputSettings) -> tuple[tuple[slice, slice], tuple[int, int]]:
    """Return the window of the native grid that the network sees, and its working size (h, w).

    Args:
        fov: bool (H, W); used only for ``fov_side``.
        settings: ``size`` (the whole grid, whatever its proportions), ``fov_side`` (the FOV's bounding box, proportions
            kept to within a pixel) or neither (the native grid).

    Raises:
        ValueError: ``fov_side`` and an empty FOV.
    """
    height, width = fov.shape
    if settings.fov_side is None:
        return np.s_[:height, :width], settings.size or (height, width)
    rows, columns = np.flatnonzero(fov.any(axis=1)), np.flatnonzero(fov.any(axis=0))
    if not rows.size:
        raise ValueError("inputs.fov_side: the FOV is empty, so it has no bounding box; expected at least one pixel")
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    box = fov[window].shape
    scale = settings.fov_side / max(box)
    return window, tuple(max(1, round(side * scale)) for side in box)


def to_input(image: np.ndarray, settings: InputSettings) -> np.ndarray:
    """Normalise uint8 (h, w, C) to the network's float32 (C, h, w)."""
    return np.ascontiguousarray(normalise(image, settings.normalisation).transpose(2, 0, 1))


def _require_colour(image: np.ndarray, step: str) -> None:
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"{step}: expected a colour photograph (H, W, 3), got an array of shape {image.shape}")
