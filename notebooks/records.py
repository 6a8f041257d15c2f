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
# # Records
#
# Every run behind a number of this book: what was run, on which machine, and what it measured on every image. Result tables
# lead here. The files themselves lie in `book/records`, one folder per run.

# %% tags=["parameters", "hide-cell"]
# papermill replaces these by name.
profile: str = "lite"  # smoke: records of synthetic images; lite and paper: all others
data_root: str = None  # folder of the data sets; None: RETLIB_DATA
records: str = None  # folder of the records; None: the book's own
device: str = "auto"  # not used: this page trains nothing
seeds: list = [0, 1, 2]  # records of these seeds are named after their runs
train: str = "never"  # not used

# %% tags=["hide-cell"]
from retlib.study import check_parameters

parameters = check_parameters(globals())

# %% tags=["hide-cell"]
import html
import math

import pandas as pd
import yaml
from IPython.display import HTML

from retlib.models import MODEL_TITLES
from retlib.papers import list_papers
from retlib.studies import list_studies
from retlib.study import open_study, style
from retlib.study.baselines import METHODS
from retlib.study.results import never_learned
from retlib.study.tables import DASH, Html, number_text

KINDS = {"rescored": "scored against resized labels", "epochs": "scored by epochs"}
studies = {key: open_study(key, parameters) for key in [*list_papers(), *list_studies()]}
store = next(iter(studies.values())).store
names = {}  # id of a record -> the runs that it stands for
for key, study in studies.items():
    for run, _, record in study.found():
        names.setdefault(record.id, []).append(f"{key}: {run}")


def title(record):
    """Name a record: its runs, or what it is where no plan names it."""
    config = record.content["config"]
    known = METHODS.get(config.get("method"), KINDS.get(config.get("kind"), "not planned"))
    if "run" in config:
        known = f"{MODEL_TITLES[config['run']['model']]}, {known}"
    return "; ".join(names.get(record.id, [known]))


# %%
shown = [record for record in store if (record.profile == "smoke") == (parameters.profile == "smoke")]
rows = []
for record in shown:
    content, config = record.content, record.content["config"]
    test = next(iter(content["tests"]), None)
    rows.append(
        {
            "record": Html(f'<a href="#r-{record.id}">{record.id[:8]}</a>'),
            "run": title(record),
            "profile": record.profile,
            "seed": str(config.get("seed", DASH)),
            "tested on": test or DASH,
            "Dice": record.metrics().get("dice", math.nan) if test else math.nan,
            "steps": number_text(content.get("training", {}).get("steps", math.nan), ",.0f"),
            "hours": content.get("timing", {}).get("training_s", math.nan) / 3600,
            "note": "never learned" if never_learned(record) else "stale" if record.stale else "",
        }
    )
table = pd.DataFrame(rows, columns=["record", "run", "profile", "seed", "tested on", "Dice", "steps", "hours", "note"])

# %% tags=["hide-input"]
style(
    table.sort_values(["run", "profile", "seed"], key=lambda column: column.str.lower()).reset_index(drop=True),
    "All records.",
    decimals=3,
).set_table_attributes('class="retlib-table ledger"')

# %% [markdown]
# ## Every record
#
# Settings that are not defaults, the machine, the training curve (Dice on training images, dark, and on validation images,
# light), and the scores of every test image.

# %% tags=["hide-input"]
SCORES = {"dice": "Dice", "sensitivity": "Se", "specificity": "Sp", "auc": "AUC", "cldice": "clDice"}


def curve(history):
    """Draw Dice over the epochs as a small SVG."""
    lines = []
    for column, opacity in {"train_dice": 1, "validation_dice": 0.45}.items():
        values = [row.get(column) for row in history]
        values = [value for value in values if value is not None]
        step = max(1, len(values) // 60)
        places = range(0, len(values), step)
        points = " ".join(f"{300 * i / max(1, len(values) - 1):.0f},{60 - 60 * values[i]:.1f}" for i in places)
        if len(values) > 1:
            lines.append(f'<polyline points="{points}" fill="none" stroke="currentColor" opacity="{opacity}"/>')
    drawing = "".join(lines)
    return (
        f'<svg viewBox="0 0 300 60" width="300" height="60" role="img" aria-label="Dice by epoch">{drawing}</svg>'
        if lines
        else ""
    )


def images(record):
    """List the scores of every test image, as text in columns."""
    parts = []
    for label, test in record.content["tests"].items():
        region = record.content["config"]["scoring"]["region"]
        scores = pd.DataFrame(record.per_image(label, region), index=test["images"])
        scores = scores[[name for name in SCORES if name in scores]].rename(columns=SCORES)
        where = "inside the FOV" if region == "fov" else "whole frame"
        parts.append(f"{label}, {where}\n{scores.to_string(float_format=lambda value: f'{value:.3f}', na_rep=DASH)}")
    return html.escape("\n\n".join(parts))


def describe(record):
    """Make the folded entry of one record."""
    content = record.content
    config = content["config"] if "kind" in content["config"] else record.config.explicit_fields()
    environment = content.get("environment", {})
    machine = {name: environment[name] for name in ("device", "cores", "threads", "system") if name in environment}
    machine |= {"torch": environment.get("packages", {}).get("torch"), "timing": content.get("timing", {})}
    text = yaml.safe_dump(
        {"config": config, "machine": machine},
        sort_keys=False,
        default_flow_style=None,
        width=110,
    )
    return (
        f'<details class="record"><summary><code>{record.id}</code> {html.escape(title(record))}</summary><div id="r-{record.id}">'
        f"{curve(content.get('history', []))}<pre>{images(record)}</pre><pre>{html.escape(text)}</pre></div></details>"
    )


HTML("\n".join(describe(record) for record in shown) or "No record.")
