"""Thin vessels: squares of an image that are chosen from the truth alone, and how much of each a network finds.

A paper may show the places where its model looks best. Here the squares with the most of the thin vessels' centre line
are taken. An error map holds the truth (detected and missed vessels together), so no data set is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from retlib.metrics.topology import skeleton
from retlib.study import MISSED, TRUE_VESSEL, Record

THIN = 2.0  # pixels: the widest that a thin vessel may be
CASES = ("first", "median", "worst", "best")  # kept error maps, the preferred one first


class Square(NamedTuple):
    """A square part of an image: its first row and column, its side, and its pixels of thin vessels' centre line."""

    top: int
    left: int
    side: int
    thin: int

    @property
    def window(self) -> tuple[slice, slice]:
        """Index of the square in an (H, W) array."""
        return slice(self.top, self.top + self.side), slice(self.left, self.left + self.side)


def true_vessels(errors: np.ndarray) -> np.ndarray:
    """Read the truth, bool (H, W), off an error map; False where the map is outside its region."""
    return np.isin(errors, (TRUE_VESSEL, MISSED))


def thin_centre_line(vessels: np.ndarray) -> np.ndarray:
    """Find the centre line of the vessels that are at most two pixels wide, bool (H, W).

    Width is measured as by :func:`retlib.metrics.vessel_width_recall`: twice the distance to the nearest background
    pixel, so that vessels of one and of two pixels both count as 2 wide.
    """
    # A map without any background has no thin vessel either: its distances are not defined.
    if vessels.all():
        return np.zeros_like(vessels)
    return skeleton(vessels) & (2 * ndimage.distance_transform_edt(vessels) <= THIN)


def thin_boxes(vessels: np.ndarray, count: int = 3, side: int | None = None) -> list[Square]:
    """Choose the squares with the most of the thin vessels' centre line, the most first, none overlapping another.

    Squares are chosen one by one; of equal ones the first in reading order is chosen.

    Args:
        vessels: bool (H, W), the truth.
        count: squares wanted; fewer are returned where no thin vessel is left.
        side: pixels; by default a ninth of the longer side of the image.

    Raises:
        ValueError: ``side`` is below 1 or does not fit into the image.
    """
    side = max(vessels.shape) // 9 if side is None else side
    if not 1 <= side <= min(vessels.shape):
        raise ValueError(f"side: expected 1 to {min(vessels.shape)} pixels, got {side}")
    sums = np.pad(thin_centre_line(vessels).astype(np.int64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    held = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    squares: list[Square] = []
    while len(squares) < count and held.max() > 0:
        top, left = (int(i) for i in np.unravel_index(held.argmax(), held.shape))
        squares.append(Square(top, left, side, int(held[top, left])))
        held[max(top - side + 1, 0) : top + side, max(left - side + 1, 0) : left + side] = 0
    return squares


def thin_recall(errors: np.ndarray, square: Square) -> float:
    """Compute the share of the thin vessels' centre line in a square that is detected.

    The error map, uint8 (H, W), is of the whole image.
    """
    line = thin_centre_line(true_vessels(errors))
    return float((errors == TRUE_VESSEL)[square.window][line[square.window]].mean())


def shared_maps(records: Mapping[str, Record]) -> tuple[str, dict[str, np.ndarray]] | None:
    """Find one test image of which several records keep an error map.

    Of the images that all records keep, the first test image is taken, else the one that is the first record's
    median, else its worst or best. A record that shares no image with those before it is left out.

    Returns:
        Name of the image, and title -> error map; None where fewer than two records share an image.

    Raises:
        ValueError: the maps were not made with one truth.
    """
    kept = {title: {r.test()["cases"][case]["image"]: case for case in r.error_maps()} for title, r in records.items()}
    common: set[str] = set()
    titles: list[str] = []
    for title, cases in kept.items():
        both = common & set(cases) if titles else set(cases)
        if both:
            common, titles = both, [*titles, title]
    if len(titles) < 2:
        return None
    first = kept[titles[0]]
    image = min(common, key=lambda name: CASES.index(first[name]))
    maps = {title: records[title].error_maps()[kept[title][image]] for title in titles}
    truth, *others = map(true_vessels, maps.values())
    if not all(np.array_equal(truth, other) for other in others):
        raise ValueError(f"{image}: expected error maps of one image, but their vessels differ")
    return image, maps
