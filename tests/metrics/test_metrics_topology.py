from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage.draw import disk, line
from skimage.measure import euler_number, label

from retlib.metrics import (
    betti_errors,
    betti_numbers,
    cldice,
    evaluate,
    skeleton_overlap,
    vessel_width_recall,
)
from retlib.metrics.topology import skeleton

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14))
EMPTY, FULL = np.zeros((20, 30), bool), np.ones((20, 30), bool)


def tree(seed: int, shape: tuple[int, int] = (90, 110)) -> np.ndarray:
    """Random straight vessels of different widths."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, bool)
    for _ in range(7):
        ends = rng.integers(5, np.array(shape) - 5, size=(2, 2))
        stroke = np.zeros(shape, bool)
        stroke[line(*ends[0], *ends[1])] = True
        width = int(rng.integers(0, 4))
        mask |= ndimage.binary_dilation(stroke, iterations=width) if width else stroke
    return mask


def rows(*spans: tuple[int, int, int]) -> np.ndarray:
    """Horizontal one-pixel lines (row, from, to) in a 20 x 30 frame."""
    mask = EMPTY.copy()
    for row, start, stop in spans:
        mask[row, start:stop] = True
    return mask


# --- clDice


def test_cldice_by_hand():
    truth, prediction = rows((5, 2, 22), (12, 2, 12)), rows((5, 2, 12), (16, 4, 9))
    overlap = skeleton_overlap(prediction, truth)
    assert (overlap.predicted_inside, overlap.predicted, overlap.true_inside, overlap.true) == (
        10,
        15,
        10,
        30,
    )
    precision, recall = 10 / 15, 10 / 30
    assert cldice(prediction, truth) == pytest.approx(2 * precision * recall / (precision + recall))
    assert overlap.recall == pytest.approx(recall)


def test_width_costs_no_cldice_but_a_break_does():
    truth = np.zeros((40, 80), bool)
    truth[18:23, 5:75] = True
    wide = ndimage.binary_dilation(truth, iterations=2)
    broken = truth & (np.abs(np.arange(80) - 40) > 4)
    assert cldice(wide, truth) > 0.96 > 0.95 > cldice(broken, truth)


@pytest.mark.parametrize("seed", range(4))
def test_cldice_agrees_with_monai_where_both_skeletons_are_the_mask(seed):
    """MONAI's skeleton is soft (repeated openings); like thinning it leaves a line of one pixel as it is."""
    import torch
    from monai.losses.cldice import SoftclDiceLoss

    rng = np.random.default_rng(seed)
    truth = rows(*[(row, rng.integers(1, 8), rng.integers(15, 29)) for row in range(2, 19, 4)])
    prediction = rows(*[(row, rng.integers(1, 12), rng.integers(13, 29)) for row in range(2, 19, 2)])
    tensors = [torch.tensor(mask, dtype=torch.float64)[None, None] for mask in (prediction, truth)]
    loss = SoftclDiceLoss(iter_=3, smooth_nr=0, smooth_dr=0, smooth=1e-12)(*tensors)
    assert cldice(prediction, truth) == pytest.approx(1 - float(loss), abs=1e-9)


@given(MASKS, st.data())
@settings(max_examples=100, deadline=None)
def test_cldice_properties(truth, data):
    prediction = data.draw(hnp.arrays(bool, truth.shape))
    value = cldice(prediction, truth)
    assert value == pytest.approx(cldice(truth, prediction), nan_ok=True)
    assert math.isnan(value) == (not truth.any() and not prediction.any())
    assert math.isnan(value) or 0 <= value <= 1
    assert cldice(truth, truth) == (1 if truth.any() else pytest.approx(np.nan, nan_ok=True))
    assert evaluate(prediction, truth, metrics="cldice")["cldice"] == pytest.approx(value, nan_ok=True)


# --- Betti numbers


@given(MASKS)
@settings(max_examples=300, deadline=None)
def test_betti_numbers_against_scikit_image(mask):
    components, holes = betti_numbers(mask)
    assert components == label(mask, connectivity=2).max()
    assert components - holes == euler_number(mask, connectivity=2)


def test_a_diagonal_ring_encloses_a_hole():
    ring = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    assert betti_numbers(ring) == (1, 1)
    assert betti_numbers(np.ones((3, 3), bool)) == (1, 0) and betti_numbers(np.zeros((3, 3), bool)) == (0, 0)


def test_betti_errors_count_breaks_and_meshes():
    truth = rows((5, 2, 28), (12, 2, 28))
    truth[5:13, 2] = truth[5:13, 27] = True
    broken = truth & (np.arange(30) != 15)
    assert betti_errors(broken, truth) == {"betti0_error": 1, "betti1_error": 1}
    assert betti_errors(truth, broken) == {"betti0_error": 1, "betti1_error": 1}
    assert betti_errors(truth, truth) == betti_errors(EMPTY, EMPTY) == {"betti0_error": 0, "betti1_error": 0}
    elsewhere = np.tile(np.arange(30) < 14, (20, 1))  # the break lies outside this FOV
    assert betti_errors(broken, truth, elsewhere) == {"betti0_error": 0, "betti1_error": 0}


# --- width


def test_recall_by_width():
    truth = np.zeros((60, 100), bool)
    truth[5, 5:95] = True  # width 2 by the definition
    truth[20:23, 5:95] = True  # 4
    truth[40:47, 5:95] = True  # 8
    prediction = truth.copy()
    prediction[5, 50:] = prediction[40:47] = False
    # A thinned bar is a little shorter than the bar; its ends taper, which leaves them in a thinner class.
    recall = vessel_width_recall(prediction, truth)
    assert list(recall) == ["<=2", "2-4", ">4"]
    assert recall["<=2"] == pytest.approx(0.5, abs=0.02) and recall["2-4"] == pytest.approx(1, abs=0.02)
    assert recall[">4"] == 0
    assert list(vessel_width_recall(prediction, truth, edges=(3, 5.5, 9))) == ["<=3", "3-5.5", "5.5-9", ">9"]


def test_width_is_twice_the_distance_to_the_background():
    truth = np.zeros((40, 40), bool)
    truth[disk((20, 20), 9)] = True
    nearest = min(np.hypot(r - 20, c - 20) for r, c in np.argwhere(~truth))
    (_, wider) = vessel_width_recall(truth, truth, edges=(2 * nearest - 1e-6,)).values()
    assert wider == 1
    (_, wider) = vessel_width_recall(truth, truth, edges=(2 * nearest + 0.5,)).values()
    assert math.isnan(wider)


def test_widths_of_whole_tree_add_up():
    truth, prediction = tree(1), tree(1) & (np.arange(110) < 60)
    (narrow, wide) = vessel_width_recall(prediction, truth, edges=(1000,)).values()
    assert narrow == pytest.approx(skeleton_overlap(prediction, truth).recall) and math.isnan(wide)


@pytest.mark.parametrize("edges", [(4, 2), (), (2, 2), 3])
def test_bad_widths(edges):
    with pytest.raises(ValueError, match="edges is"):
        vessel_width_recall(FULL, FULL, edges=edges)


# --- all of them

ALL = (cldice, betti_errors, vessel_width_recall)


def numbers(result) -> list[float]:
    return list(result.values()) if isinstance(result, dict) else [result]


@pytest.mark.parametrize("score", ALL)
@pytest.mark.parametrize("prediction", [EMPTY, FULL, rows((4, 3, 20))])
@pytest.mark.parametrize("truth", [EMPTY, FULL, rows((9, 3, 20))])
def test_extreme_masks_give_numbers_or_nan(score, prediction, truth):
    for value in numbers(score(prediction, truth)):
        assert math.isnan(value) or value >= 0
        if not prediction.any() and truth.any() and score is not betti_errors:
            assert math.isnan(value) or value == 0


@pytest.mark.parametrize("score", ALL)
def test_outside_the_fov_is_removed_from_both(score):
    truth, prediction = tree(3), tree(4) | tree(3)
    fov = np.zeros(truth.shape, bool)
    fov[10:70, 20:95] = True
    expected = numbers(score(prediction & fov, truth & fov))
    assert numbers(score(prediction, truth, fov)) == pytest.approx(expected, nan_ok=True)
    assert numbers(score(prediction | ~fov, truth & fov, fov)) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("score", ALL)
def test_bad_masks_are_named(score):
    for arguments, words in (
        ((FULL[:5], FULL), r"prediction has shape \(5, 30\): expected \(20, 30\)"),
        ((FULL * 0.5, FULL), "prediction has type float64"),
        ((FULL, FULL * 255), "vessels holds integers from 255 to 255"),
        ((FULL, FULL, FULL[:, :3]), r"fov has shape \(20, 3\)"),
        ((FULL[0], FULL[0]), r"vessels has shape \(30,\)"),
    ):
        with pytest.raises(ValueError, match=words):
            score(*arguments)


def test_the_second_observer_of_drive(observers):
    """The figures of a person, inside the FOV: means over the twenty test images, recall by width pooled."""
    overlaps = [skeleton_overlap(*image) for image in observers]
    assert round(np.mean([each.cldice for each in overlaps]), 4) == 0.7634
    assert round(np.mean([each.recall for each in overlaps]), 4) == 0.7592
    betti = [betti_errors(*image) for image in observers]
    assert np.mean([each["betti0_error"] for each in betti]) == 0.85
    assert np.mean([each["betti1_error"] for each in betti]) == 16.8
    recalls = np.array([list(vessel_width_recall(*image).values()) for image in observers])
    pixels = np.array([centre_line_pixels(truth & fov) for _, truth, fov in observers])
    assert np.round((recalls * pixels).sum(axis=0) / pixels.sum(axis=0), 3).tolist() == [0.533, 0.920, 0.984]


def centre_line_pixels(truth: np.ndarray) -> np.ndarray:
    """Pixels of the centre line in vessels up to two, two to four, and over four pixels wide."""
    widths = 2 * ndimage.distance_transform_edt(truth)[skeleton(truth)]
    return np.histogram(widths, [0, np.nextafter(2, 3), np.nextafter(4, 5), np.inf])[0]
