"""Boxes around thin vessels, chosen by a rule, and what each of several runs finds in them.

A paper boxes the places where its model looks best. Here the truth alone decides: the boxes that hold the most of the
thin vessels' centre line. An error map still holds the truth (found and missed vessels together), so the boxes need
no data set: a committed record is enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy import ndimage

from retlib.metrics.topology import skeleton
from retlib.study import MISSED, TRUE_VESSEL, Record
from retlib.study.figures import error_legend, on_map, show_errors, show_image, title_image
from retlib.study.notebook import Study
from retlib.study.photographs import photograph

THIN = 2.0
CASES = ("first", "median", "worst", "best")


@dataclass(frozen=True)
class Box:
    """A square part of an image.

    Attributes:
        top: first row.
        left: first column.
        side: rows and columns.
        thin: pixels of thin vessels' centre line in it.
    """

    top: int
    left: int
    side: int
    thin: int

    @property
    def window(self) -> tuple[slice, slice]:
        """Index of the box in an (H, W) array."""
        return slice(self.top, self.top + self.side), slice(self.left, self.left + self.side)


def true_vessels(errors: np.ndarray) -> np.ndarray:
    """The truth, bool (H, W), that an error map was made with; empty where the map is OUTSIDE its region."""
    return np.isin(errors, (TRUE_VESSEL, MISSED))


def thin_centre_line(vessels: np.ndarray, width: float = THIN) -> np.ndarray:
    """Centre line of the vessels that are at most ``width`` pixels wide, bool (H, W).

    Width is measured as by :func:`retlib.metrics.vessel_width_recall`: twice the distance to the nearest background
    pixel, so that vessels of one and of two pixels both count as 2 wide.
    """
    # A map without any background has no thin vessel either: its distances are not defined.
    if vessels.all():
        return np.zeros_like(vessels)
    return skeleton(vessels) & (2 * ndimage.distance_transform_edt(vessels) <= width)


def thin_boxes(vessels: np.ndarray, count: int = 3, side: int | None = None, width: float = THIN) -> list[Box]:
    """The boxes with the most of the thin vessels' centre line, largest first, none overlapping another.

    Boxes are taken one by one; of equal ones the first in reading order is taken.

    Args:
        vessels: bool (H, W), the truth.
        count: boxes wanted; fewer are returned where no thin vessel is left.
        side: pixels; by default a ninth of the longer side of the image.
        width: see :func:`thin_centre_line`.

    Raises:
        ValueError: ``side`` is below 1 or does not fit into the image.
    """
    side = max(vessels.shape) // 9 if side is None else side
    if not 1 <= side <= min(vessels.shape):
        raise ValueError(f"side: expected 1 to {min(vessels.shape)} pixels, got {side}")
    sums = np.pad(thin_centre_line(vessels, width).astype(np.int64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    held = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    found: list[Box] = []
    while len(found) < count and held.max() > 0:
        top, left = (int(i) for i in np.unravel_index(held.argmax(), held.shape))
        found.append(Box(top, left, side, int(held[top, left])))
        held[max(top - side + 1, 0) : top + side, max(left - side + 1, 0) : left + side] = 0
    return found


def found_in_boxes(maps: Mapping[str, np.ndarray], boxes: Sequence[Box], width: float = THIN) -> pd.DataFrame:
    """Share of the thin centre line that each map finds, a row a map, a column a box and one for the whole image.

    Args:
        maps: title -> error map, uint8 (H, W); all of one image.
        boxes: from :func:`thin_boxes`.
        width: see :func:`thin_centre_line`.

    Raises:
        ValueError: the maps were not made with one truth.
    """
    truth = _common_truth(maps)
    line = thin_centre_line(truth, width)
    lines = []
    for title, errors in maps.items():
        found = errors == TRUE_VESSEL
        row: dict[str, object] = {"run": title}
        for number, box in enumerate(boxes, 1):
            row[f"box {number}"] = float(found[box.window][line[box.window]].mean())
        row["whole image"] = float(found[line].mean()) if line.any() else np.nan
        lines.append(row)
    return pd.DataFrame(lines).set_index("run")


def shared_maps(records: Mapping[str, Record], label: str | None = None) -> tuple[str, dict[str, np.ndarray]] | None:
    """One test image of which several records keep an error map, and these maps.

    A record keeps the maps of the first test image and of its own best, median and worst one. Of the images that all
    records keep, the first is taken, else the one that is the first record's median, else its worst or best. Records
    that would leave no image in common with those before them are left out.

    Returns:
        Name of the image and title -> error map; None where fewer than two records share an image.
    """
    kept = {title: {c["image"]: case for case, c in r.test(label)["cases"].items()} for title, r in records.items()}
    common: set[str] = set()
    titles: list[str] = []
    for title, cases in kept.items():
        both = common & set(cases) if titles else set(cases)
        if both:
            common, titles = both, [*titles, title]
    if len(titles) < 2:
        return None
    first = kept[titles[0]]
    image = min(common, key=lambda name: CASES.index(first[name]))
    return image, {title: records[title].error_maps(label)[kept[title][image]] for title in titles}


def thin_figure(maps: Mapping[str, np.ndarray], boxes: Sequence[Box], photograph: np.ndarray | None = None) -> Figure:
    """A row a map: the whole image with its boxes, then each box enlarged; above them the photograph or the truth.

    Args:
        maps: title -> error map, uint8 (H, W); all of one image.
        boxes: at least one, from :func:`thin_boxes`.
        photograph: (H, W, 3) uint8, on the grid of the maps, where the machine has it.
    """
    shares = found_in_boxes(maps, boxes)
    rows, columns = len(maps) + 1, len(boxes) + 1
    figure, axes = plt.subplots(rows, columns, figsize=(2.4 * columns, 2.5 * rows), squeeze=False)
    reference = _common_truth(maps) if photograph is None else photograph
    _row(axes[0], _show_plain, reference, boxes)
    title_image(axes[0, 0], "truth" if photograph is None else "photograph")
    for number, (axis, box) in enumerate(zip(axes[0, 1:], boxes, strict=True), 1):
        title_image(axis, f"box {number}: {box.thin} pixels of thin centre line", 8)
    for row, (title, errors) in zip(axes[1:], maps.items(), strict=True):
        _row(row, show_errors, errors, boxes)
        title_image(row[0], title)
        for number, axis in enumerate(row[1:], 1):
            title_image(axis, f"{shares.loc[title, f'box {number}']:.0%} of it found", 8)
    error_legend(figure)
    return figure


def show_thin(study: Study, runs: Mapping[str, str], count: int = 3) -> None:
    """Draw :func:`thin_figure` for some runs of a study, or say why there is nothing to draw.

    Args:
        study: the paper and the records.
        runs: title -> run; the first is the one that the others are compared with.
        count: boxes.
    """
    evidence = {title: study.evidence(name, best=False) for title, name in runs.items()}
    records = {title: item.records[0] for title, item in evidence.items() if item is not None}
    shared = shared_maps(records)
    if shared is None:
        print("Nothing to draw: fewer than two of these runs have a record with an error map of the same image.")
        return
    image, maps = shared
    boxes = thin_boxes(_common_truth(maps), count)
    if not boxes:
        print(f"Nothing to box: {image} has no thin vessel.")
        return
    first = next(iter(maps))
    sample = photograph(records[first], image, study.root)
    figure = thin_figure(maps, boxes, None if sample is None else on_map(sample.image, maps[first]))
    left_out = [title for title in records if title not in maps]
    figure.suptitle(f"{image}" + (f"; no error map of it kept: {', '.join(left_out)}" if left_out else ""), fontsize=10)
    plt.show()


def _common_truth(maps: Mapping[str, np.ndarray]) -> np.ndarray:
    truths = [true_vessels(errors) for errors in maps.values()]
    if any(truth.shape != truths[0].shape or (truth != truths[0]).any() for truth in truths[1:]):
        raise ValueError("maps: expected error maps of one image, but their vessels differ")
    return truths[0]


def _row(axes: np.ndarray, show, image: np.ndarray, boxes: Sequence[Box]) -> None:
    show(axes[0], image, "")
    for number, (axis, box) in enumerate(zip(axes[1:], boxes, strict=True), 1):
        show(axis, image[box.window], "")
        frame = Rectangle(
            (box.left - 0.5, box.top - 0.5), box.side, box.side, fill=False, edgecolor="#CC79A7", linewidth=1.6
        )
        axes[0].add_patch(frame)
        corner = (box.left + box.side - 0.5, box.top - 0.5)
        axes[0].annotate(
            str(number), corner, (2, -2), textcoords="offset points", color="#CC79A7", weight="bold", va="top"
        )


def _show_plain(axis, image: np.ndarray, title: str) -> None:
    show_image(axis, ~image if image.dtype == bool else image, title)
