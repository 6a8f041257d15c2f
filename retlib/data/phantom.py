"""Phantoms: synthetic fundus photographs whose vessels are known exactly.

A phantom is drawn, not learned: vessel trees grow from an optic disc and are rasterised twice from the same geometry,
once as the label and once, through a point spread function and an absorption per colour, into the photograph. Sizes,
colours, contrasts, texture and noise follow statistics of DRIVE's training images (Staal et al., 2004), whose frame of
565 x 584 pixels is the default; every length scales with the FOV.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from retlib.data._phantom_lesions import draw_lesions
from retlib.data._phantom_photo import Scene, blood_absorption, photograph
from retlib.data._phantom_raster import place_segments, rasterise
from retlib.data._phantom_tree import REFERENCE_RADIUS, Anatomy
from retlib.data._phantom_vessels import grow_tree
from retlib.data.sample import FundusSample

GENERATOR_VERSION: int = 1
"""Changes whenever the same seed and options would give other pixels."""

SMALLEST_SIZE = 32
"""Least height and width, in pixels: below it no vessel is a pixel wide."""


def make_phantom(seed: int, height: int = 584, width: int = 565, lesions: bool = False) -> FundusSample:
    """Draw the fundus photograph of this seed, with exact vessel label and FOV.

    Args:
        seed: Number of the phantom, 0 or more; the same seed and size always give the same arrays.
        height: Rows, 32 or more.
        width: Columns, 32 or more.
        lesions: Whether microaneurysms, haemorrhages, hard exudates and cotton-wool spots are drawn too; the eye, its
            vessels and their label stay the same.

    Returns:
        Sample ``phantom-{seed:04d}`` without a second observer. A pixel is vessel when its centre lies inside a vessel
        and inside the FOV.

    Raises:
        ValueError: The seed, the height or the width is not a whole number in its range.
    """
    _check("seed", seed, 0)
    _check("height", height, SMALLEST_SIZE)
    _check("width", width, SMALLEST_SIZE)
    eye, tree, light, spots = (np.random.default_rng([seed, part]) for part in range(4))
    scene, anatomy = _eye(eye, height, width)
    segments = place_segments(grow_tree(tree, anatomy), scene.centre, scene.radius, scene.mirrored)
    absorb = partial(blood_absorption, scene)
    maps = [rasterise(segments, vein, (height, width), 3 * scene.blur, absorb) for vein in (False, True)]
    fov = scene.field_of_view()
    vessels = np.zeros(height * width, dtype=bool)
    for vessel_map in maps:
        vessels[vessel_map.pixel[vessel_map.depth >= 0]] = True
    image = photograph(scene, maps[0], maps[1], light, partial(draw_lesions, scene, spots) if lesions else None)
    return FundusSample(f"phantom-{seed:04d}", image, vessels.reshape(height, width) & fov, fov)


def _check(name: str, value: object, least: int) -> None:
    """One clear error for a number that is out of range."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"phantom {name} has to be a whole number of at least {least}, got {value!r}")


def _eye(rng: np.random.Generator, height: int, width: int) -> tuple[Scene, Anatomy]:
    """Which eye it is, how the camera looks at it, and how large its vessels are."""
    radius = 0.4755 * min(height, width) * rng.uniform(0.995, 1.0)
    disc = complex(rng.uniform(0.60, 0.84), rng.uniform(-0.13, 0.06))
    fovea = disc - rng.uniform(0.72, 0.82) * np.exp(-1j * rng.uniform(0.02, 0.17))
    disc_radius = rng.uniform(0.132, 0.16)
    mirrored = bool(rng.integers(2))
    margin = min(height, width) / 2 - radius
    centre = complex((width - 1) / 2, (height - 1) / 2) + 0.45 * margin * complex(*rng.uniform(-1, 1, 2))
    # A photograph with fewer pixels still shows its wide vessels: they shrink less than the frame does.
    shrunk = min(1.0, radius / REFERENCE_RADIUS)
    narrowest = max(0.64 / REFERENCE_RADIUS, 0.52 / radius)
    anatomy = Anatomy(
        disc=disc,
        fovea=fovea,
        disc_radius=disc_radius,
        avascular=rng.uniform(0.095, 0.14),
        widest=rng.uniform(3.7, 4.4) / REFERENCE_RADIUS * shrunk**-0.3,
        narrowest=narrowest,
        step=min(0.02, max(0.008, 1 / radius)),
        tortuosity=rng.lognormal(0.0, 0.3),
        share=rng.uniform(0.112, 0.138),
    )
    flip = (lambda z: complex(-z.real, z.imag)) if mirrored else (lambda z: z)
    scene = Scene(
        height=height,
        width=width,
        centre=centre,
        radius=radius,
        mirrored=mirrored,
        disc=flip(disc),
        fovea=flip(fovea),
        disc_radius=disc_radius,
        blur=rng.uniform(0.7, 0.95) * max(0.45, radius / REFERENCE_RADIUS) ** 0.6,
        notch=0.985 * np.exp(-1j * rng.uniform(0.75, 0.9)) if rng.random() < 0.6 and radius > 100 else None,
    )
    return scene, anatomy
