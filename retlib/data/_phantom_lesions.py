"""Lesions of a synthetic retina, drawn beneath its vessels and never part of the vessel label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retlib.data._phantom_photo import ABSORPTION, Scene, logistic

Float = NDArray[np.float64]


def draw_lesions(scene: Scene, rng: np.random.Generator, plane: Float, base: Float) -> None:
    """Microaneurysms, blot and flame haemorrhages, hard exudates and cotton-wool spots.

    Args:
        scene: The eye on its grid.
        rng: Source of number, place and shape of the lesions.
        plane: Photograph under construction, (3, H, W), changed in place.
        base: Mean colour of the retina, (3,).
    """
    for _ in range(rng.integers(2, 5)):  # hard exudates lie in clusters about the macula, some in a ring
        centre = _place(scene, rng, scene.fovea, 0.18, 0.5)
        ring = rng.uniform(0.05, 0.1) if rng.random() < 0.5 else 0.0
        for _ in range(rng.integers(8, 36)):
            offset = (ring + 0.035 * rng.standard_normal()) * np.exp(2j * np.pi * rng.random())
            colour = base * np.array([1.32, 1.85, 1.35]) * rng.uniform(0.88, 1.1)
            _paint(
                scene,
                rng,
                plane,
                centre + offset,
                rng.uniform(0.005, 0.017),
                colour,
                rng.uniform(0.45, 0.95),
                0.9,
            )
    for _ in range(rng.integers(1, 5)):  # cotton-wool spots: infarcts of the nerve fibre layer, near the arcades
        place = _place(scene, rng, scene.disc, 0.35, 0.8)
        colour = base * np.array([1.22, 1.68, 1.75])
        _paint(scene, rng, plane, place, rng.uniform(0.025, 0.055), colour, rng.uniform(0.4, 0.7), 7.0)
    for _ in range(rng.integers(3, 10)):  # blot haemorrhages
        _stain(scene, rng, plane, _place(scene, rng, scene.fovea, 0.15, 0.9), rng.uniform(0.012, 0.04), 1.0)
    for _ in range(rng.integers(1, 6)):  # flame haemorrhages follow the nerve fibres away from the disc
        _stain(scene, rng, plane, _place(scene, rng, scene.disc, 0.25, 0.7), rng.uniform(0.02, 0.045), 2.8)
    for _ in range(rng.integers(10, 32)):  # microaneurysms
        _stain(scene, rng, plane, _place(scene, rng, scene.fovea, 0.05, 0.8), rng.uniform(0.0045, 0.009), 1.0)


def _place(scene: Scene, rng: np.random.Generator, around: complex, nearest: float, farthest: float) -> complex:
    """A place inside the FOV and off the disc, at a distance from another place."""
    while True:
        place = around + rng.uniform(nearest, farthest) * np.exp(2j * np.pi * rng.random())
        if abs(place) < 0.92 and abs(place - scene.disc) > 1.4 * scene.disc_radius:
            return place


def _shape(
    scene: Scene, rng: np.random.Generator, at: complex, size: float, softness: float, stretch: float = 1.0
) -> tuple[tuple[slice, slice], Float]:
    """Slices of the grid around a blob, and its coverage there; softness in pixels of DRIVE's frame."""
    part, dy, dx = scene.window(at, 1.5 * size * stretch + 4 * softness / 268)
    fibre = (at - scene.disc) / abs(at - scene.disc) * np.exp(0.25j * rng.standard_normal())
    along, across = dx * fibre.real + dy * fibre.imag, dy * fibre.real - dx * fibre.imag
    bearing = np.arctan2(across, along / stretch)
    outline = 1 + sum(rng.normal(0, 0.28 / k) * np.cos(k * bearing + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5))
    radial = np.hypot(along / stretch, across)
    edge = max(softness / 268, 0.5 * scene.blur / scene.radius)
    return part, logistic((size * outline - radial) / (0.6 * edge))


def _paint(
    scene: Scene,
    rng: np.random.Generator,
    plane: Float,
    at: complex,
    size: float,
    colour: Float,
    amount: float,
    softness: float,
) -> None:
    """Blend a bright blob over the retina."""
    part, cover = _shape(scene, rng, at, size, softness)
    here = plane[:, part[0], part[1]]
    here += amount * cover * np.maximum(colour[:, None, None] - here, 0)


def _stain(scene: Scene, rng: np.random.Generator, plane: Float, at: complex, size: float, stretch: float) -> None:
    """Darken a blob by blood; a long one is frayed along its length."""
    part, cover = _shape(scene, rng, at, size, 1.0 if stretch == 1 else 2.0, stretch)
    depth = rng.uniform(0.28, 0.5) if size > 0.01 else rng.uniform(0.18, 0.34)
    if stretch > 1:
        depth *= rng.uniform(0.6, 1.0)
    plane[:, part[0], part[1]] *= np.exp(-depth * ABSORPTION[:, None, None] * cover)
