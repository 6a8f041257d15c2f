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
# # One recipe
#
# A paper that proposes a network trains it by a recipe: a loss, an augmentation, a schedule, a size of patches. When it
# wins, how much of that is architecture and how much is recipe? Here one small U-Net stays as it is, and the recipe changes
# one thing at a time. The recipe for all networks is chosen from what this page measures, and nothing else.

# %% [markdown]
# ## Parameters
#
# papermill replaces these by name. The starting recipe is run with every seed, each change of it with the first one.

# %% tags=["parameters"]
profile: str = "lite"  # smoke: phantoms; lite: real images, small; paper: ten times the steps
data_root: str = None  # folder of the data sets; None: RETLIB_DATA
records: str = None  # folder of the records; None: the book's own
device: str = "auto"  # auto, cpu, cuda, cuda:1
seeds: list = [0, 1, 2]  # of the starting recipe; their spread is the noise
train: str = "never"  # missing, never, always: which records to make

# %% tags=["hide-input"]
from retlib.report import check_parameters

parameters = check_parameters(globals())

# %% tags=["hide-input", "remove-output"]
import matplotlib.pyplot as plt
from IPython.display import Markdown, display

from retlib import report
from retlib.data import split_names
from retlib.report import recipe, recipe_figures, recipe_frames, shipped
from retlib.studies import load_study
from retlib.study import StudyFile, figures

figures.set_style()
study = load_study("recipe")
ablation = recipe.open_ablation(parameters)
networks = recipe.network_means(parameters, ".", ablation.profile)
groups = recipe_frames.spread_groups(ablation, networks)
NO_RECORD = "No record yet: run this notebook with train='missing'."

# %% [markdown]
# ## The rule
#
# Written down before any of these runs was looked at, here and in the code that applies it.
#
# 1. Every run trains on the same part of the training images and is scored on the rest of them, inside the field of view, on
#    the native grid, with the threshold from the images that it was trained on.
# 2. The starting recipe, *the base*, is run with several seeds. The **noise band** of a metric is the 95 % prediction
#    interval for one more run of the base: with the standard deviation $s$ over $n$ seeds, $t_{n-1}\,s\sqrt{1 + 1/n}$ to
#    either side of their mean.
# 3. A change is **better** in a metric if its mean over the images lies beyond the band and it is better than the base on
#    each single image; **worse** likewise. A change that leaves the network as it is and applies it in another way is held
#    against that very network: the seed has no part in it, so the band need not be passed to be better.
# 4. A change is a **gain** if it is better in at least one of Dice, AUC, clDice and the Betti-0 error, and worse in none
#    of them; a **loss** if it is worse in one; otherwise it is not decided.
# 5. Of each factor the gain with the highest Dice is adopted. Where there is no gain, the base stays.

# %% [markdown]
# ## What we found
#
# Every number is read from a record.

# %% tags=["hide-input"]
lines = recipe_frames.findings(ablation, groups)
if ablation.profile == "smoke":
    lines = ["This is a smoke run on phantoms: the pipeline works from end to end, and no number here means anything."]
display(Markdown("\n".join(f"- {line}" for line in lines)))

# %% [markdown]
# ## Why no test image could be seen
#
# The study is *sealed*: its runs are refused, before anything is loaded, as soon as one of them names an image that is not
# a training image. This is what happens to the base when its file is changed to score the test images instead:

# %%
opened = study.model_dump(by_alias=True, exclude_unset=True)
opened["runs"]["base"]["test"] = [{"dataset": "drive", "split": "test"}]
try:
    StudyFile.parse(opened).runs("lite")
except ValueError as error:
    print(error)

# %% tags=["hide-input"]
base = study.runs("lite")["base"]
held_out = [name for selection in base.test for name in selection.names()]
seen = {*base.train.names(), *held_out}
print(f"trained on: {', '.join(base.train.names())}")
print(f"scored on:  {', '.join(held_out)}")
print(
    f"of {len(split_names('drive', 'test'))} test images, {len(seen & set(split_names('drive', 'test')))} are among them"
)

# %% [markdown]
# ## Noise
#
# What a new seed does when nothing else changes.

# %% tags=["hide-input"]
report.style(recipe_frames.noise_frame(ablation), "The base on the held-out images, and the noise band of its seeds.")

# %% [markdown]
# What cannot be decided here:

# %% tags=["hide-input"]
display(Markdown(recipe_frames.luck_sentence(ablation)))

# %% [markdown]
# ## One change at a time
#
# Each number is the change against the base, mean over the held-out images; an asterisk marks what is better or worse by the
# rule. *Thin-vessel recall* is the share of the label's centre line that is found where vessels are at most two pixels wide.

# %% tags=["hide-input"]
display(Markdown(recipe_frames.time_sentence(ablation)))
report.style(recipe_frames.change_frame(ablation), "Each change of the recipe against the base.")

# %% tags=["hide-input"] mystnb={"image": {"alt": "A line a change of the recipe and a panel a metric: the change on each held-out image as a small dot and their mean as a large one, beside a grey band around zero, which is what a new seed does. Most means lie within the band."}, "figure": {"caption": "Each change against the base: held-out images (small), their mean (large), and the noise band of the seeds.", "name": "fig-recipe-forest"}}
recipe_figures.forest_figure(ablation)
plt.show()

# %% [markdown]
# Patches of three sizes stand for *patches or full images*: the largest covers most of a photograph, and every run sees about
# as many pixels a step. A change of `four times the steps` costs four times as long; the rule does not weigh that.

# %% [markdown]
# ## What the rule picks
#
# Beside it, what the [comparison of the networks](one_protocol.ipynb) trains with, and what our own network beside that
# comparison does, where the profile has one. Where a column departs from the rule, it was not this rule that chose.

# %% tags=["hide-input"]
protocol = load_study("one-protocol").runs(ablation.profile, dataset="drive")
used = {"the comparison": "drive-unet", "our own network": "drive-unet-chosen"}
report.style(
    recipe_frames.choice_frame(ablation, {title: protocol[name] for title, name in used.items() if name in protocol}),
    "What the rule adopts for each factor, and what runs of the comparison have.",
)

# %% [markdown]
# ## Which network ships
#
# What the search suggests is trained for longer, with large and with small patches, on the same part of the training images,
# and each network, and the mean of the two, is scored on the rest as it would ship: by four passes in bfloat16 where the
# processor has it, small pieces removed, and the kernels of the mean rounded to 16 bits. The rule was written before:

# %% tags=["hide-input"]
shortlist = shipped.open_shortlist(parameters)
display(Markdown(f"> {load_study('shipped').about}"))
display(Markdown(shipped.shipped_sentence(shortlist)))

# %% tags=["hide-input"]
report.style(shipped.candidate_frame(shortlist), "What might ship, on the held-out images.")

# %% [markdown]
# The rule looks at four images and one seed. The line of another seed shows how much luck is in that: candidates that lie
# closer together than the two seeds of one of them cannot be told apart.
#
# Seconds are those of one core for the vessel map of one image, without the search for the field of view. The network that
# ships is the one that the rule takes, trained on all training images; the [comparison of the networks](one_protocol.ipynb)
# has its scores on the test images, and [a page of its own](../book/predict.md) says how to use it.

# %% [markdown]
# ## Learning curves
#
# Dice on the patches that are being trained on. Augmented patches are harder, so a lower curve is not a worse network.

# %% tags=["hide-input"] mystnb={"image": {"alt": "A panel for each factor: Dice on the training patches over the share of the epochs that has passed, grey for the seeds of the base and coloured for its changes. Curves rise steeply and level off."}, "figure": {"caption": "Dice on the training patches; the base in grey.", "name": "fig-recipe-curves"}}
if ablation.base:
    recipe_figures.curves_figure(ablation)
    plt.show()
else:
    print(NO_RECORD)

# %% [markdown]
# ## How much is architecture and how much is recipe?
#
# The networks were scored on DRIVE's test images and the recipes on held-out training images, so levels cannot be put side by
# side. What can be compared is how far apart networks lie when the recipe is the same, and recipes when the network is.

# %% tags=["hide-input"]
report.style(recipe_frames.spread_frame(groups), "How far scores spread over seeds, recipes, sizes and networks.")

# %% tags=["hide-input"] mystnb={"image": {"alt": "Four rows of dots in each panel: seeds of one recipe, recipes, sizes of one network, and networks, each as its distance from the row's median, for Dice, AUC, clDice and the Betti-0 error."}, "figure": {"caption": "Seeds, recipes, sizes and networks: distance of each from the median of its row.", "name": "fig-recipe-spread"}}
recipe_figures.spread_figure(groups)
plt.show()
