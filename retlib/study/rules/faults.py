"""Measure what a fault of the protocol adds to a score: the same predictions, scored as one should not.

Most faults follow from the histograms of a run's record. Resized labels and an epoch that is chosen on the test images
need records of their own, see `planned` and `make_records`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from retlib.metrics import Confusion
from retlib.metrics.counts import ratio
from retlib.study.config import EpochsConfig, RescoredConfig
from retlib.study.records import Record
from retlib.study.rescore import rescore, score_epochs
from retlib.study.results import best_profile
from retlib.study.runner import weights_path

if TYPE_CHECKING:
    from retlib.study.notebook import Study

FRAME = "whole frame instead of the FOV"
BLANKED = "whole frame, nothing predicted outside the FOV"
TEST_THRESHOLD = "threshold chosen on the test images"
IMAGE_THRESHOLD = "threshold chosen on each test image"
RESIZED = "labels resized"
TEST_EPOCH = "epoch chosen on the test images"
# Fault -> the scores that it is shown on.
FAULTS = {
    FRAME: ("accuracy", "specificity", "auc", "dice"),
    BLANKED: ("accuracy", "specificity", "auc", "dice"),
    TEST_THRESHOLD: ("dice", "sensitivity"),
    IMAGE_THRESHOLD: ("dice", "sensitivity"),
    RESIZED: ("dice", "auc", "cldice"),
    TEST_EPOCH: ("dice", "auc"),
}
COLUMNS = ("fault", "metric", "sound", "faulty")


def costs(study: Study, runs: Iterable[str]) -> pd.DataFrame:
    """List what each fault does to the scores of some runs, as far as there are records.

    Args:
        study: The study.
        runs: Runs without folds, each in its best profile.

    Returns:
        One row for each run, seed, fault and metric: run, model, seed, fault, metric, sound (the mean over test images
        by the protocol), faulty (with the fault).
    """
    runs = list(runs)
    known = study.records()
    parts = [
        record_costs(Record.read(row.record)).assign(run=row.run, model=row.model, seed=row.seed)
        for row in best_profile(known[known["run"].isin(runs)]).itertuples()
    ]
    for config in planned(study, runs):
        record, sound = (study.store.find(item, root=study.root) for item in (config, config.run))
        if record is not None and (part := extra_costs(record, sound)) is not None:
            name = next(name for name in runs if study.configs(name)[:1] == [config.run])
            parts.append(part.assign(run=name, model=config.run.model, seed=config.run.seed))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["run", "model", "seed", *COLUMNS])


def record_costs(record: Record) -> pd.DataFrame:
    """List the faults that the record of a run shows by itself: another region, another threshold."""
    sound = record.metrics(region="fov", average="image")
    faulty = {
        FRAME: record.metrics(region="frame", average="image"),
        BLANKED: {metric: np.nanmean(values) for metric, values in blanked_frame(record).items()},
        TEST_THRESHOLD: _best_threshold(record, [record.histograms().names]),
        IMAGE_THRESHOLD: _best_threshold(record, [(name,) for name in record.histograms().names]),
    }
    return pd.concat([_rows(fault, sound, scores) for fault, scores in faulty.items()], ignore_index=True)


def extra_costs(record: Record, sound: Record | None) -> pd.DataFrame | None:
    """List the fault of a record of resized labels, or of single epochs.

    The protocol takes the last epoch; the fault takes the one with the highest mean Dice over the test images.

    Args:
        record: Of a `RescoredConfig` or an `EpochsConfig`.
        sound: The record of the run itself, which resized labels are compared with; None gives None for them.
    """
    if epochs := record.content.get("epochs"):
        return _rows(TEST_EPOCH, epochs[-1], max(epochs, key=lambda row: row["dice"]))
    if sound is None:
        return None
    return _rows(RESIZED, *(one.metrics(region="fov", average="image") for one in (sound, record)))


def _rows(fault: str, sound: Mapping[str, float], faulty: Mapping[str, float]) -> pd.DataFrame:
    rows = [(fault, metric, sound[metric], faulty[metric]) for metric in FAULTS[fault] if metric in sound]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"sound": float, "faulty": float})


def _best_threshold(record: Record, groups: Iterable[tuple[str, ...]]) -> dict[str, float]:
    """Average scores over images inside the FOV, each group of images at its own threshold of the highest mean Dice."""
    parts = []
    for names in groups:
        histogram = record.histograms().select(region="fov", images=names, pooled=False)
        parts.append(histogram.counts(histogram.best_threshold("dice")).scores())
    metrics = dict.fromkeys([*FAULTS[TEST_THRESHOLD], *FAULTS[IMAGE_THRESHOLD]])
    return {metric: np.nanmean(np.concatenate([np.atleast_1d(part[metric]) for part in parts])) for metric in metrics}


def blanked_frame(record: Record) -> dict[str, np.ndarray]:
    """Score the whole frame as if the prediction had been cut to the FOV: outside it nothing is a vessel.

    That is what a paper scores that masks its predictions, or that trains on the surround until it is black. Counts
    come from the record's histograms. The pixels outside rank below all others and tie with one another, so the area
    under the ROC curve follows exactly from the one inside the FOV: of all pairs of a vessel and a background pixel,
    those inside are ordered as before, a vessel inside is above all background outside, a vessel outside (few labels
    have such pixels) is above none inside and ties with what lies outside.

    Args:
        record: Of a run or a filter; its first test selection, its own threshold.

    Returns:
        accuracy, sensitivity, specificity, precision, dice, iou, mcc and auc, each (images,); NaN where undefined.
    """
    histograms = record.histograms()
    inside = histograms.select(region="fov", pooled=False).counts(record.content["threshold"])
    background, vessel = histograms.counts[:, 1].sum(axis=-1, dtype=np.int64).T
    counts = Confusion(inside.tp, inside.fp, inside.fn + vessel, inside.tn + background)
    vessel_inside, background_inside = inside.tp + inside.fn, inside.fp + inside.tn
    area = np.nan_to_num(record.per_image(region="fov")["auc"])  # undefined only where a factor below is 0
    pairs = vessel_inside * background_inside * area + vessel_inside * background + vessel * background / 2
    total = (vessel_inside + vessel) * (background_inside + background)
    return counts.scores() | {"auc": ratio(pairs, total)}


class Outside(NamedTuple):
    """What a record's predictions call vessel outside the FOV, over all its test images."""

    share: float  # of the pixels outside
    of_false_positives: float  # of all false positives of the whole frame; NaN without one


def predicted_outside(record: Record) -> Outside:
    """Measure how much of the surround a record calls vessel, and its share of the false positives of the frame."""
    histograms, threshold = record.histograms(), record.content["threshold"]
    inside, frame = (histograms.select(region=name).counts(threshold) for name in ("fov", "frame"))
    called = frame.tp + frame.fp - inside.tp - inside.fp
    return Outside(float(ratio(called, frame.total - inside.total)), float(ratio(frame.fp - inside.fp, frame.fp)))


def planned(study: Study, runs: Iterable[str]) -> list[RescoredConfig | EpochsConfig]:
    """Plan the records that two of the faults need: the first seed of every run rescored, that of the first by epochs.

    They are of the notebook's own profile.
    """
    first = [config for name in runs for config in study.configs(name)[:1]]
    return [*map(RescoredConfig.of, first), *map(EpochsConfig.of, first[:1])]


def make_records(study: Study, runs: Iterable[str], say: Callable[[str], None] = print) -> list[Record]:
    """Make those that are missing, as far as the notebook's parameters allow it and weights are there.

    A record that exists is left alone. Resized labels need the weights that a run leaves in the cache of this machine:
    a run that was made elsewhere is left out.

    Args:
        study: The study; nothing is made with ``train="never"``.
        runs: See `planned`.
        say: Gets a line for each record that was made or left out.

    Returns:
        The records that are there afterwards.
    """
    made = []
    for config in planned(study, runs) if study.parameters.train != "never" else ():
        rescored = isinstance(config, RescoredConfig)
        what = f"{config.run.model}, {RESIZED if rescored else TEST_EPOCH}"
        record, outcome = study.store.find(config, root=study.root, stale=False), "there already"
        if record is None:
            if rescored and (why := _lacking(study, config)):
                say(f"{what}: left out, {why}")
                continue
            make, outcome = rescore if rescored else score_epochs, "made"
            record = make(config, study.store, root=study.root, device=study.parameters.device)
        say(f"{what}: {outcome}, {record.id}")
        made.append(record)
    return made


def _lacking(study: Study, config: RescoredConfig) -> str | None:
    """Say why a run cannot be rescored; None if it can."""
    if study.store.find(config.run, root=study.root, stale=False) is None:
        return "the run has no record"
    if not (path := weights_path(config.run.identify(study.root))).is_file():
        return f"this machine has not kept the run's weights ({path}); train it again here to have them"
    return None
