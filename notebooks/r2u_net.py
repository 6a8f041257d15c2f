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
# its scores epoch by epoch: Dice and sensitivity fall to next to nothing while accuracy rises. This page asks three
# things. Does the run as the report states it score as low? Is it the training that fails, or the evaluation? And what
# does the same network do by a standard training? Where runs of the `paper` profile exist, at the report's own size, they
# are shown; a `lite` number comes from a narrow network, small enough for a processor without a GPU: it is a preview, not
# a reproduction. Every table and figure names its profile.

# %% [markdown]
# ## Parameters
#
# papermill replaces these by name. The defaults show the records that come with the book and train nothing of the report.

# %% tags=["parameters"]
profile: str = "lite"  # smoke: phantoms; lite: real images, small; paper: as published
data_root: str = None  # folder of the data sets; None: RETLIB_DATA
records: str = None  # folder of the records; None: the book's own
device: str = "auto"  # auto, cpu, cuda, cuda:1
seeds: list = [0, 1, 2]  # one run a seed (smoke: the first alone)
train: str = "never"  # missing, never, always: which records to make

# %% tags=["hide-input"]
from retlib.report import check_parameters

parameters = check_parameters(globals())

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import pandas as pd
import torch
from IPython.display import Markdown, display

from retlib import report
from retlib.models import build_model, count_parameters, model_options, multiply_adds
from retlib.report import collapse, epochs
from retlib.study import figures, findings, run

figures.set_style()
study = report.open_study("r2u-net", parameters)
paper = study.paper

# %% [markdown]
# What is missing is trained here, if the parameters say so: the run as stated, the diagnosis, then the controls.

# %% tags=["hide-input", "remove-output"]
(STATED,) = paper.runs(parameters.profile, role="table")
FACTORS = list(paper.runs(parameters.profile, role="ablation"))
CONTROLS = list(paper.runs(parameters.profile, role="control"))
study.train([STATED, *FACTORS, *CONTROLS])

# %% [markdown]
# ## What we found
#
# Every number below is read from a record or from the report's table; every judgement is computed.

# %% tags=["hide-input"]
PLAN = paper.plan(parameters.profile)
# Runs that train as the stated one does and differ in evaluation alone: whether they do is checked on their records.
EVALUATIONS = {
    "drive-r2unet-per-step": "with running statistics kept for each recurrence",
    "drive-r2unet-batch-statistics": "normalised by the batch itself",
}
EVALUATIONS = {name: how for name, how in EVALUATIONS.items() if name in FACTORS}
OTHERS = [name for name in FACTORS if name not in EVALUATIONS]
reported = epochs.reported_epochs(paper, "1")
evidence = {name: study.evidence(name) for name in [STATED, *FACTORS, *CONTROLS]}
measured = {
    name: {record.content["config"]["seed"]: epochs.measured_epochs(record) for record in found.records}
    for name, found in evidence.items()
    if found is not None
}
if parameters.profile == "smoke":
    lines = [
        "- This is a smoke run on phantoms: the pipeline works from end to end, and nothing here speaks of the report."
    ]
else:
    lines = collapse.findings(study, "1", STATED, EVALUATIONS, OTHERS, CONTROLS)
    lines += [f"- {sentence}" for sentence in findings.never_learned_sentences(evidence)]
display(Markdown("\n".join(lines)))

# %% [markdown]
# Four words say how the validation Dice of a run ends. Their rule was fixed before a run was looked at, and it speaks of
# the scores alone, not of what the network learned.
#
# - It **collapses**: from the epoch of the highest Dice to the last one Dice falls below half while accuracy rises, and
#   accuracy ends where an empty mask would be, at the share of background.
# - It **holds up**: the last Dice is at least half of the highest, and above what a mask that calls every pixel vessel
#   would score. It may still be low.
# - It **stays low**: no epoch's Dice is above that of a mask that calls every pixel vessel.
# - It **falls back**: anything else.

# %% [markdown]
# ## The claim

# %% tags=["hide-input"]
display(Markdown(paper.summary))
report.style(
    report.claims(study), "What the report claims in its text, held against its own table and against our records."
)

# %% [markdown]
# What the text says of the table, and what the table says: each value on the right is computed from the printed rows.

# %% tags=["hide-input"]
report.style(collapse.text_checks(reported), "The text against its own table.")

# %% tags=["hide-input"]
report.style(collapse.fact_checks(study), "What the text says of data sets, against the files as they were measured.")

# %% [markdown]
# ## Protocol
#
# What the report says of its method, and the value in our runs of the `paper` profile.

# %% tags=["hide-input"]
report.style(report.stated(paper), "What the report states.")

# %% [markdown]
# What it leaves open, and how each point was decided, once, before a run was looked at.

# %% tags=["hide-input"]
report.style(report.open_points(paper), "What the report leaves open, and our choices.")

# %% [markdown]
# ## The network
#
# A recurrent layer applies one convolution several times, so the number of its steps costs time and no parameter. The
# usual public code has four levels and enlarges maps by repetition and a convolution; the report names three levels and
# transposed convolutions, and prints no count.

# %% tags=["hide-input"]
designs = {
    "usual code": {"depth": 4, "upsampling": "nearest"},
    "the report, two steps": paper.runs("paper")[STATED].model_options,
    "the report, without recurrence": paper.runs("paper")[STATED].model_options | {"t": 0},
    "our run of the report": paper.runs(parameters.profile)[STATED].model_options,
}
side = paper.runs("paper")[STATED].training.patches.size
counts = []
for title, options in designs.items():
    with torch.device("meta"):
        network = build_model("r2unet", in_channels=1, **options)
    full = model_options("r2unet") | options
    counts.append(
        {
            "network": title,
            "levels": full["depth"],
            "width": full["width"],
            "steps after the first": full["t"],
            "parameters": count_parameters(network),
            f"multiply-adds of a {side}x{side} patch, millions": round(multiply_adds(network, 1, side, side) / 1e6),
        }
    )
report.style(pd.DataFrame(counts), "R2U-Net for one channel: what each count belongs to.")

# %% [markdown]
# ## Results
#
# Table 1, epoch by epoch, on the validation part. A number of one epoch is kept for all images together, so its verdict
# rests on the range over seeds; the half-width of that range stands beside the verdict. A dash stands where our runs had
# stopped before that epoch.

# %% tags=["hide-input"]
table = report.comparison(study, "1", ["Epoch"]).rename(index=int, level="Epoch")
table = table.rename(columns={"95 % interval": "range over seeds"})
report.style(table, "Table 1: validation scores of each epoch.")

# %% tags=["hide-input"] mystnb={"image": {"alt": "Four panels over the epochs, validation loss, Dice, accuracy and sensitivity: the report's curves, dashed, beside one curve for each of our seeds."}, "figure": {"caption": "Our counterpart of the report's Figure 5: validation scores by epoch, the report's and those of all our seeds.", "name": "fig-r2unet-epochs"}}
frames = {} if parameters.profile == "smoke" else {"the report": reported}
if STATED in measured:
    frames |= {f"ours ({evidence[STATED].profile}), seed {s}": frame for s, frame in measured[STATED].items()}
if frames:
    epochs.curves_figure(frames)
    plt.show()

# %% [markdown]
# ## What the table's own numbers imply
#
# Accuracy, sensitivity and Dice of one set of pixels fix the share of vessel among them, p = Dice (1 - Acc) /
# (2 Se (1 - Dice)). From the share follows what two masks without any skill would score: the empty one an accuracy of
# 1 - p, the full one a Dice of 2p / (1 + p).

# %% tags=["hide-input"]
ours = None if parameters.profile == "smoke" else next(iter(measured.get(STATED, {}).values()), None)
report.style(
    epochs.implied_table(paper, "1", ours),
    "What each epoch of Table 1 implies, and what is without skill; our share is that of the first seed.",
)

# %% tags=["hide-input"]
if epochs.common_share(paper, "1"):
    pooled = "One share fits all epochs within rounding, as scores pooled over one set of pixels need."
else:
    pooled = (
        "No single share fits all epochs within rounding: the printed scores were not pooled over one set of pixels. "
        "They are means over patches or batches, or the set changed from epoch to epoch."
    )
display(Markdown(pooled))
report.style(collapse.known_shares(study, "1", STATED), "Vessel shares to hold this against.")

# %% [markdown]
# ## One training, several evaluations
#
# A recurrent layer applies one convolution and one batch normalisation several times. In training each application is
# normalised by its own batch. In evaluation running statistics take the batch's place, and one pair of them, shared by all
# applications, mixes maps whose means and variances differ. These statistics do not enter training, so runs that differ in
# them alone learn the same weights: what differs is what evaluation sees.

# %% tags=["hide-input"]
report.style(
    collapse.diagnosis(study, [STATED, *EVALUATIONS]),
    "One training evaluated in several ways: validation scores, last training Dice and test Dice, one number for each seed.",
)

# %% tags=["hide-input"] mystnb={"image": {"alt": "A panel for each seed: the training Dice by epoch, dashed, rises above 0.7; the validation Dice of the same weights follows it with statistics kept for each recurrence or taken from the batch, and stays far below it with shared statistics."}, "figure": {"caption": "Training Dice, and validation Dice of the same weights by the way of evaluation; a panel for each seed.", "name": "fig-r2unet-gap"}}
pairs = {how: collapse.same_trainings(evidence[STATED], evidence[name]) for name, how in EVALUATIONS.items()}
panels = {}
for record in () if evidence[STATED] is None else evidence[STATED].records:
    seed = record.content["config"]["seed"]
    lines = {"training": epochs.measured_epochs(record, "train")["dice"]}
    lines["validation, as stated"] = epochs.measured_epochs(record)["dice"]
    for how, pair in pairs.items():
        for other in () if pair is None else pair[1].records:
            if other.content["config"]["seed"] == seed:
                lines[f"validation, {how}"] = epochs.measured_epochs(other)["dice"]
    panels[f"seed {seed} ({evidence[STATED].profile})"] = lines
if panels:
    epochs.dice_figure(panels)
    plt.show()
else:
    print(report.overview.NO_RECORD)

# %% [markdown]
# ## One factor at a time
#
# Each of these runs differs from the one as stated in one thing, which changes what is learned. All seeds that have
# records are shown, each profile apart: a factor with one seed decides nothing where the unchanged run differs from seed to
# seed.

# %% tags=["hide-input"]
report.style(
    collapse.diagnosis(study, [STATED, *OTHERS]),
    "One factor at a time: validation scores, last training Dice and test Dice, one number for each seed.",
)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Small panels, one for each run: Dice and accuracy over the epochs, a line for each seed, with a dotted line at the accuracy of an empty mask. The report's panel comes first."}, "figure": {"caption": "Validation Dice and accuracy by epoch, all seeds: the report, our run as stated, and each factor alone.", "name": "fig-r2unet-factors"}}
panels = {} if parameters.profile == "smoke" else {"the report": [reported]}
for name in [STATED, *OTHERS]:
    for found in study.every(name):
        panels[f"{PLAN[name].about} ({found.profile})"] = [epochs.measured_epochs(record) for record in found.records]
if panels:
    epochs.factor_figure(panels)
    plt.show()

# %% [markdown]
# ## The same network by a standard training
#
# Same data, same crop, same network; random patches in all orientations, cross-entropy with Dice inside the FOV, one
# cycle of the learning rate, every epoch. A U-Net of the same width and depth by the same recipe stands beside it.

# %% tags=["hide-input"]
METRICS = ("auc", "average_precision", "dice", "sensitivity", "specificity", "accuracy", "cldice")
report.style(
    report.inside_fov(study, [STATED, *CONTROLS], METRICS), "DRIVE's test images, inside the FOV, mean over images."
)

# %% [markdown]
# The report puts its low scores down to small and thin vessels. Recall of vessels by width, on their centre lines:

# %% tags=["hide-input"]
widths = {"recall_thin": "thin vessels", "recall_medium": "medium vessels", "recall_wide": "wide vessels"}
report.style(
    report.inside_fov(study, [STATED, *FACTORS, *CONTROLS], list(widths)).rename(columns=widths),
    "Share of the vessels' centre lines that is found.",
)

# %% tags=["hide-input"]
report.style(
    report.cost_table(study, [STATED, "drive-unet-trained"], paper.runs("paper")[STATED].inputs.crop),
    "What recurrence costs: the networks of the paper profile on one crop, and ours.",
)

# %% [markdown]
# ## Cases
#
# Figure 6 of the report shows one image and its mask. Below, three test images of our run as stated, then of the network
# by the standard training, first seed each. Where this machine has the data the photograph, the truth and the prediction stand beside the error map.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Error maps of three DRIVE test images by the run as stated: found vessels in grey, missed vessels in orange, false alarms in blue."}, "figure": {"caption": "Our counterpart of the report's Figure 6, the run as stated: best, median and worst test image.", "name": "fig-r2unet-case-stated"}}
report.show_cases(study, STATED)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Error maps of three DRIVE test images by the network of the standard training: found vessels in grey, missed vessels in orange, false alarms in blue."}, "figure": {"caption": "The same network by the standard training: best, median and worst test image.", "name": "fig-r2unet-case-trained"}}
report.show_cases(study, CONTROLS[0])

# %% [markdown]
# ## The pipeline at work
#
# The same code at its smallest: a tiny R2U-Net trained on a few phantoms, from nothing, while this page is built. It
# shows that the pipeline runs here; its numbers say nothing of the report.

# %% tags=["hide-input"]
import tempfile

smallest = paper.runs("smoke")[STATED]
with tempfile.TemporaryDirectory() as folder:
    smoke = run(smallest, folder, device="cpu", progress=False)
    print(f"{smoke.content['model']['parameters']} parameters, {smoke.content['training']['steps']} steps")
    for row in smoke.history:
        print(f"epoch {row['epoch']}: validation loss {row['validation_loss']:.4f}, Dice {row['validation_dice']:.4f}")

# %% [markdown]
# ## Verdicts
#
# The rule is fixed in the [protocol](../book/protocol.md): only `paper` records are judged. The results table has the
# verdict on each cell.

# %% tags=["hide-input"]
judged = report.verdicts(study, ["1"])
report.style(
    judged.groupby("verdict", as_index=False).size().rename(columns={"size": "cells"}),
    "Verdicts on the cells of Table 1.",
)
