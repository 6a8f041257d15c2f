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
# # A network for unseen cameras
#
# A network is worth most on photographs of a camera that it has not seen. So one data set is left out at a time: a small U-Net
# is trained on the other three and scored on the one left out. What helps is found in this way, one change at a time, and the
# network that [comes with retlib](model_card.ipynb) is made of it. Test images take no part: DRIVE, CHASE_DB1 and HRF are their
# official training parts here, and STARE, which has no split, is whole.

# %% tags=["parameters", "hide-input"]
profile: str = "lite"  # smoke: synthetic images; lite: 600 steps a run; paper: 6000
data_root: str = None  # folder of the data sets; None: RETLIB_DATA
records: str = None  # folder of the records; None: the book's own
device: str = "auto"  # auto, cpu, cuda, cuda:1
seeds: list = [0]  # one run a seed
train: str = "never"  # missing, never, always: which records to make

# %% tags=["hide-input"]
from retlib.study import check_parameters

parameters = check_parameters(globals())

# %% tags=["hide-input", "remove-output"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from matplotlib_inline.backend_inline import set_matplotlib_formats

from retlib import audit
from retlib.data.registry import COLLECTIONS
from retlib.study import Record, figures, in_short, open_study, results
from retlib.study.tables import configuration, number_text, signed, style

figures.set_style()
plt.rcParams["svg.hashsalt"] = "cameras"  # a page that is built twice is the same page
set_matplotlib_formats("svg", metadata={"Date": None})
NO_RECORD = "No record yet: run this notebook with `train='missing'`."
SETS = {name: item.title for name, item in COLLECTIONS.items()}
BASE = "the recipe, working size 640"
CHANGES = {
    "cameras": "gray, light, blur, noise, JPEG",
    "scale": "scale changed by 0.5 to 1.6",
    "larger": "working size 800",
    "smaller": "working size 512",
    "local": "local normalisation",
    "averaged": "local normalisation, averaged weights",
    "local640": "local normalisation, working size 640",
    "scales": "local normalisation, two scales",
    "synthetic": "local normalisation, synthetic images first",
    "combined": "local normalisation, two scales, synthetic images first",
}

# The change that each was tried on top of.
BUILT_ON = {"local": "smaller"} | dict.fromkeys(("averaged", "local640", "scales", "synthetic"), "local")
BUILT_ON["combined"] = "synthetic"

# %% tags=["hide-input"]
study = open_study("cameras", parameters)
study.train(study.source.plan(parameters.profile))
summary = display(Markdown("Filled in at the end of the page, when its numbers are known."), display_id="summary")

# %% [markdown]
# ## What each change brings
#
# A run's name says which data set was left out, and what was changed: `without-stare-cameras`. Its Dice is the mean over the
# images of that set, inside the field of view, at the threshold with the highest pooled Dice on the run's own training images.
# The working size is the width in pixels to which the field of view is scaled. Gray, light, blur and scale are augmentations.
# Local normalisation takes the mean of the surroundings away from each pixel and divides by their standard deviation
# ({py:func}`retlib.preprocessing.local_normalisation`); averaged weights are a moving average over the last hundred steps.
# Networks with local normalisation see the green channel alone, at a working size of 512 where no other is named.
# With two scales a photograph is segmented at 0.875 and 1.125 times the working size, with two of the four flips, and each
# pixel keeps its highest probability. *Synthetic images first* is half as many steps again, before the others.

# %%
scores = results.best_profile(study.scores().query("region == 'fov' and average == 'image'"), each="role")
scores["change"] = [CHANGES.get(run.split("-")[-1], BASE) for run in scores["run"]]
left_out = scores[scores["run"].str.startswith("without-")]
means = left_out.groupby(["change", "metric", "dataset"])["value"].mean().unstack("dataset").reindex(columns=list(SETS))
means["mean"] = means.mean(axis=1, skipna=False)  # of the four sets; none while a fold has no record
dice, cldice = (
    means.query("metric == @metric").droplevel("metric").reindex([BASE, *CHANGES.values()])
    for metric in ("dice", "cldice")
)
gain = dice["mean"] - dice.loc[BASE, "mean"]

# %% tags=["hide-input"]
table = dice.rename(columns=SETS).map(number_text)
table["mean clDice"] = cldice["mean"].map(number_text)
table["against the recipe"] = [signed(value) if name != BASE else "" for name, value in gain.items()]
style(table.rename_axis("trained with").reset_index(), "Mean Dice on the data set left out. One seed; 600 steps a run.")

# %% [markdown]
# ## The rule

# %% tags=["hide-input"]
display(Markdown(f"> {study.source.about}"))

# %%
single = gain.drop(BASE)
before = {CHANGES[change]: CHANGES[start] for change, start in BUILT_ON.items()}
kept = [change for change in single.index if single[change] > gain[before.get(change, BASE)]]
taken = dice["mean"].idxmax() if dice["mean"].notna().any() else None

# %% tags=["hide-input"]
if taken is None:
    display(Markdown(NO_RECORD))
else:
    display(
        Markdown(
            f"Kept: {'; '.join(kept) or 'nothing'}. Of all rows of the table, *{taken}* has the highest mean Dice, "
            f"{number_text(dice.loc[taken, 'mean'])}, and the network that ships is trained with it. With one seed, changes that lie closer together than two "
            "seeds of one of them cannot be told apart."
        )
    )

# %% [markdown]
# ## Choice of threshold for unseen cameras
#
# Probabilities shift from camera to camera. Four thresholds, from the score histograms of the records: the one of the training
# images; one half; for each image, the one at which as many pixels are marked as the probabilities add up to; and, as a bound that
# nobody can reach without labels, the best one for each data set.


# %%
def rule_scores(record: Record) -> dict[str, float]:
    """Compute the mean Dice over the images of a record's test set by each rule."""
    histograms = record.histograms().select("fov", pooled=False)
    vessels, background = (part.sum(axis=1, keepdims=True) for part in (histograms.vessel, histograms.background))
    false_positive_rate, recall, thresholds = histograms.roc_curve()  # (images, thresholds)
    marked = recall * vessels + false_positive_rate * background
    score = 2 * recall * vessels / (marked + vessels)
    edges = histograms.thresholds
    inside = np.concatenate([edges[:1], (edges[1:] + edges[:-1]) / 2, edges[-1:]])  # probability of each bin's pixels
    expected = (histograms.vessel + histograms.background) @ inside
    by_area = np.abs(marked - expected[:, None]).argmin(axis=1)
    return {
        "of the training images": score[:, np.abs(thresholds - record.content["threshold"]).argmin()].mean(),
        "one half": score[:, np.abs(thresholds - 0.5).argmin()].mean(),
        "for each image, by its expected area": np.take_along_axis(score, by_area[:, None], axis=1).mean(),
        "best for the data set (needs labels)": score.mean(axis=0).max(),
    }


shown = taken or BASE
records_of = left_out[left_out["change"] == shown].groupby("dataset")["record"].first()
rules = pd.DataFrame({name: rule_scores(Record.read(folder)) for name, folder in records_of.items()}, dtype=float)
rules = rules.reindex(columns=list(SETS))
rules["mean"] = rules.mean(axis=1, skipna=False)

threshold = rules["mean"].iloc[:3].idxmax() if rules["mean"].notna().any() else None

# %% tags=["hide-input"]
if threshold is None:
    display(Markdown(NO_RECORD))
else:
    table = rules.rename(columns=SETS).map(number_text).rename_axis("threshold").reset_index()
    display(style(table, f"Mean Dice on the data set left out by threshold ({shown})."))
    lost = rules["mean"].iloc[3] - rules.loc[threshold, "mean"]
    display(
        Markdown(
            f"Of those that need no labels, *{threshold}* has the highest mean, {number_text(rules.loc[threshold, 'mean'])}, and it ships. The best threshold for each data set "
            f"would bring {number_text(lost)} more: how wide and how fine vessels are drawn differs from annotator to annotator."
        )
    )

# %% [markdown]
# ## Beside a network of one camera, and a network of the same camera
#
# The first two rows have the same recipe, the same number of steps and the thresholds of their training images. The third has
# what ships, threshold included. The last row is what the reference model reaches when it is trained on *the same* data set:
# printed by Idiap, on test images, and not comparable image by image.

# %%
alone = scores[scores["run"] == "drive-alone"].assign(dataset=lambda rows: rows["test"].str.split(":").str[0])
alone = alone[alone["metric"] == "dice"].groupby("dataset")["value"].mean().reindex(list(SETS))
reference = next(row for row in audit.list_published() if row.label == "Little W-Net")

others = [name for name in SETS if pd.notna(alone[name])]
lost_on, gained_on = (
    [SETS[name] for name in others if sign * (dice.loc[BASE, name] - alone[name]) > 0] for sign in (1, -1)
)

# %% tags=["hide-input"]
rows = {"DRIVE alone": alone, "three other data sets, the recipe": dice.loc[BASE, list(SETS)]}
if threshold is not None:
    rows[f"three other data sets, as it ships ({taken}, threshold {threshold})"] = rules.loc[threshold, list(SETS)]
table = pd.DataFrame(rows).T.rename(columns=SETS).map(number_text)
if parameters.profile != "smoke":  # never beside synthetic images
    table.loc["the same data set: Little W-Net, as printed by Idiap"] = [
        reference.scores[name]["dice"] for name in SETS
    ]
display(style(table.rename_axis("trained on").reset_index(), "Mean Dice by training data. A dash: no such number."))
one_camera = (
    f"Against the same recipe on three data sets, a network trained on DRIVE alone loses on {' and '.join(lost_on) or 'no set'} and "
    f"gains on {' and '.join(gained_on) or 'no set'}; the mean Dice of these sets is {number_text(alone[others].mean())}, against "
    f"{number_text(dice.loc[BASE, others].mean())}"
    + (f", and {number_text(rules.loc[threshold, others].mean())} with what ships." if threshold else ".")
)
display(Markdown(one_camera if others else ""))

# %% [markdown]
# ## How it was run

# %% tags=["hide-input"]
style(configuration(study.source, "without-drive").reset_index(), "The recipe: every setting that is not a default.")

# %% [markdown]
# ## How to re-run
#
# ```bash
# retlib reproduce cameras --profile lite        # all runs, about five minutes each on one core
# ```

# %% tags=["hide-input"]
lines = []
if threshold is not None:
    low = rules.loc[threshold, list(SETS)]
    lines.append(
        f"Trained on three data sets and scored on the fourth, networks with the settings and the threshold of what ships ({threshold}) "
        f"reach a Dice of {low.min():.3f} ({SETS[low.idxmin()]}) to {low.max():.3f} ({SETS[low.idxmax()]}), "
        f"{rules.loc[threshold, 'mean']:.4f} in the mean (one seed)."
    )
    if others:
        lines.append(one_camera)
    lines.append(
        f"Of the changes, *{single.idxmax()}* raises the mean most ({signed(single.max())}), and *{single.idxmin()}* "
        f"is at the other end ({signed(single.min())}). The best threshold for each set would bring {lost:.3f} more."
    )
if parameters.profile == "smoke":
    lines = ["This is a smoke run on synthetic images: the pipeline works, and no number here means anything."]
summary.update(in_short(*lines or [NO_RECORD]))
