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
# # AF-UNet
#
# The AF-UNet paper gives every decoder level of a U-Net a second, shallower encoder feature, an asymmetric skip, and
# reports DRIVE and STARE against five relatives of U-Net. This page re-runs the paper from its own description: each cell
# of its tables stands beside what we measured, and a profile says how large our run was. A `lite` number comes from a
# narrow network on the real images, small enough for a processor without a GPU: it is a preview, not a reproduction.

# %% [markdown]
# ## Parameters
#
# papermill replaces these by name. The defaults show the records that come with the book and train nothing of the paper.

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
import torch
from IPython.display import Markdown, display

from retlib import report
from retlib.models import build_model
from retlib.study import figures, findings, run

figures.set_style()
study = report.open_study("af-unet", parameters)
paper = study.paper

# %% [markdown]
# What is missing is trained here, if the parameters say so: first the rows of the tables, then the other reading of the
# asymmetric skips.

# %% tags=["hide-input", "remove-output"]
TABLE_RUNS = list(paper.runs(parameters.profile, role="table"))
ABLATION_RUNS = list(paper.runs(parameters.profile, role="ablation"))
study.train(TABLE_RUNS + ABLATION_RUNS)

# %% [markdown]
# ## What we found
#
# Every number below is read from a record, from the paper's tables or from the model; nothing is typed.

# %% tags=["hide-input"]
size = paper.runs("paper")["drive-af-unet"].inputs.resample
costs = report.cost_table(study, [name for name in TABLE_RUNS if name.startswith("drive")] + ABLATION_RUNS, size)


def more(column, start, end):
    """How much more of a cost ``end`` has than ``start``: percent with a sign."""
    return findings.signed(100 * (costs.loc[end, column] / costs.loc[start, column] - 1), 1) + " %"


plan = paper.plan("paper")
evidence = {name: study.evidence(name) for name in TABLE_RUNS}
lines = [
    f"- {findings.counted(evidence)} rows of Tables 1 and 2 have a record of ours "
    f"({report.profiles(evidence.values())})."
]
for dataset in ("drive", "stare"):
    name, proposed = dataset.upper(), paper.proposed[dataset]
    if (ours := evidence[proposed]) is not None:
        lines.append(
            f"- {name}: the paper prints an F1-score of {paper.printed(proposed, 'dice').text} for AF-UNet; ours is "
            f"{findings.ours(ours, 'dice')}, with {report.count_text(ours.records[0].content['model']['parameters'])} "
            "parameters."
        )
    steps = {
        f"{name}, asymmetric skips in place of none": (f"{dataset}-unet", proposed),
        f"{name}, AF-UNet in place of Attention U-Net": (f"{dataset}-attention-unet", proposed),
    }
    lines += ["- " + findings.step_sentence(study, what, *pair, "dice", "F1") for what, pair in steps.items()]
ours = "drive-af-unet"
lines.append(
    f"- Cost at full width: against U-Net, AF-UNet has {more('parameters', 'drive-unet', ours)} parameters and "
    f"{more('multiply-adds, 10^9', 'drive-unet', ours)} multiply-adds; against Attention U-Net, "
    f"{more('parameters', 'drive-attention-unet', ours)} and "
    f"{more('multiply-adds, 10^9', 'drive-attention-unet', ours)}; against its own dense reading, "
    f"{more('parameters', ABLATION_RUNS[0], ours)} and {more('multiply-adds, 10^9', ABLATION_RUNS[0], ours)}."
)
others = [name for name in costs.index if name in TABLE_RUNS and name != ours]
for word, sign in {"fewer": 1, "more": -1}.items():
    found = [name for name in others if sign * (costs.loc[ours, "parameters"] - costs.loc[name, "parameters"]) > 0]
    models = ", ".join(plan[name].about.removesuffix(" on DRIVE") for name in found) or "none"
    lines.append(f"- Of the five other models, those with {word} parameters than AF-UNet: {models}.")
claim = paper.test_claim("always-better")
lines.append(
    f"- 'Always better' holds in {sum(finding.holds for finding in claim)} of {len(claim)} comparisons of the paper's "
    f"own tables; it fails in: {', '.join(f'{f.what} ({f.metric})' for f in claim if not f.holds)}."
)
evidence |= {name: study.evidence(name) for name in ABLATION_RUNS}
lines += [f"- {sentence}" for sentence in findings.seed_sentences(evidence)]
if parameters.profile == "smoke":
    lines = [
        "- This is a smoke run on phantoms: the pipeline works from end to end, and nothing here speaks of the paper."
    ]
display(Markdown("\n".join(lines)))

# %% [markdown]
# ## The claim

# %% tags=["hide-input"]
display(Markdown(paper.summary))
report.style(
    report.claims(study), "What the paper claims in its text, held against its own tables and against our records."
)

# %% [markdown]
# ## Protocol
#
# What the paper says of its method, and the value in our runs of the `paper` profile.

# %% tags=["hide-input"]
report.style(report.stated(paper), "What the paper states.")

# %% [markdown]
# What it leaves open, and how each point was decided, once, before a run was looked at.

# %% tags=["hide-input"]
report.style(report.open_points(paper), "What the paper leaves open, and our choices.")

# %% [markdown]
# ## The architecture
#
# The paper's Figure 1, drawn from the model itself: channels and sizes were read during a forward pass at the size of the
# paper's example, and the skips are those that the pass used. The first drawing is our default, one shallow feature a
# level; the second is the dense reading, for comparison.

# %% tags=["hide-input"] mystnb={"image": {"alt": "A U-shaped network: four encoder stages, a bridge and four decoder levels. Gray arrows join stages of equal size; an orange arrow joins each of the first three encoder stages to the decoder level below it."}, "figure": {"caption": "Figure 1 of the paper, from our model: AF-UNet, one asymmetric skip a level.", "name": "fig-af-unet-architecture"}}
config = paper.runs("paper")["drive-af-unet"]
with torch.device("meta"):  # shapes alone: no weights are drawn
    model = build_model(config.model, config.inputs.channels, **config.model_options)
report.architecture_figure(model, config.inputs.channels, *config.inputs.resample)
plt.show()

# %% tags=["hide-input"] mystnb={"image": {"alt": "The same network with six orange arrows: every decoder level but the first is joined to all finer encoder stages."}, "figure": {"caption": "The dense reading: all finer stages at every level.", "name": "fig-af-unet-dense"}}
config = paper.runs("paper")["drive-af-unet-dense"]
with torch.device("meta"):
    model = build_model(config.model, config.inputs.channels, **config.model_options)
report.architecture_figure(model, config.inputs.channels, *config.inputs.resample)
plt.show()

# %% [markdown]
# ## Results
#
# Reported | measured | difference. The interval is a 95 % bootstrap over the test images (and seeds, where there are
# several), and half its width stands beside the verdict. Scores are means over the test images, of the whole frame and at
# a threshold of 0.5; the [protocol](../book/protocol.md) explains the terms, the open points above the reasons. Where a
# seed never learned, by the protocol's rule, the profile says so, and a column has the mean without it.

# %% tags=["hide-input"]
report.style(report.comparison(study, "1", ["Method"]), "Table 1: six models on DRIVE.")

# %% tags=["hide-input"]
report.style(report.comparison(study, "2", ["Method"]), "Table 2: six models on STARE.")

# %% [markdown]
# ## What the asymmetric skips cost
#
# The paper calls the network lighter, lightweight and compact, and prints no count. Ours: the networks at the paper's
# widths, multiply-adds of one photograph at its working size, and the time of an optimiser step in our records, which
# depends on the machine and on what else it did.

# %% tags=["hide-input"]
shown = costs.astype(object).where(costs.notna(), None)  # a missing count is a dash, not <NA>
report.style(shown.infer_objects(), "Parameters, multiply-adds and time of a step.", decimals=2)

# %% [markdown]
# ## What the asymmetric skips bring
#
# The same training with and without them, scored on the same images. Image by image what makes one photograph harder than
# another cancels out, so the interval of a difference is narrower than those of the two numbers. Where several seeds were
# run the last column but one shows the lowest and the highest difference among them.

# %% tags=["hide-input"]
COUNTED = {"dice": "F1", "iou": "Jaccard", "sensitivity": "Recall", "precision": "Precision", "accuracy": "Acc"}
STEPS = {
    "DRIVE: U-Net to AF-UNet": ("drive-unet", "drive-af-unet"),
    "STARE: U-Net to AF-UNet": ("stare-unet", "stare-af-unet"),
}
report.style(report.gains(study, STEPS, COUNTED), "AF-UNet less U-Net.")

# %% [markdown]
# The paper leaves open which shallow features join which level. If all finer stages join every level, the skips are dense,
# which the paper calls redundant without having tried it.

# %% tags=["hide-input"]
DENSE = {"DRIVE: one skip a level to all": ("drive-af-unet", ABLATION_RUNS[0])}
report.style(report.gains(study, DENSE, COUNTED), "The dense reading less our default.")

# %% [markdown]
# ## Thin vessels
#
# The claims on thin vessels and on connectivity are made from one photograph. Over all test images: how much of the
# observer's centre lines is found where vessels are thin (up to two pixels wide), medium and wide; the agreement of the
# centre lines (clDice); and the error in the number of separate pieces, which is lower where vessels stay connected.

# %% tags=["hide-input"]
report.style(
    report.fine_structure(
        study, "drive-unet", [name for name in TABLE_RUNS if name.startswith("drive")] + ABLATION_RUNS
    ),
    "DRIVE, inside the FOV, mean over test images; the difference is thin-vessel recall less U-Net's.",
)

# %% tags=["hide-input"]
report.style(
    report.fine_structure(study, "stare-unet", [name for name in TABLE_RUNS if name.startswith("stare")]),
    "STARE, inside the FOV, mean over test images; the difference is thin-vessel recall less U-Net's.",
)

# %% [markdown]
# The paper's Figure 2 boxes the places that show its model at its best. Here a rule chooses them from the truth alone: the
# squares that hold the most of the thin vessels' centre line, none overlapping another. The image is one of which the
# records keep an error map, the median of AF-UNet's where the others keep it too.

# %% tags=["hide-input"] mystnb={"image": {"alt": "A DRIVE test image with three boxes around thin vessels, and the boxes enlarged for each model: found vessels in gray, missed ones in orange, false alarms in blue."}, "figure": {"caption": "Figure 2 of the paper: thin vessels in the same boxes for four models, DRIVE.", "name": "fig-af-unet-thin-drive"}}
FIGURE_2 = {"AF-UNet": "af-unet", "U-Net": "unet", "ResUNet": "resunet", "ResUNet++": "resunetpp"}
report.show_thin(study, {title: f"drive-{name}" for title, name in FIGURE_2.items()})

# %% tags=["hide-input"] mystnb={"image": {"alt": "A STARE test image with three boxes around thin vessels, and the boxes enlarged for each model: found vessels in gray, missed ones in orange, false alarms in blue."}, "figure": {"caption": "The same on STARE.", "name": "fig-af-unet-thin-stare"}}
report.show_thin(study, {title: f"stare-{name}" for title, name in FIGURE_2.items()})

# %% [markdown]
# ## Cases
#
# The test images with the highest, the median and the lowest F1-score. Where this machine has the data the photograph, the
# truth and the prediction stand beside the error map.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Error maps of three DRIVE test images: found vessels in gray, missed vessels in orange, mostly thin ones, and false alarms in blue."}, "figure": {"caption": "AF-UNet on DRIVE: best, median and worst test image of our run.", "name": "fig-af-unet-cases-drive"}}
report.show_cases(study, paper.proposed["drive"])

# %% [markdown]
# ## Training curves
#
# The paper stops training by the validation loss and shows no curve.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Curves over epochs for U-Net and AF-UNet on DRIVE: loss falls, accuracy and Dice rise and level off, for training and validation images."}, "figure": {"caption": "Loss, accuracy and Dice of U-Net and AF-UNet on DRIVE, training and validation.", "name": "fig-af-unet-curves"}}
curves = {
    f"{title} ({found.profile})": found.records[0]
    for title, name in {"U-Net": "drive-unet", "AF-UNet": "drive-af-unet"}.items()
    if (found := study.evidence(name)) is not None
}
if curves:
    figures.training_curves(curves)
    plt.show()
else:
    print("No record yet: run this notebook with train='missing'.")

# %% [markdown]
# ## The pipeline at work
#
# The same code at its smallest: a tiny AF-UNet trained on a few phantoms, from nothing, while this page is built. It shows
# that the pipeline runs here; its numbers say nothing of the paper.

# %% tags=["hide-input"]
import tempfile

smallest = paper.runs("smoke")[paper.proposed["drive"]]
with tempfile.TemporaryDirectory() as folder:
    smoke = run(smallest, folder, device="cpu", progress=False)
    loss = [row["train_loss"] for row in smoke.history]
    print(f"{smoke.content['model']['parameters']} parameters, {smoke.content['training']['steps']} steps")
    print("training loss by epoch:", ", ".join(f"{value:.4f}" for value in loss))

# %% [markdown]
# ## Verdicts
#
# The rule is fixed in the [protocol](../book/protocol.md): only `paper` records are judged. The results tables have the
# verdict on each cell.

# %% tags=["hide-input"]
judged = report.verdicts(study, ["1", "2"])
report.style(
    judged.groupby("verdict", as_index=False).size().rename(columns={"size": "cells"}),
    "Verdicts on the cells of Tables 1 and 2.",
)
