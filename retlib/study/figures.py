"""Figures for the notebooks. Every function returns a matplotlib Figure; photographs come in as FundusSamples."""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from retlib.data import FundusSample
from retlib.metrics import ScoreHistogram
from retlib.preprocessing import resize
from retlib.study import ERROR_COLOURS, FALSE_POSITIVE, MISSED, TRUE_VESSEL, Record, load_samples

if TYPE_CHECKING:
    from retlib.study.notebook import Study

NO_RECORD = "No record yet: run this notebook with the parameter train='missing'."
ERROR_NAMES = {TRUE_VESSEL: "vessel, found", MISSED: "vessel, missed", FALSE_POSITIVE: "false positive"}
EXPLORED = {"sensitivity": "sensitivity", "specificity": "specificity", "dice": "Dice"}


def set_style() -> None:
    """The study's look: white background, light grid, colour-blind safe palette, 100 dpi."""
    sns.set_theme(style="whitegrid", palette="colorblind", context="notebook", font_scale=0.85)
    plt.rcParams.update({"figure.dpi": 100, "savefig.dpi": 100, "figure.constrained_layout.use": True})


def gallery(samples: Mapping[str, FundusSample]) -> Figure:
    """Photographs above their labels, a column a titled sample."""
    figure, axes = plt.subplots(2, len(samples), figsize=(2.2 * len(samples), 4.6), squeeze=False)
    for column, (title, sample) in zip(axes.T, samples.items(), strict=True):
        show_image(column[0], sample.image, title)
        show_image(column[1], sample.vessels, "")
    return figure


def training_curves(records: Mapping[str, Record]) -> Figure:
    """Loss, accuracy and Dice by epoch, training and validation: a row of panels for each titled record."""
    figure, axes = plt.subplots(len(records), 3, figsize=(10, 2.7 * len(records)), squeeze=False, sharex="row")
    for row, (title, record) in zip(axes, records.items(), strict=True):
        epochs = [entry["epoch"] for entry in record.history]
        for axis, measure in zip(row, ("loss", "accuracy", "dice"), strict=True):
            for part in ("train", "validation"):
                values = [entry.get(f"{part}_{measure}") for entry in record.history]
                if values[0] is not None:
                    axis.plot(epochs, values, label="training" if part == "train" else part)
            axis.set(title=f"{title}: {'Dice' if measure == 'dice' else measure}", xlabel="epoch")
    axes[0, 0].legend()
    return figure


def case_figure(titles: Mapping[str, np.ndarray], photographs: Mapping[str, FundusSample] | None = None) -> Figure:
    """Error maps side by side; with photographs, a row per case: photograph, label, prediction, error map.

    Args:
        titles: title of a case -> its error map, uint8 (H, W).
        photographs: title -> the sample, where the machine has the data.
    """
    height, width = next(iter(titles.values())).shape
    if photographs:
        size = (11, (2.7 * height / width + 0.3) * len(titles))
        figure, axes = plt.subplots(len(titles), 4, figsize=size, squeeze=False)
        for row, (title, errors) in zip(axes, titles.items(), strict=True):
            sample = photographs[title]
            show_image(row[0], sample.image, title)
            show_image(row[1], sample.vessels, "label")
            show_image(row[2], np.isin(errors, (TRUE_VESSEL, FALSE_POSITIVE)), "prediction")
            show_errors(row[3], errors, "errors")
    else:
        figure, axes = plt.subplots(
            1, len(titles), figsize=(3.6 * len(titles), 3.6 * height / width + 0.5), squeeze=False
        )
        for axis, (title, errors) in zip(axes[0], titles.items(), strict=True):
            show_errors(axis, errors, title)
    error_legend(figure)
    return figure


def error_legend(figure: Figure) -> None:
    """Name the colours of error maps below a figure."""
    handles = [Patch(color=np.array(ERROR_COLOURS[key]) / 255, label=name) for key, name in ERROR_NAMES.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)


def show_errors(axis: Axes, errors: np.ndarray, title: str) -> None:
    """Draw an error map (values of retlib.study) in its fixed colours."""
    colours = ListedColormap([np.array(ERROR_COLOURS[key]) / 255 for key in sorted(ERROR_COLOURS)])
    axis.imshow(errors, cmap=colours, vmin=0, vmax=len(ERROR_COLOURS) - 1, interpolation="nearest")
    title_image(axis, title)


def show_image(axis: Axes, image: np.ndarray, title: str) -> None:
    """Draw a photograph or a label, without ticks, in coordinates of its own pixels.

    One that has more than two pixels for each of its place in the figure is reduced to two first, as many as a sharp
    screen shows: drawing takes time by the pixels given.

    Args:
        axis: of a grid of axes.
        image: photograph, uint8 (H, W, 3); one channel of it, uint8 (H, W), shown from its darkest to its brightest
            value; or label, bool (H, W), white on black.
        title: above it.
    """
    height, width = image.shape[:2]
    if image.dtype == bool:
        low, high = 0, 255
        image = image.astype(np.uint8) * np.uint8(high)
    else:
        low, high = image.min(), image.max()
    drawn = axis.figure.bbox
    grid = axis.get_gridspec()
    scale = 2 * min(drawn.height / grid.nrows / height, drawn.width / grid.ncols / width)
    if scale < 1:
        thinned = resize(image, (math.ceil(height * scale), math.ceil(width * scale)))
        image = thinned if image.ndim == 3 else thinned[..., 0]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axis.imshow(image, cmap="gray" if image.ndim == 2 else None, vmin=low, vmax=high, extent=extent)
    title_image(axis, title)


def title_image(axis: Axes, title: str, size: float = 9) -> None:
    """Hide everything around an image but its title; ``size`` is in points."""
    # The height of the title is named: to find it matplotlib would lay out the hidden ticks, again and again.
    axis.set_title(title, fontsize=size, y=1)
    axis.set_axis_off()


def photograph(record: Record, name: str, root: str | None) -> FundusSample | None:
    """Read a test image of a record's first test selection, on the grid that it was scored on.

    Returns:
        None without a folder of the data sets, unless the images are phantoms, which need none.

    Raises:
        DataMissingError: the folder lacks a file of the data set.
    """
    config = record.config
    if root is None and config.test[0].dataset != "phantom":
        return None
    (sample,) = load_samples(config.test[0], config, root, [name])
    return sample


def on_map(image: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """The pixels of ``image`` (H, W, ...) that its error map has: maps of large images are thinned by whole steps."""
    step = -(-max(image.shape[:2]) // max(errors.shape))
    return image[::step, ::step]


def roc_figure(
    panels: Mapping[str, Mapping[str, ScoreHistogram]],
    points: Mapping[str, Mapping[str, tuple[float, float]]],
    xlim: float = 0.1,
) -> Figure:
    """ROC curves from score histograms, and operating points that papers report.

    Args:
        panels: title of a panel -> title of a curve -> its histogram.
        points: title of a panel -> title of a point -> (1 - specificity, sensitivity).
        xlim: highest false-positive rate that is drawn.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(5.5 * len(panels), 4.5), squeeze=False, sharey=True)
    for axis, (panel, curves) in zip(axes[0], panels.items(), strict=True):
        for title, histogram in curves.items():
            fpr, tpr, _ = histogram.roc_curve()
            axis.plot(fpr, tpr, label=f"{title}, AUC {float(histogram.auc()):.3f}")
        for marker, (title, point) in zip("osD^v", points.get(panel, {}).items(), strict=False):
            axis.plot(*point, marker, color="black", markersize=7, fillstyle="none", label=title)
        axis.set(title=panel, xlim=(0, xlim), ylim=(0.4, 1), xlabel="1 - specificity", ylabel="sensitivity")
        axis.legend(loc="lower right", fontsize=8)
    return figure


def show_cases(study: Study, run: str) -> None:
    """Draw the best, median and worst test image of a run's first seed; with photographs where the data is there."""
    record = study.record(run)
    if record is None:
        print(NO_RECORD)
        return
    entry = record.test()
    dice = dict(zip(entry["images"], record.per_image()["dice"], strict=True))
    maps = {case: errors for case, errors in record.error_maps().items() if case != "first"}
    names = {case: entry["cases"][case]["image"] for case in maps}
    titles = {case: f"{case} ({name}), Dice {dice[name]:.3f}" for case, name in names.items()}
    photographs = {titles[case]: photograph(record, name, study.root) for case, name in names.items()}
    known = None if None in photographs.values() else photographs
    case_figure({titles[case]: maps[case] for case in maps}, known)
    plt.show()


def threshold_explorer(
    histogram: ScoreHistogram, threshold: float, points: Mapping[str, Mapping[str, float]], caption: str
) -> Any:
    """Make a slider over the decision threshold that moves ROC, precision-recall and scores together.

    The counts at about 200 thresholds are embedded as JSON, and ``book/_static/threshold.js`` draws them. Where scripts
    are off a picture at the run's own threshold stands instead.

    Args:
        histogram: pooled pixels of one run.
        threshold: of the run; the slider starts there.
        points: title -> sensitivity, specificity, precision and dice of an operating point that stays where it is, for
            up to three.
        caption: below the slider.
    """
    from IPython.display import HTML

    known = histogram.thresholds[(histogram.thresholds > 0) & (histogram.thresholds < 1)]
    even = [histogram.nearest_threshold(percent / 100) for percent in range(1, 100)]  # for the slider
    ranks = known[:: max(1, len(known) // 100)]  # for the ends of the curves
    chances = np.unique([*even, *ranks, known[-1], threshold])
    counts = [histogram.counts(chance) for chance in chances]
    data = {
        "thresholds": chances.round(6).tolist(),
        "tp": [int(count.tp) for count in counts],
        "fp": [int(count.fp) for count in counts],
        "vessel": int(histogram.vessel.sum()),
        "background": int(histogram.background.sum()),
        "start": chances.tolist().index(threshold),
        "points": [
            {"title": title} | {name: value for name, value in point.items() if math.isfinite(value)}
            for title, point in points.items()
        ],
    }
    scores = {name: [float(getattr(count, name)) for count in counts] for name in (*EXPLORED, "precision")}
    picture = Figure(figsize=(9.5, 3.2), layout="constrained")
    roc, pr, over = picture.subplots(1, 3)
    roc.plot(1 - np.array(scores["specificity"]), scores["sensitivity"])
    pr.plot(scores["sensitivity"], scores["precision"])
    for marker, (title, point) in zip("osD", points.items(), strict=False):
        look = {"color": "black", "fillstyle": "none", "marker": marker, "linestyle": ""}
        roc.plot(1 - point["specificity"], point["sensitivity"], label=title, **look)
        pr.plot(point["sensitivity"], point["precision"], **look)
    for name, label in EXPLORED.items():
        over.plot(chances, scores[name], label=label)
    over.axvline(threshold, color="black", linestyle="--", linewidth=1, label=f"threshold {threshold:.3f}")
    roc.set(xlabel="1 - specificity", ylabel="sensitivity", ylim=(0, 1.02))
    pr.set(xlabel="recall (sensitivity)", ylabel="precision", ylim=(0, 1.02))
    over.set(xlabel="threshold (probability)", ylim=(0, 1.02))
    picture.legend(loc="outside lower center", ncols=5, frameon=False)
    drawn = io.BytesIO()
    with plt.rc_context({"svg.hashsalt": "threshold"}):  # a page that is built twice is the same page
        picture.savefig(drawn, format="svg", metadata={"Date": None})
    embedded = json.dumps(data).replace("<", "\\u003c")  # nothing in it may end the element
    alternative = "ROC curve, precision-recall curve, and sensitivity, specificity and Dice over the threshold."
    return HTML(
        f'<figure class="threshold-explorer"><img alt="{alternative}" '
        f'src="data:image/svg+xml;base64,{base64.b64encode(drawn.getvalue()).decode()}">'
        f'<script type="application/json">{embedded}</script>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
