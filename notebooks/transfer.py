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
# # From one data set to another
#
# A network is trained on the photographs of one camera and used on those of another. This page trains one small U-Net on
# each of four data sets, by one recipe, and scores it on all four: as it is, after training on phantoms first, in changed
# colours, and on phantoms alone. Nothing of the tested set is ever used: even the threshold comes from the images that
# were trained on.

# %% [markdown]
# ## Parameters
#
# papermill replaces these by name. The defaults show the records that come with the book and train nothing.

# %% tags=["parameters"]
profile: str = "lite"  # smoke: phantoms; lite: real images, small; paper: ten times the steps
data_root: str = None  # folder of the data sets; None: RETLIB_DATA
records: str = None  # folder of the records; None: the book's own
device: str = "auto"  # auto, cpu, cuda, cuda:1
seeds: list = [0]  # one run a seed
train: str = "never"  # missing, never, always: which records to make

# %% tags=["hide-input"]
from retlib.report import check_parameters

parameters = check_parameters(globals())

# %% tags=["hide-input", "remove-output"]
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown, display

from retlib import report
from retlib.data.phantoms import make_phantom
from retlib.report import transfer, transfer_figures, transfer_frames
from retlib.studies import load_study
from retlib.study import figures

figures.set_style()
study = load_study("transfer")
found = transfer.open_transfer(parameters)
NO_RECORD = "No record yet: run this notebook with train='missing'."

# %% [markdown]
# ## What we found
#
# Every number is read from a record.

# %% tags=["hide-input"]
lines = transfer_frames.findings(found)
if found.profile == "smoke":
    lines = ["This is a smoke run on phantoms: the pipeline works from end to end, and no number here means anything."]
display(Markdown("\n".join(f"- {line}" for line in lines)))

# %% [markdown]
# ## How it is measured
#
# - The field of view is scaled to one size for every data set before the network sees it, so that vessels are about as wide
#   in pixels whatever the camera. Scores are taken on the native grid, inside the field of view, as means over images.
# - The threshold is the one with the highest Dice on the network's own training images.
# - STARE has no test half. Networks that were trained elsewhere are scored on all of its photographs; the network of STARE
#   itself in five folds, so that each photograph is scored by a network that has not seen it. On the other sets the network
#   that was trained on all of STARE is scored.
# - Of HRF a balanced part of the test images is scored in the `lite` profile, because a photograph of eight megapixels takes
#   long to score; the `paper` profile scores them all.
# - The second observer, where a data set has one, is scored against the first on the same images.

# %% tags=["hide-input"]
report.style(transfer_frames.image_frame(found), "The images that each column is scored on.")

# %% tags=["hide-input"]
configs = study.runs(found.profile)
report.style(
    pd.DataFrame(
        {
            "run": name,
            "first on": None if config.pretraining is None else config.pretraining.train.label,
            "trained on": f"{config.train.label} ({len(config.train.names())})",
            "scored on": ", ".join(f"{selection.label} ({len(selection.names())})" for selection in config.test),
        }
        for name, config in configs.items()
    ),
    "The runs, with numbers of images.",
)

# %% [markdown]
# ## The matrix
#
# A row is what a network was trained on, a column what it was scored on. Intervals are 95 % bootstrap intervals over the
# images (and seeds, where there are several).

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two heat maps, Dice and AUC: a row for each kind of training, a column for each tested data set, with the number in each cell and a frame around the cells where both are the same data set."}, "figure": {"caption": "Dice and AUC by training (rows) and tested data set (columns); home is framed.", "name": "fig-transfer-matrix"}}
transfer_figures.matrix_figure(found)
plt.show()

# %% tags=["hide-input"]
report.style(transfer_frames.matrix_frame(found, "dice"), "Dice inside the FOV, with its interval over images.")

# %% tags=["hide-input"]
report.style(transfer_frames.matrix_frame(found, "auc"), "AUC inside the FOV. A person's label ranks no pixels.")

# %% [markdown]
# ## What is lost away from home
#
# Each network against the one that was trained on the tested set itself, on the same images. The last column gives both
# networks the threshold that is best on the tested images: what is left then is lost in ranking, and the rest by a threshold
# that does not fit the other camera. No such threshold is available in practice.

# %% tags=["hide-input"] mystnb={"image": {"alt": "A line for each pair of data sets, with the difference of Dice and of AUC to the network that was trained on the tested set as a dot with its interval."}, "figure": {"caption": "Away from home: difference to the network that was trained on the tested set, with 95 % intervals over images.", "name": "fig-transfer-losses"}}
losses = transfer_frames.losses(found)
transfer_figures.difference_figure(found, losses, "the network of the tested set")
plt.show()

# %% tags=["hide-input"]
report.style(transfer_frames.difference_frame(found, losses), "Away from home, against the network of the tested set.")

# %% tags=["hide-input"]
display(Markdown(transfer_frames.power_sentence(found, losses)))

# %% [markdown]
# ## Phantoms first
#
# A phantom is a fundus photograph made by code, with a label that is exact. These are of the kind that the networks were
# first trained on: lesions are drawn and belong to the background.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Three synthetic fundus photographs with vessel trees that branch from an optic disc, dark and bright lesions, and their labels below."}, "figure": {"caption": "Phantoms with lesions, and their labels.", "name": "fig-transfer-phantoms"}}
figures.gallery({f"phantom {seed}": make_phantom(seed, lesions=True) for seed in range(3)})
plt.show()

# %% [markdown]
# Each network that was trained on phantoms first, against the same without. It has taken more steps in all, so a gain is
# not of the phantoms alone, and where there is none, they brought nothing.

# %% tags=["hide-input"] mystnb={"image": {"alt": "A line for each training and tested data set, with the change of Dice and of AUC that training on phantoms first brings as a dot with its interval."}, "figure": {"caption": "Phantoms first: difference to the same network without, with 95 % intervals over images.", "name": "fig-transfer-gains"}}
gains = transfer_frames.gains(found, transfer.Change.PHANTOMS_FIRST)
transfer_figures.difference_figure(found, gains, "the same without phantoms")
plt.show()

# %% tags=["hide-input"]
report.style(transfer_frames.difference_frame(found, gains), "Phantoms first, against the same network without.")

# %% tags=["hide-input"]
display(Markdown(transfer_frames.power_sentence(found, gains)))

# %% [markdown]
# ## Changed colours
#
# The recipe turns and mirrors a patch and leaves its colours alone, so a network knows those of one camera. Here exposure,
# gamma and tint of every patch are drawn anew; the number of steps and all else stay. These runs were added when the
# matrix had been seen, to find out why some of its cells are so low; they are judged as phantoms first are.

# %% tags=["hide-input"] mystnb={"image": {"alt": "A line for each training and tested data set, with the change of Dice and of AUC that changed colours bring as a dot with its interval."}, "figure": {"caption": "Changed colours: difference to the same network without, with 95 % intervals over images.", "name": "fig-transfer-colours"}}
colours = transfer_frames.gains(found, transfer.Change.COLOURS)
transfer_figures.difference_figure(found, colours, "the same without")
plt.show()

# %% tags=["hide-input"]
report.style(transfer_frames.difference_frame(found, colours), "Changed colours, against the same network without.")

# %% tags=["hide-input"]
display(Markdown(transfer_frames.power_sentence(found, colours)))

# %% [markdown]
# The network with the lowest Dice away from home, without and with changed colours, on the first image of each data set.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Error maps of one image of each data set in two rows: of one network above, and of the same trained in changed colours below, with found vessels in dark grey, missed vessels in orange and false alarms in blue."}, "figure": {"caption": "The network that does worst away from home (top), and the same with changed colours (bottom).", "name": "fig-transfer-colour-errors"}}
worst = transfer_frames.worst_training(found)
rows = [] if worst is None else [worst, worst._replace(change=transfer.Change.COLOURS)]
if transfer_figures.error_figure(found, rows) is not None:
    plt.show()
else:
    print(NO_RECORD)

# %% [markdown]
# ## Phantoms alone
#
# A network that never saw a photograph, against the one that was trained on the tested set.

# %% tags=["hide-input"]
report.style(
    transfer_frames.difference_frame(found, transfer_frames.phantoms_alone(found)),
    "Phantoms alone, against the network of the tested set.",
)

# %% [markdown]
# ## The same photograph, trained elsewhere
#
# Error maps of the first image of each data set. The networks that were trained on phantoms first look like those without.

# %% tags=["hide-input"] mystnb={"image": {"alt": "A grid of error maps, a row for each training and a column for each tested image: found vessels in dark grey, missed vessels in orange and false alarms in blue."}, "figure": {"caption": "One image of each data set (columns), by what the network was trained on (rows).", "name": "fig-transfer-errors"}}
plain = [training for training in found.trainings if not training.change]
if transfer_figures.error_figure(found, plain) is not None:
    plt.show()
else:
    print(NO_RECORD)
