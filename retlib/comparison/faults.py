"""What each protocol fault brings, measured on our own predictions: the same networks, scored as one should not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from retlib.comparison.boards import TITLES
from retlib.comparison.contenders import MODEL_TITLES, Comparison, Contender
from retlib.comparison.surround import blanked_frame
from retlib.study import Record, RunConfig, weights_path
from retlib.study.config import EpochsConfig, RescoredConfig
from retlib.study.rescore import rescore, score_epochs

FRAME = "whole frame instead of the FOV"
BLANKED = "whole frame, with nothing found outside the FOV"
TEST_THRESHOLD = "threshold picked on the test images"
IMAGE_THRESHOLD = "threshold picked on each test image"
RESIZED = "truth resized"
TEST_EPOCH = "best epoch picked on the test images"
FAULTS = (FRAME, BLANKED, TEST_THRESHOLD, IMAGE_THRESHOLD, RESIZED, TEST_EPOCH)
_SHOWN = {
    FRAME: ("accuracy", "specificity", "auc", "dice"),
    BLANKED: ("accuracy", "specificity", "auc", "dice"),
    TEST_THRESHOLD: ("dice", "sensitivity"),
    IMAGE_THRESHOLD: ("dice", "sensitivity"),
    RESIZED: ("dice", "auc", "cldice"),
    TEST_EPOCH: ("dice", "auc"),
}


@dataclass(frozen=True)
class Cost:
    """One fault on one network: means over its test images (and seeds).

    Attributes:
        fault: one of `FAULTS`.
        network: the network's title.
        metric: retlib's name.
        sound: as the protocol has it.
        faulty: with the fault.
    """

    fault: str
    network: str
    metric: str
    sound: float
    faulty: float

    @property
    def difference(self) -> float:
        """What the fault adds."""
        return self.faulty - self.sound


def record_costs(contender: Contender) -> list[Cost]:
    """The faults that a network's own records show: another region, another threshold."""
    costs = [
        Cost(FRAME, contender.title, metric, contender.value(metric, "fov"), contender.value(metric, "frame"))
        for metric in _SHOWN[FRAME]
    ]
    blank = [[blanked_frame(record) for record in seed] for seed in contender.seeds]
    for metric in _SHOWN[BLANKED]:
        means = [np.nanmean(np.concatenate([found[metric] for found in seed])) for seed in blank]
        costs.append(Cost(BLANKED, contender.title, metric, contender.value(metric, "fov"), float(np.mean(means))))
    for fault in (TEST_THRESHOLD, IMAGE_THRESHOLD):
        scores = [_rethresholded(seed, fault) for seed in contender.seeds]
        costs += [
            Cost(
                fault,
                contender.title,
                metric,
                contender.value(metric, "fov"),
                float(np.mean([np.nanmean(found[metric]) for found in scores])),
            )
            for metric in _SHOWN[fault]
        ]
    return costs


def _rethresholded(records: Sequence[Record], fault: str) -> dict[str, np.ndarray]:
    """Scores of all images of some records (folds) at thresholds that saw them; inside the FOV."""
    found: dict[str, list[float]] = {metric: [] for metric in _SHOWN[fault]}
    for record in records:
        histograms = record.histograms()
        groups = [histograms.names] if fault == TEST_THRESHOLD else [(name,) for name in histograms.names]
        for names in groups:
            histogram = histograms.select(region="fov", images=names, pooled=False)
            scores = histogram.counts(histogram.best_threshold("dice"))
            for metric, values in found.items():
                values.extend(np.atleast_1d(getattr(scores, metric)).tolist())
    return {metric: np.array(values) for metric, values in found.items()}


def resized_costs(network: str, sound: Record, rescored: Record) -> list[Cost]:
    """A run against the same run scored on resized labels."""
    before, after = sound.metrics(region="fov", average="image"), rescored.metrics(region="fov", average="image")
    return [Cost(RESIZED, network, metric, before[metric], after[metric]) for metric in _SHOWN[RESIZED]]


def epoch_costs(network: str, record: Record) -> list[Cost]:
    """The last epoch, which the protocol takes, against the epoch with the highest mean Dice over the test images."""
    rows = record.content["epochs"]
    last, best = rows[-1], max(rows, key=lambda row: row["dice"])
    return [Cost(TEST_EPOCH, network, metric, last[metric], best[metric]) for metric in _SHOWN[TEST_EPOCH]]


def fault_runs(comparison: Comparison, dataset: str = "drive") -> list[RunConfig]:
    """Configs of one data set and of the first seed, of the notebook's own profile."""
    planned = comparison.study.plan(comparison.parameters.profile)
    return [
        config
        for name, seed, config in comparison.schedule()
        if seed == min(comparison.parameters.seeds)
        and planned[name].dataset == dataset
        and planned[name].role == "table"
    ]


def fault_configs(comparison: Comparison) -> list[RescoredConfig | EpochsConfig]:
    """Configs of the records that two of the faults need: every network of DRIVE rescored, the first one by epochs."""
    runs = fault_runs(comparison)
    return [*map(RescoredConfig.of, runs), *(EpochsConfig.of(config) for config in runs[:1])]


def make_fault_records(comparison: Comparison, say: Callable[[str], None] = print) -> list[Record]:
    """Make what is missing of them, as far as the parameters allow it and weights are at hand.

    A record that is there is left alone, so a call that was cut short goes on where it stopped. The resized truth needs
    the weights that a run leaves in this machine's cache: a run that was made elsewhere is left out, and ``say`` is
    told so.

    Args:
        comparison: what is compared; with ``train="never"`` nothing is made.
        say: gets a line for each record that was made or left out.

    Returns:
        The records that are there afterwards.
    """
    if comparison.parameters.train == "never":
        return []
    made = []
    for config in fault_configs(comparison):
        what = f"{MODEL_TITLES.get(config.run.model, config.run.model)}, {fault_of(config)}"
        record, there = comparison.store.find(config, root=comparison.root, stale=False), True
        if record is None:
            there = False
            if why := _lacking(comparison, config):
                say(f"{what}: left out, {why}")
                continue
            make = rescore if isinstance(config, RescoredConfig) else score_epochs
            record = make(config, comparison.store, root=comparison.root, device=comparison.parameters.device)
        say(f"{what}: {'there already' if there else 'made'}, {record.id}")
        made.append(record)
    return made


def fault_of(config: RescoredConfig | EpochsConfig) -> str:
    """The fault that such a record is of."""
    return RESIZED if isinstance(config, RescoredConfig) else TEST_EPOCH


def _lacking(comparison: Comparison, config: RescoredConfig | EpochsConfig) -> str | None:
    """Why a record cannot be made, or None."""
    if isinstance(config, EpochsConfig):
        return None
    if comparison.store.find(config.run, root=comparison.root, stale=False) is None:
        return "the run has no record"
    if not (path := weights_path(config.run.identify(comparison.root))).is_file():
        return f"this machine has not kept the run's weights ({path}); train it again here to have them"
    return None


def all_costs(comparison: Comparison, contenders: Iterable[Contender]) -> list[Cost]:
    """Every fault on every network of one data set, as far as there are records."""
    networks = {item.key: item for item in contenders if item.kind == "network" and item}
    costs = [cost for item in networks.values() for cost in record_costs(item)]
    for config in fault_configs(comparison):
        record = comparison.store.find(config, root=comparison.root)
        if record is None:
            continue
        title = next((item.title for item in networks.values() if item.key == config.run.model), config.run.model)
        if isinstance(config, EpochsConfig):
            costs += epoch_costs(title, record)
        elif (sound := comparison.store.find(config.run, root=comparison.root)) is not None:
            costs += resized_costs(title, sound, record)
    return costs


def fault_table(costs: Sequence[Cost], contenders: Iterable[Contender] = ()) -> pd.DataFrame:
    """A line a fault and metric: means over networks, and the difference with its lowest and highest over networks.

    A fault without a record keeps its line, without numbers.

    Args:
        costs: of one data set.
        contenders: of the data set; how many networks a line rests on is said of all that are planned.
    """
    planned = sum(item.kind == "network" for item in contenders)
    of = f" of {planned}" if planned else ""
    lines = []
    for fault in FAULTS:
        for metric in _SHOWN[fault]:
            found = [cost for cost in costs if cost.fault == fault and cost.metric == metric]
            changes = [cost.difference for cost in found]
            lines.append(
                {
                    "fault": fault,
                    "metric": TITLES[metric],
                    "networks": f"{len(found)}{of}" if found else None,
                    "as it should be": _mean([cost.sound for cost in found]),
                    "with the fault": _mean([cost.faulty for cost in found]),
                    "difference": _mean(changes),
                    "over networks": f"{min(changes):+.4f} to {max(changes):+.4f}".replace("-", "\N{MINUS SIGN}")
                    if changes
                    else None,
                }
            )
    return pd.DataFrame(lines)


def mean_costs(costs: Sequence[Cost]) -> Mapping[tuple[str, str], float]:
    """(fault, metric) -> mean difference over networks."""
    keys = dict.fromkeys((cost.fault, cost.metric) for cost in costs)
    return {key: _mean([c.difference for c in costs if (c.fault, c.metric) == key]) for key in keys}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
