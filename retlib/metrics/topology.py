"""Compare the vessel trees of two binary masks: centre lines, components and loops, vessel width.

Dice is dominated by wide vessels; these scores show broken vessels, false bridges and missed capillaries. Each takes
a binary segmentation ``prediction`` and the truth ``vessels``, both (H,W), and ``fov``, the (H,W) mask of the pixels
that count (None: the whole frame), to which both masks are cut first. An argument that is no mask, or whose shape
differs from that of ``vessels``, is a ValueError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from retlib.metrics.checks import as_mask, as_pair
from retlib.metrics.counts import ratio

# Neighbours of a vessel pixel; a background pixel's are the four that share a side with it.
_EIGHT = np.ones((3, 3), bool)


def skeleton(mask: np.ndarray) -> np.ndarray:
    """Thin a bool (H,W) mask to its centre line, one pixel wide (Zhang and Suen)."""
    from skimage.morphology import skeletonize

    return skeletonize(mask)


@dataclass(frozen=True)
class SkeletonOverlap:
    """Pixel counts from which clDice is computed; add those of several images to pool them.

    Attributes:
        predicted_inside: pixels of the prediction's skeleton that lie on true vessels.
        predicted: pixels of the prediction's skeleton.
        true_inside: pixels of the truth's skeleton that the prediction covers.
        true: pixels of the truth's skeleton.
    """

    predicted_inside: int
    predicted: int
    true_inside: int
    true: int

    def __add__(self, other: SkeletonOverlap) -> SkeletonOverlap:
        """Add the counts of two images."""
        return SkeletonOverlap(
            self.predicted_inside + other.predicted_inside,
            self.predicted + other.predicted,
            self.true_inside + other.true_inside,
            self.true + other.true,
        )

    @property
    def precision(self) -> float:
        """Topology precision, |S_P n V_L| / |S_P|; NaN if nothing is predicted."""
        return self.predicted_inside / self.predicted if self.predicted else float("nan")

    @property
    def recall(self) -> float:
        """Topology sensitivity, |S_L n V_P| / |S_L|; NaN if there is no vessel."""
        return self.true_inside / self.true if self.true else float("nan")

    @property
    def cldice(self) -> float:
        """Harmonic mean of the two; 0 if exactly one mask is empty (as Dice is), NaN if both are."""
        if not self.predicted and not self.true:
            return float("nan")
        if not self.predicted_inside or not self.true_inside:
            return 0.0
        return 2 * self.precision * self.recall / (self.precision + self.recall)


def skeleton_overlap(prediction: ArrayLike, vessels: ArrayLike, fov: ArrayLike | None = None) -> SkeletonOverlap:
    """Count the overlap of each mask's skeleton with the other mask."""
    predicted, truth = as_pair(prediction, vessels, fov)
    predicted_line, true_line = skeleton(predicted), skeleton(truth)
    return SkeletonOverlap(
        int(np.count_nonzero(predicted_line & truth)),
        int(np.count_nonzero(predicted_line)),
        int(np.count_nonzero(true_line & predicted)),
        int(np.count_nonzero(true_line)),
    )


def cldice(prediction: ArrayLike, vessels: ArrayLike, fov: ArrayLike | None = None) -> float:
    """Compute centre line Dice on hard skeletons (Shit et al., CVPR 2021, equations 1 and 2).

    It is 0 if exactly one mask is empty, NaN if both are.
    """
    return skeleton_overlap(prediction, vessels, fov).cldice


def betti_numbers(mask: ArrayLike) -> tuple[int, int]:
    """Count the connected components (Betti-0) and the holes (Betti-1) of a binary mask (H,W).

    Vessel pixels are 8-connected and background pixels 4-connected, so that a closed diagonal line encloses a hole.
    Beyond the frame is background.
    """
    vessels = as_mask(mask, "mask")
    components = ndimage.label(vessels, _EIGHT)[1]
    background = ndimage.label(~np.pad(vessels, 1))[1]
    return components, background - 1  # the background around the vessels is no hole


def betti_errors(prediction: ArrayLike, vessels: ArrayLike, fov: ArrayLike | None = None) -> dict[str, int]:
    """Compute the absolute differences of the two masks' Betti numbers.

    Positions do not count: a missed component and a false one cancel. Take the mean over images; in pooled counts
    images would cancel one another too.

    Returns:
        ``betti0_error`` (components) and ``betti1_error`` (holes); 0 is perfect, two empty masks included.
    """
    (components, holes), (true_components, true_holes) = map(betti_numbers, as_pair(prediction, vessels, fov))
    return {"betti0_error": abs(components - true_components), "betti1_error": abs(holes - true_holes)}


def vessel_width_recall(
    prediction: ArrayLike, vessels: ArrayLike, fov: ArrayLike | None = None, edges: Sequence[float] = (2, 4)
) -> dict[str, float]:
    """Compute the share of the true centre line that the prediction covers, for each class of vessel width.

    The width at a pixel of the skeleton is twice its distance to the nearest background pixel, centre to
    centre, so that vessels of one and of two pixels both have width 2 and three pixels make 4. Beyond the
    frame is not background, outside the FOV is.

    Args:
        prediction: (H,W) binary segmentation.
        vessels: (H,W) truth.
        fov: (H,W) mask of the pixels that count; None takes the whole frame.
        edges: rising upper limits of the width classes in pixels, each within its class; a last class holds
            what is wider.

    Returns:
        One value in [0, 1] a class, thinnest first, named ``"<=2"``, ``"2-4"``, ``">4"`` for the default
        edges; NaN for a class that does not occur.

    Raises:
        ValueError: edges that do not rise.
    """
    limits = np.asarray(edges, float)
    if limits.ndim != 1 or not limits.size or not (np.diff(limits) > 0).all():
        raise ValueError(f"edges is {edges!r}: expected rising widths in pixels, such as (2, 4)")
    predicted, truth = as_pair(prediction, vessels, fov)
    line = skeleton(truth)
    # Without any background pixel there is no distance to one: the frame's border then stands in for it.
    border = int(truth.all())
    distance = ndimage.distance_transform_edt(np.pad(truth, border))
    inside = slice(border, -border or None)
    place = np.searchsorted(limits, 2 * distance[inside, inside][line], side="left")
    found, total = (np.bincount(chosen, minlength=limits.size + 1) for chosen in (place[predicted[line]], place))
    between = [f"{low:g}-{high:g}" for low, high in pairwise(edges)]
    names = [f"<={edges[0]:g}", *between, f">{edges[-1]:g}"]
    return dict(zip(names, map(float, ratio(found, total)), strict=True))
