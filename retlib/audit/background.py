"""What our own measurements say: the data sets' vessel shares, and how far averaging over images moves an identity.

Both are read from the folder of records when they are asked for; no number of either is written down here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from retlib.audit.intervals import Exact

ALL = "all data sets"
REGIONS = {"frame": "whole frame", "fov": "inside the FOV"}


@dataclass(frozen=True)
class TrueShares:
    """Vessel shares of a data set's labels.

    Attributes:
        title: The data set's name in print.
        part: Name of its customary test part, or of all its images where it has none.
        pooled: Region (``frame``, ``fov``) -> share over all pixels of that part.
        single: Region -> lowest and highest share of a single image of the whole data set; any selection of its
            images, pooled or averaged, lies between.
    """

    title: str
    part: str
    pooled: Mapping[str, float]
    single: Mapping[str, tuple[float, float]]

    def nearest(self, share: float) -> str:
        """The region whose pooled share is nearest to one."""
        return min(self.pooled, key=lambda region: abs(self.pooled[region] - share))

    @property
    def widest(self) -> tuple[float, float]:
        """Share of the emptiest image in its whole frame, and of the fullest one inside its FOV."""
        return self.single["frame"][0], self.single["fov"][1]


@dataclass(frozen=True)
class Departure:
    """One test of one record, in one region: how far means over images are from obeying an identity.

    Attributes:
        record: The record's id.
        test: The test selection, ``"drive:test"``.
        region: ``fov`` or ``frame``.
        means: Score -> mean over images.
        share: Vessel share of the pooled pixels.
    """

    record: str
    test: str
    region: str
    means: Mapping[str, float]
    share: float

    @property
    def unskilled(self) -> float:
        """Dice of a map that calls every pixel vessel, 2 p / (1 + p) at a share p."""
        return 2 * self.share / (1 + self.share)

    def of(self, target: str, given: Sequence[str]) -> float | None:
        """What the identity makes of the means of ``given``, held against the truth; None where a score is missing.

        The truth of ``prevalence`` is the share of the pooled pixels, that of a score its mean over images.
        """
        known = {**self.means, "prevalence": self.share}
        if any(name not in known for name in (target, *given)):
            return None
        expected = predict(target, {name: known[name] for name in given})
        return None if expected is None else known[target] - expected


@dataclass(frozen=True)
class Tolerance:
    """The largest departure that averaging over images made in our records.

    Attributes:
        value: As a fraction of one, in units of the target.
        tests: How many scorings of records were looked at, the two regions apart.
        where: The data set that they were made on, or "all data sets".
    """

    value: float
    tests: int
    where: str

    @property
    def exact(self) -> Fraction:
        """The value as a fraction, rounded up at the sixth decimal."""
        return Fraction(math.ceil(self.value * 10**6), 10**6)


@dataclass(frozen=True)
class Background:
    """What a verdict leans on. Without records nothing is called impossible but what breaks a proven bound."""

    shares: Mapping[str, TrueShares]
    departures: tuple[Departure, ...]
    _found: dict[tuple, Tolerance | None] = field(default_factory=dict, repr=False, compare=False)

    def tolerance(
        self,
        target: str,
        given: Sequence[str],
        dataset: str | None = None,
        dice: float | None = None,
        region: str | None = None,
    ) -> Tolerance | None:
        """The largest departure of an identity on a data set, or on all where there is none; None without records.

        Args:
            target: The score, or ``prevalence``.
            given: The scores that fix it.
            dataset: Where to look first.
            dice: Dice of the row that is judged. Averaging moves the scores of a network that fails much further than
                those of one that works, so only networks that work about as well count: those whose Dice is nearer to
                the row's than to that of a map that calls every pixel vessel. None lets all count.
            region: ``fov`` or ``frame``, where it is known which of them the row scored; None takes both.
        """
        key = (target, tuple(given), dataset, dice, region)
        if key not in self._found:
            self._found[key] = self._tolerance(*key)
        return self._found[key]

    def _tolerance(
        self, target: str, given: Sequence[str], dataset: str | None, dice: float | None, region: str | None
    ) -> Tolerance | None:
        alike = [
            row
            for row in self.departures
            if region in (None, row.region) and (dice is None or 2 * row.means["dice"] >= dice + row.unskilled)
        ]
        for where, rows in ((dataset, [row for row in alike if row.test.split(":")[0] == dataset]), (ALL, alike)):
            values = [abs(value) for row in rows if (value := row.of(target, given)) is not None]
            if values:
                return Tolerance(max(values), len(values), where)
        return None


@dataclass(frozen=True)
class Peers:
    """The scorings of our records that a row is held against: on its data set, about as good, in its region.

    Attributes:
        background: Where they come from.
        dataset: See `Background.tolerance`.
        dice: See there.
        region: See there.
    """

    background: Background
    dataset: str | None = None
    dice: float | None = None
    region: str | None = None

    def tolerance(self, target: str, given: Sequence[str]) -> Tolerance | None:
        """The largest departure of an identity among them."""
        return self.background.tolerance(target, given, self.dataset, self.dice, self.region)


def load_background(records: Path | str | None) -> Background:
    """Read measured shares (``datasets.json``) and all records of a folder; an absent one gives an empty background.

    Left out are runs on phantoms, records that are no network's, and tests in which the network did worse than a map
    that calls every pixel vessel.
    """
    if records is None:
        return Background({}, ())
    folder = Path(records)
    file = folder / "datasets.json"
    measured = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    shares = {name: true_shares(name, entry["images"]) for name, entry in measured.items()}
    contents = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("[!.]*/record.json")))
    return Background(shares, tuple(_departures(contents)))


def find_records(start: Path | str = ".") -> Path | None:
    """``book/records`` of the checkout around ``start``, else of the one that retlib was installed from; or None."""
    here = Path(start).resolve()
    for folder in (here, *here.parents, Path(__file__).parents[2]):
        if (folder / "book" / "records").is_dir():
            return folder / "book" / "records"
    return None


def true_shares(dataset: str, images: Mapping[str, Mapping[str, float]]) -> TrueShares:
    """Shares of a data set, from name -> ``fov_share``, ``vessels_in_fov`` and ``vessels_in_frame`` of its images."""
    from retlib.data.registry import get_collection

    collection = get_collection(dataset)
    part = "test" if "test" in collection.bases else "all"
    rows = [images[name] for name in collection.bases[part] if name in images]
    # Frames of one data set have one size, so the pooled share of the frame is the mean.
    pooled = {
        "frame": sum(row["vessels_in_frame"] for row in rows) / len(rows),
        "fov": sum(row["fov_share"] * row["vessels_in_fov"] for row in rows) / sum(row["fov_share"] for row in rows),
    }
    single = {}
    for region in REGIONS:
        values = [row[f"vessels_in_{region}"] for row in images.values()]
        single[region] = (min(values), max(values))
    return TrueShares(collection.title, part, pooled, single)


def predict(target: str, given: Mapping[str, float]) -> float | None:
    """What one pooled set of pixels with these scores has as another score; None where they do not fix it.

    Args:
        target: A score of `retlib.audit.matrices.SCORES`.
        given: IoU for Dice (and back), precision and sensitivity for Dice or IoU, or any three independent scores.
    """
    import numpy as np

    from retlib.audit.matrices import SCORES

    if set(given) == {"iou"} and target == "dice":
        return 2 * given["iou"] / (1 + given["iou"])
    if set(given) == {"precision", "sensitivity"} and target in ("dice", "iou"):
        product, total = given["precision"] * given["sensitivity"], given["precision"] + given["sensitivity"]
        bottom = total if target == "dice" else total - product
        return None if bottom == 0 else (2 if target == "dice" else 1) * product / bottom
    rows, right = [np.ones(4)], [1.0]
    for name, value in given.items():
        top, bottom = (np.array(cells, dtype=float) for cells in SCORES[name])
        rows.append(top - value * bottom)
        right.append(0.0)
    if len(rows) != 4 or np.linalg.matrix_rank(np.array(rows)) < 4:
        return None
    cells = np.linalg.solve(np.array(rows), np.array(right))
    top, bottom = (np.array(cell, dtype=float) for cell in SCORES[target])
    return float(top @ cells / (bottom @ cells)) if bottom @ cells else None


def _departures(contents: Iterable[Mapping[str, Any]]) -> Iterable[Departure]:
    for content in contents:
        # A record of another kind (a filter, an observer, a deliberate fault) is no network's honest scoring.
        if content["config"]["profile"] == "smoke" or "kind" in content["config"]:
            continue
        for test, entry in content["tests"].items():
            for region in REGIONS:
                scores = entry["metrics"].get(region, {})
                means = {name: value for name, value in scores.get("image", {}).items() if value is not None}
                pooled = scores.get("pooled", {})
                share = predict("prevalence", {k: pooled[k] for k in ("accuracy", "sensitivity", "specificity")})
                if share is None or "dice" not in means:
                    continue
                departure = Departure(content["id"], test, region, means, share)
                if means["dice"] >= departure.unskilled:
                    yield departure


def as_exact(span: tuple[float, float]) -> Exact:
    """A range of floats as exact fractions."""
    return Exact(Fraction(span[0]), Fraction(span[1]))
