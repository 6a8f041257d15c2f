"""Score probability maps of one image or of a test set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import ArrayLike

from retlib.metrics.checks import as_array, as_mask, as_probabilities, as_threshold
from retlib.metrics.counts import COUNT_METRICS, Confusion, count
from retlib.metrics.ranking import average_precision, ranked_counts, roc_auc
from retlib.metrics.topology import SkeletonOverlap, skeleton_overlap

METRICS = (*COUNT_METRICS, "auc", "average_precision", "cldice")
_RANKED = {"auc": roc_auc, "average_precision": average_precision}


def evaluate(
    probabilities: ArrayLike | Sequence[ArrayLike],
    vessels: ArrayLike | Sequence[ArrayLike],
    fov: ArrayLike | Sequence[ArrayLike | None] | None = None,
    threshold: float = 0.5,
    average: str | None = None,
    metrics: Iterable[str] = METRICS,
) -> dict[str, float]:
    """Score a probability map against the truth, or those of a whole test set.

    A pixel is predicted as vessel when its probability is at least the threshold. AUC and average precision
    do not depend on the threshold; they equal scikit-learn's, ties included. clDice is taken on hard masks,
    with everything outside the FOV removed from both.

    A score that is undefined is NaN: sensitivity, AUC and average precision without a vessel pixel,
    specificity and AUC without a background pixel, precision when nothing is predicted, MCC when truth or
    prediction has one class only, Dice, IoU and clDice when neither has a vessel pixel, all of them when no
    pixel is scored.

    Give float64 probabilities where you can: in float32 a sigmoid is exactly 1 from a logit of 17 up, and AUC
    and average precision then see ties where the network ranked (0.01 and 0.15 on strongly saturated maps).

    Args:
        probabilities: (H,W) vessel probabilities in [0, 1]; or a sequence of such maps, of different sizes if
            need be. A hard segmentation (bool, or 0/1 integers) is taken as probabilities 0 and 1.
        vessels: (H,W) truth, bool or 0/1 integers; or a sequence of them.
        fov: (H,W) mask of the pixels that count; or a sequence of masks (None among them scores that whole
            frame). None scores the whole frame of every image, which is *not* how most vessel papers score:
            pass the FOV.
        threshold: probability in [0, 1] from which a pixel is vessel, both in the precision of
            ``probabilities``.
        average: needed for a sequence. ``"image"``: mean over the images of each score, images where it is
            NaN left out of that score's mean. ``"pooled"``: one score from the pixels of all images together
            (for clDice: from the summed skeleton counts). Makes no difference to a single image.
        metrics: the names wanted, out of ``METRICS``. Everything but clDice takes milliseconds.

    Returns:
        The scores as floats, in the order of ``metrics``.

    Raises:
        ValueError: a bad shape, type or range, sequences of different lengths, or ``average`` missing or
            unknown. The message names the argument.
    """
    names = _metric_names(metrics)
    cut = as_threshold(threshold)
    if average not in (None, "image", "pooled"):
        raise ValueError(
            f'average is {average!r}: expected "image" (mean over images) or "pooled" (all pixels together)'
        )
    if getattr(probabilities, "ndim", None) == 2:
        return _parts(probabilities, vessels, fov, cut, names, "").scores(names)

    maps, truths, fovs = _sequences(probabilities, vessels, fov)
    if average is None:
        raise ValueError(
            f'average is missing: {len(maps)} images were given, choose average="image" (mean over images) '
            'or average="pooled" (all pixels together)'
        )
    images = (_parts(*image, cut, names, f"[{i}]") for i, image in enumerate(zip(maps, truths, fovs, strict=True)))
    if average == "pooled":
        return _pool(list(images)).scores(names)
    each = [image.scores(names) for image in images]
    return {name: _mean([scores[name] for scores in each]) for name in names}


@dataclass(frozen=True)
class _Parts:
    """Counts and pixels from which the scores of one image, or of pooled images, are computed."""

    confusion: Confusion
    pixels: tuple[np.ndarray, np.ndarray] | None  # scores and labels, where a ranked score is wanted
    overlap: SkeletonOverlap | None  # where clDice is wanted

    def scores(self, names: tuple[str, ...]) -> dict[str, float]:
        found = {name: float(getattr(self.confusion, name)) for name in names if name in COUNT_METRICS}
        if self.pixels:
            ranked = ranked_counts(*self.pixels)
            found |= {name: score(*ranked) for name, score in _RANKED.items()}
        if self.overlap:
            found["cldice"] = self.overlap.cldice
        return {name: found[name] for name in names}


def _parts(probabilities, vessels, fov, threshold: float, names: tuple[str, ...], index: str) -> _Parts:
    scores = as_probabilities(probabilities, f"probabilities{index}")
    truth = as_mask(vessels, f"vessels{index}", scores.shape)
    inside = None if fov is None else as_mask(fov, f"fov{index}", scores.shape)
    overlap = skeleton_overlap(scores >= threshold, truth, inside) if "cldice" in names else None
    scores, truth = (values.ravel() if inside is None else values[inside] for values in (scores, truth))
    pixels = None if _RANKED.keys().isdisjoint(names) else (scores, truth)
    return _Parts(count(scores >= threshold, truth), pixels, overlap)


def _pool(images: list[_Parts]) -> _Parts:
    first = images[0]
    return _Parts(
        reduce(add, (image.confusion for image in images)),
        first.pixels and tuple(map(np.concatenate, zip(*(image.pixels for image in images), strict=True))),
        first.overlap and reduce(add, (image.overlap for image in images)),
    )


def _metric_names(metrics: Iterable[str]) -> tuple[str, ...]:
    names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        raise ValueError(f"metrics is {metrics!r}: expected one or more of {', '.join(METRICS)}")
    return names


def _sequences(probabilities, vessels, fov) -> tuple[list, list, list]:
    for name, values in (("probabilities", probabilities), ("vessels", vessels), ("fov", fov)):
        shape = getattr(values, "shape", ())
        # Many narrow images are more likely one image with its channels last, whose rows would be scored as images.
        if len(shape) == 3 and (shape[2] == 1 < min(shape[:2]) or (shape[2] <= 4 and min(shape[:2]) >= 16)):
            raise ValueError(
                f"{name} has shape {tuple(shape)}: expected (H, W), or images first, (N, H, W); take one channel,"
                f" {name}[..., 0]"
            )
        if np.ma.is_masked(values):
            as_array(values, name)  # which says what to do instead
    try:
        maps, truths = list(probabilities), list(vessels)
        fovs = [None] * len(maps) if fov is None else list(fov)
    except TypeError:
        raise ValueError(
            "probabilities, vessels and fov: expected (H, W) arrays, or sequences of such arrays"
        ) from None
    if not maps:
        raise ValueError("probabilities is an empty sequence: expected at least one image")
    for name, images in (("vessels", truths), ("fov", fovs)):
        if len(images) != len(maps):
            raise ValueError(
                f"{name} has {len(images)} images: expected {len(maps)}, one for each map in probabilities"
            )
    return maps, truths, fovs


def _mean(values: list[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
