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
# # Full-size runs: cost
#
# The `paper` profile is what a paper states (its working size, its batch, its network at full width), and what its page
# says where the paper is silent or where we deviate. Such runs need no GPU. The papers' runs train in bfloat16 on a CPU
# (`training.amp_cpu: true`), and with units for it (`amx_bf16` among the flags in `/proc/cpuinfo`) two cores do most of
# them in minutes to hours. Without such units bfloat16 is emulated, and slower than float32.

# %% tags=["parameters", "hide-input"]
# papermill replaces these by name. Nothing is measured or trained here, and no data set is needed.
data_root: str = None  # folder of the data sets; accepted as on every page, not read here
records: str = None  # folder of the records; None: the book's own

# %% tags=["hide-input"]
from retlib.study import check_parameters

parameters = check_parameters(globals())

# %% tags=["hide-input"]
import json
from pathlib import Path

import pandas as pd
from IPython.display import Markdown, display

from retlib.papers import list_papers, load_paper
from retlib.studies import list_studies, load_study
from retlib.study import Store
from retlib.study.notebook import book_records
from retlib.study.steps import planned_steps, step_key
from retlib.study.tables import style

folder = book_records(Path(".")) if parameters.records is None else Path(parameters.records)
if not (folder / "rehearsal.json").is_file():
    raise FileNotFoundError(f"rehearsal.json: not found in {folder}; `make rehearse` writes it")

# %% [markdown]
# ## How the hours are computed
#
# Seconds per step come from a dry run of each kind of run: on real data, at full size, the training loop itself runs a few
# steps to warm up, and the median of the next ones counts; then the network predicts a held-out image. Runs that differ only
# in images, seed, fold or learning rate have steps of the same length and are measured once. Hours are seconds per step
# times planned steps; validation and tests come on top, and early stopping may end a run sooner.

# %%
COLUMNS = {"float32": "float32", "bfloat16": "bfloat16", "gpu": "GPU"}
entries = [
    entry for entry in json.loads((folder / "rehearsal.json").read_text(encoding="utf-8")).values() if "step" in entry
]
seconds = pd.DataFrame(
    {
        title: {entry["step"]: entry[key]["step_s"] for entry in entries if key in entry}
        for key, title in COLUMNS.items()
    },
    dtype=float,
)

# %% [markdown]
# *Hours on record* are what training took in the records of these runs, validation included, as the mean over runs and
# seeds, on whatever machine made them. On a CPU they are processor time divided by threads, since some of these runs shared
# their machine.

# %%
store = Store(folder)


def recorded_hours(config):
    """List (device, hours of training) of each seed with a record."""
    hours = []
    for record in (store.find(config.model_copy(update={"seed": seed})) for seed in (0, 1, 2)):
        if record is not None:
            timing, environment = record.content["timing"], record.content["environment"]
            on_cpu = environment["device"] == "cpu"
            spent = timing["training_cpu_s"] / environment["threads"] if on_cpu else timing["training_s"]
            hours.append(("CPU" if on_cpu else "GPU", spent / 3600))
    return hours


def batch_text(config):
    """Describe a batch: 8 images of 512x512, or 16 patches of 64x64."""
    inputs, training = config.inputs, config.training
    patches = training.patches
    size = patches.sides if patches is not None else inputs.size or inputs.resample or inputs.crop
    kind = "image" if patches is None else "patch"
    plural = "" if training.batch_size == 1 else {"image": "s", "patch": "es"}[kind]
    return f"{training.batch_size} {kind}{plural}" + (f" of {size[0]}x{size[1]}" if size else "")


def costs(plans):
    """Make one row for the runs of a paper or study with the same kind and number of steps."""
    runs = pd.DataFrame(
        [
            (title, name, step_key(config), planned_steps(config), batch_text(config), recorded_hours(config))
            for title, configs in plans
            for name, config in configs.items()
        ],
        columns=["paper or study", "run", "step", "steps", "batch", "recorded"],
    )
    table = runs.groupby(["paper or study", "step", "steps", "batch"], sort=False, dropna=False)
    table = table.agg(runs=("run", ", ".join), recorded=("recorded", "sum")).reset_index()
    for title in seconds:
        table[f"{title}, s per step"] = table["step"].map(seconds[title])
    for title in ("bfloat16", "GPU"):
        table[f"{title}, hours"] = table[f"{title}, s per step"] * table["steps"] / 3600
    for device in ("CPU", "GPU"):
        hours = table["recorded"].map(lambda spent, device=device: [hour for where, hour in spent if where == device])
        table[f"hours on record, {device}"] = hours.map(
            lambda spent: sum(spent) / len(spent) if spent else None
        ).astype(float)
    table.insert(1, "runs", table.pop("runs"))
    return table.drop(columns=["step", "recorded"])


NAMES = {"specks": "small components removed", "phantoms": "synthetic images only"}  # runs whose names say little


def show(table, caption):
    """Style a table of costs without the columns that nobody has measured."""
    table = table.dropna(axis=1, how="all")
    table = table.assign(
        steps=[f"{n:,.0f}" if n == n else "—" for n in table["steps"]],
        runs=[", ".join(NAMES.get(run, run) for run in runs.split(", ")) for runs in table["runs"]],
    )
    return style(
        table.rename(columns=lambda name: name.replace("s per step", "s/step").replace("hours", "h")),
        caption,
        decimals=2,
    )


# %% [markdown]
# ## Papers

# %%
of_papers = costs([(paper.short, paper.runs("paper")) for paper in map(load_paper, list_papers())])
show(of_papers, "Full-size runs of the papers. Em dash: not measured.")

# %% [markdown]
# ## Studies of our own

# %% tags=["hide-output"]
of_studies = costs([(study.title, study.runs("paper")) for study in map(load_study, list_studies())])
show(of_studies, "Full-size runs of our own studies.")

# %% [markdown]
# ## Machines

# %% tags=["hide-input"]
machines = []
for key, title in COLUMNS.items():
    for facts in (entry[key]["machine"] for entry in entries if key in entry):
        units = " and ".join(unit for unit in ("amx_bf16", "avx512_bf16") if facts[unit]) or "none"
        machines.append(
            f"- {title}: {facts.get('gpu', facts['processor'])}, {facts['cores']} cores, {facts['threads']} threads, "
            f"bfloat16 units: {units}; torch {facts['torch']}, {facts['date']}."
        )
display(Markdown("\n".join(dict.fromkeys(machines)) or "No dry run has been made yet."))

# %% [markdown]
# ## How to re-run
#
# `make rehearse` makes the dry runs of the papers that are missing, in about a quarter of an hour. With names of papers or
# studies it makes only these, and where there is a GPU it fills the GPU's column and leaves the others as they are:
#
# ```console
# $ make rehearse ARGS='af-unet one-protocol'
# $ make rehearse ARGS='af-unet --device cpu --again'
# ```
#
# To run a paper at full size: `make reproduce PAPER=af-unet PROFILE=paper`, or all of them with
# [batch reproduction](../book/reproduce.md).
