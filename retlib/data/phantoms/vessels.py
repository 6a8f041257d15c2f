"""Vessels of a synthetic eye: trees that grow until the whole FOV is supplied, and their pixels.

Positions ``x + 1j * y`` (y points down) and lengths are in units of the FOV radius, with the centre of the FOV at 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Complex = NDArray[np.complex128]
Float = NDArray[np.float64]
Index = NDArray[np.int64]

REFERENCE_RADIUS = 268.0  # radius of DRIVE's FOV in pixels: the size at which statistics were taken


@dataclass(frozen=True)
class Eye:
    """Places and sizes of one eye, and where the camera puts it on the pixel grid."""

    grid: Complex  #: Position of the centre of every pixel, (H, W).
    centre: complex  #: Centre of the FOV on the grid, column + 1j * row.
    radius: float  #: Radius of the FOV in pixels.
    scale: float  #: Radius of the FOV relative to DRIVE's.
    blur: float  #: Standard deviation of the point spread function in pixels.
    disc: complex  #: Centre of the optic disc.
    disc_radius: float  #: Radius of the disc.
    fovea: complex  #: Centre of the fovea.
    axis: complex  #: Direction from the disc to the fovea, of length 1.
    avascular: float  #: Radius of the foveal avascular zone.
    share: float  #: Share of the FOV that vessels should cover, 0 to 1.
    finest: float  #: Radius of the finest vessel drawn.
    mean_radius: float  #: Mean radius that vessels should have.
    tortuosity: float  #: Strength of the wander of the vessels; 1 is ordinary.


@dataclass(frozen=True)
class Vessels:
    """Straight pieces of vessels: piece i runs with one radius from node ``parent[i]`` to node i; arrays (n,)."""

    at: Complex  #: Position of a node.
    parent: Index  #: Node before it on the way from the disc, an earlier one; itself where a tree begins.
    radius: Float  #: Radius of the piece.
    vein: NDArray[np.bool_]  #: Whether it belongs to a vein.


def draw_eye(rng: Generator, height: int, width: int) -> Eye:
    """Draw which eye it is, how the camera looks at it, and how many vessels it has."""
    least, side = min(height, width), rng.choice([-1, 1])
    radius = 0.4755 * least * rng.uniform(0.995, 1.0)
    scale = radius / REFERENCE_RADIUS
    centre = complex(width - 1, height - 1) / 2 + 0.011 * least * complex(*rng.uniform(-1, 1, 2))
    disc = complex(side * rng.uniform(0.60, 0.84), rng.uniform(-0.13, 0.06))
    axis = -side * np.exp(-1j * side * rng.uniform(0.02, 0.17))
    # A photograph with fewer pixels still shows its wide vessels: they shrink less than the frame does.
    finest, widest = max(0.64 / REFERENCE_RADIUS, 0.52 / radius), 4.0 / REFERENCE_RADIUS * min(1.0, scale) ** -0.3
    return Eye(
        grid=(np.arange(width) + 1j * np.arange(height)[:, None] - centre) / radius,
        centre=centre,
        radius=radius,
        scale=scale,
        blur=rng.uniform(0.7, 0.95) * max(0.45, scale) ** 0.6,
        disc=disc,
        disc_radius=rng.uniform(0.132, 0.16),
        fovea=disc + rng.uniform(0.72, 0.82) * axis,
        axis=axis,
        avascular=rng.uniform(0.105, 0.15),
        share=rng.uniform(0.112, 0.14),
        finest=finest,
        mean_radius=rng.uniform(0.73, 0.92) * np.sqrt(finest * widest),
        tortuosity=rng.lognormal(0.0, 0.3),
    )


def course(eye: Eye, at: complex) -> complex:
    """Compute the direction in which vessels run, as nerve fibres do: out of the disc and in arcs about the fovea."""
    away = (at - eye.disc) / eye.axis
    distance, bearing = abs(away), np.angle(away)
    direction = eye.axis * away * (1 - 0.5j * bearing * (1 + np.cos(bearing)) * distance / (0.5 + distance))
    return direction / abs(direction)


def grow_vessels(rng: Generator, eye: Eye) -> Vessels:
    """Grow the veins and the arteries of an eye.

    The cube of a piece's radius is what the piece supplies (Murray's law): one unit for every end, and a feed for the
    length between branchings, less for arteries, which are narrower, and such that vessels cover their share.
    """
    length = np.pi * eye.share / (2 * eye.mean_radius)
    veins, before = _grow_tree(rng, eye, 0.55 * length, np.array([np.inf]))
    arteries, above = _grow_tree(rng, eye, 0.45 * length, veins)
    at, parent = np.append(veins, arteries), np.append(before, above + len(veins))
    vein = np.arange(len(at)) < len(veins)
    nodes, piece = np.arange(len(at)), np.abs(at - at[parent])
    children = np.bincount(parent[parent != nodes], minlength=len(at))
    ends, fed = (children == 0).astype(float), np.where(vein, 1.0, 0.45) * piece * (children == 1)
    # Sum up what lies behind every node, from the ends to the disc.
    for node in nodes[::-1]:
        if parent[node] != node:
            ends[parent[node]] += ends[node]
            fed[parent[node]] += fed[node]
    feeds, inside = np.append(0.0, np.geomspace(0.1, 1000, 60)), piece * (np.abs(at) < 1)
    areas = [1.84 * eye.finest * (np.cbrt(ends + feed * fed) * inside).sum() for feed in feeds]  # 8 % overlap
    return Vessels(at, parent, eye.finest * np.cbrt(ends + np.interp(np.pi * eye.share, areas, feeds) * fed), vein)


def _grow_tree(rng: Generator, eye: Eye, length: float, others: Complex) -> tuple[Complex, Index]:
    """Grow vessels of one kind to a total length, and return the positions and the parents of their nodes, both (n,).

    First come two arcades, then branches to points without supply. A branch starts where the way to its point is short
    and goes forward. The distance within which a point counts as supplied falls, so that long branches come first.
    ``others``, (m,), are nodes of the other kind, which mostly supply other places.
    """
    step = min(0.02, max(0.008, 1 / eye.radius))
    at, parent = np.empty(0, dtype=complex), np.empty(0, dtype=np.int64)
    for side in (1, -1):
        bend, path = 0.0, [eye.disc, eye.disc + step * eye.axis * np.exp(1j * side * rng.uniform(1.25, 1.7))]
        while abs(path[-1]) < 1.02:
            bend = 0.9 * bend + 0.06 * eye.tortuosity * rng.standard_normal()
            path.append(path[-1] + step * course(eye, path[-1]) * np.exp(1j * bend))
        path = np.array(path) - eye.fovea
        path = eye.fovea + path * np.maximum(1.0, 2 * eye.avascular / np.abs(path))  # an arcade goes around the macula
        at, parent = np.append(at, path), np.append(parent, [len(at), *range(len(at), len(at) + len(path) - 1)])
    gap = 0.4
    while len(at) * step < length and gap > eye.finest:
        gap *= 0.996
        point = np.sqrt(rng.random()) * np.exp(2j * np.pi * rng.random())
        away = point - at
        distance = np.abs(away)
        if distance.min() < gap or np.abs(point - others).min() < 0.4 * gap:
            continue
        heading = at - at[parent]
        heading /= np.maximum(np.abs(heading), 1e-9)
        start = np.argmin(5 * distance - 2 * (away * (heading + course(eye, point)).conj()).real)
        path = at[start] + _curve(rng, eye, point, away[start], heading[start], max(3, int(distance[start] / step)))
        meets = np.abs(path[4::2, None] - at).min(initial=np.inf) < 1.5 * step
        if not meets and np.abs(path - eye.fovea).min() > eye.avascular:
            at, parent = np.append(at, path), np.append(parent, [start, *range(len(at), len(at) + len(path) - 1)])
    return at, parent


def _curve(rng: Generator, eye: Eye, point: complex, away: complex, heading: complex, count: int) -> Complex:
    """Draw a curve from 0 to ``away`` that leaves forward and arrives in the course of the vessels at the point."""
    t, chord, order = np.arange(1, count + 1) / count, abs(away), np.arange(1, 7)
    leave, arrive = away + 0.7 * chord * heading, 0.5 * (away + chord * course(eye, point))
    sway = np.sin(np.pi * np.outer(t, order)) @ (rng.standard_normal(6) / order**1.3)
    smooth = t * t * (3 - 2 * t) * away + t * (1 - t) ** 2 * leave - t * t * (1 - t) * arrive
    return smooth + 0.03j * eye.tortuosity * sway * away


def rasterise(eye: Eye, vessels: Vessels) -> tuple[NDArray[np.bool_], Float]:
    """Find the pixels whose centre lies inside a vessel, bool (H, W), and the optical depth of vessels.

    The depth, float64 (2, H, W), is that of arteries and of veins in green through the point spread function.
    """
    end, start = (eye.centre + eye.radius * at for at in (vessels.at, vessels.at[vessels.parent]))
    radius = eye.radius * vessels.radius
    # All pixels of square windows around all pieces, as one long list.
    side = (np.abs(end - start) + 2 * radius).astype(np.int64) + 4
    corner = np.rint((start + end) / 2 - (1 + 1j) * (side - 1) / 2)
    piece = np.repeat(np.arange(len(side)), side**2)
    place = np.arange(len(piece)) - np.repeat(np.cumsum(side**2) - side**2, side**2)
    pixel = corner[piece] + place % side[piece] + 1j * (place // side[piece])
    along, away, r = (end - start)[piece], pixel - start[piece], radius[piece]
    t = ((away * along.conj()).real / np.maximum(np.abs(along) ** 2, 1e-12)).clip(0, 1)
    distance = np.abs(away - t * along)
    x, y, (height, width) = pixel.real.astype(np.int64), pixel.imag.astype(np.int64), eye.grid.shape
    near = (distance < r + 0.5) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x, y, r, distance, vein = x[near], y[near], r[near], distance[near], vessels.vein[piece[near]]
    inside, depth = np.zeros((height, width), dtype=bool), np.zeros((2, height, width))
    inside[y[distance <= r], x[distance <= r]] = True
    # Wide vessels take away more light, veins more than arteries; a light reflex runs along the middle of wide ones.
    size = (r / max(eye.scale, 0.12)).clip(0, 5)
    reflex = np.where(vein, 0.12, 0.22) * ((size - 1.3) / 1.5).clip(0, 1) * np.exp(-((distance / (0.35 * r)) ** 2))
    tau = np.where(vein, 1.07, 0.93) * (0.06 + 0.066 * size) * (r - distance + 0.5).clip(0, 1) * (1 - reflex)
    np.maximum.at(depth, (vein.astype(np.int64), y, x), tau)
    return inside, gaussian_filter(depth, (0, eye.blur, eye.blur), truncate=3.0)
