"""Derive the share of vessel pixels from a row's own numbers, and compare it with the labels of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from retlib.audit import bounds
from retlib.audit.deviations import REGIONS, FindTolerance
from retlib.audit.intervals import Exact, Interval, Number, Reading, read_number, show
from retlib.audit.matrices import RATES, Matrices, name_scores
from retlib.audit.verdicts import CONSISTENT, Check, judge
from retlib.data.measurements import VesselShares

SHARE_PAIRS: tuple[tuple[str, str], ...] = (
    ("sensitivity", "specificity"),
    ("precision", "sensitivity"),
    ("sensitivity", "dice"),
    ("sensitivity", "iou"),
    ("precision", "dice"),
    ("precision", "iou"),
    ("precision", "specificity"),
    ("specificity", "dice"),
    ("specificity", "iou"),
)
"""Pairs of scores that, with accuracy, determine the vessel share; the best known first."""

_FORMULAS = {
    RATES[1:]: "(Sp - Acc) / (Sp - Se)",
    ("precision", "sensitivity"): "(1 - Acc) / ((1 - Se) + Se (1/P - 1))",
}


def implied_prevalence(
    *,
    accuracy: Number,
    sensitivity: Number | None = None,
    specificity: Number | None = None,
    precision: Number | None = None,
    recall: Number | None = None,
    dice: Number | None = None,
    iou: Number | None = None,
    decimals: int | None = None,
) -> Interval:
    """Compute the share of vessel pixels in the pixels that were scored, from accuracy and two other scores.

    From sensitivity and specificity it is (Sp - Acc) / (Sp - Se); from precision P and recall R it is
    (1 - Acc) / ((1 - R) + R (1 / P - 1)). The range holds every share that some confusion matrix has whose scores round
    to the numbers, and no other. The scores are taken as those of one set of pixels; means over images only come near.

    Args:
        accuracy: Fraction of one: a text as printed (``"0.9554"``, ``"95.54%"``), a printed number with the attribute
            ``text``, or a float. The other scores are given in the same way.
        sensitivity: Another name for recall.
        specificity: True negative rate.
        precision: Positive predictive value.
        recall: Another name for sensitivity.
        dice: Another name for F1.
        iou: The Jaccard index.
        decimals: Digits after the point that floats were printed with; by default those that Python shows, so 0.95 has
            two. Texts show it themselves.

    Returns:
        Value, low and high, fractions of one. Where more than two scores are given, or they determine no single share,
        the value is the middle of the range unless the numbers as they stand agree on one.

    Raises:
        ValueError: a number that is none or lies outside [0, 1]; too few scores; sensitivity and recall both given; or
            no share from 0 to 1 gives these numbers.

    Example:
        >>> implied_prevalence(accuracy="0.9554", sensitivity="0.7294", specificity="0.9771").low > 0.087
        True
    """
    if sensitivity is not None and recall is not None:
        raise ValueError("recall: it is sensitivity by another name, expected one of the two")
    given = {
        "accuracy": accuracy,
        "sensitivity": recall if sensitivity is None else sensitivity,
        "specificity": specificity,
        "precision": precision,
        "dice": dice,
        "iou": iou,
    }
    readings = {name: read_number(number, name, decimals) for name, number in given.items() if number is not None}
    if not any(set(pair) <= readings.keys() for pair in SHARE_PAIRS):
        raise ValueError(
            "implied_prevalence: expected accuracy with sensitivity and specificity, with precision and recall, or "
            f"with another pair that fixes the share; got {', '.join(readings)}"
        )
    span = Matrices({name: reading.range for name, reading in readings.items()}).range("prevalence")
    if span is None:
        raise ValueError(
            "no share of vessel pixels from 0 to 1 gives "
            + ", ".join(f"{name} {float(reading.value):g}" for name, reading in readings.items())
        )
    return span.outward(_value(readings))


@dataclass(frozen=True)
class Share:
    """The vessel share that a row implies.

    Attributes:
        pair: The two scores that determine it beside accuracy; None where the row has no such pair.
        exact: Its range over all confusion matrices that agree; None if there is none.
        wide: The range with the tolerance of our records on either side; None where that is not known.
        value: The share that the numbers as they stand give.
        region: Which region of which images it fits, as far as the data set is known.
    """

    pair: tuple[str, str] | None
    exact: Exact | None
    wide: Exact | None
    value: Fraction | None
    region: str = ""

    @property
    def interval(self) -> Interval | None:
        """The range as floats."""
        return None if self.exact is None else self.exact.outward(self.value)


def implied_share(readings: Mapping[str, Reading]) -> Share | None:
    """Derive the share from accuracy and the first pair that the row has; from all its scores where it has no pair."""
    if "accuracy" not in readings or len(readings) < 2:
        return None
    pair = next((pair for pair in SHARE_PAIRS if set(pair) <= readings.keys()), None)
    used = {name: readings[name] for name in (("accuracy", *pair) if pair else readings)}
    exact = Matrices({name: reading.range for name, reading in used.items()}).range("prevalence")
    return Share(pair, exact, None, _value(used) if pair else None)


def check_share(
    share: Share, row: Mapping[str, Exact], true: VesselShares | None, test_part: bool, tolerance: FindTolerance
) -> tuple[Share, Check | None]:
    """Compare the implied share with the shares of the data set's labels, region by region.

    Returns:
        The share with the range that averaging may give it and the region that it fits; and the outcome, None where
        there is nothing to compare it with.
    """
    metrics, allowed, wide = tuple(row), None, None
    if share.pair:
        metrics = ("accuracy", *share.pair)
        allowed = tolerance("prevalence", metrics)
    if allowed is not None and share.exact is not None:
        wide = share.exact.widened(allowed.exact)
    elif allowed is not None:
        # Accuracy is widened instead. It would have to move less than the share, so this is lenient.
        moved = {"accuracy": row["accuracy"].widened(allowed.exact)}
        wide = Matrices({name: row[name] for name in metrics} | moved).range("prevalence")
    share = replace(share, wide=wide)
    formula = _FORMULAS.get(share.pair or (), f"share by {name_scores(metrics)}")
    said = f"{formula} = {show(share.exact)}" if share.exact else f"no share from 0 to 1 gives {name_scores(metrics)}"
    if true is None:
        if share.exact is not None:
            return share, None
        assumption = "the scores are those of one set of images"
        targets, widest = [Exact(Fraction(0), Fraction(1))], (0, 1)
    else:
        share = replace(share, region=_region(share, true, test_part))
        spans = {key: (value, value) for key, value in true.pooled.items()} if test_part else true.single
        said += "; labels: " + ", ".join(f"{REGIONS[key]} {_show_shares(span)}" for key, span in spans.items())
        assumption = f"scored were photographs of {true.title}"
        if test_part:
            assumption = f"scored was the {true.part} part of {true.title}, with its labels at their own size"
        targets, widest = [_exact(span) for span in spans.values()], true.widest
    fits, near = (span is not None and any(map(span.meets, targets)) for span in (share.exact, share.wide))
    broken = set(RATES) <= row.keys() and not bounds.rates_can_hold(*(row[name] for name in RATES), _exact(widest))
    verdict, basis = judge(fits, near if allowed else None, broken)
    if verdict != CONSISTENT and allowed is not None:
        said += f"; {allowed.describe('the share')}"
    return share, Check("vessel share", metrics, assumption, said, verdict, basis)


def _value(readings: Mapping[str, Reading]) -> Fraction | None:
    """The share that the numbers as they stand give; None where they give none or no single one."""
    values = {name: Exact(reading.value, reading.value) for name, reading in readings.items()}
    point = Matrices(values).range("prevalence")
    return point.low if point is not None and point.low == point.high else None


def _region(share: Share, true: VesselShares, test_part: bool) -> str:
    """Name the regions that the share fits, best match first: the customary part's, then any photographs'."""
    pooled = {key: (value, value) for key, value in true.pooled.items()}
    guesses = [(share.exact, pooled, "all images" if true.part == "all" else f"{true.part} part")]
    # Without a customary part, all images are one guess among many: it has to fit without allowance.
    if true.part != "all":
        guesses.append((share.wide, pooled, f"{true.part} part" if test_part else f"near the {true.part} part"))
    if not test_part:
        guesses.append((share.exact, true.single, "some photographs"))
    for span, targets, images in guesses:
        fitting = [REGIONS[key] for key, target in targets.items() if span and span.meets(_exact(target))]
        if fitting:
            return f"{' or '.join(fitting)} ({images})"
    return "neither region"


def _exact(ends: tuple[float, float]) -> Exact:
    return Exact(*map(Fraction, ends))


def _show_shares(ends: tuple[float, float]) -> str:
    low, high = ends
    return f"{low:.4f}" if low == high else f"{low:.4f} to {high:.4f}"
