from __future__ import annotations

import math
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import expit
from sklearn import metrics as sk

from retlib.metrics import COUNT_METRICS, METRICS, Confusion, confusion, evaluate

FAST = METRICS[:-1]


def by_sklearn(scores: np.ndarray, truth: np.ndarray, threshold: float = 0.5) -> dict[str, float]:
    """The same numbers, each from its own scikit-learn function."""
    found = scores >= threshold
    return {
        "accuracy": sk.accuracy_score(truth, found),
        "sensitivity": sk.recall_score(truth, found),
        "specificity": sk.recall_score(truth, found, pos_label=0),
        "precision": sk.precision_score(truth, found),
        "dice": sk.f1_score(truth, found),
        "iou": sk.jaccard_score(truth, found),
        "mcc": sk.matthews_corrcoef(truth, found),
        "auc": sk.roc_auc_score(truth, scores),
        "average_precision": sk.average_precision_score(truth, scores),
    }


def pixels(maps, vessels, fovs):
    """One list of (scores, labels) an image, inside the FOV."""
    return [(p[f], v[f]) for p, v, f in zip(maps, vessels, fovs, strict=True)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1, 8, 30])
@pytest.mark.parametrize("threshold", [0.5, 0.4314])
def test_agrees_with_scikit_learn_on_ordinary_and_on_saturated_scores(probability_maps, dtype, scale, threshold):
    maps, vessels, fovs = probability_maps(dtype, scale=scale)
    each = [by_sklearn(p, v, threshold) for p, v in pixels(maps, vessels, fovs)]
    mean = evaluate(maps, vessels, fovs, threshold, average="image", metrics=FAST)
    assert tuple(mean) == FAST
    # Both count exactly: what is left is the rounding of float64.
    assert mean == pytest.approx({name: np.mean([scores[name] for scores in each]) for name in FAST}, abs=1e-12)

    together = map(np.concatenate, zip(*pixels(maps, vessels, fovs), strict=True))
    pooled = evaluate(maps, vessels, fovs, threshold, average="pooled", metrics=FAST)
    assert pooled == pytest.approx(by_sklearn(*together, threshold), abs=1e-12)

    alone = evaluate(maps[0], vessels[0], fovs[0], threshold, metrics=FAST)
    assert alone == pytest.approx(each[0], abs=1e-12)


def test_ties_and_half_precision_count_as_scikit_learn_counts_them(probability_maps):
    maps, vessels, fovs = probability_maps(count=1)
    for scores in (np.round(maps[0], 1), maps[0].astype(np.float16), maps[0] > 0.5, maps[0] * 0 + 0.75):
        expected = by_sklearn(scores[fovs[0]].astype(np.float32), vessels[0][fovs[0]])
        got = evaluate(scores, vessels[0], fovs[0], metrics=("auc", "average_precision", "accuracy"))
        assert got == pytest.approx({name: expected[name] for name in got}, abs=1e-12)


def test_negative_zero_is_zero():
    truth = np.array([[True, False, True, False]])
    scores = np.array([[-0.0, 0.0, 0.3, 0.2]], np.float32)
    assert evaluate(scores, truth, metrics="auc")["auc"] == pytest.approx(sk.roc_auc_score(truth[0], scores[0]))


def test_whole_frame_is_scored_without_a_fov(probability_maps):
    maps, vessels, fovs = probability_maps(count=1)
    everywhere = evaluate(maps[0], vessels[0], metrics=FAST)
    assert everywhere == pytest.approx(by_sklearn(maps[0].ravel(), vessels[0].ravel()), abs=1e-12)
    assert everywhere == evaluate(maps[0], vessels[0], np.ones_like(fovs[0]), metrics=FAST)


def test_pixels_outside_the_fov_change_nothing(probability_maps):
    maps, vessels, fovs = probability_maps(count=1)
    other, relabelled = maps[0].copy(), vessels[0].copy()
    other[~fovs[0]], relabelled[~fovs[0]] = 0.77, True
    assert evaluate(other, relabelled, fovs[0]) == evaluate(maps[0], vessels[0], fovs[0])


def test_a_probability_equal_to_the_threshold_is_vessel():
    scores = evaluate(np.array([[0.3, 0.5, 0.7]]), np.array([[0, 1, 1]]), threshold=0.5)
    assert scores["dice"] == 1


def test_images_of_different_sizes(probability_maps):
    small, large = (
        probability_maps(count=1, shape=(50, 60)),
        probability_maps(count=1, shape=(90, 40), seed=4),
    )
    maps, vessels, fovs = (list(a) + list(b) for a, b in zip(small, large, strict=True))
    each = [evaluate(*image) for image in zip(maps, vessels, fovs, strict=True)]
    mean = evaluate(maps, vessels, fovs, average="image")
    assert mean == pytest.approx({name: (each[0][name] + each[1][name]) / 2 for name in METRICS})
    counts = [confusion(p >= 0.5, v, f) for p, v, f in zip(maps, vessels, fovs, strict=True)]
    assert evaluate(maps, vessels, fovs, average="pooled")["mcc"] == pytest.approx((counts[0] + counts[1]).mcc)
    mixed = evaluate(maps, vessels, [fovs[0], None], average="image")
    assert mixed["iou"] == pytest.approx((each[0]["iou"] + evaluate(maps[1], vessels[1])["iou"]) / 2)


def test_a_stack_of_images_is_a_sequence(probability_maps):
    maps, vessels, fovs = probability_maps()
    stacked = evaluate(np.stack(maps), np.stack(vessels), np.stack(fovs), average="pooled")
    assert stacked == evaluate(maps, vessels, fovs, average="pooled")


NOTHING, ALL, HALF = np.zeros((4, 6), bool), np.ones((4, 6), bool), np.eye(4, 6, dtype=bool)
NAN_RANKED = {"auc", "average_precision"}


@pytest.mark.parametrize(
    ("prediction", "truth", "undefined", "values"),
    [
        (
            NOTHING,
            NOTHING,
            {"sensitivity", "precision", "dice", "iou", "mcc", "cldice"} | NAN_RANKED,
            {"accuracy": 1},
        ),
        (NOTHING, HALF, {"precision", "mcc"}, {"dice": 0, "cldice": 0, "sensitivity": 0, "auc": 0.5}),
        (HALF, NOTHING, {"sensitivity", "mcc"} | NAN_RANKED, {"dice": 0, "cldice": 0, "precision": 0}),
        (ALL, ALL, {"specificity", "mcc", "auc"}, {"dice": 1, "cldice": 1, "average_precision": 1}),
        (ALL, HALF, {"mcc"}, {"sensitivity": 1, "specificity": 0, "auc": 0.5, "precision": 4 / 24}),
        (HALF, ALL, {"specificity", "mcc", "auc"}, {"precision": 1, "sensitivity": 4 / 24}),
        (HALF, HALF, set(), {name: 1 for name in METRICS}),
    ],
)
def test_undefined_scores_are_nan_and_the_others_are_not(prediction, truth, undefined, values):
    scores = evaluate(prediction.astype(np.float32), truth)
    assert tuple(scores) == METRICS
    assert {name for name in METRICS if math.isnan(scores[name])} == undefined
    assert {name: scores[name] for name in values} == pytest.approx(values)


def test_no_pixel_in_the_fov_leaves_everything_undefined():
    assert all(math.isnan(score) for score in evaluate(HALF.astype(float), HALF, NOTHING).values())


def test_mean_over_images_leaves_undefined_images_out():
    maps, truths = [HALF.astype(float), HALF.astype(float)], [HALF, NOTHING]
    mean = evaluate(maps, truths, average="image")
    assert mean["sensitivity"] == 1 and mean["auc"] == 1
    assert mean["dice"] == 0.5  # it is defined for the second image: 0
    assert math.isnan(evaluate(maps[1:], truths[1:], average="image")["sensitivity"])


def test_pooled_cldice_adds_the_skeletons_up():
    long, short = np.zeros((5, 20), bool), np.zeros((5, 20), bool)
    long[2, 2:18], short[2, 2:6] = True, True
    # Image one: 4 of 4 predicted pixels are right, 4 of 16 true ones found; image two: 4 of 4 and 4 of 4.
    pooled = evaluate([short.astype(float)] * 2, [long, short], average="pooled", metrics="cldice")["cldice"]
    precision, recall = 8 / 8, 8 / 20
    assert pooled == pytest.approx(2 * precision * recall / (precision + recall))
    mean = evaluate([short.astype(float)] * 2, [long, short], average="image", metrics="cldice")["cldice"]
    assert mean == pytest.approx((2 * 0.25 / 1.25 + 1) / 2)


def test_masks_may_be_integers():
    truth = np.array([[0, 1, 1]])
    scores = evaluate(np.array([[0, 1, 0]], np.uint8), truth, np.ones((1, 3), int))
    assert scores == evaluate(np.array([[0.0, 1.0, 0.0]]), truth.astype(bool))


GOOD = np.full((4, 6), 0.5)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((GOOD, HALF[:, :5]), {}, r"vessels has shape \(4, 5\).*\(4, 6\)"),
        ((GOOD, HALF, HALF[:3]), {}, r"fov has shape \(3, 6\)"),
        ((GOOD[0], HALF), {"average": "image"}, r"vessels has 4 images: expected 6"),
        ((GOOD + 1, HALF), {}, r"probabilities ranges from 1.5 to 1.5"),
        ((GOOD - 1, HALF), {}, r"probabilities ranges from -0.5"),
        ((np.where(HALF, np.nan, GOOD), HALF), {}, r"probabilities holds 4 NaN"),
        ((np.full((4, 6), 255, np.uint8), HALF), {}, r"probabilities ranges from 0?.*255.*divide"),
        ((GOOD.astype(complex), HALF), {}, r"probabilities has type complex128"),
        ((GOOD, HALF * 255), {}, r"vessels holds integers from 0 to 255.*> 127"),
        ((GOOD, HALF.astype(float)), {}, r"vessels has type float64"),
        ((GOOD, HALF, HALF - 1.0), {}, r"fov has type float64"),
        ((GOOD, HALF, HALF.astype(int) - 1), {}, r"fov holds integers from -1"),
        ((GOOD, HALF), {"threshold": 1.5}, r"threshold is 1.5"),
        ((GOOD, HALF), {"threshold": float("nan")}, r"threshold is nan"),
        ((GOOD, HALF), {"threshold": "high"}, r"threshold is 'high'"),
        ((GOOD, HALF), {"average": "macro"}, r"average is 'macro'.*image.*pooled"),
        ((GOOD, HALF), {"metrics": ("dice", "f2")}, r"metrics is .*expected one or more of accuracy"),
        ((GOOD, HALF), {"metrics": ()}, r"metrics is \(\)"),
        (([GOOD], [HALF]), {}, r"average is missing: 1 images"),
        (([GOOD, GOOD], [HALF]), {"average": "image"}, r"vessels has 1 images: expected 2"),
        (([GOOD], [HALF], [HALF, HALF]), {"average": "image"}, r"fov has 2 images: expected 1"),
        (([], []), {"average": "image"}, r"probabilities is an empty sequence"),
        ((0.5, HALF), {"average": "image"}, r"probabilities, vessels and fov: expected"),
        (([GOOD, GOOD], [HALF, HALF[:2]]), {"average": "pooled"}, r"vessels\[1\] has shape \(2, 6\)"),
        (([GOOD, GOOD * 3], [HALF, HALF]), {"average": "pooled"}, r"probabilities\[1\] ranges"),
    ],
)
def test_bad_input_gives_one_error_that_names_the_argument(arguments, options, words):
    with pytest.raises(ValueError, match=words) as caught:
        evaluate(*arguments, **options)
    assert caught.value.__cause__ is None and (caught.value.__suppress_context__ or not caught.value.__context__)


MASKS = hnp.arrays(bool, (6, 7))
SCORES = hnp.arrays(np.float32, (6, 7), elements=st.floats(0, 1, width=32))


@given(SCORES, MASKS, MASKS, st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_ranges_and_identities(scores, truth, fov, threshold):
    got = evaluate(scores, truth, fov, threshold)
    for name, value in got.items():
        assert math.isnan(value) or (-1 if name == "mcc" else 0) - 1e-12 <= value <= 1 + 1e-12, name
    if not math.isnan(got["iou"]):
        assert got["dice"] == pytest.approx(2 * got["iou"] / (1 + got["iou"]))
    if not math.isnan(got["precision"] + got["sensitivity"]) and got["dice"] > 0:
        assert 1 / got["dice"] == pytest.approx((1 / got["precision"] + 1 / got["sensitivity"]) / 2)


@given(MASKS, MASKS)
@settings(max_examples=100, deadline=None)
def test_truth_and_prediction_change_places(first, second):
    one, other = confusion(first, second).scores(), confusion(second, first).scores()
    for name in ("accuracy", "dice", "iou", "mcc"):
        assert one[name] == pytest.approx(other[name], nan_ok=True)
    assert one["precision"] == pytest.approx(other["sensitivity"], nan_ok=True)
    inverted = confusion(~first, ~second)
    assert inverted.sensitivity == pytest.approx(one["specificity"], nan_ok=True)
    assert inverted.mcc == pytest.approx(one["mcc"], nan_ok=True)


@given(SCORES, MASKS, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_pixels_does_not_matter(scores, truth, random):
    order = list(range(scores.size))
    random.shuffle(order)
    moved, moved_truth = (values.ravel()[order].reshape(values.shape) for values in (scores, truth))
    assert evaluate(moved, moved_truth, metrics=FAST) == pytest.approx(
        evaluate(scores, truth, metrics=FAST), nan_ok=True
    )


@given(SCORES, MASKS, st.lists(st.floats(0, 1), min_size=2, max_size=8))
@settings(max_examples=60, deadline=None)
def test_a_higher_threshold_finds_less(scores, truth, thresholds):
    rows = [evaluate(scores, truth, threshold=t, metrics=COUNT_METRICS) for t in sorted(thresholds)]
    for low, high in pairwise(rows):
        assert not high["sensitivity"] > low["sensitivity"]
        assert not high["specificity"] < low["specificity"]


@given(SCORES, MASKS)
@settings(max_examples=100, deadline=None)
def test_auc_depends_on_the_order_of_scores_alone(scores, truth):
    levels = np.unique(scores, return_inverse=True)[1].reshape(scores.shape) / 64  # any rising map
    auc = evaluate(scores, truth, metrics="auc")["auc"]
    assert evaluate(levels, truth, metrics="auc")["auc"] == pytest.approx(auc, nan_ok=True)
    assert evaluate(1 - levels, truth, metrics="auc")["auc"] == pytest.approx(1 - auc, nan_ok=True)
    if not math.isnan(auc):  # against the definition: the share of pairs in the right order
        difference = scores[truth][:, None] - scores[~truth][None]
        assert auc == pytest.approx(((difference > 0) + 0.5 * (difference == 0)).mean())


def test_counts_keep_the_shape_of_their_arrays():
    counts = Confusion(*(np.array([[3, 0], [1, 2]]) for _ in range(4)))
    assert all(score.shape == (2, 2) for score in counts.scores().values())
    assert np.isnan(counts.dice[0, 1]) and counts.dice[0, 0] == 0.5 and counts.prevalence[1, 1] == 0.5


def test_counts_of_a_large_test_set_do_not_overflow():
    counts = Confusion(*(np.int64(n) for n in (2e7, 3e6, 4e6, 2.2e8)))
    exact = (2e7 * 2.2e8 - 3e6 * 4e6) / math.sqrt(2.3e7 * 2.4e7) / math.sqrt(2.23e8 * 2.24e8)
    assert counts.mcc == pytest.approx(exact, rel=1e-12)


def test_ten_times_faster_than_scikit_learn(score_maps):
    logits, vessels, fovs = score_maps(2, shape=(584, 565))
    maps = [expit(each) for each in logits]
    started = time.perf_counter()
    expected = [by_sklearn(*image) for image in pixels(maps, vessels, fovs)]
    theirs = time.perf_counter() - started
    ours = []
    for _ in range(3):
        started = time.perf_counter()
        mean = evaluate(maps, vessels, fovs, average="image", metrics=FAST)
        ours.append(time.perf_counter() - started)
    assert mean["auc"] == pytest.approx(np.mean([scores["auc"] for scores in expected]))
    assert theirs > 10 * min(ours)


def test_the_second_observer_of_drive(observers):
    seconds, firsts, fovs = zip(*observers, strict=True)
    mean = evaluate(seconds, firsts, fovs, average="image", metrics=COUNT_METRICS)
    rounded = {name: round(value, 4) for name, value in mean.items()}
    assert rounded == {
        "accuracy": 0.9473,
        "sensitivity": 0.7760,
        "specificity": 0.9725,
        "precision": 0.8066,
        "dice": 0.7881,
        "iou": 0.6508,
        "mcc": 0.7601,
    }
    pooled = evaluate(seconds, firsts, fovs, average="pooled", metrics=COUNT_METRICS)
    assert (round(pooled["dice"], 4), round(pooled["mcc"], 4)) == (0.7891, 0.7591)
    whole = evaluate(seconds, firsts, average="pooled", metrics=COUNT_METRICS)
    assert (round(whole["dice"], 4), round(whole["accuracy"], 4)) == (0.7889, 0.9637)
    inside = sum((confusion(*image) for image in observers), Confusion(0, 0, 0, 0))
    frame = sum((confusion(*image[:2]) for image in observers), Confusion(0, 0, 0, 0))
    assert (round(inside.prevalence, 4), round(frame.prevalence, 4)) == (0.1273, 0.0876)


def test_nothing_heavy_is_imported():
    script = "import sys, retlib.metrics; print(*({'torch', 'pandas', 'cv2', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("average", [None, "image", "pooled"])
def test_one_image_with_channels_last_is_not_scored_by_rows(average) -> None:
    maps = np.random.default_rng(0).random((20, 24, 1))
    for values in (maps, np.repeat(maps, 3, axis=2), torch.from_numpy(maps)):
        with pytest.raises(ValueError, match=r"probabilities has shape \(20, 24, [13]\): expected \(H, W\)"):
            evaluate(values, maps > 0.5, average=average)


def test_a_mask_is_not_lost() -> None:
    values = np.ma.masked_less(np.random.default_rng(0).random((20, 24)), 0.1)
    truth = values.data > 0.5
    with pytest.raises(ValueError, match="probabilities is a masked array"):
        evaluate(values, truth)
    with pytest.raises(ValueError, match="vessels is a masked array"):
        evaluate(values.data, np.ma.array(truth, mask=values.mask))
    with pytest.raises(ValueError, match="probabilities is a masked array"):
        evaluate(np.ma.stack([values, values]), [truth, truth], average="image")


def test_tensors_of_bfloat16_and_with_a_gradient() -> None:
    values = torch.rand((20, 24), generator=torch.Generator().manual_seed(0)).bfloat16()
    truth = values.float() > 0.5
    expected = evaluate(values.float().numpy(), truth.numpy())
    assert evaluate(values, truth) == expected
    assert evaluate(values.float().requires_grad_(), truth) == expected
    assert evaluate([values], [truth], average="image") == expected
