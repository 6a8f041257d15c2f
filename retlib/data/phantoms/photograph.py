"""Photograph of a synthetic eye: retina, optic disc, lesions, vessels, light, lens and sensor.

Positions and lengths are in units of the FOV radius, as in `retlib.data.phantoms.vessels`. ``light``, (3, H, W), is the
logarithm of the brightness relative to the mean colour of the retina. Colours are red, green, blue.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.fft import ifft2
from scipy.ndimage import gaussian_filter
from scipy.special import expit  # a soft step from 0 to 1

from retlib.data.phantoms.vessels import Complex, Eye, Float, course

# Set so that the statistics of the photographs inside the FOV are those of DRIVE's training images.
_COLOUR, _SPREAD = np.array([5.22, -0.63, -0.53]), np.array([0.17, 0.115, 0.10])  # log of red, green/red, blue/green
_BLOOD = np.array([0.40, 1.0, 0.65])  # absorption relative to green
_TEXTURE, _MACULA = np.array([0.78, 1.0, 0.85]), np.array([0.75, 1.0, 0.8])  # strength relative to green
_TINT = np.array([0.7, -0.7, -0.4])  # patches where the choroid shines redder
_VIGNETTING = np.array([0.42, 0.20, 0.05])  # fall of the light from the centre to the border of the FOV
_RIM, _CUP = np.log([1.36, 1.60, 1.45]), np.log([1.7, 2.4, 2.7])  # of the disc, relative to the retina
_VEIL = np.array([1.18, 1.06, 0.62])
_NOISE, _BLACK = np.array([2.5, 2.6, 2.8]), np.array([7.0, 6.2, 6.4])  # grey levels: sensor noise, outside the FOV
# Most clusters, lesions in each, distance from the fovea, radius, softness, length / width, effect on the light:
_LESIONS = (
    (30, 1, (0.05, 0.80), (0.0045, 0.009), 0.001, 1.0, -0.28 * _BLOOD),  # microaneurysms
    (9, 1, (0.15, 0.90), (0.012, 0.040), 0.003, 1.0, -0.45 * _BLOOD),  # blot haemorrhages
    (5, 1, (0.25, 0.90), (0.020, 0.045), 0.006, 2.8, -0.35 * _BLOOD),  # flame haemorrhages
    (4, 1, (0.40, 0.90), (0.025, 0.055), 0.020, 1.0, np.array([0.12, 0.30, 0.32])),  # cotton-wool spots
    (4, 15, (0.15, 0.45), (0.005, 0.017), 0.003, 1.0, np.array([0.22, 0.50, 0.25])),  # hard exudates
)


def photograph(eye: Eye, depth: Float, rng: Generator, lesions: Generator | None = None) -> NDArray[np.uint8]:
    """Draw the photograph of an eye, uint8 (H, W, 3), RGB, from the depth of its arteries and veins, float64 (2, H, W).

    ``rng`` draws colours, light, texture and noise, and ``lesions`` lesions; None stands for a healthy eye.
    """
    base = np.exp(np.cumsum(_COLOUR + _SPREAD * rng.standard_normal(3).clip(-1.8, 1.8)))
    light, wobble = _draw_retina(eye, rng)
    # Where an artery and a vein cross, one hides most of the other.
    blood = rng.lognormal(0, 0.15) * (depth.max(0) + 0.3 * depth.min(0)) * (1 + 0.22 * wobble)
    _draw_disc(eye, rng, light, blood, base)
    if lesions is not None:
        _draw_lesions(eye, lesions, light)
    plane = np.exp(light - _BLOOD[:, None, None] * blood) * base[:, None, None]
    # Stray light: a pale veil along one side of the FOV's border, which lowers the contrast there.
    toward = (0.5 + 0.5 * (eye.grid * np.exp(2j * np.pi * rng.random())).real).clip(0, 1)
    veil = rng.uniform(0.05, 0.42) * ((np.abs(eye.grid) ** 2 - 0.35) / 0.65).clip(0, 1) ** 2 * toward
    plane += veil * ((base.mean() * rng.uniform(0.9, 1.15) * _VEIL)[:, None, None] - plane)
    plane = np.where(plane > 215, 215 + 48 * np.tanh((plane - 215) / 48), plane)  # highlights roll off
    # The aperture has a soft edge, which lies inside the FOV, with a coloured fringe.
    opened = (1 - np.abs(eye.grid)) * eye.radius / (1.1 * max(0.4, eye.scale**0.5))
    opened = (opened - np.array([0.4, 0.7, 0.75])[:, None, None]).clip(0, 1)
    grain = 0.75 * rng.standard_normal(eye.grid.shape) + 0.66 * rng.standard_normal(plane.shape)
    grain = _NOISE[:, None, None] * gaussian_filter(grain, (0, 0.55, 0.55), truncate=3.0) / 0.63
    level = _BLACK[:, None, None] + opened * (plane - _BLACK[:, None, None]) + grain
    return np.ascontiguousarray(np.rint(level).clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def _draw_retina(eye: Eye, rng: Generator) -> tuple[Float, Float]:
    """Draw the light of the retina without disc and vessels; also return noise of unit variance, (H, W)."""
    texture, patches = _noise(eye, rng, lambda k: (k**2 + 0.003**2) ** -0.9)
    ripples, wobble = _noise(eye, rng, lambda k: np.exp(-((25 * k) ** 2)))
    choroid = np.exp(-((ripples / 0.55) ** 2)) - 0.48  # vessels behind the retina: bright ridges, strong in some eyes
    tone = 0.065 * rng.lognormal(0, 0.25) * texture + min(0.08, 0.009 * rng.lognormal(0, 1.0)) * choroid
    tone += (eye.grid * complex(*rng.normal(0, 0.1, 2))).real
    far = np.abs(eye.grid - eye.fovea) ** 2
    wide, core = (np.exp(-far / (2 * rng.uniform(*width) ** 2)) for width in ((0.12, 0.19), (0.04, 0.06)))
    macula = rng.uniform(0.12, 0.26) * wide + rng.uniform(0.10, 0.24) * core
    fall = rng.uniform(0.6, 1.5) * (np.minimum(np.abs(eye.grid), 1.05) ** 3 - 0.3)
    layers = ((_TEXTURE, tone), (_TINT, rng.uniform(0.02, 0.05) * patches), (-_MACULA, macula), (-_VIGNETTING, fall))
    return sum(tint[:, None, None] * layer for tint, layer in layers), wobble


def _draw_disc(eye: Eye, rng: Generator, light: Float, blood: Float, base: Float) -> None:
    """Draw the optic disc, an orange rim and a bright cup, and strengthen the vessels on it."""
    part, away = _around(eye, eye.disc, 2 * eye.disc_radius, eye.axis * eye.disc_radius)
    radial = np.abs(away.real / rng.uniform(0.85, 1.0) + 1j * away.imag)
    rim = expit((1 - radial) / rng.uniform(0.025, 0.05))
    cup = expit((rng.uniform(0.38, 0.66) - np.abs(away - rng.uniform(0.02, 0.2))) / rng.uniform(0.06, 0.13))
    colour = _RIM[:, None, None] + cup * (_CUP - _RIM)[:, None, None]
    colour[1:] += rng.uniform(-0.08, 0.08)
    colour[1] = np.minimum(colour[1], colour[0] + np.log(0.9 * base[0] / base[1]))  # pale yellow, never green
    halo = rng.normal(0.03, 0.1) * np.exp(-(((radial - 1.1) / 0.2) ** 2))
    light[:, *part] += halo + rim * (colour - halo - 0.6 * light[:, *part])
    blood[part] *= 1 + 0.6 * rim  # none of the choroid's blood, which takes away contrast elsewhere, lies behind it


def _draw_lesions(eye: Eye, rng: Generator, light: Float) -> None:
    """Draw lesions of all kinds into the light, off the disc, with wavy outlines."""
    for clusters, members, distance, radii, softness, stretch, effect in _LESIONS:
        for _ in range(rng.integers(clusters // 3 + 1, clusters + 1)):
            centre = eye.fovea + rng.uniform(*distance) * np.exp(2j * np.pi * rng.random())
            for at in centre + 0.05 * (members > 1) * (rng.standard_normal((members, 2)) @ [1, 1j]):
                if abs(at) > 0.92 or abs(at - eye.disc) < 1.5 * eye.disc_radius:
                    continue
                size, edge = rng.uniform(*radii), max(softness, 0.4 * eye.blur / eye.radius)
                part, away = _around(eye, at, 1.5 * size * stretch + 5 * edge, course(eye, at))
                away = away.real / stretch + 1j * away.imag
                unit = away / np.maximum(np.abs(away), 1e-9)
                waves = sum((complex(*rng.standard_normal(2)) * unit**k).real / k for k in (2, 3, 5))
                cover = expit((size * (1 + 0.2 * waves) - np.abs(away)) / edge)
                light[:, *part] += rng.uniform(0.6, 1.1) * effect[:, None, None] * cover


def _around(eye: Eye, at: complex, reach: float, axis: complex) -> tuple[tuple[slice, slice], Complex]:
    """Find the pixels around a place: their rows and columns, and their positions relative to it and to an axis."""
    middle, reach = eye.centre + eye.radius * at, eye.radius * reach
    part = tuple(slice(max(0, int(m - reach)), max(0, int(m + reach) + 2)) for m in (middle.imag, middle.real))
    return part, (eye.grid[part] - at) / axis


def _noise(eye: Eye, rng: Generator, amplitude: Callable[[Float], Float]) -> tuple[Float, Float]:
    """Draw two fields of unit variance, (H, W), from an amplitude by frequency in cycles per pixel of DRIVE's frame."""
    y, x = (eye.scale * np.fft.fftfreq(length) for length in eye.grid.shape)
    spectrum = amplitude(np.hypot(y[:, None], x))
    spectrum[0, 0] = 0
    spectrum *= spectrum.size / np.sqrt((spectrum**2).sum())
    field = ifft2(spectrum * rng.standard_normal((*spectrum.shape, 2)).view(np.complex128)[..., 0])
    return field.real, field.imag
