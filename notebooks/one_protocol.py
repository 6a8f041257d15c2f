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
# # One protocol for all
#
# Every network of the study meets every other here: one recipe, networks of about one size, the same training images, the
# same rule for the threshold, scored on the native pixel grid inside the field of view. Two filters that need no training,
# the second observer and published results stand beside them.

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
from retlib.comparison import figures, findings, pages
from retlib.report.figures import set_style

set_style()
protocol = comparison.open_comparison(parameters)

# %% [markdown]
# What is missing is made here, if the parameters say so: the networks, the baselines beside them, and the two protocol
# faults that need predictions of their own.

# %% tags=["hide-input", "remove-output"]
protocol.train()
comparison.make_fault_records(protocol)

# %% tags=["hide-input"]
datasets = protocol.contenders()
drive = datasets["drive"]
costs = comparison.all_costs(protocol, drive)
background = audit.load_background(protocol.store.path)

# %% [markdown]
# ## What we found
#
# Every number below is read from a record or from a quoted source; nothing is typed.

# %% tags=["hide-input"]
lines = [
    *findings.best_sentences(datasets),
    *findings.power_sentences(datasets),
    *findings.observer_sentences(datasets),
    *(findings.size_sentence(contenders) for contenders in datasets.values()),
    findings.calibration_sentence(drive),
    *findings.fault_sentences(costs),
    findings.peer_sentence(drive),
]
if parameters.profile == "smoke":
    lines = ["This is a smoke run on phantoms: the pipeline works from end to end, and nothing here compares networks."]
display(Markdown("\n".join(f"- {line}" for line in lines if line)))

# %% [markdown]
# ## The rules
#
# - **Splits.** DRIVE 20/20 as published, CHASE_DB1 20/8, HRF 15/30 (the first five of each class train), STARE in five folds
#   whose test parts are joined, so that each image is scored once, by a network that never saw it.
# - **Scores.** Inside the FOV, on the photograph's own grid, averaged over images. The threshold is the one with the highest
#   pooled Dice on the training images.
# - **Intervals.** 95 % percentile intervals of a two-level bootstrap: images are drawn with replacement, the same ones for
#   every seed, and seeds are drawn with replacement. With a single seed an interval speaks of the images alone.
# - **Differences.** Wilcoxon's signed-rank test on the images' Dice (means over seeds), for all pairs of networks, with
#   Holm's correction over the pairs of a data set. Networks against the second observer are a family of their own.
# - **Baselines.** Frangi's filter and the matched filter of Chaudhuri et al. take their scales and their threshold from the
#   training images. The second observer's label is scored as a segmentation; it ranks no pixels, so it has no AUC.
# - **Quoted rows.** As printed, each with its source and with what its own numbers imply of the scored region.

# %% [markdown]
# ## DRIVE

# %% tags=["hide-input"]
pages.show_boards("drive", datasets.get("drive", []))

# %% tags=["hide-input"] mystnb={"image": {"alt": "A square grid on DRIVE, networks in rows and columns from the best mean rank to the worst; colour says on which share of the test images the row has the higher Dice, a star marks differences that are real after Holm's correction."}, "figure": {"caption": "DRIVE: how often each network beats each other one. A star: a real difference after Holm's correction.", "name": "fig-protocol-dominance-drive"}}
figures.show(figures.dominance_figure(datasets.get("drive", [])))

# %% tags=["hide-input"]
pages.show_quoted("drive", background, parameters.profile)

# %% [markdown]
# ## CHASE_DB1

# %% tags=["hide-input"]
pages.show_boards("chase_db1", datasets.get("chase_db1", []))

# %% tags=["hide-input"] mystnb={"image": {"alt": "A square grid on CHASE_DB1, networks in rows and columns from the best mean rank to the worst; colour says on which share of the test images the row has the higher Dice, a star marks differences that are real after Holm's correction."}, "figure": {"caption": "CHASE_DB1: how often each network beats each other one. A star: a real difference after Holm's correction.", "name": "fig-protocol-dominance-chase-db1"}}
figures.show(figures.dominance_figure(datasets.get("chase_db1", [])))

# %% tags=["hide-input"]
pages.show_quoted("chase_db1", background, parameters.profile)

# %% [markdown]
# ## HRF

# %% tags=["hide-input"]
pages.show_boards("hrf", datasets.get("hrf", []))

# %% tags=["hide-input"] mystnb={"image": {"alt": "A square grid on HRF, networks in rows and columns from the best mean rank to the worst; colour says on which share of the test images the row has the higher Dice, a star marks differences that are real after Holm's correction."}, "figure": {"caption": "HRF: how often each network beats each other one. A star: a real difference after Holm's correction.", "name": "fig-protocol-dominance-hrf"}}
figures.show(figures.dominance_figure(datasets.get("hrf", [])))

# %% tags=["hide-input"]
pages.show_quoted("hrf", background, parameters.profile)

# %% [markdown]
# ## STARE

# %% tags=["hide-input"]
pages.show_boards("stare", datasets.get("stare", []))

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

# %% tags=["hide-input"] mystnb={"image": {"alt": "For each data set two panels: mean Dice of the networks against their parameters and against CPU seconds an image, both on logarithmic axes; lines mark the filters and the second observer."}, "figure": {"caption": "Dice against parameters and against CPU time. Vertical bars: 95 % intervals over images and seeds. Times are those of the machine that made the records, which was busy with other work.", "name": "fig-protocol-cost"}}
figures.show(figures.cost_figure(datasets))

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
# The same predictions of the same networks on DRIVE, scored as one should not: the whole frame counted, a threshold or an
# epoch chosen on the test images, labels that were resized. A line without numbers has not been run.

# %% tags=["hide-input"]
report.style(
    comparison.fault_table(costs), "DRIVE: what each fault adds, mean over networks, and its range over networks."
)
