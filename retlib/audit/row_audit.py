"""Audit one row of a table: which pixels its numbers imply, and whether the numbers fit together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from retlib.audit import bounds
from retlib.audit.deviations import Background, FindTolerance, derive_score
from retlib.audit.intervals import Exact, Number, Reading, read_number, show
from retlib.audit.matrices import RATES, SCORES, SHORT, Matrices, name_scores
from retlib.audit.prevalence import Share, check_share, implied_share
from retlib.audit.verdicts import CONSISTENT, CUT_OFF, DOUBT, IMPOSSIBLE, ONLY_MEAN, Check, judge, soften, worst
from retlib.data.registry import COLLECTIONS

POOLED = "scores of one set of pixels, pooled"
_IDENTITIES = (
    ("dice", ("iou",), bounds.dice_of_iou),
    ("dice", ("precision", "sensitivity"), bounds.dice_of_precision),
    ("iou", ("precision", "sensitivity"), bounds.iou_of_precision),
    ("dice", ("accuracy",), bounds.dice_of_accuracy),
    ("iou", ("accuracy",), bounds.iou_of_accuracy),
    ("dice", RATES, None),
    ("iou", RATES, None),
    ("precision", RATES, None),
)
"""A score, those that determine it, and the bound that is proven for means over images, where there is one."""


@dataclass(frozen=True)
class RowAudit:
    """Outcome of the audit of one row.

    Attributes:
        label: Name of the row.
        where: The table or the part of the text.
        dataset: The data set that it names; None where it names none.
        kind: ``measured``, ``quoted``, ``claim`` or empty.
        scores: Score -> number as printed.
        readings: Score -> its rounding interval, for the scores that are checked.
        share: The implied vessel share; None where the row does not determine one.
        checks: Outcomes, in a fixed order.
    """

    label: str
    where: str
    dataset: str | None
    kind: str
    scores: Mapping[str, str]
    readings: Mapping[str, Reading]
    share: Share | None
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> str | None:
        """The hardest verdict of its checks; None where there was nothing to check."""
        return worst(check.verdict for check in self.checks)


def audit_row(
    scores: Mapping[str, Number],
    *,
    dataset: str | None = None,
    test_part: bool = False,
    background: Background | None = None,
    label: str = "",
    where: str = "",
    kind: str = "",
) -> RowAudit:
    """Compare the numbers of one row with one another and with the data set's labels.

    Args:
        scores: Score -> number (a text as printed, a printed number with the attribute ``text``, or a float). Used are
            accuracy, sensitivity, specificity, precision, dice and iou; others (AUC, loss) say nothing about one
            operating point and are ignored.
        dataset: The data set that was scored, by retlib's name; None if it is not known.
        test_part: Whether the customary test part was scored (DRIVE's twenty test images); otherwise any of the data
            set's images may have been.
        background: Measured shares and deviations, see `load_background`; none by default.
        label: Name of the row.
        where: The table or the part of the text.
        kind: ``measured``, ``quoted`` or ``claim``.

    Raises:
        ValueError: a number outside [0, 1], or none.
    """
    # A tolerance that was measured on retinal photographs says nothing about other pictures.
    judged = Background() if background is None or dataset not in (None, *COLLECTIONS) else background
    readings = {name: read_number(scores[name], name) for name in SCORES if name in scores}
    share, checks = _judge(readings, judged, dataset, test_part)
    if worst(check.verdict for check in checks) == IMPOSSIBLE:
        cut = {name: reading._replace(range=reading.cut) for name, reading in readings.items()}
        checks = soften(checks, _judge(cut, judged, dataset, test_part)[1], "allowed if cut off", CUT_OFF, "cut off")
    printed = {name: getattr(number, "text", str(number)) for name, number in scores.items()}
    return RowAudit(label, where, dataset, kind, printed, readings, share, tuple(checks))


def _judge(
    readings: Mapping[str, Reading], background: Background, dataset: str | None, test_part: bool
) -> tuple[Share | None, list[Check]]:
    """Derive the share and judge the numbers, by the range of each reading."""
    row = {name: reading.range for name, reading in readings.items()}
    true = background.shares.get(dataset or "")
    share = implied_share(readings)
    region = None
    if test_part and true is not None and share is not None and share.value is not None:
        region = true.nearest(float(share.value))
    tolerance = partial(background.tolerance, dataset=dataset, dice=_dice(readings), region=region)
    of_share = None
    if share is not None:
        share, of_share = check_share(share, row, true, test_part, tolerance)
    identities = [
        check
        for target, given, find_bound in _IDENTITIES
        if {target, *given} <= row.keys()
        and (check := _check_identity(target, given, find_bound, row, tolerance)) is not None
    ]
    checks = (of_share, *identities, _check_together(row, identities))
    return share, [check for check in checks if check is not None]


def _dice(readings: Mapping[str, Reading]) -> float | None:
    """The row's Dice as printed, else derived from its other numbers (three decimals); None if they leave it open."""
    values = {name: float(reading.value) for name, reading in readings.items()}
    if "dice" not in values:
        for given in (("iou",), ("precision", "sensitivity"), RATES):
            if set(given) <= values.keys():
                derived = derive_score("dice", {name: values[name] for name in given})
                return None if derived is None else round(derived, 3)
    return values.get("dice")


def _check_identity(
    target: str,
    given: tuple[str, ...],
    find_bound: Callable[..., Exact] | None,
    row: Mapping[str, Exact],
    find_tolerance: FindTolerance,
) -> Check | None:
    """Check a number of the row that others determine; None where these are of no matrix, or leave too much room."""
    ranges = {name: row[name] for name in given}
    printed, matrices = row[target], Matrices(ranges)
    bound = None if find_bound is None else find_bound(*ranges.values())
    broken = bound is not None and not bound.meets(printed)
    if (given == RATES and not matrices) or (given == ("accuracy",) and not broken):
        return None
    pooled, tolerance = matrices.range(target), find_tolerance(target, given)
    near = tolerance and pooled is not None and pooled.widened(tolerance.exact).meets(printed)
    verdict, basis = judge(pooled is not None and pooled.meets(printed), near, broken)
    said = f"{SHORT[target]} by {name_scores(given)} = {show(pooled) if pooled else 'none'}; printed {show(printed, 5)}"
    if basis == "bound" and given == ("iou",) and near:
        verdict, basis = DOUBT, "reading"
        said += "; an F1 computed from the means of P and Se may lie above that of their IoU"
    if basis == "bound":
        said += f"; any mean over images lies in {show(bound)}"
    elif tolerance is not None and verdict != CONSISTENT:
        said += f"; {tolerance.describe(SHORT[target])}"
    name = f"{SHORT[target]} against {name_scores(given)}"
    return Check(name, (target, *given), POOLED, said, verdict, basis)


def _check_together(row: Mapping[str, Exact], identities: list[Check]) -> Check | None:
    """Check, where no identity has failed, whether one confusion matrix rounds to all numbers of the row."""
    possible = bool(Matrices(row))
    if any(check.verdict != CONSISTENT for check in identities) or (possible and len(identities) < 2):
        return None
    said = f"{'a' if possible else 'no'} confusion matrix rounds to all of {name_scores(row)}"
    verdict, basis = (CONSISTENT, "rounding") if possible else (ONLY_MEAN, "pooled")
    return Check("all together", tuple(row), POOLED, said, verdict, basis)
