"""Readers: facts of the real data, and one clear error for every kind of bad file."""

from __future__ import annotations

import gzip
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retlib.data import DataError, DataMissingError, find_root, list_datasets, load_dataset
from retlib.data.collections import sample_files
from retlib.data.readers import read_image, read_mask, read_sample


def test_import_is_light():
    code = (
        "import sys, retlib, retlib.data, retlib.cli;"
        "heavy = {'torch', 'pandas', 'cv2', 'scipy', 'skimage', 'requests', 'pooch'} & set(sys.modules);"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_names():
    assert list_datasets() == ["drive", "stare", "chase_db1", "hrf", "phantom"]


# Facts of the real data


@pytest.mark.parametrize(
    "dataset, split, shape, observers",
    [
        ("drive", "training", (584, 565), 1),
        ("drive", "test", (584, 565), 2),
        ("stare", None, (605, 700), 2),
        ("chase_db1", "training", (960, 999), 2),
        ("hrf", "training", (2336, 3504), 1),
    ],
)
def test_sizes_and_observers(data_root: Path, dataset: str, split: str | None, shape: tuple, observers: int):
    opened = load_dataset(dataset, split, root=data_root)
    sample = opened[0]
    assert sample.name == opened.names[0]
    assert sample.image.shape == (*shape, 3)
    assert sample.vessels.shape == sample.fov.shape == shape
    assert (sample.second_observer is not None) == (observers == 2)
    assert 0.03 < sample.vessels.mean() < 0.15
    assert 0.6 < sample.fov.mean() < 0.9


def test_second_observer_of_drive(data_root: Path):
    """The human figures that are published for DRIVE, as means over the test images inside the FOV."""
    rows = []
    for sample in load_dataset("drive", "test", root=data_root):
        truth, other = sample.vessels[sample.fov], sample.second_observer[sample.fov]
        both, neither = (truth & other).sum(), (~truth & ~other).sum()
        rows.append(
            (
                2 * both / (truth.sum() + other.sum()),
                both / truth.sum(),
                neither / (~truth).sum(),
                (both + neither) / truth.size,
            )
        )
    assert len(rows) == 20
    np.testing.assert_allclose(np.mean(rows, axis=0), [0.7881, 0.7760, 0.9725, 0.9473], atol=5e-5)


def test_vessel_share_of_drive(data_root: Path):
    samples = list(load_dataset("drive", "test", root=data_root))
    inside = sum(int((s.vessels & s.fov).sum()) for s in samples) / sum(int(s.fov.sum()) for s in samples)
    whole = np.mean([s.vessels.mean() for s in samples])
    assert inside == pytest.approx(0.1273, abs=5e-5)
    assert whole == pytest.approx(0.0876, abs=5e-5)


def test_second_observer_of_stare(data_root: Path):
    """STARE's second observer marks far more: published sensitivity 0.8952, specificity 0.9384."""
    rows = []
    for sample in load_dataset("stare", root=data_root):
        truth, other = sample.vessels[sample.fov], sample.second_observer[sample.fov]
        rows.append(((truth & other).sum() / truth.sum(), (~truth & ~other).sum() / (~truth).sum()))
    assert np.mean(rows, axis=0) == pytest.approx([0.8952, 0.9384], abs=1e-3)


def test_grey_edges_of_hrf(data_root: Path):
    path = data_root / "HRF/manual1/12_h.tif"
    grey = np.asarray(Image.open(path))
    assert len(np.unique(grey)) > 2
    np.testing.assert_array_equal(read_mask(path), grey > 127)
    assert read_mask(data_root / "HRF/mask/12_h_mask.tif").mean() == pytest.approx(0.8445, abs=1e-3)


def test_unzipped_stare(data_root: Path, tmp_path: Path):
    """Plain files read as gzipped ones do."""
    for path in (data_root / "STARE").rglob("im0001.*"):
        place = tmp_path / path.relative_to(data_root)
        place.parent.mkdir(parents=True)
        place = place.with_suffix("") if place.suffix == ".gz" else place
        place.write_bytes(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
    from retlib.data.collections import STARE

    plain, zipped = read_sample(STARE, tmp_path, "im0001"), read_sample(STARE, data_root, "im0001")
    for role in ("image", "vessels", "fov", "second_observer"):
        np.testing.assert_array_equal(getattr(plain, role), getattr(zipped, role))


def test_dataset_is_a_lazy_sequence(data_root: Path, monkeypatch):
    from retlib.data import readers

    decoded = []
    decode = readers._decode
    monkeypatch.setattr(readers, "_decode", lambda path, mode: decoded.append(path) or decode(path, mode))
    opened = load_dataset("drive", "test", root=data_root)
    assert (opened.name, opened.split, len(opened)) == ("drive", "test", 20)
    few = opened[3:6]
    assert len(few) == 3 and not decoded
    assert [sample.name for sample in few] == ["04_test", "05_test", "06_test"]
    assert len(decoded) == 12  # image, label, FOV and second observer of each
    assert opened[-1].name == "20_test"
    with pytest.raises(IndexError):
        opened[20]
    again = pickle.loads(pickle.dumps(opened))
    np.testing.assert_array_equal(again[0].image, opened[0].image)


def test_stare_without_a_split_is_all_of_it(data_root: Path):
    assert load_dataset("stare", root=data_root).split == "all"


def test_phantoms_are_a_dataset():
    from retlib.data.phantoms import make_phantom

    opened = load_dataset("phantom", "test", count=3, height=64, width=80, lesions=True)
    assert opened.names == ("phantom-100000", "phantom-100001", "phantom-100002")
    expected = make_phantom(100_001, height=64, width=80, lesions=True)
    assert opened[1].name == expected.name == "phantom-100001"
    for role in ("image", "vessels", "fov"):
        np.testing.assert_array_equal(getattr(opened[1], role), getattr(expected, role))


# The data root


def test_root_is_argument_then_variable(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("RETLIB_DATA", str(tmp_path))
    assert find_root() == tmp_path
    assert find_root("elsewhere") == Path("elsewhere")
    monkeypatch.setenv("RETLIB_DATA", "")
    assert find_root() is None
    monkeypatch.delenv("RETLIB_DATA")
    assert find_root() is None


def test_no_root_says_what_to_set(monkeypatch):
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"set RETLIB_DATA to the folder that holds DRIVE/"):
        load_dataset("drive", "test")


def test_missing_folder_says_where_to_register(tmp_path: Path):
    with pytest.raises(DataMissingError) as caught:
        load_dataset("drive", "test", root=tmp_path)
    message = str(caught.value)
    assert str(tmp_path / "DRIVE") in message
    assert "https://drive.grand-challenge.org/" in message
    assert "retlib data status" in message


def test_missing_label_shows_on_opening(mirror, capfd):
    root = mirror("DRIVE")
    label = root / "DRIVE/test/1st_manual/07_manual1.gif"
    label.unlink()
    with pytest.raises(DataMissingError, match=r"vessel label of 07_test: expected .*07_manual1\.gif"):
        load_dataset("drive", "test", root=root)
    assert len(load_dataset("drive", "training", root=root)) == 20


# Bad files, on a tiny data set


def read_tiny(tiny, root: Path):
    return read_sample(tiny, root, "Image_01L")


def test_tiny_sample_reads(tiny, tiny_root: Path):
    sample = read_tiny(tiny, tiny_root)
    assert sample.image.shape == (48, 60, 3)
    assert sample.second_observer.sum() < sample.vessels.sum()
    rows, columns = np.mgrid[:48, :60]
    disc = (rows - 24) ** 2 + (columns - 30) ** 2 < 20**2
    assert (sample.fov & disc).sum() / (sample.fov | disc).sum() > 0.93  # a pixel more all round is 10 %


def test_files_are_paired_by_name(tiny, tiny_root: Path):
    """A stray file that sorts first must not shift images against labels."""
    folder = tiny_root / tiny.folder
    shutil.copy(folder / "Image_01L_1stHO.png", folder / "Image_00L_1stHO.png")
    expected = read_mask(folder / "Image_01R_1stHO.png")
    np.testing.assert_array_equal(read_sample(tiny, tiny_root, "Image_01R").vessels, expected)


def test_missing_label(tiny, tiny_root: Path):
    (tiny_root / tiny.folder / "Image_01L_1stHO.png").unlink()
    with pytest.raises(DataMissingError, match=r"vessel label of Image_01L: expected .*Image_01L_1stHO\.png"):
        read_tiny(tiny, tiny_root)


@pytest.mark.parametrize("file", ["Image_01L.jpg", "Image_01L_1stHO.png", "Image_01L_2ndHO.png"])
def test_wrong_size(tiny, tiny_root: Path, file: str):
    path = tiny_root / tiny.folder / file
    with Image.open(path) as image:
        smaller = image.resize((30, 24))
    smaller.save(path)
    with pytest.raises(DataError, match=rf"{file} is 30 x 24 pixels .* is 60 x 48: .*retlib data verify"):
        read_tiny(tiny, tiny_root)


@pytest.mark.parametrize("content", [b"", b"<html>404 not found</html>", b"\x89PNG\r\n\x1a\n"])
def test_no_image(tiny, tiny_root: Path, content: bytes):
    path = tiny_root / tiny.folder / "Image_01L_1stHO.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"Image_01L_1stHO\.png cannot be read as an image: .*PNG") as caught:
        read_tiny(tiny, tiny_root)
    assert caught.value.__cause__ is None and caught.value.__context__ is None  # one message, nothing chained


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow notes on broken TIFF metadata
@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "ppm", "ppm.gz", "tif"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "packbits"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_truncated_file(tmp_path: Path, suffix: str, compression: str | None, kept: float):
    pixels = np.random.default_rng(0).integers(0, 256, (80, 100), dtype=np.uint8)
    path = tmp_path / f"eye.{suffix}"
    plain = tmp_path / f"whole.{suffix.removesuffix('.gz')}"
    if compression and suffix != "tif":
        return  # only TIFF has several compressions
    Image.fromarray(pixels).save(plain, **({"compression": compression} if compression else {}))
    content = gzip.compress(plain.read_bytes()) if suffix.endswith("gz") else plain.read_bytes()
    path.write_bytes(content)
    assert read_image(path).shape == (80, 100, 3)
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=rf"{path.name} cannot be read as an image: it is truncated"):
        read_image(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "file",
    ["DRIVE/test/images/01_test.tif", "DRIVE/test/2nd_manual/01_manual2.gif", "HRF/manual1/01_dr.tif"],
)
def test_truncated_real_file(data_root: Path, tmp_path: Path, file: str):
    content = (data_root / file).read_bytes()
    path = tmp_path / Path(file).name
    path.write_bytes(content[: int(0.97 * len(content))])
    with pytest.raises(DataError, match="truncated"):
        read_mask(path)


def test_labels_of_0_and_1_are_read_and_empty_ones_refused(tiny, tiny_root: Path):
    files = sample_files(tiny, tiny_root, tiny.names[0])
    mask = read_mask(files["vessels"])
    files["vessels"].unlink()
    path = files["vessels"].with_suffix(".png")
    Image.fromarray(mask.astype(np.uint8)).save(path)
    path.rename(files["vessels"])
    assert (read_sample(tiny, tiny_root, tiny.names[0]).vessels == mask).all()
    Image.fromarray(np.zeros_like(mask, np.uint8)).save(path)
    path.rename(files["vessels"])
    with pytest.raises(DataError, match="marks no pixel"):
        read_sample(tiny, tiny_root, tiny.names[0])
