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
# Andrikevych and colleagues (2025) train a nested decoder with attention gates on HRF, with a plain encoder and with one
# after ResNet-34, and compare with a U-Net and a SegNet of their own earlier work. This page re-runs the four from the
# paper's description: each cell of its table stands beside what we measured, and a profile says how large our run was.
# A `lite` number comes from half the paper's resolution and a short training on the real images: it is a preview, not a
# reproduction.

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
from IPython.display import Markdown, display

from retlib import report
from retlib.study import figures, findings, run
from retlib.study.evidence import paired_difference, same_seeds

figures.set_style()
study = report.open_study("attention-unetpp", parameters)
paper = study.paper

# %% [markdown]
# What is missing is trained here, if the parameters say so: first the rows of the table, then the folds.

# %% tags=["hide-input", "remove-output"]
TABLE_RUNS = list(paper.runs(parameters.profile, role="table"))
FOLD_RUNS = list(paper.runs(parameters.profile, role="fold"))
ABLATION_RUNS = list(paper.runs(parameters.profile, role="ablation"))
study.train(TABLE_RUNS + FOLD_RUNS + ABLATION_RUNS)

# %% tags=["hide-input"]
PLAIN, RESIDUAL = "hrf-attention-unetpp", paper.proposed["hrf"]
NAMES = {"hrf-unet": "U-Net", "hrf-segnet": "SegNet", PLAIN: "Attention U-Net++", RESIDUAL: "with ResNet"}
# The folds of the proposed model hold out other images with the same network: they join its distribution.
GROUPS = {title: [name, *(FOLD_RUNS if name == RESIDUAL else [])] for name, title in NAMES.items()}
HEADLINE = paper.printed(RESIDUAL, "dice")

# %% [markdown]
# ## What we found
#
# Every number below is read from a record or from the paper's table; nothing is typed.

# %% tags=["hide-input"]
evidence = {name: study.evidence(name) for name in TABLE_RUNS}
lines = [
    f"- {findings.counted(evidence)} rows of Table 1 have a record of ours ({report.profiles(evidence.values())}); "
    "the U-Net and SegNet rows are quoted from other work, so ours stand beside them without a verdict."
]
if (ours := evidence[RESIDUAL]) is not None:
    lines.append(
        f"- The paper prints a Dice of {HEADLINE.text} for the model with ResNet; ours is {findings.ours(ours, 'dice')} over "
        f"{len(ours.records[0].test()['images'])} held-out images, with "
        f"{report.count_text(ours.cost('parameters'))} parameters."
    )
lines.append(
    "- " + findings.step_sentence(study, "ResNet in place of the plain encoder", PLAIN, RESIDUAL, "dice", "Dice")
)
scores = report.held_out(study, GROUPS)
lines += [f"- {sentence}" for sentence in report.where_it_falls(scores, HEADLINE)]
if ours is not None:
    recalls = [ours.value(f"recall_{width}", region="fov", average="image") for width in ("thin", "medium", "wide")]
    lines.append(
        "- Of the centre lines of thin vessels the model with ResNet finds {:.3f}, of medium ones {:.3f}, of wide ones "
        "{:.3f}.".format(*recalls)
    )
wide = same_seeds(*(study.evidence(name) for name in (RESIDUAL, f"{RESIDUAL}-wide")))
if None in wide:
    lines.append("- Whether narrow filters cost quality: not run, here or in the paper.")
elif wide[0].profile == wide[1].profile:
    gain, low, high = (findings.signed(value) for value in paired_difference(*wide, "dice"))
    lines.append(f"- Four times the filters change the Dice by {gain} (95 % interval {low} to {high}).")
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
    report.claims(study), "What the paper claims in its text, held against its own table and against our records."
)

# %% [markdown]
# The paper gives the rise over the quoted rows in per cent of their Dice. From its table, and from our records of one
# profile:


# %% tags=["hide-input"]
def rise(value, base):
    """How far a value lies above another, in percent of that, with a sign."""
    return findings.signed(100 * (value / base - 1), 2) + " %"


lines = []
for index, name in paper.table_runs("1")[:2]:
    printed = paper.tables["1"].values(index)["hrf"]["dice"].value
    line = f"- Above {NAMES[name]}: {rise(HEADLINE.value, printed)} by the table's own values"
    ours, base = study.evidence(RESIDUAL, best=False), study.evidence(name, best=False)
    if parameters.profile != "smoke" and ours is not None and base is not None:
        line += f"; {rise(ours.value('dice'), base.value('dice'))} by ours ({ours.profile})"
    lines.append(line + ".")
display(Markdown("\n".join(lines)))

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
# ## Architecture
#
# The paper's Figure 1, drawn from our network: the channels and sizes of every map are those of a forward pass at the
# paper's size. Each row is a level, each node reads all earlier maps of its row through attention gates, and one map from
# below.

# %% tags=["hide-input"] mystnb={"image": {"alt": "A triangular grid of fifteen maps: five encoder maps down the left side, ten decoder nodes to the right, solid arrows from below and dashed arrows through attention gates along each row."}, "figure": {"caption": "Figure 1 of the paper, read from the model: channels @ height x width of every map.", "name": "fig-attention-unetpp-grid"}}
config = paper.runs("paper")[RESIDUAL]
nodes = report.grid_nodes(config.model, config.inputs.channels, config.inputs.resample, **config.model_options)
report.grid_figure(nodes)
plt.show()

# %% tags=["hide-input"]
report.style(
    report.cost_table(study, TABLE_RUNS, config.inputs.resample),
    "What the four networks cost at the paper's size, and what ours of the best profile cost.",
)

# %% [markdown]
# ## Results
#
# Reported | measured | difference. The interval is a 95 % bootstrap over the held-out images (and seeds, where there are
# several). Scores are pooled over all pixels of the whole frame at a threshold of one half, at the size to which the paper
# resizes photographs and labels: there the thinnest vessels are already gone from the label, which makes the task easier
# than on the photograph's own grid. The first two rows are quoted by the paper from other work.

# %% tags=["hide-input"]
report.style(report.comparison(study, "1", ["Model"]), "Table 1 (the text calls it Table 3): four models on HRF.")

# %% [markdown]
# ## Training curves

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two panels on one scale, without and with ResNet: training and validation loss over the epochs fall, and a dotted line marks the epoch whose weights are scored."}, "figure": {"caption": "Figures 2a and 2b of the paper, from our records: loss without and with ResNet.", "name": "fig-attention-unetpp-losses"}}
CURVES = {"2a, without ResNet": PLAIN, "2b, with ResNet": RESIDUAL}
report.show_losses(study, CURVES)

# %% tags=["hide-input"]
stated = paper.claim("loss-level").statement
display(
    Markdown("\n".join([f"The paper: *{stated}*", "", *(f"- {s}" for s in report.settled_sentences(study, CURVES))]))
)

# %% [markdown]
# ## Cases
#
# The held-out images with the highest, the median and the lowest Dice of the model with ResNet. Where this machine has
# the data the photograph, the truth and the prediction stand beside the error map.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Error maps of three HRF images: found vessels in grey, missed vessels in orange, most of them thin, and false alarms in blue."}, "figure": {"caption": "Figure 3 of the paper: best, median and worst held-out image of our run.", "name": "fig-attention-unetpp-cases"}}
report.show_cases(study, RESIDUAL)

# %% [markdown]
# The paper overlays both masks and paints in green what was missed. Here a miss is orange and a false alarm, which the
# paper does not mark, is blue: the two are told apart without telling red from green.

# %% tags=["hide-input"] mystnb={"image": {"alt": "The median held-out image: missed vessels in orange and false alarms in blue, on white and, where the data is at hand, over the photograph."}, "figure": {"caption": "Figure 4 of the paper: what is missed and what is found in error, median held-out image.", "name": "fig-attention-unetpp-overlay"}}
report.show_overlay(study, RESIDUAL)

# %% [markdown]
# ## One image or all of them?
#
# The conclusion gives the headline as that of *the test image*, and one image obeys the identity of Dice and IoU as well
# as a pooled set does. So the number may be the score of one image, chosen we do not know how. The figure shows how far
# single held-out images lie apart, for each model.

# %% tags=["hide-input"] mystnb={"image": {"alt": "A row of dots for each of the four models, one dot a held-out image, along an axis of Dice, with the median, the paper's value of that row and the paper's headline as a dashed line."}, "figure": {"caption": "Dice of every held-out image and the paper's values.", "name": "fig-attention-unetpp-distribution"}}
report.show_distribution(study, GROUPS, HEADLINE)

# %% tags=["hide-input"]
sentences = report.where_it_falls(scores, HEADLINE) if parameters.profile != "smoke" else []
display(Markdown("\n".join(f"- {sentence}" for sentence in sentences) or "No record on real images."))

# %% tags=["hide-input"]
report.style(
    report.folds(study, [RESIDUAL, *FOLD_RUNS]),
    "The model with ResNet over the folds that have a record: mean and standard deviation of the pooled scores.",
)

# %% [markdown]
# ## Inside the field of view
#
# The same networks scored as most of the field does.

# %% tags=["hide-input"]
report.style(report.inside_fov(study, TABLE_RUNS), "Inside the FOV, mean over the held-out images.")

# %% [markdown]
# ## The pipeline at work
#
# The same code at its smallest: a tiny Attention U-Net++ with a residual encoder, trained on a few phantoms, from
# nothing, while this page is built. It shows that the pipeline runs here; its numbers say nothing of the paper.

# %% tags=["hide-input"]
import tempfile

smallest = paper.runs("smoke")[RESIDUAL]
with tempfile.TemporaryDirectory() as folder:
    smoke = run(smallest, folder, device="cpu", progress=False)
    loss = [row["train_loss"] for row in smoke.history]
    print(f"{smoke.content['model']['parameters']} parameters, {smoke.content['training']['steps']} steps")
    print("training loss by epoch:", ", ".join(f"{value:.4f}" for value in loss))

# %% [markdown]
# ## Verdicts
#
# The rule is fixed in the [protocol](../book/protocol.md): only `paper` records are judged, and quoted rows are not.

# %% tags=["hide-input"]
judged = report.verdicts(study, ["1"])
report.style(
    judged.groupby("verdict", as_index=False).size().rename(columns={"size": "cells"}),
    "Verdicts on the measured cells of Table 1.",
)
