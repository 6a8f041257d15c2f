"""The field of view and the rule for fundus photographs, on real photographs and on everything else."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from retlib.data.collections import sample_files
from retlib.data.phantoms import make_phantom
from retlib.data.readers import read_image, read_mask
from retlib.data.registry import COLLECTIONS
from retlib.predict import check_fundus, find_doubts, find_fov, measure_quality
from retlib.predict.fov import eyes_side_by_side, searched_region
from retlib.predict.fundus_check import RULE


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


def reasons(image: np.ndarray) -> tuple[str, ...]:
    return check_fundus(image, find_fov(image)).reasons


# --- real photographs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dataset", "every"), [("drive", 2), ("stare", 4), ("chase_db1", 7), ("hrf", 5)])
def test_real_photographs_pass_and_their_fov_is_found(data_root: Path, dataset: str, every: int) -> None:
    collection = COLLECTIONS[dataset]
    scores, refused = {}, {}
    for name in collection.names[::every]:
        files = sample_files(collection, data_root, name)
        if dataset == "hrf":  # reduced while it is decoded, so that all of them take seconds
            image = np.ascontiguousarray(cv2.imread(str(files["image"]), cv2.IMREAD_REDUCED_COLOR_4)[..., ::-1])
        else:
            image = read_image(files["image"])
        fov = find_fov(image)
        if "fov" in files:
            mask = read_mask(files["fov"])
            scores[name] = iou(fov, mask[2::4, 2::4] if dataset == "hrf" else mask)
        if check := check_fundus(image, fov).reasons:
            refused[name] = check
    assert not refused
    if scores:
        assert len(scores) == len(collection.names[::every])
        assert np.mean(list(scores.values())) > 0.99
        assert min(scores.values()) > 0.98, min(scores, key=scores.get)


def test_a_photograph_from_another_source() -> None:
    data = pytest.importorskip("skimage.data")
    assert not reasons(data.retina())


def test_poor_photographs_pass(data_root: Path) -> None:
    image = read_image(sample_files(COLLECTIONS["drive"], data_root, "34_training")["image"])
    poor = {
        "dark": (image * 0.3).astype(np.uint8),
        "gray": np.repeat(image[..., 1:2], 3, axis=2),
        "blurred": cv2.GaussianBlur(image, (0, 0), 2.5),
        "noisy": np.clip(image + np.random.default_rng(0).normal(0, 12, image.shape), 0, 255).astype(np.uint8),
        "coarse": cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], cv2.IMREAD_COLOR),
        "small": cv2.resize(image, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA),
        "without a rim": np.ascontiguousarray(image[150:430, 140:420]),
        "turned": np.ascontiguousarray(np.rot90(image)),
    }
    assert {key: found for key, picture in poor.items() if (found := reasons(picture))} == {}
    wrong = {"channels in reverse": image[..., ::-1], "negative": 255 - image}
    assert all(reasons(np.ascontiguousarray(picture)) for picture in wrong.values())


# --- everything else ---------------------------------------------------------------------------------------------


def page() -> np.ndarray:
    picture = np.full((640, 500, 3), 250, np.uint8)
    for line in range(24):
        text = "The quick brown fox jumps over the lazy dog"[line % 7 :]
        cv2.putText(picture, text, (20, 40 + 24 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (20, 20, 20), 1, cv2.LINE_AA)
    return picture


def plot() -> np.ndarray:
    picture = np.full((400, 600, 3), 255, np.uint8)
    for x in range(30, 600, 70):
        cv2.line(picture, (x, 20), (x, 380), (200, 200, 200), 1)
    curve = np.stack([np.arange(30, 590), 200 + 150 * np.sin(np.arange(560) / 40)], axis=-1).astype(np.int32)
    cv2.polylines(picture, [curve], False, (200, 30, 30), 2)
    return picture


def orange() -> np.ndarray:
    """A disc with the colours of a retina, uneven light and noise, but without a vessel."""
    y, x = np.mgrid[:480, :512] / 480
    light = (
        np.stack([200 - 60 * x, 100 - 30 * x, 40 - 10 * x], axis=-1)
        * ((y - 0.5) ** 2 + (x - 0.53) ** 2 < 0.23)[..., None]
    )
    return np.clip(light + np.random.default_rng(0).normal(0, 3, light.shape), 0, 255).astype(np.uint8)


MADE = {
    "black": np.zeros((300, 400, 3), np.uint8),
    "white": np.full((300, 400, 3), 255, np.uint8),
    "noise": np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8),
    "gradient": np.repeat(np.tile(np.arange(256, dtype=np.uint8), (300, 2))[..., None], 3, axis=2),
    "page": page(),
    "plot": plot(),
    "orange": orange(),
}
PHOTOGRAPHS = [
    *("astronaut", "coffee", "chelsea", "rocket", "camera", "page", "text", "brick", "coins", "moon", "clock"),
    *("immunohistochemistry", "hubble_deep_field", "horse", "microaneurysms"),
]


@pytest.mark.parametrize("name", MADE)
def test_drawn_pictures_are_refused(name: str) -> None:
    assert reasons(MADE[name])


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_other_photographs_are_refused(name: str) -> None:
    image = getattr(pytest.importorskip("skimage.data"), name)()
    image = image.astype(np.uint8) * 255 if image.dtype == bool else image
    image = np.ascontiguousarray(image[..., :3] if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2))
    assert reasons(image)
    height, width = image.shape[:2]
    if min(height, width) > 256:  # the camera's round aperture alone makes no fundus photograph
        y, x = np.mgrid[:height, :width]
        disc = (y - height / 2) ** 2 + (x - width / 2) ** 2 < (0.48 * min(height, width)) ** 2
        assert reasons(image * disc[..., None].astype(np.uint8))


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_scikit_learns_photographs_are_refused(name: str) -> None:
    assert reasons(pytest.importorskip("sklearn.datasets").load_sample_image(name))


def test_a_tiny_photograph_is_refused_with_its_size() -> None:
    (reason,) = reasons(make_phantom(0, 120, 120).image)
    assert "120 x 60 is the least" in reason


@pytest.mark.parametrize("image", [np.zeros((9, 9)), np.zeros((9, 9, 3)), np.zeros((9, 9, 1), np.uint8), "eye"])
def test_what_is_no_photograph(image: object) -> None:
    with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\), got"):
        find_fov(image)


def test_every_measure_has_bounds_and_a_reason() -> None:
    assert set(RULE) == set(check_fundus(*_phantom()).measures)


def _phantom() -> tuple[np.ndarray, np.ndarray]:
    sample = make_phantom(0)
    return sample.image, sample.fov


# --- surroundings ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def eye():
    return make_phantom(1, 400, 390)


@pytest.mark.parametrize("colour", [(255, 255, 255), (190, 190, 190), (0, 160, 0), (60, 60, 70)])
def test_a_plain_bright_surround(eye, colour: tuple[int, int, int]) -> None:
    image = np.where(eye.fov[..., None], eye.image, np.array(colour, np.uint8))
    assert iou(find_fov(image), eye.fov) > 0.97


@pytest.mark.parametrize("colour", [(255, 255, 255), (128, 128, 128), (0, 0, 0)])
def test_margins(eye, colour: tuple[int, int, int]) -> None:
    image = cv2.copyMakeBorder(eye.image, 60, 90, 50, 40, cv2.BORDER_CONSTANT, value=colour)
    assert iou(find_fov(image), np.pad(eye.fov, ((60, 90), (50, 40)))) > 0.97


def test_a_small_disc_in_a_large_black_frame(eye) -> None:
    image = np.pad(eye.image, ((500, 300), (700, 600), (0, 0)))
    assert iou(find_fov(image), np.pad(eye.fov, ((500, 300), (700, 600)))) > 0.97


def test_marks_in_the_surround(eye) -> None:
    image = np.pad(eye.image, ((20, 20), (20, 20), (0, 0)))
    for text, place, size in (("OD 12345 2019-03-04", (5, 16), 0.45), ("R", (8, 430), 1.2)):
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), 2)
    assert iou(find_fov(image), np.pad(eye.fov, 20)) > 0.97


def test_no_vessel_is_sought_on_the_rim_or_in_a_notch(eye) -> None:
    image = eye.image.copy()
    fov = eye.fov
    bottom = np.flatnonzero(fov.any(axis=1))[-1]
    image[bottom - 14 : bottom + 1, 185:205] = 0
    searched = searched_region(image, fov)
    assert not (searched & ~fov).any()
    assert not searched[bottom - 13 : bottom, 187:203].any()
    assert searched.sum() > 0.96 * fov.sum()
    inner = np.ones((200, 200), bool)
    assert searched_region(image[100:300, 100:300], inner).all()  # the frame is no rim
    assert not searched_region(image, np.zeros_like(fov)).any()


def test_pictures_may_be_one_pixel_high() -> None:
    for shape in ((1, 1), (1, 500), (7, 3)):
        image = np.full((*shape, 3), 200, np.uint8)
        assert find_fov(image).shape == shape
        assert not check_fundus(image, find_fov(image)).passed


# --- doubts ------------------------------------------------------------------------------------------------------


def doubts(image: np.ndarray) -> str:
    return "; ".join(find_doubts(measure_quality(image, find_fov(image))))


def test_poor_photographs_are_doubted_and_good_ones_are_not() -> None:
    image = make_phantom(1).image
    noise = np.random.default_rng(0).normal(0, 20, image.shape)
    assert not doubts(image)
    assert "dark" in doubts(image // 10)
    assert "overexposed" in doubts(np.clip(4.0 * image, 0, 255).astype(np.uint8))
    assert "stretched" in doubts(cv2.resize(image, None, fx=0.5, fy=1, interpolation=cv2.INTER_AREA))
    assert "blurred" in doubts(cv2.GaussianBlur(image, (0, 0), 3))
    assert "noisy" in doubts(np.clip(image + noise, 0, 255).astype(np.uint8))
    assert "cut off" in doubts(np.ascontiguousarray(image[:, :280]))
    assert "scale is a guess" in doubts(np.ascontiguousarray(image[150:430, 140:420]))
    assert "pixels wide" in doubts(cv2.resize(image, (150, 155), interpolation=cv2.INTER_AREA))
    marked = cv2.putText(image.copy(), "OD 12345 2019", (120, 200), cv2.FONT_HERSHEY_SIMPLEX, 1, (255,) * 3, 2)
    assert "marks" in doubts(marked)


def test_a_weak_reason_alone_is_a_doubt(data_root: Path) -> None:
    image = read_image(sample_files(COLLECTIONS["drive"], data_root, "30_training")["image"])
    half = np.ascontiguousarray(image[:, : image.shape[1] // 2])
    check = check_fundus(half, find_fov(half))
    assert check.reasons and not check.refused


def test_two_eyes_side_by_side() -> None:
    image = make_phantom(1, 292, 282).image
    assert eyes_side_by_side(image) is None
    assert abs(eyes_side_by_side(np.concatenate([image, image], axis=1)) - 282) < 12
