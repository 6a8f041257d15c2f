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
# # One protocol for all
#
# Every network of the study meets every other here: one recipe, networks of about one size, the same training images, the
# same rule for the threshold, scored on the native pixel grid inside the field of view (FOV). Two filters that need no
# training, the second observer and published results stand beside them.

# %% [markdown]
# ## Parameters
#
# papermill replaces these by name. The defaults show the records that come with the book and train nothing.

# %% tags=["parameters"]
profile: str = "lite"  # smoke: phantoms; lite: real images, short; paper: as long as it takes
data_root: str = None  # folder of the data sets; None: RETLIB_DATA
records: str = None  # folder of the records; None: the book's own
device: str = "auto"  # auto, cpu, cuda, cuda:1
seeds: list = [0, 1, 2]  # of these, the seeds that the study plans for a data set
train: str = "never"  # missing, never, always: which records to make

# %% tags=["hide-input"]
from retlib.report import check_parameters

parameters = check_parameters(globals())

# %% tags=["hide-input"]
from IPython.display import Markdown, display

from retlib import audit, comparison, report
from retlib.comparison import figures, findings, own, pages
from retlib.study.figures import set_style

set_style()
protocol = comparison.open_comparison(parameters)

# %% [markdown]
# What is missing is made here, if the parameters say so: the networks, the baselines beside them, and the records of the
# two protocol faults that need predictions of their own.

# %% tags=["hide-input", "remove-output"]
protocol.train()
comparison.make_fault_records(protocol)

# %% tags=["hide-input"]
datasets = protocol.contenders()
drive = datasets["drive"]
own_networks = comparison.own_networks(protocol)
costs = comparison.all_costs(protocol, drive)
background = audit.load_background(protocol.store.path)
benchmark = comparison.load_benchmark(protocol.store.path)

# %% [markdown]
# ## What we found
#
# Every number below is read from a record or from a quoted source; nothing is typed.

# %% tags=["hide-input"]
groups = {
    "The board": [*findings.best_sentences(datasets), findings.peer_sentence(drive)],
    "Which differences are real": findings.power_sentences(datasets),
    "People": [*findings.observer_sentences(datasets), findings.width_sentence(drive)],
    "Size and calibration": [
        *(findings.size_sentence(contenders) for contenders in datasets.values()),
        findings.calibration_sentence(drive),
    ],
    "Protocol faults": findings.fault_sentences(costs, drive),
    "Our own network, beside the board": own.own_sentences(own_networks),
}
text = [
    f"**{title}**\n\n" + "\n".join(f"- {line}" for line in lines if line)
    for title, lines in groups.items()
    if any(lines)
]
if parameters.profile == "smoke":
    text = ["This is a smoke run on phantoms: the pipeline works from end to end, and nothing here compares networks."]
display(Markdown("\n\n".join(text)))

# %% [markdown]
# ## The rules
#
# - **Splits.** DRIVE 20/20 as published, CHASE_DB1 20/8, HRF 15/30 (the first five of each class train), STARE in five folds
#   whose test parts are joined, so that each image is scored once, by a network that never saw it.
# - **Scores.** Inside the FOV, on the photograph's own grid, averaged over images. The threshold is the one with the highest
#   pooled Dice on the training images.
# - **Columns.** AUC is the area under the ROC curve, AP average precision, Se sensitivity, Sp specificity, Acc accuracy, MCC
#   Matthews' correlation coefficient ([definitions](../book/protocol.md)). *Evidence* says of which size the runs were and how
#   many seeds there are ([profiles](../book/how-to-read.md)); a dash is what nobody has run.
# - **Intervals.** 95 % percentile intervals of a two-level bootstrap: images are drawn with replacement, the same ones for
#   every seed, and seeds are drawn with replacement. With a single seed an interval speaks of the images alone.
# - **Differences.** Wilcoxon's signed-rank test on the images' Dice (means over seeds), for all pairs of networks, with
#   Holm's correction over the pairs of a data set. Networks against the second observer are a family of their own.
# - **Baselines.** Frangi's filter and the matched filter of Chaudhuri et al. take their scales and their threshold from the
#   training images. The second observer's label is scored as a segmentation; it ranks no pixels, so it has no AUC.
# - **Quoted rows.** As printed, each with its source and with what its own numbers imply of the scored region.
# - **Our own networks** are trained by a longer recipe. They stand below DRIVE's board with a peer that was run under these
#   very rules by its authors' weights and code, and take part in no ranking and in no test.
# - **Seconds** are CPU seconds of one core. All seconds of a board or a figure come from one source, which its heading
#   names. A wall clock also counts what else a machine does, so its seconds are in no board and no figure; a goal is held
#   against them where a record has no others, and the line says so.

# %% [markdown]
# ## DRIVE

# %% tags=["hide-input"]
pages.show_boards("drive", datasets.get("drive", []), own_networks, benchmark)

# %% tags=["hide-input"] mystnb={"image": {"alt": "A square grid on DRIVE, networks in rows and columns from the best mean rank to the worst; colour says on which share of the test images the row has the higher Dice, a star marks differences that are real after Holm's correction."}, "figure": {"caption": "DRIVE: how often each network beats each other one. A star: a real difference after Holm's correction.", "name": "fig-protocol-dominance-drive"}}
figures.show(figures.dominance_figure(datasets.get("drive", [])))

# %% tags=["hide-input"]
pages.show_quoted("drive", background, parameters.profile)

# %% [markdown]
# ### Our own network on DRIVE
#
# It was trained for far more steps than the networks that are compared, with what [the search for a recipe](recipe.ipynb)
# found to help. It is held against goals that lie about where the measured peer is, and against a limit of time.

# %% tags=["hide-input"]
pages.show_goals(own_networks)
display(Markdown("\n".join(f"- *{key}*: {text}." for key, text in own.abouts(protocol, own_networks).items())))

# %% [markdown]
# ## CHASE_DB1

# %% tags=["hide-input"]
pages.show_boards("chase_db1", datasets.get("chase_db1", []), benchmark=benchmark)

# %% tags=["hide-input"] mystnb={"image": {"alt": "A square grid on CHASE_DB1, networks in rows and columns from the best mean rank to the worst; colour says on which share of the test images the row has the higher Dice, a star marks differences that are real after Holm's correction."}, "figure": {"caption": "CHASE_DB1: how often each network beats each other one. A star: a real difference after Holm's correction.", "name": "fig-protocol-dominance-chase-db1"}}
figures.show(figures.dominance_figure(datasets.get("chase_db1", [])))

# %% tags=["hide-input"]
pages.show_quoted("chase_db1", background, parameters.profile)

# %% [markdown]
# ## HRF

# %% tags=["hide-input"]
pages.show_boards("hrf", datasets.get("hrf", []), benchmark=benchmark)

# %% tags=["hide-input"] mystnb={"image": {"alt": "A square grid on HRF, networks in rows and columns from the best mean rank to the worst; colour says on which share of the test images the row has the higher Dice, a star marks differences that are real after Holm's correction."}, "figure": {"caption": "HRF: how often each network beats each other one. A star: a real difference after Holm's correction.", "name": "fig-protocol-dominance-hrf"}}
figures.show(figures.dominance_figure(datasets.get("hrf", [])))

# %% tags=["hide-input"]
pages.show_quoted("hrf", background, parameters.profile)

# %% [markdown]
# ## STARE

# %% tags=["hide-input"]
pages.show_boards("stare", datasets.get("stare", []), benchmark=benchmark)

# %% tags=["hide-input"] mystnb={"image": {"alt": "A square grid on STARE, networks in rows and columns from the best mean rank to the worst; colour says on which share of the test images the row has the higher Dice, a star marks differences that are real after Holm's correction."}, "figure": {"caption": "STARE: how often each network beats each other one. A star: a real difference after Holm's correction.", "name": "fig-protocol-dominance-stare"}}
figures.show(figures.dominance_figure(datasets.get("stare", [])))

# %% tags=["hide-input"]
pages.show_quoted("stare", background, parameters.profile)

# %% [markdown]
# ## Which differences are real
#
# The signed-rank test on n images cannot give a p below 2 / 2ⁿ, however large a difference is. Where that lies above Holm's
# strictest level, no pair can pass, and an empty matrix says nothing about the networks.

# %% tags=["hide-input"]
pages.show_power(datasets)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Networks by their mean rank on the DRIVE test images, best first; bars below join networks whose ranks lie within the critical difference."}, "figure": {"caption": "Mean ranks on DRIVE. Networks that a bar joins lie within Nemenyi's critical difference (5 % level) of each other.", "name": "fig-protocol-ranks"}}
figures.show(figures.critical_difference_figure(drive))

# %% [markdown]
# ## Accuracy against size and time

# %% tags=["hide-input"] mystnb={"image": {"alt": "For each data set two panels: mean Dice of the networks against their parameters and against CPU seconds, both on logarithmic axes; lines mark the filters and the second observer."}, "figure": {"caption": "Dice against parameters and against CPU time. Vertical bars: 95 % intervals over images and seeds. The axis names the source of the times; no panel mixes two.", "name": "fig-protocol-cost"}}
figures.show(figures.cost_figure(datasets, benchmark))

# %% tags=["hide-input"]
display(Markdown(findings.time_sentence(datasets, benchmark)))

# %% [markdown]
# ## Curves
#
# Curves are recomputed from the score histograms of the records, over the pooled pixels of a run's test images, and averaged
# over seeds.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: the upper left corner of the ROC curves on DRIVE; right: precision-recall curves. The best networks, U-Net and the filters are named, the others grey; the second observer is a single point."}, "figure": {"caption": "ROC (its corner) and precision-recall on DRIVE. The second observer is one point.", "name": "fig-protocol-curves"}}
figures.show(figures.curve_figure(drive))

# %% [markdown]
# **Calibration.** Pixels inside the FOV are put into ten equal bins of predicted probability. The expected calibration error
# (ECE) is the mean, over pixels, of the distance between a bin's mean prediction and the share of vessel pixels in it.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Reliability diagram on DRIVE: share of vessel pixels against mean predicted probability in ten bins, a line a network, beside the diagonal of perfect calibration."}, "figure": {"caption": "Calibration on DRIVE, all test pixels inside the FOV and all seeds together; the best, the worst and U-Net are named.", "name": "fig-protocol-calibration"}}
figures.show(figures.calibration_figure(drive))

# %% [markdown]
# ## Thin vessels, broken vessels
#
# Dice is carried by the wide vessels. Recall of the true centre line by vessel width, and the Betti-0 error (how many pieces
# a segmentation has more or fewer than the labels, position aside), see what it does not.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Three panels for thin, medium and wide vessels on DRIVE: recall of the centre line with its interval for each network, filter and the second observer."}, "figure": {"caption": "Recall of the true centre line by vessel width, DRIVE.", "name": "fig-protocol-width"}}
figures.show(figures.width_figure(drive))

# %% tags=["hide-input"] mystnb={"image": {"alt": "Betti-0 error on DRIVE with its interval, one line each for networks, filters and the second observer, the smallest error at the top."}, "figure": {"caption": "Pieces too many or too few, DRIVE.", "name": "fig-protocol-betti"}}
figures.show(figures.betti_figure(drive))

# %% tags=["hide-input"] mystnb={"image": {"alt": "Vessels of the first DRIVE test image, every connected piece in a colour of its own and the largest in grey: by the labels, by the second observer, and by the best network, which has many small pieces."}, "figure": {"caption": "One image in its pieces: the largest in grey, every other one in a colour and drawn wider than it is.", "name": "fig-protocol-pieces"}}
figures.show(figures.pieces_figure(drive))

# %% [markdown]
# ## What a protocol fault brings
#
# The same predictions of the same networks on DRIVE, scored as one should not.
#
# - **Whole frame.** The black surround is counted too. What that does depends on what a network says there, and nothing makes
#   ours say anything in particular: their loss looks inside the FOV alone (`loss_region: fov`). So the frame is counted
#   twice: with the networks' own output, and with nothing found outside the FOV, which is what a paper scores that cuts its
#   predictions to the FOV or trains on the surround until it is black. The second is how high accuracies of whole frames
#   come about: every pixel of the surround is one that cannot be got wrong.
# - **Threshold.** Picked for the highest mean Dice on the test images, or for each test image by itself.
# - **Resized truth.** Logits and labels brought to one square grid, labels by the nearest pixel, as pipelines do that resize
#   a data set once. It needs a network's weights, which stay on the machine that trained it, so its line can rest on fewer
#   networks than the others.
# - **Best epoch.** One network, trained again and scored on the test images on the way: its best epoch against its last.
#
# A line without numbers has not been run.

# %% tags=["hide-input"]
report.style(
    comparison.fault_table(costs, drive),
    "DRIVE: what each fault adds, mean over networks, and its range over networks.",
)

# %% tags=["hide-input"]
if (sentence := findings.surround_sentence(drive)) is not None:
    display(Markdown(sentence))
