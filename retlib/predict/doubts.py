"""Say why the vessel map of a photograph may be wrong: dark, overexposed, blurred, noisy, cut, marked, off scale.

The limits were chosen on training images of DRIVE, STARE, CHASE_DB1 and HRF, three a set, and on degraded copies of
them. With the network that comes with retlib, mean Dice is 0.805 as they are (their FOV 700 pixels wide), and

==============================================  =====  ====================================
degraded copy                                   Dice   measure, here / in the images as they are
==============================================  =====  ====================================
light times 0.3                                 0.803  ``light`` 39 to 69 / 115 or more
light times 0.12                                0.755  ``light`` 15 to 28
light times 1.4                                 0.802  ``glare`` up to 0.042 / up to 0.006
light times 1.8                                 0.787  ``glare`` 0.001 to 0.47
light times 2.6                                 0.605  ``glare`` 0.009 to 0.97
blurred by 2 of 700 pixels                      0.712  ``detail`` 0.26 to 0.33 / 0.40 to 0.56
blurred by 4 of 700 pixels                      0.579  ``detail`` 0.17 to 0.20
noise of 20 gray levels                         0.401  ``detail`` 0.84 or more
231 pixels wide                                 0.763  ``diameter``
149 pixels wide                                 0.697  ``diameter``
left half, lower half                           0.798  ``roundness`` 0.41 to 0.80 / 0.83 or more
a quarter                                       0.735  ``on_frame`` 0.45 to 0.67 / 0.41 or less
the middle half, a quarter of the area          0.742  ``on_frame`` 1
==============================================  =====  ====================================

None of the training images that were looked at has a doubt: DRIVE 20, STARE 20, CHASE_DB1 20, HRF 5. Their ``marks``
reach 0.0002, and 0.0004 as green alone; eight letters of one pixel's stroke come from 0.0001 to 0.0016.

``glare`` was tried on these images after its limit had been set: overexposed copies lose 0.01 of Dice on average where
it is 0.03 to 0.05, 0.03 where it is 0.05 to 0.1, 0.09 where it is 0.1 to 0.2, and 0.15 where it is 0.2 to 0.4.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from retlib.predict.fov import scale_fov

_SIDE = 640  # pixels to which the longer side of the FOV is scaled
_BORDER = 12  # pixels at the border of the FOV that are left out
_STROKE = 15  # pixels, above the width of a letter's stroke
_CONTRAST, _WHITE, _BLACK = 90, 200, 25  # gray levels: of marks against the retina, least of white, greatest of black

LIMITS = {
    "light": (30, math.inf, "it is dark"),
    "glare": (-math.inf, 0.05, "it is overexposed"),
    "detail": (0.33, 0.75, "it is blurred or enlarged", "it is noisy"),
    "marks": (-math.inf, 0.0005, "text or marks lie on the retina"),
    "diameter": (200, math.inf, "its field of view is only {:.0f} pixels wide"),
    "roundness": (0.75, math.inf, "its field of view is not round: a part is cut off, or it is stretched"),
    "on_frame": (-math.inf, 0.44, "the border of the field of view is cut off, so the scale is a guess (see --scale)"),
    "vessel_share": (0.03, 0.25, "few vessels were found ({:.1%})", "improbably many vessels were found ({:.1%})"),
}
"""Measure (see `measure_quality`) -> least and greatest value without a doubt, the doubt below, the doubt above."""


def measure_quality(image: np.ndarray, fov: np.ndarray) -> dict[str, float]:
    """Measure what decides whether a vessel map can be trusted.

    Args:
        image: uint8 (H, W, 3), RGB.
        fov: bool (H, W) with at least one pixel inside.

    Returns:
        ``light``: median of the brightest channel, 0 to 255. ``glare``: share of pixels with saturated green.
        ``detail``: contrast of the finest structures over that of vessels, from the logarithm of green with the FOV
        scaled to 640 pixels. ``marks``: share of pixels on thin strokes of white or black. ``diameter``: longer side of
        the FOV in pixels. ``roundness``: area of the FOV over that of a disc of this diameter. ``on_frame``: share of
        the FOV's outline on the frame of the picture.
    """
    picture, mask, inner = scale_fov(image, fov, _SIDE, _BORDER)
    log = np.log(picture[..., 1].astype(np.float32) + 8)
    one, two, six = (cv2.GaussianBlur(log, (0, 0), sigma) for sigma in (1, 2, 6))
    brightest, darkest = picture.max(axis=2), picture.min(axis=2)
    stroke = np.ones((_STROKE, _STROKE), np.uint8)
    white = (darkest >= _WHITE) & (cv2.morphologyEx(darkest, cv2.MORPH_TOPHAT, stroke) >= _CONTRAST)
    black = (brightest <= _BLACK) & (cv2.morphologyEx(brightest, cv2.MORPH_BLACKHAT, stroke) >= _CONTRAST)
    padded = np.pad(mask.astype(np.uint8), 1)
    outline = mask & (cv2.erode(padded, np.ones((3, 3)))[1:-1, 1:-1] == 0)
    left, top, width, height = cv2.boundingRect(fov.astype(np.uint8))
    frame = np.zeros_like(outline)
    frame[0], frame[-1] = top == 0, top + height == fov.shape[0]
    frame[1:-1, 0], frame[1:-1, -1] = left == 0, left + width == fov.shape[1]
    return {
        "light": float(np.median(brightest[mask])),
        "glare": float((picture[..., 1][mask] >= 250).mean()),
        "detail": float((one - two)[inner].std() / max((two - six)[inner].std(), 1e-6)),
        "marks": float((white | black)[inner].mean()),
        "diameter": float(max(height, width)),
        "roundness": float(mask.sum() / (np.pi / 4 * max(mask.shape) ** 2)),
        "on_frame": float((outline & frame).sum() / outline.sum()),
    }


def find_doubts(measures: dict[str, float]) -> tuple[str, ...]:
    """Word the doubts about measures that lie outside `LIMITS`."""
    doubts = []
    for name, value in measures.items():
        least, most, *words = LIMITS[name]
        if not least <= value <= most:
            doubts.append(words[-1 if value > most else 0].format(value))
    return tuple(doubts)
