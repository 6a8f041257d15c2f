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
# # Attention U-Net++
#
# Andrikevych and colleagues (2025) train a nested U-Net++ decoder with attention gates on HRF, with a plain encoder and
# with one after ResNet-34, and compare both with a U-Net and a SegNet of their own earlier work. This page re-runs the
# four networks from the paper's description.

# %% tags=["parameters", "hide-input"]
# papermill replaces these by name. The defaults show the records that come with the book and train nothing.
profile: str = "lite"  # smoke: synthetic images; lite: real images, small; paper: as published
data_root: str = None  # folder of the data sets; None: RETLIB_DATA
records: str = None  # folder of the records; None: the book's own
device: str = "auto"  # auto, cpu, cuda, cuda:1
seeds: list = [0, 1, 2]  # one run a seed (smoke: the first alone)
train: str = "never"  # missing, never, always: which records to make

# %% tags=["hide-input"]
from retlib.study import check_parameters

parameters = check_parameters(globals())

# %% tags=["hide-input", "remove-output"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from IPython.display import Markdown, display
from matplotlib_inline.backend_inline import set_matplotlib_formats

from retlib.data import load_dataset
from retlib.inference import predict_logits
from retlib.metrics import evaluate
from retlib.models import build_model
from retlib.models.drawing import Arrow, Box, map_sizes, network_figure
from retlib.preprocessing import prepare
from retlib.study import (
    ERROR_COLOURS,
    FALSE_POSITIVE,
    MISSED,
    beside_ours,
    figures,
    in_short,
    ledger,
    open_study,
    reported,
    style,
    tables,
    verdicts,
)
from retlib.study.claims import settled
from retlib.study.results import best_profile, same_profile, summarise
from retlib.study.statistics import coverage_note
from retlib.study.tables import number_text, signed
from retlib.training import fit

figures.set_style()
plt.rcParams["svg.hashsalt"] = "attention"  # a page that is built twice is the same page
set_matplotlib_formats("svg", metadata={"Date": None})
study = open_study("attention-unetpp", parameters)
paper = study.paper
study.train([name for role in ("table", "fold", "ablation") for name in paper.runs(parameters.profile, role=role)])

PLAIN, RESIDUAL = "hrf-attention-unetpp", paper.proposed["hrf"]
TITLES = {
    "hrf-unet": "U-Net",
    "hrf-segnet": "SegNet",
    PLAIN: "Attention U-Net++",
    RESIDUAL: "Attention U-Net++ with ResNet",
}
HEADLINE = paper.printed(RESIDUAL, "dice")
smoke = parameters.profile == "smoke"  # scores of synthetic images never stand beside the paper's

# %% tags=["hide-input"]
scores = study.scores()  # one row a run, seed, image, region, average and metric
lines = ledger(study)
STEPS = {
    "ResNet in place of the plain encoder": (PLAIN, RESIDUAL),
    "attention gates and nesting in place of U-Net": ("hrf-unet", PLAIN),
    "attention gates and nesting in place of SegNet": ("hrf-segnet", PLAIN),
    "four times the filters, with ResNet": (RESIDUAL, f"{RESIDUAL}-wide"),
}
changes = tables.steps_table(study, STEPS, "dice")

# Dice of each held-out image in the whole frame, mean over seeds. A run's group is its name without the fold.
frame = scores[(scores["average"] == "image") & (scores["region"] == "frame") & (scores["metric"] == "dice")]
frame = best_profile(frame[frame["group"].isin(TITLES)])
single = frame.groupby(["group", "image"])["value"].mean().reindex(list(TITLES), level="group")
coverage = coverage_note(single.groupby("group").size().max()) if len(single) else ""

sentences = [verdicts.verdict_sentence(lines)]
ours = best_profile(scores[scores["as_scored"] & (scores["metric"] == "dice") & scores["run"].isin(TITLES)])
ours = summarise(ours).droplevel("metric")
if {RESIDUAL, "hrf-unet"} <= set(ours.index):
    unet = paper.printed("hrf-unet", "dice", quoted=True)
    sentences.append(
        f"The paper's model with ResNet has a Dice of {HEADLINE.text}, the U-Net that it quotes from other work "
        f"{unet.text}. Ours have {ours.loc[RESIDUAL, 'value']:.4f} ({ours.loc[RESIDUAL, 'basis']}) and "
        f"{ours.loc['hrf-unet', 'value']:.4f} ({ours.loc['hrf-unet', 'basis']})."
    )
    reach = int((single >= HEADLINE.value - HEADLINE.half_unit).sum())
    sentences.append(
        f"Of our {len(single)} scores of single held-out images, over the four networks, {reach or 'none'} "
        f"reach{'' if reach > 1 else 'es'} {HEADLINE.text}; the highest is {single.max():.4f}."
    )
if isinstance(conclusion := changes.loc["ResNet in place of the plain encoder", "conclusion"], str):
    change = signed(changes.loc["ResNet in place of the plain encoder", "ours"])
    sentences.append(f"ResNet in place of the plain encoder changes our Dice by {change}: {conclusion}.")
if smoke:
    sentences = ["This is a smoke run on synthetic images: the pipeline works, and no number here speaks of the paper."]
display(in_short(*sentences))

# %% [markdown]
# ## Results
#
# The numbers of the paper beside ours. Each of our rows is the best that there is: a full-size run where it has been made,
# else a preview at half the paper's resolution with a short training (`lite`). Scores are pooled over all pixels of the
# whole frame at a threshold of 0.5, at the size to which the paper resizes photographs and labels. The label has lost
# part of its finest vessels there, so the task is easier than on the photograph's own grid. U-Net and SegNet are quoted by
# the paper from other work: ours stand beside them without a verdict.

# %%
cells = beside_ours(reported(paper, ["1"]), study)  # joined by run and metric, with the verdicts
style(tables.side_by_side(cells), "Table 1 (the text calls it Table 3), four models on HRF: the paper and ours.")

# %% tags=["hide-output"]
style(
    tables.details(cells),
    "Table 1: intervals over images and seeds, and verdicts" + (f"; {coverage}." if coverage else "."),
)

# %% [markdown]
# ### What each step brings
#
# Two networks with the same training, paired by image and by seed. The interval draws images and seeds; a step whose
# interval holds zero, or whose seeds disagree in sign, is open. More than attention changes between U-Net or SegNet and the
# paper's models: the decoder and the number of filters do too. The paper trains no network with four times the filters; an
# empty row means that we have no record of one yet.

# %%
style(changes, "Dice: difference in the paper's table, where both rows are the paper's own, and in ours.")

# %% [markdown]
# The paper gives the rise over the quoted rows in per cent of their Dice (54.03 % and 22.57 % in its text). From the
# values of its table, and from our records of one profile and the same seeds:

# %%
quoted = ["hrf-unet", "hrf-segnet"]
rows = same_profile(scores[scores["as_scored"] & (scores["metric"] == "dice")], [RESIDUAL, *quoted])
rows = rows[rows.groupby("seed")["run"].transform("nunique") == 3]
dice = pd.DataFrame({"paper": cells[cells["metric"] == "dice"].set_index("run")["reported"]})
dice["ours"] = rows.groupby("run")["value"].mean()
rise = 100 * (dice.loc[RESIDUAL] / dice.loc[quoted] - 1)
style(rise.rename(TITLES), "Dice of the model with ResNet above the quoted models, in per cent of theirs.", decimals=2)

# %% [markdown]
# ### One image or all of them?
#
# The conclusion gives the headline as that of *the test image*, and one image obeys the identity of Dice and IoU as well
# as a pooled set does. So the number may be the score of one image, chosen we do not know how. How far single held-out
# images lie apart, for each network (mean over seeds):

# %%
spread = single.groupby("group", sort=False).agg(["size", "min", "median", "max"])
spread.columns = ["images", "lowest", "median", "highest"]
if not smoke:  # rounding allowed for
    spread[f"reach {HEADLINE.text}"] = (single >= HEADLINE.value - HEADLINE.half_unit).groupby("group").sum()
style(spread.rename(TITLES).rename_axis(None), "Dice of single held-out images, whole frame.")

# %% tags=["hide-input"] mystnb={"image": {"alt": "A row of dots for each of the four networks, one dot a held-out image, along an axis of Dice, with the median, the paper's value of that row and the paper's headline as a dashed line."}, "figure": {"caption": "Dice of every held-out image and the paper's values.", "name": "fig-attention-unetpp-distribution"}}
if len(single):
    figure, axis = plt.subplots(figsize=(8, 4.2))
    blue, orange = sns.color_palette()[:2]
    for place, run in enumerate(TITLES):
        values = single[single.index.get_level_values("group") == run].to_numpy()
        # Dots that fall on one another are told apart by height; the order of the images decides, not chance.
        height = place + 0.13 * (np.arange(len(values)) % 3 - 1)
        first = place == 0
        axis.plot(values, height, "o", color=blue, alpha=0.75, label="one held-out image" if first else None)
        if len(values):
            axis.plot([np.median(values)], [place], "D", color="black", ms=5, label="median" if first else None)
        if not smoke:
            value = paper.printed(run, "dice", quoted=True).value
            label = "the paper's value of this row" if first else None
            axis.plot([value], [place], "|", color=orange, ms=22, mew=2.5, label=label)
    if not smoke:
        axis.axvline(HEADLINE.value, color=orange, ls="--", lw=1.2, label=f"the paper's headline, {HEADLINE.text}")
    axis.set(xlabel="Dice of one image", yticks=range(len(TITLES)), ylim=(len(TITLES) - 0.5, -0.5))
    axis.set_yticklabels(TITLES.values())
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    plt.show()
else:
    print(figures.NO_RECORD)

# %% [markdown]
# The table's split is the first of ten folds; the other folds hold out other images with the same network.

# %%
core = ["accuracy", "sensitivity", "specificity", "dice", "iou"]
folds = scores[scores["as_scored"] & (scores["group"] == RESIDUAL) & scores["metric"].isin(core)]
means = folds.groupby(["profile", "metric", "run"])["value"].mean()  # one value a fold, mean over seeds
over_folds = means.groupby(["profile", "metric"]).agg(["mean", "std", "count"]).rename(columns={"count": "folds run"})
over_folds = over_folds[over_folds["folds run"] > 1]
if len(over_folds):
    display(style(over_folds, "The model with ResNet over the folds that have a record, pooled scores."))
else:
    print(
        f"{folds['run'].nunique()} of {1 + len(paper.runs(parameters.profile, role='fold'))} folds have a record: no spread yet."
    )

# %% [markdown]
# ### Inside the field of view
#
# The same networks scored as most of the field does, on the same grid.

# %%
inside = best_profile(scores[(scores["region"] == "fov") & (scores["average"] == "image") & scores["run"].isin(TITLES)])
wide = summarise(inside, by=["run", "metric"])["value"].unstack("metric").reindex(index=list(TITLES)).rename(TITLES)
METRICS = ["auc", "average_precision", "dice", "sensitivity", "specificity", "accuracy", "cldice"]
style(
    wide.reindex(columns=METRICS).rename_axis(index=None, columns=None),
    "Inside the FOV, mean over the held-out images.",
)

# %% [markdown]
# The paper's own look at its Figure 4 is that main vessels are found and small ones missed. The share of the centre line
# that each network detects, by the width of the vessel:

# %%
widths = {f"recall_{width}": width for width in ("thin", "medium", "wide")}
recall = wide.reindex(columns=list(widths)).rename(columns=widths)
style(
    recall.rename_axis(index=None, columns=None),
    "Share of the centre line detected, by width of the vessel, inside the FOV.",
)

# %% [markdown]
# ## Training curves
#
# Where a curve starts and where it settles (mean over the last tenth of the epochs), one row a seed, and the epoch whose
# weights are scored.

# %%
kept = {}
for _, row in best_profile(study.records()[lambda r: r["run"].isin([PLAIN, RESIDUAL])]).iterrows():
    record = study.store.get(row["record"].name)
    curves = pd.DataFrame(record.history)
    line = {
        f"{part}, {where}": number
        for part, column in {"training": "train_loss", "validation": "validation_loss"}.items()
        for where, number in {"first": curves[column].iloc[0], "settled": settled(list(curves[column]))}.items()
    }
    line |= {
        "epochs": f"{len(curves)} of {record.config.training.epochs}",
        "kept": record.content["training"]["kept_epoch"],
    }
    kept[TITLES[row["run"]], row["seed"]] = line
losses = pd.DataFrame.from_dict(kept, orient="index")
style(losses, "Loss at the first epoch and where it settles, by network and seed.") if len(losses) else print(
    figures.NO_RECORD
)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two panels on one scale, without and with ResNet: training and validation loss over the epochs fall, and a dotted line marks the epoch whose weights are scored."}, "figure": {"caption": "Our counterpart of the paper's Figures 2a and 2b: loss without and with ResNet, first seed.", "name": "fig-attention-unetpp-losses"}}
found = {
    title: record
    for title, run in {"2a, without ResNet": PLAIN, "2b, with ResNet": RESIDUAL}.items()
    if (record := study.record(run)) is not None
}
if found:
    figure, axes = plt.subplots(1, len(found), figsize=(4.5 * len(found), 3.4), sharey=True, squeeze=False)
    for axis, (title, record) in zip(axes[0], found.items(), strict=True):
        curves = pd.DataFrame(record.history).set_index("epoch")
        axis.plot(curves["train_loss"], label="training")
        axis.plot(curves["validation_loss"], "--", label="validation")
        axis.axvline(record.content["training"]["kept_epoch"], color="gray", ls=":", label="weights that are scored")
        axis.set(title=f"{title} ({record.profile})", xlabel="epoch")
    axes[0, 0].set_ylabel("loss")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    plt.show()
else:
    print(figures.NO_RECORD)

# %% tags=["hide-input"]
display(Markdown(f"The paper: *{paper.claim('loss-start').statement}* *{paper.claim('loss-level').statement}*"))

# %% [markdown]
# ## Qualitative results
#
# The held-out images with the highest, the median and the lowest Dice of the model with ResNet. Where this machine has
# the data the photograph, the label and the prediction stand beside the error map. Photographs: HRF, {cite:t}`Budai2013`,
# Friedrich-Alexander-Universität Erlangen-Nürnberg, CC BY 4.0, reduced in size.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Error maps of three HRF images: detected vessels in gray, missed vessels in orange, most of them thin, and false positives in blue."}, "figure": {"caption": "Our counterpart of the paper's Figure 3: best, median and worst held-out image.", "name": "fig-attention-unetpp-cases"}}
set_matplotlib_formats("retina")
figures.show_cases(study, RESIDUAL)

# %% [markdown]
# The paper overlays both masks and paints in green what was missed. Here a miss is orange and a false positive, which the
# paper does not mark, is blue: the two are told apart without telling red from green.

# %% tags=["hide-input"] mystnb={"image": {"alt": "The median held-out image: missed vessels in orange and false positives in blue, on white and, where the data is at hand, over the photograph."}, "figure": {"caption": "Our counterpart of the paper's Figure 4: missed vessels and false positives on the median held-out image.", "name": "fig-attention-unetpp-overlay"}}
record = study.record(RESIDUAL)
if record is not None:
    errors, name = record.error_maps()["median"], record.test()["cases"]["median"]["image"]
    sample = figures.photograph(record, name, study.root)
    figure, axes = plt.subplots(1, 1 if sample is None else 2, figsize=(5 if sample is None else 10, 4), squeeze=False)
    figures.show_errors(axes[0, 0], errors, f"{name} ({record.profile})")
    if sample is not None:
        painted = figures.on_map(sample.image, errors).copy()
        for kind in (MISSED, FALSE_POSITIVE):
            painted[errors == kind] = ERROR_COLOURS[kind]
        axes[0, 1].imshow(painted, interpolation="nearest")
        figures.title_image(axes[0, 1], "over the photograph")
    figures.error_legend(figure)
    plt.show()
else:
    print(figures.NO_RECORD)
set_matplotlib_formats("svg", metadata={"Date": None})

# %% [markdown]
# ## Claims

# %% tags=["hide-input"]
display(Markdown(paper.summary))
style(
    tables.claims_table(lines, paper),
    "What the paper claims in its text, against its own table and against our records.",
)

# %% [markdown]
# ## Architecture
#
# Each row of the grid is a level, and each node reads all earlier maps of its row through attention gates, and one map from
# below. The size of every map is that of a forward pass at the paper's size.

# %%
config = paper.runs("paper")[RESIDUAL]
network = build_model(config.model, in_channels=config.inputs.channels, **config.model_options)
sizes = map_sizes(network, config.inputs.channels, *config.inputs.resample)
maps = {(level, 0): size for level, size in enumerate(sizes["decoder"].takes)}  # (level, column) -> size of the map
for column, nodes in enumerate(network.decoder.columns, start=1):
    maps |= {(level, column): sizes[f"decoder.columns.{column - 1}.{level}"].gives for level in range(len(nodes))}

# %% tags=["hide-input"] mystnb={"image": {"alt": "A triangular grid of fifteen maps: five encoder maps along the left edge, ten decoder nodes to the right, solid arrows from below and dashed arrows through attention gates along each row."}, "figure": {"caption": "Our counterpart of the paper's Figure 1, read from the model: channels @ height \u00d7 width of every map.", "name": "fig-attention-unetpp-grid"}}
STEP, GATE = "pooled, or enlarged from below", "skip through an attention gate"
boxes, arrows = {}, []
for (level, column), size in maps.items():
    kind = "node of the decoder" if column else "map of the encoder"
    boxes[f"{level},{column}"] = Box(column + level / 2, level, f"X({level},{column})\n{size}", kind)
    if column:
        arrows.append(Arrow(f"{level + 1},{column - 1}", f"{level},{column}", STEP))
    elif level:
        arrows.append(Arrow(f"{level - 1},0", f"{level},0", STEP))
    # A far skip is bent, so that it does not run through the nodes between.
    arrows += [
        Arrow(f"{level},{earlier}", f"{level},{column}", GATE, -0.2 * (column - earlier > 1))
        for earlier in range(column)
    ]
kinds = {"map of the encoder": "#cfe3f3", "node of the decoder": "#fbe3c4"}
figure = network_figure(boxes, arrows, kinds, {STEP: ("gray", "-"), GATE: ("gray", "--")})
room = 0.45  # inches above the first row, for its bent arrows
figure.axes[0].set_ylim(top=figure.axes[0].get_ylim()[1] + room)
figure.set_figheight(figure.get_figheight() + room)
plt.show()

# %%
costs = tables.network_costs(paper.runs("paper", role="table"), config.inputs.resample)
ran = best_profile(study.records()).groupby("run")
costs["parameters of ours"] = ran["parameters"].first()
costs["seconds a step of ours"] = ran["step_s"].min()
costs[["parameters", "parameters of ours"]] = costs[["parameters", "parameters of ours"]].map(
    lambda count: number_text(float(count), ",.0f") if pd.notna(count) else None
)
style(costs.rename(TITLES), "Cost of the four networks at the paper's size, and of the networks behind our numbers.")

# %% [markdown]
# ## Protocol
#
# The settings of the proposed model's run, as previewed and at full size; what is not listed is at its default.

# %%
style(tables.configuration(paper, RESIDUAL), f"Configuration of the run {RESIDUAL}.")

# %% tags=["hide-input", "hide-output"]
style(tables.stated(paper), "What the paper states, and the value in our full-size runs.")

# %% [markdown]
# ## Underspecified details
#
# What the paper leaves open, and how each point was decided, once, before a run was looked at.

# %% tags=["hide-input", "hide-output"]
style(tables.open_points(paper), "What the paper leaves open, and our choices.")

# %% [markdown]
# ## Limits
#
# One fold of ten is scored, and an interval over so few images is too narrow; the note at its table says by how much. The
# two quoted rows come from work that is not described, so no run of ours can be called the same experiment. Previews see
# half the paper's resolution and stop early: they say nothing about the paper's numbers at full size.

# %% [markdown]
# ## Scope, and how it went
#
# - **Scope.** The two networks that the authors trained and the two that they quote, on HRF; the loss curves; the pictures
#   of results; and what the text says of single images.
# - **What was easy.** Working size, split share, loss, optimiser, the rule for the learning rate and the rule for stopping
#   are stated with numbers. The photographs are public under CC BY 4.0.
# - **What was difficult.** Text and drawing leave open where the attention gates sit. Which photographs are held out is not
#   said, nor whether the images that stop the training are those that are scored. The nested decoder at this size needs
#   many hours for a run on a CPU, so that the numbers here are previews.
# - **What held.** See the summary at the top and [every claim and its verdict](verdicts.ipynb). The authors have not been
#   contacted.

# %% [markdown]
# ## The pipeline, line by line
#
# The same code at its smallest, on synthetic fundus images, while this page is built. Its numbers say nothing of the paper.

# %%
small = paper.runs("smoke")[RESIDUAL]
training = [prepare(sample, small.inputs) for sample in load_dataset("phantom", "training", **small.train.options)]
trained = fit(
    lambda: build_model(small.model, small.inputs.channels, **small.model_options),
    training,
    training[:1],
    small.training,
    small.inputs,
    seed=0,
    device=torch.device("cpu"),
)
fundus = load_dataset("phantom", "test", **small.train.options)[0]
logits = predict_logits(trained.model, fundus, small.inputs)
shown = evaluate(1 / (1 + np.exp(-logits)), fundus.vessels, fundus.fov)
style(
    pd.DataFrame([shown]),
    "A network trained for a few steps, scored on one synthetic image: it shows the pipeline and is no result.",
)

# %% [markdown]
# ## How to re-run
#
# ```bash
# make reproduce PAPER=attention-unetpp PROFILE=lite      # the previews, minutes a run on two CPU cores
# make reproduce PAPER=attention-unetpp PROFILE=paper     # full size: a GPU, or many hours on a CPU
# ```
#
# [How to read this book](../book/how-to-read.md) shows the same through papermill.
