"""The computed FOV against masks made by others."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from retlib.data import estimate_fov, load_dataset
from retlib.data.collections import DRIVE, HRF, sample_files
from retlib.data.readers import read_image, read_mask, read_sample


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


def third_party_masks(data_root: Path, dataset: str) -> Iterator[tuple[str, np.ndarray]]:
    """Masks made by others for the data sets that ship none; STARE's are numbered 1 to 20 in sorted order."""
    folder = data_root / "third_party_fov"
    if not folder.is_dir():
        pytest.skip(f"no masks to compare with in {folder}")
    if dataset == "stare":
        with (folder / "STARE/MAPPING.csv").open(newline="") as rows:
            for row in csv.DictReader(rows):
                yield row["stare_image"].removesuffix(".ppm"), read_mask(folder / "STARE" / row["mask_file"])
    else:
        for path in sorted((folder / "CHASE_DB1").glob("*.gif")):
            yield path.stem, read_mask(path)


@pytest.mark.parametrize("dataset, count, outside", [("stare", 20, 20), ("chase_db1", 28, 400)])
def test_agrees_with_third_party_masks(data_root: Path, dataset: str, count: int, outside: int):
    masks = dict(third_party_masks(data_root, dataset))
    samples = load_dataset(dataset, "all", root=data_root)
    scores = {}
    for sample in samples:
        scores[sample.name] = iou(sample.fov, masks[sample.name])
        assert (sample.vessels & ~sample.fov).sum() <= outside, f"{sample.name}: vessels outside the FOV"
    values = list(scores.values())
    assert len(values) == count
    assert np.mean(values) >= 0.98
    assert min(values) >= 0.97, min(scores, key=scores.get)


def test_agrees_with_official_masks(data_root: Path):
    """DRIVE's and HRF's own masks, which the method never saw."""
    scores = []
    for collection, names in ((DRIVE, DRIVE.names[::4]), (HRF, ("08_g",))):
        for name in names:
            files = sample_files(collection, data_root, name)
            scores.append(iou(estimate_fov(read_image(files["image"])), read_mask(files["fov"])))
    assert np.mean(scores) >= 0.985
    assert min(scores) >= 0.97


def test_official_mask_is_used_where_there_is_one(data_root: Path):
    sample = read_sample(DRIVE, data_root, "01_test")
    np.testing.assert_array_equal(sample.fov, read_mask(data_root / "DRIVE/test/mask/01_test_mask.gif"))


@pytest.mark.parametrize("gain", [0.35, 1.0])
def test_exposure_matters_little(data_root: Path, gain: float):
    sample = read_sample(DRIVE, data_root, "19_test")
    assert iou(estimate_fov((sample.image * gain).astype(np.uint8)), sample.fov) >= 0.98


def test_no_surround_means_everything(data_root: Path):
    image = read_sample(DRIVE, data_root, "19_test").image
    assert estimate_fov(np.ascontiguousarray(image[150:430, 140:420])).all()


def photograph(height: int = 300, width: int = 320, radius: float = 130, surround: float = 6) -> tuple:
    """A disc, darker towards its right edge, on a noisy surround."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:height, :width]
    disc = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < radius**2
    light = np.where(disc, 160 - 130 * columns / width, surround)
    image = light[..., None] * np.array([1.0, 0.5, 0.25]) + rng.normal(0, 2, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8), disc


@pytest.mark.parametrize("surround", [0, 6, 14])
def test_uneven_light(surround: float):
    image, disc = photograph(surround=surround)
    assert iou(estimate_fov(image), disc) >= 0.98


def test_clipped_disc_and_text():
    image, disc = photograph(height=220)
    image[4:12, 4:50] = 230  # a caption in the corner
    assert iou(estimate_fov(image), disc) >= 0.97


def test_lesion_and_vessel_at_the_edge_leave_no_hole():
    image, disc = photograph()
    image[140:180, 140:180] = 0
    image[20:60, 155:162] = 0
    fov = estimate_fov(image)
    assert iou(fov, disc) >= 0.98
    labels, count = ndimage.label(~fov)
    assert all((labels == index)[[0, -1]].any() or (labels == index)[:, [0, -1]].any() for index in range(1, count + 1))


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (5, 5), (100, 120)])
@pytest.mark.parametrize("value", [0, 255])
def test_featureless_photograph(shape: tuple[int, int], value: int):
    assert estimate_fov(np.full((*shape, 3), value, np.uint8)).all()


@pytest.mark.parametrize("image", [np.zeros((9, 9)), np.zeros((9, 9, 3)), np.zeros((9, 9, 1), np.uint8), "eye"])
def test_bad_input(image: object):
    with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\), got"):
        estimate_fov(image)
