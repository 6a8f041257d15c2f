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
# # Performance and scaling
#
# How fast the library is beside what others use, how its costs grow with size, and what a larger study would cost. Speed is
# given as a ratio wherever something else does the same work: both sides are timed alternately in one process, on the same
# inputs and the same number of threads, after a test has shown that they give the same numbers. Ratios carry over to other
# machines; seconds do not. Every limit was written down before the first measurement.

# %% tags=["parameters", "hide-input"]
# papermill replaces these by name. Nothing is measured or trained here, and no data set is needed.
data_root: str = None  # folder of the data sets; accepted as on every page, not read here
records: str = None  # folder of the records; None: the book's own

# %% tags=["hide-input"]
from retlib.study import check_parameters

parameters = check_parameters(globals())

# %% tags=["hide-input"]
import heapq
import json
import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from matplotlib_inline.backend_inline import set_matplotlib_formats

from retlib.models import MODEL_TITLES
from retlib.papers import list_papers, load_paper
from retlib.studies import load_study
from retlib.study import Store, figures
from retlib.study.notebook import book_records
from retlib.study.reproduce import duration
from retlib.study.tables import style

figures.set_style()
set_matplotlib_formats("svg", metadata={"Date": None})
plt.rcParams["svg.hashsalt"] = "speed"  # a page that is built twice is the same page
folder = book_records(Path(".")) if parameters.records is None else Path(parameters.records)


def load(name, command):
    """Read a file of measurements."""
    if not (folder / name).is_file():
        raise FileNotFoundError(f"{name}: not found in {folder}; `{command}` writes it")
    return json.loads((folder / name).read_text(encoding="utf-8"))


def number(value, digits=3):
    """Format with so many significant digits; an em dash for what is not measured."""
    if pd.isna(value):
        return "—"
    return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(value)))}f}"


def machine_text(machine, date):
    """Describe a machine and the day of a measurement."""
    cores = f"{machine['cores']} cores, {machine['threads']} threads"
    return f"{machine['processor']}, {cores}, torch {machine['torch']}, {date}"


def costs(rows, caption):
    """Show what something costs, and how the cost is computed."""
    return style(pd.DataFrame(rows, columns=["what", "how it is computed", "cost"]), caption)


benchmarks = load("benchmarks.json", "make bench")
curves = load("cost-curves.json", "python -m tests.benchmarks.cost_curves")
dry_runs = load("rehearsal.json", "make rehearse")

# %% [markdown]
# ## Limits and measurements
#
# *Times faster* is the ratio of the two numbers, so that more is better; in brackets the lowest and the highest round, in
# front of them the median. A limit bounds this ratio where something is compared, else our own number.

# %%
lines = pd.DataFrame.from_dict(benchmarks["lines"], orient="index")
measured = lines["ours"].notna()
judged = measured & lines["limit"].notna()
met = (lines["ratio"] >= lines["limit"]).where(lines["compares"], lines["ours"] <= lines["limit"])
if wrong := list(lines.index[judged & (met != lines["met"])]):
    raise ValueError(
        f"benchmarks.json: the stored verdict does not follow from the numbers of {wrong}; run `make bench`"
    )

# %% tags=["hide-input"]
machines = {}  # each machine and day -> load of every measurement
for line in benchmarks["lines"].values():
    if line["machine"]:
        machines.setdefault(machine_text(line["machine"], line["date"]), []).append(line["machine"]["load"])
letters = {where: chr(ord("A") + index) for index, where in enumerate(machines)}


def row(line):
    """Write one line of the table."""
    unit, compares = line["unit"], line["compares"]
    rounds = f" ({number(line['range'][0])} to {number(line['range'][1])})" if line["range"] else ""
    bound = f"at least {line['limit']:g} times" if compares else f"at most {line['limit']:g} {unit}"
    verdict = "—" if pd.isna(line["limit"]) else "yes" if met[line.name] else "NO"
    return {
        "what": line["name"] + (f" ({line['note']})" if line["note"] else ""),
        "ours": "—" if pd.isna(line["ours"]) else f"{number(line['ours'])} {unit}{'' if compares else rounds}",
        "theirs": "—" if pd.isna(line["theirs"]) else f"{number(line['theirs'])} {unit}",
        "times faster": number(line["ratio"]) + (rounds if compares else ""),
        "limit": "—" if pd.isna(line["limit"]) else bound,
        "limit met": verdict if measured[line.name] else "not measured",
        "machine": letters[machine_text(line["machine"], line["date"])] if line["machine"] else "—",
    }


table = lines.apply(row, axis=1, result_type="expand")
style(table.reset_index(drop=True), "Every benchmark. Em dash: nothing is compared, limited or measured.")

# %% tags=["hide-input"]
where = ". ".join(f"{letters[name]}: {name}, load up to {max(loads):g}" for name, loads in machines.items())
missing = f"{(~measured).sum()} of {len(lines)} lines have not been measured"
display(Markdown(f"{met[judged].sum()} of {judged.sum()} limits are met; {missing}. Machines: {where}."))

# %% [markdown]
# **Scoring.** Twenty probability maps of DRIVE's size, made by code; accuracy, sensitivity, specificity, precision, Dice,
# IoU, MCC, AUC and average precision inside the FOV. The numbers agree with scikit-learn's to 1e-12 and with torchmetrics',
# which divides in float32, to 1e-6. scikit-learn is used in two ways: one function per metric, and the faster way, one
# confusion matrix from which the seven scores of counts follow.
#
# **Training.** The U-Net of [One protocol for all networks](one_protocol.ipynb), 160x160 patches, batch 8, on synthetic images. The plain loop is PyTorch as
# most repositories of the field write it: a Dataset that cuts and augments patches with albumentations, a DataLoader, NCHW
# float32, `loss.item()` and scores at every step. Where repositories differ, the faster way was taken: photographs are in
# memory, and the faster one of no workers and two workers counts. Both compute the same loss and gradient. The row in
# bfloat16 is not a like-for-like comparison: it is what the lite profile does on processors with such instructions.
#
# **Utilisation.** FLOPs of forward and backward pass (convolutions and matrix products, counted from shapes) times steps per
# second of the whole loop, beside the best rate of a square matrix product on the same device, computed as such or as a
# convolution with a kernel of one pixel. *Times faster* is then the share of that rate which training reaches.
#
# **Memory** is the peak of the whole process, with Python, torch and the other libraries in it.

# %% [markdown]
# ## Seconds of each network
#
# One forward pass over a synthetic image at DRIVE's working size, float32, fresh weights: the networks of
# [One protocol for all networks](one_protocol.ipynb), with about half a million parameters each. CPU seconds are summed over threads.

# %%
seconds = pd.DataFrame.from_dict(benchmarks["network_seconds"], orient="index")
seconds["relative"] = seconds["cpu_s"] / seconds.loc["unet", "cpu_s"]
seconds = seconds.sort_values("wall_s")

# %% tags=["hide-input"]
titles = {"wall_s": "seconds", "cpu_s": "CPU seconds", "relative": "CPU seconds, U-Net = 1"}
where = benchmarks["network_machine"]
caption = f"A forward pass of each network. Machine: {machine_text(where, where['date'])}, load {where['load']:g}."
style(seconds.rename(index=MODEL_TITLES, columns=titles).rename_axis("network").reset_index(), caption, decimals=3)

# %% [markdown]
# ## Cost curves
#
# Each curve varies one size and keeps the others. A scaling exponent of 2 against the side means that twice the side takes
# four times as long. Exponents are fitted by least squares to the logarithms, and given with their standard errors. Memory
# is what the work added to the process.

# %%
fits = pd.DataFrame.from_dict(curves["fits"], orient="index")
fits.index = pd.MultiIndex.from_tuples([key.split("/") for key in fits.index], names=["curve", "against", "quantity"])
fits["text"] = [f"{fit.exponent:.2f} ± {fit.standard_error:.2f}" for fit in fits.itertuples()]
exponents = fits["text"].unstack("quantity", sort=False)
sizes = fits.xs("seconds", level="quantity")["x"]
exponents.insert(0, "from", sizes.map(min))
exponents.insert(1, "to", sizes.map(max))

# %% tags=["hide-input"]
TITLES = {
    "training": "training step",
    "inference": "forward pass",
    "scoring": "scoring, mean over images",
    "pooled": "scoring, pooled",
    "store": "reading all records",
    "plan": "planning and looking up runs",
    "side": "side of the image, pixels",
    "batch": "images per batch",
    "width": "channels of the first stage",
    "images": "images",
    "runs": "runs",
    "seconds": "seconds",
    "memory_mib": "memory, MiB",
}
columns = {"curve": "what", "seconds": "exponent of time", "memory_mib": "exponent of memory"}
where = f"{machine_text(curves['machine'], curves['date'])}, load {curves['machine']['load']:g}"
titled = exponents.rename(index=TITLES).reset_index().rename(columns=columns)
style(titled, f"Scaling exponents. Machine: {where}.")


# %% tags=["hide-input"]
def draw(axes, panels):
    """Draw points and fits on logarithmic axes, one panel for each (curves, against, quantity)."""
    explained = set()
    for axis, (names, against, quantity) in zip(axes.flat, panels, strict=True):
        for name, colour, marker in zip(names, ("C0", "C1"), "os", strict=True):
            if (name, against, quantity) not in fits.index:
                continue
            fit = fits.loc[(name, against, quantity)]
            ends = np.array([min(fit["x"]), max(fit["x"])], float)
            axis.loglog(ends, fit["coefficient"] * ends ** fit["exponent"], color=colour, linewidth=1.2)
            axis.loglog(fit["x"], fit["y"], marker, color=colour, markersize=5, label=TITLES[name])
            axis.set_xticks(fit["x"][::2], labels=fit["x"][::2])
        axis.set(xlabel=TITLES[against], ylabel=TITLES[quantity])
        axis.minorticks_off()
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        if names not in explained:
            axis.legend(frameon=False)
            explained.add(names)


# %% tags=["hide-input"] mystnb={"image": {"alt": "Six panels with logarithmic axes: seconds and memory of a training step and of a forward pass rise as straight lines against image side, batch size and width."}, "figure": {"caption": "Time and memory of a U-Net's training step and forward pass in float32. Points are measured, lines are fitted; their slopes are the exponents of the table.", "name": "fig-speed-networks"}}
pair = ("training", "inference")
panels = [(pair, against, quantity) for quantity in ("seconds", "memory_mib") for against in ("side", "batch", "width")]
draw(plt.subplots(2, 3, figsize=(9, 5.4))[1], panels)
plt.show()

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two panels with logarithmic axes: seconds to score a test set rise as straight lines with its images, and seconds to read all records or to plan runs with their number."}, "figure": {"caption": "Left: seconds to score images of DRIVE's size with nine metrics. Right: seconds to read records or to plan runs. Points are measured, lines are fitted.", "name": "fig-speed-scale"}}
panels = [(("scoring", "pooled"), "images", "seconds"), (("store", "plan"), "runs", "seconds")]
draw(plt.subplots(1, 2, figsize=(9, 3.1))[1], panels)
plt.show()

# %% [markdown]
# The next sections use these fits beyond the sizes that were measured. That is extrapolation: it assumes that the exponent
# stays the same.


# %%
def extrapolate(curve, against, x, quantity="seconds"):
    """Evaluate a fit at any size."""
    fit = fits.loc[(curve, against, quantity)]
    return fit["coefficient"] * x ** fit["exponent"]


# %% [markdown]
# ## Ten thousand images
#
# On the machine of the cost curves, with the U-Net of [One protocol for all networks](one_protocol.ipynb).

# %%
count = 10_000
config = load_study("one-protocol").runs("lite")["drive-unet"]
training, side, patch = config.training, config.inputs.fov_side, config.training.patches.size
forward, step = extrapolate("inference", "side", side), extrapolate("training", "side", patch)
visits = training.epochs * training.patches.per_epoch / len(config.split_training()[0])  # patches per photograph
steps = count * visits / training.batch_size
scored = extrapolate("scoring", "images", count)
scored_gb = extrapolate("scoring", "images", count, "memory_mib") * 2**20 / 1e9
kept_gb = count * side**2 * 5 / 1e9  # three channels, label and FOV, one byte each

# %% tags=["hide-input"]
largest = max(fits.loc[("scoring", "images", "seconds"), "x"])
passes = f"{count:,} forward passes at {side}x{side}, {duration(forward)} each, one at a time"
seen = f"each seen as often as in the lite run on DRIVE ({visits:.0f} patches of {patch}x{patch}): "
seen += f"{steps:,.0f} steps of {training.batch_size}, {duration(step)} each"
rows = [
    ("predict", passes, duration(count * forward)),
    ("score, nine metrics, mean over images", f"scaling with images, measured up to {largest}", duration(scored)),
    ("memory to score all in one call", "scaling with images; one by one, one map's is enough", f"{scored_gb:,.0f} GB"),
    ("train, float32", seen, duration(steps * step)),
    ("memory to train on them", "kept at working size, 5 bytes per pixel", f"{kept_gb:,.0f} GB"),
]
costs(rows, f"{count:,} photographs of DRIVE's size.")

# %% [markdown]
# ## Ten papers
#
# Papers like the ones in this book, on average. A dry run of each full-size run (a few steps) was timed on a CPU, see
# [Full-size runs: cost](full_size.ipynb); the hours here are those of its steps in float32.

# %%
keys = list_papers()
factor = 10 / len(keys)
in_tables = {f"{key}/{run}" for key in keys for run in load_paper(key).runs("paper", role="table")}
jobs = [  # seconds of each full-size run of a table row, one seed
    entry["step_s"] * entry["planned_steps"]
    for entry in dry_runs.values()
    for run in entry["stands_for"]
    if run in in_tables
]
lite = [config for key in keys for config in load_paper(key).runs("lite", role="table").values()]
recorded = [record for record in map(Store(folder).find, lite) if record is not None]
each = pd.Series([record.content["timing"]["training_s"] for record in recorded], dtype=float).mean()
runs = factor * len(jobs)

# %% tags=["hide-input"]
small = f"{len(recorded)} runs with a record, {duration(each)} each on average; {len(lite)} runs, times {factor:g}"
planning, reading = (extrapolate(curve, "runs", runs) for curve in ("plan", "store"))
rows = [
    (
        "train all table rows at full size",
        f"{len(jobs)} runs, from dry runs, times {factor:g}",
        duration(factor * sum(jobs)),
    ),
    ("the same in the lite profile", small, duration(factor * len(lite) * each)),
    ("find what is missing", f"scaling of planning and looking up, at {runs:.0f} runs", duration(planning)),
    ("read all records", f"scaling of reading all records, at {runs:.0f} runs", duration(reading)),
]
costs(rows, f"Ten papers from the {len(keys)} of this book, one seed.")

# %% [markdown]
# ## Eight GPUs
#
# Runs are independent, so several devices share them without communication: `retlib reproduce` hands them to any executor.
# No run is split, so the longest one bounds the total. Hours on a GPU are hours here, times FLOPs per second of the training
# loop here, divided by FLOPs per second of the training loop there; both rates are in the lines on utilisation above. Without
# a measured GPU the last rows stay empty.


# %%
def makespan(jobs, workers):
    """Time until all jobs are done: longest first, each on the worker that is free first."""
    free = [0.0] * workers
    for job in sorted(jobs, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + job)
    return max(free)


here, there = lines.loc["utilisation_cpu_float32", "ours"], lines.loc["utilisation_cuda_bfloat16", "ours"]
scale = here / there  # NaN where no GPU has been measured
alone, together = makespan(jobs, 1), makespan(jobs, 8)

# %% tags=["hide-input"]
rates = "the formula above" if pd.isna(scale) else f"times {scale:.2g}, the ratio of the two rates"
first = f"longest run first, {alone / together:.1f} times as fast; the longest run takes {duration(max(jobs))}"
rows = [
    ("one machine as in the dry runs, without a GPU", f"{len(jobs)} runs, one after the other", duration(alone)),
    ("8 such machines", first, duration(together)),
    ("one GPU", rates, duration(alone * scale)),
    ("8 GPUs", rates, duration(together * scale)),
]
costs(rows, "Every table row of the papers at full size, one seed.")

# %% [markdown]
# ## How to re-run
#
# ```console
# make bench                                           # tests/benchmarks, utilisation, seconds of each network
# make bench ARGS=--all                                # and the book: building it, its size, its first paint
# python -m tests.benchmarks.cost_curves --again       # the cost curves
# ```
#
# Measure on a quiet machine. Each line keeps its machine, date and load; `python -m tests.benchmarks.bench --help` lists the
# options.
