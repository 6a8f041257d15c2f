"""What is written: pictures that say who made them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

_MAKER = "retlib predict"
_COLOUR = np.array([0, 200, 255], np.float32)  # far from every colour of a retina, and told apart by colour-blind eyes
_STRENGTH = 0.65  # of the colour against the photograph


def vessel_png(vessels: np.ndarray) -> bytes:
    """A bool (H, W) map as an 8-bit gray PNG of 0 and 255."""
    return _png(vessels.astype(np.uint8) * np.uint8(255))


def probability_png(probabilities: np.ndarray) -> bytes:
    """Probabilities (H, W) as a 16-bit gray PNG: 65535 times the probability, rounded."""
    return _png(np.rint(probabilities * np.float32(65535)).astype(np.uint16))


def overlay_png(image: np.ndarray, vessels: np.ndarray) -> bytes:
    """The photograph, uint8 (H, W, 3), with its vessels, bool (H, W), tinted bright blue, as a PNG."""
    tinted = image.copy()
    tinted[vessels] = np.rint(_STRENGTH * _COLOUR + (1 - _STRENGTH) * image[vessels])
    return _png(tinted)


def is_ours(path: Path) -> bool:
    """Whether a file is a picture that `retlib predict` wrote."""
    if path.suffix.lower() != ".png":
        return False
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            return picture.info.get("Software") == _MAKER
    except (OSError, SyntaxError, ValueError):
        return False


def _png(values: np.ndarray) -> bytes:
    note = PngImagePlugin.PngInfo()
    note.add_text("Software", _MAKER)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG", pnginfo=note, compress_level=4)
    return buffer.getvalue()
