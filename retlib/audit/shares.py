"""The vessel share that a row implies, against the shares of a data set's labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from retlib.audit import bounds
from retlib.audit.background import REGIONS, Peers, Tolerance, TrueShares, as_exact
from retlib.audit.intervals import Exact, Interval, Reading, show
from retlib.audit.prevalence import SHARE_PAIRS, share_range, share_value
from retlib.audit.verdicts import CONSISTENT, IMPOSSIBLE, ONLY_MEAN, Check
from retlib.audit.words import name_scores, tell_tolerance

_FORMULAS = {
    ("sensitivity", "specificity"): "(Sp - Acc) / (Sp - Se)",
    ("precision", "sensitivity"): "(1 - Acc) / ((1 - Se) + Se (1/P - 1))",
}


@dataclass(frozen=True)
class Share:
    """The vessel share that a row implies.

    Attributes:
        pair: The two scores that fix it beside accuracy; None where the row has no such pair.
        exact: Its range over all confusion matrices that agree; None if there is none.
        wide: The range with the largest departure of our records on either side; None where that is not known.
        value: The share that the numbers as they stand give.
        region: What was scored, as far as the data set is known.
    """

    pair: tuple[str, str] | None
    exact: Exact | None
    wide: Exact | None
    value: Fraction | None
    region: str = ""

    @property
    def interval(self) -> Interval | None:
        """As floats."""
        return None if self.exact is None else self.exact.outward(self.value)


def implied_share(readings: Mapping[str, Reading]) -> Share | None:
    """The share, from accuracy and the first pair that the row has; from all it has where there is no pair."""
    if "accuracy" not in readings or len(readings) < 2:
        return None
    pair = next((pair for pair in SHARE_PAIRS if set(pair) <= readings.keys()), None)
    used = {name: readings[name] for name in (("accuracy", *pair) if pair else readings)}
    row = {name: reading.range for name, reading in used.items()}
    return Share(pair, share_range(row), None, share_value(used) if pair else None)


def _widened(share: Share, row: Mapping[str, Exact], tolerance: Tolerance | None) -> Exact | None:
    if tolerance is None:
        return None
    if share.exact is not None:
        return share.exact.widened(tolerance.exact)
    # No share at all: what accuracy would have to be off by is less than what the share is, so this is lenient.
    used = {name: row[name] for name in ("accuracy", *share.pair)}
    return share_range(used | {"accuracy": row["accuracy"].widened(tolerance.exact)})


def check_share(
    share: Share, row: Mapping[str, Exact], true: TrueShares | None, test_part: bool, peers: Peers
) -> tuple[Share, Check | None]:
    """The implied share against the shares of the data set's labels, region by region.

    Returns:
        The share with the range that averaging may give it and the region that it fits; and the outcome, None where
        there is nothing to hold it against.
    """
    metrics = ("accuracy", *share.pair) if share.pair else tuple(row)
    formula = _FORMULAS.get(share.pair or (), f"share by {name_scores(metrics)}")
    tolerance = peers.tolerance("prevalence", ("accuracy", *share.pair)) if share.pair else None
    share = replace(share, wide=_widened(share, row, tolerance))
    said = f"{formula} = {show(share.exact)}" if share.exact else f"no share from 0 to 1 gives {name_scores(metrics)}"
    if true is None:
        if share.exact is not None:
            return share, None
        assumption = "the scores are those of one set of images"
    elif test_part:
        assumption = f"scored was the {true.part} part of {true.title}, with its labels at their own size"
    else:
        assumption = f"scored were photographs of {true.title}"
    verdict, basis = _region_verdict(share, row, true, test_part, tolerance)
    if true is not None:
        share = replace(share, region=_region(share, true, test_part))
        spans = true.single if not test_part else {key: (value, value) for key, value in true.pooled.items()}
        said += "; labels: " + ", ".join(f"{REGIONS[key]} {_shares(span)}" for key, span in spans.items())
    if verdict != CONSISTENT and tolerance is not None:
        said += f"; {tell_tolerance('the share', tolerance)}"
    return share, Check("vessel share", metrics, assumption, said, verdict, basis)


def _region_verdict(
    share: Share, row: Mapping[str, Exact], true: TrueShares | None, test_part: bool, tolerance: Tolerance | None
) -> tuple[str, str]:
    targets = [Exact(Fraction(0), Fraction(1))]
    if true is not None:
        targets = [as_exact((value, value) if test_part else true.single[key]) for key, value in true.pooled.items()]
    if share.exact is not None and any(share.exact.meets(target) for target in targets):
        return CONSISTENT, "rounding"
    rates = ("accuracy", "sensitivity", "specificity")
    if true is not None and set(rates) <= row.keys():
        widest = as_exact(true.widest)
        if not bounds.rates_can_hold(*(row[name] for name in rates), shares=widest):
            return IMPOSSIBLE, "bound"
    if tolerance is None:
        return ONLY_MEAN, "not judged"
    near = share.wide is not None and any(share.wide.meets(target) for target in targets)
    return (ONLY_MEAN if near else IMPOSSIBLE), "records"


def _region(share: Share, true: TrueShares, test_part: bool) -> str:
    """The regions that the share fits, best match first: the customary part's, then any photographs'."""
    part = f"{true.part} part" if true.part != "all" else "all images"
    # Without a customary part, all images are one guess among many: it has to fit without allowance.
    for span in (share.exact, share.wide) if true.part != "all" else (share.exact,):
        fitting = [key for key, value in true.pooled.items() if span and span.meets(as_exact((value, value)))]
        if fitting:
            near = "near the " if span is share.wide and not test_part else ""
            return f"{' or '.join(REGIONS[key] for key in fitting)} ({near}{part})"
    fitting = [key for key, single in true.single.items() if share.exact and share.exact.meets(as_exact(single))]
    if fitting and not test_part:
        return f"{' or '.join(REGIONS[key] for key in fitting)} (some photographs)"
    return "neither region"


def _shares(span: tuple[float, float]) -> str:
    low, high = span
    return f"{low:.4f}" if low == high else f"{low:.4f} to {high:.4f}"
