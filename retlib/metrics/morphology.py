"""Measure the vessels of one binary map: density, length, width, tortuosity and fractal dimension.

Lengths and widths are in pixels, or in diameters of the field of view (FOV), so that photographs of different sizes can
be compared. No measure is a clinical finding.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from retlib.metrics.checks import as_mask
from retlib.metrics.topology import skeleton

MEASURES = {
    "fov_diameter_px": "Longer side of the FOV in pixels.",
    "vessel_density": "Vessel pixels per pixel of the FOV.",
    "length_px": "Length of all centre lines in pixels.",
    "length_fov": "The same in diameters of the FOV.",
    "branches": "Number of branches: pieces of centre line between junctions and ends.",
    "mean_width_px": "Vessel area divided by the length of the centre lines, in pixels.",
    "width_5_px": "5 % of the centre line is at most this wide, in pixels.",
    "width_50_px": "Median width along the centre line, in pixels.",
    "width_95_px": "95 % of the centre line is at most this wide, in pixels.",
    "mean_width_fov": "Mean width in diameters of the FOV.",
    "tortuosity": "Length of a branch divided by the distance of its ends; mean over branches, weighted by length.",
    "fractal_dimension": "Box-counting dimension of the centre lines.",
    "box_smallest_px": "Side of the smallest box that was counted, in pixels.",
    "box_largest_px": "Side of the largest box that was counted, in pixels.",
}
"""Name of each measure, and its definition in a sentence."""

SMOOTHING = 5  # pixels of the moving average that takes the stairs off a path of pixels
SHORTEST = 10  # pixels between the ends of a branch from which on its tortuosity counts
SMALLEST_BOX = 4  # pixels; the largest box is at most a quarter of the FOV wide
_EIGHT = np.ones((3, 3), bool)


def measure_vessels(vessels: ArrayLike, fov: ArrayLike | None = None) -> dict[str, float]:
    """Measure the vessels of one map.

    Centre lines are those of Zhang and Suen's thinning, and a branch is a piece of them between junctions and ends. Its
    path of pixels is smoothed by a moving average before it is measured, since a straight line of pixels is up to 8 %
    longer than the line that it stands for. The width at a pixel of the centre line is twice its distance to the
    nearest background pixel, less half a pixel, which is right on average: a single width can be off by a pixel.
    Tortuosity is the ratio of arc to chord (Hart et al., Int. J. Med. Inform. 53, 1999, 239). The fractal dimension is
    the slope of the number of boxes that the centre lines meet against the side of the boxes, both in logarithms
    (Mainster, Eye 4, 1990, 235; Masters, Annu. Rev. Biomed. Eng. 6, 2004, 427).

    Args:
        vessels: (H, W) binary map.
        fov: (H, W) mask of the field of view; None takes the whole frame.

    Returns:
        The measures of :data:`MEASURES`, in their order. NaN where one is undefined: widths and lengths without a
        vessel, tortuosity without a branch whose ends are ten pixels apart, the dimension where the FOV is too small
        for three sizes of boxes.

    Raises:
        ValueError: an argument that is no mask, masks of different shapes, or an empty FOV.

    Example:
        >>> vessels = np.zeros((60, 100), bool)
        >>> vessels[28:31, 10:90] = True
        >>> round(measure_vessels(vessels)["mean_width_px"])
        3
    """
    vessels = as_mask(vessels, "vessels")
    inside = np.ones(vessels.shape, bool) if fov is None else as_mask(fov, "fov", vessels.shape)
    if not inside.any():
        raise ValueError("fov: expected some pixels inside the field of view, found none")
    vessels = vessels & inside
    diameter = max(int(np.ptp(places)) + 1 for places in np.nonzero(inside))
    line = skeleton(vessels)
    paths, joints = trace_branches(line)
    lengths = np.array([_length(path) for path in paths])
    chords = np.array([math.dist(path[0], path[-1]) for path in paths])
    length = float(lengths.sum() + joints)
    wide = 2 * ndimage.distance_transform_edt(np.pad(vessels, 1))[1:-1, 1:-1][line] - 0.5
    spread = np.percentile(wide, [5, 50, 95]) if wide.size else np.full(3, np.nan)
    mean_width = vessels.sum() / length if length else math.nan
    long = chords >= SHORTEST if paths else np.zeros(0, bool)
    twist = np.average(lengths[long] / chords[long], weights=lengths[long]) if long.any() else math.nan
    dimension, smallest, largest = box_counting_dimension(line, SMALLEST_BOX, diameter // 4)
    values = (
        *(diameter, vessels.sum() / inside.sum(), length, length / diameter, len(paths)),
        *(mean_width, *spread, mean_width / diameter, twist, dimension, smallest, largest),
    )
    return dict(zip(MEASURES, map(float, values), strict=True))


def trace_branches(line: np.ndarray) -> tuple[list[np.ndarray], float]:
    """Cut centre lines into branches at their junctions.

    Args:
        line: bool (H, W), centre lines of one pixel's width.

    Returns:
        The path of each branch, int (n, 2) rows and columns from one end to the other, without the pixels of the
        junctions; and the pixels that lie between branches and the middles of their junctions, summed.
    """
    neighbours = ndimage.convolve(line.astype(np.uint8), _EIGHT.astype(np.uint8), mode="constant") - line
    joint = line & (neighbours > 2)
    labels, _ = ndimage.label(line & ~joint, _EIGHT)
    near = ndimage.maximum_filter(joint, size=3)
    paths, gaps = [], 0.0
    for number, part in enumerate(ndimage.find_objects(labels), 1):
        left = set(zip(*(places.tolist() for places in np.nonzero(labels[part] == number)), strict=True))
        origin = part[0].start, part[1].start
        path = [min(left, key=lambda place: (sum(map(left.__contains__, _around(place))), place))]
        left.remove(path[0])
        while steps := [place for place in _around(path[-1]) if place in left]:
            path.append(steps[0])
            left.remove(steps[0])
        path = np.array(path) + origin
        paths.append(path)
        gaps += near[tuple(path[0])] + (len(path) > 1 and near[tuple(path[-1])])
    return paths, float(gaps)


def _around(place: tuple[int, int]) -> list[tuple[int, int]]:
    """List the eight neighbours of a pixel, those that share a side with it first."""
    row, column = place
    steps = (-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)
    return [(row + down, column + right) for down, right in steps]


def _length(path: np.ndarray) -> float:
    """Measure a smoothed path of pixels; one pixel is one long."""
    smooth = ndimage.uniform_filter1d(path.astype(float), SMOOTHING, axis=0, mode="nearest")
    smooth[[0, -1]] = path[[0, -1]]
    return 1.0 + float(np.hypot(*np.diff(smooth, axis=0).T).sum())


def box_counting_dimension(mask: np.ndarray, smallest: int, largest: int) -> tuple[float, float, float]:
    """Estimate the fractal dimension of a bool (H, W) mask by counting boxes.

    Sides double from ``smallest`` on, up to ``largest`` pixels at most.

    Returns:
        The dimension (NaN for an empty mask, or fewer than three sides), and the smallest and the largest side.
    """
    sides = [smallest * 2**power for power in range(max(0, int(math.log2(max(largest, 1) / smallest)) + 1))]
    if len(sides) < 3 or not mask.any():
        return math.nan, math.nan, math.nan
    counts = []
    for side in sides:
        height, width = (-(-length // side) for length in mask.shape)
        boxes = np.zeros((height * side, width * side), bool)
        boxes[: mask.shape[0], : mask.shape[1]] = mask
        counts.append(boxes.reshape(height, side, width, side).any(axis=(1, 3)).sum())
    return -float(np.polyfit(np.log(sides), np.log(counts), 1)[0]), float(sides[0]), float(sides[-1])
