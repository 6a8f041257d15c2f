# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% tags=["remove-cell"]
# On Colab: clone this version of the study and install what Colab lacks. Elsewhere this cell does nothing.
import os
import runpy
import subprocess
import sys

if "google.colab" in sys.modules:
    _study = "/content/retlib-v0.1.0"
    _clone = f"git clone --quiet --depth=1 --branch=v0.1.0 https://github.com/example/retlib {_study}"
    if not os.path.isdir(_study):
        subprocess.run(_clone.split(), check=True)
    runpy.run_path(f"{_study}/book/_tools/colab.py", run_name="__main__")

# %% [markdown]
# # One protocol for all networks
#
# Thirteen networks of about half a million parameters are trained by one recipe on the same training images and scored on
# the same test images of four data sets: inside the field of view (FOV), on the native pixel grid, at a threshold that was
# chosen on training images. Two filters without training, the second observer and published results stand beside them.

# %% tags=["parameters", "hide-input"]
# papermill replaces these by name. The defaults show the records that come with the book and train nothing.
profile: str = "lite"  # smoke: synthetic images; lite: real images, short; paper: ten times the steps
data_root: str = None  # folder of the data sets; None: RETLIB_DATA
records: str = None  # folder of the records; None: the book's own
device: str = "auto"  # auto, cpu, cuda, cuda:1
seeds: list = [0, 1, 2]  # of these, the seeds that the study plans for a data set
train: str = "never"  # missing, never, always: which records to make

# %% tags=["hide-input"]
from retlib.study import check_parameters

parameters = check_parameters(globals())

# %% tags=["hide-input", "remove-output"]
import itertools
import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML, Markdown, display
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib_inline.backend_inline import set_matplotlib_formats
from scipy import ndimage, stats

from retlib import audit
from retlib.data.registry import COLLECTIONS
from retlib.metrics import betti_numbers
from retlib.models import MODEL_TITLES
from retlib.study import FALSE_POSITIVE, MISSED, TRUE_VESSEL, Record, figures, in_short, open_study, results, statistics
from retlib.study.baselines import METHODS, baseline_scores, train_baselines
from retlib.study.tables import configuration, number_text, record_link, signed, style

figures.set_style()
plt.rcParams["svg.hashsalt"] = "one-protocol"  # a page that is built twice is the same page
set_matplotlib_formats("svg", metadata={"Date": None})
SMOKE = parameters.profile == "smoke"
NO_RECORD = "No record yet: run this notebook with train='missing'."

study = open_study("one-protocol", parameters)
plan = study.source.plan(parameters.profile)
runs = [run for run, entry in plan.items() if entry.role in ("table", "fold")]
controls = [run for run, entry in plan.items() if entry.role == "control"]  # our own networks, not ranked
runs = runs[:3] if SMOKE else runs  # a smoke run shows the pipeline, not a comparison
study.train([*runs, *controls])
train_baselines(study)

configs = {run: study.source.config(run, parameters.profile) for run in runs}
DATASETS = {key: COLLECTIONS[key].title for key in dict.fromkeys(plan[run].dataset for run in runs)}
if SMOKE:
    DATASETS = {key: f"{title} (synthetic)" for key, title in DATASETS.items()}
NETWORKS = list(dict.fromkeys(config.model for config in configs.values()))
TITLES = MODEL_TITLES | METHODS
METRICS = {
    "dice": "Dice",
    "iou": "IoU",
    "auc": "AUC",
    "average_precision": "AP",
    "sensitivity": "Se",
    "specificity": "Sp",
    "accuracy": "Acc",
    "mcc": "MCC",
    "cldice": "clDice",
    "betti0_error": "Betti-0",
    "recall_thin": "thin recall",
}


def score_text(value, metric, fewer=0):
    """Write a score for reading: Betti errors with one decimal, all others with four."""
    return number_text(value, f".{1 if metric.startswith('betti') else 4 - fewer}f")


def shown(table):
    """Name rows and columns of a table of scores for reading."""
    table = table.astype(float).apply(lambda column: column.map(lambda value: score_text(value, column.name)))
    return table.rename(index=TITLES, columns=METRICS).rename_axis(index=None, columns=None)


def p_text(value):
    """Write a p value: two digits, as a power of ten where it is small."""
    if pd.isna(value) or value >= 1e-3:
        return number_text(value, ".2g")
    digits, power = f"{value:.1e}".split("e")
    return f"{digits} × 10⁻{str(abs(int(power))).translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def count(number):
    """Write a whole number with spaces between thousands."""
    return number_text(float(number), ",.0f")


# %% tags=["hide-input"]
summary = display(in_short(NO_RECORD), display_id=True)  # filled in below, when its numbers are known

# %% [markdown]
# ## Dice on every data set
#
# The records are read into one table of scores, one row for each image and metric. The networks of a data set are compared
# in one profile, because runs of different sizes are not comparable.

# %%
scores = results.join([study.scores(), baseline_scores(study)])
scores = scores[scores["complete"] & (scores["region"] == "fov") & (scores["average"] == "image")]
networks = scores[scores["run"].isin(runs)]
networks = results.join(
    results.same_profile(rows, {f"{dataset}-{model}" for model in NETWORKS}, each="group")
    for dataset, rows in networks.groupby("dataset")
)
baselines = results.best_profile(scores[scores["kind"] != "network"], each="group")  # two filters, second observer
scores = results.join([networks, baselines])
means = results.summarise(scores, by=["dataset", "model", "metric"])  # over images, then over seeds

# %% tags=["hide-input"]
IMAGES = {  # test images that are planned, the folds joined
    dataset: len({name for run in runs if plan[run].dataset == dataset for name in configs[run].test[0].names()})
    for dataset in DATASETS
}
BASIS = dict.fromkeys(DATASETS, "no record yet")  # profile and seeds of the networks of a data set
for dataset, texts in means.query("model in @NETWORKS").groupby("dataset", sort=False)["basis"]:
    BASIS[dataset] = " or ".join(dict.fromkeys(texts))
basis = "; ".join(f"{DATASETS[dataset]}: {text}" for dataset, text in BASIS.items())

# %%
dice = means["value"].unstack("metric").reindex(columns=METRICS)["dice"].unstack("dataset").reindex(columns=DATASETS)
dice = dice.reindex([*NETWORKS, *(method for method in METHODS if method in dice.index)])
dice = dice.sort_values(next(iter(DATASETS)), ascending=False)
style(
    dice.rename(index=TITLES, columns=DATASETS).rename_axis(index=None, columns=None),
    f"Dice inside the FOV, mean over test images and seeds ({basis}).",
)


# %% tags=["hide-input"] mystnb={"image": {"alt": "Four panels, one for each data set: mean Dice of every network, filter and the second observer as a dot with its interval, the highest at the top. U-Net leads; SegNet lies far to the left of the axis."}, "figure": {"caption": "Dice by data set with 95 % intervals over images and seeds. An arrow stands for a value beyond the axis.", "name": "fig-protocol-dice"}}
KINDS = {"network": "o", "filter": "s", "observer": "D"}
COLOURS = dict(zip(KINDS, sns.color_palette("colorblind"), strict=False))
kind_of = dict(zip(scores["model"], scores["kind"], strict=True))


def dots(axis, rows, least=None):
    """Draw values with their intervals, a line for each model, the last at the top; arrows for those below ``least``."""
    for place, (model, row) in enumerate(rows.iterrows()):
        look = {"color": COLOURS[kind_of[model]], "markersize": 5}
        if least is not None and row["value"] < least:
            axis.plot(least, place, "<", **look)
            axis.annotate(f"{row['value']:.3f}", (least, place), (7, -3), textcoords="offset points", fontsize=8)
            continue
        axis.plot([row["low"], row["high"]], [place, place], color="0.6", linewidth=1.2)
        axis.plot(row["value"], place, KINDS[kind_of[model]], **look)
    axis.set_yticks(range(len(rows)), [TITLES[model] for model in rows.index], fontsize=8)
    axis.grid(axis="y", visible=False)


def name_kinds(figure):
    """Name the markers below a figure."""
    names = [kind for kind in KINDS if kind in kind_of.values()]
    handles = [Line2D([], [], linestyle="", marker=KINDS[kind], color=COLOURS[kind]) for kind in names]
    names = [name.replace("observer", "second observer") for name in names]
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)


known = [dataset for dataset in DATASETS if dataset in means.index.get_level_values("dataset")]
if known:
    figure = plt.figure(figsize=(9.5, 0.6 + 3.3 * -(-len(known) // 2)))
    for axis, dataset in zip(figure.subplots(-(-len(known) // 2), 2, squeeze=False).flat, known, strict=False):
        rows = means.loc[dataset].xs("dice", level="metric").sort_values("value")
        dots(axis, rows, least=0.62 if not SMOKE else None)
        axis.set(title=DATASETS[dataset], xlabel="Dice")
    name_kinds(figure)
    plt.show()
else:
    print(NO_RECORD)

# %% [markdown]
# ## Leaderboards
#
# AUC is the area under the ROC curve, AP average precision, Se sensitivity, Sp specificity, Acc accuracy, MCC Matthews'
# correlation coefficient ([definitions](../book/protocol.md)). *Betti-0* is the error in the number of connected components,
# and *thin recall* the share of the label's centre line that is found where vessels are at most two pixels wide. A binary annotation has no AUC. Intervals are folded below the leaderboards.


# %%
def leaderboard(dataset, column="value"):
    """Arrange the means of a data set: a line for each model, the highest Dice first."""
    rows = means[means.index.get_level_values("dataset") == dataset].droplevel("dataset")
    order = rows["value"].unstack("metric").reindex(columns=METRICS).sort_values("dice", ascending=False).index
    models = [*order, *(model for model in NETWORKS if model not in order)]
    return rows[column].unstack("metric").reindex(index=models, columns=METRICS)


for dataset, title in DATASETS.items():
    display(style(shown(leaderboard(dataset)), f"{title}: {IMAGES[dataset]} test images ({BASIS[dataset]})."))


# %% tags=["hide-input", "hide-output"] mystnb={"code_prompt_show": "Show the 95 % intervals", "code_prompt_hide": "Hide the intervals"}
def interval_table(low, high):
    """Arrange the ends of intervals for reading."""
    table = pd.DataFrame(index=low.index)
    for metric, title in METRICS.items():
        pairs = zip(low[metric].astype(float), high[metric].astype(float), strict=True)
        table[title] = [
            None if np.isnan(a) else f"{score_text(a, metric, 1)} to {score_text(b, metric, 1)}" for a, b in pairs
        ]
    return table.rename(index=TITLES).rename_axis(None)


STRUCTURE = [METRICS[metric] for metric in ("cldice", "betti0_error", "recall_thin")]
for dataset, title in DATASETS.items():
    table = interval_table(leaderboard(dataset, "low"), leaderboard(dataset, "high"))
    note = statistics.coverage_note(IMAGES[dataset])
    caption = f"95 % bootstrap intervals over images and seeds{f'; {note}' if note else ''}."
    display(style(table.drop(columns=STRUCTURE), f"{title}, pixels: {caption}"))
    folders = scores[scores["dataset"] == dataset].groupby("model")["record"].agg(lambda paths: tuple(paths.unique()))
    of_models = [folders.get(model, ()) for model in leaderboard(dataset).index]
    table["records"] = [record_link(str(len(paths)), paths) for paths in of_models]
    display(style(table[[*STRUCTURE, "records"]], f"{title}, vessel structure: {caption}"))

# %% [markdown]
# ## The decision threshold
#
# Sensitivity, specificity, precision and Dice belong to a network and a threshold together. Choose a data set and move the
# threshold of the network with the highest Dice there: its point on both curves and its scores follow. The threshold that was
# chosen on training images, a threshold of 0.5 and the second observer stay marked. All pixels inside the FOV are pooled
# here, so the numbers differ a little from the means over images above.


# %% tags=["hide-input"]
def first_record(dataset, model):
    """Read the record of a model's first seed on a data set, of the first fold where there are folds; None without one."""
    rows = scores[(scores["dataset"] == dataset) & (scores["model"] == model)].sort_values(["seed", "fold"])
    return Record.read(rows["record"].iloc[0]) if len(rows) else None


explorers = []
for dataset, title in DATASETS.items():
    networks_here = leaderboard(dataset)["dice"].loc[NETWORKS].astype(float).dropna()
    if networks_here.empty:
        continue
    leader = networks_here.idxmax()
    record = first_record(dataset, leader)
    pixels = record.histograms().select(region="fov", pooled=True)
    threshold = record.content["threshold"]
    marked = {f"chosen threshold ({threshold:.3f})": pixels.metrics(threshold), "threshold 0.5": pixels.metrics(0.5)}
    if observer := first_record(dataset, "second_observer"):
        marked["second observer"] = observer.histograms().select(region="fov", pooled=True).metrics(0.5)
    number = len(record.test()["images"])
    part = "" if number == IMAGES[dataset] else f" of {IMAGES[dataset]}, those of the first fold"
    caption = f"{TITLES[leader]} on {title}: {number} test images{part}, first seed ({record.profile})."
    explorers.append(figures.threshold_explorer(pixels, threshold, marked, caption).data)
if explorers:
    display(HTML(f'<div class="threshold-choice" data-label="Network and data set">{"".join(explorers)}</div>'))
else:
    print(NO_RECORD)

# %% [markdown]
# ## Statistically significant differences
#
# Wilcoxon's signed-rank test compares two networks image by image, on means over seeds, for all pairs of networks of a data
# set with Holm's correction. On a data set with one seed, a significant difference is one beyond image noise: it says
# nothing of how much another training run would differ.


# %%
def by_image(dataset, kinds=("network",)):
    """Arrange Dice as images x models: means over the seeds that all networks of the data set have."""
    rows = scores[(scores["dataset"] == dataset) & (scores["metric"] == "dice") & scores["kind"].isin(kinds)]
    trained = rows[rows["kind"] == "network"]
    having = trained.groupby("seed")["model"].nunique()
    rows = rows[rows["seed"].isin(having.index[having == trained["model"].nunique()]) | (rows["kind"] != "network")]
    return rows.pivot_table(index="image", columns="model", values="value").dropna(axis="columns")


def paired_tests(values, pairs=None):
    """Compare pairs of models (first, second), by default all, with Holm's correction over the pairs.

    Args:
        values: images x models, without gaps.
        pairs: names of models.

    Returns:
        A line per pair: first, second, difference (mean of first minus second), wins (share of images on which first is
        higher, ties counting half), p, adjusted, significant (adjusted at most 0.05).
    """
    lines = []
    for first, second in itertools.combinations(values, 2) if pairs is None else pairs:
        change = values[first] - values[second]
        line = {"first": first, "second": second, "difference": change.mean()}
        line["wins"] = (change > 0).mean() + (change == 0).mean() / 2
        lines.append(line | {"p": statistics.signed_rank(values[second], values[first])})
    frame = pd.DataFrame(lines, columns=["first", "second", "difference", "wins", "p"])
    frame["adjusted"] = statistics.holm(frame["p"])
    frame["significant"] = frame["adjusted"] <= statistics.ALPHA
    return frame


def friedman(values):
    """Compute the p of Friedman's test that all models (columns) have the same distribution of ranks over the images."""
    images, models = values.shape
    return stats.friedmanchisquare(*values.to_numpy().T).pvalue if models > 2 and images > 1 else np.nan


def mean_ranks(values):
    """Average the ranks of the models (columns) over the images, 1 for the highest value, ties sharing; best first."""
    return values.rank(axis=1, ascending=False).mean().sort_values(kind="stable")


tests = {dataset: paired_tests(by_image(dataset)) for dataset in DATASETS}
pairs_of_networks = len(NETWORKS) * (len(NETWORKS) - 1) // 2
strictest = statistics.ALPHA / pairs_of_networks  # Holm's level for the smallest p of a data set
smallest = {dataset: statistics.smallest_p(IMAGES[dataset]) for dataset in DATASETS}
undecidable = [dataset for dataset in DATASETS if smallest[dataset] > strictest]  # however large a difference is
table = pd.DataFrame(
    {
        "data set": list(DATASETS.values()),
        "images": [str(IMAGES[dataset]) for dataset in DATASETS],
        "networks": [f"{by_image(dataset).shape[1]} of {len(NETWORKS)}" for dataset in DATASETS],
        "rests on": list(BASIS.values()),
        "significant pairs": [f"{found['significant'].sum()} of {len(found)}" for found in tests.values()],
        "Friedman's p": [p_text(friedman(by_image(dataset))) for dataset in DATASETS],
        "smallest possible p": [p_text(value) for value in smallest.values()],
        "Holm's strictest level": p_text(strictest),
    }
)
style(table, "All pairs of networks on Dice.")

# %% tags=["hide-input"]
lines = []
for dataset in undecidable:
    most = int(statistics.ALPHA / smallest[dataset])
    networks = int((1 + (1 + 8 * most) ** 0.5) / 2)  # k networks make k (k - 1) / 2 pairs
    lines.append(
        f"With {IMAGES[dataset]} images no pair of {DATASETS[dataset]} can reach significance after Holm's correction over "
        f"{pairs_of_networks} pairs, however large the difference is, and no difference is shown to be absent. So many "
        f"images can decide at most {most} comparisons, the pairs of {networks} networks."
    )
display(Markdown("\n\n".join(lines)))


# %% tags=["hide-input"]
def dominance_figure(dataset):
    """Draw the share of images on which the row is better than the column; a star marks significant differences."""
    values = by_image(dataset)
    if values.shape[1] < 2:
        return print(NO_RECORD if dataset in DATASETS else "This profile has no run on this data set.")
    order = list(mean_ranks(values).index)
    wins, marks = pd.DataFrame(np.nan, order, order), pd.DataFrame("", order, order)
    for line in tests[dataset].itertuples():
        for one, other, share in ((line.first, line.second, line.wins), (line.second, line.first, 1 - line.wins)):
            wins.loc[one, other] = 100 * share
            marks.loc[one, other] = f"{100 * share:.0f}{'*' if line.significant else ''}"
    axis = plt.figure(figsize=(8.6, 6.4)).subplots()
    look = {"cmap": "vlag_r", "vmin": 0, "vmax": 100, "linewidths": 0.5, "square": True, "annot_kws": {"fontsize": 8}}
    bar = {"label": "images on which the row is better, %", "shrink": 0.7}
    sns.heatmap(wins, annot=marks, fmt="", ax=axis, cbar_kws=bar, **look)
    axis.set(xlabel="column: the network that it is compared with", ylabel="row: better than the column")
    names = [TITLES[model] for model in order]
    axis.set_xticks(axis.get_xticks(), names, rotation=45, ha="right", fontsize=8)
    axis.set_yticks(axis.get_yticks(), names, rotation=0, fontsize=8)
    axis.grid(False)
    plt.show()


# %% tags=["hide-input"] mystnb={"image": {"alt": "A square grid on DRIVE, networks in rows and columns from the best mean rank to the worst. Each cell prints the share of test images on which the network of the row has the higher Dice; a star marks significant differences."}, "figure": {"caption": "DRIVE: percentage of test images on which the network of the row has a higher Dice than that of the column. A star: significant after Holm's correction.", "name": "fig-protocol-dominance-drive"}}
dominance_figure("drive")

# %% tags=["hide-input"] mystnb={"image": {"alt": "A square grid on CHASE_DB1, networks in rows and columns from the best mean rank to the worst. Each cell prints the share of test images on which the network of the row has the higher Dice; a star marks significant differences."}, "figure": {"caption": "CHASE_DB1: percentage of test images on which the network of the row has a higher Dice than that of the column. A star: significant after Holm's correction.", "name": "fig-protocol-dominance-chase-db1"}}
dominance_figure("chase_db1")

# %% tags=["hide-input"] mystnb={"image": {"alt": "A square grid on HRF, networks in rows and columns from the best mean rank to the worst. Each cell prints the share of test images on which the network of the row has the higher Dice; a star marks significant differences."}, "figure": {"caption": "HRF: percentage of test images on which the network of the row has a higher Dice than that of the column. A star: significant after Holm's correction.", "name": "fig-protocol-dominance-hrf"}}
dominance_figure("hrf")

# %% tags=["hide-input"] mystnb={"image": {"alt": "A square grid on STARE, networks in rows and columns from the best mean rank to the worst. Each cell prints the share of test images on which the network of the row has the higher Dice; a star marks significant differences."}, "figure": {"caption": "STARE: percentage of test images on which the network of the row has a higher Dice than that of the column. A star: significant after Holm's correction.", "name": "fig-protocol-dominance-stare"}}
dominance_figure("stare")


# %% tags=["hide-input"]
def critical_difference(models, images):
    """Compute Nemenyi's critical difference of mean ranks: q sqrt(k (k + 1) / (6 N)) (Demsar, JMLR 7, 2006, 3.2.2).

    q is the studentised range's upper 5 % point for k models and infinite degrees of freedom, over the root of 2.
    """
    q = stats.studentized_range.ppf(1 - statistics.ALPHA, models, np.inf) / np.sqrt(2)
    return q * np.sqrt(models * (models + 1) / (6 * images))


def cliques(ranks, reach):
    """Find the longest runs of sorted ranks whose ends lie within ``reach``: (first, last), none inside another."""
    runs = []
    for first in range(len(ranks)):
        last = int(np.searchsorted(ranks, ranks[first] + reach, side="right")) - 1
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs


# %% tags=["hide-input"] mystnb={"image": {"alt": "Networks by their mean rank on the DRIVE test images, best first; bars below join networks whose ranks lie within the critical difference."}, "figure": {"caption": "Mean ranks on DRIVE. Networks that a bar joins lie within Nemenyi's critical difference (5 % level) of each other.", "name": "fig-protocol-ranks"}}
values = by_image("drive")
if values.shape[1] > 2:
    ranks = mean_ranks(values)
    reach = critical_difference(len(ranks), len(values))
    axis = plt.figure(figsize=(8, 1.4 + 0.24 * len(ranks))).subplots()
    axis.plot(ranks, range(len(ranks)), "o")
    for place, (model, rank) in enumerate(ranks.items()):
        axis.annotate(TITLES[model], (rank, place), (7, -3), textcoords="offset points", fontsize=8)
    for number, (first, last) in enumerate(cliques(ranks.to_numpy(), reach)):
        level = len(ranks) + 0.2 + 0.5 * number
        axis.plot(ranks.iloc[[first, last]], [level, level], color="0.3", linewidth=3, solid_capstyle="butt")
    axis.set(yticks=[], xlim=(0.5, len(ranks) + 3.5))
    axis.set_xlabel(f"mean rank over {len(values)} images (1 is best); critical difference {reach:.2f}")
    axis.invert_yaxis()
    plt.show()
else:
    print(NO_RECORD)

# %% [markdown]
# ## Human observers
#
# The second observer's annotation is scored against the first observer's, as a network's output is. The tests of networks
# against the second observer are a family of their own.

# %%
lines = []
for dataset, title in DATASETS.items():
    board = leaderboard(dataset)
    if "second_observer" not in board.index or board["dice"].notna().sum() < 2:
        continue
    observer, others = board.loc["second_observer"], board.loc[board.index.isin(NETWORKS)].dropna(subset="dice")
    values = by_image(dataset, ("network", "observer"))
    pairs = [(model, "second_observer") for model in values if model != "second_observer"]
    found = paired_tests(values, pairs)
    line = {"data set": title, "observer's Dice": observer["dice"]}
    line["networks with a higher Dice"] = f"{(others['dice'] > observer['dice']).sum()} of {len(others)}"
    line["significantly higher"] = str((found["significant"] & (found["difference"] > 0)).sum())
    line |= {"observer's Betti-0 error": observer["betti0_error"], "networks' lowest": others["betti0_error"].min()}
    lines.append(line | {"networks' highest": others["betti0_error"].max()})
observers = pd.DataFrame(lines)
errors = ["observer's Betti-0 error", "networks' lowest", "networks' highest"]
reading = observers.assign(**{name: observers[name].map(lambda error: f"{error:.1f}") for name in errors if lines})
shorter = {"networks with a higher Dice": "networks above", "significantly higher": "significantly above"}
reading = reading.rename(columns=shorter | {"observer's Betti-0 error": "observer's Betti-0"})
style(reading, "Networks and the second observer, against the first observer's labels.")

# %% tags=["hide-input"] mystnb={"image": {"alt": "Three panels for thin, medium and wide vessels on DRIVE: recall of the centre line with its interval for each network, filter and the second observer."}, "figure": {"caption": "Recall of the label's centre line by vessel width, DRIVE, with 95 % intervals.", "name": "fig-protocol-width"}}
drive = means[means.index.get_level_values("dataset") == "drive"].droplevel("dataset")
widths = {"recall_thin": "up to 2 pixels", "recall_medium": "2 to 4 pixels", "recall_wide": "over 4 pixels"}
if len(drive):
    figure = plt.figure(figsize=(10.5, 1.4 + 0.24 * drive.index.get_level_values("model").nunique()))
    order = drive.xs("recall_thin", level="metric")["value"].sort_values().index
    for axis, (metric, title) in zip(figure.subplots(1, 3, sharey=True), widths.items(), strict=True):
        dots(axis, drive.xs(metric, level="metric").reindex(order))
        axis.set(title=title, xlabel="recall of the centre line")
    name_kinds(figure)
    plt.show()
else:
    print(NO_RECORD)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Betti-0 error on DRIVE on a logarithmic axis with its interval, one line each for networks, filters and the second observer, the smallest error at the top: the observer's is below two, the networks' are above fifty."}, "figure": {"caption": "Error in the number of connected components (Betti-0) on DRIVE, mean over images with 95 % intervals; the axis is logarithmic.", "name": "fig-protocol-betti"}}
if len(drive):
    rows = drive.xs("betti0_error", level="metric").sort_values("value", ascending=False)
    figure = plt.figure(figsize=(6.5, 1.4 + 0.24 * len(rows)))
    axis = figure.subplots()
    dots(axis, rows)
    axis.set(xscale="log", xlabel="Betti-0 error")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    name_kinds(figure)
    plt.show()
else:
    print(NO_RECORD)


# %% tags=["hide-input"] mystnb={"image": {"alt": "Vessels of the first DRIVE test image, every connected component in a colour of its own and the largest in gray: by the labels, by the second observer, and by the best network, which has many small components."}, "figure": {"caption": "The connected components of one image of DRIVE: the largest in gray, every other one in a colour and drawn wider than it is.", "name": "fig-protocol-pieces"}}
def colour_components(mask):
    """Colour the connected components (8 neighbours) of a mask on white, the largest in gray: float (H, W, 3)."""
    parts, number = ndimage.label(mask, np.ones((3, 3)))
    image = np.ones((*mask.shape, 3))
    if number:
        largest = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
        image[parts == largest] = 0.55
        palette = np.array(sns.color_palette("colorblind", 10))[[0, 1, 2, 3, 4, 8]]
        loose = ndimage.grey_dilation(np.where(parts == largest, 0, parts), footprint=np.ones((5, 5)))
        image[loose > 0] = palette[loose[loose > 0] % len(palette)]
    return image


def first_map(model):
    """Read the name and the error map of the first test image of DRIVE, by the first seed; None without a record."""
    record = first_record("drive", model)
    cases = record.test().get("cases", {}) if record else {}
    shown = record.error_maps().get("first") if "first" in cases else None
    return None if shown is None else (cases["first"]["image"], shown)


best = dice["drive"][dice.index.isin(NETWORKS)].idxmax() if dice["drive"].notna().any() else None
if best and (found := first_map(best)):
    image, errors = found
    panels = {f"{image}, labels": np.isin(errors, (TRUE_VESSEL, MISSED))}
    if (other := first_map("second_observer")) and other[0] == image:
        panels["second observer"] = np.isin(other[1], (TRUE_VESSEL, FALSE_POSITIVE))
    panels[TITLES[best]] = np.isin(errors, (TRUE_VESSEL, FALSE_POSITIVE))
    set_matplotlib_formats("retina")
    axes = plt.figure(figsize=(3.5 * len(panels), 3.9)).subplots(1, len(panels))
    for axis, (title, mask) in zip(axes, panels.items(), strict=True):
        axis.imshow(colour_components(mask), interpolation="nearest")
        figures.title_image(axis, f"{title}: {betti_numbers(mask)[0]} components")
    plt.show()
    set_matplotlib_formats("svg", metadata={"Date": None})
else:
    print(NO_RECORD)

# %% [markdown]
# ## Size and time
#
# The networks were built to be about equally large. Seconds are CPU seconds of one core for one forward pass at DRIVE's
# working size, measured one after the other on a quiet machine.

# %%
file = study.store.path / "benchmarks.json"
timed = json.loads(file.read_text(encoding="utf-8")).get("network_seconds", {}) if file.is_file() else {}
cost = study.records().query("role in ('table', 'fold')").drop_duplicates("model").set_index("model")[["parameters"]]
cost = cost.reindex(NETWORKS).astype(float)
cost["seconds"] = pd.Series({model: entry["cpu_s"] for model, entry in timed.items()}, dtype=float)
table = pd.DataFrame({"parameters": cost["parameters"].map(count)})
table["CPU s, one forward pass"] = cost["seconds"].map(lambda seconds: number_text(seconds, ".2f"))
style(table.rename(index=TITLES).rename_axis(None), "Size of the networks and time for one forward pass.")


# %% tags=["hide-input"] mystnb={"image": {"alt": "A panel for each data set: mean Dice of the networks against CPU seconds of a forward pass on a logarithmic axis, every network named at its point; lines mark the filters and the second observer, an arrow stands for SegNet."}, "figure": {"caption": "Dice against CPU seconds. Vertical bars: 95 % intervals over images and seeds. A triangle at the lower edge stands for a Dice below the axis; filters that lie below it are left out.", "name": "fig-protocol-cost"}}
def name_points(axis, points):
    """Write a name beside each point, at the first place around it where no other name or point is."""
    axis.figure.canvas.draw()
    at = {name: axis.transData.transform(point) for name, point in points.items()}
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in at.values()]
    for name, (x, y) in at.items():
        wide, high = 5.4 * len(name), 9
        around = [(dx, dy) for dy in (9, -9, 18, -18, 27, -27) for dx in (2, -wide - 2, -wide / 2)]
        sides = [(6, 0), (-6 - wide, 0), *around]
        boxes = [(x + dx, y + dy - high / 2, x + dx + wide, y + dy + high / 2) for dx, dy in sides]
        free = [not any(a < r and c > p and b < s and d > q for p, q, r, s in taken) for a, b, c, d in boxes]
        place = free.index(True) if True in free else 0
        taken.append(boxes[place])
        offset = [step * 72 / axis.figure.dpi for step in sides[place]]
        axis.annotate(name, points[name], offset, textcoords="offset points", fontsize=6.5, va="center")


if known and cost["seconds"].notna().any():
    figure = plt.figure(figsize=(10, 3.9 * -(-len(known) // 2)))
    for axis, dataset in zip(figure.subplots(-(-len(known) // 2), 2, squeeze=False).flat, known, strict=False):
        every = means.loc[dataset].xs("dice", level="metric").sort_values("value", ascending=False)
        rows = every[every.index.isin(cost.index[cost["seconds"].notna()])]
        least = rows["value"].quantile(0.1) - 0.03  # SegNet lies far below all others
        points = {}
        for model, row in rows.iterrows():
            at = (cost.loc[model, "seconds"], max(row["value"], least))
            axis.plot([at[0]] * 2, row[["low", "high"]].clip(least), color="0.8", linewidth=1, zorder=1)
            axis.plot(*at, "o" if row["value"] >= least else "v", color=COLOURS["network"], markersize=5)
            below = f" ({row['value']:.3f})" if row["value"] < least else ""
            points[TITLES[model].replace("Attention", "Att.").replace("(ResNet-34)", "R34") + below] = at
        axis.set(xscale="log", xlim=(0.013, 1.4), ylim=(least - 0.01, every["high"].max() + 0.005))
        axis.set(title=DATASETS[dataset], xlabel="CPU s, one forward pass", ylabel="Dice")
        for method, line in zip(METHODS, ("--", "-.", ":"), strict=True):
            if method in every.index and every.loc[method, "value"] > least:
                value = every.loc[method, "value"]
                axis.axhline(value, color="0.5", linewidth=1, linestyle=line)
                at = axis.get_yaxis_transform()
                axis.text(
                    0.99, value, TITLES[method], transform=at, fontsize=6.5, ha="right", va="bottom", color="0.35"
                )
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        name_points(axis, points)
    plt.show()
else:
    print(NO_RECORD)

# %% tags=["hide-input"]
lines = []
for dataset in known:
    sizes = pd.DataFrame({"parameters": cost["parameters"], "dice": dice[dataset]}).loc[NETWORKS].dropna()
    if len(sizes) > 3:
        found = stats.spearmanr(sizes["parameters"], sizes["dice"])
        text = f"{signed(float(found.statistic), 2)} (p {p_text(float(found.pvalue))}, {len(sizes)} networks)"
        lines.append(f"- {DATASETS[dataset]}: {text}")
if lines:
    span = f"{count(cost['parameters'].min())} to {count(cost['parameters'].max())}"
    lines.insert(0, f"Spearman's rank correlation of Dice with the number of parameters, {span}:\n")
display(Markdown("\n".join(lines)))

# %% [markdown]
# ## Additional models on DRIVE
#
# Our own networks are trained for more steps than those that are compared, with what [the search for a
# recipe](recipe.ipynb) found to help. The reference model, Little W-Net, was run under these rules with its authors' weights
# and code, and its numbers are quoted. None of them takes part in the ranking and in the tests. The goals lie above the
# reference model.

# %%
own = results.best_profile(study.scores().query("role == 'control'"))
OURS = {
    run: f"our U-Net, {study.source.config(run, parameters.profile).training.patches.size}-pixel patches"
    for run in controls
}
own = own.assign(run=own["run"].map(OURS))
ours = list(own["run"].unique())
own_means = results.summarise(own.query("region == 'fov' and average == 'image'"), by=["run", "metric"])
reference = next(row for row in audit.list_published() if row.reference)
LITTLE = reference.label.split(",")[0]  # the weights are its authors'
own_values = own_means["value"].unstack("metric").reindex(index=ours, columns=METRICS)
models = shown(own_values).astype(object)
if not SMOKE:  # never beside synthetic images
    models.loc[f"{LITTLE} (quoted)"] = pd.Series(reference.scores["drive"]).rename(METRICS)
style(models, "Our own networks (one seed each) and the reference model on DRIVE, mean over the test images.")

# %% tags=["hide-input"]
display(Markdown("\n".join(f"- {title[0].upper()}{title[1:]}: {plan[run].about}." for run, title in OURS.items())))

# %% tags=["hide-input", "hide-output"] mystnb={"code_prompt_show": "Show the 95 % intervals", "code_prompt_hide": "Hide the intervals"}
intervals = interval_table(
    *(own_means[end].unstack("metric").reindex(index=ours, columns=METRICS) for end in ("low", "high"))
)
style(intervals, "Our own networks: 95 % bootstrap intervals over the test images of DRIVE.")

# %%
GOALS = {"dice": 0.83, "auc": 0.983, "cldice": 0.85, "betti0_error": 10}
judged_goals = []
for metric, goal in GOALS.items():
    least = metric != "betti0_error"
    line = {"score": METRICS[metric], "goal": f"{'above' if least else 'below'} {goal:g}"}
    line[LITTLE] = None if SMOKE else reference.scores["drive"].get(metric)
    for title, value in own_values[metric].items():  # as it is, not as it is rounded for reading
        judged = "not known" if np.isnan(value) else "met" if (value > goal if least else value < goal) else "missed"
        line[title] = f"{score_text(value, metric)}, {judged}"
    judged_goals.append(line)
style(pd.DataFrame(judged_goals), "Goals for our own networks on DRIVE. No number is rounded before it is judged.")

# %% [markdown]
# ## Published results
#
# As printed in their sources, not measured under this protocol. An asterisk marks a number that was noted down without the
# source at hand. *Implied region* is what a row's own numbers say of the pixels that were scored: see [Do the
# printed numbers fit together?](audit.ipynb)

# %% tags=["hide-input", "hide-output"] mystnb={"code_prompt_show": "Show the published results", "code_prompt_hide": "Hide the published results"}
background = audit.load_background(study.store.path)
for dataset, title in DATASETS.items() if not SMOKE else ():  # never beside synthetic images
    printed, sources = [], []
    for row in audit.list_published():
        if dataset in row.scores:
            marked = {metric: text + "*" * (metric in row.unchecked) for metric, text in row.scores[dataset].items()}
            line = {"method": row.label} | {METRICS[metric]: marked.get(metric) for metric in METRICS}
            line["parameters"] = None if row.parameters is None else count(row.parameters)
            share = row.audit(dataset, background).share
            known = None if share is None or share.interval is None else share
            line["implied region"] = known and f"{known.region or 'unknown'}, vessel share {known.interval}"
            printed.append(line)
            sources.append({"method": row.label, "source": row.source, "protocol": row.protocol or None})
    frame = pd.DataFrame(printed).dropna(axis="columns", how="all").astype(object)
    display(style(frame.where(frame.notna(), None), f"{title}: published results, as printed."))
    display(
        style(pd.DataFrame(sources), f"{title}: where these numbers stand, and what the sources say of the protocol.")
    )

# %% [markdown]
# ## How it was measured
#
# - **Splits.** DRIVE 20/20 as published, CHASE_DB1 20/8, HRF 15/30 (the first five of each class train), STARE in five folds
#   whose test parts are joined, so that each image is scored once, by a network that never saw it.
# - **Scores.** Inside the FOV, on the photograph's own grid, averaged over images. The threshold is the one with the highest
#   pooled Dice on the training images.
# - **Intervals.** 95 % percentile intervals of a two-level bootstrap: images are drawn with replacement, the same ones for
#   every seed, and seeds are drawn with replacement. With a single seed an interval covers the choice of images alone.
# - **Filters and observer.** Frangi's filter and the matched filter of Chaudhuri et al. take their scales and their threshold
#   from the training images. The second observer's label is scored as a segmentation.
#
# The recipe is the same for every network and data set:

# %% tags=["hide-input"]
training = configs[runs[0]].training
names = {"bce": "binary cross-entropy", "dice": "Dice loss"}
loss = " + ".join(f"{weight:g} × {names.get(part, part)}" for part, weight in training.loss.items())
sizes = {DATASETS[plan[run].dataset]: config.inputs.fov_side for run, config in configs.items()}
side, batch = training.patches.size, training.batch_size
steps = []
for name in ("lite", "paper"):
    settings = study.source.config("drive-unet", name).training
    number = settings.epochs * -(-settings.patches.per_epoch // settings.batch_size)
    steps.append(f"{count(number)} in the `{name}` profile")
display(
    Markdown(f"""
- Loss: {loss}, inside the FOV alone.
- Optimiser: AdamW, weight decay {training.weight_decay:g}, gradients clipped at a norm of {training.gradient_clip:g}.
- Learning rate: {training.learning_rate:g} at the peak of a one-cycle schedule.
- Batches of {batch} patches of {side} x {side} pixels, turned and mirrored at random (`{training.augmentation}`).
- Steps: {", ".join(steps)}. The last weights count; there is no validation set.
- Input: red, green and blue; the photograph is scaled until the longer side of its FOV has
  {", ".join(f"{side} pixels ({title})" for title, side in sizes.items())}.
""")
)

# %%
caption = "U-Net on DRIVE in both profiles: every setting that is not a default."
style(configuration(study.source, "drive-unet").reset_index(), caption)

# %% tags=["hide-input"]
options = {
    TITLES[config.model]: ", ".join(f"{key} {value}" for key, value in config.model_options.items())
    for config in configs.values()
}
table = pd.DataFrame({"network": list(options), "options": list(options.values())})
style(table, "Options that bring each network to about half a million parameters.")

# %% [markdown]
# ## What remains open
#
# - The `lite` profile is a preview: narrow networks and few steps. A deeper network may need more of both.
# - One recipe for all favours networks that it suits. [Training-recipe ablation](recipe.ipynb) shows how much a recipe is
#   worth.
# - With one seed, as on HRF and STARE, nothing is known of how much another training run would differ.
# - [Effect of protocol flaws](protocol_faults.ipynb) shows how these numbers would change under other ways of scoring.
#
# ## How to re-run
#
# ```bash
# retlib reproduce one-protocol --profile lite
# retlib reproduce one-protocol --profile paper --device cuda
# ```

# %% tags=["hide-input"]
lines = []
winners = dice[dice.index.isin(NETWORKS)].dropna(axis="columns", how="all").idxmax()
if SMOKE:
    lines = ["This is a smoke run on synthetic images: the pipeline works, and nothing here compares networks."]
elif len(winners):
    best = [
        f"{TITLES[model]} on " + ", ".join(f"{DATASETS[key]} ({dice.loc[model, key]:.4f})" for key in rows.index)
        for model, rows in winners.groupby(winners)
    ]
    lines.append(f"**Of {len(NETWORKS)} networks the highest Dice is that of {'; of '.join(best)}.** ({basis}.)")
    can = [
        f"{DATASETS[key]} {tests[key]['significant'].sum()} of {len(tests[key])}"
        for key in DATASETS
        if key not in undecidable
    ]
    cannot = "".join(f"; the {IMAGES[key]} images of {DATASETS[key]} cannot decide" for key in undecidable)
    lines.append(
        f"Pairs of networks whose Dice differs significantly after Holm's correction: {', '.join(can)}{cannot}. With one seed, "
        "*significant* means beyond image noise."
    )
    if len(observers):
        above = [f"{row['networks with a higher Dice']} on {row['data set']}" for _, row in observers.iterrows()]
        text = f"Networks with a higher Dice than the second observer: {', '.join(above)}."
        if (observers["networks' lowest"] > observers["observer's Betti-0 error"]).all():
            text += " Yet every network fragments vessels that observers draw as continuous."
        lines.append(text)
    if own_values["dice"].notna().any():
        best = own_values["dice"].idxmax()
        goals = "; ".join(f"{line['score']} {line['goal']}: {line[best].split(', ')[1]}" for line in judged_goals)
        lines.append(
            f"The best of our own networks on DRIVE, trained for longer and not ranked, has a Dice of {own_values.loc[best, 'dice']:.4f} "
            f"(a preview, one seed; reference model {reference.scores['drive']['dice']}). The goals set for it: {goals}."
        )
summary.update(in_short(*lines or [NO_RECORD]))
