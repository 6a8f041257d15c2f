"""Photograph of a synthetic eye: reflectance, lesions, vessels, light, lens and sensor.

Positions ``x + 1j * y`` and lengths are in units of the FOV radius, with the centre of the FOV at 0, unless said
otherwise. ``plane``, float64 (3, H, W), is the photograph under construction on the scale of the image (0 to 255), and
functions change it in place; ``base``, (3,), is the mean colour of the retina.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from retlib.data.phantoms.grid import Scene, VesselMap, Window
from retlib.data.phantoms.tree import Float

# Set so that the statistics of the photographs inside the FOV are those of DRIVE's training images; red, green, blue.
# Logarithms of the mean red, of green / red and of blue / green, and their standard deviations from image to image:
_COLOUR = np.array([5.22, -0.63, -0.53])
_COLOUR_SPREAD = np.array([0.17, 0.115, 0.10])
_ABSORPTION = np.array([0.40, 1.0, 0.68])  # of blood, relative to green
_VIGNETTING = np.array([0.42, 0.20, 0.05])  # fall of the light from the centre to the border of the FOV
# Standard deviation of the texture about each scale (pixels of a 565 x 584 frame), relative to the mean, in green:
_TEXTURE = ((2.6, 0.012), (5.5, 0.010), (11.0, 0.012), (23.0, 0.016), (60.0, 0.034), (140.0, 0.065))
_TEXTURE_TINT = np.array([0.78, 1.0, 0.85])
_NOISE = np.array([2.5, 2.6, 2.8])  # sensor noise, grey levels
_BLACK = np.array([7.0, 6.2, 6.4])  # grey levels outside the FOV


def photograph(
    scene: Scene,
    arteries: VesselMap,
    veins: VesselMap,
    rng: np.random.Generator,
    lesions: np.random.Generator | None = None,
) -> NDArray[np.uint8]:
    """Draw the photograph of a scene, uint8 (H, W, 3), RGB.

    Args:
        scene: The eye on its grid.
        arteries: Arteries on the grid.
        veins: Veins on the grid.
        rng: Source of colour, light, texture and noise.
        lesions: Source of number, place and shape of the lesions; None for a healthy eye.
    """
    y, x = scene.axes()
    square = x * x + y * y
    log_colour = _COLOUR + _COLOUR_SPREAD * np.clip(rng.standard_normal(3), -1.8, 1.8)
    base = np.exp(np.cumsum(log_colour))
    plane = np.exp(_background(scene, rng, square))
    plane *= base[:, None, None]
    disc = _draw_disc(scene, rng, plane, base)
    if lesions is not None:
        _draw_lesions(scene, lesions, plane, base)
    _draw_vessels(scene, rng, plane, arteries, veins, disc)
    _draw_haze(scene, rng, plane, base, square)
    return _expose(scene, rng, plane)


def _background(scene: Scene, rng: np.random.Generator, square: Float) -> Float:
    """Draw the logarithm of the relative brightness of the retina without disc and vessels, (3, H, W)."""
    y, x = scene.axes()
    scale = scene.scale
    tone = np.zeros(scene.shape)
    for index, (size, amount) in enumerate(_TEXTURE):
        if size * scale < 1.0:
            continue  # finer than a pixel
        layer = _smooth_noise(rng, scene.shape, size * scale)
        if index == 1:  # choroidal vessels: bright ridges, strong in some eyes
            strength = min(0.08, 0.009 * rng.lognormal(0, 1.0))
            tone += strength * (np.exp(-((layer / 0.55) ** 2)) - 0.48)
        tone += amount * layer
    tilt = rng.normal(0, 0.07, 2)
    tone += tilt[0] * x + tilt[1] * y
    light = _TEXTURE_TINT[:, None, None] * tone
    # Patches where the choroid shines redder.
    patch = _smooth_noise(rng, scene.shape, 80 * scale) * rng.uniform(0.02, 0.05)
    light[0] += 0.7 * patch
    light[1] -= 0.7 * patch
    light[2] -= 0.4 * patch
    fall = np.minimum(square, 1.1) ** 1.4
    for channel, amount in enumerate(_VIGNETTING * rng.uniform(0.7, 1.3)):
        light[channel] += amount * (0.3 - fall)
    _darken_macula(scene, rng, light)
    _draw_nerve_fibres(scene, rng, light)
    return light


def _darken_macula(scene: Scene, rng: np.random.Generator, light: Float) -> None:
    """Draw macular pigment, wide and soft, and the fovea, small and dark, with a reflex in some eyes."""
    part, dy, dx = scene.window(scene.fovea, 0.6)
    square = dx * dx + dy * dy
    wide = np.exp(-square / (2 * rng.uniform(0.12, 0.19) ** 2))
    core = np.exp(-square / (2 * rng.uniform(0.04, 0.06) ** 2))
    broad, deep = rng.uniform(0.12, 0.26), rng.uniform(0.10, 0.24)
    for channel, (a, b) in enumerate(((0.75, 0.75), (1.0, 1.0), (0.85, 0.6))):
        light[channel][part] -= a * broad * wide + b * deep * core
    if rng.random() < 0.4:
        light[:, *part] += rng.uniform(0.03, 0.09) * np.exp(-square / (2 * 0.008**2))


def _draw_nerve_fibres(scene: Scene, rng: np.random.Generator, light: Float) -> None:
    """Draw nerve fibres: fine bright streaks that fan out from the disc above and below it."""
    part, dy, dx = scene.window(scene.disc, 0.75)
    side = 1.0 if scene.mirrored else -1.0  # towards the fovea
    distance = np.hypot(dx, dy) + 1e-6
    # Fibres arch over the macula: their bearing from the disc falls with the distance.
    bearing = np.arctan2(dy, side * dx) * (1 + 0.25 * distance)
    profile = np.convolve(rng.standard_normal(2400), np.hanning(25), mode="same") / np.sqrt((np.hanning(25) ** 2).sum())
    index = np.clip((bearing + 4.0) * 300, 0, 2399).astype(np.int64)
    where = np.abs(np.sin(bearing)) ** 1.5 * np.exp(-(((distance - 0.3) / 0.2) ** 2))
    amount = rng.uniform(0.003, 0.016)
    light[:, *part] += amount * np.array([0.5, 1.0, 1.1])[:, None, None] * where * (0.6 + profile[index])


def _draw_disc(scene: Scene, rng: np.random.Generator, plane: Float, base: Float) -> Float:
    """Draw the optic disc: an orange rim, paler on the temporal side, and a bright cup; around it a halo.

    Returns:
        How far a pixel belongs to the disc, 0 to 1, (H, W).
    """
    part, dy, dx = scene.window(scene.disc, 2.2 * scene.disc_radius)
    here = plane[:, *part]
    side = 1.0 if scene.mirrored else -1.0
    dx = side * dx  # positive towards the fovea
    bearing = np.arctan2(dy, dx)
    waves = rng.normal(0, 0.018, 3)
    phases = rng.uniform(0, 2 * np.pi, 3)
    outline = 1 + sum(w * np.cos((k + 2) * bearing + p) for k, (w, p) in enumerate(zip(waves, phases, strict=True)))
    narrow = rng.uniform(0.90, 1.0)
    radial = np.hypot(dx / narrow, dy / (2 - narrow)) / scene.disc_radius
    edge = max(rng.uniform(0.022, 0.05), 0.6 * scene.blur / (scene.disc_radius * scene.radius))
    inside = _logistic((outline - radial) / edge)
    # The halo: nerve fibres crowd at the upper and lower margin; a pigmented or a pale crescent may lie temporally.
    ring = np.exp(-(((radial - 1.12) / 0.22) ** 2))
    crescent = rng.normal(0, 0.12) * ring * np.clip(np.cos(bearing), 0, 1) ** 2
    fibres = rng.uniform(0.03, 0.12) * np.exp(-(((radial - 1.0) / 0.5) ** 2)) * np.sin(bearing) ** 2
    here *= np.exp((crescent + fibres) * np.array([0.6, 1.0, 0.9])[:, None, None])
    pallor = rng.uniform(-0.12, 0.12)
    rim = base * np.array([1.36, 1.60 + pallor, 1.42 + pallor])
    texture = _smooth_noise(rng, radial.shape, 4 * scene.scale)
    shade = 1 + 0.13 * np.clip(dx / scene.disc_radius, -1, 1) + 0.03 * texture
    rim[1] = min(rim[1], 0.8 * rim[0])
    rim_plane = rim[:, None, None] * shade
    size, shift = rng.uniform(0.38, 0.66), rng.uniform(0.02, 0.2)
    lift = rng.normal(0, 0.05)
    cup_radial = np.hypot((dx / scene.disc_radius - shift) / 0.95, (dy / scene.disc_radius - lift) / 1.05)
    cup = _logistic((size - cup_radial) / rng.uniform(0.06, 0.13))
    cup_colour = np.minimum(base * np.array([1.75, 2.5, 2.4]) * rng.uniform(0.92, 1.15), [290, 265, 200])
    cup_colour[1] = min(cup_colour[1], 0.94 * cup_colour[0])  # pale yellow, never green
    disc = rim_plane + cup * np.maximum(cup_colour[:, None, None] - rim_plane, 0)
    lit = here / base[:, None, None]  # texture and light of the place stay, weakly
    here += inside * (disc * lit**0.4 - here)
    cover = np.zeros(scene.shape)
    cover[part] = inside
    return cover


def _draw_lesions(scene: Scene, rng: np.random.Generator, plane: Float, base: Float) -> None:
    """Draw microaneurysms, haemorrhages, hard exudates and cotton-wool spots, beneath the vessels."""
    for _ in range(rng.integers(2, 5)):  # hard exudates lie in clusters about the macula, some in a ring
        centre = _lesion_place(scene, rng, scene.fovea, 0.18, 0.5)
        ring = rng.uniform(0.05, 0.1) if rng.random() < 0.5 else 0.0
        for _ in range(rng.integers(8, 36)):
            offset = (ring + 0.035 * rng.standard_normal()) * np.exp(2j * np.pi * rng.random())
            colour = base * np.array([1.32, 1.85, 1.35]) * rng.uniform(0.88, 1.1)
            size, amount = rng.uniform(0.005, 0.017), rng.uniform(0.45, 0.95)
            _lighten(scene, rng, plane, centre + offset, size, colour, amount, 0.9)
    for _ in range(rng.integers(1, 5)):  # cotton-wool spots: infarcts of the nerve fibre layer, near the arcades
        place = _lesion_place(scene, rng, scene.disc, 0.35, 0.8)
        colour = base * np.array([1.22, 1.68, 1.75])
        _lighten(scene, rng, plane, place, rng.uniform(0.025, 0.055), colour, rng.uniform(0.4, 0.7), 7.0)
    for _ in range(rng.integers(3, 10)):  # blot haemorrhages
        _darken(scene, rng, plane, _lesion_place(scene, rng, scene.fovea, 0.15, 0.9), rng.uniform(0.012, 0.04))
    for _ in range(rng.integers(1, 6)):  # flame haemorrhages follow the nerve fibres away from the disc
        _darken(scene, rng, plane, _lesion_place(scene, rng, scene.disc, 0.25, 0.7), rng.uniform(0.02, 0.045), 2.8)
    for _ in range(rng.integers(10, 32)):  # microaneurysms
        _darken(scene, rng, plane, _lesion_place(scene, rng, scene.fovea, 0.05, 0.8), rng.uniform(0.0045, 0.009))


def _lesion_place(scene: Scene, rng: np.random.Generator, around: complex, nearest: float, farthest: float) -> complex:
    """Draw a place inside the FOV and off the disc, at a distance from another place."""
    while True:
        place = around + rng.uniform(nearest, farthest) * np.exp(2j * np.pi * rng.random())
        if abs(place) < 0.92 and abs(place - scene.disc) > 1.4 * scene.disc_radius:
            return place


def _blob(
    scene: Scene, rng: np.random.Generator, at: complex, size: float, softness: float, stretch: float = 1.0
) -> tuple[Window, Float]:
    """Draw slices of the grid around a blob, and its coverage there; softness in pixels of DRIVE's frame."""
    part, dy, dx = scene.window(at, 1.5 * size * stretch + 4 * softness / 268)
    fibre = (at - scene.disc) / abs(at - scene.disc) * np.exp(0.25j * rng.standard_normal())
    along, across = dx * fibre.real + dy * fibre.imag, dy * fibre.real - dx * fibre.imag
    bearing = np.arctan2(across, along / stretch)
    outline = 1 + sum(rng.normal(0, 0.28 / k) * np.cos(k * bearing + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5))
    radial = np.hypot(along / stretch, across)
    edge = max(softness / 268, 0.5 * scene.blur / scene.radius)
    return part, _logistic((size * outline - radial) / (0.6 * edge))


def _lighten(
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
    part, cover = _blob(scene, rng, at, size, softness)
    here = plane[:, *part]
    here += amount * cover * np.maximum(colour[:, None, None] - here, 0)


def _darken(
    scene: Scene, rng: np.random.Generator, plane: Float, at: complex, size: float, stretch: float = 1.0
) -> None:
    """Darken a blob by blood; a long one is frayed along its length."""
    part, cover = _blob(scene, rng, at, size, 1.0 if stretch == 1 else 2.0, stretch)
    depth = rng.uniform(0.28, 0.5) if size > 0.01 else rng.uniform(0.18, 0.34)
    if stretch > 1:
        depth *= rng.uniform(0.6, 1.0)
    plane[:, *part] *= np.exp(-depth * _ABSORPTION[:, None, None] * cover)


def _draw_vessels(
    scene: Scene, rng: np.random.Generator, plane: Float, arteries: VesselMap, veins: VesselMap, disc: Float
) -> None:
    """Draw absorption by blood through the point spread function, and the light reflex on wide vessels."""
    strength = rng.lognormal(0, 0.13)
    absorbed, reflex = np.zeros(scene.height * scene.width), np.zeros(scene.height * scene.width)
    glosses = rng.uniform(0.04, 0.13), rng.uniform(0.08, 0.2)
    for vessels, colour, gloss in zip((veins, arteries), (1.18, 0.98), glosses, strict=True):
        distance = vessels.radius - vessels.depth
        width = vessels.radius / max(scene.scale, 0.12)
        tau = strength * colour * vessels.absorption
        before = absorbed[vessels.pixel]
        absorbed[vessels.pixel] = np.maximum(before, tau) + 0.3 * np.minimum(before, tau)
        line = np.exp(-((distance / np.maximum(0.24 * vessels.radius, 0.5 * scene.blur)) ** 2))
        shine = gloss * np.clip((width - 1.3) / 1.5, 0, 1) * line
        # An artery mostly runs over a vein: its reflex hides the vein's.
        reflex[vessels.pixel] = np.where(tau > 0.5 * before, shine, reflex[vessels.pixel])
    # No reflex where the main vessels turn into the cup.
    part, dy, dx = scene.window(scene.disc, scene.disc_radius)
    reflex.reshape(scene.shape)[part] *= 1 - np.exp(-(dx * dx + dy * dy) / (0.4 * scene.disc_radius) ** 2)
    touched = np.nonzero(absorbed)[0]
    on_disc = disc.ravel()[touched]
    # Behind the rest of the retina lies more blood, which takes away contrast; behind the disc there is none.
    absorbed[touched] *= 1 + 0.9 * on_disc
    wobble = 1 + 0.1 * _smooth_noise(rng, scene.shape, 14 * scene.scale).ravel()[touched]
    flat = plane.reshape(3, -1)
    for channel in range(3):
        # On the white disc blood takes blue away as much as green; elsewhere the choroid has taken much of it before.
        weight = _ABSORPTION[channel] + 0.35 * (channel == 2) * on_disc
        flat[channel, touched] *= np.exp(-weight * (absorbed[touched] * wobble - reflex[touched]))


def _draw_haze(scene: Scene, rng: np.random.Generator, plane: Float, base: Float, square: Float) -> None:
    """Draw stray light: a pale veil along one side of the FOV's border, which lowers the contrast there."""
    y, x = scene.axes()
    bearing = rng.uniform(0, 2 * np.pi)
    toward = 0.5 + 0.5 * (x * np.cos(bearing) + y * np.sin(bearing))
    veil = rng.uniform(0.05, 0.42) * np.clip((square - 0.35) / 0.65, 0, 1) ** 1.7 * np.clip(toward, 0, 1) ** 1.5
    colour = base.mean() * np.array([1.18, 1.06, 0.62]) * rng.uniform(0.9, 1.15)
    for channel in range(3):
        plane[channel] += veil * (colour[channel] - plane[channel])


def _expose(scene: Scene, rng: np.random.Generator, plane: Float) -> NDArray[np.uint8]:
    """Apply the aperture with its coloured fringe and sensor noise, and round to grey levels."""
    y, x = scene.axes()
    distance = scene.aperture()
    image = np.empty((*scene.shape, 3), dtype=np.uint8)
    common = rng.standard_normal(scene.shape)
    soft = 1.1 * max(0.4, scene.scale**0.5) / scene.radius  # half the width of the edge
    fringe = 0.45 * soft * np.sqrt(rng.random()) * np.exp(2j * np.pi * rng.random())  # keeps the light inside the FOV
    for channel, (inset, offset) in enumerate(((0.9, 1.0), (1.2, 0.0), (1.25, -0.5))):
        border = 1 - inset * soft
        shifted = distance - offset * (fringe.real * x + fringe.imag * y)
        open_part = np.clip((border - shifted) / soft + 0.5, 0, 1)
        grain = 0.75 * common + 0.66 * rng.standard_normal(scene.shape)
        for axis in (0, 1):
            grain = gaussian_filter1d(grain, 0.55, axis=axis, truncate=3.0)
        grain *= _NOISE[channel] / 0.63
        level = plane[channel]
        # Highlights roll off before they clip.
        level = np.where(level > 215, 215 + 48 * np.tanh((level - 215) / 48), level)
        level = open_part * level + (1 - open_part) * _BLACK[channel]
        level += grain
        image[..., channel] = np.clip(np.rint(level), 0, 255)
    return image


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, int], size: float) -> Float:
    """Draw Gaussian noise of unit variance, smooth below a length in pixels, on a coarse grid, and blend it."""
    height, width = shape
    rows, columns = _blend(height, size), _blend(width, size)
    return rows @ rng.standard_normal((rows.shape[1], columns.shape[1])) @ columns.T


def _blend(length: int, size: float) -> Float:
    """Compute weights (length, knots) that spread a knot over ``size`` pixels; the squares of a row sum to 1."""
    knots = np.arange(-3, int(np.ceil(length / size)) + 4)
    weights = np.exp(-0.5 * ((np.arange(length)[:, None] / size - knots[None, :]) / 0.7) ** 2)
    return weights / np.sqrt((weights**2).sum(1, keepdims=True))


def _logistic(value: Float) -> Float:
    """Compute a soft step from 0 to 1."""
    return 0.5 * (1 + np.tanh(0.5 * value))
