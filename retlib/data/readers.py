"""Read files into arrays: every file is decoded by Pillow, and every mask is binarised the same way."""

from __future__ import annotations

import gzip
import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from retlib.data.collections import Collection, sample_files
from retlib.data.errors import DataError
from retlib.data.fov import estimate_fov
from retlib.data.sample import FundusSample

_DECODING_ERRORS = (OSError, EOFError, SyntaxError, ValueError, zlib.error, struct.error, Image.DecompressionBombError)


def read_image(path: Path) -> np.ndarray:
    """Read a photograph as uint8 (H, W, 3), RGB.

    Raises:
        DataError: The file is truncated or no image.
    """
    return np.array(_decode(path, "RGB"))


def read_mask(path: Path) -> np.ndarray:
    """Read a label or FOV mask as bool (H, W): True where the decoded grey level exceeds 127, or is 1 of 0 and 1.

    Grey levels and not stored values: the palette of DRIVE's second observer decodes to 3 and 253, HRF's masks are RGB,
    and three HRF labels have grey edge pixels.

    Raises:
        DataError: The file is truncated or no image.
    """
    return mask_of(np.asarray(_decode(path, "L")))


def mask_of(levels: np.ndarray) -> np.ndarray:
    """Convert the grey levels of a mask, uint8 (H, W), to bool: see `read_mask`."""
    return levels > (0 if levels.max() == 1 else 127)


def read_role(path: Path, role: str) -> np.ndarray:
    """Read a file by its role: the photograph for ``"image"``, else a mask."""
    return read_image(path) if role == "image" else read_mask(path)


def read_sample(collection: Collection, root: Path, name: str) -> FundusSample:
    """Read one sample; the FOV is the data set's own mask where there is one, else computed from the image.

    Raises:
        DataMissingError: A file is not there.
        DataError: A file is truncated, no image, has another size than the data set's, or is a mask without a pixel.
    """
    arrays = {}
    for role, path in sample_files(collection, root, name).items():
        arrays[role] = read_role(path, role)
        check_size(collection, path, arrays[role].shape)
        if role != "image" and not arrays[role].any():
            raise DataError(
                f"{path} marks no pixel: no grey level exceeds 127; expected levels of 0 and 255, or of 0 and 1."
                f" Put the original file back; `retlib data verify {collection.key}` checks all of them."
            )
    if "fov" not in arrays:
        arrays["fov"] = estimate_fov(arrays["image"])
    return FundusSample(name=name, **arrays)


def check_size(collection: Collection, path: Path, shape: tuple[int, ...]) -> None:
    """Compare the shape of a file's array with the size of its data set.

    Raises:
        DataError: The size differs.
    """
    height, width = shape[:2]
    if (height, width) != (collection.height, collection.width):
        raise DataError(
            f"{path} is {width} x {height} pixels (width x height), but every file of {collection.title} is"
            f" {collection.width} x {collection.height}: it was resized or belongs to another data set."
            f" Put the original file back; `retlib data verify {collection.key}` checks all of them."
        )


def _decode(path: Path, mode: str) -> Image.Image:
    """Decode a whole file, gzipped or not, into one of Pillow's modes."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd tags
            with Image.open(io.BytesIO(data)) as image:
                verify(data, image.format)
                return image.convert(mode)
    except _DECODING_ERRORS as error:
        reason = str(error) or type(error).__name__
    raise DataError(
        f"{path} cannot be read as an image: it is truncated or no {_format_of(path)} file ({reason})."
        " Put the original file back; `retlib data verify` checks all files."
    )


def verify(data: bytes, form: str | None) -> None:
    """Find damage that Pillow does not report when it decodes: it compares no checksum of a PNG's pixels.

    Args:
        data: the file's content.
        form: its format, as Pillow names it.

    Raises:
        SyntaxError: a checksum of a PNG differs.
        ValueError: a WebP ends in zeros, as after a power failure; the format has no checksum.
    """
    if form == "PNG":
        with Image.open(io.BytesIO(data)) as image:
            image.verify()
    if form == "WEBP" and data.endswith(bytes(16)):
        raise ValueError("its end is missing")


def _format_of(path: Path) -> str:
    return " ".join(suffix.lstrip(".").upper() for suffix in path.suffixes[-2:] if suffix.lower() not in {".ah", ".vk"})
