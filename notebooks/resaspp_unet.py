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
# # ResASPP-UNet
#
# Salsabila, Erwin and Desiani (2026) put a ResNet-50 encoder and an atrous spatial pyramid (ASPP) under a U-Net decoder
# and report DRIVE and STARE. This page re-runs the paper from its own description: each cell of its tables stands beside
# what we measured, and a profile says how large our run was. A `lite` number comes from a narrow network on the real
# images, small enough for a processor without a GPU: it is a preview, not a reproduction.

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
import pandas as pd
from IPython.display import Markdown, display

from retlib import report
from retlib.augmentation import augment, build_augmentation
from retlib.data import load_dataset
from retlib.models import aspp_branches
from retlib.preprocessing import prepare
from retlib.study import figures, findings, run
from retlib.study.tables import profile_text

figures.set_style()
study = report.open_study("resaspp-unet", parameters)
paper = study.paper

# %% [markdown]
# What is missing is trained here, if the parameters say so: first the rows of the tables, then the folds.

# %% tags=["hide-input", "remove-output"]
TABLE_RUNS = list(study.paper.runs(parameters.profile, role="table"))
FOLD_RUNS = list(study.paper.runs(parameters.profile, role="fold"))
CONTROL_RUNS = list(study.paper.runs(parameters.profile, role="control"))
study.train(TABLE_RUNS + CONTROL_RUNS + FOLD_RUNS)

# %% [markdown]
# ## What we found
#
# Every number below is read from a record or from the paper's tables; nothing is typed.

# %% tags=["hide-input"]
evidence = {name: study.evidence(name) for name in TABLE_RUNS}
lines = [f"- {sentence}" for sentence in findings.contradiction_sentences(study)]
lines += [
    f"- {findings.counted(evidence)} rows of Tables 4, 5, 8 and 9 have a record of ours "
    f"({report.profiles(evidence.values())})."
]
for dataset in ("drive", "stare"):
    name, proposed = dataset.upper(), paper.proposed[dataset]
    if (ours := study.evidence(proposed)) is not None:
        lines.append(
            f"- {name}: the paper prints a Dice of {paper.printed(proposed, 'dice').text} for ResASPP-UNet; ours is "
            f"{findings.ours(ours, 'dice')}, with {report.count_text(ours.records[0].content['model']['parameters'])} "
            "parameters."
        )
    steps = {
        f"{name}, green channel and CLAHE": (f"{proposed}-raw", proposed),
        f"{name}, a ResNet encoder in place of U-Net's": (f"{dataset}-unet", f"{dataset}-res-unet"),
        f"{name}, ASPP on top of it": (f"{dataset}-res-unet", proposed),
    }
    lines += ["- " + findings.step_sentence(study, what, *pair, "dice", "Dice") for what, pair in steps.items()]
for control in CONTROL_RUNS:
    ours, plain = study.evidence(control), study.evidence("drive-unet")
    if ours is not None and plain is not None:
        auc = [item.value("auc", region="fov", average="image") for item in (ours, plain)]
        lines.append(
            f"- Inside the FOV of DRIVE, where it was trained, the reference U-Net ({profile_text(ours)}) "
            f"reaches an AUC of {auc[0]:.4f}, the U-Net by the paper's recipe ({profile_text(plain)}) "
            f"{auc[1]:.4f}. The two differ in loss, patches and working size, not in the library."
        )
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
# ## Preprocessing and augmentation
#
# The paper's Figures 3 and 4. Where this machine has the data sets the first image of each is shown; elsewhere a phantom,
# a photograph made by code, stands in.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two fundus images, one a row: the photograph, its green channel, and the green channel after local contrast equalisation, in which thin vessels stand out."}, "figure": {"caption": "Figure 3 of the paper: photograph, green channel, green channel with CLAHE.", "name": "fig-resaspp-preprocessing"}}
config = paper.runs("paper")[paper.proposed["drive"]]
clahe_options = {}
for step in config.inputs.preprocessing:
    if isinstance(step, dict):
        clahe_options |= step.get("clahe", {})
if study.root is not None:
    samples = [load_dataset("drive", "training", study.root)[0], load_dataset("stare", "all", study.root)[0]]
else:
    samples = list(load_dataset("phantom", "training", count=2))
figures.preprocessing_figure(samples, clahe_options["clip_limit"], clahe_options["tile"])
plt.show()

# %% tags=["hide-input"] mystnb={"image": {"alt": "One preprocessed fundus image and five augmented copies of it: flipped, rotated, brighter and darker."}, "figure": {"caption": "Figure 4 of the paper: an image and five draws of our augmentation.", "name": "fig-resaspp-augmentation"}}
pipeline = build_augmentation(config.training.augmentation)
prepared = prepare(samples[0], config.inputs)
figures.augmentation_figure(prepared.image, [augment(pipeline, prepared, seed).image for seed in range(5)])
plt.show()

# %% [markdown]
# ## Which ASPP branches are alive
#
# The encoder's last map is one thirty-second of the input. A dilated 3x3 convolution whose rate reaches beyond that map
# sees zero padding with its outer taps: at that size the branch is a 1x1 convolution that costs as much as a 3x3 one.

# %% tags=["hide-input"]
branches = []
for side in (512, 576, 768, 1024):
    for branch in aspp_branches((side, side), rates=(6, 12, 18)):
        branches.append({"input": f"{side}x{side}", **report.branch_row(branch)})
report.style(
    pd.DataFrame(branches),
    "Taps of each ASPP branch that ever see the map, and the share of all taps that fall inside it.",
)

# %% [markdown]
# ## Results
#
# Reported | measured | difference. The interval is a 95 % bootstrap over the test images (and seeds, where there are
# several), and half its width stands beside the verdict. Scores are means over the test images, of the whole frame and at
# a threshold of 0.5. The paper states none of the three; the open points above have the reasons.

# %% tags=["hide-input"]
report.style(
    report.comparison(study, "4", ["Preprocessing"]), "Table 4: ResASPP-UNet on DRIVE, without and with preprocessing."
)

# %% tags=["hide-input"]
report.style(
    report.comparison(study, "5", ["Preprocessing"]), "Table 5: ResASPP-UNet on STARE, without and with preprocessing."
)

# %% tags=["hide-input"]
report.style(report.comparison(study, "8", ["Model"]), "Table 8: ablation on DRIVE.")

# %% tags=["hide-input"]
report.style(report.comparison(study, "9", ["Model"]), "Table 9: ablation on STARE.")

# %% [markdown]
# The paper's comparison with the literature, as printed (its own last row included), with our row under it.

# %% tags=["hide-input"]
report.style(report.with_our_row(study, "6", paper.proposed["drive"], "Our re-run"), "Table 6: literature on DRIVE.")

# %% tags=["hide-input"]
report.style(report.with_our_row(study, "7", paper.proposed["stare"], "Our re-run"), "Table 7: literature on STARE.")

# %% [markdown]
# ## Training curves

# %% tags=["hide-input"] mystnb={"image": {"alt": "Curves over epochs for DRIVE and STARE: loss falls, accuracy and Dice rise and level off, for training and validation images."}, "figure": {"caption": "Figure 5 of the paper, from our records: loss, accuracy and Dice of ResASPP-UNet, training and validation.", "name": "fig-resaspp-curves"}}
curves = {
    f"{dataset.upper()} ({found.profile})": found.records[0]
    for dataset, name in paper.proposed.items()
    if (found := study.evidence(name)) is not None
}
if curves:
    figures.training_curves(curves)
    plt.show()
else:
    print("No record yet: run this notebook with train='missing'.")

# %% [markdown]
# ## Cases
#
# The test images with the highest, the median and the lowest Dice. Where this machine has the data the photograph, the
# truth and the prediction stand beside the error map.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Error maps of three DRIVE test images: found vessels in grey, missed vessels in orange, mostly thin ones, and false alarms in blue."}, "figure": {"caption": "Figure 6 of the paper, DRIVE: best, median and worst test image of our run.", "name": "fig-resaspp-cases-drive"}}
report.show_cases(study, paper.proposed["drive"])

# %% tags=["hide-input"] mystnb={"image": {"alt": "Error maps of three STARE test images: found vessels in grey, missed vessels in orange and false alarms in blue."}, "figure": {"caption": "Figure 6 of the paper, STARE: best, median and worst test image of our run.", "name": "fig-resaspp-cases-stare"}}
report.show_cases(study, paper.proposed["stare"])

# %% [markdown]
# ## Folds
#
# The paper announces ten folds on DRIVE and five on STARE and prints neither. Ours, as far as they have been run:

# %% tags=["hide-input"]
report.style(
    report.folds(study, FOLD_RUNS), "Cross-validation: mean and standard deviation over the folds that have a record."
)

# %% [markdown]
# ## Across data sets
#
# Also announced and not printed: trained on one data set, tested on the other. No training is needed for this, the same
# networks are applied to the other set.

# %% tags=["hide-input"]
report.style(report.cross_dataset(study, TABLE_RUNS), "Trained on one data set, scored on both.")

# %% [markdown]
# ## ROC analysis
#
# The paper gives one operating point per row and no curve. From the stored score histograms every curve can be drawn. On
# the left is the whole frame, as the paper scores, with the paper's points. On the right are the same networks inside the
# FOV, and with them a reference: this library's plain U-Net by a standard training (patches, cross-entropy and Dice inside
# the FOV). What it gives outside the FOV was never trained, so it is drawn and scored inside the FOV alone.

# %% tags=["hide-input"] mystnb={"image": {"alt": "ROC curves on DRIVE for false-positive rates up to one tenth. Left, whole frame: the three models and the paper's operating points. Right, inside the FOV: the three models and the reference U-Net."}, "figure": {"caption": "Pooled ROC curves on DRIVE's test images. Left: whole frame, with the paper's operating points. Right: inside the FOV, with the reference U-Net, which was trained there.", "name": "fig-resaspp-roc"}}
report.show_roc(study, ["drive-unet", "drive-res-unet", "drive-resaspp-unet"], "8", CONTROL_RUNS)

# %% tags=["hide-input"]
report.style(
    report.inside_fov(study, [*TABLE_RUNS, *CONTROL_RUNS]),
    "The same networks scored as most of the field does: inside the FOV, mean over test images.",
)

# %% [markdown]
# ## The pipeline at work
#
# The same code at its smallest: a tiny ResASPP-UNet trained on a few phantoms, from nothing, while this page is built. It
# shows that the pipeline runs here; its numbers say nothing of the paper.

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
judged = report.verdicts(study, ["4", "5", "8", "9"])
report.style(
    judged.groupby("verdict", as_index=False).size().rename(columns={"size": "cells"}),
    "Verdicts on the cells of Tables 4, 5, 8, 9.",
)
