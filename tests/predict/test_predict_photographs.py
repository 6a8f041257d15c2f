"""Picture files of every kind as photographs."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from retlib.predict import PhotographError, photographs, read_photograph


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "ppm", "webp", "jp2"])
def test_lossless_formats(photograph: np.ndarray, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"Eye 1.{suffix}"
    Image.fromarray(photograph).save(path, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(read_photograph(path), photograph)


@pytest.mark.parametrize("suffix", ["jpg", "gif"])
def test_lossy_formats(photograph: np.ndarray, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"eye.{suffix}"
    Image.fromarray(photograph).save(path)
    assert np.abs(read_photograph(path).astype(int) - photograph).mean() < 6


def test_gzipped(photograph: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(photograph).save(tmp_path / "eye.ppm")
    (tmp_path / "eye.ppm.gz").write_bytes(gzip.compress((tmp_path / "eye.ppm").read_bytes()))
    np.testing.assert_array_equal(read_photograph(tmp_path / "eye.ppm.gz"), photograph)


def test_a_format_that_only_opencv_reads(photograph: np.ndarray, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "eye.pfm"), photograph[..., ::-1].astype(np.float32) / 255)
    np.testing.assert_array_equal(read_photograph(tmp_path / "eye.pfm"), photograph)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_more_than_eight_bits(photograph: np.ndarray, tmp_path: Path, suffix: str, bits: int) -> None:
    """A 12-bit camera's picture in a 16-bit file is not black, and colours stay where they are."""
    picture = photograph.copy()
    picture[0, 0] = 255
    deep = np.rint(picture * ((2**bits - 1) / 255)).astype(np.uint16)
    for values in (deep, deep[..., 1]):
        path = tmp_path / f"eye.{suffix}"
        cv2.imwrite(str(path), values[..., ::-1] if values.ndim == 3 else values)
        expected = picture if values.ndim == 3 else np.repeat(picture[..., 1:2], 3, axis=2)
        np.testing.assert_array_equal(read_photograph(path), expected)


@pytest.mark.parametrize("scale", [1, 255])
def test_floating_point(photograph: np.ndarray, tmp_path: Path, scale: int) -> None:
    Image.fromarray(photograph[..., 1].astype(np.float32) * np.float32(scale / 255)).save(tmp_path / "eye.tif")
    np.testing.assert_array_equal(read_photograph(tmp_path / "eye.tif")[..., 0], photograph[..., 1])


def test_gray_palette_and_cmyk(photograph: np.ndarray, tmp_path: Path) -> None:
    picture = Image.fromarray(photograph)
    picture.convert("L").save(tmp_path / "gray.png")
    gray = read_photograph(tmp_path / "gray.png")
    assert gray.shape == photograph.shape and (gray[..., 0] == gray[..., 2]).all()
    for mode, suffix in (("P", "png"), ("CMYK", "jpg"), ("1", "tif")):
        picture.convert(mode).save(tmp_path / f"{mode}.{suffix}")
        assert read_photograph(tmp_path / f"{mode}.{suffix}").shape == photograph.shape


@pytest.mark.parametrize("bits", [8, 16])
def test_what_is_transparent_is_black(photograph: np.ndarray, tmp_path: Path, bits: int) -> None:
    alpha = np.full((*photograph.shape[:2], 1), 255, np.uint8)
    alpha[:40] = 0
    four = np.concatenate([photograph, alpha], axis=2)
    if bits == 8:
        Image.fromarray(four).save(tmp_path / "eye.png")
    else:
        cv2.imwrite(str(tmp_path / "eye.png"), four[..., [2, 1, 0, 3]].astype(np.uint16) * 257)
    read = read_photograph(tmp_path / "eye.png")
    assert not read[:40].any()
    np.testing.assert_array_equal(read[40:], photograph[40:])


def test_pictures_are_turned_upright(photograph: np.ndarray, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: a viewer shows it turned by 90 degrees clockwise
    Image.fromarray(photograph).save(tmp_path / "eye.png", exif=exif)
    np.testing.assert_array_equal(read_photograph(tmp_path / "eye.png"), np.rot90(photograph, -1))


def test_the_first_page(photograph: np.ndarray, tmp_path: Path) -> None:
    pages = [Image.fromarray(photograph), Image.fromarray(255 - photograph)]
    pages[0].save(tmp_path / "eye.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read_photograph(tmp_path / "eye.tif"), photograph)


def cut(path: Path, share: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "ppm", "ppm.gz", "gif", "bmp"])
def test_a_truncated_file_is_refused(photograph: np.ndarray, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"eye.{suffix}"
    Image.fromarray(photograph).save(tmp_path / f"eye.{suffix.removesuffix('.gz')}")
    if suffix.endswith("gz"):
        path.write_bytes(gzip.compress((tmp_path / "eye.ppm").read_bytes()))
    cut(path)
    with pytest.raises(PhotographError, match=rf"eye\.{suffix}: "):
        read_photograph(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"no picture at all", "no picture"), (b"%PDF-1.7 ...", "no picture"), (b"\x89PNG\r\n\x1a\n", "")],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "eye.png"
    path.write_bytes(content)
    with pytest.raises(PhotographError, match=rf"eye\.png: .*{reason}"):
        read_photograph(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(PhotographError, match=r"cannot be read \("):
            read_photograph(path)


def test_values_that_are_no_light(tmp_path: Path) -> None:
    for values in (np.full((9, 9), np.nan), np.full((9, 9), 300.0), np.full((9, 9), -1.0)):
        Image.fromarray(values.astype(np.float32)).save(tmp_path / "eye.tif")
        with pytest.raises(PhotographError, match="floating-point values"):
            read_photograph(tmp_path / "eye.tif")


def test_a_picture_that_is_too_large(photograph: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(photograph).save(tmp_path / "eye.png")
    monkeypatch.setattr(photographs, "MAX_PIXELS", photograph.shape[0] * photograph.shape[1] - 1)
    with pytest.raises(PhotographError, match=r"too large.*282 x 292"):
        read_photograph(tmp_path / "eye.png")


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
@pytest.mark.parametrize("orientation", [1, 6])
def test_planes_apart_and_turned(photograph: np.ndarray, tmp_path: Path, kind: type, orientation: int) -> None:
    deep = photograph.astype(kind) * 257 if kind is np.uint16 else photograph.astype(kind) / 255
    tags = [(274, "H", 1, orientation, True)]
    options = {"photometric": "rgb", "planarconfig": "separate", "extratags": tags}
    tifffile.imwrite(tmp_path / "eye.tif", deep.transpose(2, 0, 1), **options)
    expected = photograph if orientation == 1 else np.rot90(photograph, -1)
    np.testing.assert_array_equal(read_photograph(tmp_path / "eye.tif"), expected)


def test_a_deep_png_is_turned_upright(photograph: np.ndarray, tmp_path: Path) -> None:
    png = cv2.imencode(".png", photograph[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
    body = b"eXIf" + b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "eye.png").write_bytes(png[:33] + chunk + png[33:])
    np.testing.assert_array_equal(read_photograph(tmp_path / "eye.png"), np.rot90(photograph, -1))


def test_twelve_bits_with_a_stray_pixel_or_in_jpeg_2000(photograph: np.ndarray, tmp_path: Path) -> None:
    deep = photograph.astype(np.uint16) * 16
    cv2.imwrite(str(tmp_path / "eye.jp2"), deep[..., ::-1])
    assert np.abs(read_photograph(tmp_path / "eye.jp2").astype(int) - photograph).mean() < 4
    deep[5, 5] = 65535
    tifffile.imwrite(tmp_path / "eye.tif", deep, photometric="rgb")
    image, doubts = photographs.read_with_doubts(tmp_path / "eye.tif")
    image[5, 5] = photograph[5, 5]
    assert np.abs(image.astype(int) - photograph).max() <= 1 and "12 bits" in doubts[0]
