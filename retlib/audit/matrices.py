"""Find all confusion matrices whose scores round to the numbers of a row, and the range of any other score over them.

Divided by the number of pixels, a confusion matrix is four shares (TP, FN, FP, TN) from 0 up with the sum 1: a point of
a tetrahedron. Each score here is a ratio N / D of sums of shares, so "N / D rounds to what is printed", low <= N / D <=
high, means low D <= N <= high D: the point lies between two planes. The matrices that agree with a whole row are the
part of the tetrahedron between the planes of all its numbers, a convex polytope, which is stored as its corners.

A score takes its lowest and highest value over the polytope at corners: with a point x = sum w_i c_i of corners c_i,
N(x) / D(x) is the mean of the corners' N / D with weights w_i D(c_i), for D is nowhere negative. (Where D(c_i) = 0 the
score is undefined, N(c_i) is 0 too, and the corner weighs nothing.) Corners and planes are stored as whole numbers, up
to a positive factor, which changes no score and no side. So a range here is exact but for one relaxation: counts of
pixels are whole numbers, shares need not be. An empty set proves that there is no matrix; and on photographs, with a
million pixels, the relaxation is far below the last printed digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import gcd
from operator import mul

from retlib.audit.intervals import Exact

SCORES: dict[str, tuple[tuple[int, int, int, int], tuple[int, int, int, int]]] = {
    #                TP FN FP TN   over  TP FN FP TN
    "accuracy": ((1, 0, 0, 1), (1, 1, 1, 1)),
    "sensitivity": ((1, 0, 0, 0), (1, 1, 0, 0)),
    "specificity": ((0, 0, 0, 1), (0, 0, 1, 1)),
    "precision": ((1, 0, 0, 0), (1, 0, 1, 0)),
    "dice": ((2, 0, 0, 0), (2, 1, 1, 0)),
    "iou": ((1, 0, 0, 0), (1, 1, 1, 0)),
    "prevalence": ((1, 1, 0, 0), (1, 1, 1, 1)),
}
"""Score -> the cells in its numerator and denominator, in the order TP, FN, FP, TN."""

RATES = ("accuracy", "sensitivity", "specificity")
SHORT = {"accuracy": "Acc", "sensitivity": "Se", "specificity": "Sp", "precision": "P", "dice": "Dice", "iou": "IoU"}
"""Score -> its short name in print."""

Four = tuple[int, int, int, int]


class Matrices:
    """The confusion matrices, in shares of the pixels, that give every score of a row within its range.

    Args:
        row: Score (a key of `SCORES`) -> range.
    """

    def __init__(self, row: Mapping[str, Exact]) -> None:
        # Corner -> numbers of the planes it lies on. Plane i of the tetrahedron is "cell i is 0".
        corners: dict[Four, frozenset[int]] = {
            tuple(int(i == k) for i in range(4)): frozenset(i for i in range(4) if i != k) for k in range(4)
        }
        planes: list[Four] = []
        for score, (low, high) in row.items():
            cells = list(zip(*SCORES[score], strict=True))
            planes.append(tuple(n * low.denominator - d * low.numerator for n, d in cells))
            planes.append(tuple(d * high.numerator - n * high.denominator for n, d in cells))
        for number, plane in enumerate(planes, 4):
            corners = _cut(corners, plane, number)
        # A matrix for which a printed score is undefined does not count. Where every score is defined at some corner,
        # all are at the corners' mean.
        defined = all(any(_dot(SCORES[score][1], corner) for corner in corners) for score in row)
        self.corners: list[Four] = list(corners) if defined else []

    def __bool__(self) -> bool:
        return bool(self.corners)

    def range(self, score: str, of_background: bool = False) -> Exact | None:
        """Lowest and highest value of a score over these matrices; None if there is none, or none that defines it.

        Args:
            score: A key of `SCORES`.
            of_background: Whether to take background for what was to be found, and vessels for the rest.
        """
        top, bottom = (cells[::-1] if of_background else cells for cells in SCORES[score])
        values = [Fraction(_dot(top, c), d) for c in self.corners if (d := _dot(bottom, c))]
        return Exact(min(values), max(values)) if values else None


def name_scores(scores: Iterable[str]) -> str:
    """Join the short names of scores: ``Acc, Se and Sp``."""
    shorts = [SHORT[name] for name in scores]
    return shorts[0] if len(shorts) == 1 else ", ".join(shorts[:-1]) + " and " + shorts[-1]


def _cut(corners: dict[Four, frozenset[int]], plane: Four, number: int) -> dict[Four, frozenset[int]]:
    """Cut a polytope with the half-space ``plane . x >= 0``: keep its corners there, add one where an edge crosses.

    Two corners are the ends of an edge if no third one lies on all the planes that they share (two at least).
    """
    sides = {corner: _dot(plane, corner) for corner in corners}
    left = {corner: corners[corner] | ({number} if not side else set()) for corner, side in sides.items() if side >= 0}
    for inside, a in sides.items():
        for outside, b in sides.items():
            if not a > 0 > b:
                continue
            common = corners[inside] & corners[outside]
            if len(common) >= 2 and sum(common <= planes for planes in corners.values()) == 2:
                point = [a * y - b * x for x, y in zip(inside, outside, strict=True)]
                factor = gcd(*point)
                left[tuple(x // factor for x in point)] = common | {number}
    return left


def _dot(weights: Four, point: Four) -> int:
    return sum(map(mul, weights, point))
