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
import pandas as pd
from IPython.display import display

import retlib
from retlib import audit
from retlib.papers import list_papers
from retlib.study import in_short, ledger, open_study, style
from retlib.study.paper_audit import audit_paper
from retlib.study.results import best_profile, same_profile, summarise
from retlib.study.tables import DASH, number_text

studies = {key: open_study(key, parameters) for key in list_papers()}
papers = {key: study.paper for key, study in studies.items()}
lines = pd.concat([ledger(study) for study in studies.values()], ignore_index=True)
JUDGED = ["reproduced", "higher", "lower"]
SETS = {"drive": "DRIVE", "chase_db1": "CHASE_DB1", "hrf": "HRF", "stare": "STARE"}

# %% tags=["hide-input"]
measured = lines[(lines["kind"] == "table cell") & lines["verdict"].notna()]
judged = measured[measured["verdict"].isin(JUDGED)]
impossible = lines[lines["verdict"] == "impossible as printed"]

protocol = open_study("one-protocol", parameters).scores().query("role in ['table', 'fold']")
dice = protocol[protocol["complete"] & protocol["as_scored"] & (protocol["metric"] == "dice")]
means = (
    summarise(best_profile(dice, each="group"), by=["dataset", "model"])["value"]
    if len(dice)
    else pd.Series(dtype=float)
)
best = {name: means[name].idxmax() for name in SETS if name in means.index}

crossed = open_study("transfer", parameters).scores()
crossed = crossed[(crossed["region"] == "fov") & (crossed["average"] == "image") & (crossed["metric"] == "dice")]
at = (
    crossed.groupby(["run", "test"])["value"].mean().reset_index()
    if len(crossed)
    else pd.DataFrame(columns=["run", "test", "value"])
)
at["set"] = at["test"].str.split(":").str[0]
plain = at[at["run"].isin(SETS) & at["set"].isin(SETS)]
home = plain[plain["run"] == plain["set"]].set_index("set")["value"]
lost = (plain["set"].map(home) - plain["value"])[plain["run"] != plain["set"]].dropna()

if parameters.profile == "smoke":
    display(in_short("This is a smoke run on synthetic images: nothing is judged."))
else:
    rows = measured.groupby("paper").size()
    findings = [
        f"Version {retlib.__version__}. {len(papers)} papers, {len(lines)} printed numbers and claims; {len(judged)} of "
        f"{len(measured)} table cells have been judged by a full-size run, the others have a preview.",
        f"{len(impossible)} printed numbers of {impossible['paper'].nunique()} papers are arithmetically impossible: no set of "
        "photographs gives them.",
    ]
    if len(set(best.values())) == 1 and len(best) > 1:
        name = next(iter(best.values()))
        findings.append(
            f"Under one protocol, at half a million parameters each, the plain {'U-Net' if name == 'unet' else name} has the highest Dice on "
            f"{', '.join(SETS[key] for key in best)}."
        )
    if len(lost):
        findings.append(
            f"A network that meets another camera loses {number_text(lost.min(), '.2f')} to {number_text(lost.max(), '.2f')} Dice."
        )
    display(in_short(findings[0], "\n".join(f"- {sentence}" for sentence in findings[1:])))

# %% [markdown]
# ## Does paper X hold?

# %% tags=["hide-input"]
COMPARED = {  # the proposed network, and what it is compared with
    "resaspp-unet": ("drive-resaspp-unet", "drive-unet", "U-Net"),
    "af-unet": ("drive-af-unet", "drive-unet", "U-Net"),
    "r2u-net": ("drive-r2unet", "drive-r2unet-per-step", "the same trainings, statistics kept per recurrence"),
    "attention-unetpp": ("hrf-attention-unetpp-resnet34", "hrf-unet", "U-Net"),
}
background = audit.load_background(studies["af-unet"].store.path)
matrix = {}
for key, paper in papers.items():
    own = lines[lines["paper"] == key]
    regions = [
        row.share.region.split(" (")[0]
        for row in audit_paper(paper, background)
        if row.kind == "measured" and row.share and row.share.region and row.label != "all rows"
    ]
    wrong = int((own["verdict"] == "impossible as printed").sum())
    page = key.replace("-", "_")
    compared = DASH
    if key in COMPARED:
        proposed, other, words = COMPARED[key]
        scores = studies[key].scores()
        scores = same_profile(scores[scores["as_scored"] & (scores["metric"] == "dice")], [proposed, other])
        if scores["run"].nunique() == 2:
            value = summarise(scores, by=["run", "metric"])["value"].droplevel("metric")
            compared = f"{value[proposed]:.3f} ({words}: {value[other]:.3f}), {'full size' if scores['profile'].iloc[0] == 'paper' else 'preview'}"
    counts = own.loc[own["kind"] == "table cell", "verdict"].value_counts()
    verdict = ", ".join(f"{counts[name]} {name}" for name in JUDGED if name in counts)
    matrix[f'<a href="{page}.html">{paper.short}</a>'] = {
        "numbers fit together?": f"{wrong} impossible" if wrong else "yes",
        "region implied": "; ".join(dict.fromkeys(regions)) or "not determined",
        "our Dice, proposed network": compared,
        "full-size verdicts": f'<a href="verdicts.html#verdicts-{key}">{verdict or "preview only"}</a>',
    }
frame = pd.DataFrame.from_dict(matrix, orient="index")
styler = style(frame, "Five papers, one row each. Every name and verdict leads to its page.")
styler.format({"full-size verdicts": str})

# %% [markdown]
# ## What it looks like
#
# A photograph of CHASE_DB1 that no network here was trained on, and what the network that comes with the library makes of it.
# Move the slider, or use the arrow keys.
#
# <div class="compare" data-label="Photograph, and the error map of the prediction">
# <img src="../_static/example-photograph.jpg" alt="A fundus photograph: an orange disc with dark branching vessels that leave a bright optic disc.">
# <img src="../_static/example-errors.png" alt="The error map of the same photograph: detected vessels in dark grey, missed ones in orange, false positives in blue along vessel borders.">
# </div>
#
# *Left: photograph Image_12R of CHASE_DB1 (Kingston University, [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)),
# reduced. Right: detected vessels in dark grey, missed ones in orange, false positives in blue. [Segment your own
# image](../book/predict.md).*
#
# ## Where to go
#
# | question | page |
# |---|---|
# | How is a table read, what is a preview? | [How to read this book](../book/how-to-read.md), [Glossary](../book/glossary.md) |
# | By which rule is a number judged? | [Protocol](../book/protocol.md) |
# | Every printed number and claim, in one place | [Every claim and its verdict](verdicts.ipynb) |
# | Do the printed numbers fit together? | [The audit](audit.ipynb) |
# | Which network is better, all else equal? | [One protocol](one_protocol.ipynb) |
# | What does scoring the black frame, or a threshold chosen on test images, change? | [Effect of protocol flaws](protocol_faults.ipynb) |
# | How much is architecture, how much is recipe? | [Training-recipe ablation](recipe.ipynb) |
# | What happens on another camera? | [Cross-dataset](transfer.ipynb), [A network for unseen cameras](cameras.ipynb) |
# | Segment a photograph of my own | [Segment your own image](../book/predict.md), [Model card](model_card.ipynb) |
# | What is each network, and how do I build it? | [Model zoo](models.ipynb), [API](../book/api/index.md) |
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
# The file `CITATION.cff` of the repository has the entry; please cite the papers, too ([References](../book/references.md)).
