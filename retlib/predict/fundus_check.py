"""Recognise fundus photographs by a fixed rule on eight measures, without a network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from retlib.predict.fov import scale_fov

_SIDE = 256  # pixels to which the longer side of the FOV is scaled
_BORDER = 6  # pixels at the border of the FOV that are left out
_DARKEST = 8.0  # grey levels added before logarithms are taken
_BACKGROUND = 12.0  # pixels, the standard deviation of the blur that gives the background
_LINE, _LENGTH, _DIRECTIONS = 1.6, 15, 12  # line filters: standard deviation and length in pixels, orientations
_REDDISH = 1.1  # mean red / mean green of a photograph in colour, at least
_LEAST_SIDES = (120, 60)  # pixels of the FOV in the photograph, longer and shorter side

RULE = {
    "light": (10, math.inf, "it is nearly black"),
    "red": (0.7, math.inf, "its colours are not those of a retina, where red is the strongest"),
    "contrast": (0.02, 0.2, "its contrast is not that of a retina"),
    "line_strength": (0.008, 0.16, "its lines are not as faint as vessels are"),
    "darker_lines": (1, math.inf, "its lines are not darker than what lies around them"),
    "extent": (0.55, math.inf, "no dark lines run through it as vessels do"),
    "long_share": (0.6, math.inf, "its dark lines are scraps, not long vessels"),
    "blank": (-math.inf, 0.5, "large parts of it are perfectly plain"),
}
"""Measure (see `measure_fundus`) -> least and greatest value of a fundus photograph, reason that is given outside."""


WEAK = {"darker_lines": 0.6, "extent": 0.3, "long_share": 0.5}
"""Measure -> value down to which it alone makes no refusal but a doubt. Halves of twelve training images of the public
data sets come down to 0.70, 0.35 and 0.63, with a mean Dice of 0.757, where the whole images have 0.761."""


class NotAFundusError(ValueError):
    """The image does not look like a fundus photograph; the message says why."""


@dataclass(frozen=True)
class FundusCheck:
    """Hold the result of the rule.

    Attributes:
        measures: measure -> value; empty where the FOV is too small to measure.
        reasons: why this is no fundus photograph, in words; empty if it passes.
        refused: whether the reasons are strong enough to refuse it.
    """

    measures: dict[str, float]
    reasons: tuple[str, ...]
    refused: bool = False

    @property
    def passed(self) -> bool:
        """Whether the rule accepts the photograph."""
        return not self.reasons


def check_fundus(image: np.ndarray, fov: np.ndarray) -> FundusCheck:
    """Apply the rule to a photograph, uint8 (H, W, 3), RGB, with its field of view, bool (H, W), see `find_fov`."""
    width, height = cv2.boundingRect(fov.astype(np.uint8))[2:]
    if max(height, width) < _LEAST_SIDES[0] or min(height, width) < _LEAST_SIDES[1]:
        least = " x ".join(map(str, _LEAST_SIDES))
        small = f"its field of view is {width} x {height} pixels, where {least} is the least"
        return FundusCheck({}, (small,), refused=True)
    measures = measure_fundus(image, fov)
    # A measure that is NaN is refused too.
    odd = [name for name, (least, most, _) in RULE.items() if not least <= measures[name] <= most]
    red, green, *_ = cv2.mean(image, fov.astype(np.uint8))
    # Without the colour of a retina, its border has to show that this is one; and angiograms have bright vessels.
    known = red > _REDDISH * green or not (fov.all() or "darker_lines" in odd)
    weak = len(odd) == 1 and known and measures[odd[0]] >= WEAK.get(odd[0], math.inf)
    return FundusCheck(measures, tuple(RULE[name][2] for name in odd), refused=bool(odd) and not weak)


def measure_fundus(image: np.ndarray, fov: np.ndarray) -> dict[str, float]:
    """Compute eight measures inside the field of view, scaled to 256 pixels.

    Args:
        image: uint8 (H, W, 3), RGB.
        fov: bool (H, W) with at least one pixel inside.

    Returns:
        ``light``: mean of the brightest channel, 0 to 255. ``red``: share of pixels in which no channel exceeds red,
        1 for a gray picture. ``contrast``: standard deviation of the logarithm of green over its background.
        ``line_strength``: 95th percentile of the response to dark lines, in the same unit. ``darker_lines``: that
        percentile over the one of bright lines. ``extent``: diagonal of the largest connected component of the tenth of
        the pixels with the strongest response, over the longer side. ``long_share``: share of these pixels in those
        longer than a fifth of that side. ``blank``: share of pixels that equal their neighbours in all channels.
    """
    picture, mask, inside = scale_fov(image, fov, _SIDE, _BORDER)
    picture = picture.astype(np.float32)
    pixels = picture[inside]
    flat = _flattened(picture[..., 1], mask)
    dark, bright = _lines(flat)
    strong = np.percentile(dark[inside], 90)
    extent, long_share = _component_lengths((dark > max(strong, 1e-6)) & inside)
    line = float(np.percentile(dark[inside], 95))
    steps = cv2.morphologyEx(picture, cv2.MORPH_GRADIENT, np.ones((3, 3))).max(axis=2)
    return {
        "light": float(pixels.max(axis=1).mean()),
        "red": float((pixels[:, 0] + 3 >= pixels.max(axis=1)).mean()),
        "contrast": float(flat[inside].std()),
        "line_strength": line,
        "darker_lines": line / max(float(np.percentile(bright[inside], 95)), 1e-6),
        "extent": extent,
        "long_share": long_share,
        "blank": float((steps[inside] < 1e-3).mean()),
    }


def _flattened(green: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Divide green by its background, blurred inside the mask only, and take the logarithm; 0 outside the mask."""
    level, weight = np.log(green + _DARKEST), mask.astype(np.float32)

    def blur(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (0, 0), _BACKGROUND, borderType=cv2.BORDER_CONSTANT)

    return np.where(mask, level - blur(level * weight) / np.maximum(blur(weight), 1e-3), 0).astype(np.float32)


def _lines(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Filter for straight lines in twelve directions: greatest response to dark and to bright lines, (h, w) each."""
    reach = _LENGTH // 2 + 4
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    dark = bright = np.zeros_like(flat)
    for angle in np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS:
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        segment = np.abs(along) <= _LENGTH / 2
        profile = (1 - (across / _LINE) ** 2) * np.exp(-((across / _LINE) ** 2) / 2) * segment
        window = np.exp(-((across / (2 * _LINE)) ** 2) / 2) * segment
        kernel = profile - profile.sum() / window.sum() * window  # zero response to a plain area
        response = cv2.filter2D(flat, -1, kernel / np.abs(kernel).sum(), borderType=cv2.BORDER_REFLECT)
        dark, bright = np.maximum(dark, -response), np.maximum(bright, response)
    return dark, bright


def _component_lengths(lines: np.ndarray) -> tuple[float, float]:
    """Return the largest component's diagonal and the share of pixels in components longer than a fifth of the side."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(lines.astype(np.uint8), connectivity=8)
    if count < 2:
        return 0.0, 0.0
    diagonal = np.hypot(stats[1:, cv2.CC_STAT_WIDTH], stats[1:, cv2.CC_STAT_HEIGHT])
    area = stats[1:, cv2.CC_STAT_AREA]
    return float(diagonal.max() / _SIDE), float(area[diagonal > _SIDE / 5].sum() / area.sum())
