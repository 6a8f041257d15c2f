"""Estimate the field of view of any fundus photograph: black or bright surroundings, margins, or none at all."""

from __future__ import annotations

import cv2
import numpy as np

from retlib.data import estimate_fov
from retlib.data.sample import require_photograph

_BRIGHT = 40  # gray levels above which a margin or a surround is not the camera's black
_EVEN = 12  # gray levels by which the pixels of a bright margin may differ
_SAMPLES = 400  # pixels of a row or column that are examined
_PLAIN = 8  # gray levels by which the four corners of a bright surround may differ
_CORNER = 0.03  # side of a corner / shorter side of the frame
_SMALL = 0.4  # share of the frame below which a lit disc in a black frame is cut out first
_NOISE = 5  # gray levels by which lit pixels exceed a black frame
_MARGIN = 0.1  # black kept around the disc / its longer side
_BORDER = 0.004  # width of the blurred border, which looks like a vessel / longer side of the FOV
_NOTCH = 0.08  # depth of a notch / longer side of the FOV
_AWAY = 0.02  # distance from the FOV at which the surround is measured / longer side of the FOV
_PAIR = 1.6  # least width / height of two eyes side by side
_WAIST = 0.5  # greatest height where they meet / height of the lower one
_DARK = 0.25  # greatest light of a notch / median light of the retina


def find_fov(image: np.ndarray) -> np.ndarray:
    """Estimate the field of view of a photograph of unknown origin.

    :func:`retlib.data.estimate_fov` treats black surrounds, clipped circles and photographs without a surround. Three
    more cases occur outside the public data sets and are treated first. Plain bright margins (a page, a slide, a
    window) are cut off. A small disc in a large black frame is cut out. Where the four corners share one plain bright
    colour, the distance from that colour replaces the light.

    Args:
        image: uint8 (H, W, 3), RGB.

    Returns:
        bool (H, W), one convex region; all True where there is no surround.

    Raises:
        ValueError: the array is no uint8 (H, W, 3).
    """
    require_photograph(image)
    fov = np.zeros(image.shape[:2], dtype=bool)
    window = _without_margins(image)
    inner = np.ascontiguousarray(image[window])
    lit = _lit_part(inner)
    part = np.ascontiguousarray(inner[lit])
    surround = _plain_surround(part)
    if surround is not None:
        away = np.abs(part.astype(np.int16) - surround).max(axis=2).astype(np.uint8)
        found = estimate_fov(np.repeat(away[..., None], 3, axis=2))
    if surround is None or found.all():
        found = estimate_fov(part)
    fov[window][lit] = found
    return fov


def eyes_side_by_side(image: np.ndarray) -> int | None:
    """Find the column between two eyes that stand side by side in one picture; None where there is one eye.

    The lit part is then far wider than high, and low in the middle, where two discs meet.

    Args:
        image: uint8 (H, W, 3), RGB.
    """
    height, width = image.shape[:2]
    reduced = cv2.resize(image, (200, 200), interpolation=cv2.INTER_AREA).max(axis=2)
    lit = cv2.morphologyEx((reduced > _BRIGHT // 2).astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    left, _, across, down = cv2.boundingRect(lit)
    if across * width < _PAIR * down * height or not across:
        return None
    heights = lit.sum(axis=0)[left : left + across]
    third = across // 3
    middle = third + int(np.argmin(heights[third:-third]))
    halves = heights[:middle].max(initial=0), heights[middle:].max(initial=0)
    if heights[middle] > _WAIST * min(halves):
        return None
    lowest = np.flatnonzero(heights[third:-third] == heights[middle])
    return round((left + third + float(lowest.mean()) + 0.5) * width / 200)


def searched_region(image: np.ndarray, fov: np.ndarray) -> np.ndarray:
    """Return where vessels are looked for: the FOV without its blurred border and without notches.

    At the border the light falls off along a thin dark line, and the notch with which a camera marks the upper side is
    as dark as the surround. A network takes both for vessels.

    Args:
        image: uint8 (H, W, 3), RGB.
        fov: bool (H, W), from `find_fov`.

    Returns:
        bool (H, W), inside the FOV.
    """
    if not fov.any():
        return fov.copy()
    side = max(cv2.boundingRect(fov.astype(np.uint8))[2:])
    padded = np.pad(fov, 1, mode="edge").astype(np.uint8)  # where the frame cuts the retina there is no border
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    searched = fov & (depth > _BORDER * side)
    far = cv2.distanceTransform(1 - padded, cv2.DIST_L2, 5)[1:-1, 1:-1] > _AWAY * side
    step = max(1, side // 500)  # a sample of the pixels of a large photograph is enough
    few = np.s_[::step, ::step]
    if far[few].any():
        light = cv2.max(cv2.max(image[..., 0], image[..., 1]), image[..., 2])
        darkness = min(np.percentile(light[few][far[few]], 95), _DARK * np.median(light[few][fov[few]]))
        searched &= (depth > _NOTCH * side) | (light > darkness)
    return searched


def scale_fov(image: np.ndarray, fov: np.ndarray, side: int, border: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scale the FOV's bounding box to one size, so that a camera's resolution does not matter.

    Args:
        image: uint8 (H, W, 3), RGB.
        fov: bool (H, W) with at least one pixel inside.
        side: pixels of the box's longer side.
        border: pixels at the border of the scaled FOV that are left out of its inner part.

    Returns:
        The photograph, uint8 (h, w, 3); the FOV, bool (h, w); and its inner part, or all of it where none is left.
    """
    left, top, width, height = cv2.boundingRect(fov.astype(np.uint8))
    window = np.s_[top : top + height, left : left + width]
    longer = max(height, width)
    size = (max(1, round(width * side / longer)), max(1, round(height * side / longer)))
    picture = cv2.resize(image[window], size, interpolation=cv2.INTER_AREA if longer > side else cv2.INTER_LINEAR)
    mask = cv2.resize(fov[window].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    inner = cv2.erode(np.pad(mask, 1), np.ones((2 * border + 1,) * 2))[1:-1, 1:-1]
    return picture, mask > 0, (inner if inner.any() else mask) > 0


def _without_margins(image: np.ndarray) -> tuple[slice, slice]:
    """Cut plain bright rows and columns off all four sides, at most half of each side in all."""
    rows, columns = slice(0, image.shape[0]), slice(0, image.shape[1])
    for _ in range(2):  # columns are plain only once the rows above and below them are cut off, and vice versa
        rows = _trim(image[rows, columns], rows)
        columns = _trim(image[rows, columns].transpose(1, 0, 2), columns)
    return rows, columns


def _trim(lines: np.ndarray, span: slice) -> slice:
    lines = lines[:, :: max(1, lines.shape[1] // _SAMPLES)]
    most = len(lines) // 4
    return slice(span.start + _plain_lines(lines[:most]), span.stop - _plain_lines(lines[::-1][:most]))


def _plain_lines(lines: np.ndarray) -> int:
    """Count the plain bright lines at the beginning."""
    low, high = lines.min(axis=1), lines.max(axis=1)
    plain = ((high - low).max(axis=1) <= _EVEN) & (high.max(axis=1) > _BRIGHT)
    return len(plain) if plain.all() else int(np.argmin(plain))


def _lit_part(image: np.ndarray) -> tuple[slice, slice]:
    """Return the window of a small disc in a large black frame, with some black around it; else the whole frame."""
    height, width = image.shape[:2]
    everything = np.s_[:height, :width]
    reduced = cv2.resize(image, (min(width, 200), min(height, 200)), interpolation=cv2.INTER_AREA).max(axis=2)
    frame = np.concatenate([reduced[0], reduced[-1], reduced[:, 0], reduced[:, -1]])
    # Low, so that a dark retina counts as lit: too much black around the disc is harmless, too little is not.
    level = float(np.median(frame)) + _NOISE
    lit = cv2.morphologyEx((reduced > level).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    if level > _BRIGHT or not lit.any():
        return everything
    left, top, across, down = cv2.boundingRect(lit)
    top, bottom = (row * height / lit.shape[0] for row in (top, top + down))
    left, right = (column * width / lit.shape[1] for column in (left, left + across))
    if (bottom - top) * (right - left) >= _SMALL * height * width:
        return everything
    margin = _MARGIN * max(bottom - top, right - left)
    return (
        slice(max(0, int(top - margin)), min(height, int(bottom + margin))),
        slice(max(0, int(left - margin)), min(width, int(right + margin))),
    )


def _plain_surround(image: np.ndarray) -> np.ndarray | None:
    """Return the colour that all four corners share, int16 (3,), if it is plain and bright; else None."""
    side = max(2, round(_CORNER * min(image.shape[:2])))
    ends = (slice(0, side), slice(-side, None))
    corners = np.stack([image[top, left].reshape(-1, 3)[: side * side] for top in ends for left in ends]).astype(
        np.int16
    )
    colour = np.median(corners, axis=(0, 1)).astype(np.int16)
    away = np.abs(corners - colour).max(axis=2)
    if colour.max() <= _BRIGHT or np.percentile(away, 95) > _PLAIN:
        return None
    return colour
