"""Augment samples by named pipelines (albumentations).

Photograph, label and FOV go through one call, so the three stay aligned. A pipeline is seeded for each sample, so a
batch depends on (seed, epoch, position) only and a resumed run gets the same images.
"""

from __future__ import annotations

import os
import warnings

# albumentations asks a package index for newer versions when it is imported; a library must not.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import cv2
import numpy as np

with warnings.catch_warnings():
    # Where huggingface_hub is installed albumentations imports it, and in a notebook without widgets it warns.
    warnings.filterwarnings("ignore", message="IProgress not found")
    import albumentations as A

from retlib.preprocessing import Prepared


def _flips_and_rotation(**options: int) -> list[A.BasicTransform]:
    """List the transforms that the papers share; none states a range, ours is any rotation up to 45 degrees."""
    return [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5), A.Rotate(limit=(-45, 45), p=0.5, **options)]


def _resaspp_unet() -> list[A.BasicTransform]:
    """Salsabila et al., 'Data Preprocessing': flips, rotation, brightness and contrast (ours: up to 20 %)."""
    return [*_flips_and_rotation(), A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5)]


def _af_unet() -> list[A.BasicTransform]:
    """AF-UNet, section 3.1: flips, rotation, contrast enhancement (ours: up to 20 % either way)."""
    return [*_flips_and_rotation(), A.RandomBrightnessContrast(brightness_limit=0.0, contrast_limit=0.2, p=0.5)]


def _convlstm_unet() -> list[A.BasicTransform]:
    """The ConvLSTM study names data augmentation as a factor and no transform; ours: flips and rotation.

    Its inputs are patches, whose corners a rotation leaves empty: they are filled by reflection, label included.
    """
    return _flips_and_rotation(border_mode=cv2.BORDER_REFLECT_101)


def _dihedral() -> list[A.BasicTransform]:
    """The eight symmetries of the square: lossless, no interpolation."""
    return [A.D4(p=1.0)]


def _colour() -> list[A.BasicTransform]:
    """The symmetries of the square, then the differences between cameras: exposure, gamma, tint. For RGB input."""
    return [
        *_dihedral(),
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.7),
        A.RandomGamma(gamma_limit=(70, 140), p=0.5),
        A.HueSaturationValue(hue_shift_limit=8, sat_shift_limit=20, val_shift_limit=0, p=0.5),
    ]


def _strong(scale: tuple[float, float] = (0.8, 1.25)) -> list[A.BasicTransform]:
    """``colour``, and any rotation and a change of scale by up to a quarter, with the corners filled by reflection."""
    turn = A.Affine(
        scale=scale,
        rotate=(-180, 180),
        interpolation=cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_NEAREST,
        border_mode=cv2.BORDER_REFLECT_101,
        p=0.5,
    )
    return [*_colour(), turn]


def _strong_gray() -> list[A.BasicTransform]:
    """``strong`` without its change of hue, for an input of any number of channels."""
    return [transform for transform in _strong() if not isinstance(transform, A.HueSaturationValue)]


def _wide_scale() -> list[A.BasicTransform]:
    """``strong``, with a change of scale from a half to 1.6, for cameras whose angle the working size does not tell."""
    return _strong(scale=(0.5, 1.6))


def _cameras() -> list[A.BasicTransform]:
    """``strong``, and what cameras and files do: gray pictures, uneven light, blur, noise, JPEG. For RGB input."""
    return [
        A.ToGray(p=0.2),
        *_strong(),
        A.Illumination(intensity_range=(0.05, 0.2), p=0.3),
        A.OneOf([A.GaussianBlur(sigma_limit=(0.5, 1.2)), A.Downscale(scale_range=(0.5, 0.9))], p=0.25),
        A.OneOf([A.GaussNoise(std_range=(0.01, 0.05)), A.ImageCompression(quality_range=(40, 90))], p=0.3),
    ]


PIPELINES = {
    "none": list,
    "dihedral": _dihedral,
    "colour": _colour,
    "strong": _strong,
    "strong-gray": _strong_gray,
    "wide-scale": _wide_scale,
    "cameras": _cameras,
    "resaspp-unet": _resaspp_unet,
    "af-unet": _af_unet,
    "convlstm-unet": _convlstm_unet,
}

FOR_RGB = ("colour", "strong", "wide-scale", "cameras")  # they change hue, which a gray image does not have


def list_transforms(name: str) -> list[A.BasicTransform]:
    """List the transforms of the pipeline called ``name``; an unknown name is a ValueError that lists the known."""
    if name not in PIPELINES:
        raise ValueError(f"unknown augmentation {name!r}; known: {', '.join(sorted(PIPELINES))}")
    return PIPELINES[name]()


def build_augmentation(name: str, transform: int | None = None) -> A.Compose:
    """Build the pipeline called ``name``; seed it with ``set_random_seed`` before each use.

    Args:
        name: a key of ``PIPELINES``.
        transform: position of one transform of the pipeline; the result is that transform alone, always applied.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    transforms = list_transforms(name)
    if transform is None:
        return A.Compose(transforms)
    chosen = transforms[transform]
    chosen.p = 1.0
    return A.Compose([chosen])


def augment(pipeline: A.Compose, sample: Prepared, seed: int) -> Prepared:
    """Augment a prepared sample: uint8 (h, w, C), bool (h, w), bool (h, w).

    Args:
        pipeline: from :func:`build_augmentation`.
        sample: photograph, label and FOV at working size.
        seed: the copy is a function of this number and the sample.
    """
    pipeline.set_random_seed(seed)
    result = pipeline(
        image=np.ascontiguousarray(sample.image),
        masks=[sample.vessels.astype(np.uint8), sample.fov.astype(np.uint8)],
    )
    vessels, fov = result["masks"]
    image = result["image"].reshape(*vessels.shape, -1)
    return Prepared(image, vessels.astype(bool), fov.astype(bool))
