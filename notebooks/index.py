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
# # Retinal vessel segmentation: a reproducibility study of five papers
#
# Papers on retinal vessel segmentation report accuracies that differ in the third decimal and are computed in ways that
# differ far more: on other splits, on other pixels, at other thresholds. This book builds what five of
# them describe, runs it on the data sets they name, and prints every cell of their tables beside the number that we measured.

# %% tags=["parameters", "remove-cell"]
# papermill replaces these by name.
profile: str = "lite"  # smoke: nothing is judged; lite and paper show every record, the best profile first
data_root: str = None  # folder of the data sets; None: RETLIB_DATA
records: str = None  # folder of the records; None: the book's own
device: str = "auto"  # not used: this page trains nothing
seeds: list = [0, 1, 2]  # records of these seeds are read
train: str = "never"  # not used

# %% tags=["remove-cell"]
from retlib.study import check_parameters

parameters = check_parameters(globals())

# %% tags=["remove-cell"]
from pathlib import Path

import pandas as pd
import yaml
from IPython.display import Markdown, display

import retlib
from retlib import audit
from retlib.papers import list_papers
from retlib.study import in_short, ledger, open_study, style
from retlib.study.paper_audit import audit_paper
from retlib.study.results import SIZES, best_profile, difference, same_profile, summarise
from retlib.study.tables import DASH

studies = {key: open_study(key, parameters) for key in list_papers()}
papers = {key: study.paper for key, study in studies.items()}
lines = pd.concat([ledger(study) for study in studies.values()], ignore_index=True)
JUDGED = ["reproduced", "higher", "lower"]
SETS = {"drive": "DRIVE", "chase_db1": "CHASE_DB1", "hrf": "HRF", "stare": "STARE"}
citation = Path(retlib.__file__).parents[1] / "CITATION.cff"  # in a checkout
metadata = yaml.safe_load(citation.read_text(encoding="utf-8")) if citation.is_file() else {}

# %% tags=["hide-input"]
COMPARED = {  # the run that the proposed network is compared with, and what it is
    "resaspp-unet": ("drive-unet", "U-Net"),
    "af-unet": ("drive-unet", "U-Net"),
    "attention-unetpp": ("hrf-unet", "U-Net"),
    "r2u-net": ("drive-r2unet-per-step", "the same trainings, statistics kept per recurrence"),
}


def dice_of(key, *runs):
    """Read the Dice of some runs of a paper, all of one profile; None where one of them has no record."""
    scores = studies[key].scores()
    rows = same_profile(scores[scores["as_scored"] & (scores["metric"] == "dice")], runs)
    return rows if set(rows["run"]) == set(runs) else None


def size_of(rows):
    """Word the size of the runs behind some scores: ``preview, 3 seeds``."""
    seeds = rows.groupby("run")["seed"].nunique().min()
    return f"{SIZES[rows['profile'].iloc[0]]}, {seeds} seed{'s' if seeds > 1 else ''}"


measured = lines[(lines["kind"] == "table cell") & lines["verdict"].notna()]
judged = measured[measured["verdict"].isin(JUDGED)]
by_paper = judged["paper"].value_counts().reindex(papers, fill_value=0).sort_values(ascending=False, kind="stable")
impossible = lines[lines["verdict"] == "impossible as printed"]
findings = [
    f"{len(impossible)} printed numbers of {impossible['paper'].nunique()} papers are arithmetically impossible: no set of "
    "photographs gives them."
]

if (rows := dice_of("r2u-net", "drive-r2unet", COMPARED["r2u-net"][0])) is not None:
    stated, kept = summarise(rows, by=["run"])["value"].loc[["drive-r2unet", COMPARED["r2u-net"][0]]]
    findings.append(
        f"R2U-Net scores {stated:.2f} Dice as its report evaluates it, and {kept:.2f} where batch normalisation keeps the "
        f"statistics of each recurrence apart, which changes no weight of these trainings ({size_of(rows)})."
    )

protocol = open_study("one-protocol", parameters)
scores = protocol.scores().query("role in ['table', 'fold']")
dice = scores[scores["complete"] & scores["as_scored"] & (scores["metric"] == "dice")]
if len(dice):
    means = summarise(best_profile(dice, each="group"), by=["dataset", "model"])["value"]
    top = {name: means[name].nlargest(2) for name in SETS if name in means.index}
    if {values.index[0] for values in top.values()} == {"unet"}:
        millions = protocol.records().query("role in ['table', 'fold']")["parameters"] / 1e6
        lead = [values.iloc[0] - values.iloc[1] for values in top.values()]
        findings.append(
            f"Under one protocol, in previews of {millions.min():.2f} to {millions.max():.2f} million parameters, no "
            f"network has a higher Dice than the plain U-Net on {', '.join(SETS[key] for key in top)}; the second best is "
            f"{min(lead):.4f} to {max(lead):.4f} below it."
        )

crossed = open_study("transfer", parameters).scores()
crossed = crossed[(crossed["region"] == "fov") & (crossed["average"] == "image") & (crossed["metric"] == "dice")]
crossed = crossed[crossed["run"].isin(SETS)].assign(set=crossed["test"].str.split(":").str[0])
if len(crossed):
    at = crossed[crossed["set"].isin(SETS)].groupby(["run", "set"])["value"].mean().unstack()
    lost = pd.Series([at.loc[name, name] - at.loc[run, name] for run in at.index for name in at.index if run != name])
    findings.append(
        f"On photographs of another camera a network loses {lost.min():.2f} to {lost.max():.2f} Dice ({size_of(crossed)})."
    )

if parameters.profile == "smoke":
    display(in_short("This is a smoke run on synthetic images: nothing is judged."))
else:
    released = metadata.get("date-released", "not released")
    counted = ", ".join(f"{papers[key].short} {count}" for key, count in by_paper.items() if count)
    status = (
        f"Version {retlib.__version__} of {released}. {len(papers)} papers, {len(lines)} printed numbers and claims; "
        f"{len(judged)} of {len(measured)} table cells have been judged by a full-size run ({counted}), the others have a preview."
    )
    display(in_short(status, "\n".join(f"- {sentence}" for sentence in findings)))

# %% [markdown]
# ## Does paper X hold?

# %% tags=["hide-input"]
background = audit.load_background(studies["af-unet"].store.path)
matrix = {}
for key in by_paper.index:
    paper = papers[key]
    own = lines[lines["paper"] == key]
    regions = [
        row.share.region.split(" (")[0]
        for row in audit_paper(paper, background)
        if row.kind == "measured" and row.share and row.share.region and row.label != "all rows"
    ]
    regions = [
        region for region in regions if " or " not in region
    ] or regions  # a row that leaves it open decides nothing
    wrong = int((own["verdict"] == "impossible as printed").sum())
    page = key.replace("-", "_")
    proposed = next(iter(paper.proposed.values()))
    runs, answer, printed = [proposed], "not compared", paper.printed(proposed, "dice")
    if key in COMPARED and dice_of(key, proposed, COMPARED[key][0]) is not None:
        runs.append(COMPARED[key][0])
    rows = dice_of(key, *runs)
    dice = None if rows is None else summarise(rows, by=["run"])["value"]
    if len(runs) > 1:
        gain = difference(*(rows[rows["run"] == run] for run in reversed(runs)))
        answer = "open" if not gain.beyond_noise else "yes" if gain.value > 0 else "no"
        answer += f" ({COMPARED[key][1]}: {dice[runs[1]]:.3f})"
    counts = own.loc[own["kind"] == "table cell", "verdict"].value_counts()
    verdict = ", ".join(f"{counts[name]} {name}" for name in JUDGED if name in counts)
    matrix[f'<a href="{page}.html">{paper.short}</a>'] = {
        "above its baseline?": answer,
        "Dice": DASH if dice is None else f"{dice[proposed]:.3f}",
        "in the paper": DASH if printed is None else printed.text,
        "our runs": DASH if rows is None else size_of(rows),
        "table cells": f'<a href="verdicts.html#verdicts-{key}">{verdict or "preview only"}</a>',
        "numbers fit?": f"{wrong} impossible" if wrong else "yes",
        "region implied": "; ".join(dict.fromkeys(regions)) or "not determined",
    }
frame = pd.DataFrame.from_dict(matrix, orient="index")
caption = (
    "The proposed network of each paper; the R2U-Net report has no baseline. Open: the interval of the difference, over images and seeds, holds zero or the seeds"
    " disagree; with one seed it covers the choice of images alone."
)
style(frame, caption).format({"table cells": str})

# %% [markdown]
# ## What it looks like
#
# A photograph of CHASE_DB1 that no network here was trained on, and what the network that comes with the library makes of it.
# Move the slider, or use the arrow keys.
#
# <div class="compare" data-label="Photograph, and the error map of the prediction">
# <img src="../_static/example-photograph.jpg" alt="A fundus photograph: an orange disc with dark branching vessels that leave a bright optic disc.">
# <img src="../_static/example-errors.png" alt="The error map of the same photograph: detected vessels in dark gray, missed ones in orange, false positives in blue along vessel borders.">
# </div>
#
# *Left: photograph Image_12R of CHASE_DB1 (Kingston University, [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)),
# reduced. Right: detected vessels in dark gray, missed ones in orange, false positives in blue. [Segment your own
# image](../book/predict.md).*
#
# ## Where to go
#
# | question | page |
# |---|---|
# | How is a table read, what is a preview? | [How to read this book](../book/how-to-read.md), [Glossary](../book/glossary.md) |
# | By which rule is a number judged? | [Protocol](../book/protocol.md) |
# | Every printed number and claim, in one place | [Every claim and its verdict](verdicts.ipynb) |
# | Do the printed numbers fit together? | [Do the printed numbers fit together?](audit.ipynb) |
# | Which network is better, all else equal? | [One protocol for all networks](one_protocol.ipynb) |
# | What does scoring the black frame, or a threshold chosen on test images, change? | [Effect of protocol flaws](protocol_faults.ipynb) |
# | How much is architecture, how much is recipe? | [Training-recipe ablation](recipe.ipynb) |
# | What happens on another camera? | [Cross-dataset: trained on one data set, tested on the others](transfer.ipynb), [A network for unseen cameras](cameras.ipynb) |
# | Segment a photograph of my own | [Segment your own image](../book/predict.md), [Model card](model_card.ipynb) |
# | What is each network, and how do I build it? | [Model zoo](models.ipynb), [The library](../book/api/index.md) |
# | Run it again, add a paper | [Batch reproduction](../book/reproduce.md), [How to add a paper](../book/add-a-paper.md) |
#
# ## Two commands
#
# ```console
# $ make book     # set up, execute every notebook, render this book
# $ make test     # set up, check everything
# ```
#
# Both work on a machine with Python 3.11 or newer and `make`, with or without the data sets. Without them the tables still
# come from the committed records, and the pipelines run on synthetic fundus images. [The page on data](../book/data.md) says how to get the
# real ones.
#
# ## Why these five papers
#
# They are the five that this study was asked to re-run: recent work on variants of the U-Net for retinal vessels, two without
# a title, authors or date in the version available to us, one a course report. They were not selected for their results, so
# nothing here says how the field as a whole fares. Their authors have not been contacted.
#
# ## Cite
#
# Please cite the papers, too ([References](../book/references.md)).

# %% tags=["hide-input"]
if metadata:
    authors = " and ".join(author["name"] for author in metadata["authors"])
    entry = f"{authors}. *{metadata['title']}*. Version {metadata['version']}, {metadata['date-released']}. Software, {metadata['license']} licence."
    display(Markdown(entry))
