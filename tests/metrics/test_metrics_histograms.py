from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import expit, logit
from sklearn import metrics as sk

from retlib.metrics import METRICS, ScoreHistogram, ScoreHistograms, evaluate
from retlib.metrics.edges import bin_counts, histogram_edges, threshold_to_logit

FAST = METRICS[:-1]


def names(images) -> list[str]:
    return [f"image-{i}" for i, _ in enumerate(images)]


def histograms(logits, vessels, fovs=None, **options) -> ScoreHistograms:
    return ScoreHistograms.from_logits(names(logits), logits, vessels, fovs, **options)


def together(images, masks):
    return np.concatenate([image[mask] for image, mask in zip(images, masks, strict=True)])


# --- edges


def test_edges_rise_and_hold_zero_and_the_thresholds(score_maps):
    logits, vessels, _ = score_maps(1)
    edges = histogram_edges(logits[0][vessels[0]], logits[0][~vessels[0]], thresholds=(0.5, 0.4314))
    assert edges.dtype == np.float32 and (np.diff(edges) > 0).all() and 1000 < edges.size < 1080
    expected = {0.0, *(float(threshold_to_logit(threshold)) for threshold in (0.05, 0.4314, 0.5))}
    assert expected <= set(edges.tolist())


def test_edges_split_each_class_evenly(score_maps):
    logits, vessels, _ = score_maps(1, shape=(400, 400))
    parts = logits[0][vessels[0]], logits[0][~vessels[0]]
    edges = histogram_edges(*parts)
    for part in parts:
        assert bin_counts(part, edges).max() <= math.ceil(part.size / 511) + 1


def test_a_score_equal_to_an_edge_falls_in_the_bin_above():
    edges = np.array([-1, 0, 2], np.float32)
    scores = np.array([-3, -1, -0.5, -0.0, 0.0, 1, 2, 9], np.float32)
    assert bin_counts(scores, edges).tolist() == [1, 2, 3, 2]


def says_the_same(threshold: float) -> None:
    edge = threshold_to_logit(threshold)
    assert edge.dtype == np.float32
    assert expit(float(edge)) >= threshold > expit(float(np.nextafter(edge, np.float32(-np.inf))))


@given(st.floats(1e-300, 1, exclude_max=True))
@example(float(np.nextafter(1, 0)))
@example(0.5)
@settings(deadline=None)
def test_a_threshold_and_its_logit_say_the_same(threshold):
    says_the_same(threshold)
    assert abs(threshold_to_logit(0.5)) < 1e-15


@given(st.floats(-30, 30, width=32))
@settings(deadline=None)
def test_the_probability_of_a_pixel_as_threshold_keeps_that_pixel(score):
    """A threshold chosen among the scores is some pixel's probability; that pixel is then a vessel."""
    says_the_same(float(expit(float(score))))
    assert threshold_to_logit(float(expit(float(score)))) <= score


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (([np.nan], [0.0]), {}, "vessel_logits holds NaN"),
        (([0.0], [1, 2]), {}, "background_logits has type int64"),
        (([0.0], [1.0]), {"thresholds": (1.0,)}, r"threshold is 1.0.*inside \(0, 1\)"),
    ],
)
def test_bad_edges_are_refused(arguments, options, words):
    with pytest.raises(ValueError, match=words):
        histogram_edges(*arguments, **options)


# --- areas


@pytest.mark.parametrize("scale", [0.1, 1, 8, 50])
@pytest.mark.parametrize("region", ["fov", "frame"])
def test_areas_agree_with_scikit_learn_however_saturated(score_maps, scale, region):
    logits, vessels, fovs = score_maps(4, scale=scale)
    stored = histograms(logits, vessels, fovs)
    kept = fovs if region == "fov" else [np.ones_like(fov) for fov in fovs]
    each = stored.select(region, pooled=False)
    pairs = [(v[k], p[k]) for p, v, k in zip(logits, vessels, kept, strict=True)]
    pairs.append((together(vessels, kept), together(logits, kept)))
    pooled = stored.select(region)
    areas, precisions = [*each.auc(), pooled.auc()], [*each.average_precision(), pooled.average_precision()]
    assert areas == pytest.approx([sk.roc_auc_score(*pair) for pair in pairs], abs=1e-4)
    assert precisions == pytest.approx([sk.average_precision_score(*pair) for pair in pairs], abs=1e-4)


def test_uniform_bins_of_probabilities_would_not_do(score_maps):
    """Why the edges are quantiles: a thousand uniform bins miss by a hundredth on saturated scores."""
    logits, vessels, _ = score_maps(1, scale=8, shape=(300, 300))
    uniform = logit(np.linspace(0, 1, 1001)[1:-1]).astype(np.float32)
    exact = sk.roc_auc_score(vessels[0].ravel(), logits[0].ravel())
    background, vessel = (bin_counts(logits[0][vessels[0] == label], uniform) for label in (False, True))
    assert abs(ScoreHistogram(uniform, vessel, background, ("image",)).auc() - exact) > 0.01
    assert abs(histograms(logits, vessels).select().auc() - exact) < 1e-5


def test_tied_scores_are_kept_apart(score_maps):
    """Scores of few values: coarse logits, saturated float32 probabilities, a hard segmentation."""
    logits, vessels, fovs = score_maps(3, scale=8)
    with np.errstate(divide="ignore"):
        cases = {
            "coarse": [np.round(each / 16) for each in logits],
            "saturated": [logit(expit(each)) for each in logits],
            "hard": [np.where(each > 0, np.inf, -np.inf) for each in logits],
            "finite": [np.where(each > 0, np.float32(3), np.float32(-3)) for each in logits],
        }
    for case, maps in cases.items():
        pooled = histograms(maps, vessels, fovs).select()
        labels = together(vessels, fovs)
        scores = np.clip(together(maps, fovs), -1e4, 1e4).astype(np.float32)
        close = 1e-4 if case == "saturated" else 1e-12  # below saturation its scores are not tied
        area, precision = sk.roc_auc_score(labels, scores), sk.average_precision_score(labels, scores)
        assert pooled.auc() == pytest.approx(area, abs=close), case
        assert pooled.average_precision() == pytest.approx(precision, abs=close), case


def test_few_pixels_are_exact():
    """Fewer pixels than quantiles: every score has its own bin, nothing is left to interpolate."""
    rng = np.random.default_rng(3)
    scores, truth = rng.normal(size=(12, 15)).astype(np.float32), rng.random((12, 15)) < 0.2
    pooled = histograms([scores], [truth]).select()
    assert pooled.auc() == pytest.approx(sk.roc_auc_score(truth.ravel(), scores.ravel()), abs=1e-12)
    exact = sk.average_precision_score(truth.ravel(), scores.ravel())
    assert pooled.average_precision() == pytest.approx(exact, abs=1e-3)


@given(
    hnp.arrays(np.float32, (9, 11), elements=st.floats(-60, 60, width=32)),
    hnp.arrays(bool, (9, 11)),
    hnp.arrays(bool, (9, 11)),
)
@settings(max_examples=60, deadline=None)
def test_any_scores(scores, truth, fov):
    stored = histograms([scores], [truth], [fov])
    assert stored.counts.sum() == scores.size
    pooled = stored.select()
    got, expected = pooled.metrics(0.5), evaluate(expit(scores.astype(float)), truth, fov, metrics=FAST)
    assert tuple(got) == FAST
    for name in FAST:
        if name == "auc":  # float64 probabilities saturate at logit 37, logits do not
            labels, ranks = truth[fov], scores[fov]
            expected[name] = sk.roc_auc_score(labels, ranks) if labels.any() and not labels.all() else np.nan
        if name != "average_precision":
            assert got[name] == pytest.approx(expected[name], abs=1e-9, nan_ok=True), name


def test_curves_are_points_of_the_exact_curves(score_maps):
    logits, vessels, fovs = score_maps(2)
    pooled = histograms(logits, vessels, fovs).select()
    labels, scores = together(vessels, fovs), together(logits, fovs)
    fpr, tpr, thresholds = pooled.roc_curve()
    precision, recall, same = pooled.pr_curve()
    assert (thresholds == same).all() and (np.diff(thresholds) <= 0).all() and thresholds[0] == np.inf
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1) and recall == pytest.approx(tpr)
    assert precision[0] == 1 and precision[-1] == labels.mean()
    for at in range(1, pooled.edges.size + 1, 97):
        found = scores >= pooled.edges[pooled.edges.size - at]
        assert fpr[at] == found[~labels].mean() and tpr[at] == found[labels].mean()
        assert precision[at] == (labels[found].mean() if found.any() else 1)
    assert sk.auc(fpr, tpr) == pytest.approx(pooled.auc())
    each = histograms(logits, vessels, fovs).select(pooled=False)
    assert each.roc_curve()[0].shape == each.pr_curve()[1].shape == (2, pooled.edges.size + 2)


# --- thresholds


@pytest.mark.parametrize("scale", [1, 8])
def test_counts_are_exact_at_the_thresholds_asked_for(score_maps, scale):
    logits, vessels, fovs = score_maps(3, scale=scale)
    chosen = 0.4314159
    stored = histograms(logits, vessels, fovs, thresholds=(0.5, chosen))
    maps = [expit(each.astype(np.float64)) for each in logits]
    counts = FAST[:-2]
    for threshold in (0.5, chosen, 0.05, 0.7):
        exact = evaluate(maps, vessels, fovs, threshold, average="pooled", metrics=counts)
        assert {k: v for k, v in stored.select().metrics(threshold).items() if k in counts} == exact
        each = stored.select(pooled=False).metrics(threshold)
        for i, image in enumerate(zip(maps, vessels, fovs, strict=True)):
            assert {k: each[k][i] for k in counts} == evaluate(*image, threshold, metrics=counts)
    everything = stored.select().counts(0)
    assert everything.fn == everything.tn == 0 and everything.total == sum(fov.sum() for fov in fovs)


def test_a_threshold_between_edges_is_refused_and_the_nearest_is_named(score_maps):
    pooled = histograms(*score_maps(1)).select()
    with pytest.raises(ValueError, match=r"threshold is 0\.123, between two edges.*0\.12\d+ and 0\.12\d+") as caught:
        pooled.counts(0.123)
    assert not caught.value.__context__
    used = pooled.nearest_threshold(0.123)
    assert abs(used - 0.123) < 0.01 and used in pooled.thresholds
    assert pooled.metrics(used)["dice"] == pooled.counts(used).dice
    for bad in (1.0, 1.2, -0.1, float("nan")):
        with pytest.raises(ValueError, match="threshold"):
            pooled.counts(bad)


@pytest.mark.parametrize("scale", [1, 8, 50])
@pytest.mark.parametrize("metric", ["dice", "mcc", "accuracy", "iou"])
def test_best_threshold_is_best_and_can_be_used(score_maps, scale, metric):
    logits, vessels, fovs = score_maps(3, scale=scale)
    stored = histograms(logits, vessels, fovs)
    maps = [expit(each.astype(np.float64)) for each in logits]
    for pooled, average in ((True, "pooled"), (False, "image")):
        selected = stored.select(pooled=pooled)
        best = selected.best_threshold(metric)
        assert 0 < best < 1 and best in selected.thresholds
        reached = float(np.mean(selected.metrics(best)[metric]))
        for other in selected.thresholds[1:-1:53]:
            if 0 < other < 1:
                assert np.mean(selected.metrics(other)[metric]) <= reached + 1e-12
        # Given to probabilities, or to histograms of other images, it means the same.
        assert evaluate(maps, vessels, fovs, best, average, metric)[metric] == pytest.approx(reached, abs=1e-6)
        again = histograms(logits, vessels, fovs, thresholds=(best,)).select(pooled=pooled)
        assert np.mean(again.metrics(best)[metric]) == pytest.approx(reached, abs=1e-6)


def test_best_threshold_misses_little(score_maps):
    logits, vessels, fovs = score_maps(2)
    labels, scores = together(vessels, fovs), together(logits, fovs)
    precision, recall, _ = sk.precision_recall_curve(labels, scores)
    highest = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-9))
    pooled = histograms(logits, vessels, fovs).select()
    assert 0 <= highest - pooled.metrics(pooled.best_threshold())["dice"] < 1e-3


def test_of_equal_thresholds_the_one_in_the_middle_is_best():
    truth = np.eye(8, dtype=bool)
    perfect = histograms([np.where(truth, 4, -4).astype(np.float32)], [truth]).select()
    assert perfect.best_threshold() == 0.5 and perfect.metrics(0.5)["dice"] == 1


def test_best_threshold_without_an_answer():
    nothing = histograms([np.zeros((4, 4), np.float32)], [np.zeros((4, 4), bool)]).select()
    with pytest.raises(ValueError, match="mcc is undefined at every threshold"):
        nothing.best_threshold("mcc")
    with pytest.raises(ValueError, match="metric is 'auc': expected one of accuracy"):
        nothing.best_threshold("auc")


# --- calibration


@pytest.mark.parametrize("scale", [0.5, 1, 8])
@pytest.mark.parametrize("bins", [10, 20])
def test_calibration_agrees_with_the_pixels(score_maps, scale, bins):
    logits, vessels, fovs = score_maps(3, scale=scale)
    labels, chances = together(vessels, fovs), expit(together(logits, fovs).astype(float))
    place = np.minimum((chances * bins).astype(int), bins - 1)
    got = histograms(logits, vessels, fovs).select().calibration(bins)
    pixels = np.bincount(place, minlength=bins)
    assert got.pixels.tolist() == pixels.tolist() and got.borders[1] == 1 / bins
    observed = np.bincount(place, labels, bins) / pixels
    predicted = np.bincount(place, chances, bins) / pixels
    assert got.observed == pytest.approx(observed, abs=1e-12)
    assert got.predicted == pytest.approx(predicted, abs=1e-2)
    assert got.ece == pytest.approx(np.sum(pixels * np.abs(observed - predicted)) / pixels.sum(), abs=1e-4)


def test_calibration_of_each_image_and_of_other_bins(score_maps):
    logits, vessels, fovs = score_maps(3)
    each = histograms(logits, vessels, fovs).select(pooled=False).calibration(15)
    assert each.predicted.shape == (3, 15) and each.ece.shape == (3,)
    inside = [fov.sum() for fov in fovs]
    assert each.pixels.sum(1).tolist() == inside
    defined = each.pixels > 0
    assert ((each.predicted >= each.borders[:-1] - 1e-6) & (each.predicted <= each.borders[1:] + 1e-6))[defined].all()
    with pytest.raises(ValueError, match="bins is 0"):
        histograms(logits, vessels, fovs).select().calibration(0)


def test_a_calibrated_score_has_no_error():
    rng = np.random.default_rng(5)
    chances = rng.random((500, 500))
    truth = rng.random((500, 500)) < chances
    maps = [logit(chances).astype(np.float32)]
    assert histograms(maps, [truth]).select().calibration().ece < 0.005
    overconfident = histograms([3 * maps[0]], [truth]).select().calibration()
    assert overconfident.ece > 0.1
