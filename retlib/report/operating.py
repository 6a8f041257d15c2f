"""Operating points: what a row's scores fix, where our curves pass, and what one changed factor does to a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from retlib.audit import Interval, implied_prevalence
from retlib.metrics import ScoreHistogram
from retlib.study import Printed
from retlib.study.evidence import RESAMPLES, Evidence, paired_difference, same_seeds
from retlib.study.evidence_tables import profile_text
from retlib.study.findings import signed
from retlib.study.notebook import Study
from retlib.study.tables import DASH

RATES = ("sensitivity", "specificity", "accuracy", "precision", "dice")
FACTOR_METRICS = ("auc", "dice", "sensitivity", "specificity")


@dataclass(frozen=True)
class Point:
    """A point of a ROC curve.

    Attributes:
        sensitivity: share of the vessel pixels that are found.
        specificity: share of the background pixels that are left alone.
        threshold: probability that gives it; None for a printed point.
    """

    sensitivity: float
    specificity: float
    threshold: float | None = None

    def scores(self, share: float) -> dict[str, float]:
        """The scores of :data:`RATES` on pixels of which ``share`` are vessel: the point and the share fix them."""
        true, false = share * self.sensitivity, (1 - share) * (1 - self.specificity)
        found = true + false
        return {
            "sensitivity": self.sensitivity,
            "specificity": self.specificity,
            "accuracy": true + (1 - share) * self.specificity,
            "precision": true / found if found else math.nan,
            "dice": 2 * true / (found + share),
        }


def implied_share(printed: Mapping[str, Printed]) -> Interval:
    """The share of vessel pixels that accuracy, sensitivity and specificity of one set of pixels imply.

    Returns:
        (Sp - Acc) / (Sp - Se), with the range that the digits left out allow, see
        :func:`retlib.audit.implied_prevalence`.

    Raises:
        ValueError: one of the three is not printed, sensitivity and specificity are equal within rounding, or no share
            gives these numbers.
    """
    names = ("specificity", "accuracy", "sensitivity")
    if missing := [name for name in names if name not in printed]:
        raise ValueError(f"printed: expected {', '.join(names)}; {', '.join(missing)} is missing")
    high, low = printed["specificity"], printed["sensitivity"]
    if abs(high.value - low.value) <= high.half_unit + low.half_unit:
        raise ValueError("printed: sensitivity and specificity are equal within rounding, so every share fits")
    return implied_prevalence(**{name: printed[name] for name in names})


def printed_point(printed: Mapping[str, Printed]) -> Point:
    """The point of the ROC curve that a row prints."""
    return Point(printed["sensitivity"].value, printed["specificity"].value)


def point_at(histogram: ScoreHistogram, *, specificity: float | None = None, sensitivity: float | None = None) -> Point:
    """Where a pooled ROC curve reaches a specificity or a sensitivity.

    Between two of the curve's exact points (the edges of the histogram) sensitivity, specificity and threshold are
    interpolated linearly.

    Raises:
        ValueError: both or neither are given, or a value outside 0 to 1.
    """
    if (specificity is None) == (sensitivity is None):
        raise ValueError("point_at: expected either a specificity or a sensitivity")
    false, true, thresholds = histogram.roc_curve()
    axis, wanted = (false, 1 - specificity) if sensitivity is None else (true, sensitivity)
    if not 0 <= wanted <= 1:
        raise ValueError(
            f"point_at: expected a rate between 0 and 1, got {specificity if sensitivity is None else wanted}"
        )
    after = min(int(np.searchsorted(axis, wanted, side="right")), axis.size - 1)
    before = after - 1
    gap = axis[after] - axis[before]
    part = float(np.clip((wanted - axis[before]) / gap, 0, 1)) if gap > 0 else 1.0
    # Above the highest edge nothing is known but that the threshold lies there.
    start = thresholds[after] if math.isinf(thresholds[before]) else thresholds[before]

    def between(low: float, high: float) -> float:
        return float(low + part * (high - low))

    return Point(
        between(true[before], true[after]),
        1 - between(false[before], false[after]),
        between(start, thresholds[after]),
    )


def pooled_scores(evidence: Evidence) -> ScoreHistogram:
    """Score histogram of a run's first seed, pooled over its test images, in its own region."""
    record = evidence.records[0]
    return record.histograms().select(region=record.content["config"]["scoring"]["region"], pooled=True)


def vessel_share(histogram: ScoreHistogram) -> float:
    """Share of vessel pixels among all pixels of a pooled histogram."""
    vessel, background = histogram.vessel.sum(), histogram.background.sum()
    return float(vessel / (vessel + background))


def point_table(study: Study, run: str, number: str, row: int = 0) -> pd.DataFrame:
    """A row's operating point beside ours: as printed, as its point and share imply, and on our curve.

    Args:
        study: the paper and the records.
        run: the run that stands beside the row.
        number: the table's number.
        row: the row, counted from 0.

    Returns:
        Indexed by ``operating point``; columns threshold and :data:`RATES`; NaN where nobody has run it. A smoke run
        stands alone: phantoms are not compared with printed numbers.
    """
    table = study.paper.tables[number]
    printed = table.values(row)[table.rows[row].dataset]
    target, share = printed_point(printed), implied_share(printed).value
    lines: dict[str, dict[str, float]] = {}
    if study.parameters.profile != "smoke":
        lines["the paper, as printed"] = {name: printed[name].value for name in RATES if name in printed}
        lines["the paper, from its point and vessel share"] = target.scores(share)
    evidence = study.evidence(run)
    places = ("at our threshold", "at the paper's specificity", "at the paper's sensitivity")
    ours = f"ours ({DASH if evidence is None else profile_text(evidence, first=True)})"
    if evidence is None:
        lines |= {f"{ours}, {place}": {} for place in places}
    else:
        histogram, threshold = pooled_scores(evidence), evidence.records[0].content["threshold"]
        counts = histogram.metrics(threshold)
        lines[f"{ours}, {places[0]}"] = {"threshold": threshold} | {name: counts[name] for name in RATES}
        points = (
            point_at(histogram, specificity=target.specificity),
            point_at(histogram, sensitivity=target.sensitivity),
        )
        for place, point in zip(places[1:], points, strict=True):
            scores = point.scores(vessel_share(histogram))
            lines[f"{ours}, {place}"] = {"threshold": point.threshold} | scores
    frame = pd.DataFrame.from_dict(lines, orient="index", columns=["threshold", *RATES], dtype=float)
    return frame.rename_axis("operating point")


def roc_figure(curves: Mapping[str, ScoreHistogram], points: Mapping[str, Point], corner: float = 0.06) -> Figure:
    """ROC curves over the whole range, and up to a false-positive rate of ``corner``; operating points by title."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.9))
    for axis in axes:
        for title, histogram in curves.items():
            false, true, _ = histogram.roc_curve()
            axis.plot(false, true, label=f"{title}, AUC {float(histogram.auc()):.3f}")
        for marker, (title, point) in zip("osD^v", points.items(), strict=False):
            style = {"color": "black", "fillstyle": "none", "linestyle": "none", "markersize": 7}
            axis.plot(1 - point.specificity, point.sensitivity, marker, label=title, **style)
        axis.set(xlabel="1 - specificity", ylabel="sensitivity")
    axes[0].set(xlim=(-0.02, 1.02), ylim=(0, 1.02))
    axes[1].set(xlim=(0, corner), ylim=(0, 1.02))
    axes[0].legend(loc="lower right", fontsize=8)
    return figure


def pr_figure(curves: Mapping[str, ScoreHistogram], points: Mapping[str, tuple[float, float]]) -> Figure:
    """Precision-recall curves, and operating points as (recall, precision)."""
    figure, axis = plt.subplots(figsize=(5.5, 4))
    for title, histogram in curves.items():
        precision, recall, _ = histogram.pr_curve()
        axis.plot(recall, precision, label=f"{title}, AP {float(histogram.average_precision()):.3f}")
    for marker, (title, point) in zip("osD^v", points.items(), strict=False):
        axis.plot(*point, marker, color="black", fillstyle="none", linestyle="none", markersize=7, label=title)
    axis.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall (sensitivity)", ylabel="precision")
    axis.legend(loc="lower left", fontsize=8)
    return figure


def histories_figure(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Training loss, validation loss and validation Dice over the epochs, a line for each titled history.

    What no history has gets no panel: a run that watches no validation images has its training loss alone.
    """
    panels = {"training loss": "train_loss", "validation loss": "validation_loss", "validation Dice": "validation_dice"}
    panels = {
        title: column
        for title, column in panels.items()
        if any(row.get(column) is not None for history in histories.values() for row in history)
    }
    figure, axes = plt.subplots(1, len(panels), figsize=(10 / 3 * len(panels), 3.2), squeeze=False)
    for axis, (title, column) in zip(axes[0], panels.items(), strict=True):
        for name, history in histories.items():
            known = [(row["epoch"], row[column]) for row in history if row.get(column) is not None]
            axis.plot(*zip(*known, strict=True), marker="o", markersize=3, label=name)
        axis.set(title=title, xlabel="epoch")
    axes[0, 0].legend(fontsize=7)
    return figure


def threshold_figure(histogram: ScoreHistogram, marks: Mapping[str, float]) -> Figure:
    """Sensitivity, specificity and Dice of pooled pixels over the threshold, with thresholds marked by name."""
    false, true, thresholds = histogram.roc_curve()
    inner = slice(1, -1)  # less the two ends, where everything or nothing is vessel
    share = vessel_share(histogram)
    dice = [Point(t, 1 - f).scores(share)["dice"] for t, f in zip(true[inner], false[inner], strict=True)]
    figure, axis = plt.subplots(figsize=(5.5, 3.6))
    for title, values in {"sensitivity": true[inner], "specificity": 1 - false[inner], "Dice": dice}.items():
        axis.plot(thresholds[inner], values, label=title)
    for style, (title, threshold) in zip(("--", ":", "-."), marks.items(), strict=False):
        axis.axvline(threshold, color="black", linewidth=1, linestyle=style, label=f"{title}: {threshold:.3f}")
    axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="threshold (probability)")
    axis.legend(loc="lower center", fontsize=8)
    return figure


def factor_step(study: Study, start: str, end: str, metric: str) -> tuple[float, float, float] | None:
    """What going from one run to another brings, (difference, low, high), paired over test images; None without both.

    Both are of the notebook's own profile: runs of different sizes do not compare. Metrics of pixel counts are
    averaged as the runs are scored; of ``auc`` the mean over images is taken, whose images can be drawn again. Where
    the two have several seeds in common the means over those are compared.
    """
    pair = same_seeds(study.evidence(start, best=False), study.evidence(end, best=False))
    if None in pair:
        return None
    return paired_difference(*pair, metric) if metric != "auc" else _paired_over_images(*pair, metric)


def factors(study: Study, start: str, names: Sequence[str], metrics: Sequence[str] = FACTOR_METRICS) -> pd.DataFrame:
    """Runs that differ from one in a single thing: their scores, and the paired difference to that one.

    Args:
        study: the paper and the records.
        start: the run that the others are compared with; its scores come first.
        names: the other runs.
        metrics: retlib's names.

    Returns:
        Indexed by run (its line for people) and metric; columns measured, difference, 95 % interval, profile.
    """
    plan = study.paper.plan(study.parameters.profile)
    lines = []
    for name in (start, *names):
        evidence = study.evidence(name, best=False)
        for metric in metrics:
            average = "image" if metric == "auc" else None
            found = None if name == start else factor_step(study, start, name, metric)
            lines.append(
                {
                    "run": plan[name].about,
                    "metric": "AUC, mean over images" if metric == "auc" else metric,
                    "measured": math.nan if evidence is None else evidence.value(metric, average=average),
                    "difference": math.nan if found is None else found[0],
                    "95 % interval": None if found is None else found[1:],
                    "profile": DASH if evidence is None else profile_text(evidence),
                }
            )
    return pd.DataFrame(lines).set_index(["run", "metric"])


def factor_sentence(study: Study, what: str, start: str, end: str, metrics: Mapping[str, str]) -> str:
    """One sentence on a factor: the differences in metrics (by title), and which the choice of images could explain."""
    parts = []
    for title, metric in metrics.items():
        found = factor_step(study, start, end, metric)
        if found is None:
            return f"{what}: not run."
        difference, low, high = found
        judged = "" if low > 0 or high < 0 else ", within what the choice of test images brings about"
        parts.append(f"{title} {signed(difference)} (95 % interval {signed(low)} to {signed(high)}{judged})")
    return f"{what}: {'; '.join(parts)}."


def _paired_over_images(start: Evidence, end: Evidence, metric: str) -> tuple[float, float, float]:
    first, second = ([record.per_image()[metric] for record in evidence.records] for evidence in (start, end))
    if start.records[0].test()["images"] != end.records[0].test()["images"]:
        raise ValueError(f"{start.run} and {end.run} were not scored on the same images: they cannot be paired")
    change = np.mean(second, axis=0) - np.mean(first, axis=0)
    change = change[~np.isnan(change)]
    if not change.size:
        return math.nan, math.nan, math.nan
    drawn = np.random.default_rng(20041).integers(change.size, size=(RESAMPLES, change.size))
    low, high = np.percentile(change[drawn].mean(axis=1), [2.5, 97.5])
    return float(change.mean()), float(low), float(high)
