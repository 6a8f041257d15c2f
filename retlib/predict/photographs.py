"""Read any picture file as a photograph: uint8 (H, W, 3), RGB, upright."""

from __future__ import annotations

import contextlib
import gzip
import io
import logging
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from retlib.data.readers import verify

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".jp2", ".jpx", ".jpf", ".j2k", ".j2c", ".jpc", ".avif", ".webp"),
    *(".png", ".apng", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".tga", ".pfm"),
    *(".ppm", ".pgm", ".pnm", ".ppm.gz", ".pgm.gz", ".pnm.gz"),
)
"""Endings of the files that are read from a folder; a file that is named itself may have any ending."""

MAX_PIXELS = 100_000_000
"""Greatest number of pixels that is read. `retlib predict` was measured to take 1.3 to 1.5 GB at 30 million."""

_DEPTHS = (8, 10, 12, 14, 16)
_STRAY = 0.001  # greatest share of values that are ignored when the number of bits is recognised
_OTHERS = {b"DICM": "DICOM", b"%PDF": "PDF", b"ftyphei": "HEIC", b"ftypmif1": "HEIC", b"ftypmsf1": "HEIC"}
_DRAWINGS = {"EPS", "WMF"}  # Pillow would start another program for these page descriptions
_BROKEN = (EOFError, IndexError, OSError, OverflowError, SyntaxError, TypeError, ValueError, struct.error, zlib.error)


class PhotographError(ValueError):
    """A file that cannot be read as a photograph; the message names it and the reason."""


def read_photograph(path: str | Path) -> np.ndarray:
    """Read a picture file of any format that Pillow or OpenCV supports.

    The picture is turned upright by its EXIF orientation, as viewers show it, so the array and the map predicted from
    it match the picture on the screen. Gray pictures get three equal channels, transparent pixels become black, CMYK
    and palettes become RGB. Of several pages or frames the first is read. Pictures of more than 8 bits are scaled by
    the smallest of 8, 10, 12, 14 and 16 bits that holds their values; a thousandth of them may lie above, and so may
    any number of the greatest value, as marks that a program has written in. Floating-point values are fractions if
    none exceeds 1, else gray levels up to 255.

    Args:
        path: the file; one that ends in ``.gz`` is unpacked.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        PhotographError: the file is missing, empty, truncated, no picture, or over `MAX_PIXELS`.
    """
    return read_with_doubts(path)[0]


def read_with_doubts(path: str | Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read a picture as `read_photograph` does, and say where its range of values had to be guessed."""
    path = Path(path)
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise PhotographError(f"{path}: cannot be read ({_reason(error)})") from None
    if not data:
        raise PhotographError(f"{path}: the file is empty")
    try:
        with _quiet():
            values, orientation = _decode(data)
        values, doubts = _to_bytes(values)
    except ValueError as error:
        raise PhotographError(f"{path}: {_reason(error)}") from None
    except _BROKEN as error:
        raise PhotographError(f"{path}: the file is truncated or damaged ({_reason(error)})") from None
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    values = values[:: -1 if orientation in (3, 4, 7, 8) else 1, :: -1 if orientation in (2, 3, 6, 7) else 1]
    return np.ascontiguousarray(values), doubts


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep libtiff, libpng and others from writing to standard error: what is wrong is said once, by us."""
    with open(os.devnull, "wb") as nowhere, contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # there is no standard error
            before = os.dup(2)
            stack.callback(os.close, before)
            stack.callback(os.dup2, before, 2)
            os.dup2(nowhere.fileno(), 2)
        yield


def _decode(data: bytes) -> tuple[np.ndarray, int]:
    """Decode a picture: numbers of any type, (H, W) or (H, W, 3), and its EXIF orientation, 1 where it is upright."""
    Image.init()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd tags and sizes; sizes are checked below
        try:
            picture = Image.open(io.BytesIO(data), formats=[name for name in Image.OPEN if name not in _DRAWINGS])
        except Image.UnidentifiedImageError:
            if data.startswith((b"\x89PNG", b"\xff\xd8")):
                raise ValueError("the file is truncated or damaged") from None
            if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
                return _by_tifffile(data)
            kind = next(
                (f" ({name}; export it as JPEG or PNG)" for mark, name in _OTHERS.items() if mark in data[:132]), ""
            )
            return _by_opencv(data, f"it is no picture in a format that Pillow or OpenCV reads{kind}"), 1
        except Image.DecompressionBombError:
            raise ValueError(_too_big()) from None
        with picture:
            _check_size(*picture.size)
            if picture.format == "TIFF" and max(picture.tag_v2.get(258, (1,))) > 8:  # 258: bits a sample
                return _by_tifffile(data)
            try:
                verify(data, picture.format)
                return _by_pillow(picture, data), picture.getexif().get(274, 1)
            except _BROKEN as error:
                raise ValueError(f"the file is truncated or damaged ({_reason(error)})") from None


def _by_pillow(picture: Image.Image, data: bytes) -> np.ndarray:
    # Pillow drops the lower 8 bits of 16-bit colours, which hold most of what a 12-bit camera records.
    deep = any(";16" in str(tile[3]) or "65535" in str(tile[3]) for tile in picture.tile)
    if deep or picture.format == "JPEG2000":
        values = _by_opencv(data, "its 16-bit colours cannot be decoded")
        if values.dtype != np.uint8:
            return values
    picture.load()
    if picture.mode in ("F", "I") or picture.mode.startswith("I;16"):
        return np.asarray(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, picture)
    return np.asarray(picture.convert("RGB"))


def _by_tifffile(data: bytes) -> tuple[np.ndarray, int]:
    """Decode a TIFF of more than 8 bits: samples of a pixel side by side or in planes, and the orientation."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it would write to stderr
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        _check_size(page.imagewidth, page.imagelength)
        planes = page.planarconfig == 2 and page.samplesperpixel > 1
        if page.photometric not in (0, 1, 2):
            raise ValueError(f"its colours are {page.photometric!r} with more than 8 bits; save it as RGB")
        try:
            values = page.asarray()
        except (RuntimeError, ImportError, ValueError) as error:  # a packing that tifffile cannot undo by itself
            if planes:
                raise ValueError(f"its colour planes cannot be decoded ({_reason(error)}); save it as RGB") from None
            return _by_opencv(data, "its samples cannot be decoded"), 1  # OpenCV turns a TIFF upright
        if planes:
            values = np.moveaxis(values, 0, -1)
        if page.photometric == 0:  # white is zero
            values = (1 if values.dtype.kind == "f" else 2**page.bitspersample - 1) - values
        orientation = page.tags.valueof(274, default=1)
        alpha = page.extrasamples and page.extrasamples[0] != 0
    if not values.size:
        raise ValueError("the file is truncated or damaged (it has no pixel)")
    if values.ndim == 3:
        colours = 3 if page.photometric == 2 else 1
        values = _without_alpha(values) if alpha else values[..., :colours]
        values = values if colours == 3 else values[..., 0]
    return values, orientation


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
        return _without_alpha(values[..., [2, 1, 0, 3]])
    return values[..., ::-1] if values.ndim == 3 else values


def _without_alpha(values: np.ndarray) -> np.ndarray:
    """Blacken what is transparent, by the last channel."""
    full = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    return (values[..., :-1] * (values[..., -1:] / np.float32(full))).astype(values.dtype)


def _to_bytes(values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Convert numbers of any type, (H, W) or (H, W, 3), to uint8 (H, W, 3), and say what was guessed."""
    doubts = ()
    if values.dtype.kind == "f":
        fractions = np.count_nonzero(values > 1) <= _STRAY * values.size
        if not np.isfinite(values).all() or (not fractions and (values.min() < 0 or values.max() > 255)):
            raise ValueError("its floating-point values are not all from 0 to 1, or from 0 to 255")
        if np.count_nonzero(values < 0) > _STRAY * values.size:
            raise ValueError("its floating-point values are not all from 0 to 1: some are negative")
        values = values * (255 if fractions else 1)
    elif values.dtype != np.uint8:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high.bit_length() > _DEPTHS[-1]:
            raise ValueError(f"its values run from {low} to {high}, expected 0 to {2**16 - 1}")
        # Marks that a program wrote in have the greatest value of 16 bits, whatever the range of the camera.
        marks = np.count_nonzero(values == high) if high == 2**16 - 1 else 0
        for depth in _DEPTHS:
            above = np.count_nonzero(values > 2**depth - 1)
            if above - marks <= _STRAY * values.size and above <= values.size // 2:
                break
        if above:
            doubts = (f"its range was taken to be {depth} bits, since only {above} values lie above",)
        values = values * np.float32(255 / (2**depth - 1))
    if values.dtype != np.uint8:
        values = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2), doubts


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"{_too_big()}; it has {width} x {height}")


def _too_big() -> str:
    return f"the picture is too large: at most {MAX_PIXELS / 1e6:.0f} million pixels are read"


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
