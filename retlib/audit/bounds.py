"""Compute bounds that hold for means over images as well: a row that breaks one is not of one set of images.

Every image obeys the identities of pooled pixels, so a mean over images is a mean of points of a curved surface, and
lies between the surface's convex and concave envelopes. Where those are known in closed form they are used here, at the
corner of the rounding intervals that favours the row.
"""

from __future__ import annotations

from fractions import Fraction

from retlib.audit.intervals import Exact


def dice_of_iou(iou: Exact) -> Exact:
    """Bound the Dice of a mean over images by its IoU: ``IoU <= Dice <= 2 IoU / (1 + IoU)``.

    On an image Dice is 2 J / (1 + J), concave in J, so a mean stays below the curve at the mean J and above the chord
    from (0, 0) to (1, 1). Both grow with J.
    """
    return Exact(iou.low, 2 * iou.high / (1 + iou.high))


def dice_of_precision(precision: Exact, sensitivity: Exact) -> Exact:
    """Bound the Dice (F1) of a mean over images: ``max(0, P + R - 1) <= F1 <= 2 P R / (P + R)``.

    On an image F1 is the harmonic mean, concave on the unit square, so a mean stays below it; its convex envelope is
    that of its values at the corners of the square (0, 0, 0 and 1). All grow with P and with R.
    """
    total = precision.high + sensitivity.high
    high = 2 * precision.high * sensitivity.high / total if total else Fraction(0)
    return Exact(max(Fraction(0), precision.low + sensitivity.low - 1), high)


def iou_of_precision(precision: Exact, sensitivity: Exact) -> Exact:
    """Bound the IoU of a mean over images: ``max(0, P + R - 1) <= IoU <= min(P, R)``.

    On an image IoU is at most P and at most R, and with a = 1 - P, b = 1 - R it is at least 1 - a - b:
    (1 - a - b)(1 - a b) <= (1 - a)(1 - b), since a b (a + b) <= 2 a b. Means of linear bounds are the bounds of the
    means.
    """
    low = max(Fraction(0), precision.low + sensitivity.low - 1)
    return Exact(low, min(precision.high, sensitivity.high))


def dice_of_accuracy(accuracy: Exact) -> Exact:
    """Bound the Dice of a mean over images by its accuracy: ``Dice <= 2 A / (1 + A)``.

    On an image the true positives are at most a share A of the pixels, and the errors are the share 1 - A. The curve is
    concave and grows with A.
    """
    return Exact(Fraction(0), 2 * accuracy.high / (1 + accuracy.high))


def iou_of_accuracy(accuracy: Exact) -> Exact:
    """Bound the IoU of a mean over images by its accuracy, ``IoU <= A``: true negatives can only raise accuracy."""
    return Exact(Fraction(0), accuracy.high)


def rates_can_hold(accuracy: Exact, sensitivity: Exact, specificity: Exact, shares: tuple[Fraction, Fraction]) -> bool:
    """Check whether Acc, Se and Sp can be pooled scores or means over images whose vessel shares lie in a range.

    With the share p_i, the difference d_i = Sp_i - Se_i of image i gives Sp_i - Acc_i = p_i d_i. Let D be the mean of
    the negative parts of d_i; then with d = Sp - Se, a = lowest and b = highest share,

        a d - (b - a) D <= Sp - Acc <= b d + (b - a) D,   and   D <= min(1 - Sp, Se),

    the last because -d_i = Se_i - Sp_i is at most 1 - Sp_i and at most Se_i. So nothing has to be assumed of the sign
    of d_i. Each side fails as soon as one of two linear functions of the three scores is positive; both are lowest at
    the same corner of the rounding intervals, so it is enough to look there.

    Args:
        accuracy: Rounding interval.
        sensitivity: Rounding interval.
        specificity: Rounding interval.
        shares: Lowest and highest vessel share that an image can have.
    """
    a, b = shares
    acc, se, sp = accuracy.high, sensitivity.low, specificity.low
    too_far_above = sp - acc - b * (sp - se) > (b - a) * max(Fraction(0), min(1 - sp, se))
    acc, se, sp = accuracy.low, sensitivity.high, specificity.high
    too_far_below = a * (sp - se) - (sp - acc) > (b - a) * max(Fraction(0), min(1 - sp, se))
    return not (too_far_above or too_far_below)
