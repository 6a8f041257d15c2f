"""Field of view of any fundus photograph: black or bright surroundings, margins, or none at all."""

from __future__ import annotations

import cv2
import numpy as np

from retlib.data import estimate_fov

_BRIGHT = 40  # grey levels, above which a margin or a surround is not the camera's own black
_EVEN = 12  # grey levels by which the pixels of a bright margin may differ
_SAMPLES = 400  # pixels of a row or column that are looked at
_AT_ONCE = 8  # rows or columns of a margin that are looked at together
_PLAIN = 8  # grey levels by which the four corners of a bright surround may differ
_CORNER = 0.03  # side of a corner, of the shorter side of the frame
_SMALL = 0.4  # share of the frame, below which what is lit in a black frame is looked at alone
_NOISE = 5  # grey levels by which what is lit exceeds a black frame
_BLUR = 0.004  # width of the rim that passes for a vessel, of the FOV's longer side
_NOTCH = 0.08  # how deep a notch reaches, of that side
_AWAY = 0.02  # how far from the rim the surround is measured, of that side
_DARK = 0.25  # of the retina's light: what is brighter is no notch, however bright the surround is
_RIM = 0.1  # black kept around it, of its longer side


def find_fov(image: np.ndarray) -> np.ndarray:
    """Find the field of view of a photograph whose origin is unknown.

    A black surround, a clipped circle and a photograph without any surround are the work of
    :func:`retlib.data.estimate_fov`. Three more things are met outside the public data sets and are dealt with
    first: plain bright margins (a page, a slide, a window) are taken off; a disc that is small in a large black frame
    is looked at alone; and where the four corners share one plain bright colour, the distance from that colour takes
    the place of the light.

    Args:
        image: uint8 (H, W, 3), RGB.

    Returns:
        bool (H, W), one convex region; all True where no surround is seen.

    Raises:
        ValueError: the array is no uint8 (H, W, 3).
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"a photograph has to be uint8 (H, W, 3), got {found}")
    fov = np.zeros(image.shape[:2], dtype=bool)
    window = _without_margins(image)
    inner = np.ascontiguousarray(image[window])
    lit = _lit_part(inner)
    part = np.zeros(inner.shape[:2], dtype=bool)
    part[lit] = _of_part(np.ascontiguousarray(inner[lit]))
    fov[window] = part
    return fov


def searched_region(image: np.ndarray, fov: np.ndarray) -> np.ndarray:
    """Where vessels are looked for: the FOV without its blurred rim, and without notches in it.

    The rim's own fall of light is a thin dark line, and the notch by which a camera marks the upper side is as dark as
    the surround; a network takes both for vessels.

    Args:
        image: uint8 (H, W, 3), RGB.
        fov: bool (H, W), as `find_fov` found it.

    Returns:
        bool (H, W), inside the FOV.
    """
    if not fov.any():
        return fov.copy()
    side = max(int(np.ptp(np.flatnonzero(fov.any(axis=axis)))) + 1 for axis in (0, 1))
    padded = np.pad(fov, 1, mode="edge").astype(np.uint8)  # where the frame cuts the retina there is no rim
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    searched = fov & (depth > _BLUR * side)
    far = cv2.distanceTransform(1 - padded, cv2.DIST_L2, 5)[1:-1, 1:-1] > _AWAY * side
    step = max(1, side // 500)  # every pixel of a large photograph would say no more
    few = np.s_[::step, ::step]
    if far[few].any():
        light = cv2.max(cv2.max(image[..., 0], image[..., 1]), image[..., 2])
        darkness = min(np.percentile(light[few][far[few]], 95), _DARK * np.median(light[few][fov[few]]))
        searched &= (depth > _NOTCH * side) | (light > darkness)
    return searched


def _of_part(image: np.ndarray) -> np.ndarray:
    surround = _plain_surround(image)
    if surround is not None:
        away = np.abs(image.astype(np.int16) - surround).max(axis=2).astype(np.uint8)
        found = estimate_fov(np.repeat(away[..., None], 3, axis=2))
        if not found.all():
            return found
    return estimate_fov(image)


def _without_margins(image: np.ndarray) -> tuple[slice, slice]:
    """What is left when plain bright rows and columns are taken off all four sides; never less than half a side."""
    rows, columns = slice(0, image.shape[0]), slice(0, image.shape[1])
    for _ in range(2):  # columns are plain only once the rows above and below them are gone, and the other way round
        rows = _trim(image[rows, columns], rows)
        columns = _trim(image[rows, columns].transpose(1, 0, 2), columns)
    return rows, columns


def _trim(lines: np.ndarray, span: slice) -> slice:
    lines = lines[:, :: max(1, lines.shape[1] // _SAMPLES)]
    most = len(lines) // 4
    return slice(span.start + _plain_lines(lines[:most]), span.stop - _plain_lines(lines[::-1][:most]))


def _plain_lines(lines: np.ndarray) -> int:
    """How many lines at the beginning are plain and bright; most photographs have none, and few lines are looked at."""
    for start in range(0, len(lines), _AT_ONCE):
        some = lines[start : start + _AT_ONCE]
        low, high = some.min(axis=1).astype(np.int16), some.max(axis=1).astype(np.int16)
        plain = ((high - low).max(axis=1) <= _EVEN) & (high.max(axis=1) > _BRIGHT)
        if not plain.all():
            return start + int(np.argmin(plain))
    return len(lines)


def _lit_part(image: np.ndarray) -> tuple[slice, slice]:
    """Where a small disc lies in a large black frame, with some black around it; else the whole frame."""
    height, width = image.shape[:2]
    everything = np.s_[:height, :width]
    reduced = cv2.resize(image, (min(width, 200), min(height, 200)), interpolation=cv2.INTER_AREA).max(axis=2)
    frame = np.concatenate([reduced[0], reduced[-1], reduced[:, 0], reduced[:, -1]])
    # Low, so that a dark retina counts as lit: too much black around the disc does no harm, too little does.
    level = float(np.median(frame)) + _NOISE
    lit = cv2.morphologyEx((reduced > level).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    if level > _BRIGHT or not lit.any():
        return everything
    box = []
    for axis, side in ((1, height), (0, width)):
        at = np.flatnonzero(lit.any(axis=axis)) * side / lit.shape[1 - axis]
        box.append((at[0], at[-1] + side / lit.shape[1 - axis]))
    (top, bottom), (left, right) = box
    if (bottom - top) * (right - left) >= _SMALL * height * width:
        return everything
    rim = _RIM * max(bottom - top, right - left)
    return (
        slice(max(0, int(top - rim)), min(height, int(bottom + rim))),
        slice(max(0, int(left - rim)), min(width, int(right + rim))),
    )


def _plain_surround(image: np.ndarray) -> np.ndarray | None:
    """The colour that all four corners share, int16 (3,), where it is plain and bright; else None."""
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
