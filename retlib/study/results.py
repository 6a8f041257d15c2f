"""The table of scores: records in, one tidy DataFrame out, with the guards that every page relies on.

A row of the table is one score: of one image (``average`` is ``image``), or of all pixels of all test images together
(``pooled``, the image is empty). Pages select rows with pandas and hand them to :func:`summarise` and
:func:`difference`, which refuse rows that do not belong together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from retlib.study import statistics
from retlib.study.records import Record

COLUMNS = (
    "source",  # key of the paper or study
    "run",
    "group",  # the run without its fold: the folds of a group are joined
    "role",  # table, fold, ablation or control
    "kind",  # network, filter or observer
    "profile",
    "dataset",  # what the run stands for
    "model",
    "seed",
    "fold",  # 0 where the run is no fold
    "complete",  # whether every planned fold of this seed has a record
    "test",  # the test images: drive:test
    "image",
    "region",  # fov or frame
    "average",  # image or pooled
    "metric",
    "value",  # NaN where undefined
    "as_scored",  # whether test images, region and average are those that the run is scored by
    "learned",  # False for a run that never learned
    "stale",  # whether the record was measured by older numerics
    "record",  # the record's folder; its name is the record's id
)
PROFILE_ORDER = ("paper", "lite", "smoke")
SIZES = {"paper": "full size", "lite": "preview", "smoke": "smoke run"}  # what pages call a run of a profile
RANKED = ("auc", "average_precision")  # undefined for a binary annotation, which ranks no pixels
NEVER_LEARNED = 0.10  # highest training Dice in the second half of the epochs; fixed in book/protocol.md


def never_learned(record: Record) -> bool:
    """Tell whether a run never learned: its training Dice stays below 0.10 in the second half of its epochs.

    False for a record without training scores and for a smoke run, which is too short to learn.
    """
    history = record.content.get("history", [])
    dice = [row["train_dice"] for row in history[len(history) // 2 :] if row.get("train_dice") is not None]
    return record.profile != "smoke" and bool(dice) and max(dice) < NEVER_LEARNED


def fold_of(run: str) -> tuple[str, int]:
    """Split a run's name into its group and its fold: ``stare-fold2-unet`` -> (``stare-unet``, 2); fold 0 is none."""
    match = re.search(r"-fold(\d+)", run)
    return (run, 0) if match is None else (run.replace(match[0], ""), int(match[1]))


def tidy(record: Record, **about: Any) -> pd.DataFrame:
    """Read the scores of one record.

    Args:
        record: the record.
        **about: the columns that the record does not know: source, run, role, dataset; ``kind`` is ``network`` unless
            named.

    Returns:
        A frame with :data:`COLUMNS`; ``complete`` is True.
    """
    config = record.content["config"]
    scoring = config.get("scoring", {})
    group, fold = fold_of(about.get("run", ""))
    shared = {
        "kind": "network",
        "profile": record.profile,
        "model": config.get("model") or config.get("method") or "",
        "seed": config.get("seed", 0),
        "group": group,
        "fold": fold,
        "complete": True,
        "learned": not never_learned(record),
        "stale": record.stale,
        "record": record.folder,
    } | about
    blocks = []
    for label, test in record.content["tests"].items():
        for region, columns in test["per_image"].items():
            images, metrics = test["images"], list(columns)
            values = [math.nan if value is None else value for metric in metrics for value in columns[metric]]
            place = {"test": label, "region": region}
            block = {"image": images * len(metrics), "metric": np.repeat(metrics, len(images)), "value": values}
            blocks.append(pd.DataFrame(block | place | {"average": "image"}))
            pooled = test["metrics"][region].get("pooled", {})
            values = [math.nan if value is None else value for value in pooled.values()]
            block = {"image": "", "metric": list(pooled), "value": values}
            blocks.append(pd.DataFrame(block | place | {"average": "pooled"}))
    frame = pd.concat([block for block in blocks if len(block)], ignore_index=True) if blocks else pd.DataFrame()
    if frame.empty:
        return join([])
    frame = frame.assign(**shared)
    frame["value"] = frame["value"].astype(float)
    if shared["kind"] == "observer":
        frame.loc[frame["metric"].isin(RANKED), "value"] = math.nan
    # Betti errors and recall by vessel width are recorded inside the FOV, per image, whatever the run is scored by.
    alone = ~frame["metric"].isin(frame.loc[frame["average"] == "pooled", "metric"])
    own = (frame["region"] == scoring.get("region")) & (frame["average"] == scoring.get("average"))
    frame["as_scored"] = (own | alone) & (frame["test"] == next(iter(record.content["tests"])))
    return frame.reindex(columns=list(COLUMNS))


def join(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Put the scores of several records under one another; an empty frame with the columns for none."""
    frames = [frame for frame in frames if len(frame)]
    if frames:
        return pd.concat(frames, ignore_index=True)
    # Typed, since pages select rows by these columns.
    flags = {name: bool for name in ("complete", "as_scored", "learned", "stale")}
    return pd.DataFrame(columns=list(COLUMNS)).astype(flags | {"value": float, "seed": int})


def best_profile(rows: pd.DataFrame, each: str | Sequence[str] = "run") -> pd.DataFrame:
    """Keep, for each run, the rows of the best profile that has any: ``paper`` before ``lite`` before ``smoke``.

    Args:
        rows: scores, or any frame with a column ``profile``.
        each: columns that name what gets a profile of its own.
    """
    if rows.empty:
        return rows
    rank = rows["profile"].map(PROFILE_ORDER.index)
    best = rank.groupby([rows[name] for name in np.atleast_1d(each)]).transform("min")
    return rows[rank == best]


def same_profile(rows: pd.DataFrame, runs: Iterable[str], each: str = "run") -> pd.DataFrame:
    """Select some runs in one profile, since runs of different sizes are not comparable.

    The profile is the best one in which all of the runs are, or else the best one in which any is.
    """
    runs = set(runs)
    rows = rows[rows[each].isin(runs)]
    present = {profile: set(part[each]) for profile, part in rows.groupby("profile")}
    ordered = [profile for profile in PROFILE_ORDER if profile in present]
    whole = [profile for profile in ordered if present[profile] == runs]
    return rows[rows["profile"] == next(iter(whole + ordered), None)]


def matrix(rows: pd.DataFrame) -> pd.DataFrame:
    """Arrange the scores of one metric as seeds x images, the folds of a seed joined.

    Args:
        rows: of one group, profile, test set or set of folds, region and metric, with one value an image.

    Raises:
        ValueError: the rows mix metrics, regions, profiles or groups, score an image twice, or score different images
            with different seeds.
    """
    name = _name(rows)
    _expect_one(rows, "metric", "region", "profile", "group", "average")
    if rows.duplicated(["seed", "image"]).any():
        raise ValueError(f"{name}: its records do not score each image once; select one test set")
    table = rows.pivot(index="seed", columns="image", values="value")
    if table.size != len(rows):
        raise ValueError(f"{name}: its seeds were not scored on the same images")
    return table


def resampled(rows: pd.DataFrame) -> tuple[list[float], np.ndarray]:
    """Bootstrap the scores of one metric over test images.

    Args:
        rows: as for :func:`matrix`, or the pooled scores, one a seed.

    Returns:
        One value a seed, and (seeds, resamples) float64: the value of each resample of the images, which are drawn
        alike for every seed and every run that has as many images.
    """
    if set(rows["average"]) == {"image"}:
        values = matrix(rows).to_numpy()
        known = [seed[~np.isnan(seed)] for seed in values]
        means = [float(seed.mean()) if seed.size else math.nan for seed in known]
        return means, statistics.resample_means(values)
    _expect_one(rows, "metric", "average")
    if rows["seed"].duplicated().any():
        raise ValueError(f"{_name(rows)}: expected one score a seed; select one test set")
    rows = rows.sort_values("seed")
    samples = []
    for row in rows.itertuples():
        record = Record.read(row.record)
        histograms = record.histograms(row.test).select(region=row.region, pooled=False)
        samples.append(statistics.resample_pooled(histograms, record.content["threshold"], row.metric))
    return rows["value"].tolist(), np.stack(samples)


class Measured(NamedTuple):
    """A score of ours: mean over seeds, with its 95 % interval, and what it rests on."""

    value: float
    low: float
    high: float
    profile: str
    seeds: tuple[int, ...]
    never_learned: tuple[int, ...] = ()  # seeds whose run never learned
    stale: bool = False

    @property
    def basis(self) -> str:
        """What the number rests on: ``lite, 3 seeds (1 never learned)``."""
        return basis_text(self.profile, len(self.seeds), len(self.never_learned), self.stale)


def basis_text(profile: str, seeds: int, never: int = 0, stale: bool = False) -> str:
    """Word what a number rests on: its profile, the number of seeds, those that never learned, and staleness."""
    text = f"{profile}, 1 seed" if seeds == 1 else f"{profile}, {seeds} seeds"
    return text + (f" ({never} never learned)" if never else "") + (" (stale)" if stale else "")


def measure(rows: pd.DataFrame) -> Measured | None:
    """Average one metric over images and seeds, with a 95 % bootstrap interval over both; None without rows.

    Images are drawn with replacement, the same ones for every seed, and seeds are drawn with replacement. With one seed
    the interval covers the choice of images alone.
    """
    if rows.empty:
        return None
    values, samples = resampled(rows)
    known = [value for value in values if not math.isnan(value)]
    low, high = statistics.percentile_interval(statistics.draw_seeds(samples))
    return Measured(
        float(np.mean(known)) if known else math.nan,
        low,
        high,
        profile=rows["profile"].iloc[0],
        seeds=tuple(sorted(set(rows["seed"]))),
        never_learned=tuple(sorted(set(rows.loc[~rows["learned"], "seed"]))),
        stale=bool(rows["stale"].any()),
    )


def summarise(scores: pd.DataFrame, by: Sequence[str] = ("run", "metric")) -> pd.DataFrame:
    """Measure every group of rows, indexed by ``by``.

    Returns:
        Columns value, low, high, profile, seeds, never_learned (seeds), basis (the last three in words).

    Raises:
        ValueError: the rows of a group do not belong together, see :func:`matrix`.
    """
    lines = {}
    for key, rows in scores.groupby(list(by), sort=False, observed=True):
        ours = measure(rows)
        lines[key] = ours._asdict() | {"basis": ours.basis}
    return _frame(lines, list(by))


def summarise_epochs(histories: pd.DataFrame) -> pd.DataFrame:
    """Average the validation scores of every epoch over seeds, indexed by run, metric and epoch.

    Args:
        histories: one row an epoch and seed, of one profile a run, see `Study.histories`.

    Returns:
        The columns of :func:`summarise`; low and high are the lowest and the highest seed, since the scores of an
        epoch are kept for all validation images together.
    """
    lines = {}
    for (run, epoch), rows in histories.groupby(["run", "epoch"], sort=False):
        for metric in ("loss", "accuracy", "sensitivity", "dice"):
            column = f"validation_{metric}"
            values = rows[column].dropna().astype(float) if column in rows else pd.Series(dtype=float)
            if len(values):
                seeds = tuple(sorted(set(rows["seed"])))
                ours = Measured(values.mean(), values.min(), values.max(), rows["profile"].iloc[0], seeds)
                lines[run, metric, int(epoch)] = ours._asdict() | {"basis": ours.basis}
    return _frame(lines, ["run", "metric", "epoch"])


def _frame(lines: Mapping[tuple, dict], names: Sequence[str]) -> pd.DataFrame:
    """Build the frame of :func:`summarise` from index -> fields of `Measured`."""
    index = pd.MultiIndex.from_tuples(list(lines), names=names)
    return pd.DataFrame(list(lines.values()), index=index, columns=[*Measured._fields, "basis"])


class Difference(NamedTuple):
    """How much one run is above another: mean, 95 % interval over images and seeds, and each seed's difference."""

    value: float
    low: float
    high: float
    seeds: tuple[float, ...]
    profile: str

    @property
    def beyond_noise(self) -> bool:
        """Whether the interval excludes zero and the differences of all seeds have one sign.

        With one seed this speaks of the choice of images alone.
        """
        alike = min(self.seeds) > 0 or max(self.seeds) < 0
        return alike and (self.low > 0 or self.high < 0)


def difference(start: pd.DataFrame, end: pd.DataFrame) -> Difference | None:
    """Subtract the scores of one run from another's, paired by image and by seed.

    Both sides keep the seeds that both have. A resample draws the same images and the same seeds for both, so that an
    easy image or a lucky seed on both sides cancels out.

    Args:
        start: rows of one metric, as for :func:`matrix` or pooled.
        end: the same of the other run.

    Returns:
        ``end`` minus ``start``; None where they have no seed in common.

    Raises:
        ValueError: the two were not scored on the same images.
    """
    seeds = sorted(set(start["seed"]) & set(end["seed"]))
    if not seeds:
        return None
    start, end = (rows[rows["seed"].isin(seeds)] for rows in (start, end))
    if set(start["image"]) != set(end["image"]) or set(start["test"]) != set(end["test"]):
        raise ValueError(f"{_name(start)} and {_name(end)} were not scored on the same images: they cannot be paired")
    (before, lower), (after, upper) = resampled(start), resampled(end)
    each = tuple(b - a for a, b in zip(before, after, strict=True))
    low, high = statistics.percentile_interval(statistics.draw_seeds(upper - lower))
    return Difference(float(np.mean(each)), low, high, each, end["profile"].iloc[0])


def _name(rows: pd.DataFrame) -> str:
    return " and ".join(sorted(set(rows["group"]))) or "scores"


def _expect_one(rows: pd.DataFrame, *columns: str) -> None:
    for column in columns:
        if rows[column].nunique() > 1:
            found = ", ".join(sorted(map(str, set(rows[column]))))
            raise ValueError(f"{_name(rows)}: expected one {column}, got {found}")
