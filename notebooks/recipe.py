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
# # Training-recipe ablation
#
# A paper that proposes a network also chooses a recipe for training it: a loss, an augmentation, a learning-rate schedule, a
# patch size. When its network wins, how much of that is architecture and how much is recipe? Here one small U-Net stays as it
# is, and its training recipe changes one thing at a time.

# %% tags=["parameters", "hide-input"]
profile: str = "lite"  # smoke: synthetic images; lite: real images, small; paper: ten times the steps
data_root: str = None  # folder of the data sets; None: RETLIB_DATA
records: str = None  # folder of the records; None: the book's own
device: str = "auto"  # auto, cpu, cuda, cuda:1
seeds: list = [0, 1, 2]  # of the base; their spread is the noise. Each change is run with the first one
train: str = "never"  # missing, never, always: which records to make

# %% tags=["hide-input"]
from retlib.study import check_parameters

parameters = check_parameters(globals())

# %% tags=["hide-input", "remove-output"]
import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib_inline.backend_inline import set_matplotlib_formats

from retlib.data import split_names
from retlib.studies import load_study
from retlib.study import figures, in_short, open_study, results, statistics
from retlib.study.config import flatten
from retlib.study.rules import recipe as rule
from retlib.study.tables import LABELS, configuration, number_text, style

figures.set_style()
set_matplotlib_formats("svg", metadata={"Date": None})
plt.rcParams["svg.hashsalt"] = "recipe"  # a page that is built twice is the same page

METRICS = [*rule.TARGETS, "recall_thin"]
NO_RECORD = "No record yet: run this notebook with train='missing'."


def text(value, metric="dice", sign="", more=0):
    """Write a score for reading: Betti errors with one decimal, all others with four."""
    return number_text(value, f"{sign}.{more + (1 if metric in rule.LOWER_IS_BETTER else 4)}f")


def count(number):
    """Write a whole number with spaces between thousands."""
    return number_text(float(number), ",.0f")


def mark(axis, value, place, reach, metric, colour, size=6):
    """Draw a value as a dot, or as an arrow with its number where it lies beyond the panel."""
    if abs(value) <= reach:
        axis.plot(value, place, "o", color=colour, markersize=size)
        return
    edge, marker, shift, side = (-reach, "<", 7, "left") if value < 0 else (reach, ">", -7, "right")
    axis.plot(edge, place, marker, color=colour, markersize=6, zorder=4)
    label = number_text(value, f".{1 if metric in rule.LOWER_IS_BETTER else 3}f")
    look = {"va": "center", "fontsize": 8, "color": colour, "zorder": 3}
    look["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    axis.annotate(label, (edge, place), xytext=(shift, 0), textcoords="offset points", ha=side, **look)


def finish(axis, metric, reach, title=""):
    """Set the title, the zero line and symmetric limits of a panel."""
    axis.axvline(0, color="0.4", linewidth=0.8, zorder=1)
    axis.set_title(LABELS[metric] + title, fontsize=10)
    axis.set_xlim(-1.08 * reach, 1.08 * reach)
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.tick_params(axis="x", labelsize=8)
    axis.grid(axis="y", visible=False)


# %% tags=["hide-input"]
summary = display(in_short(NO_RECORD), display_id=True)  # filled in below, once the rule has been applied

# %% [markdown]
# ## One change at a time
#
# The base is run with every seed, each change of it with the first one. The records are read into one table of scores, one
# row per image and metric, and [the rule](#the-rule) compares every change with the base on the same held-out images.

# %% tags=["hide-input", "remove-output"]
plan = load_study("recipe")
study = open_study("recipe", parameters)
first = study.parameters.seeds[0]
configs = plan.runs(parameters.profile, first)  # refused where one of them names a test image
study.train(["base"])
study.train([run for run in configs if run != "base"], seeds=[first])

# %%
FACTORS = {  # what a change of these fields is called; a change of several factors at once is a combination
    "training.loss": "loss",
    "training.augmentation": "augmentation",
    "training.schedule": "schedule and rate",
    "training.learning_rate": "schedule and rate",
    "training.batch_size": "patches",
    "training.patches": "patches",
    "inputs.preprocessing": "input",
    "inputs.normalisation": "input",
    "inputs.fov_side": "working size",
    "training.average_weights": "weight averaging",
    "inference.flips": "test-time flips",
    "inference.least_piece": "small components",
    "model_options.width": "width",
    "model_options.depth": "depth",
    "training.epochs": "steps",
}


def changed(base, other):
    """List the dotted fields in which a config differs from another, with its own values; None where it lacks one."""
    before, after = (flatten(config.model_dump(mode="json")) for config in (base, other))
    before, after = ({path: value for path, value in side.items() if value != {}} for side in (before, after))
    return {path: after.get(path) for path in {**before, **after} if before.get(path) != after.get(path)}


def factor_of(path):
    """Name the factor that a dotted field belongs to; None where it is in none."""
    return next((title for field, title in FACTORS.items() if path == field or path.startswith(f"{field}.")), None)


def describe_changes(configs):
    """Describe every run but the base: its factor, and whether it changes inference alone."""
    lines = {}
    for run, config in configs.items():
        fields = changed(configs["base"], config)
        factors = {factor_of(path) for path in fields}
        if None in factors:
            raise ValueError(f"{run}: expected fields of one of the factors, got {', '.join(fields)}")
        factor = factors.pop() if len(factors) == 1 else rule.COMBINATION
        lines[run] = {"factor": factor, "inference_only": all(path.startswith("inference.") for path in fields)}
    return pd.DataFrame.from_dict(lines, orient="index").drop(index="base")


# %%
scores = study.scores().query("as_scored and metric in @METRICS and (run == 'base' or seed == @first)")
scores = results.same_profile(scores, configs)
profile = parameters.profile if scores.empty else scores["profile"].iloc[0]
epochs = study.histories().query("profile == @profile")

changes = describe_changes(configs)  # factor of each run, and whether it changes inference alone
effects = rule.effects(scores, epochs, changes)  # change minus base, a row for each change and metric
judged = rule.judge(effects)  # run -> gain, loss or undecided
adopted = rule.adopt(effects, changes)  # factor -> run, or None where the base stays

# %% tags=["hide-input"]
changes["change"] = {run: item.about for run, item in plan.plan(profile).items() if run in changes.index}
base = {metric: results.matrix(rows) for metric, rows in scores.query("run == 'base'").groupby("metric")}
bands = {metric: rule.noise_band(seeds_by_images) for metric, seeds_by_images in base.items()}
dice = effects.query("metric == 'dice'").set_index("run")["mean"]
runs = study.records().query("profile == @profile").drop_duplicates("run").set_index("run").reindex(configs)

if scores.empty:
    sentence = "The base has no record yet, so nothing can be said. " + NO_RECORD
elif profile == "smoke":
    sentence = "This is a smoke run on synthetic images: the pipeline works, and no number here means anything."
elif not len(dice) or pd.isna(bands["dice"]):
    sentence = "Fewer than two seeds of the base or no change of it have a record: there is nothing to judge."
else:
    best, worst = dice.idxmax(), dice.idxmin()
    taken = [f"*{changes.loc[run, 'change']}* ({factor})" for factor, run in adopted.items() if run]
    sentence = (
        f"**Of {len(judged)} changes of the recipe, {(judged == 'gain').sum()} are gains and {(judged == 'loss').sum()} are "
        f"losses; {(judged == 'undecided').sum()} remain undecided, since noise could explain them.**\n\n"
        f"- The base reaches a Dice of {text(base['dice'].mean(axis=1).mean())} on {base['dice'].shape[1]} held-out training "
        f"images of DRIVE (profile {profile}, {count(runs.loc['base', 'steps'])} steps, mean of {len(base['dice'])} seeds). "
        f"One more seed may lie up to {text(bands['dice'])} away from that (95 % prediction interval).\n"
        f"- Dice rises most with *{changes.loc[best, 'change']}* ({text(dice[best], sign='+')}) and falls most with "
        f"*{changes.loc[worst, 'change']}* ({text(dice[worst], sign='+')}).\n"
        f"- The rule adopts a change of {len(taken)} of {len(adopted)} factors: {', '.join(taken) or 'none'}. "
        "Everything else stays as in the base."
    )
summary.update(in_short(sentence))

# %% tags=["hide-input"] mystnb={"image": {"alt": "One row per change of the recipe and one panel per metric: the change on each held-out image as a small dot and their mean as a large one, beside a gray band around zero, which is the noise of the seeds. Most means lie within the band."}, "figure": {"caption": "Each change minus the base: single held-out images (small dots), their mean (large), and the noise band of the seeds (gray). An arrow stands for a mean beyond the panel.", "name": "fig-recipe-forest"}}
COLOURS = {  # Okabe and Ito: told apart with every common kind of colour vision
    "better": "#0072B2",
    "worse": "#D55E00",
    "not the same sign on every image": "#CC79A7",
    "within the noise band": "#555555",
}
figure, axes = plt.subplots(1, len(METRICS), figsize=(11, 9), sharey=True)
places = dict(zip(changes.index, range(len(changes))[::-1], strict=True))
for axis, metric in zip(axes, METRICS, strict=True):
    of_metric = effects[effects["metric"] == metric]
    band = bands.get(metric, np.nan)
    # Room for the band and for nine changes in ten.
    reach = 1.3 * np.nanmax([band, of_metric["mean"].abs().quantile(0.9), 1e-9]) if len(of_metric) else 1.0
    axis.axvspan(-band, band, color="0.88", zorder=0)
    for effect in of_metric.itertuples():
        colour, inside = COLOURS.get(effect.outcome, "0.33"), effect.by_image[np.abs(effect.by_image) <= reach]
        axis.plot(inside, np.full(inside.size, places[effect.run]), "o", color=colour, markersize=2.5, alpha=0.5)
        mark(axis, effect.mean, places[effect.run], reach, metric, colour)
    for run in changes.index[:-1][changes["factor"].to_numpy()[1:] != changes["factor"].to_numpy()[:-1]]:
        axis.axhline(places[run] - 0.5, color="0.85", linewidth=0.7)
    finish(axis, metric, reach, f"\n{'lower' if metric in rule.LOWER_IS_BETTER else 'higher'} is better")
axes[0].set_yticks(list(places.values()), [textwrap.fill(words, 38) for words in changes["change"]], fontsize=8.5)
axes[0].set_ylim(-0.7, len(changes) - 0.3)
handles = [Line2D([], [], marker="o", linestyle="", color=colour, label=word) for word, colour in COLOURS.items()]
handles.append(Line2D([], [], linewidth=7, color="0.88", label="noise band"))
figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
plt.show()

# %% [markdown]
# The table arranges them for reading. An asterisk marks what is better or worse by the rule. *Thin-vessel recall* is the
# share of the label's centre line that is found where vessels are at most two pixels wide; it judges nothing. Each change was
# run with one seed, so the table says what this rule decides, not what is statistically significant.

# %%
marks = effects["outcome"].map({"better": " *", "worse": " *"}).fillna("")
effects["shown"] = [
    text(row.mean, row.metric, "+") for row in effects[["mean", "metric"]].itertuples(index=False)
] + marks
table = effects.pivot(index="run", columns="metric", values="shown").reindex(index=changes.index, columns=METRICS)
table = changes[["factor", "change"]].join(table).assign(judged=judged.reindex(changes.index))
style(
    table.reset_index(drop=True), f"Each change of the recipe minus the base (profile {profile}, one seed per change)."
)

# %% [markdown]
# A change can lie far outside the band and still decide nothing in a metric, because the rule also asks for the same sign on
# every image:

# %% tags=["hide-input"]
beyond = effects["mean"].abs() > effects["band"]
mixed = effects[
    beyond & (effects["outcome"] == "not the same sign on every image") & effects["metric"].isin(rule.TARGETS)
]
lines = [
    f"- *{changes.loc[row.run, 'change']}*: {LABELS[row.metric]} {text(row.mean, row.metric, '+')} (band "
    f"± {text(row.band, row.metric)}), with the other sign on {(row.by_image * row.mean <= 0).sum()} of {row.by_image.size} images"
    for row in mixed.itertuples()
]
display(Markdown("\n".join(lines) or ("None of the changes." if len(effects) else NO_RECORD)))

# %% tags=["hide-input"]
rose = (
    effects[effects["metric"] == "dice"].set_index("run")["by_image"].map(lambda by: f"{(by > 0).sum()} of {by.size}")
)
cost = changes[["change"]].assign(**{"Dice rose on": rose}, parameters=runs["parameters"].map(count))
cost["steps"] = runs["steps"].map(count)
style(
    cost.reset_index(drop=True),
    "Images on which each change raised the Dice, size of the network, and optimiser steps.",
)

# %% [markdown]
# Patch sizes stand for *patches or full images*: the largest covers most of a photograph, and every run sees about as many
# pixels a step. Four times the steps cost four times as long; the rule does not weigh that.

# %% [markdown]
# ## What the rule adopts
#
# The last two columns show what the [comparison of the networks](one_protocol.ipynb) trains with, and what our own network
# beside that comparison does, where the profile has one. Those recipes were set by hand with this page in view: where they
# differ from the rule's choice, the rule did not decide.

# %% tags=["hide-input"]
protocol = load_study("one-protocol").runs(profile, dataset="drive")
trained_with = {"the comparison": "drive-unet", "our own network": "drive-unet-chosen"}
trained_with = {title: protocol[run] for title, run in trained_with.items() if run in protocol}
ours = plan.runs(profile)


def setting(factor, config):
    """Name what a config of another study has in a factor: the base's setting, a change of it, or its own values."""
    sections = ("training", "inference", "inputs", "pretraining", "model_options")
    differs = {
        path: value
        for path, value in changed(ours["base"], config).items()
        if path.split(".")[0] in sections and (factor_of(path) or "not varied here") == factor
    }
    same = [run for run in changes.index[changes["factor"] == factor] if changed(ours["base"], ours[run]) == differs]
    if not differs or same:
        return changes.loc[same[0], "change"] if same else "the base"
    return ", ".join(f"{path} {value}" for path, value in differs.items())


# %%
rows = []
for factor, run in adopted.items():
    of_factor = judged.reindex(changes.index[changes["factor"] == factor])
    row = {"factor": factor, "changes run": f"{of_factor.notna().sum()} of {len(of_factor)}"}
    row |= {"gains": str((of_factor == "gain").sum()), "losses": str((of_factor == "loss").sum())}
    row["the rule adopts"] = f"{changes.loc[run, 'change']} (Dice {text(dice[run], sign='+')})" if run else "the base"
    if of_factor.isna().all():
        row |= dict.fromkeys(["gains", "losses", "the rule adopts"], "—")
    rows.append(row | {title: setting(factor, config) for title, config in trained_with.items()})
rows.append({"factor": "not varied here"} | {title: setting("not varied here", c) for title, c in trained_with.items()})
style(pd.DataFrame(rows), "What the rule adopts for each factor, and what runs of the comparison have.")

# %% [markdown]
# ## How much is architecture and how much is recipe?
#
# The networks were scored on DRIVE's test images and the recipes on held-out training images, so their levels are not
# comparable. What can be compared is how far apart networks lie when the recipe is the same, and recipes when the network is
# the same.

# %%
leaderboard = open_study("one-protocol", parameters).scores()
leaderboard = leaderboard.query("as_scored and dataset == 'drive' and role == 'table' and profile == @profile")
leaderboard = leaderboard[leaderboard["metric"].isin(METRICS)]
networks = results.summarise(leaderboard, by=["model", "metric"])["value"].unstack()

means = scores.groupby(["run", "seed", "metric"])["value"].mean().unstack()
of_base = means.query("run == 'base'").droplevel("run")
one_seed = means.query("seed == @first").droplevel("seed")
size = changes.index[changes["factor"].isin(["width", "depth"])]
other = changes.index[~changes["factor"].isin(["width", "depth", rule.COMBINATION])]
groups = {
    "seeds of one recipe": of_base,
    "recipes": one_seed[one_seed.index.isin(["base", *other])],
    "sizes of one network": one_seed[one_seed.index.isin(["base", *size])],
    "networks": networks,
}

# %%
rows = []
for title, group in groups.items():
    for metric in rule.TARGETS if len(group) > 1 else ():
        values, rest = group[metric], group.drop(group["dice"].idxmin())[metric]
        numbers = {"lowest": values.min(), "highest": values.max(), "standard deviation": values.std()}
        numbers |= {"without the one of lowest Dice": rest.std()}
        row = {"over": title, "members": str(len(group)), "metric": LABELS[metric]}
        rows.append(row | {name: text(value, metric) for name, value in numbers.items()})
rows = rows or [{"over": title, "members": "—"} for title in groups]
style(pd.DataFrame(rows), f"How far scores spread over seeds, recipes, sizes and networks (profile {profile}).")

# %% tags=["hide-input"]
spread = {title: group["dice"].std() for title, group in groups.items() if len(group) > 2}
fewer = {title: groups[title].drop(groups[title]["dice"].idxmin())["dice"].std() for title in spread}
if {"recipes", "networks"} <= set(spread):
    sentence = (
        f"In Dice, networks by one recipe spread {spread['networks'] / spread['recipes']:.1f} times as widely as recipes of "
        f"one network: the standard deviation is {text(spread['networks'])} over {len(networks)} networks and "
        f"{text(spread['recipes'])} over {len(groups['recipes'])} recipes. Without the worst of each the ratio is "
        f"{fewer['networks'] / fewer['recipes']:.1f}. Seeds of one recipe alone have a standard deviation of "
        f"{text(of_base['dice'].std())}."
    )
else:
    sentence = (
        f"Not decided yet: {len(networks)} networks and {len(groups['recipes'])} recipes have a record, and a spread takes "
        "three of each."
    )
display(Markdown(sentence))

# %% tags=["hide-input"] mystnb={"image": {"alt": "Four rows of dots in each panel: seeds of one recipe, recipes, sizes of one network, and networks, each as its distance from the row's median, for Dice, AUC, clDice and the Betti-0 error."}, "figure": {"caption": "Seeds, recipes, sizes and networks: distance of each from the median of its row. An arrow stands for a distance beyond the panel.", "name": "fig-recipe-spread"}}
figure, axes = plt.subplots(1, len(rule.TARGETS), figsize=(11, 2.8), sharey=True)
for axis, metric in zip(axes, rule.TARGETS, strict=True):
    several = {title: group[metric] for title, group in groups.items() if len(group) > 1}
    distances = {title: values - values.median() for title, values in several.items()}
    reach = 2 * pd.concat(distances).abs().quantile(0.95) if distances else 1.0  # room for the numbers of arrows
    for place, title in enumerate(reversed(groups)):
        values = distances.get(title, pd.Series(dtype=float))
        for value, height in zip(values, place + np.linspace(-0.25, 0.25, len(values)), strict=True):
            mark(axis, value, height, reach, metric, "#0072B2", size=4)
        if values.empty:
            axis.annotate("—", (0, place), ha="center", va="center", color="0.5")
    finish(axis, metric, reach)
axes[0].set_yticks(range(len(groups)), list(groups)[::-1])
axes[0].set_ylim(-0.6, len(groups) - 0.4)
plt.show()

# %% [markdown]
# ## Learning curves
#
# Dice on the patches that are being trained on. Augmented patches are harder, so a lower curve is not a worse network.

# %% tags=["hide-input"] mystnb={"image": {"alt": "One panel for each factor: Dice on the training patches over the share of the epochs that has passed, gray for the seeds of the base and coloured for its changes. Curves rise steeply and level off."}, "figure": {"caption": "Dice on the training patches over the share of the epochs; the seeds of the base in gray. Changes of inference alone have the curve of the base.", "name": "fig-recipe-curves"}}
curves = {key: part for key, part in epochs.groupby(["run", "seed"]) if key[0] == "base" or key[1] == first}
drawn = changes[~changes["inference_only"] & changes.index.isin([run for run, _ in curves])]
if drawn.empty:
    print(NO_RECORD)
else:
    factors = drawn.groupby("factor", sort=False).groups
    lines = -(-len(factors) // 3)
    figure, axes = plt.subplots(lines, 3, figsize=(11, 3.1 * lines), sharex=True, sharey=True, squeeze=False)
    for axis in axes.flat[len(factors) :]:
        axis.set_axis_off()
    for axis, (factor, of_factor) in zip(axes.flat, factors.items(), strict=False):
        for run, seed in sorted(curves, key=lambda key: (key[0] != "base", *key)):
            part = curves[run, seed]
            if run == "base" or run in of_factor:
                label = textwrap.fill(changes.loc[run, "change"], 44) if run in of_factor else None
                label = "base" if run == "base" and seed == first else label
                colour = {"color": "0.6"} if run == "base" else {}
                axis.plot(part["epoch"] / len(part), part["train_dice"], linewidth=1.3, label=label, **colour)
        axis.set_title(factor, fontsize=10)
        axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.08), frameon=False)
    lowest = min(part["train_dice"].iloc[(len(part) - 1) // 3] for part in curves.values())
    axes[0, 0].set_ylim(max(0.0, lowest - 0.02), None)
    figure.supxlabel("share of the epochs", fontsize=10)
    figure.supylabel("Dice on training patches", fontsize=10)
    plt.show()

# %% [markdown]
# ## How it was measured
#
# ### The base
#
# Its settings, named as in the study's file, for the small preview (`lite`) and for the full size (`paper`). A change keeps
# all of them but its own. Images keep their native size. The two losses are cross-entropy and Dice loss, added with these weights; *dihedral* augmentation
# flips and turns by right angles; *one cycle* raises the rate to its peak and lets it fall again.

# %%
settings = configuration(plan, "base")
training = {size: plan.runs(size)["base"].training for size in settings}
settings.loc["optimiser steps"] = {
    size: count(each.epochs * -(-each.patches.per_epoch // each.batch_size)) for size, each in training.items()
}
style(settings.reset_index(), "The recipe of the base: every setting that is not a default.")

# %% [markdown]
# ### The rule
#
# Fixed before any of these runs was looked at, here and in the code that applies it (`retlib.study.rules.recipe`).
#
# 1. Every run trains on the same part of the training images and is scored on the rest of them, inside the field of view, on
#    the native grid, with the threshold from the images that it was trained on.
# 2. The base is run with several seeds. The **noise band** of a metric is the 95 % prediction interval for one more run of
#    the base: with the standard deviation $s$ over $n$ seeds, $t_{n-1}\,s\sqrt{1 + 1/n}$ to either side of their mean.
# 3. A change is **better** in a metric if its mean over the images lies beyond the band and it is better than the base on
#    every single image; **worse** likewise. A change at test time alone (flips, removal of small components) is compared with
#    the same weights: the seed plays no part, so the band need not be passed to be better.
# 4. A change is a **gain** if it is better in at least one of Dice, AUC, clDice and the Betti-0 error, and worse in none
#    of them; a **loss** if it is worse in one; otherwise it is undecided.
# 5. Of each factor the gain with the highest Dice is adopted. Where there is no gain, the base stays.

# %%
noise = pd.DataFrame(
    {
        "metric": LABELS[metric],
        "base": text(base[metric].mean(axis=1).mean(), metric) if base else "—",
        "seeds": str(len(base[metric])) if base else "—",
        "standard deviation over seeds": text(base[metric].mean(axis=1).std(), metric, more=1) if base else "—",
        "noise band, ±": text(bands.get(metric, np.nan), metric, more=1),
    }
    for metric in METRICS
)
style(noise, "The base on the held-out images, and the noise band of its seeds.")

# %% [markdown]
# ### Why no test image could be seen
#
# The study is *sealed*: the test images are blocked during the search. Its runs are refused, before anything is loaded, as
# soon as one of them names an image that is not a training image. This is what happens to the base when its file is changed
# to score the test images instead:

# %%
opened = plan.model_dump(by_alias=True, exclude_unset=True)
opened["runs"]["base"]["test"] = [{"dataset": "drive", "split": "test"}]
try:
    type(plan).parse(opened).runs("lite")
except ValueError as error:
    print(error)

# %%
lite = plan.runs("lite")["base"]
held_out = [name for selection in lite.test for name in selection.names()]
used, test = {*lite.train.names(), *held_out}, set(split_names("drive", "test"))
print(f"trained on: {', '.join(lite.train.names())}")
print(f"scored on:  {', '.join(held_out)}")
print(f"of {len(test)} test images, {len(used & test)} are among them")

# %% [markdown]
# ## What remains open

# %% tags=["hide-input"]
if not base:
    display(Markdown(NO_RECORD))
else:
    images = base["dice"].shape[1]
    comparisons, least = max(1, len(judged) * len(rule.TARGETS)), statistics.smallest_p(images)
    passes = "one comparison alone could pass" if least <= statistics.ALPHA else "no comparison can pass"
    chance = (1 - rule.LEVEL) / 2
    display(
        Markdown(
            f"- **Few images.** With {images} held-out images a paired signed-rank test cannot give a p below "
            f"{least:.3g}, so {passes} the usual level of {statistics.ALPHA:g}, and Holm's correction for "
            f"{comparisons} comparisons asks for {statistics.ALPHA / comparisons:.2g}. The rule is a decision rule, not a test.\n"
            f"- **Chance findings.** The noise band, from {len(base['dice'])} seeds, lets another run of the base pass as a gain "
            f"in one metric with a chance of {chance:.1%}; over all comparisons that makes up to "
            f"{comparisons * chance:.1f} chance findings, fewer because all images have to agree.\n"
            f"- **One seed per change.** Another seed of a change could move it by as much as the band is wide.\n"
            "- **One change at a time.** How changes add up is known for one combination only, from four images "
            "and one seed."
        )
    )

# %% [markdown]
# ## How to re-run
#
# ```bash
# retlib reproduce recipe --profile lite
# retlib reproduce recipe --profile paper --device cuda    # ten times the steps
# ```
