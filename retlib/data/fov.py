"""Estimate the field of view from the photograph alone, for data sets that ship no mask.

The retina is lit through a round, sometimes clipped aperture. So its outline is convex, and across it the red light
falls steeply, however dark the retina is there. `estimate_fov` therefore outlines a reduced photograph at many grey
levels, keeps the convex outline with the steepest relative fall, which needs no threshold that suits one camera, and
then moves that outline to the middle of the fall on the full grid.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from retlib.data.sample import require_photograph

_COARSE_PIXELS = 200  # longer side of the reduced photograph in which the outline is searched
_LEVELS = np.geomspace(6, 100, 12)  # grey levels tried, of 255
_OPENING = 0.03  # radius of the opening, of the shorter side: removes text, stray light, most of a notch
_FLOOR = 4.0  # grey levels added before ratios are taken: the noise outside the FOV
_REACH = 2  # reduced pixels by which the two points of a ratio lie inside and outside the outline
_FALL_CAP = np.log(3.0)  # a fall to a third is an edge; more of it must not outweigh a gap elsewhere
_LEAST_FALL = np.log(1.25)  # below this mean fall the photograph has nothing dark outside the FOV
_LEAST_AREA = 0.2  # of the frame
_LEAST_SIDE = 8  # reduced pixels, below which there is no outline to speak of
_RAYS = 720  # directions in which the outline is moved to the middle of the fall
_SMOOTHING = 15  # rays over which the median of the radius is taken


def estimate_fov(image: np.ndarray) -> np.ndarray:
    """Estimate the FOV of a fundus photograph: one convex region without holes.

    Args:
        image: Photograph, uint8 (H, W, 3), RGB.

    Returns:
        bool (H, W), True inside the FOV; True everywhere where the photograph has nothing dark outside the FOV or is
        only a few pixels high or wide.

    Raises:
        ValueError: The array is no uint8 (H, W, 3).
    """
    require_photograph(image)
    from scipy import ndimage

    red = np.ascontiguousarray(image[..., 0])  # the retina reflects red most; the outside is black or grey
    step = max(1, round(max(red.shape) / _COARSE_PIXELS))
    coarse = ndimage.gaussian_filter(np.asarray(Image.fromarray(red).reduce(step), dtype=np.float32), 1)
    if min(coarse.shape) < _LEAST_SIDE:
        return np.ones(red.shape, dtype=bool)
    hulls = [hull for level in _LEVELS if (hull := _outline(coarse > level)) is not None]
    rated = [(*_fall(coarse, hull), index) for index, hull in enumerate(hulls)]
    _, fall, index = max(rated, default=(0.0, 0.0, None))
    if fall < _LEAST_FALL:
        return np.ones(red.shape, dtype=bool)
    return _refine(red, hulls[index], step)


def _outline(lit: np.ndarray) -> np.ndarray | None:
    """Compute the convex hull of the largest lit region after opening, or None where it is too small to be a FOV."""
    from scipy import ndimage

    radius = max(2, round(_OPENING * min(lit.shape)))
    region = ndimage.binary_fill_holes(_largest(lit))
    padded = np.pad(region, radius + 1, mode="edge")  # so that the opening takes nothing off at the frame
    core = ndimage.distance_transform_edt(padded) > radius
    if not core.any():
        return None
    opened = ndimage.distance_transform_edt(~core) <= radius
    region = _largest(opened[radius + 1 : -radius - 1, radius + 1 : -radius - 1])
    if region.mean() < _LEAST_AREA:
        return None
    edge = region & ~ndimage.binary_erosion(region)
    return _fill_hull(np.argwhere(edge), region.shape)


def _largest(mask: np.ndarray) -> np.ndarray:
    """Keep the largest connected region."""
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax()


def _fill_hull(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Fill the convex hull of points given as (row, column)."""
    import cv2  # scipy's hull is the same, and takes a tenth of the time in which `retlib predict` starts

    corners = points[cv2.convexHull(points.astype(np.float32), returnPoints=False).ravel()]
    canvas = Image.new("L", (shape[1], shape[0]))
    ImageDraw.Draw(canvas).polygon([(float(column), float(row)) for row, column in corners], fill=1)
    return np.array(canvas, dtype=bool)


def _fall(level: np.ndarray, hull: np.ndarray) -> tuple[float, float]:
    """Compute the relative fall of light outwards across an outline, as a mean logarithm.

    Returns:
        The mean over the whole outline, with no fall where it runs along the edge of the frame, to compare outlines;
        and the mean over the part inside the frame, to recognise a dark outside.
    """
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(np.pad(hull, 1))[1:-1, 1:-1]  # the frame ends the FOV too
    distance = depth - ndimage.distance_transform_edt(~hull)
    points = np.stack(np.nonzero(hull & (depth < 1.5)))
    to_frame = np.minimum(points, np.array(hull.shape)[:, None] - 1 - points).min(axis=0)
    free = to_frame > _REACH
    if not free.any():
        return 0.0, 0.0
    slope = np.stack([gradient[tuple(points)] for gradient in np.gradient(ndimage.gaussian_filter(distance, 1))])
    inwards = slope / np.maximum(np.linalg.norm(slope, axis=0), 1e-6)
    inside = ndimage.map_coordinates(level, points + _REACH * inwards, order=1, mode="nearest")
    outside = ndimage.map_coordinates(level, points - _REACH * inwards, order=1, mode="nearest")
    falls = np.log((inside + _FLOOR) / (outside + _FLOOR))
    falls = np.where(free, np.clip(falls, 0, _FALL_CAP), 0)
    return float(falls.mean()), float(falls[free].mean())


def _refine(red: np.ndarray, hull: np.ndarray, step: int) -> np.ndarray:
    """Move an outline found on the reduced grid to where, on the full grid, the light has fallen by half."""
    from scipy import ndimage

    centre = np.array(ndimage.center_of_mass(hull))
    angles = np.linspace(0, 2 * np.pi, _RAYS, endpoint=False)
    directions = np.stack([np.sin(angles), np.cos(angles)])
    along = centre[:, None, None] + directions[:, None] * np.arange(max(hull.shape))[:, None]
    inside_hull = ndimage.map_coordinates(hull.astype(np.float32), along, order=1)
    coarse_radius = (inside_hull >= 0.5).sum(axis=0) - 0.5
    centre, radius = (centre + 0.5) * step - 0.5, coarse_radius * step

    reach = 3 * step + 3
    offsets = np.arange(-reach, reach + 1)
    radii = radius + offsets[:, None]
    along = centre[:, None, None] + directions[:, None] * radii
    smooth = ndimage.uniform_filter(red, 3).astype(np.float32)
    profile = ndimage.map_coordinates(smooth, along, order=1, mode="nearest")
    inner, outer = profile[:reach].mean(axis=0), profile[-3:].mean(axis=0)
    beyond = (profile > (inner + outer) / 2).cumprod(axis=0).sum(axis=0)
    sharp = (inner + _FLOOR) / (outer + _FLOOR) > np.exp(_LEAST_FALL)
    radius = np.where(sharp, radii[0] + beyond - 0.5, radius)
    radius = ndimage.median_filter(radius, _SMOOTHING, mode="wrap")
    # Drawing adds half a pixel, on the safe side: observers label vessels up to the border.
    outline = np.clip((centre[:, None] + directions * radius).T, 0, np.array(red.shape) - 1)
    return _fill_hull(outline, red.shape)
