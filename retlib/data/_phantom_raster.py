"""Exact rasterisation of vessels: for every pixel near one, the signed distance to its wall."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retlib.data._phantom_tree import Branch

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Segments:
    """Pieces of vessels on the pixel grid: capsules whose radius changes linearly from start to end.

    Attributes:
        start: Position of the start in pixels as ``x + 1j * y``, (n,); ``column + 1j * row`` is the centre of a pixel.
        end: Position of the end, (n,).
        start_radius: Radius at the start in pixels, (n,).
        end_radius: Radius at the end, (n,).
        vein: Whether the piece belongs to a vein, (n,).
    """

    start: NDArray[np.complex128]
    end: NDArray[np.complex128]
    start_radius: Float
    end_radius: Float
    vein: NDArray[np.bool_]


@dataclass(frozen=True)
class VesselMap:
    """What a pixel sees of the vessels of one kind, flat arrays over the pixels near one.

    Attributes:
        pixel: Index of the pixel in the flattened image, each once, ascending.
        absorption: Largest absorption of any piece there.
        depth: Radius less distance from the centreline in pixels, of the piece for which this is largest; >= 0 inside.
        radius: Radius of that piece in pixels where it is nearest.
    """

    pixel: NDArray[np.int64]
    absorption: Float
    depth: Float
    radius: Float


def place_segments(branches: list[Branch], centre: complex, radius: float, mirrored: bool) -> Segments:
    """Put branches, in units of the FOV radius, on the pixel grid.

    Args:
        branches: Vessels of one eye.
        centre: Centre of the FOV in pixels.
        radius: Radius of the FOV in pixels.
        mirrored: Whether left and right are swapped.

    Returns:
        All their pieces, branch after branch.
    """
    paths = [branch.path for branch in branches]
    start, end = (np.concatenate([path[part] for path in paths]) for part in (slice(-1), slice(1, None)))
    if mirrored:
        start, end = -start.conj(), -end.conj()
    return Segments(
        centre + radius * start,
        centre + radius * end,
        radius * np.concatenate([branch.radius[:-1] for branch in branches]),
        radius * np.concatenate([branch.radius[1:] for branch in branches]),
        np.repeat([branch.vein for branch in branches], [len(path) - 1 for path in paths]),
    )


def rasterise(
    segments: Segments,
    vein: bool,
    shape: tuple[int, int],
    margin: float,
    absorb: Callable[[Float, Float], Float],
) -> VesselMap:
    """Signed distance to the walls of the arteries, or of the veins.

    Args:
        segments: Pieces of vessels.
        vein: Which kind to look at.
        shape: Height and width of the image.
        margin: How far outside the walls pixels are still listed, in pixels.
        absorb: Absorption at a distance from the centreline of a piece, given that and its radius there, in pixels.

    Returns:
        The pixels inside vessels of this kind, or within the margin of one.
    """
    height, width = shape
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
    np.maximum.at(absorption, pixel, absorb(distance, radius))
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
