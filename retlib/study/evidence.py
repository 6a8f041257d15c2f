"""What our records say about one run of a paper: means over seeds, bootstrap intervals, runs that never learned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from retlib.metrics import COUNT_METRICS, METRICS, Confusion, ScoreHistogram
from retlib.study import Record
from retlib.study.claims import COSTS

RESAMPLES = 2000
NEVER_LEARNED = 0.10  # see `never_learned`; the rule is fixed in book/protocol.md


def never_learned(record: Record) -> bool:
    """Tell whether a run never learned: its training Dice stays below 0.10 in the second half of its epochs.

    A record without training scores, and a smoke run, which is too short to learn, are never told to be one.
    """
    history = record.content.get("history", [])
    dice = [row["train_dice"] for row in history[len(history) // 2 :] if row.get("train_dice") is not None]
    return record.profile != "smoke" and bool(dice) and max(dice) < NEVER_LEARNED


@dataclass(frozen=True)
class Evidence:
    """The records of one run, one a seed, all of one profile.

    Attributes:
        run: the run's name in the paper's YAML.
        profile: ``paper``, ``lite`` or ``smoke``.
        records: at least one.
    """

    run: str
    profile: str
    records: tuple[Record, ...]

    @property
    def stale(self) -> bool:
        """Whether a record was measured by older numerics."""
        return any(record.stale for record in self.records)

    @property
    def never_learned(self) -> tuple[int, ...]:
        """Seeds whose run never learned, see :func:`never_learned`."""
        return tuple(record.content["config"]["seed"] for record in self.records if never_learned(record))

    def learned(self) -> Evidence | None:
        """Leave out the runs that never learned; None where no other is left."""
        kept = tuple(record for record in self.records if not never_learned(record))
        return Evidence(self.run, self.profile, kept) if kept else None

    def value(self, metric: str, label: str | None = None, region: str | None = None, average: str | None = None):
        """A metric, mean over seeds; NaN where it is undefined. ``label`` names the test selection."""
        values = [record.metrics(label, region, average).get(metric) for record in self.records]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else math.nan

    def interval(
        self, metric: str, label: str | None = None, region: str | None = None, average: str | None = None
    ) -> tuple[float, float]:
        """95 % bootstrap interval of :meth:`value` over test images and seeds; NaN where there is none.

        Images are drawn with replacement, the same ones for every seed; seeds are drawn with replacement too. With one
        seed the interval speaks of the images alone.
        """
        scoring = self.records[0].content["config"]["scoring"]
        region, average = region or scoring["region"], average or scoring["average"]
        paths = tuple((str(record.folder), record.id) for record in self.records)
        return _interval(paths, self.records, metric, label, region, average)

    def cost(self, name: str) -> float:
        """``parameters`` of the network, or the fewest ``step_s`` (seconds an optimiser step) among the seeds."""
        contents = [record.content for record in self.records]
        if name == "parameters":
            return contents[0]["model"]["parameters"]
        return min(content["timing"][name] for content in contents)

    def number(self, metric: str, epoch: int | None = None) -> float:
        """Look up what stands beside a printed number or in a claim: a score as the run is scored, or a cost.

        Betti errors and recall by vessel width are recorded inside the FOV alone, as means over images: those are
        taken, whatever the run's own region and average. With ``epoch`` it is that epoch's validation score.
        """
        if epoch is not None:
            return self.epoch_value(metric, epoch)
        if metric in COSTS:
            return self.cost(metric)
        if metric not in METRICS:
            return self.value(metric, region="fov", average="image")
        return self.value(metric)

    def epoch_value(self, metric: str, epoch: int) -> float:
        """A validation score (``loss``, ``accuracy``, ``sensitivity``, ``dice``) of an epoch, mean over seeds.

        NaN where it was not recorded, for instance because training had stopped before.
        """
        known = self._at_epoch(metric, epoch)
        return float(np.mean(known)) if known else math.nan

    def epoch_interval(self, metric: str, epoch: int) -> tuple[float, float]:
        """Lowest and highest :meth:`epoch_value` over seeds: an epoch's scores are kept for all images together."""
        known = self._at_epoch(metric, epoch)
        return (min(known), max(known)) if known else (math.nan, math.nan)

    def _at_epoch(self, metric: str, epoch: int) -> list[float]:
        rows = [row for record in self.records for row in record.history if row["epoch"] == epoch]
        found = [row.get(f"validation_{metric}") for row in rows]
        return [value for value in found if value is not None]


def paired_difference(
    start: Evidence, end: Evidence, metric: str, label: str | None = None
) -> tuple[float, float, float]:
    """How much ``end`` is above ``start`` in a metric, with a 95 % bootstrap interval: (difference, low, high).

    Both are resampled with the same images, so what an easy or a hard image does to both cancels out.

    Raises:
        ValueError: the two were not scored on the same images.
    """
    first, second = start.records[0], end.records[0]
    if first.test(label)["images"] != second.test(label)["images"]:
        raise ValueError(f"{start.run} and {end.run} were not scored on the same images: they cannot be paired")
    scoring = first.content["config"]["scoring"]
    region, average = scoring["region"], scoring["average"]
    weights = _weights(len(first.test(label)["images"]))
    means = [
        np.mean([_resampled(record, weights, metric, label, region, average) for record in evidence.records], axis=0)
        for evidence in (start, end)
    ]
    low, high = np.nanpercentile(means[1] - means[0], [2.5, 97.5])
    return end.value(metric, label) - start.value(metric, label), float(low), float(high)


def same_seeds(start: Evidence | None, end: Evidence | None) -> tuple[Evidence | None, Evidence | None]:
    """Both with the seeds that both have, in one order; None where they share none."""
    if start is None or end is None:
        return None, None
    of_seed = [{record.content["config"]["seed"]: record for record in item.records} for item in (start, end)]
    if not (seeds := sorted(of_seed[0].keys() & of_seed[1].keys())):
        return None, None
    chosen = [tuple(records[seed] for seed in seeds) for records in of_seed]
    return Evidence(start.run, start.profile, chosen[0]), Evidence(end.run, end.profile, chosen[1])


def seed_differences(start: Evidence, end: Evidence, metric: str) -> list[float]:
    """How much ``end`` is above ``start`` in a metric, seed by seed; both have the same seeds in one order."""
    each = zip(start.records, end.records, strict=True)
    return [
        Evidence(end.run, end.profile, (second,)).value(metric)
        - Evidence(start.run, start.profile, (first,)).value(metric)
        for first, second in each
    ]


def _weights(images: int) -> np.ndarray:
    """How often each image is drawn in each resample, float64 (RESAMPLES, images); always the same draws."""
    rng = np.random.default_rng(20041)
    return rng.multinomial(images, np.full(images, 1 / images), size=RESAMPLES).astype(np.float64)


def _interval(paths, records, metric, label, region, average) -> tuple[float, float]:
    key = (paths, metric, label, region, average)
    if key not in _cache():
        _cache()[key] = _bootstrap(records, metric, label, region, average)
    return _cache()[key]


@lru_cache(maxsize=1)
def _cache() -> dict:
    return {}


def _bootstrap(records: Sequence[Record], metric: str, label: str | None, region: str, average: str):
    weights = _weights(len(records[0].test(label)["images"]))
    rng = np.random.default_rng(20042)
    per_seed = np.stack([_resampled(record, weights, metric, label, region, average) for record in records])
    chosen = rng.integers(len(records), size=(len(records), RESAMPLES))
    values = per_seed[chosen, np.arange(RESAMPLES)].mean(axis=0)
    if np.isnan(values).all():
        return math.nan, math.nan
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def _resampled(record: Record, weights: np.ndarray, metric: str, label, region: str, average: str) -> np.ndarray:
    """The metric of each resample, (RESAMPLES,)."""
    if average == "image":
        values = record.per_image(label, region)[metric]
        known = ~np.isnan(values)
        total = weights[:, known].sum(axis=1)
        sums = weights[:, known] @ values[known]
        return np.divide(sums, total, out=np.full(len(weights), np.nan), where=total > 0)
    histogram = record.histograms(label).select(region=region, pooled=False)
    if metric in COUNT_METRICS:
        counts = histogram.counts(record.content["threshold"])
        return getattr(Confusion(*(weights @ getattr(counts, name) for name in ("tp", "fp", "fn", "tn"))), metric)
    if metric in ("auc", "average_precision"):
        drawn = weights.astype(np.int64)
        vessel, background = drawn @ histogram.vessel, drawn @ histogram.background
        return getattr(ScoreHistogram(histogram.edges, vessel, background, ()), metric)()
    return np.full(len(weights), np.nan)  # clDice of pooled pixels: no interval is computed
