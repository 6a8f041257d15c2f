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
# # Cross-dataset: trained on one data set, tested on the others
#
# Each data set comes from another camera and other annotators. One small U-Net is trained on each of four data sets and
# tested on all four: as it is, pre-trained on synthetic fundus images, with colour augmentation, and trained on synthetic
# images only. Nothing of the tested data set is used in training, not even to choose the threshold. *In-domain* means
# that a network is tested on other images of the data set that it was trained on; everything else is *cross-dataset*.

# %% tags=["parameters", "hide-input"]
profile: str = "lite"  # smoke: synthetic images; lite: real images, small; paper: ten times the steps
data_root: str = None  # folder of the data sets; None: RETLIB_DATA
records: str = None  # folder of the records; None: the book's own
device: str = "auto"  # auto, cpu, cuda, cuda:1
seeds: list = [0]  # one run a seed
train: str = "never"  # missing, never, always: which records to make

# %% tags=["hide-input"]
from retlib.study import check_parameters

parameters = check_parameters(globals())

# %% tags=["hide-input", "remove-output"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import Markdown, display
from matplotlib.patches import Rectangle
from matplotlib_inline.backend_inline import set_matplotlib_formats

from retlib.data.phantoms import make_phantom
from retlib.study import Record, figures, in_short, open_study, results, statistics
from retlib.study.baselines import baseline_scores, train_baselines
from retlib.study.tables import configuration, signed, style

figures.set_style()
plt.rcParams["svg.hashsalt"] = "retlib"  # a page that is built twice is the same page
set_matplotlib_formats("svg", metadata={"Date": None})

study = open_study("transfer", parameters)
study.train(study.source.plan(parameters.profile))
train_baselines(study, ["second_observer"])

# One profile for the whole page: the one that most records are of.
counts = study.scores().groupby("profile")["record"].nunique()
shown = counts.idxmax() if len(counts) else parameters.profile
plan, configs = study.source.plan(shown), study.source.runs(shown)

NO_RECORD = "No record yet: run this notebook with `train='missing'`."
METRICS = {"dice": "Dice", "auc": "AUC"}
DIFFERENCES = METRICS | {"dice_oracle": "Dice, oracle thresholds"}
COLUMNS = ["trained", "test", *(metric + end for metric in DIFFERENCES for end in ("", " low", " high")), "p"]
SETS = [name for name in ("drive", "chase_db1", "stare", "hrf") if name in plan]
TITLES = {name: name.upper() + (" (synthetic)" if shown == "smoke" else "") for name in SETS}
# A run's group is its name without the fold: what a network was trained on, and how.
TRAININGS = (
    TITLES
    | {f"{name}-after-phantoms": f"{TITLES[name]}, pre-trained on synthetic" for name in SETS}
    | {f"{name}-colours": f"{TITLES[name]}, colour augmentation" for name in SETS}
    | {"phantoms": "synthetic images only"}
)
# What a test selection stands for: the data set of the run that it is in-domain for, or else its own.
STANDS_FOR = {
    config.test[0].label: plan[name].dataset
    for name, config in configs.items()
    if config.train.dataset == config.test[0].dataset
}


def tested_set(label):
    """Name the data set of a test selection: ``stare`` of ``stare:all`` and of ``stare:all/fold1of5-test``."""
    return STANDS_FOR.get(label, label.split(":")[0])


def basis():
    """Word what the networks' numbers rest on: profile, seeds, runs that never learned, staleness."""
    rows = scores[scores["kind"] == "network"]
    never = rows.loc[~rows["learned"], "record"].nunique()
    seeds = rows["seed"].nunique()
    return results.basis_text(shown, seeds, never, bool(rows["stale"].any()))


def few_images():
    """Say how much the intervals over few images cover."""
    counts = scores.groupby("test")["image"].nunique()
    notes = {TITLES[name]: statistics.coverage_note(counts[name]) for name in SETS if name in counts}
    return " ".join(f"{title}: {note}." for title, note in notes.items() if note)


def named(table):
    """Name the rows and columns of a matrix for reading."""
    table = table.rename(index=TRAININGS, columns=TITLES)
    return table.rename_axis(index="trained on", columns=None).reset_index()


def places(frame):
    """Name the two data sets of each difference."""
    return pd.DataFrame({"trained on": frame["trained"].map(TRAININGS), "tested on": frame["test"].map(TITLES)})


def changes(frame):
    """Arrange differences for reading: Dice, AUC, Dice with the oracle thresholds, and p by Holm's method."""
    table = places(frame).assign(**{title: frame[metric].map(signed) for metric, title in DIFFERENCES.items()})
    return table.assign(**{"p (Holm)": [f"{p:.2g}" if p >= 1e-3 else "< 0.001" for p in frame["p (Holm)"]]})


def difference_figure(frame, what):
    """Draw differences of Dice and AUC as dots with their intervals, one line per pair."""
    if frame.empty:
        return print(NO_RECORD)
    axes = plt.figure(figsize=(10, 1.2 + 0.26 * len(frame))).subplots(1, 2, sharey=True)
    colours = dict(zip(SETS, sns.color_palette("colorblind"), strict=False))
    for axis, (metric, title) in zip(axes, METRICS.items(), strict=True):
        for place, (_, line) in zip(reversed(range(len(frame))), frame.iterrows(), strict=True):
            colour = colours[line["test"]]
            axis.plot([line[f"{metric} low"], line[f"{metric} high"]], [place] * 2, color=colour, linewidth=1.5)
            axis.plot(line[metric], place, "o", color=colour, markersize=5)
        axis.axvline(0, color="0.4", linewidth=0.8, zorder=1)
        axis.grid(axis="y", visible=False)
        axis.set_xlabel(f"{title}, {what}")
    arrow = " \N{RIGHTWARDS ARROW} "
    labels = [arrow.join(pair) for pair in places(frame).itertuples(index=False)]
    axes[0].set_yticks(range(len(frame)), reversed(labels))
    axes[0].set_ylabel(f"trained on{arrow}tested on")
    axes[0].set_ylim(-0.7, len(frame) - 0.3)


def decided(frame):
    """Say how many differences are beyond image noise, and where so few images can hardly decide one."""
    if frame.empty:
        return NO_RECORD
    counts = scores.groupby("test")["image"].nunique()
    smallest = {test: statistics.smallest_p(counts[test]) for test in frame["test"].unique()}
    least = [
        f"{p:.2g} on {TITLES[test]} ({counts[test]} images)"
        for test, p in smallest.items()
        if p > statistics.ALPHA / len(frame)  # the correction's level for the smallest p
    ]
    text = (
        f"{frame['beyond'].sum()} of {len(frame)} differences are beyond image noise (signed-rank test of Dice, Holm)."
    )
    text += f" Before the correction, p is at least {', '.join(least)}." if least else ""
    return text + (f" {frame.attrs['missing']} more comparisons lack a record." if frame.attrs["missing"] else "")


# %% tags=["hide-input"]
summary = display(Markdown("Filled in at the end of the page, when its numbers are known."), display_id="summary")

# %% [markdown]
# ## Every network on every data set
#
# The table of scores has one row for each image and metric. The twenty photographs of STARE are the same whether they are
# tested together or in folds, so each test selection is called by its data set.

# %%
observers = results.best_profile(baseline_scores(study, ["second_observer"]), each="group")
networks = study.scores()
networks = networks[(networks["profile"] == shown) & networks["complete"]]  # every planned fold has a record
scores = results.join([networks, observers])
scores = scores[(scores["region"] == "fov") & (scores["average"] == "image") & scores["metric"].isin(METRICS)]
scores = scores.assign(selection=scores["test"], test=scores["test"].map(tested_set))
scores["trained"] = scores["group"].where(scores["kind"] == "network", "second observer")

means = results.summarise(scores, by=["trained", "test", "metric"]).reset_index()
rows = [*TRAININGS, "second observer"]
dice, auc = (
    means[means["metric"] == metric].pivot(index="trained", columns="test", values="value").reindex(rows, columns=SETS)
    for metric in METRICS
)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two heat maps, Dice and AUC: a row for each kind of training, a column for each tested data set, with the number in each cell and a frame around the in-domain cells."}, "figure": {"caption": "Dice and AUC inside the field of view by training (rows) and tested data set (columns). In-domain cells are framed.", "name": "fig-transfer-matrix"}}
axes = plt.figure(figsize=(10, 1.4 + 0.36 * len(TRAININGS))).subplots(1, 2, sharey=True)
for axis, table, title in zip(axes, (dice, auc), METRICS.values(), strict=True):
    table = table.loc[list(TRAININGS)].astype(float)
    limits = {} if table.notna().to_numpy().any() else {"vmin": 0, "vmax": 1}
    sns.heatmap(table, ax=axis, cmap="cividis", cbar=False, linewidths=1, annot=True, fmt=".4f", **limits)
    for y, trained in enumerate(TRAININGS):
        for x in [x for x, test in enumerate(SETS) if trained.startswith(test)]:
            axis.add_patch(Rectangle((x + 0.02, y + 0.02), 0.96, 0.96, fill=False, edgecolor="#D55E00", linewidth=2))
    axis.grid(False)
    axis.set(title=f"{title} inside the FOV", xlabel="tested on", ylabel="trained on" if axis is axes[0] else "")
    axis.set_xticks(axis.get_xticks(), [TITLES[name].replace(" ", "\n") for name in SETS], rotation=0)
    axis.set_yticks(axis.get_yticks(), TRAININGS.values(), rotation=0)
plt.show()

# %%
display(style(named(dice), f"Dice inside the FOV by tested data set, mean over images ({basis()})."))
style(named(auc), f"AUC inside the FOV by tested data set ({basis()}). A binary annotation has no AUC.")

# %% tags=["hide-input", "hide-output"] mystnb={"code_prompt_show": "Show the 95 % intervals of Dice and AUC", "code_prompt_hide": "Hide the intervals"}
means["interval"] = [None if np.isnan(row.low) else f"{row.low:.3f} to {row.high:.3f}" for row in means.itertuples()]
for metric, title in METRICS.items():
    table = means[means["metric"] == metric].pivot(index="trained", columns="test", values="interval")
    caption = f"{title}: 95 % bootstrap intervals over images, and over seeds where there are several. {few_images()}"
    display(style(named(table.reindex(rows, columns=SETS)), caption))

# %% [markdown]
# ## What crossing cameras costs
#
# Each network is compared with the one that was trained on the tested data set itself, on the same images. The *oracle*
# gives both networks the threshold that is best on the tested images: what is lost even then is lost in ranking pixels, the
# rest by a threshold that was chosen on other photographs. No such threshold is available in practice.


# %%
def at_best_threshold(rows):
    """Score each image by Dice at the one threshold that is best on all tested images of its record."""
    scored = []
    for (folder, selection), part in rows.groupby(["record", "selection"]):
        histograms = Record.read(folder).histograms(selection)
        threshold = histograms.select(region="fov", pooled=True).best_threshold("dice")
        values = np.atleast_1d(histograms.select(region="fov", pooled=False).counts(float(threshold)).dice)
        value = part["image"].map(dict(zip(histograms.names, values, strict=True)))
        scored.append(part.assign(metric="dice_oracle", value=value))
    return results.join(scored)


networks = scores[scores["kind"] == "network"]
networks = results.join([networks, at_best_threshold(networks[networks["metric"] == "dice"])])


def compare(pairs):
    """Subtract one network's scores from another's on the same images and seeds; a line for each pair with records.

    Args:
        pairs: (training that is subtracted, training, tested data set).
    """
    lines = []
    for start, end, test in pairs:
        before, after = (networks[(networks["group"] == group) & (networks["test"] == test)] for group in (start, end))
        seeds = set(before["seed"]) & set(after["seed"])
        if not seeds:
            continue
        line = {"trained": end, "test": test}
        for metric in ("dice", "auc", "dice_oracle"):
            sides = [rows[(rows["metric"] == metric) & rows["seed"].isin(seeds)] for rows in (before, after)]
            change = results.difference(*sides)
            line |= {metric: change.value, f"{metric} low": change.low, f"{metric} high": change.high}
            if metric == "dice":  # one value an image: the mean over seeds
                line["p"] = statistics.signed_rank(*(results.matrix(rows).mean() for rows in sides))
        lines.append(line)
    frame = pd.DataFrame(lines, columns=COLUMNS)
    frame["p (Holm)"] = statistics.holm(frame["p"])
    frame["beyond"] = frame["p (Holm)"] <= statistics.ALPHA
    same = [trained.startswith(test) for trained, test in zip(frame["trained"], frame["test"], strict=True)]
    frame["where"] = np.where(same, "in-domain", "cross-dataset")
    frame.attrs["missing"] = len(pairs) - len(frame)
    return frame


cross = compare([(test, trained, test) for trained in SETS for test in SETS if trained != test])

# %% tags=["hide-input"] mystnb={"image": {"alt": "A line for each pair of data sets, with the difference of Dice and of AUC to the network that was trained on the tested data set as a dot with its interval."}, "figure": {"caption": "Cross-dataset minus in-domain: the network that is named first, tested on the data set that is named second, against the network that was trained there. 95 % intervals over images; colours tell the tested data set.", "name": "fig-transfer-losses"}}
difference_figure(cross, "minus in-domain")
plt.show()

# %%
style(changes(cross), f"Cross-dataset minus in-domain ({basis()}). {decided(cross)}")

# %% [markdown]
# ## Pre-training on synthetic images
#
# A synthetic fundus image is drawn by code, and its label is exact. These have lesions, which belong to the background.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Three synthetic fundus photographs with vessel trees that branch from an optic disc, dark and bright lesions, and their labels below."}, "figure": {"caption": "Synthetic fundus images with lesions, and their labels.", "name": "fig-transfer-phantoms"}}
set_matplotlib_formats("retina")
figures.gallery({f"synthetic image {seed}": make_phantom(seed, lesions=True) for seed in range(3)})
plt.show()
set_matplotlib_formats("svg", metadata={"Date": None})

# %% [markdown]
# Each pre-trained network is compared with the same network without. It has taken half as many steps again, so that a gain
# need not come from the images, while no gain means that they brought nothing.

# %%
pretrained = compare([(trained, f"{trained}-after-phantoms", test) for trained in SETS for test in SETS])

# %% tags=["hide-input"] mystnb={"image": {"alt": "A line for each training and tested data set, with the change of Dice and of AUC by pre-training on synthetic images as a dot with its interval."}, "figure": {"caption": "Pre-training on synthetic images: difference to the same network without, with 95 % intervals over images. Colours tell the tested data set.", "name": "fig-transfer-gains"}}
difference_figure(pretrained, "minus the same without")
plt.show()

# %%
style(changes(pretrained), f"Pre-trained minus not pre-trained ({basis()}). {decided(pretrained)}")

# %% [markdown]
# ## Colour augmentation
#
# The recipe turns and mirrors a patch and leaves its colours alone, so that a network knows the colours of one camera. With
# colour augmentation, exposure, gamma and tint of every patch are drawn anew; the number of steps and all else stay. These
# runs were added when the matrix had been seen, to find out why some of its cells are so low.

# %%
coloured = compare([(trained, f"{trained}-colours", test) for trained in SETS for test in SETS])

# %% tags=["hide-input"] mystnb={"image": {"alt": "A line for each training and tested data set, with the change of Dice and of AUC by colour augmentation as a dot with its interval."}, "figure": {"caption": "Colour augmentation: difference to the same network without, with 95 % intervals over images. Colours tell the tested data set.", "name": "fig-transfer-colours"}}
difference_figure(coloured, "minus the same without")
plt.show()

# %%
style(changes(coloured), f"With colour augmentation minus without ({basis()}). {decided(coloured)}")

# %% [markdown]
# ## Synthetic images only
#
# A network that never saw a photograph is compared with the one that was trained on the tested data set.

# %%
synthetic = compare([(test, "phantoms", test) for test in SETS])
style(changes(synthetic), f"Synthetic images only minus in-domain ({basis()}). {decided(synthetic)}")

# %% tags=["hide-input", "hide-output"] mystnb={"code_prompt_show": "Show the 95 % intervals of all differences", "code_prompt_hide": "Hide the intervals"}
every = pd.concat([cross, pretrained, coloured, synthetic], ignore_index=True)
table = places(every)
for metric, title in DIFFERENCES.items():
    ends = zip(every[f"{metric} low"], every[f"{metric} high"], strict=True)
    table[title] = [f"{signed(low)} to {signed(high)}" for low, high in ends]
style(table, f"95 % bootstrap intervals of the differences, over images and seeds. {few_images()}")

# %% [markdown]
# ## Errors on the same photographs
#
# The first test image of each data set, by what the network was trained on. Below the plain networks stand the network with
# the lowest cross-dataset Dice, trained once more with colour augmentation, and the one that saw synthetic images only. The
# pre-trained networks look like those without.


# %% tags=["hide-input"] mystnb={"image": {"alt": "A grid of error maps, a row for each training and a column for each tested image: found vessels in dark gray, missed vessels in orange and false positives in blue."}, "figure": {"caption": "Error maps of one image of each data set (columns), by what the network was trained on (rows).", "name": "fig-transfer-errors"}}
def first_map(trained, test):
    """Look up the name, error map and Dice of the first test image; None without a record."""
    rows = networks[(networks["group"] == trained) & (networks["test"] == test) & (networks["metric"] == "dice")]
    rows = rows[rows["seed"] == rows["seed"].min()].set_index("image")
    cases = {}
    for (folder, selection), _ in rows.groupby(["record", "selection"]):
        record = Record.read(folder)
        if case := record.test(selection).get("cases", {}).get("first"):
            cases[case["image"]] = record, selection
    if not cases:
        return None
    name = min(cases)  # of the folds of STARE, the one that has the first image of all
    record, selection = cases[name]
    return name, record.error_maps(selection)["first"], rows.loc[name, "value"]


plain = cross.merge(means[means["metric"] == "dice"], on=["trained", "test"])
worst = [f"{plain.loc[plain['value'].idxmin(), 'trained']}-colours"] if len(plain) else []
shown_rows = [name for name in (*SETS, *worst, "phantoms") if name in set(networks["group"])]
set_matplotlib_formats("retina")
size = 2.5 * len(SETS), 2.4 * max(1, len(shown_rows))
axes = plt.figure(figsize=size).subplots(max(1, len(shown_rows)), len(SETS), squeeze=False)
for row, trained in zip(axes, shown_rows, strict=False):
    for axis, test in zip(row, SETS, strict=True):
        axis.set_axis_off()
        if found := first_map(trained, test):
            name, errors, value = found
            figures.show_errors(axis, errors, f"{TITLES[test]} {name}, Dice {value:.3f}")
    words = "trained on\n" + TRAININGS[trained].replace(", ", ",\n")
    row[0].text(-0.06, 0.5, words, rotation=90, ha="right", va="center", transform=row[0].transAxes, fontsize=9)
if shown_rows:
    figures.error_legend(plt.gcf())
    plt.show()
else:
    plt.close()
    print(NO_RECORD)

# %% [markdown]
# ## How it was measured
#
# - The field of view is scaled to one size for every data set before the network sees it, so that vessels are about as wide
#   in pixels whatever the camera. Scores are taken on the native grid, inside the field of view, as means over images.
# - The threshold is the one with the highest Dice on the network's own training images.
# - STARE has no test half. Networks that were trained elsewhere are tested on all of its photographs, and the in-domain
#   network in five folds, so that each photograph is tested by a network that has not seen it. On the other data sets, the
#   network that was trained on all of STARE is tested.
# - Of HRF a balanced part of the test images is tested in the `lite` profile, because a photograph of eight megapixels takes
#   long to score. The `paper` profile tests them all.
# - The second observer, where a data set has one, is scored against the first on the same images.
# - Differences are paired by image. Holm's correction is over the lines of a table.

# %%
tested = {name: set() for name in (*SETS, "phantom")}
for selection in [selection for config in configs.values() for selection in config.test]:
    tested[tested_set(selection.label)] |= set(selection.names())
trained = {name: configs.get(name, configs["phantoms"]).train.names() for name in tested}
images = {
    "data set": [TITLES.get(name, "synthetic") for name in tested],
    "training images": [len(names) for names in trained.values()],
    "test images": [len(names) for names in tested.values()],
    "second observer": ["yes" if name in set(observers["dataset"]) else "no" for name in tested],
}
style(pd.DataFrame(images), "The images of each data set.")

# %%
caption = "The pre-trained network of DRIVE in both profiles: every setting that is not a default."
style(configuration(study.source, "drive-after-phantoms").reset_index(), caption)

# %% [markdown]
# ## What remains open
#
# - Data sets differ in camera, patients, resolution and in how their annotators draw vessels. These runs do not tell which of
#   these costs how much; a gain by colour augmentation speaks for the camera.
# - One small network and one recipe. The numbers of the `lite` profile are a preview.
# - Six images of HRF, or eight of CHASE_DB1, decide few comparisons.
#
# ## How to re-run
#
# ```bash
# retlib reproduce transfer --profile lite
# retlib reproduce transfer --profile paper --device cuda
# ```


# %% tags=["hide-input"]
def gains(frame):
    """Word the mean change of Dice, cross-dataset and in-domain."""
    means = frame.groupby("where")["dice"].agg(["mean", "size"])
    parts = [f"{signed(mean)} {where} ({size} cells)" for where, mean, size in means.itertuples()]
    return f"{' and '.join(parts)}; {frame['beyond'].sum()} of {len(frame)} changes are beyond image noise"


lines = []
if len(cross):
    cost = -cross["dice"]
    least, most = (" to ".join(places(cross).loc[index]) for index in (cost.idxmin(), cost.idxmax()))
    lines += [
        f"**Crossing cameras costs {cost.min():.4f} ({least}) to {cost.max():.4f} Dice ({most})**, {cost.mean():.4f} on "
        f"average over {len(cross)} pairs of data sets; {cross['beyond'].sum()} of these differences are beyond image "
        f"noise. AUC changes by {signed(cross['auc'].mean())}.",
        f"With the threshold that is best for the tested images, {-cross['dice_oracle'].mean():.4f} Dice are still lost: "
        "that much is lost in ranking pixels, the rest by a threshold that was chosen on other photographs.",
    ]
if len(coloured):
    lines.append(f"Colour augmentation, in as many steps, changes Dice by {gains(coloured)}.")
if len(pretrained):
    lines.append(f"Pre-training on synthetic images, half as many steps more, changes Dice by {gains(pretrained)}.")
alone = means[(means["trained"] == "phantoms") & (means["metric"] == "dice")].set_index("test")["value"]
if len(alone):
    low, high = alone[SETS].min(), alone[SETS].max()
    lines.append(
        f"A network that never saw a photograph reaches a Dice of {low:.4f} to {high:.4f} on the data sets, and of "
        f"{alone['phantom']:.4f} on synthetic images that it never saw."
    )
if lines:
    preview = "a preview, " if shown == "lite" else ""
    lines.append(f"The numbers are of {networks['record'].nunique()} runs ({preview}{basis()}).")
    if networks["seed"].nunique() == 1:
        lines[-1] += " With one seed, nothing is known of how much another training run would differ."
if shown == "smoke":
    lines = ["This is a smoke run on synthetic images: the pipeline works, and no number here means anything."]
summary.update(in_short(*lines or [NO_RECORD]))
