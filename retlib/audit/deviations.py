"""Measure how far averaging over images moves the identities between scores, in a folder of records.

An identity such as Dice = 2 IoU / (1 + IoU) holds for the pooled pixels of all images; means over images only come near
it. The largest deviation in our own records is the tolerance that a printed row is allowed. It is read from the records
whenever it is needed, and so are the vessel shares of the data sets' labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from retlib.audit.matrices import RATES, SCORES
from retlib.data.measurements import VesselShares, read_shares
from retlib.data.registry import COLLECTIONS
from retlib.files import read_json

ALL = "all data sets"
REGIONS = {"frame": "whole frame", "fov": "inside the FOV"}


@dataclass(frozen=True)
class Deviation:
    """Scores of one test of one record in one region: means over images, and the pooled vessel share.

    Attributes:
        test: The test selection, ``"drive:test"``.
        region: ``fov`` or ``frame``.
        means: Score -> mean over images.
        share: Vessel share of the pooled pixels.
    """

    test: str
    region: str
    means: Mapping[str, float]
    share: float

    @property
    def unskilled(self) -> float:
        """Dice of a map that calls every pixel vessel: 2 p / (1 + p) at a vessel share p."""
        return 2 * self.share / (1 + self.share)

    def of(self, target: str, given: Sequence[str]) -> float | None:
        """Subtract the ``target`` that the identity derives from the means of ``given`` from its true value.

        The true value of ``prevalence`` is the share of the pooled pixels, that of a score its mean over images. None
        where a score is missing, and where the identity derives a value outside [0, 1]: it divides by nearly nothing
        there, and no printed score can depart from a value that it cannot have.
        """
        known = {**self.means, "prevalence": self.share}
        if any(name not in known for name in (target, *given)):
            return None
        expected = derive_score(target, {name: known[name] for name in given})
        return None if expected is None or not 0 <= expected <= 1 else known[target] - expected


@dataclass(frozen=True)
class Tolerance:
    """The largest deviation from an identity that averaging over images made in our records.

    Attributes:
        value: A fraction of one, in units of the target.
        tests: Number of scorings that were compared; the two regions of a test count apart.
        where: The data set that they were made on, or "all data sets".
    """

    value: float
    tests: int
    where: str

    @property
    def exact(self) -> Fraction:
        """The value as a fraction, rounded up at the sixth decimal."""
        return Fraction(math.ceil(self.value * 10**6), 10**6)

    def describe(self, what: str) -> str:
        """Say in one clause how far averaging moved ``what``."""
        where = self.where if self.where == ALL else COLLECTIONS[self.where].title
        tests = "1 scoring" if self.tests == 1 else f"{self.tests} scorings"
        return f"averaging moved {what} by {self.value:.4f} at most in {tests} on {where}"


FindTolerance = Callable[[str, Sequence[str]], Tolerance | None]
"""`Background.tolerance` with the row's data set, Dice and region filled in: (target, given) -> tolerance."""


@dataclass(frozen=True)
class Background:
    """Measured shares and deviations. Without them nothing is called impossible but what breaks a proven bound."""

    shares: Mapping[str, VesselShares] = field(default_factory=dict)
    deviations: tuple[Deviation, ...] = ()
    # (target, given) -> deviations, with the size of their departures: every row of a table asks for the same ones
    _departures: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def tolerance(
        self,
        target: str,
        given: Sequence[str],
        dataset: str | None = None,
        dice: float | None = None,
        region: str | None = None,
    ) -> Tolerance | None:
        """Find the largest deviation from an identity on a data set, or on all where it has none; None without any.

        Args:
            target: The score, or ``prevalence``.
            given: The scores that determine it.
            dataset: Data set to look at first.
            dice: Dice of the row that is judged. Averaging moves the scores of a network that fails much further than
                those of one that works, so only networks that work about as well count: those whose Dice is nearer to
                the row's than to that of a map that calls every pixel vessel. None lets all count.
            region: ``fov`` or ``frame``, where it is known which of them the row scored; None takes both.
        """
        key = target, tuple(given)
        if key not in self._departures:
            departures = [(row, row.of(target, given)) for row in self.deviations]
            self._departures[key] = [(row, abs(value)) for row, value in departures if value is not None]
        comparable = [
            (row, value)
            for row, value in self._departures[key]
            if region in (None, row.region) and (dice is None or 2 * row.means["dice"] >= dice + row.unskilled)
        ]
        same_data = [(row, value) for row, value in comparable if row.test.startswith(f"{dataset}:")]
        for where, found in ((dataset, same_data), (ALL, comparable)):
            if found:
                return Tolerance(max(value for _, value in found), len(found), where)
        return None


def load_background(records: Path | str | None) -> Background:
    """Read the measured shares (``datasets.json``) and all records of a folder; an absent folder gives an empty result.

    Left out are runs on synthetic images, records of anything but a network, and tests in which the network did worse
    than a map that calls every pixel vessel.
    """
    if records is None:
        return Background()
    found: list[Deviation] = []
    for file in sorted(Path(records).glob("[!.]*/record.json")):
        content = read_json(file)
        try:
            found += _deviations(content)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"{file}: expected the record of a run ({type(error).__name__}: {error})") from None
    return Background(read_shares(Path(records)), tuple(found))


def find_records() -> Path | None:
    """Find ``book/records`` of the checkout around the current folder, else of the one retlib was installed from."""
    here = Path.cwd()
    around = (folder / "book" / "records" for folder in (here, *here.parents, Path(__file__).parents[2]))
    return next(filter(Path.is_dir, around), None)


def _deviations(content: Mapping[str, Any]) -> Iterator[Deviation]:
    # A record with a kind (a filter, an observer, a deliberate fault) is not a network's own scoring.
    if content["config"]["profile"] == "smoke" or "kind" in content["config"]:
        return
    for test, entry in content["tests"].items():
        for region in REGIONS:
            scores = entry["metrics"].get(region, {})
            means = {name: value for name, value in scores.get("image", {}).items() if value is not None}
            share = derive_score("prevalence", {name: scores.get("pooled", {})[name] for name in RATES})
            if share is not None and "dice" in means:
                deviation = Deviation(test, region, means, share)
                if means["dice"] >= deviation.unskilled:
                    yield deviation


def derive_score(target: str, given: Mapping[str, float]) -> float | None:
    """Compute a score of one pooled set of pixels from others; None where they do not determine it.

    Args:
        target: A score of `retlib.audit.matrices.SCORES`.
        given: IoU for Dice, precision and sensitivity for Dice or IoU, or any three independent scores.
    """
    import numpy as np

    if set(given) == {"iou"} and target == "dice":
        return 2 * given["iou"] / (1 + given["iou"])
    if set(given) == {"precision", "sensitivity"} and target in ("dice", "iou"):
        product, total = given["precision"] * given["sensitivity"], given["precision"] + given["sensitivity"]
        top, bottom = (2 * product, total) if target == "dice" else (product, total - product)
        return top / bottom if bottom else None
    tops, bottoms = np.array([SCORES[name] for name in (*given, target)], dtype=float).swapaxes(0, 1)
    values = np.array(list(given.values()))[:, None]
    rows = np.vstack([np.ones(4), tops[:-1] - values * bottoms[:-1]])
    if len(rows) != 4 or np.linalg.matrix_rank(rows) < 4:
        return None
    cells = np.linalg.solve(rows, [1.0, 0.0, 0.0, 0.0])
    return float(tops[-1] @ cells / (bottoms[-1] @ cells)) if bottoms[-1] @ cells else None
