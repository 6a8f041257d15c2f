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
# A fine-tuning study trains a descendant of BCDU-Net {cite:p}`Azad2019` on DRIVE: a U-Net that fuses each skip with the
# up-sampled map in a convolutional LSTM {cite:p}`Shi2015`. It announces what a learning-rate schedule, the optimiser,
# augmentation and a pre-trained start bring, prints six scores of one model and two curves, and compares nothing. This
# page re-runs the model, and then runs the comparison that the study leaves out. A `lite` number comes from a narrow
# network on the real images, small enough for a processor without a GPU: it is a preview, not a reproduction.

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
from retlib.models import build_model, count_parameters
from retlib.preprocessing import prepare
from retlib.report import operating
from retlib.study import figures, findings, run
from retlib.training import cut_patch, random_corner

figures.set_style()
study = report.open_study("convlstm-unet", parameters)
paper = study.paper

# %% [markdown]
# What is missing is trained here, if the parameters say so: first the row of the table, then the ablation.

# %% tags=["hide-input", "remove-output"]
TABLE_RUNS = list(paper.runs(parameters.profile, role="table"))
ABLATION_RUNS = list(paper.runs(parameters.profile, role="ablation"))
study.train(TABLE_RUNS + ABLATION_RUNS)

# %% [markdown]
# ## What we found
#
# Every number below is read from a record or from the paper's table; nothing is typed.

# %% tags=["hide-input"]
MAIN = paper.proposed["drive"]
FACTORS = {
    "A constant learning rate in place of the schedule": f"{MAIN}-constant",
    "Adam in place of gradient descent": f"{MAIN}-adam",
    "No augmentation": f"{MAIN}-unaugmented",
    "A start from a network trained on STARE": f"{MAIN}-pretrained",
    "ConvLSTMs that read both ways": f"{MAIN}-bidirectional",
}
WHOLE = f"{MAIN}-whole"  # ten steps on whole photographs, in the previews alone
printed = paper.tables["1"].values(0)["drive"]
target, share = operating.printed_point(printed), operating.implied_share(printed)
implied = target.scores(share.value)
ours = study.evidence(MAIN)
evidence = {name: study.evidence(name) for name in TABLE_RUNS + ABLATION_RUNS}

if parameters.profile == "smoke":
    lines = [
        "- This is a smoke run on phantoms: the pipeline works from end to end, and nothing here speaks of the paper."
    ]
else:
    lines = [
        f"- {findings.counted(evidence)} runs, Table 1 and the ablation, have a record of ours "
        f"({report.profiles(evidence.values())}).",
        f"- The table's row is one point: sensitivity, specificity and accuracy imply that {share.value:.2%} of the scored "
        f"pixels are vessel ({share.low:.2%} to {share.high:.2%} within rounding), and with that share the point gives a "
        f"precision of {implied['precision']:.4f} and an F1 of {implied['dice']:.4f}; printed are "
        f"{printed['precision'].text} and {printed['dice'].text}.",
    ]
    if ours is not None:
        curve = operating.pooled_scores(ours)
        reached = operating.point_at(curve, specificity=target.specificity)
        lines += [
            f"- Vessels cover {operating.vessel_share(curve):.2%} of our test pixels inside the field of view.",
            f"- Ranking: the paper prints an AUC of {printed['auc'].text}, we measure {ours.value('auc'):.4f} "
            f"({ours.profile}, {report.count_text(ours.cost('parameters'))} parameters).",
            f"- At the paper's specificity of {printed['specificity'].text} our curve passes at a sensitivity of "
            f"{reached.sensitivity:.4f} (printed: {printed['sensitivity'].text}), for a threshold of "
            f"{reached.threshold:.3f} on our scores.",
        ]
    lines += [
        "- " + operating.factor_sentence(study, what, MAIN, name, {"AUC (mean over images)": "auc", "Dice": "dice"})
        for what, name in FACTORS.items()
    ]
    lines += [f"- {sentence}" for sentence in findings.seed_sentences(evidence)]
display(Markdown("\n".join(lines)))

# %% [markdown]
# ## The claim

# %% tags=["hide-input"]
display(Markdown(paper.summary))
report.style(
    report.claims(study), "What the paper claims in its text, held against its own table and against our records."
)

# %% [markdown]
# ## Protocol
#
# What the paper says of its method, and the value in our runs of the `paper` profile.

# %% tags=["hide-input"]
report.style(report.stated(paper), "What the paper states.")

# %% [markdown]
# What it leaves open, and how each point was decided, once, before a run was looked at. *The family* is BCDU-Net's
# published code, whose names of layers, scores and curves are the paper's.

# %% tags=["hide-input"]
report.style(report.open_points(paper), "What the paper leaves open, and our choices.")

# %% [markdown]
# ## The network
#
# A merge reads two steps, the skip and the up-sampled map. In the family's code one ConvLSTM reads them backwards, though
# its name says bidirectional; the model offers both, and the family's two ways to the vessel map and its bottleneck, so
# that its parameters can be counted against the published code.

# %% tags=["hide-input"]
config = paper.runs("paper")[MAIN]
variants = {
    "as run for Table 1": config.model_options,
    "as run, reading both ways": config.model_options | {"direction": "bidirectional"},
    "as run, nothing between the last pooling and the first up-sampling": config.model_options | {"dense_blocks": 0},
    "BCDU-Net D1 as coded": {"head": "family", "dense_blocks": 1},
    "BCDU-Net D3 as coded": {"head": "family", "dense_blocks": 3},
    "BCDU-Net D3, truly bidirectional": {"head": "family", "dense_blocks": 3, "direction": "bidirectional"},
}
counted = {
    title: count_parameters(build_model(config.model, in_channels=config.inputs.channels, **options))
    for title, options in variants.items()
}
report.style(
    pd.DataFrame({"network": counted.keys(), "parameters": [f"{number:,}" for number in counted.values()]}),
    "Parameters of the network at full width and of its variants, one channel in.",
)

# %% [markdown]
# ## What the network sees
#
# Patches of the equalised grey image, augmented afresh each time. Where this machine has DRIVE they are cut from its first
# training photograph, elsewhere from a phantom, a photograph made by code.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Three small square patches of a grey fundus image with dark vessels, and below each an augmented copy, flipped or rotated."}, "figure": {"caption": "Patches as the network sees them in training (first the patch, then one draw of its augmentation).", "name": "fig-convlstm-patches"}}
if study.root is not None:
    sample = load_dataset("drive", "training", study.root)[0]
else:
    sample = load_dataset("phantom", "training", count=1)[0]
prepared = prepare(sample, config.inputs)
pipeline = build_augmentation(config.training.augmentation)
settings = config.training.patches
patches = [cut_patch(prepared, settings, random_corner(prepared, settings, seed)) for seed in range(3)]
shown = [image for seed, patch in enumerate(patches) for image in (patch.image, augment(pipeline, patch, seed).image)]
figure, axes = plt.subplots(2, len(patches), figsize=(2.2 * len(patches), 4.6))
for place, (axis, image) in enumerate(zip(axes.T.flat, shown, strict=True)):
    axis.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255)
    axis.set_title("augmented" if place % 2 else "patch", fontsize=9)
    axis.set_axis_off()
plt.show()

# %% [markdown]
# ## Results
#
# Reported | measured | difference. The interval is a 95 % bootstrap over the test images (and seeds, where there are
# several). Scores are pooled over the pixels inside the field of view at a threshold of one half, as the paper's numbers
# imply; the [protocol](../book/protocol.md) explains both.

# %% tags=["hide-input"]
report.style(report.comparison(study, "1", []), "Table 1: the proposed model on DRIVE.")

# %% [markdown]
# ## Cases
#
# The test images with the highest, the median and the lowest Dice. Where this machine has the data the photograph, the
# truth and the prediction stand beside the error map.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Error maps of three DRIVE test images: found vessels in grey, missed vessels in orange, mostly thin ones, and false alarms in blue."}, "figure": {"caption": "Figure 1 of the paper: best, median and worst DRIVE test image of our run.", "name": "fig-convlstm-cases"}}
report.show_cases(study, MAIN)

# %% [markdown]
# ## Precision-recall and ROC curves
#
# The paper's Figures 2 and 3 are pictures of curves; its table gives one point of each. Ours are drawn from the stored
# score histograms. Curves, thresholds and cases on this page are of the first seed; scores in tables are means over seeds.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Precision-recall curve of our network on DRIVE's test images; the paper's operating point is marked at high precision."}, "figure": {"caption": "Figure 2 of the paper, from our record: precision and recall inside the field of view, with the paper's point.", "name": "fig-convlstm-pr"}}
curves, points = {}, {}
if ours is not None:
    curves = {f"ours ({ours.profile})": operating.pooled_scores(ours)}
    if parameters.profile != "smoke":
        points = {"the paper's point": target}
    operating.pr_figure(
        curves, {title: (point.sensitivity, printed["precision"].value) for title, point in points.items()}
    )
    plt.show()
else:
    print("No record yet: run this notebook with train='missing'.")

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two panels with the ROC curve of our network on DRIVE's test images, over the whole range and enlarged at low false-positive rates, where the paper's operating point is marked."}, "figure": {"caption": "Figure 3 of the paper, from our record: ROC curve inside the field of view, whole and enlarged, with the paper's point.", "name": "fig-convlstm-roc"}}
if ours is not None:
    operating.roc_figure(curves, points)
    plt.show()
else:
    print("No record yet: run this notebook with train='missing'.")

# %% [markdown]
# ## The operating point
#
# Five of the six printed numbers say one thing. Accuracy, sensitivity and specificity of one set of pixels fix its share of
# vessel pixels, and that share with sensitivity and specificity fixes precision and F1:

# %% tags=["hide-input"]
display(
    Markdown(
        f"$(1 - \\mathrm{{Sp}}, \\mathrm{{Se}})$ = ({1 - target.specificity:.4f}, {target.sensitivity:.4f}), vessel share "
        f"{share.value:.4f} ({share.low:.4f} to {share.high:.4f} within rounding)."
    )
)
report.style(
    operating.point_table(study, MAIN, "1").reset_index(),
    "The printed row, what its point and vessel share imply, and where our curve passes.",
)

# %% [markdown]
# A high specificity is not a property of a network but of a network and a threshold. The figure shows what each threshold
# gives on our scores, and which one gives the paper's specificity.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Sensitivity falls and specificity rises with the threshold; Dice has a maximum between. Vertical lines mark our threshold and the one that gives the paper's specificity."}, "figure": {"caption": "Sensitivity, specificity and Dice of our run over the threshold.", "name": "fig-convlstm-threshold"}}
if ours is not None:
    scores = operating.pooled_scores(ours)
    marks = {
        "our threshold": ours.records[0].content["threshold"],
        "the paper's specificity": operating.point_at(scores, specificity=target.specificity).threshold,
    }
    operating.threshold_figure(scores, marks)
    plt.show()
else:
    print("No record yet: run this notebook with train='missing'.")

# %% [markdown]
# ## The ablation that was announced
#
# Each run differs from the table's in one thing. Differences are paired: of both runs the same seeds are taken, resampled
# with the same test images.

# %% tags=["hide-input"]
report.style(
    operating.factors(study, MAIN, list(FACTORS.values())).reset_index(),
    "The study's factors, and the direction of the ConvLSTM: scores, and difference to the run of Table 1.",
)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Three panels over the epochs, a line for each run of the ablation: training loss, validation loss and validation Dice."}, "figure": {"caption": "The epochs of each run, first seed: loss on training patches, loss and Dice on whole validation photographs.", "name": "fig-convlstm-curves"}}
histories = {
    name.removeprefix(MAIN).removeprefix("-") or "Table 1": found.records[0].history
    for name, found in evidence.items()
    if found is not None and name != WHOLE
}
if histories:
    operating.histories_figure(histories)
    plt.show()
else:
    print("No record yet: run this notebook with train='missing'.")

# %% tags=["hide-input"]
report.style(
    report.inside_fov(study, TABLE_RUNS + ABLATION_RUNS),
    "The same networks scored as most of the field does: inside the FOV, mean over test images.",
)

# %% [markdown]
# ## The reading without patches
#
# The paper mentions no patches. On whole photographs its batch of 16 and its five epochs make ten optimiser steps. The
# preview's network took just these, at the preview's learning rate.

# %% tags=["hide-input"]
whole = evidence.get(WHOLE) or study.evidence(WHOLE)
if whole is None:
    print("No record yet: run this notebook with profile='lite' and train='missing'.")
else:
    last = whole.records[0]
    display(
        Markdown(
            f"After {last.content['training']['steps']} steps the network's AUC is {whole.value('auc'):.4f} and its Dice "
            f"{whole.value('dice'):.4f} ({report.profiles([whole])}); the paper prints {printed['auc'].text} and "
            f"{printed['dice'].text}. Training Dice in the last epoch: {last.history[-1]['train_dice']:.4f}."
        )
    )

# %% [markdown]
# ## The literature that it quotes
#
# The paper compares with nothing; its Introduction quotes these scores in passing. The last column is the vessel share that
# accuracy, sensitivity and specificity imply, where a work gives all three: a row whose share no fundus photograph has
# cannot be a score of such pixels.

# %% tags=["hide-input"]
quoted = []
table = paper.tables["Introduction"]
for index, row in enumerate(table.rows):
    for dataset, values in (table.values(index) or {None: {}}).items():
        line = {"reference": row.cells[0], "data": paper.other_datasets.get(dataset, dataset)}
        line |= {name: values[name].value if name in values else None for name in ("auc", *operating.RATES[:3])}
        complete = {"accuracy", "sensitivity", "specificity"} <= values.keys()
        line["implied vessel share"] = operating.implied_share(values).value if complete else None
        quoted.append(line | {"remark": row.note or None})
measured = {"reference": "this paper, Table 1", "data": "drive", "implied vessel share": share.value}
measured |= {name: printed[name].value for name in ("auc", *operating.RATES[:3])}
numbers = ["auc", *operating.RATES[:3], "implied vessel share"]
report.style(
    pd.DataFrame([*quoted, measured]).astype(dict.fromkeys(numbers, float)),
    "Scores that the Introduction quotes, and the paper's own.",
)

# %% [markdown]
# ## The pipeline at work
#
# The same code at its smallest: a tiny ConvLSTM U-Net trained on a few phantoms, from nothing, while this page is built. It
# shows that the pipeline runs here; its numbers say nothing of the paper.

# %% tags=["hide-input"]
import tempfile

smallest = paper.runs("smoke")[MAIN]
with tempfile.TemporaryDirectory() as folder:
    smoke = run(smallest, folder, device="cpu", progress=False)
    loss = [row["train_loss"] for row in smoke.history]
    print(f"{smoke.content['model']['parameters']} parameters, {smoke.content['training']['steps']} steps")
    print("training loss by epoch:", ", ".join(f"{value:.4f}" for value in loss))

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
