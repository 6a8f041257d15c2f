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
# # ConvLSTM U-Net
#
# A fine-tuning study trains a descendant of BCDU-Net {cite:p}`Azad2019` on DRIVE: a U-Net that fuses each skip connection with
# the up-sampled map in a convolutional LSTM {cite:p}`Shi2015`. It announces what a learning-rate schedule, the optimiser,
# augmentation and a pre-trained start bring, prints six scores of one model and two curves, and compares nothing. This page
# re-runs the model from its description, and then runs the comparison that the study leaves out.

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
import torch
from IPython.display import Markdown, display
from matplotlib_inline.backend_inline import set_matplotlib_formats

from retlib.audit import implied_prevalence
from retlib.augmentation import augment, build_augmentation
from retlib.data import load_dataset
from retlib.inference import predict_logits
from retlib.metrics import Confusion, evaluate
from retlib.models import build_model, count_parameters
from retlib.preprocessing import prepare
from retlib.study import beside_ours, figures, in_short, ledger, open_study, reported, style, tables, verdicts
from retlib.study.results import best_profile, never_learned, same_profile, summarise
from retlib.training import cut_patch, fit, random_corner

figures.set_style()
set_matplotlib_formats("svg", metadata={"Date": None})
plt.rcParams["svg.hashsalt"] = "convlstm-unet"  # a page that is built twice is the same page
study = open_study("convlstm-unet", parameters)
paper = study.paper
TABLE_RUNS = list(paper.runs(parameters.profile, role="table"))
ABLATION_RUNS = list(paper.runs(parameters.profile, role="ablation"))
study.train([*TABLE_RUNS, *ABLATION_RUNS])

MAIN = paper.proposed["drive"]
WHOLE = f"{MAIN}-whole"  # ten steps on whole photographs, a preview alone
CHANGES = {
    MAIN: "as in Table 1",
    f"{MAIN}-constant": "constant learning rate",
    f"{MAIN}-adam": "Adam",
    f"{MAIN}-unaugmented": "without augmentation",
    f"{MAIN}-pretrained": "start from a network trained on STARE",
    f"{MAIN}-bidirectional": "ConvLSTMs that read both ways",
    WHOLE: "whole photographs, ten steps",
}
FACTORS = {  # what the study announces -> the run without it, and the run with it
    "learning-rate schedule in place of a constant rate": (f"{MAIN}-constant", MAIN),
    "gradient descent in place of Adam": (f"{MAIN}-adam", MAIN),
    "augmentation": (f"{MAIN}-unaugmented", MAIN),
    "start from a network trained on STARE": (MAIN, f"{MAIN}-pretrained"),
}
OUR_OWN = {"ConvLSTMs that read both ways": (MAIN, f"{MAIN}-bidirectional")}
ABLATION = [run for run in CHANGES if run != WHOLE]

# %% tags=["hide-input"]
lines = ledger(study)
RATES = ("sensitivity", "specificity", "accuracy", "precision", "dice")
printed = paper.tables["1"].values(0)["drive"]
target = {name: printed[name].value for name in RATES}
share = implied_prevalence(**{name: printed[name] for name in ("accuracy", "sensitivity", "specificity")})
record = study.record(MAIN)  # of the first seed, for curves and thresholds
histogram = record and record.histograms().select(region=record.config.scoring.region, pooled=True)
reached = {}  # where our curve comes nearest to a rate of the paper: scores and threshold
for name in ("specificity", "sensitivity") if histogram else ():
    false, true, thresholds = histogram.roc_curve()
    nearest = np.argmin(np.abs({"specificity": 1 - false, "sensitivity": true}[name][1:] - target[name])) + 1
    reached[name] = {"threshold": thresholds[nearest]} | histogram.metrics(thresholds[nearest])

steps = FACTORS | OUR_OWN
metrics = {"AUC": "auc", "Dice": "dice", "sensitivity": "sensitivity", "specificity": "specificity"}
effects = {title: tables.steps_table(study, steps, metric) for title, metric in metrics.items()}
concluded = effects["AUC"].loc[list(FACTORS)].dropna(subset="conclusion")
basis = dict.fromkeys(concluded["rests on"])
FOUND = {"lower": "AUC falls with", "higher": "AUC rises with", "open": "AUC does not clearly change with"}
outcomes = [
    f"{FOUND[word]}: {', '.join(part.index)}."
    for word, part in concluded.groupby(concluded["conclusion"].map(lambda text: text.split(",")[0]), sort=False)
]

if parameters.profile == "smoke":
    display(
        in_short("This is a smoke run on synthetic images: the pipeline works, and no number here speaks of the paper.")
    )
else:
    sentences = [
        verdicts.verdict_sentence(lines),
        f"The printed row is one operating point inside the field of view (FOV): its sensitivity, specificity and accuracy "
        f"imply that {100 * share.value:.2f} % of the scored pixels are vessel"
        + (
            f", and {100 * histogram.counts(0).prevalence:.2f} % of DRIVE's test pixels inside the FOV are. "
            if histogram
            else ". "
        )
        + "A specificity depends on the threshold as well as on the network.",
    ]
    if histogram:
        sentences += [
            f"At the paper's specificity of {printed['specificity'].text} our {record.profile} run detects "
            f"{100 * reached['specificity']['sensitivity']:.1f} % of the vessel pixels, the paper's network "
            f"{100 * target['sensitivity']:.1f} %.",
            f"The study says that all of its factors help. In our runs ({'; '.join(basis)}) {' '.join(outcomes)}",
        ]
    display(in_short(*sentences))

# %% [markdown]
# ## Results
#
# The paper's six numbers beside ours. A `lite` number comes from a narrow network with few steps on the real photographs: it
# is a preview, not a reproduction. Scores are pooled over all pixels inside the FOV at a threshold of 0.5, as the paper's
# numbers imply; the [underspecified details](#underspecified-details) have the reasons. Our numbers are means over seeds.

# %%
scores = study.scores()  # one row a run, seed, image, region, average and metric
cells = beside_ours(reported(paper, ["1"]), study)  # joins them by run and metric, and gives the verdicts
cells["label"] = "ConvLSTM U-Net"  # the paper's table has one row and no name for it
style(tables.side_by_side(cells), "Table 1, the proposed model on DRIVE: the paper and ours.")

# %% [markdown]
# Intervals and verdicts follow. An interval is a 95 % bootstrap over the test images, and over seeds where there are several.
# Only full-size runs are judged, by the rule of the [protocol](../book/protocol.md).

# %% tags=["hide-output"]
style(tables.details(cells), "Table 1: intervals and verdicts.")

# %% [markdown]
# ### Precision-recall and ROC analysis
#
# The paper's Figures 2 and 3 are pictures of curves, and its table gives one point of each. Ours come from the stored score
# histograms. Curves, thresholds and photographs on this page are of the first seed.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Precision-recall curve of our network on DRIVE's test images; the paper's operating point is marked at high precision."}, "figure": {"caption": "Our counterpart of the paper's Figure 2: precision and recall inside the FOV, with the paper's point.", "name": "fig-convlstm-pr"}}
shown = parameters.profile != "smoke"  # a number of synthetic images never stands beside a paper's
if histogram:
    title = f"ours ({record.profile})"
    precision, recall, _ = histogram.pr_curve()
    figure, axis = plt.subplots(figsize=(5.5, 4))
    axis.plot(recall, precision, label=f"{title}, AP {histogram.average_precision():.3f}")
    if shown:
        axis.plot(target["sensitivity"], printed["precision"].value, "ko", fillstyle="none", label="the paper's point")
    axis.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall (sensitivity)", ylabel="precision")
    axis.legend(loc="lower left")
    plt.show()
else:
    print(figures.NO_RECORD)

# %% tags=["hide-input"] mystnb={"image": {"alt": "ROC curve of our network on DRIVE's test images for false-positive rates up to one tenth; the paper's operating point is marked."}, "figure": {"caption": "Our counterpart of the paper's Figure 3: ROC curve inside the FOV for false-positive rates up to 0.1, with the paper's point. The whole range is beside the slider below.", "name": "fig-convlstm-roc"}}
if histogram:
    where = "inside the FOV"
    marked = {"the paper's point": (1 - target["specificity"], target["sensitivity"])} if shown else {}
    figures.roc_figure({where: {title: histogram}}, {where: marked})
    plt.show()
else:
    print(figures.NO_RECORD)

# %% [markdown]
# ### The operating point
#
# Five of the six printed numbers say one thing. Accuracy, sensitivity and specificity of one set of pixels determine its
# share of vessel pixels, and that share with sensitivity and specificity determines precision and F1. The remaining lines
# are of our curve: at our threshold, and where it has the paper's specificity or sensitivity.

# %%
rows = {}
if shown:
    rows["the paper, as printed"] = target
    found, rejected = share.value * target["sensitivity"], (1 - share.value) * target["specificity"]
    implied = Confusion(tp=found, fp=1 - share.value - rejected, fn=share.value - found, tn=rejected)
    rows["the paper, from its point and vessel share"] = {name: getattr(implied, name) for name in RATES}
if histogram:
    threshold = record.content["threshold"]
    rows["ours, at our threshold"] = {"threshold": threshold} | histogram.metrics(threshold)
    rows |= {f"ours, at the paper's {name}": scores for name, scores in reached.items()}
points = pd.DataFrame.from_dict(rows, orient="index", columns=["threshold", *RATES], dtype=float)
style(points, "Operating points inside the FOV: the printed row, what it implies, and our curve (first seed).")

# %% tags=["hide-input"]
if shown:
    display(
        Markdown(
            f"The paper's point (1 − Sp, Se) is ({1 - target['specificity']:.4f}, {target['sensitivity']:.4f}); the implied vessel "
            f"share is {share.value:.4f}, from {share.low:.4f} to {share.high:.4f} within rounding."
        )
    )

# %% [markdown]
# A specificity belongs to a network and a threshold together. Move the threshold of our run: the point on both curves and
# its scores follow, the paper's point stays.

# %% tags=["hide-input"]
if histogram:
    kept = {"the paper's point": target} if shown else {}
    caption = f"Our run ({record.profile}, first seed) on DRIVE's test images inside the FOV, all pixels pooled."
    display(figures.threshold_explorer(histogram, threshold, kept, caption if shown else "Synthetic images."))
else:
    print(figures.NO_RECORD)

# %% [markdown]
# ### Ablation of the announced factors
#
# Each run differs from the one of Table 1 in one thing; the last of them, the direction of the ConvLSTM, is our own question.
# The first table compares them on the seeds that all of them have.

# %%
ablation = same_profile(scores[scores["as_scored"]], ABLATION)
seeds_by_run = ablation.groupby("run")["seed"].agg(set)
ablation = ablation[ablation["seed"].isin(set.intersection(*seeds_by_run) if len(seeds_by_run) else set())]
METRICS = list(paper.tables["1"].metrics.values())
wide = summarise(ablation, by=["run", "metric"])["value"].unstack("metric").reindex(index=ABLATION, columns=METRICS)
used = ", ".join(f"{seed}" for seed in sorted(set(ablation["seed"]))) or "none"
style(
    wide.rename(index=CHANGES).rename_axis(index="run", columns=None),
    f"The factors: scores pooled inside the FOV (profile {ablation['profile'].max() if len(ablation) else '—'}, seeds: {used}).",
)

# %% [markdown]
# What each factor brings: the run with it minus the run without it, paired by image and by seed. A factor whose interval holds
# zero, or whose seeds disagree in sign, is open; with one seed the interval covers the choice of test images alone.

# %%
compared = pd.concat(effects, names=["metric", "factor"]).rename(columns={"ours": "difference"})
empty = ["paper"] + ["seeds"] * bool(compared["seeds"].isna().all())  # the paper prints no comparison
compared = compared.drop(columns=empty)
style(
    compared.loc[["AUC", "Dice"]], "What each factor brings inside the FOV, all pixels pooled, with its 95 % interval."
)

# %% tags=["hide-output"]
style(compared.loc[["sensitivity", "specificity"]], "The same in sensitivity and specificity, at a threshold of 0.5.")

# %% tags=["hide-input"] mystnb={"image": {"alt": "Three panels over the epochs, a line for each run of the ablation: training loss, validation loss and validation Dice."}, "figure": {"caption": "The epochs of each run, first seed: loss on training patches, loss and Dice on whole validation photographs.", "name": "fig-convlstm-curves"}}
epochs = study.histories()
epochs = same_profile(epochs[epochs["seed"] == study.parameters.seeds[0]], ABLATION)
columns = {"train_loss": "training loss", "validation_loss": "validation loss", "validation_dice": "validation Dice"}
columns = {name: title for name, title in columns.items() if name in epochs and epochs[name].notna().any()}
if len(epochs):
    figure, axes = plt.subplots(1, len(columns), figsize=(3.4 * len(columns), 3.6), squeeze=False)
    for axis, (column, title) in zip(axes[0], columns.items(), strict=True):
        for run in ABLATION:
            part = epochs[epochs["run"] == run].dropna(subset=[column])
            if len(part):
                axis.plot(part["epoch"], part[column], marker="o", markersize=3, label=CHANGES[run])
        axis.set(title=title, xlabel="epoch")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    plt.show()
else:
    print(figures.NO_RECORD)

# %% [markdown]
# The same networks scored as most of the field does: inside the FOV, mean over test images.

# %%
inside = best_profile(scores[(scores["region"] == "fov") & (scores["average"] == "image")])
PER_IMAGE = ["auc", "average_precision", "dice", "sensitivity", "specificity", "accuracy", "cldice", "recall_thin"]
summary = summarise(inside, by=["run", "metric"])
wide = summary["value"].unstack("metric").reindex(index=list(CHANGES), columns=PER_IMAGE)
wide["rests on"] = summary["basis"].groupby("run").first()
style(wide.rename(index=CHANGES).rename_axis(columns=None), "Inside the FOV, mean over test images and over seeds.")

# %% [markdown]
# ### The reading without patches
#
# The paper mentions no patches. On whole photographs its batch of 16 and its five epochs make ten optimiser steps. The
# preview's network took just these, at the preview's learning rate.

# %% tags=["hide-input"]
whole = study.record(WHOLE)
if whole is None:
    print("No record yet: run this notebook with profile='lite' and train='missing'.")
else:
    reached = whole.metrics()
    display(
        Markdown(
            f"After {whole.content['training']['steps']} steps the network's AUC is {reached['auc']:.4f} and its Dice "
            f"{reached['dice']:.4f} ({whole.profile}); the paper prints {printed['auc'].text} and {printed['dice'].text}. "
            f"Training Dice in the last epoch: {whole.history[-1]['train_dice']:.4f}."
            + (" By the rule of the protocol this run never learned." if never_learned(whole) else "")
        )
    )

# %% [markdown]
# ## Qualitative results
#
# The test images with the highest, the median and the lowest Dice. Where this machine has the data the photograph, the
# label and the prediction stand beside the error map.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Error maps of three DRIVE test images: detected vessels in gray, missed vessels in orange, mostly thin ones, and false positives in blue."}, "figure": {"caption": "Our counterpart of the paper's Figure 1: best, median and worst DRIVE test image.", "name": "fig-convlstm-cases"}}
set_matplotlib_formats("retina")
figures.show_cases(study, MAIN)

# %% [markdown]
# ## Claims

# %% tags=["hide-input"]
display(Markdown(paper.summary))
style(tables.claims_table(lines, paper), "What the paper claims in its text, against its own table and our records.")

# %% [markdown]
# ### Scores that the Introduction quotes
#
# The paper compares with nothing; its Introduction quotes these scores in passing. The last number of a row is the vessel
# share that accuracy, sensitivity and specificity imply, where a work gives all three: a share that no fundus photograph has
# cannot be that of one set of its pixels.

# %%
SHOWN = ["auc", "sensitivity", "specificity", "accuracy"]
quoted = reported(paper, ["Introduction", "1"])
wide = quoted.pivot(index=["table", "row", "dataset"], columns="metric", values="reported").reindex(columns=SHOWN)
for table, row, dataset in wide.index:
    values = paper.tables[table].values(row)[dataset]
    rates = {name: values[name] for name in ("accuracy", "sensitivity", "specificity") if name in values}
    if len(rates) == 3:
        wide.loc[(table, row, dataset), "implied vessel share"] = implied_prevalence(**rates).value
names = {"drive": "DRIVE", "stare": "STARE", "chase_db1": "CHASE_DB1", "hrf": "HRF"} | paper.other_datasets
wide["reference"] = [
    "this paper, Table 1" if table == "1" else paper.tables[table].rows[row].cells[0] for table, row, _ in wide.index
]
wide = wide.reset_index().sort_values(["table", "row"], key=lambda column: column.replace({"1": "~"}), kind="stable")
wide["data"] = wide["dataset"].map(lambda key: names.get(key, key))
style(
    wide[["reference", "data", *SHOWN, "implied vessel share"]].rename_axis(columns=None).reset_index(drop=True),
    "Scores that the Introduction quotes, and the paper's own.",
)

# %% tags=["hide-input"]
rows = [row for row in paper.tables["Introduction"].rows if row.note and row.cells[0] in set(wide["reference"])]
noted = {row.cells[0]: row.note for row in rows}
display(Markdown("\n".join(f"- {reference} {note}" for reference, note in noted.items())))

# %% [markdown]
# ## Protocol
#
# The settings of the run of Table 1, as previewed and at full size; what is not listed is at its default.

# %%
style(tables.configuration(paper, MAIN), f"Configuration of the run {MAIN}.")

# %% tags=["hide-input", "hide-output"]
style(tables.stated(paper), "What the paper states, and the value in our full-size runs.")

# %% [markdown]
# ### The network
#
# A ConvLSTM reads two steps, the skip connection and the up-sampled map. In the published code of BCDU-Net one ConvLSTM reads
# them backwards, though its name says bidirectional. The model offers both directions, and that code's two output layers and
# its bottleneck, so that its parameters can be counted against the published code.

# %%
config = paper.runs("paper")[MAIN]
variants = {
    "as run for Table 1": config.model_options,
    "as previewed (lite), a quarter of the width": paper.runs("lite")[MAIN].model_options,
    "as run, reading both ways": config.model_options | {"direction": "bidirectional"},
    "as run, nothing between the last pooling and the first up-sampling": config.model_options | {"dense_blocks": 0},
    "BCDU-Net D1 as coded": {"head": "family", "dense_blocks": 1},
    "BCDU-Net D3 as coded": {"head": "family", "dense_blocks": 3},
    "BCDU-Net D3, truly bidirectional": {"head": "family", "dense_blocks": 3, "direction": "bidirectional"},
}
counts = {
    title: count_parameters(build_model(config.model, in_channels=config.inputs.channels, **options))
    for title, options in variants.items()
}
table = pd.DataFrame({"network": counts.keys(), "parameters": [tables.number_text(n, ",.0f") for n in counts.values()]})
style(table, "Parameters of the network and of its variants, one channel in.")

# %% [markdown]
# ### What the network sees
#
# Patches of the equalised gray image, with a new augmentation each time. Where this machine has DRIVE they are cut from its
# first training photograph, elsewhere from a synthetic fundus image.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Three small square patches of a gray fundus image with dark vessels, and below each an augmented copy, flipped or rotated."}, "figure": {"caption": "Patches as the network sees them in training: above the patch, below one draw of its augmentation.", "name": "fig-convlstm-patches"}}
if study.root is not None:
    sample = load_dataset("drive", "training", study.root)[0]
else:
    sample = load_dataset("phantom", "training", count=1)[0]
prepared = prepare(sample, config.inputs)
pipeline = build_augmentation(config.training.augmentation)
figure, axes = plt.subplots(2, 3, figsize=(6.6, 4.6))
for seed, (above, below) in enumerate(axes.T):
    corner = random_corner(prepared, config.training.patches, seed)
    patch = cut_patch(prepared, config.training.patches, corner)
    for axis, title, image in (
        (above, "patch", patch.image),
        (below, "augmented", augment(pipeline, patch, seed).image),
    ):
        axis.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255)
        figures.title_image(axis, title)
plt.show()

# %% [markdown]
# ## Underspecified details
#
# What the paper leaves open, and how each point was decided, once, before a run was looked at. Where the
# paper is silent, the published code of BCDU-Net is followed: its names of layers, scores and curves are the paper's.

# %% tags=["hide-input"]
style(tables.open_points(paper), "What the paper leaves open, and our choices.")

# %% [markdown]
# ## Scope, and how it went
#
# - **Scope.** The one row of Table 1, the precision-recall and ROC curves, and the factors that the study announces.
# - **What was easy.** There is one network and one data set, its blocks and the number of epochs are stated, and the public
#   code of BCDU-Net, whose blocks are the same, fills most gaps.
# - **What was difficult.** Patches are never mentioned, though without them the stated epochs are too few steps to learn
#   anything. Learning rate, schedule and augmentation are the factors of the study, and none of them has a value. No score
#   of the factors is printed. A full-size run takes the better part of a day on a CPU.
# - **What held.** See the summary at the top and [every claim and its verdict](verdicts.ipynb). The authors have not been
#   contacted.

# %% [markdown]
# ## The pipeline, line by line
#
# The same code at its smallest, on synthetic fundus images, while this page is built. Its numbers say nothing of the paper.

# %%
small = paper.runs("smoke")[MAIN]
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
photograph = load_dataset("phantom", "test", **small.train.options)[0]
logits = predict_logits(trained.model, photograph, small.inputs)
shown = evaluate(1 / (1 + np.exp(-logits)), photograph.vessels, photograph.fov)
style(
    pd.DataFrame([shown]),
    "A network trained for a few steps, scored on one synthetic image: it shows the pipeline and is no result.",
)

# %% [markdown]
# ## How to re-run
#
# ```bash
# make reproduce PAPER=convlstm-unet PROFILE=lite      # the previews, minutes a run on two CPU cores
# make reproduce PAPER=convlstm-unet PROFILE=paper     # full size: hours on a CPU with bfloat16 units, or a GPU
# ```
#
# [How to read this book](../book/how-to-read.md) shows the same through papermill.
