"""Pixel grid of a synthetic fundus image, and the vessels on it.

Positions ``x + 1j * y`` and lengths are in units of the FOV radius, with the centre of the FOV at 0, unless said
otherwise. On the pixel grid ``column + 1j * row`` is the centre of a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from retlib.data.phantoms.tree import REFERENCE_RADIUS, Bool, Branch, Complex, Float

_NOTCH = 0.056  # radius of the notch

Window = tuple[slice, slice]


@dataclass(frozen=True)
class Scene:
    """The pixel grid, and where the eye lies on it."""

    height: int  #: Rows.
    width: int  #: Columns.
    centre: complex  #: Centre of the FOV in pixels.
    radius: float  #: Radius of the FOV in pixels.
    mirrored: bool  #: Whether this is a left eye, with the disc on the left.
    disc: complex  #: Centre of the optic disc.
    fovea: complex  #: Centre of the fovea.
    disc_radius: float  #: Mean radius of the disc.
    blur: float  #: Standard deviation of the point spread function in pixels.
    notch: complex | None = None  #: Centre of the small round opening that some cameras have at the border of the FOV.

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    @property
    def scale(self) -> float:
        """Size of the FOV relative to DRIVE's."""
        return self.radius / REFERENCE_RADIUS

    def axes(self) -> tuple[Float, Float]:
        """Compute the positions of the rows, (H, 1), and of the columns, (1, W)."""
        y = (np.arange(self.height) - self.centre.imag) / self.radius
        x = (np.arange(self.width) - self.centre.real) / self.radius
        return y[:, None], x[None, :]

    def aperture(self) -> Float:
        """Compute the distance from the centre of the FOV, or its substitute in the notch: at most 1 inside, (H, W)."""
        y, x = self.axes()
        distance = np.sqrt(x * x + y * y)
        if self.notch is not None:
            part, dy, dx = self.window(self.notch, 3 * _NOTCH)
            distance[part] = np.minimum(distance[part], 1 - _NOTCH + np.sqrt(dx * dx + dy * dy))
        return distance

    def window(self, at: complex, reach: float) -> tuple[Window, Float, Float]:
        """Cut out the grid around a place: its slices, and positions relative to the place along rows and columns."""
        y, x = self.axes()
        rows = np.nonzero(np.abs(y[:, 0] - at.imag) <= reach)[0]
        columns = np.nonzero(np.abs(x[0] - at.real) <= reach)[0]
        if not len(rows) or not len(columns):
            return (slice(0, 0), slice(0, 0)), y[:0], x[:, :0]
        part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        return part, y[part[0]] - at.imag, x[:, part[1]] - at.real


@dataclass(frozen=True)
class Segments:
    """Pieces of vessels on the pixel grid: capsules whose radius changes linearly from start to end; arrays (n,)."""

    start: Complex  #: Position of the start in pixels.
    end: Complex  #: Position of the end.
    start_radius: Float  #: Radius at the start in pixels.
    end_radius: Float  #: Radius at the end.
    vein: Bool  #: Whether the piece belongs to a vein.


@dataclass(frozen=True)
class VesselMap:
    """Vessels of one kind on the pixel grid, as flat arrays over the pixels near one."""

    pixel: NDArray[np.int64]  #: Index of the pixel in the flattened image, each once, ascending.
    absorption: Float  #: Largest absorption of any piece there.
    depth: Float  #: Largest radius minus distance from the centreline, in pixels, of any piece; >= 0 inside a vessel.
    radius: Float  #: Radius of that piece in pixels where it is nearest.


def place_segments(branches: list[Branch], scene: Scene) -> Segments:
    """Cut branches into pieces and put them on the pixel grid, branch after branch."""
    paths = [branch.path for branch in branches]
    start, end = (np.concatenate([path[part] for path in paths]) for part in (slice(-1), slice(1, None)))
    if scene.mirrored:
        start, end = -start.conj(), -end.conj()
    return Segments(
        scene.centre + scene.radius * start,
        scene.centre + scene.radius * end,
        scene.radius * np.concatenate([branch.radius[:-1] for branch in branches]),
        scene.radius * np.concatenate([branch.radius[1:] for branch in branches]),
        np.repeat([branch.vein for branch in branches], [len(path) - 1 for path in paths]),
    )


def rasterise(scene: Scene, segments: Segments, vein: bool) -> VesselMap:
    """Compute, for every pixel near a vein or near an artery, the signed distance to its wall and its absorption."""
    height, width = scene.shape
    margin = 3 * scene.blur
    chosen = segments.vein == vein
    start, along = segments.start[chosen], (segments.end - segments.start)[chosen]
    first, slope = segments.start_radius[chosen], (segments.end_radius - segments.start_radius)[chosen]
    widest = np.maximum(first, first + slope) + margin
    left = np.ceil(np.minimum(start.real, start.real + along.real) - widest).astype(np.int64)
    top = np.ceil(np.minimum(start.imag, start.imag + along.imag) - widest).astype(np.int64)
    side = np.ceil(2 * widest + np.maximum(np.abs(along.real), np.abs(along.imag))).astype(np.int64) + 1
    side += side % 2  # fewer classes
    found = []
    for size in np.unique(side):
        group = np.nonzero(side == size)[0][:, None]
        row, column = (offset.ravel()[None, :] for offset in np.indices((size, size)))
        y, x = top[group] + row, left[group] + column
        dx, dy = x - start.real[group], y - start.imag[group]
        ex, ey = along.real[group], along.imag[group]
        t = np.clip((dx * ex + dy * ey) / np.maximum(ex * ex + ey * ey, 1e-12), 0.0, 1.0)
        radius = first[group] + t * slope[group]
        distance = np.sqrt((dx - t * ex) ** 2 + (dy - t * ey) ** 2)
        near = (distance <= radius + margin) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
        found.append(((y * width + x)[near], distance[near], radius[near]))
    pixel, distance, radius = (np.concatenate(part) for part in zip(*found, strict=True))
    absorption = np.zeros(height * width)
    np.maximum.at(absorption, pixel, _blood_absorption(scene, distance, radius))
    depth = radius - distance
    deepest = np.full(height * width, -np.inf)
    np.maximum.at(deepest, pixel, depth)
    # Of pieces equally deep the widest one counts, so that the result does not depend on their order.
    best = depth == deepest[pixel]
    pixel, radius = pixel[best], radius[best]
    wide = np.zeros(height * width)
    np.maximum.at(wide, pixel, radius)
    listed = np.nonzero(wide)[0]
    return VesselMap(listed, absorption[listed], deepest[listed], wide[listed])


def _blood_absorption(scene: Scene, distance: Float, radius: Float) -> Float:
    """Compute the optical depth in green of a vessel at distances from its centreline, all in pixels.

    A band of the vessel's width, convolved with the point spread function: vessels thinner than the blur fade.
    """
    spread = np.sqrt(2) * scene.blur
    band = 0.5 * (erf((distance + radius) / spread) - erf((distance - radius) / spread))
    return (0.056 + 0.086 * np.minimum(radius / max(scene.scale, 0.12), 5.0)) * band
