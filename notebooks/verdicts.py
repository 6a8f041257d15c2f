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
# # Every claim and its verdict
#
# Everything that the five papers say and a run can answer: each cell of their own tables, and each claim of their text. The
# page is computed from the papers' files (`retlib/papers/`) and the records (`book/records/`).

# %% tags=["parameters", "hide-input"]
# papermill replaces these by name.
profile: str = "lite"  # smoke: nothing is judged; lite and paper show every record, the best profile first
data_root: str = None  # folder of the data sets; None: RETLIB_DATA
records: str = None  # folder of the records; None: the book's own
device: str = "auto"  # not used: this page trains nothing
seeds: list = [0, 1, 2]  # records of these seeds are read
train: str = "never"  # not used

# %% tags=["hide-input"]
from retlib.study import check_parameters

parameters = check_parameters(globals())

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import HTML, display

from retlib.papers import list_papers
from retlib.study import in_short, ledger, open_study, style
from retlib.study.tables import DASH, number_text, record_link, verdict_text

studies = {key: open_study(key, parameters) for key in list_papers()}
papers = {key: study.paper for key, study in studies.items()}

# %%
lines = pd.concat([ledger(study) for study in studies.values()], ignore_index=True)  # one row a number or claim
JUDGED = [
    "reproduced",
    "higher",
    "lower",
]  # at full size: the paper's number inside our interval, we have more, or less

# %% tags=["hide-input"]
judged = lines[lines["verdict"].isin(JUDGED)]
in_tables = judged[judged["kind"] == "table cell"]
impossible = lines[lines["verdict"] == "impossible as printed"]
claims = lines[(lines["kind"] == "claim") & lines["verdict"].isin(["holds", "holds in part", "fails"])]
if parameters.profile == "smoke":
    display(in_short("This is a smoke run on synthetic images: nothing is judged."))
else:
    display(
        in_short(
            f"{len(in_tables)} cells of the tables of {in_tables['paper'].nunique()} papers have been judged at full size: "
            f"{(in_tables['verdict'] == 'reproduced').sum()} are reproduced, we measure more in "
            f"{(in_tables['verdict'] == 'higher').sum()} cases and less in {(in_tables['verdict'] == 'lower').sum()}. Another "
            f"{len(judged) - len(in_tables)} numbers, of the text, are judged by the same runs.",
            f"{len(impossible)} printed numbers of {impossible['paper'].nunique()} papers are arithmetically impossible.",
            f"Of the claims that could be decided {(claims['verdict'] == 'holds').sum()} hold, "
            f"{(claims['verdict'] == 'holds in part').sum()} hold in part and {(claims['verdict'] == 'fails').sum()} fail.",
        )
    )

# %% [markdown]
# ## Verdicts by paper
#
# The first columns count table cells; *impossible* counts numbers of the text, too. *Claims* are those of the text that
# something decides: how many hold, hold in part and fail. *Facts* about data sets (how many images, how large) are counted
# apart, since they say nothing about a method: how many are right, of how many.

# %%
cells = lines[lines["kind"] == "table cell"]
counts = pd.crosstab(cells["paper"], cells["verdict"]).reindex(index=papers, fill_value=0)
summary = counts.reindex(columns=[*JUDGED, "preview only", "not run"], fill_value=0)
summary["impossible"] = impossible["paper"].value_counts().reindex(papers, fill_value=0)
claimed = pd.crosstab(claims["paper"], claims["verdict"]).reindex(index=papers, fill_value=0)
summary["claims"] = [
    " / ".join(str(row.get(name, 0)) for name in ("holds", "holds in part", "fails")) for _, row in claimed.iterrows()
]
facts = lines[lines["kind"] == "data-set fact"]
right = (facts["verdict"] == "holds").groupby(facts["paper"]).agg(["sum", "count"]).reindex(papers, fill_value=0)
summary["facts"] = [f"{row['sum']} / {row['count']}" for _, row in right.iterrows()]

# %% tags=["hide-input"]
links = {
    key: f'<a href="{key.replace("-", "_")}.html">{paper.short}</a> (<a href="#verdicts-{key}">lines</a>)'
    for key, paper in papers.items()
}
style(summary.rename(index=links).rename_axis(columns=None), "Verdicts by paper.")

# %% [markdown]
# ## How to read the lines
#
# - **A cell of a table, or a number in the text.** Reported and measured, as fractions of one, and the difference. Rows that
#   a paper quotes from other work are left out; where it quotes a row that we can run all the same, our number stands beside
#   it without a verdict.
# - **A claim that compares models.** *Reported* says how many of its comparisons hold in the paper's own tables, *measured*
#   how many hold in our records, all of one profile and with the seeds that all runs have.
# - **A fact about a data set.** It is compared with the files themselves.
# - **A claim that the paper's own text and tables decide**, with the reason. Where nothing decides a claim, its line says
#   what to look at and has no verdict.
#
# A `lite` number comes from a narrow network and a short training: a preview, on which no verdict is given. `not run` stands
# where there is no record at all. Beside a verdict on a number stands half the width of the interval that it rests on. The
# rule is in the [protocol](../book/protocol.md). With scripts on, each table can be searched and sorted.


# %% tags=["hide-input"]
def text(value, decimals, sign=""):
    """Format a number with its decimals, leave a text as it is."""
    if isinstance(value, str):
        return value
    return DASH if value is None or pd.isna(value) else number_text(round(value, decimals) + 0.0, f"{sign}.{decimals}f")


for key, paper in papers.items():
    own = lines[lines["paper"] == key]
    shown = pd.DataFrame(
        {
            "where": own["where"],
            "what": [
                " ".join(
                    part
                    for part in (
                        row.item or row.group,
                        f"({row.group})" if row.item and row.kind != "table cell" else "",
                    )
                    if part
                )
                for row in own.itertuples()
            ],
            "reported": [text(row.reported, row.decimals) for row in own.itertuples()],
            "measured": [text(row.measured, row.decimals) for row in own.itertuples()],
            "difference": [text(row.difference, row.decimals, "+") for row in own.itertuples()],
            "rests on": [record_link(*pair) for pair in zip(own["basis"], own["records"], strict=True)],
            "verdict": [verdict_text(row.verdict, row.half_width, row.decimals) for row in own.itertuples()],
            "note": own["note"].str.replace("`", ""),
        }
    ).reset_index(drop=True)
    by = f"{', '.join(paper.authors)}: " if paper.authors else ""
    page = f'<a href="{key.replace("-", "_")}.html">Its page</a>'
    display(HTML(f'<h2 id="verdicts-{key}">{paper.short}</h2><p>{by}<em>{paper.title}</em>. {page}.</p>'))
    display(style(shown, f"{paper.short}: every line.").set_table_attributes('class="retlib-table ledger"'))
