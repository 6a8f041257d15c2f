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
import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from matplotlib_inline.backend_inline import set_matplotlib_formats

from retlib.data.registry import COLLECTIONS
from retlib.models import MODEL_TITLES
from retlib.predict.weights import read_weights, shipped_weights
from retlib.studies import load_study
from retlib.study import figures, in_short, open_study, results
from retlib.study.baselines import baseline_scores
from retlib.study.rules import shipping
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


def text(value, metric="dice"):
    """Write a score for reading: Betti errors with one decimal, all others with four."""
    return number_text(float(value), ".1f" if metric.startswith("betti") else ".4f")


def percent(share):
    """Write a share as a percentage."""
    return f"{100 * share:.1f} %"


def span(row, metric="dice"):
    """Write the ends of an interval."""
    return f"{text(row.low, metric)} to {text(row.high, metric)}"


# %% tags=["hide-input"]
summary = display(in_short(NO_RECORD), display_id=True)  # filled in below, when its numbers are known

# %% [markdown]
# ## The network
#
# The card lies beside the weights, `retlib/weights/*.json`, and `retlib predict` reads it.

# %%
network, card = read_weights(shipped_weights())
protocol = open_study("one-protocol", parameters)
record = protocol.store.get(card.record)  # what it scored, exactly as it ships

# %% tags=["hide-input"]
timing = record.content["timing"] if record else {}
facts = {
    "name": card.name,
    "architecture": MODEL_TITLES[card.model] + ", " + ", ".join(f"{k} {v}" for k, v in card.model_options.items()),
    "parameters": number_text(float(card.parameters), ",.0f"),
    "size of the file": f"{shipped_weights().stat().st_size / 1e6:.2f} MB",
    "input": f"{', '.join(map(str, card.inputs.preprocessing))}, scaled so that the field of view is {card.inputs.fov_side} pixels wide",
    "passes": f"{len(card.inference.seen)}, over the mirrored views {', '.join(card.inference.seen)}; their probabilities are averaged",
    "small components": f"removed below {card.inference.least_piece} pixels",
    "precision": "bfloat16 where the processor has it, else float32" if card.inference.amp_cpu else "float32",
    "threshold": f"{card.threshold:.4f}, {card.threshold_from}",
    "CPU seconds of one core for an image": number_text(timing.get("vessels_cpu_s_per_image", np.nan), ".2f"),
    "made by": f"retlib {card.retlib}, run {card.run}, record {card.record}",
    "SHA-256 of the weights": card.sha256,
}
facts["made by"] = record_link(facts["made by"], (record.folder,) if record else ())
style(pd.DataFrame({"": list(facts), "value": list(facts.values())}), "What ships.")

# %% [markdown]
# ## Intended use
#
# - **For** research on colour fundus photographs: vessel maps to measure, to compare methods with, or to correct by hand.
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
own_runs = [run for run, entry in protocol.source.plan("lite").items() if entry.role == "control"]
own_runs = {protocol.source.config(run, "lite").identify(protocol.root): run for run in own_runs}
trained = own_runs.get(card.run, shipping.FULL[next(iter(shipping.FULL))])
style(
    configuration(protocol.source, trained, profiles=["lite"]).reset_index(),
    f"The training: run {trained} of one-protocol, every setting that is not a default.",
)

# %% [markdown]
# No other photograph took part, and no test image had a say: the [recipe](recipe.ipynb) was searched on DRIVE's training images
# alone. One observer labelled their pixels. They come from one screening programme; how scores differ by age, sex, origin
# or disease was not measured.
#
# ## How it was chosen

# %% tags=["hide-input"]
display(Markdown(f"> {load_study('shipped').about}"))

# %%
rows = {}
for name, plan in shipping.held_out_means("lite").items():
    found = protocol.store.find(plan, root=protocol.root)
    if found is not None and name in shipping.CANDIDATES:
        dice = found.metrics(region="fov", average="image")["dice"]
        cost = found.content["model"]["bytes"], found.content["timing"]["vessels_cpu_s_per_image"]
        rows[name] = {"dice": dice, "bytes": cost[0], "seconds": cost[1], "images": len(found.test()["images"])}
candidates = pd.DataFrame.from_dict(rows, orient="index", columns=["dice", "bytes", "seconds", "images"])
taken = shipping.take(candidates)

# %% tags=["hide-input"]
table = pd.DataFrame(
    {
        "candidate": candidates.index,
        "Dice": candidates["dice"].map(text),
        "MB": candidates["bytes"].map(lambda size: f"{size / 1e6:.2f}"),
        "CPU s an image": candidates["seconds"].map(lambda value: f"{value:.2f}"),
        "the rule": ["taken" if name == taken else "not taken" for name in candidates.index],
    }
).reset_index(drop=True)
held_out = int(candidates["images"].max()) if len(candidates) else 0
style(
    table, f"The candidates on {held_out} held-out training images." if held_out else "The candidates: no record yet."
)

# %% [markdown]
# ## What it scores
#
# On DRIVE's test images, inside the field of view, on the photograph's own pixels, at the card's threshold. Intervals are
# 95 % bootstrap intervals over images; with one trained network they say nothing of another training run.

# %%
about = {"source": "shipped", "run": card.name, "role": "control", "dataset": "drive"}
own = results.tidy(record, **about) if record else results.join([])
own = own.query("region == 'fov' and average == 'image'")
means = results.summarise(own, by=["run", "metric"]).droplevel("run").reindex(METRICS)

# %% tags=["hide-input"]
images = own.pivot_table(index="image", columns="metric", values="value").reindex(columns=METRICS)
rows = []
for metric, row in means.iterrows():
    line = {"score": METRICS[metric], "mean": text(row.value, metric), "95 % interval": None}
    line |= {"lowest image": None, "highest image": None}
    if pd.notna(row.value):
        ordered = images[metric].sort_values()
        line["95 % interval"] = span(row, metric)
        for end, place in (("lowest image", 0), ("highest image", -1)):
            line[end] = f"{text(ordered.iloc[place], metric)} ({ordered.index[place]})"
    rows.append(line)
style(pd.DataFrame(rows), f"{card.name} on {len(images) or 'the'} test images of DRIVE.")

# %% [markdown]
# ## Other cameras
#
# The shipped weights have a record on DRIVE alone. What a change of camera costs is known of a sibling: the same architecture,
# trained on the same photographs by the plain recipe and for fewer steps, from [Cross-dataset](transfer.ipynb). It was scored
# on data sets that it never saw, with the threshold of DRIVE. [Segment your own image](../book/predict.md) has a
# check of the shipped weights on a few training images of each set.

# %%
study = open_study("transfer", parameters)
sibling = study.scores().query("run == 'drive' and region == 'fov' and average == 'image'")
sibling = results.best_profile(sibling)
everywhere = results.join([own.assign(run="shipped"), sibling.assign(run="sibling")])
boards = results.summarise(everywhere, by=["run", "test", "metric"])

# %% tags=["hide-input"]
NETWORKS = {"shipped": "the shipped network", "sibling": "the sibling"}
rows, by_image = [], {}
for (run, test), part in everywhere.query("metric == 'dice'").groupby(["run", "test"], sort=False):
    row, title = boards.loc[run, test, "dice"], COLLECTIONS[test.split(":")[0]].title
    values = part.groupby("image")["value"].mean().sort_values()
    by_image[f"{title}, {NETWORKS[run]}"] = values
    line = {"data set": title, "network": NETWORKS[run], "images": str(len(values)), "Dice": text(row.value)}
    line |= {"95 % interval": span(row)}
    for metric in ("sensitivity", "specificity", "auc"):
        line[METRICS[metric]] = text(boards.loc[run, test, metric]["value"])
    rows.append(line | {"lowest image": f"{text(values.iloc[0])} ({values.index[0]})"})
style(pd.DataFrame(rows or [{"data set": NO_RECORD}]), "Trained on DRIVE, scored on test images of four data sets.")

# %% tags=["hide-input"] mystnb={"image": {"alt": "One row of dots a data set and network, a dot an image, from the lowest to the highest Dice, with a bar at the mean. DRIVE's dots lie close together on the right; those of STARE reach furthest to the left."}, "figure": {"caption": "Dice of every test image; the bar is the mean. The image of the lowest Dice is named.", "name": "fig-card-images"}}
if by_image:
    axis = plt.figure(figsize=(8, 0.8 + 0.55 * len(by_image))).subplots()
    for place, (title, values) in enumerate(reversed(by_image.items())):
        colour = "#0072B2" if "shipped" in title else "0.35"
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
# A photograph of CHASE_DB1, a data set that the network was not trained on.
#
# <div class="compare" data-label="Photograph, and the error map of the prediction">
# <img src="../_static/example-photograph.jpg" alt="A fundus photograph: an orange disc with dark branching vessels that leave a bright optic disc.">
# <img src="../_static/example-errors.png" alt="The error map of the same photograph: detected vessels in dark grey, missed ones in orange, false positives in blue along vessel borders.">
# </div>
#
# *Left: photograph Image_12R of CHASE_DB1 (Kingston University, [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)),
# reduced. Right: detected vessels in dark grey, missed ones in orange, false positives in blue.*
#
# ## Where it fails

# %% tags=["hide-input"]
lines = []
if record:
    value = means["value"]
    observer = results.best_profile(baseline_scores(protocol).query("kind == 'observer' and dataset == 'drive'"))
    observer = observer.query("region == 'fov' and average == 'image'").groupby("metric")["value"].mean()
    lines += [
        f"**Missed and false vessels.** {percent(1 - value['sensitivity'])} of the labelled vessel pixels are missed, and "
        f"{percent(1 - value['precision'])} of the marked pixels are none, on DRIVE's test images.",
        f"**Thin vessels.** Of the centre line of vessels up to two pixels wide it finds {percent(value['recall_thin'])}, of those "
        f"over four pixels {percent(value['recall_wide'])}.",
    ]
    fragments = f"**Fragments.** The number of connected components is off by {value['betti0_error']:.1f} an image"
    if "betti0_error" in observer:
        fragments += f", the second observer's by {observer['betti0_error']:.1f}"
    lines.append(
        f"{fragments}: vessels that are continuous come out in pieces. Lengths and branchings need a correction by hand."
    )
    worst = images["dice"].idxmin()
    lines.append(
        f"**The worst image of DRIVE** is {worst}, with a Dice of {text(images.loc[worst, 'dice'])}, sensitivity "
        f"{text(images.loc[worst, 'sensitivity'])} and precision {text(images.loc[worst, 'precision'])}."
    )
away = {test: row for (run, test, metric), row in boards.iterrows() if (run, metric) == ("sibling", "dice")}
at_home = next((row for test, row in away.items() if test.startswith("drive:")), None)
if at_home is not None and len(away) > 1:
    losses = {COLLECTIONS[test.split(":")[0]].title: at_home.value - row.value for test, row in away.items()}
    told = ", ".join(f"{loss:.3f} on {title}" for title, loss in losses.items() if title != "DRIVE")
    lines.append(
        f"**Another camera.** The sibling loses Dice against DRIVE: {told}. The shipped network may lose as much."
    )
lowest = {title: values for title, values in by_image.items() if "sibling" in title and not title.startswith("DRIVE")}
if lowest:
    told = ", ".join(
        f"{values.index[0]} of {title.split(',')[0]} ({text(values.iloc[0])})" for title, values in lowest.items()
    )
    lines.append(f"**The sibling's worst images elsewhere:** {told}.")
display(Markdown("\n".join(f"- {line}" for line in lines) or NO_RECORD))

# %% [markdown]
# Darkness, blur, noise, small or cut photographs and text on the retina lower the scores; `retlib.predict.doubts` in the
# [API](../book/api/predict.md) lists how much, as measured, and the limits from which on a doubt is named. A map without a
# doubt can be wrong all the same.
#
# Probabilities are not calibrated for other cameras: the threshold was chosen on DRIVE's training images, and
# `--threshold` moves it.
#
# ## Licence of the weights

# %% tags=["hide-input"]
display(Markdown(f"> {card.licence}"))

# %% [markdown]
# Neither the weights nor the records hold a photograph; the photographs come from their owners ([Getting and reading the
# data](../book/data.md)).
#
# ## Make it again
#
# With DRIVE in place, one command trains the network anew, from its seed to its scores, into a folder of its own (and the
# candidate with large patches beside it):
#
# ```bash
# retlib reproduce one-protocol --profile lite --role control --seeds 0 --records again
# ```

# %% tags=["hide-input"]
hours = protocol.store.get(card.run)
took = f"Its training took {hours.content['timing']['training_s'] / 60:.0f} minutes. " if hours else ""
display(
    Markdown(
        f"{took}On the same kind of processor the weights come out the same bit for bit. This writes the two files that ship, and "
        "refuses weights that differ from those that were scored:\n\n"
        f"```bash\npython -m retlib.study.ship {card.record} --name {card.name} --licence 'as above' --folder again\n```"
    )
)

# %% tags=["hide-input"]
if record:
    row = means.loc["dice"]
    lines = [
        f"{facts['architecture']}: {facts['parameters']} parameters, {facts['size of the file']}, trained on "
        f"{sum(map(len, card.trained_on.values()))} photographs of DRIVE.",
        f"Dice {text(row.value)} ({span(row)}) on {len(images)} test images of DRIVE; the lowest image has {text(images['dice'].min())}.",
        "For research. It is no medical device, and no decision about a person may rest on it.",
    ]
    if at_home is not None and len(away) > 1:
        lines.insert(2, f"A sibling of it loses up to {max(losses.values()):.2f} Dice on other cameras.")
    summary.update(in_short(*lines))
