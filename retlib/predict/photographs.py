"""Read any picture file as a photograph: uint8 (H, W, 3), RGB, upright."""

from __future__ import annotations

import gzip
import io
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jp2", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp"),
    *(".ppm", ".pgm", ".pnm", ".ppm.gz", ".pgm.gz"),
)
"""Endings of the files that are read from a folder; a file that is named itself may have any ending."""

MAX_PIXELS = 100_000_000
"""Greatest number of pixels that is read; more would take over two gigabytes of memory."""

_DEPTHS = (8, 10, 12, 14, 16)
_DRAWINGS = {"EPS", "WMF"}  # Pillow would start another program for these page descriptions
_BROKEN = (EOFError, IndexError, OSError, OverflowError, SyntaxError, TypeError, ValueError, struct.error, zlib.error)


class PhotographError(ValueError):
    """A file that cannot be read as a photograph; the message names it and the reason."""


def read_photograph(path: str | Path) -> np.ndarray:
    """Read a picture file of any format that Pillow or OpenCV supports.

    The picture is turned upright by its EXIF orientation, as viewers show it, so the array and the map predicted from
    it match the picture on the screen. Gray pictures get three equal channels, transparent pixels become black, CMYK
    and palettes become RGB. Of several pages or frames the first is read. Pictures of more than 8 bits are scaled by
    the smallest of 8, 10, 12, 14 and 16 bits that holds their greatest value. Floating-point values are fractions if
    none exceeds 1, else gray levels up to 255.

    Args:
        path: the file; one that ends in ``.gz`` is unpacked.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        PhotographError: the file is missing, empty, truncated, no picture, or over `MAX_PIXELS`.
    """
    path = Path(path)
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise PhotographError(f"{path}: cannot be read ({_reason(error)})") from None
    if not data:
        raise PhotographError(f"{path}: the file is empty")
    try:
        values = _decode(data)
    except _BROKEN as error:
        raise PhotographError(f"{path}: {_reason(error)}") from None
    return np.ascontiguousarray(values)


def _decode(data: bytes) -> np.ndarray:
    Image.init()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd tags and sizes; sizes are checked below
        try:
            picture = Image.open(io.BytesIO(data), formats=[name for name in Image.OPEN if name not in _DRAWINGS])
        except Image.UnidentifiedImageError:
            return _by_opencv(data, "it is no picture in a format that Pillow or OpenCV reads")
        except Image.DecompressionBombError:
            raise ValueError(_too_big()) from None
        with picture:
            _check_size(*picture.size)
            if picture.mode == "RGB" and any(";16" in str(tile) for tile in picture.tile):
                # Pillow drops the lower 8 bits of 16-bit colours, which hold most of what a 12-bit camera records.
                return _by_opencv(data, "its 16-bit colours cannot be decoded")
            try:
                picture.load()
            except _BROKEN as error:
                raise ValueError(f"the file is truncated or damaged ({_reason(error)})") from None
            picture = ImageOps.exif_transpose(picture)
            if picture.mode in ("F", "I") or picture.mode.startswith("I;16"):
                return _to_bytes(np.asarray(picture))
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
                black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
                picture = Image.alpha_composite(black, picture)
            return np.array(picture.convert("RGB"))


def _by_opencv(data: bytes, otherwise: str) -> np.ndarray:
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it would write to stderr
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        values = None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if values is None:
        raise ValueError(otherwise)
    _check_size(values.shape[1], values.shape[0])
    if values.ndim == 3 and values.shape[2] == 4:
        full = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
        alpha = values[..., 3:] / np.float32(full)
        values = (values[..., :3] * alpha).astype(values.dtype)
    return _to_bytes(values[..., ::-1] if values.ndim == 3 else values)


def _to_bytes(values: np.ndarray) -> np.ndarray:
    """Convert numbers of any type, (H, W) or (H, W, 3), to uint8 (H, W, 3)."""
    if values.dtype.kind == "f":
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 255:
            raise ValueError("its floating-point values are not all from 0 to 1, or from 0 to 255")
        values = values * (255 if values.max() <= 1 else 1)
    elif values.dtype != np.uint8:
        bits = int(values.max()).bit_length()
        if values.min() < 0 or bits > _DEPTHS[-1]:
            raise ValueError(f"its values run from {values.min()} to {values.max()}, expected 0 to {2**16 - 1}")
        depth = next(depth for depth in _DEPTHS if depth >= bits)
        values = values * np.float32(255 / (2**depth - 1))
    values = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"{_too_big()}; it has {width} x {height}")


def _too_big() -> str:
    return f"the picture is too large: at most {MAX_PIXELS / 1e6:.0f} million pixels are read"


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
