"""Transfer: networks trained on one data set and scored on all, read from records into a matrix of cells."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np

from retlib.augmentation import FOR_RGB
from retlib.comparison import DATASETS, Comparison, open_comparison
from retlib.comparison.contenders import joined_images, joined_scores
from retlib.study import Record, RunConfig, Selection, run, statistics
from retlib.study.baselines import baseline_of, find_baseline, has_second_observer, run_baseline
from retlib.study.notebook import PRECEDENCE
from retlib.study.parameters import Parameters
from retlib.study.plan import Entry

PHANTOMS = "phantom"
METRICS = ("dice", "auc")


class Change(IntEnum):
    """What is different about a training, in the order of the rows."""

    NONE = 0
    PHANTOMS_FIRST = 1
    COLOURS = 2


class Training(NamedTuple):
    """What a network was trained on, and how."""

    dataset: str
    change: Change = Change.NONE


@dataclass(frozen=True)
class Part:
    """One test selection of one record."""

    record: Record
    label: str


@dataclass(frozen=True)
class Cell:
    """One kind of training, scored on one data set.

    Attributes:
        training: None for the second observer.
        tested: the data set.
        seeds: one entry a seed, each the parts that make up the data set: one, or one a fold. At least one.
    """

    training: Training | None
    tested: str
    seeds: tuple[tuple[Part, ...], ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts of all seeds."""
        return tuple(part for seed in self.seeds for part in seed)

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the scored images, sorted, folds joined.

        Raises:
            ValueError: an image was scored in two folds, or the seeds were scored on different images.
        """
        names = [[part.record.test(part.label)["images"] for part in seed] for seed in self.seeds]
        return joined_images(names, f"{self.training} on {self.tested}")

    def per_image(self, metric: str, own_threshold: bool = True) -> np.ndarray:
        """A metric inside the FOV, float (seeds, images) in the order of `images`; NaN where undefined.

        Args:
            metric: retlib's name. A person's label ranks no pixels, so its AUC is NaN.
            own_threshold: True scores at the record's own threshold, from its training images. False scores Dice at
                the one threshold that is best on these very images: an oracle, which tells what ranking alone lost.
        """
        if self.training is None and metric == "auc":
            return np.full((len(self.seeds), len(self.images)), math.nan)
        scores = [
            [_scores(part, metric) if own_threshold else _oracle_dice(part) for part in seed] for seed in self.seeds
        ]
        return joined_scores(scores, self.images)

    def value(self, metric: str) -> float:
        """Mean over images, then over seeds."""
        return statistics.mean(self.per_image(metric))

    def interval(self, metric: str) -> tuple[float, float]:
        """95 % bootstrap interval of `value` over images and seeds; NaN where nothing is defined."""
        return statistics.interval(self.per_image(metric))


@dataclass(frozen=True)
class PairedDifference:
    """One cell minus another on the same images.

    Attributes:
        mean: over the images, each the mean over its seeds.
        low: lower end of the 95 % bootstrap interval over images.
        high: upper end.
        p: two-sided, of Wilcoxon's signed-rank test.
    """

    mean: float
    low: float
    high: float
    p: float


def difference(cell: Cell, reference: Cell, metric: str, own_threshold: bool = True) -> PairedDifference:
    """How much a cell is above another in a metric, paired by image.

    Raises:
        ValueError: the two were not scored on the same images.
    """
    if cell.images != reference.images:
        raise ValueError(f"{cell.tested}: the two networks were not scored on the same images: they cannot be paired")
    first, second = (item.per_image(metric, own_threshold).mean(axis=0) for item in (reference, cell))
    low, high = statistics.interval(second - first)
    return PairedDifference(statistics.mean(second - first), low, high, statistics.signed_rank(first, second))


@dataclass(frozen=True)
class Transfer:
    """All cells of one profile.

    Attributes:
        profile: of all records.
        trainings: rows, those of photographs first, phantoms alone last.
        datasets: columns, without the phantoms.
        cells: those that are complete; the phantoms' own cell is there too.
        observers: data set -> the second observer on the images of its column.
        runs: how many runs there are, and how many of them have a record.
    """

    profile: str
    trainings: tuple[Training, ...]
    datasets: tuple[str, ...]
    cells: Mapping[tuple[Training, str], Cell]
    observers: Mapping[str, Cell]
    runs: tuple[int, int]

    def title(self, dataset: str) -> str:
        """A data set's name; in the smoke profile phantoms of some kind stand for it."""
        if dataset == PHANTOMS:
            return "phantoms"
        return DATASETS.get(dataset, dataset) + (" (phantoms)" if self.profile == "smoke" else "")

    def name(self, training: Training) -> str:
        """What a network was trained on, in words."""
        if training.dataset == PHANTOMS:
            return "phantoms alone"
        title = self.title(training.dataset)
        match training.change:
            case Change.PHANTOMS_FIRST:
                return f"phantoms, then {title}"
            case Change.COLOURS:
                return f"{title}, colours changed"
        return title

    def cell(self, training: Training, tested: str) -> Cell | None:
        """One cell; None where a record is missing."""
        return self.cells.get((training, tested))

    def own(self, tested: str) -> Cell | None:
        """The network that was trained on the tested set itself, on its other images."""
        return self.cell(Training(tested), tested)


def open_transfer(parameters: Parameters, notebook_folder: str | Path = ".") -> Transfer:
    """The study `transfer` for a notebook, its missing records made first as far as the parameters allow it.

    Of the profiles that the notebook may show, the one with the most records is taken, as a whole.
    """
    opened = open_comparison(parameters, notebook_folder, study="transfer")
    if parameters.train != "never":
        force = parameters.train == "always"
        for planned, config in _due(opened, parameters.profile):
            run(config, opened.store, root=opened.root, device=parameters.device, force=force)
            if _is_own(planned, config) and has_second_observer(config.test[0]):
                run_baseline(baseline_of("second_observer", config), opened.store, root=opened.root, force=force)
    profiles = dict.fromkeys((parameters.profile, *PRECEDENCE[parameters.profile]))
    return max((read_transfer(opened, profile) for profile in profiles), key=lambda found: found.runs[1])


def read_transfer(opened: Comparison, profile: str) -> Transfer:
    """What a store holds of the study in one profile.

    What a test selection stands for follows from the runs that train on the same kind of images (the same data set with
    the same options), so that phantoms of several kinds can stand for several data sets.
    """
    due = _due(opened, profile)
    kinds = {_kind(config.train): planned.dataset for planned, config in due}
    parts: dict[tuple[Training, str], dict[int, list[Part | None]]] = {}
    watched: dict[str, list[Record | None]] = {}
    made = 0
    for planned, config in due:
        training = Training(planned.dataset, _change(config))
        record = opened.store.find(config, root=opened.root)
        made += record is not None
        for selection in config.test:
            part = None if record is None else Part(record, selection.label)
            parts.setdefault((training, kinds[_kind(selection)]), {}).setdefault(config.seed, []).append(part)
        first_seed = config.seed == opened.parameters.seeds[0]
        if first_seed and not training.change and _is_own(planned, config):
            found = find_baseline(opened.store, "second_observer", config, opened.root)
            watched.setdefault(planned.dataset, []).append(found)
    cells = {}
    for (training, tested), seeds in parts.items():
        if complete := [tuple(seed) for seed in seeds.values() if None not in seed]:
            cells[training, tested] = Cell(training, tested, tuple(complete))
    observers = {
        dataset: Cell(None, dataset, (tuple(Part(record, next(iter(record.content["tests"]))) for record in records),))
        for dataset, records in watched.items()
        if None not in records
    }
    order = list(dict.fromkeys(planned.dataset for planned, _ in due))
    trainings = sorted(
        {training for training, _ in parts},
        key=lambda item: (item.dataset == PHANTOMS, item.change, order.index(item.dataset)),
    )
    columns = tuple(dataset for dataset in order if dataset != PHANTOMS)
    return Transfer(profile, tuple(trainings), columns, cells, observers, (len(due), made))


def _due(opened: Comparison, profile: str) -> list[tuple[Entry, RunConfig]]:
    planned = opened.study.plan(profile)
    return [
        (planned[name], config)
        for seed in opened.parameters.seeds
        for name, config in opened.study.runs(profile, seed).items()
    ]


def _change(config: RunConfig) -> Change:
    if config.pretraining is not None:
        return Change.PHANTOMS_FIRST
    return Change.COLOURS if config.training.augmentation in FOR_RGB else Change.NONE


def _is_own(planned: Entry, config: RunConfig) -> bool:
    """Whether a run's first test images are of the data set that it was trained on."""
    return planned.dataset != PHANTOMS and _kind(config.train) == _kind(config.test[0])


def _kind(selection: Selection) -> tuple[str, str]:
    return selection.dataset, json.dumps(selection.options, sort_keys=True)


def _scores(part: Part, metric: str) -> dict[str, float]:
    names = part.record.test(part.label)["images"]
    return dict(zip(names, part.record.per_image(part.label, "fov")[metric].tolist(), strict=True))


def _oracle_dice(part: Part) -> dict[str, float]:
    """Dice of each image at the threshold with the highest pooled Dice on all of them."""
    histograms = part.record.histograms(part.label)
    threshold = histograms.select(region="fov", pooled=True).best_threshold("dice")
    scores: Sequence[float] = histograms.select(region="fov", pooled=False).counts(float(threshold)).dice
    return dict(zip(histograms.names, np.atleast_1d(scores).tolist(), strict=True))
