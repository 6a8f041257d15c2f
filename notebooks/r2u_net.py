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
# # R2U-Net
#
# A course report from Hanoi (2025) trains R2U-Net, a U-Net of recurrent residual blocks, on patches of DRIVE and prints
# validation scores epoch by epoch: Dice and sensitivity fall to next to nothing while accuracy rises. This page trains the
# same network as the report states it, at the report's size, and asks whether the training fails or its evaluation.

# %% tags=["parameters", "hide-input"]
# papermill replaces these by name. The defaults show the records that come with the book and train nothing.
profile: str = "lite"  # smoke: synthetic images; lite: real images, small; paper: as published
data_root: str = None  # folder of the data sets; None: RETLIB_DATA
records: str = None  # folder of the records; None: the book's own
device: str = "auto"  # auto, cpu, cuda, cuda:1
seeds: list = [0, 1, 2]  # one run per seed (smoke: the first alone)
train: str = "never"  # missing, never, always: which records to make

# %% tags=["hide-input"]
from retlib.study import check_parameters

parameters = check_parameters(globals())

# %% tags=["hide-input", "remove-output"]
import math
import textwrap
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display
from matplotlib_inline.backend_inline import set_matplotlib_formats

from retlib.audit import implied_prevalence
from retlib.data import load_dataset
from retlib.data.measurements import read_measurements
from retlib.data.registry import COLLECTIONS
from retlib.inference import predict_logits
from retlib.metrics import evaluate
from retlib.models import build_model, count_parameters, model_options, multiply_adds
from retlib.preprocessing import prepare
from retlib.study import beside_ours, figures, in_short, open_study, reported, results, style, tables, verdicts
from retlib.study.results import SIZES, best_profile, same_profile, summarise
from retlib.study.rules import collapse
from retlib.training import fit

figures.set_style()
set_matplotlib_formats("svg", metadata={"Date": None})
plt.rcParams["svg.hashsalt"] = "r2u_net"  # a page that is built twice is the same page
study = open_study("r2u-net", parameters)
paper = study.paper
plan = paper.plan(parameters.profile)
ABOUT = {run: planned.about for run, planned in paper.plan("lite").items()}
smoke = parameters.profile == "smoke"

# %% tags=["hide-input", "remove-output"]
STATED = "drive-r2unet"
# Runs that train as the stated one does and differ in evaluation alone; their records are checked for it.
EVALUATIONS = {
    "drive-r2unet-per-step": "with statistics kept per recurrence",
    "drive-r2unet-batch-statistics": "normalised by the batch itself",
}
FACTORS = [run for run in paper.runs(parameters.profile, role="ablation") if run not in EVALUATIONS]
CONTROLS = list(paper.runs(parameters.profile, role="control"))
study.train([STATED, *(run for run in EVALUATIONS if run in plan), *FACTORS, *CONTROLS])


# %% tags=["hide-input"]
def listed(values, form=".2f"):
    """List numbers as people do: 0.10, 0.47 and 0.12."""
    texts = [format(value, form) for value in values]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def seeds_text(count):
    """Word a number of seeds."""
    return "one seed" if count == 1 else f"{count} seeds"


# %% tags=["hide-input"]
SCORES = ["loss", "dice", "accuracy", "sensitivity"]


def epoch_scores(history, part="validation"):
    """Select the scores of one run and seed by epoch; ``part`` is validation or train."""
    frame = history.set_index("epoch")[[f"{part}_{score}" for score in SCORES]]
    return frame.set_axis(SCORES, axis=1).astype(float)


def endings_of(histories):
    """List how the validation scores of every run end: one row for each run, profile and seed, in their order."""
    rows = []
    for (run, profile, seed), history in histories.groupby(["run", "profile", "seed"], sort=False):
        validation, training = epoch_scores(history), epoch_scores(history, "train")
        numbers = {"epochs": len(history), "training Dice": training["dice"].iloc[-1]}
        numbers |= {"highest Dice": validation["dice"].max(), "last Dice": validation["dice"].iloc[-1]}
        numbers["last accuracy"] = validation["accuracy"].iloc[-1]
        numbers |= {"background": 1 - collapse.typical_share(validation), "outcome": collapse.outcome(validation)}
        rows.append({"run": run, "profile": profile, "seed": seed} | numbers)
    columns = "run,profile,seed,epochs,training Dice,highest Dice,last Dice,last accuracy,background,outcome"
    return pd.DataFrame(rows, columns=columns.split(","))


def same_training(first, second):
    """Tell whether two runs learned the same: equal training scores, to the last bit, in every epoch of both.

    Seeds and profiles that only one of them has are left out; False also where they have no epoch in common.
    """
    keys, scores = ["profile", "seed", "epoch"], [f"train_{score}" for score in SCORES]
    if first.empty or second.empty:
        return False
    a, b = (rows.set_index(keys)[scores].astype(float) for rows in (first, second))
    common = a.index.intersection(b.index)
    return len(common) > 0 and a.loc[common].equals(b.loc[common])


# %% tags=["hide-input"]
scores, histories, lines = study.scores(), study.histories(), verdicts.ledger(study)
test_dice = scores[scores["as_scored"] & (scores["metric"] == "dice")]
endings = endings_of(histories).merge(
    test_dice[["run", "profile", "seed", "value"]].rename(columns={"value": "test Dice"}), how="left"
)
trainings = same_profile(histories, [STATED, *EVALUATIONS])
stated = trainings[trainings["run"] == STATED]
equal = [run for run in EVALUATIONS if same_training(stated, trainings[trainings["run"] == run])]
compared = same_profile(endings, [STATED, *EVALUATIONS])
compared = compared[compared["run"].isin([STATED, *equal])]
ours = compared[compared["run"] == STATED]

if smoke:
    display(
        in_short(
            "This is a smoke run on synthetic images: the pipeline works, and no number here speaks of the report."
        )
    )
elif ours.empty:
    display(in_short("No record yet of the run that the report states.", verdicts.verdict_sentence(lines)))
else:
    size = "at full size" if set(ours["profile"]) == {"paper"} else "as a small preview"
    sentences = [
        f"Trained as the report states it, {size} and with {seeds_text(len(ours))}, the network reaches a training "
        f"Dice of {listed(ours['training Dice'])} in its last epoch. Validation Dice ends at {listed(ours['last Dice'])}, "
        f"and the kept networks score {listed(ours['test Dice'])} on DRIVE's test images."
    ]
    stepwise = compared[compared["run"] == "drive-r2unet-per-step"]
    if set(stepwise["seed"]) == set(ours["seed"]) and stepwise["test Dice"].min() > ours["test Dice"].max():
        sentences.append(
            "**The same trainings, evaluated with batch-normalisation statistics that are kept per recurrence, score "
            f"{listed(stepwise['test Dice'])}.** Those statistics change no weight in training. So low validation scores beside a "
            "rising training Dice are reproduced, and in our runs they are an artefact of evaluation: one pair of running "
            "statistics is shared by all recurrences."
        )
    falling = int((ours["outcome"] == "collapses").sum())
    sentences.append(
        f"The fall from epoch to epoch that the report prints appears in {falling or 'none'} of our {seeds_text(len(ours))}. "
        "The report prints no training score, so it cannot be checked whether the same happened there."
    )
    failed = study.records().query("not learned")
    if len(failed):
        where = "; ".join(f"{ABOUT[row.run]} ({SIZES[row.profile]}, seed {row.seed})" for row in failed.itertuples())
        sentences.append(f"In these runs the network never learned, and its training Dice stays near zero: {where}.")
    display(in_short(*sentences, verdicts.verdict_sentence(lines)))

# %% tags=["hide-input"] mystnb={"image": {"alt": "A panel for each seed: the training Dice by epoch, dashed, rises above 0.7; the validation Dice of the same weights follows it with statistics kept per recurrence or taken from the batch, and stays far below it with shared statistics."}, "figure": {"caption": "Training Dice, and validation Dice of the same trainings by the way of evaluation; a panel for each seed.", "name": "fig-r2unet-gap"}}
WAYS = {STATED: "as stated", **EVALUATIONS}
shown_seeds = sorted(set(stated["seed"]))
if shown_seeds:
    figure, axes = plt.subplots(1, len(shown_seeds), figsize=(3.3 * len(shown_seeds), 3.4), squeeze=False, sharey=True)
    for axis, seed in zip(axes[0], shown_seeds, strict=True):
        rows = stated[stated["seed"] == seed]
        axis.plot(rows["epoch"], rows["train_dice"], "--", color="black", label="training")
        for run in [STATED, *equal]:
            rows = trainings[(trainings["run"] == run) & (trainings["seed"] == seed)]
            axis.plot(rows["epoch"], rows["validation_dice"], "o-", markersize=3, label=f"validation, {WAYS[run]}")
        axis.set(title=f"seed {seed} ({SIZES[rows['profile'].iloc[0]]})", xlabel="epoch", ylim=(-0.03, 1.03))
    axes[0, 0].set_ylabel("Dice")
    figure.legend(*axes[0, -1].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    plt.show()
else:
    print(figures.NO_RECORD)

# %% [markdown]
# ## Results
#
# ### Table 1, epoch by epoch
#
# Validation scores after each epoch: the report prints one run, ours are means over seeds, of full-size runs where they
# have been made, else of a preview by a narrow network (`lite`). A dash stands where our runs had stopped before that epoch.

# %%
cells = beside_ours(reported(paper, ["1"]), study)  # joins by run, metric and epoch, and gives the verdicts
style(tables.side_by_side(cells), "Table 1, validation scores of each epoch: the report and ours.")

# %% tags=["hide-input"] mystnb={"image": {"alt": "Four panels over the epochs, validation loss, Dice, accuracy and sensitivity: the report's curves, dashed, beside one curve for each of our seeds."}, "figure": {"caption": "Our counterpart of the report's Figure 5: validation scores by epoch, the report's and those of all our seeds.", "name": "fig-r2unet-epochs"}}
printed = reported(paper, ["1"])
table_1 = printed.pivot(index="epoch", columns="metric", values="reported")  # fractions of one
curves = {} if smoke else {"the report": table_1}
best = best_profile(histories[histories["run"] == STATED])
for (profile_name, seed), rows in best.groupby(["profile", "seed"], sort=False):
    curves[f"ours ({SIZES[profile_name]}), seed {seed}"] = epoch_scores(rows)
figure, axes = plt.subplots(2, 2, figsize=(8, 5.4), sharex=True)
for axis, score in zip(axes.flat, SCORES, strict=True):
    for title, frame in curves.items():
        look = {"color": "black", "marker": "s", "linestyle": "--"} if title == "the report" else {"marker": "o"}
        axis.plot(frame.index, frame[score], label=title, markersize=4, **look)
    axis.set_title("Dice" if score == "dice" else score)
for axis in axes[-1]:
    axis.set_xlabel("epoch")
figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
plt.show()

# %% [markdown]
# A number of one epoch is kept for all validation images together, so its verdict rests on the range over seeds; the
# half-width of that range stands beside the verdict. Only full-size runs are judged, by the rule of the
# [protocol](../book/protocol.md).

# %% tags=["hide-output"]
details = tables.details(cells).rename(columns={"95 % interval": "range over seeds"})
style(details, "Table 1: differences, ranges and verdicts.")

# %% [markdown]
# ### One training, several evaluations
#
# A recurrent layer applies one convolution and one batch normalisation several times. In training each application is
# normalised by its own batch. In evaluation running statistics take the batch's place, and one pair of them, shared by all
# applications, mixes maps whose means and variances differ. These statistics do not enter training, so runs that differ in
# them alone learn the same weights: what differs is what evaluation sees.

# %%
table = compared.assign(evaluation=compared["run"].map(WAYS)).set_index(["evaluation", "seed"])
style(
    table[["epochs", "training Dice", "highest Dice", "last Dice", "test Dice", "outcome"]],
    f"One training, several evaluations ({', '.join(SIZES[p] for p in compared['profile'].unique()) or 'no record'}): last "
    "training Dice, highest and last validation Dice, Dice on the test images.",
    decimals=3,
)

# %%
if len(trainings):  # the epochs that all ways of evaluation have in common are epochs of the same weights
    common = trainings[trainings["run"].isin([STATED, *equal])]
    common = common.pivot(index=["seed", "epoch"], columns="run", values="validation_dice").dropna()
    means = ", ".join(f"{common[run].mean():.2f} {WAYS[run]}" for run in [STATED, *equal])
    display(
        Markdown(
            "Loss and scores in training are equal to the last bit in every epoch that the runs of a seed have in common: "
            f"{len(common)} epochs of {seeds_text(common.index.get_level_values('seed').nunique())}. Over these epochs the mean "
            f"validation Dice is {means}. The kept network is the one of the lowest validation loss, so its epoch may "
            "differ from one evaluation to another."
        )
        if equal
        else Markdown("No other evaluation of the same trainings has been recorded.")
    )

# %% [markdown]
# The outcome names how the validation Dice of a run ends. The rule was fixed before a run was looked at, and it speaks of
# the scores alone, not of what the network learned.
#
# - **collapses**: from the epoch of the highest Dice to the last one Dice falls below half while accuracy rises, and
#   accuracy ends where an empty mask would be, at the share of background.
# - **no collapse**: the last Dice is at least half of the highest, and above that of a mask that calls every pixel vessel.
#   The last Dice may still be low, and the kept network, which is often of another epoch, may score lower on the test images.
# - **stays low**: no epoch's Dice is above that of a mask that calls every pixel vessel.
# - **falls back**: anything else.

# %% tags=["hide-input"]
Markdown(f"By this rule the outcome of the report's own table is: **{collapse.outcome(table_1)}**.")

# %% [markdown]
# ### One factor at a time
#
# Each further run differs from the one as stated in one thing, which changes what is learned. All seeds that have a record
# are shown, each profile apart. A factor with one seed decides nothing where the unchanged run differs from seed to seed.

# %%
factors = endings[endings["run"].isin([STATED, *EVALUATIONS, *FACTORS])]
table = factors.assign(run=factors["run"].map(ABOUT)).rename(columns={"run": "what differs"})
style(
    table.set_index(["what differs", "profile", "seed"]),
    "Every run, profile and seed: last training Dice; validation Dice and accuracy, with the share of background, which an "
    "empty mask would score; Dice on the test images; and how validation Dice ends.",
    decimals=3,
)

# %%
changes = tables.steps_table(study, {ABOUT[run]: (STATED, run) for run in FACTORS}, "dice").drop(columns="paper")
style(
    changes.rename(columns={"ours": "Dice minus that of the run as stated"}),
    "What each factor changes on the test images, with the seeds that both runs have.",
)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Small panels, one for each run: Dice and accuracy over the epochs, a line for each seed, with a dotted line at the accuracy of an empty mask. The report's panel comes first."}, "figure": {"caption": "Validation Dice and accuracy by epoch, all seeds: the report, our run as stated, and each factor alone.", "name": "fig-r2unet-factors"}}
panels = {} if smoke else {"the report": [table_1]}
for run in [STATED, *FACTORS]:
    for profile_name, rows in histories[histories["run"] == run].groupby("profile", sort=False):
        title = f"{textwrap.fill(ABOUT[run], 26)}\n({SIZES[profile_name]})"
        panels[title] = [epoch_scores(history) for _, history in rows.groupby("seed")]
if panels:
    height, columns = math.ceil(len(panels) / 4), min(4, len(panels))
    figure, axes = plt.subplots(height, columns, figsize=(2.5 * columns, 2.5 * height), squeeze=False, sharey=True)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (title, frames) in zip(axes.flat, panels.items(), strict=False):
        for frame in frames:
            axis.plot(frame.index, frame["dice"], "o-", color="C0", markersize=3, label="Dice")
            axis.plot(frame.index, frame["accuracy"], "s--", color="C1", markersize=3, label="accuracy")
            background = 1 - collapse.typical_share(frame)
            axis.axhline(background, color="black", linewidth=0.8, linestyle=":", label="accuracy of an empty mask")
        axis.set(ylim=(-0.03, 1.03), xlabel="epoch")
        axis.set_title(title, fontsize=8)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles[:3], labels[:3], loc="outside lower center", ncols=3, frameon=False)
    plt.show()
else:
    print(figures.NO_RECORD)

# %% [markdown]
# ### What the table's own numbers imply
#
# Accuracy, sensitivity and Dice of one set of pixels fix the share of vessel among them, p = Dice (1 − Acc) /
# (2 Se (1 − Dice)). From the share follows what two masks without any skill would score: the empty one an accuracy of
# 1 − p, the full one a Dice of 2p / (1 + p).


# %%
def printed_shares(printed):
    """Bound the vessel share that each printed epoch implies, with all that rounding leaves open."""
    table = printed[printed["metric"].isin(SCORES[1:])].pivot(index="epoch", columns="metric", values="printed")
    bounds = {epoch: implied_prevalence(**row) for epoch, row in table.to_dict(orient="index").items()}
    frame = pd.DataFrame({epoch: {"low": share.low, "high": share.high} for epoch, share in bounds.items()})
    return frame.T.rename_axis("epoch")


implied = table_1[["accuracy", "dice"]].rename(columns={"dice": "Dice"}).join(collapse.implied(table_1))
shares = printed_shares(printed)  # lowest and highest share that rounding leaves open
implied["share, by rounding"] = list(zip(shares["low"], shares["high"], strict=True))
style(implied.rename_axis(columns=None), "What each epoch of the report's Table 1 implies.")

# %% tags=["hide-input"]
share = collapse.typical_share(table_1)
above = int((table_1["dice"] > 2 * share / (1 + share)).sum())
pooled = (
    "One share fits all epochs within rounding, as scores pooled over one set of pixels need."
    if shares["low"].max() <= shares["high"].min()  # one vessel share lies within all bounds
    else "No single share fits all epochs within rounding: the printed scores were not pooled over one set of pixels. They "
    "are means over patches or batches, or the set changed from epoch to epoch."
)
display(
    Markdown(
        f"The typical share is {share:.3f}: an empty mask would score an accuracy of {1 - share:.4f}, and a full one a Dice "
        f"of {2 * share / (1 + share):.4f}, which {above or 'none'} of the {len(table_1)} printed epochs exceed. {pooled}"
    )
)

# %%
measured = read_measurements(study.store.path).get("drive", {}).get("images", {})  # of the files of the data set
columns = ["fov_share", "vessels_in_fov", "vessels_in_frame"]
drive = pd.DataFrame.from_dict(measured, orient="index").reindex(columns=columns).astype(float)
training = drive.filter(like="training", axis="index")
crop = paper.runs("paper")[STATED].inputs.crop  # cuts rows outside the field of view: fewer pixels, the same vessels
cut = COLLECTIONS["drive"].height * COLLECTIONS["drive"].width / math.prod(crop)
inside = (training["fov_share"] * training["vessels_in_fov"]).sum() / (training["fov_share"].sum() or math.nan)
known = {
    "Table 1, implied by its epochs (median)": share,
    "DRIVE's training photographs, inside the field of view": inside,
    "DRIVE's training photographs, whole crop": training["vessels_in_frame"].mean() * cut,
}
if (record := study.record(STATED)) is not None and not smoke:
    own = histories[(histories["run"] == STATED) & (histories["seed"] == record.content["config"]["seed"])]
    own = epoch_scores(own[own["profile"] == record.profile])
    known["our validation patches, implied by our epochs"] = collapse.typical_share(own)
    for region, title in {"fov": "inside the field of view", "frame": "whole crop"}.items():
        counts = record.histograms().select(region=region, pooled=True).counts(0.5)
        known[f"our test images, {title}"] = float(counts.prevalence)
style(pd.Series(known, name="share of vessel").to_frame(), "Vessel shares to compare it with.")

# %% [markdown]
# ### The same network by standard training
#
# Same data, same crop, same network; random patches in all orientations, cross-entropy with Dice inside the FOV, one
# cycle of the learning rate, every epoch. A U-Net of the same width and depth, trained alike, stands beside it. The
# [protocol](#protocol) lists both settings in full.

# %%
METRICS = ["auc", "average_precision", "dice", "sensitivity", "specificity", "accuracy", "cldice"]
WIDTHS = {"recall_thin": "thin vessels", "recall_medium": "medium vessels", "recall_wide": "wide vessels"}
rows = best_profile(scores[(scores["region"] == "fov") & (scores["average"] == "image")])
summary = summarise(rows, by=["run", "metric"])
basis = summary["basis"].groupby("run", sort=False).first()
wide = summary["value"].unstack("metric").reindex(columns=[*METRICS, *WIDTHS]).rename_axis(columns=None)
wide = wide.rename(columns=WIDTHS).join(basis.rename("rests on"))
style(
    wide.reindex([STATED, *CONTROLS])[[*METRICS, "rests on"]].rename(index=ABOUT),
    "DRIVE's test images, inside the FOV, mean over images and seeds.",
)

# %% tags=["hide-input"]
dice = rows[rows["metric"] == "dice"]
change = results.difference(*(dice[dice["run"] == run] for run in ("drive-unet-trained", "drive-r2unet-trained")))
if change is not None and not smoke:
    judged = "beyond image noise" if change.beyond_noise else "within image noise"
    seed_note = " With one seed it says nothing of another training." if len(change.seeds) == 1 else ""
    display(
        Markdown(
            f"R2U-Net minus U-Net, both by standard training: Dice {tables.signed(change.value)} (95 % interval "
            f"{tables.signed(change.low)} to {tables.signed(change.high)}, {SIZES[change.profile]}), {judged}.{seed_note}"
        )
    )

# %% [markdown]
# The report puts its low scores down to small and thin vessels. If they were the cause, wide vessels would be found.

# %%
runs = [run for run in [STATED, *EVALUATIONS, *FACTORS, *CONTROLS] if run in plan]
style(
    wide.reindex(runs)[[*WIDTHS.values(), "rests on"]].rename(index=ABOUT),
    "Share of the vessels' centre lines that is found, by vessel width.",
)

# %%
costs = tables.network_costs({run: paper.runs("paper")[run] for run in (STATED, "drive-unet-trained")}, crop)
timed = best_profile(study.records()).groupby("run").agg({"parameters": "min", "step_s": "min", "profile": "first"})
timed.columns = ["our parameters", "our seconds per step (wall clock)", "profile"]
costs = costs.join(timed.astype({"our seconds per step (wall clock)": float})).rename(index=ABOUT)
for column in ("parameters", "our parameters"):
    costs[column] = [tables.number_text(float(value), ",.0f") for value in costs[column]]
style(costs, "What recurrence costs: the networks at full size on one crop, and the fastest of our runs.", decimals=3)

# %% [markdown]
# ## Qualitative results
#
# Figure 6 of the report shows one image and its mask. Below are three test images of our run as stated, then of the network
# by standard training, first seed each. Where this machine has the data the photograph, the label and the prediction stand
# beside the error map.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Error maps of three DRIVE test images by the run as stated: detected vessels in gray, missed vessels in orange, false positives in blue."}, "figure": {"caption": "Our counterpart of the report's Figure 6, the run as stated: best, median and worst test image.", "name": "fig-r2unet-case-stated"}}
set_matplotlib_formats("retina")
figures.show_cases(study, STATED)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Error maps of three DRIVE test images by the network of the standard training: detected vessels in gray, missed vessels in orange, false positives in blue."}, "figure": {"caption": "The same network by standard training: best, median and worst test image.", "name": "fig-r2unet-case-trained"}}
figures.show_cases(study, CONTROLS[0])

# %% [markdown]
# ## Claims

# %% tags=["hide-input"]
display(Markdown(paper.summary))
style(tables.claims_table(lines, paper), "What the report claims in its text, against its own table and our records.")

# %% [markdown]
# The text against its own table; each value on the right is computed from the printed rows.

# %% tags=["hide-input"]
lowest, last = table_1["loss"].idxmin(), table_1.index[-1]
empty, full = 1 - share, 2 * share / (1 + share)
after = table_1.loc[lowest:, "loss"]
rises = sum(later > earlier for earlier, later in pairwise(after))
above = {
    "an empty mask's accuracy": table_1.index[table_1["accuracy"] > empty],
    "a full mask's Dice": table_1.index[table_1["dice"] > full],
}
told = {
    f"Epoch {lowest} is the best": f"the lowest loss is at epoch {lowest}, the highest Dice at epoch "
    f"{table_1['dice'].idxmax()}",
    f"Meaningful features at epoch {lowest}": f"accuracy {table_1['accuracy'][lowest]:.4f}, of an empty mask {empty:.4f}; "
    f"Dice {table_1['dice'][lowest]:.4f}, of a full mask {full:.4f}",
    f"The loss rises steadily after epoch {lowest}": f"it rises in {rises} of {len(after) - 1} steps",
    "Accuracy improves by background": f"the last accuracy is {table_1['accuracy'][last]:.4f}, of an empty mask "
    f"{empty:.4f}; sensitivity {table_1['sensitivity'][last]:.4f}",
    f"Stopped at epoch {last}": f"{last - lowest} epochs after the lowest loss",
    "The model performed reasonably well": "; ".join(
        f"above {what} in " + (f"epoch {', '.join(map(str, where))}" if len(where) else "no epoch")
        for what, where in above.items()
    ),
}
style(pd.DataFrame({"the text": told.keys(), "its table": told.values()}), "The text against its own table.")

# %% tags=["hide-input"]
collection = COLLECTIONS["drive"]
diameter = 2 * np.sqrt(drive["fov_share"] * collection.height * collection.width / math.pi).mean()
second = sum("second_observer" in collection.files(name) for name in collection.names)
sizes = ", ".join(f"{COLLECTIONS[key].title} {len(COLLECTIONS[key].names)}" for key in ("stare", "chase_db1", "drive"))
Markdown(
    f"As measured on the files: a disc of the mean area of DRIVE's masks is {tables.number_text(diameter, '.1f')} pixels "
    f"across; {second} of its {len(collection.names)} photographs have a second observer; photographs: {sizes}."
)

# %% [markdown]
# ## Protocol
#
# The settings of the run as stated, then of the standard training, each as previewed and at full size; what is not listed
# is at its default.

# %%
style(tables.configuration(paper, STATED), f"Configuration of the run {STATED}.")

# %%
style(tables.configuration(paper, CONTROLS[0]), f"Configuration of the run {CONTROLS[0]}.")

# %% tags=["hide-input", "hide-output"]
style(tables.stated(paper), "What the report states, and the value in our full-size runs.")

# %% [markdown]
# ### The network
#
# A recurrent layer applies one convolution several times, so the number of its steps costs time and no parameter. The
# public R2U-Net code has four levels and enlarges maps by repetition and a convolution; the report names three levels and
# transposed convolutions, and prints no count.

# %%
full_size, preview = (paper.runs(size)[STATED] for size in ("paper", "lite"))
designs = {
    "public R2U-Net code": {"depth": 4, "upsampling": "nearest"},
    "the report, two steps": full_size.model_options,
    "the report, without recurrence": full_size.model_options | {"t": 0},
    "our preview of the report": preview.model_options,
}
side, counts = full_size.training.patches.size, []
for title, options in designs.items():
    with torch.device("meta"):
        network = build_model("r2unet", in_channels=1, **options)
    used = model_options("r2unet") | options
    counted = {"parameters": count_parameters(network)}
    counted["multiply-adds of a patch, 10^6"] = multiply_adds(network, 1, side, side) / 1e6
    counted = {name: tables.number_text(count, ",.0f") for name, count in counted.items()}
    sizes = {"levels": used["depth"], "width": used["width"], "steps after the first": used["t"]}
    counts.append({"network": title} | sizes | counted)
style(
    pd.DataFrame(counts), f"R2U-Net for one channel: parameters, and multiply-adds of a patch of {side}x{side} pixels."
)

# %% [markdown]
# ## Underspecified details
#
# What the report leaves open, and how each point was decided, once, before a run was looked at. *Factors* are the runs under
# [one factor at a time](#one-factor-at-a-time).

# %% tags=["hide-input"]
style(tables.open_points(paper), "What the report leaves open, and our choices.")

# %% [markdown]
# ## Limits
#
# The report prints no training score, no seed and no score on the test set, and it fixes neither learning rate nor patch
# size nor batch: another choice may lead to another course of the epochs. Validation uses the patches of two photographs,
# so its scores depend on which two a seed draws. A factor with one seed shows no cause, and a preview is of a network of a
# quarter of the width.

# %% [markdown]
# ## Scope, and how it went
#
# - **Scope.** The table of seven epochs with its curves, the picture of one result, one factor of the training at a time,
#   and the same network in a standard training.
# - **What was easy.** Loss, optimiser and length are stated. The network is small, and a full-size run takes minutes on a
#   CPU.
# - **What was difficult.** Size and number of patches, learning rate, batch size and steps of recurrence are not given. The
#   printed scores are of validation patches, whose vessel share is not that of the whole crop. Further data sets and a
#   comparison with other methods are announced and not printed. Whether the network collapses depends on how the statistics
#   of batch normalisation are kept over the recurrences, which the report does not mention.
# - **What held.** See the summary at the top and [every claim and its verdict](verdicts.ipynb). The authors have not been
#   contacted.

# %% [markdown]
# ## The pipeline, line by line
#
# The same code at its smallest, on synthetic fundus images, while this page is built. Its numbers say nothing of the report.

# %%
small = paper.runs("smoke")[STATED]
samples = [prepare(sample, small.inputs) for sample in load_dataset("phantom", "training", **small.train.options)]
trained = fit(
    lambda: build_model(small.model, small.inputs.channels, **small.model_options),
    samples,
    samples[:1],
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
# make reproduce PAPER=r2u-net PROFILE=lite      # the previews, minutes a run on two CPU cores
# make reproduce PAPER=r2u-net PROFILE=paper     # full size: hours on a CPU with bfloat16 units, or a GPU
# ```
#
# [How to read this book](../book/how-to-read.md) shows the same through papermill.
