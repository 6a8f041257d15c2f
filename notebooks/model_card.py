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
# # Model card: the network of retlib predict
#
# The network that comes with `retlib`, and that [segments a photograph](../book/predict.md) unless another one is named: what
# it is for, what it was trained on, how it was chosen, what it scores, and where it fails.

# %% tags=["parameters", "hide-input"]
# papermill replaces these by name. Nothing is trained here, and no data set is needed.
data_root: str = None  # folder of the data sets; None: RETLIB_DATA
records: str = None  # folder of the records; None: the book's own

# %% tags=["hide-input"]
from retlib.study import check_parameters

parameters = check_parameters(globals())

# %% tags=["hide-input", "remove-output"]
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown, display
from matplotlib_inline.backend_inline import set_matplotlib_formats

from retlib.data.registry import COLLECTIONS
from retlib.models import MODEL_TITLES
from retlib.predict.weights import read_weights, shipped_weights
from retlib.study import Record, figures, in_short, open_study, results
from retlib.study.config import flatten
from retlib.study.tables import configuration, number_text, record_link, style

figures.set_style()
plt.rcParams["svg.hashsalt"] = "model-card"  # a page that is built twice is the same page
set_matplotlib_formats("svg", metadata={"Date": None})
NO_RECORD = "No record yet."
METRICS = {
    "dice": "Dice",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "accuracy": "accuracy",
    "mcc": "MCC",
    "auc": "AUC",
    "average_precision": "AP",
    "cldice": "clDice",
    "betti0_error": "Betti-0 error",
    "recall_thin": "recall of vessels up to 2 pixels wide",
    "recall_medium": "recall of vessels 2 to 4 pixels wide",
    "recall_wide": "recall of vessels over 4 pixels wide",
}
SETS = {name: item.title for name, item in COLLECTIONS.items()}


def text(value, metric="dice"):
    """Write a score for reading: Betti errors with one decimal, all others with four."""
    return number_text(float(value), ".1f" if metric.startswith("betti") else ".4f")


def span(row, metric="dice"):
    """Write the ends of an interval."""
    return f"{text(row.low, metric)} to {text(row.high, metric)}"


def by_set(rows):
    """Name the data set of every score."""
    return rows.assign(dataset=rows["test"].str.split(":").str[0])


# %% tags=["hide-input"]
summary = display(in_short(NO_RECORD), display_id=True)  # filled in below, when its numbers are known

# %% [markdown]
# ## The network
#
# The card lies beside the weights, `retlib/weights/*.json`, and `retlib predict` reads it.

# %%
network, card = read_weights(shipped_weights())
study = open_study("shipped", parameters)
record = study.store.get(card.run)

# %% tags=["hide-input"]
facts = {
    "name": card.name,
    "architecture": MODEL_TITLES[card.model] + ", " + ", ".join(f"{k} {v}" for k, v in card.model_options.items()),
    "parameters": number_text(float(card.parameters), ",.0f"),
    "size of the file": f"{shipped_weights().stat().st_size / 1e6:.2f} MB",
    "input": f"{', '.join(map(str, card.inputs.preprocessing))}, scaled so that the field of view is {card.inputs.fov_side} pixels wide",
    "passes": f"{len(card.inference.seen)}, over mirrored views; their probabilities are averaged",
    "scales": f"{' and '.join(f'{scale:g}' for scale in card.inference.scales)} times this size; the highest probability counts",
    "small components": f"removed below {card.inference.least_piece} pixels",
    "precision": "bfloat16 where the processor has it, else float32" if card.inference.amp_cpu else "float32",
    "threshold": f"{card.threshold:.4f}, {card.threshold_from}",
    "made by": record_link(f"retlib {card.retlib}, run {card.run}", (record.folder,) if record else ()),
    "SHA-256 of the weights": card.sha256,
}
style(pd.DataFrame({"": list(facts), "value": list(facts.values())}), "What ships.")

# %% [markdown]
# ## Intended use
#
# - **For** research on fundus photographs, in colour or red-free: vessel maps to measure, to compare methods with, or to correct
#   by hand.
# - **By** people who look at the maps. The command names [doubts](../book/predict.md) about a photograph, and refuses what is
#   no fundus photograph.
# - **Not for** diagnosis, treatment, screening, or any decision about a person. It is no medical device, and nobody has
#   tested it as one.
# - **Not for** fluorescein angiograms, OCT, or ultra-wide-field images. Nothing was measured on them.
#
# ## What it was trained on

# %%
lines = []
for label, names in card.trained_on.items():
    collection = COLLECTIONS[label.split(":")[0]]
    line = {"data set": collection.title, "part": label, "photographs": str(len(names)), "terms": collection.terms}
    lines.append(line | {"source": collection.homepage})
style(pd.DataFrame(lines), "Every photograph that the weights were fitted to.")

# %% tags=["hide-input"]
(trained,) = study.source.plan("lite")
same = study.source.config(trained, "lite")
first = same.pretraining.train
display(
    Markdown(
        f"Before these it was trained on {len(first.names())} synthetic images ({first.label}), which "
        "`retlib.data.phantoms` draws."
    )
)

# %% tags=["hide-input"]
style(
    configuration(study.source, trained, profiles=["lite"]).reset_index(),
    f"The training: run {trained}, every setting that is not a default.",
)

# %% [markdown]
# No test image of DRIVE, CHASE_DB1 or HRF took part; STARE has no split, and all of it did. How scores differ by age, sex, origin
# or disease was not measured.
#
# ## How it was chosen
#
# By leaving one data set out at a time: networks with the same settings were trained on three sets and scored on the fourth,
# and what raised the mean was kept; the threshold was chosen last. [A network for unseen cameras](cameras.ipynb) has the rule, as
# it was written before the runs and extended once, and every number.

# %%
cameras = open_study("cameras", parameters)


def settings(config):
    """List how a network was trained and is applied, but for how long, and in which arithmetic it is applied."""
    groups = ("model", "model_options", "inputs", "pretraining", "training", "inference")
    fields = flatten({name: value for name, value in config.explicit_fields().items() if name in groups})
    return {name: value for name, value in fields.items() if not name.endswith(("epochs", "inference.amp_cpu"))}


like = [
    name for name, config in cameras.source.runs("lite").items() if config.also and settings(config) == settings(same)
]
unseen = by_set(cameras.scores().query("run in @like and region == 'fov' and average == 'image'"))
rescored = []
for folder, rows in unseen.groupby("record"):  # at the card's threshold, and not at that of the training images
    histograms = Record.read(folder).histograms()
    at_threshold = histograms.select("fov", pooled=False).counts(card.threshold).scores()
    rows = rows[rows["metric"].isin(list(at_threshold))]
    found = {
        metric: dict(zip(histograms.names, at_threshold[metric], strict=True)) for metric in rows["metric"].unique()
    }
    rescored.append(rows.assign(value=[found[row.metric][row.image] for row in rows.itertuples()]))
unseen = pd.concat(rescored, ignore_index=True) if rescored else unseen

# %% [markdown]
# ## What it scores
#
# On test images, inside the field of view, on the photograph's own pixels, at the card's threshold. Intervals are 95 % bootstrap
# intervals over images; with one trained network they say nothing of another training run.

# %%
about = {"source": "shipped", "run": trained, "role": "table", "dataset": ""}
own = by_set(results.tidy(record, **about) if record else results.join([]))
own = own.query("region == 'fov' and average == 'image'")
means = results.summarise(own, by=["dataset", "metric"])

# %% tags=["hide-input"]
tested = [name for name in SETS if name in set(own["dataset"])]
images = {
    name: own[own["dataset"] == name].pivot_table(index="image", columns="metric", values="value") for name in tested
}
table = pd.DataFrame({"score": list(METRICS.values())})
for name in tested:
    values = means.loc[name].reindex(list(METRICS))
    table[f"{SETS[name]}, {len(images[name])} images"] = [
        text(row.value, metric) if pd.isna(row.low) else f"{text(row.value, metric)} ({span(row, metric)})"
        for metric, row in values.iterrows()
    ]
style(table, f"{card.name} on test images of cameras that it was trained on.")

# %% [markdown]
# ## Cameras that it has not seen
#
# For these, networks trained on three sets are used instead: the same settings, scored on the fourth set at the same threshold.
# They had a quarter of its steps, and were never shown a photograph of the set that they are scored on.

# %% tags=["hide-input"]
rows, by_image = [], {}
for frame, title in ((unseen, "not seen"), (own, "seen in training")):
    for name in SETS:
        part = frame[(frame["dataset"] == name) & (frame["metric"] == "dice")]
        if part.empty:
            continue
        values = part.groupby("image")["value"].mean().sort_values()
        row = results.summarise(part.assign(place=name), by=["place"]).iloc[0]
        by_image[f"{SETS[name]}, {title}"] = values
        line = {"data set": SETS[name], "its camera": title, "images": str(len(values)), "Dice": text(row.value)}
        line |= {"95 % interval": span(row)}
        for metric in ("sensitivity", "precision"):
            scores = frame[(frame["dataset"] == name) & (frame["metric"] == metric)]["value"]
            line[METRICS[metric]] = text(scores.mean(), metric)
        rows.append(line | {"lowest image": f"{text(values.iloc[0])} ({values.index[0]})"})
style(
    pd.DataFrame(rows or [{"data set": NO_RECORD}]),
    f"Dice at threshold {card.threshold:g}: of networks trained on three sets on the fourth, and of the network that ships.",
)

# %% tags=["hide-input"] mystnb={"image": {"alt": "One row of dots per data set, one dot per image, from the lowest to the highest Dice, with a bar at the mean; blue where the camera was seen in training, gray where it was not."}, "figure": {"caption": "Dice of every image; the bar is the mean. The image of the lowest Dice is named. Blue: test images of a camera seen in training.", "name": "fig-card-images"}}
if by_image:
    axis = plt.figure(figsize=(8, 0.8 + 0.55 * len(by_image))).subplots()
    for place, (title, values) in enumerate(reversed(by_image.items())):
        colour = "0.35" if "not seen" in title else "#0072B2"
        axis.plot(values, [place] * len(values), "o", color=colour, alpha=0.55, markersize=5)
        axis.plot([values.mean()] * 2, [place - 0.3, place + 0.3], color=colour, linewidth=2)
        axis.annotate(
            values.index[0], (values.iloc[0], place), (0, 7), textcoords="offset points", fontsize=7, ha="center"
        )
    axis.set_yticks(range(len(by_image)), list(reversed(by_image)), fontsize=9)
    axis.set(xlabel="Dice of an image", ylim=(-0.6, len(by_image) - 0.3))
    axis.grid(axis="y", visible=False)
    plt.show()
else:
    print(NO_RECORD)

# %% [markdown]
# ## An example
#
# A photograph of CHASE_DB1.
#
# <div class="compare" data-label="Photograph, and the error map of the prediction">
# <img src="../_static/example-photograph.jpg" alt="A fundus photograph: an orange disc with dark branching vessels that leave a bright optic disc.">
# <img src="../_static/example-errors.png" alt="The error map of the same photograph: detected vessels in dark gray, missed ones in orange, false positives in blue along vessel borders.">
# </div>
#
# *Left: photograph Image_12R of CHASE_DB1 (Kingston University, [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)),
# reduced. Right: detected vessels in dark gray, missed ones in orange, false positives in blue.*
#
# ## Where it fails

# %% tags=["hide-input"]
lines = []
if record:
    value = means["value"].unstack("metric").loc[tested]
    shares = {
        metric: ", ".join(f"{100 * row:.1f} % on {SETS[name]}" for name, row in value[metric].items())
        for metric in ("sensitivity", "precision", "recall_thin", "recall_wide")
    }
    lines += [
        f"**Missed and false vessels.** Of the labelled vessel pixels it finds {shares['sensitivity']}; of the pixels that it marks, "
        f"{shares['precision']} are vessels.",
        f"**Thin vessels.** Of the centre line of vessels up to two pixels wide it finds {shares['recall_thin']}; of those over four "
        f"pixels {shares['recall_wide']}.",
        "**Fragments.** The number of connected components is off by "
        + ", ".join(f"{row:.1f} an image on {SETS[name]}" for name, row in value["betti0_error"].items())
        + ". Lengths and branchings need a correction by hand.",
    ]
lowest = {title: values for title, values in by_image.items() if "not seen" in title}
if lowest:
    named = ", ".join(f"{v.index[0]} of {title.split(',')[0]} ({text(v.iloc[0])})" for title, v in lowest.items())
    lines.append(f"**The worst images of cameras not seen:** {named}.")
display(Markdown("\n".join(f"- {line}" for line in lines) or NO_RECORD))

# %% [markdown]
# Darkness, blur, noise, small or cut photographs and text on the retina lower the scores; `retlib.predict.doubts` in the
# [API](../book/api/predict.md) lists how much, as measured, and the limits from which on a doubt is named. A map without a
# doubt can be wrong all the same.
#
# Probabilities are not calibrated for other cameras: another threshold than the card's may fit them better (`--threshold`).
#
# ## Licence of the weights

# %% tags=["hide-input"]
display(Markdown(f"> {card.licence}"))

# %% [markdown]
# Neither the weights nor the records hold a photograph; the photographs come from their owners ([Getting and reading the
# data](../book/data.md)).
#
# ## How to re-run
#
# With the four data sets in place, one command trains the network anew, from its seed to its scores, into a folder of its own:
#
# ```bash
# retlib reproduce shipped --profile lite --records again
# ```

# %% tags=["hide-input"]
timing = record.content["timing"] if record else {}
took = (
    f"Its training took {timing['training_cpu_s'] / 60:.0f} minutes of one core, after {timing['pretraining_s'] / 60:.0f} minutes on "
    "synthetic images. "
    if record
    else ""
)
display(
    Markdown(
        f"{took}On the same kind of processor the weights come out the same bit for bit. This writes the two files that ship:\n\n"
        f"```bash\npython -m retlib.study.ship {card.run} --name {card.name} --licence 'as above' --folder again\n```"
    )
)

# %% tags=["hide-input"]
lines = [
    f"{facts['architecture']}: {facts['parameters']} parameters, {facts['size of the file']}, trained on "
    f"{sum(map(len, card.trained_on.values()))} photographs of {len(card.trained_on)} data sets."
]
if record:
    lines.append(
        "Dice on test images: "
        + ", ".join(f"{SETS[name]} {text(means.loc[(name, 'dice')].value)}" for name in tested)
        + "."
    )
if lowest:
    ends = sorted(values.mean() for values in lowest.values())
    lines.append(
        f"Networks trained the same way on three sets reach {ends[0]:.2f} to {ends[-1]:.2f} on the camera that they have not seen."
    )
lines.append("For research. It is no medical device, and no decision about a person may rest on it.")
if record or lowest:
    summary.update(in_short(*lines))
