# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% tags=["remove-cell"]
# Colab set-up: fetch this version of the study and the few small packages that Colab lacks. Nothing here moves
# Colab's numpy, torch or OpenCV, and outside Colab the cell does nothing. (`make notebooks` writes this cell.)
import sys


def _set_up_colab():
    import os
    import subprocess
    from importlib import metadata

    folder = "/content/retlib-v0.1.0"
    if not os.path.isdir(folder):
        source = "https://github.com/example/retlib"
        subprocess.run(["git", "clone", "--quiet", "--depth=1", "--branch=v0.1.0", source, folder], check=True)
    wanted = {
        "albumentations": "2.0.8",
        "albucore": "0.0.24",
        "simsimd": "6.5.16",
        "stringzilla": "5.3.2",
        "pooch": "1.9.0",
    }
    present = {d.name.lower(): d.version for d in metadata.distributions()}
    lacking = [f"{name}=={version}" for name, version in wanted.items() if present.get(name) != version]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, folder, *lacking], check=True)
    os.chdir(f"{folder}/notebooks")


if "google.colab" in sys.modules:
    _set_up_colab()

# %% [markdown]
# # R2U-Net
#
# A course report from Hanoi (2025) trains R2U-Net, a U-Net of recurrent residual blocks, on patches of DRIVE and prints
# its scores epoch by epoch: Dice and sensitivity fall to next to nothing while accuracy rises. This page asks three
# things. Does the run as the report states it do the same? Which single factor makes a run do it? And what does the same
# network do when it is trained properly? A `lite` number comes from a narrow network, small enough for a processor
# without a GPU: it is a preview, not a reproduction.

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
from retlib.experiments import run
from retlib.models import build_model, count_parameters, model_options, multiply_adds
from retlib.report import collapse, epochs, figures

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
reported = epochs.reported_epochs(paper, "1")
evidence = {name: study.evidence(name, best=False) for name in [STATED, *FACTORS, *CONTROLS]}
first = {name: found.records[0] for name, found in evidence.items() if found is not None}
measured = {name: epochs.measured_epochs(record) for name, record in first.items()}
if parameters.profile == "smoke":
    lines = [
        "- This is a smoke run on phantoms: the pipeline works from end to end, and nothing here speaks of the report."
    ]
else:
    lines = collapse.findings(study, "1", STATED, FACTORS, CONTROLS)
display(Markdown("\n".join(lines)))

# %% [markdown]
# *Collapses* has one meaning on this page, fixed before a run was looked at: from the epoch of the highest Dice to the
# last one, Dice falls below half while accuracy rises, and accuracy ends where an empty mask would be, at the share of
# background. A run *learns* if its last Dice is at least half of its highest and above what a mask that calls every
# pixel vessel would score.

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
# Table 1, epoch by epoch: reported | measured | difference, on the validation part. A dash stands where our run had
# stopped before that epoch.

# %% tags=["hide-input"]
table = report.comparison(study, "1", ["Epoch"]).rename(index=int, level="Epoch")
report.style(table, "Table 1: validation scores of each epoch.")

# %% tags=["hide-input"] mystnb={"image": {"alt": "Four panels over the epochs, validation loss, Dice, accuracy and sensitivity: the report's curves, dashed, beside those of our run."}, "figure": {"caption": "Figure 5 of the report, beside our run as the report states it: validation scores by epoch.", "name": "fig-r2unet-epochs"}}
best = study.evidence(STATED)
frames = {} if parameters.profile == "smoke" else {"the report": reported}
if best is not None:
    frames[f"ours ({best.profile})"] = epochs.measured_epochs(best.records[0])
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
report.style(
    epochs.implied_table(paper, "1", measured.get(STATED) if parameters.profile != "smoke" else None),
    "What each epoch of Table 1 implies, and what is without skill.",
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
# ## The diagnosis
#
# Each run differs from the one as stated in one thing. Running statistics of batch normalisation do not enter training,
# so runs that differ in them alone learn the very same weights: what differs there is what evaluation sees. *Dips* counts
# the epochs whose Dice is below half of the highest before them.

# %% tags=["hide-input"]
report.style(collapse.diagnosis(study, [STATED, *FACTORS]), "One factor at a time: validation scores and outcome.")

# %% tags=["hide-input"] mystnb={"image": {"alt": "Small panels, one a run: Dice and accuracy over the epochs, with a dotted line at the accuracy of an empty mask. The report's panel comes first."}, "figure": {"caption": "Validation Dice and accuracy by epoch: the report, our run as stated, and each factor alone.", "name": "fig-r2unet-factors"}}
panels = {} if parameters.profile == "smoke" else {"the report": reported}
panels |= {PLAN[name].about: measured[name] for name in [STATED, *FACTORS] if name in measured}
if panels:
    epochs.factor_figure(panels)
    plt.show()

# %% [markdown]
# A model that overfits scores well on what it was trained on. The gap between training and validation, as our runs kept
# both:

# %% tags=["hide-input"] mystnb={"image": {"alt": "Curves over the epochs of the run as stated: loss, accuracy and Dice on training and on validation patches."}, "figure": {"caption": "Our run as stated: training and validation.", "name": "fig-r2unet-gap"}}
if STATED in first:
    figures.training_curves({f"as stated ({first[STATED].profile})": first[STATED]})
    plt.show()
else:
    print(report.overview.NO_RECORD)

# %% [markdown]
# ## The same network, trained properly
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
# Figure 6 of the report shows one image and its mask. Below, three test images of our run as stated, then of the properly
# trained network. Where this machine has the data the photograph, the truth and the prediction stand beside the error map.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Error maps of three DRIVE test images by the run as stated: found vessels in grey, missed vessels in orange, false alarms in blue."}, "figure": {"caption": "Figure 6 of the report, from our run as stated: best, median and worst test image.", "name": "fig-r2unet-case-stated"}}
report.show_cases(study, STATED)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Error maps of three DRIVE test images by the properly trained network: found vessels in grey, missed vessels in orange, false alarms in blue."}, "figure": {"caption": "The same network trained properly: best, median and worst test image.", "name": "fig-r2unet-case-trained"}}
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
# The rule is fixed in the [protocol](../book/protocol.md): only `paper` records are judged.

# %% tags=["hide-input"]
judged = report.verdicts(study, ["1"])
report.style(
    judged.groupby("verdict", as_index=False).size().rename(columns={"size": "cells"}),
    "Verdicts on the cells of Table 1.",
)
