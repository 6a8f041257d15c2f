"""From the geometry of a synthetic eye to its photograph: reflectance, vessels, light, lens and sensor.

Positions ``x + 1j * y`` and lengths are in units of the FOV radius, with the centre of the FOV at 0, unless said
otherwise. Planes are float64, (3, H, W) or (H, W), on the scale of the image (0 to 255) or relative (1 is unchanged).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.special import erf

from retlib.data._phantom_raster import VesselMap
from retlib.data._phantom_tree import REFERENCE_RADIUS

Float = NDArray[np.float64]

# Set so that the statistics of the photographs inside the FOV are those of DRIVE's training images; red, green, blue.
# Logarithms of the mean red, of green / red and of blue / green, and their standard deviations from image to image:
_COLOUR = np.array([5.22, -0.63, -0.53])
_COLOUR_SPREAD = np.array([0.17, 0.115, 0.10])
ABSORPTION = np.array([0.40, 1.0, 0.68])  # of blood, relative to green
_VIGNETTING = np.array([0.42, 0.20, 0.05])  # fall of the light from the centre to the rim
# Standard deviation of the texture about each scale (pixels of a 565 x 584 frame), relative to the mean, in green:
_TEXTURE = ((2.6, 0.012), (5.5, 0.010), (11.0, 0.012), (23.0, 0.016), (60.0, 0.034), (140.0, 0.065))
_TEXTURE_TINT = np.array([0.78, 1.0, 0.85])
_NOISE = np.array([2.5, 2.6, 2.8])  # sensor noise, grey levels
_NOTCH = 0.056  # radius of the notch
_BLACK = np.array([7.0, 6.2, 6.4])  # grey levels outside the FOV


@dataclass(frozen=True)
class Scene:
    """The pixel grid, and where the eye lies on it.

    Attributes:
        height: Rows.
        width: Columns.
        centre: Centre of the FOV in pixels.
        radius: Radius of the FOV in pixels.
        mirrored: Whether this is a left eye, with the disc on the left.
        disc: Centre of the optic disc.
        fovea: Centre of the fovea.
        disc_radius: Mean radius of the disc.
        blur: Standard deviation of the point spread function in pixels.
        notch: Centre of the small round opening that some cameras have on the rim of the aperture.
    """

    height: int
    width: int
    centre: complex
    radius: float
    mirrored: bool
    disc: complex
    fovea: complex
    disc_radius: float
    blur: float
    notch: complex | None = None

    @property
    def scale(self) -> float:
        """Size of the FOV relative to DRIVE's."""
        return self.radius / REFERENCE_RADIUS

    def axes(self) -> tuple[Float, Float]:
        """Positions of the rows, (H, 1), and of the columns, (1, W)."""
        y = (np.arange(self.height) - self.centre.imag) / self.radius
        x = (np.arange(self.width) - self.centre.real) / self.radius
        return y[:, None], x[None, :]

    def aperture(self) -> Float:
        """Distance from the centre of the FOV, or what stands for it in the notch: at most 1 inside the FOV, (H, W)."""
        y, x = self.axes()
        distance = np.sqrt(x * x + y * y)
        if self.notch is not None:
            part, dy, dx = self.window(self.notch, 3 * _NOTCH)
            distance[part] = np.minimum(distance[part], 1 - _NOTCH + np.sqrt(dx * dx + dy * dy))
        return distance

    def field_of_view(self) -> NDArray[np.bool_]:
        """Pixels whose centre the camera sees, (H, W)."""
        return self.aperture() <= 1.0

    def window(self, at: complex, reach: float) -> tuple[tuple[slice, slice], Float, Float]:
        """Part of the grid around a place: its slices, and positions relative to the place along rows and columns."""
        y, x = self.axes()
        rows = np.nonzero(np.abs(y[:, 0] - at.imag) <= reach)[0]
        columns = np.nonzero(np.abs(x[0] - at.real) <= reach)[0]
        if not len(rows) or not len(columns):
            return (slice(0, 0), slice(0, 0)), y[:0], x[:, :0]
        part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        return part, y[part[0]] - at.imag, x[:, part[1]] - at.real


def photograph(
    scene: Scene,
    arteries: VesselMap,
    veins: VesselMap,
    rng: np.random.Generator,
    lesions: Callable[[Float, Float], None] | None = None,
) -> NDArray[np.uint8]:
    """Photograph of a scene.

    Args:
        scene: The eye on its grid.
        arteries: Distances to the walls of the arteries.
        veins: Distances to the walls of the veins.
        rng: Source of colour, light, texture and noise.
        lesions: Draws lesions onto the photograph under construction, (3, H, W), of a retina of the mean colour, (3,),
            before the vessels are drawn; None for a healthy eye.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    y, x = scene.axes()
    square = x * x + y * y
    log_colour = _COLOUR + _COLOUR_SPREAD * np.clip(rng.standard_normal(3), -1.8, 1.8)
    base = np.exp(np.cumsum(log_colour))
    light = _background(scene, rng, square)
    plane = np.exp(light)
    plane *= base[:, None, None]
    disc = _draw_disc(scene, rng, plane, base)
    if lesions is not None:
        lesions(plane, base)
    _draw_vessels(scene, rng, plane, arteries, veins, disc)
    _draw_haze(scene, rng, plane, base, square)
    return _expose(scene, rng, plane)


def _background(scene: Scene, rng: np.random.Generator, square: Float) -> Float:
    """Logarithm of the relative brightness of the retina without disc and vessels, (3, H, W)."""
    y, x = scene.axes()
    shape, scale = (scene.height, scene.width), scene.scale
    tone = np.zeros(shape)
    for index, (size, amount) in enumerate(_TEXTURE):
        if size * scale < 1.0:
            continue  # finer than a pixel
        layer = smooth_noise(rng, shape, size * scale)
        if index == 1:  # choroidal vessels: bright ridges, strong in some eyes
            strength = min(0.08, 0.009 * rng.lognormal(0, 1.0))
            tone += strength * (np.exp(-((layer / 0.55) ** 2)) - 0.48)
        tone += amount * layer
    tilt = rng.normal(0, 0.07, 2)
    tone += tilt[0] * x + tilt[1] * y
    light = _TEXTURE_TINT[:, None, None] * tone
    # Patches where the choroid shines redder.
    patch = smooth_noise(rng, shape, 80 * scale) * rng.uniform(0.02, 0.05)
    light[0] += 0.7 * patch
    light[1] -= 0.7 * patch
    light[2] -= 0.4 * patch
    fall = np.minimum(square, 1.1) ** 1.4
    for channel, amount in enumerate(_VIGNETTING * rng.uniform(0.7, 1.3)):
        light[channel] += amount * (0.3 - fall)
    _darken_macula(scene, rng, light)
    _streak(scene, rng, light)
    return light


def _darken_macula(scene: Scene, rng: np.random.Generator, light: Float) -> None:
    """Macular pigment, wide and soft, and the fovea, small and dark, with a reflex in some eyes."""
    part, dy, dx = scene.window(scene.fovea, 0.6)
    square = dx * dx + dy * dy
    wide = np.exp(-square / (2 * rng.uniform(0.12, 0.19) ** 2))
    core = np.exp(-square / (2 * rng.uniform(0.04, 0.06) ** 2))
    broad, deep = rng.uniform(0.12, 0.26), rng.uniform(0.10, 0.24)
    for channel, (a, b) in enumerate(((0.75, 0.75), (1.0, 1.0), (0.85, 0.6))):
        light[channel][part] -= a * broad * wide + b * deep * core
    if rng.random() < 0.4:
        light[:, part[0], part[1]] += rng.uniform(0.03, 0.09) * np.exp(-square / (2 * 0.008**2))


def _streak(scene: Scene, rng: np.random.Generator, light: Float) -> None:
    """Nerve fibres: fine bright streaks that fan out from the disc above and below it."""
    part, dy, dx = scene.window(scene.disc, 0.75)
    side = 1.0 if scene.mirrored else -1.0  # towards the fovea
    distance = np.hypot(dx, dy) + 1e-6
    # Fibres arch over the macula: the bearing they left the disc with falls as they run on.
    bearing = np.arctan2(dy, side * dx) * (1 + 0.25 * distance)
    profile = np.convolve(rng.standard_normal(2400), np.hanning(25), mode="same") / np.sqrt((np.hanning(25) ** 2).sum())
    index = np.clip((bearing + 4.0) * 300, 0, 2399).astype(np.int64)
    where = np.abs(np.sin(bearing)) ** 1.5 * np.exp(-(((distance - 0.3) / 0.2) ** 2))
    amount = rng.uniform(0.003, 0.016)
    light[:, part[0], part[1]] += amount * np.array([0.5, 1.0, 1.1])[:, None, None] * where * (0.6 + profile[index])


def _draw_disc(scene: Scene, rng: np.random.Generator, plane: Float, base: Float) -> Float:
    """Optic disc: an orange rim, paler on the temporal side, and a bright cup; around it a halo.

    Returns how far a pixel belongs to the disc, 0 to 1, (H, W).
    """
    part, dy, dx = scene.window(scene.disc, 2.2 * scene.disc_radius)
    here = plane[:, part[0], part[1]]
    side = 1.0 if scene.mirrored else -1.0
    dx = side * dx  # positive towards the fovea
    bearing = np.arctan2(dy, dx)
    waves = rng.normal(0, 0.018, 3)
    phases = rng.uniform(0, 2 * np.pi, 3)
    outline = 1 + sum(w * np.cos((k + 2) * bearing + p) for k, (w, p) in enumerate(zip(waves, phases, strict=True)))
    narrow = rng.uniform(0.90, 1.0)
    radial = np.hypot(dx / narrow, dy / (2 - narrow)) / scene.disc_radius
    edge = max(rng.uniform(0.022, 0.05), 0.6 * scene.blur / (scene.disc_radius * scene.radius))
    inside = logistic((outline - radial) / edge)
    # The halo: nerve fibres crowd at the upper and lower margin; a pigmented or a pale crescent may lie temporally.
    ring = np.exp(-(((radial - 1.12) / 0.22) ** 2))
    crescent = rng.normal(0, 0.12) * ring * np.clip(np.cos(bearing), 0, 1) ** 2
    fibres = rng.uniform(0.03, 0.12) * np.exp(-(((radial - 1.0) / 0.5) ** 2)) * np.sin(bearing) ** 2
    here *= np.exp((crescent + fibres) * np.array([0.6, 1.0, 0.9])[:, None, None])
    pallor = rng.uniform(-0.12, 0.12)
    rim = base * np.array([1.36, 1.60 + pallor, 1.42 + pallor])
    shade = (
        1
        + 0.13 * np.clip(dx / scene.disc_radius, -1, 1)
        + 0.03 * smooth_noise(rng, dy.shape[:1] + dx.shape[1:], 4 * scene.scale)
    )
    rim[1] = min(rim[1], 0.8 * rim[0])
    rim_plane = rim[:, None, None] * shade
    size, shift = rng.uniform(0.38, 0.66), rng.uniform(0.02, 0.2)
    cup_radial = np.hypot(
        (dx / scene.disc_radius - shift) / 0.95, (dy / scene.disc_radius - rng.normal(0, 0.05)) / 1.05
    )
    cup = logistic((size - cup_radial) / rng.uniform(0.06, 0.13))
    cup_colour = np.minimum(base * np.array([1.75, 2.5, 2.4]) * rng.uniform(0.92, 1.15), [290, 265, 200])
    cup_colour[1] = min(cup_colour[1], 0.94 * cup_colour[0])  # pale yellow, never green
    disc = rim_plane + cup * np.maximum(cup_colour[:, None, None] - rim_plane, 0)
    lit = here / base[:, None, None]  # texture and light of the place stay, weakly
    here += inside * (disc * lit**0.4 - here)
    cover = np.zeros((scene.height, scene.width))
    cover[part] = inside
    return cover


def blood_absorption(scene: Scene, distance: Float, radius: Float) -> Float:
    """Optical depth in green of a vessel on the photograph, at distances from its centreline, all in pixels.

    A band of the vessel's width, convolved with the point spread function: vessels thinner than the blur fade.
    """
    spread = np.sqrt(2) * scene.blur
    band = 0.5 * (erf((distance + radius) / spread) - erf((distance - radius) / spread))
    return (0.056 + 0.086 * np.minimum(radius / max(scene.scale, 0.12), 5.0)) * band


def _draw_vessels(
    scene: Scene, rng: np.random.Generator, plane: Float, arteries: VesselMap, veins: VesselMap, disc: Float
) -> None:
    """Absorption by blood through the point spread function, and the light reflex on wide vessels."""
    strength = rng.lognormal(0, 0.13)
    absorbed = np.zeros(scene.height * scene.width)
    reflex = np.zeros(scene.height * scene.width)
    for vessels, colour, gloss in (
        (veins, 1.18, rng.uniform(0.04, 0.13)),
        (arteries, 0.98, rng.uniform(0.08, 0.2)),
    ):
        distance = vessels.radius - vessels.depth
        width = vessels.radius / max(scene.scale, 0.12)
        tau = strength * colour * vessels.absorption
        before = absorbed[vessels.pixel]
        absorbed[vessels.pixel] = np.maximum(before, tau) + 0.3 * np.minimum(before, tau)
        line = np.exp(-((distance / np.maximum(0.24 * vessels.radius, 0.5 * scene.blur)) ** 2))
        shine = gloss * np.clip((width - 1.3) / 1.5, 0, 1) * line
        # An artery mostly runs over a vein: its reflex hides the vein's.
        reflex[vessels.pixel] = np.where(tau > 0.5 * before, shine, reflex[vessels.pixel])
    # Where the trunks dive into the cup they shine no more.
    part, dy, dx = scene.window(scene.disc, scene.disc_radius)
    reflex.reshape(scene.height, scene.width)[part] *= 1 - np.exp(-(dx * dx + dy * dy) / (0.4 * scene.disc_radius) ** 2)
    touched = np.nonzero(absorbed)[0]
    # Behind the rest of the retina lies more blood, which takes away contrast; behind the disc there is none.
    absorbed[touched] *= 1 + 0.9 * disc.ravel()[touched]
    wobble = 1 + 0.1 * smooth_noise(rng, (scene.height, scene.width), 14 * scene.scale).ravel()[touched]
    flat = plane.reshape(3, -1)
    for channel in range(3):
        # On the white disc blood takes blue away as much as green; elsewhere the choroid has taken much of it before.
        weight = ABSORPTION[channel] + 0.35 * (channel == 2) * disc.ravel()[touched]
        flat[channel, touched] *= np.exp(-weight * (absorbed[touched] * wobble - reflex[touched]))


def _draw_haze(scene: Scene, rng: np.random.Generator, plane: Float, base: Float, square: Float) -> None:
    """Stray light: a pale veil along one side of the rim, which washes out what lies there."""
    y, x = scene.axes()
    bearing = rng.uniform(0, 2 * np.pi)
    toward = 0.5 + 0.5 * (x * np.cos(bearing) + y * np.sin(bearing))
    veil = rng.uniform(0.05, 0.42) * np.clip((square - 0.35) / 0.65, 0, 1) ** 1.7 * np.clip(toward, 0, 1) ** 1.5
    colour = base.mean() * np.array([1.18, 1.06, 0.62]) * rng.uniform(0.9, 1.15)
    for channel in range(3):
        plane[channel] += veil * (colour[channel] - plane[channel])


def _expose(scene: Scene, rng: np.random.Generator, plane: Float) -> NDArray[np.uint8]:
    """Aperture with its coloured fringe, sensor noise, and rounding to grey levels."""
    y, x = scene.axes()
    distance = scene.aperture()
    image = np.empty((scene.height, scene.width, 3), dtype=np.uint8)
    common = rng.standard_normal((scene.height, scene.width))
    soft = 1.1 * max(0.4, scene.scale**0.5) / scene.radius  # half the width of the edge
    fringe = 0.45 * soft * np.sqrt(rng.random()) * np.exp(2j * np.pi * rng.random())  # keeps the light inside the FOV
    for channel, (inset, offset) in enumerate(((0.9, 1.0), (1.2, 0.0), (1.25, -0.5))):
        rim = 1 - inset * soft
        shifted = distance - offset * (fringe.real * x + fringe.imag * y)
        open_part = np.clip((rim - shifted) / soft + 0.5, 0, 1)
        grain = 0.75 * common + 0.66 * rng.standard_normal((scene.height, scene.width))
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


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], size: float) -> Float:
    """Gaussian noise of unit variance, smooth below a length in pixels, drawn on a coarse grid and blended."""
    height, width = shape
    rows, columns = _blend(height, size), _blend(width, size)
    return rows @ rng.standard_normal((rows.shape[1], columns.shape[1])) @ columns.T


def _blend(length: int, size: float) -> Float:
    """Weights (length, knots) that spread a knot over ``size`` pixels; the squares of a row sum to 1."""
    knots = np.arange(-3, int(np.ceil(length / size)) + 4)
    weights = np.exp(-0.5 * ((np.arange(length)[:, None] / size - knots[None, :]) / 0.7) ** 2)
    return weights / np.sqrt((weights**2).sum(1, keepdims=True))


def logistic(value: Float) -> Float:
    """Soft step from 0 to 1."""
    return 0.5 * (1 + np.tanh(0.5 * value))
