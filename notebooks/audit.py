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
# # What the tables say about themselves
#
# A row of a results table is over-determined: accuracy, sensitivity and specificity fix the share of vessel pixels in the
# region that was scored, and with that share every other score. So a table says, without a word of text, whether the
# black frame around the retina was counted, and whether its numbers can stand together. This page asks the five papers, the
# literature that they quote, and a few well-known results.

# %% [markdown]
# ## Parameters
#
# papermill replaces these by name. Nothing is trained here, and no data set is needed.

# %% tags=["parameters"]
data_root: str = None  # folder of the data sets; taken like everywhere, not read here
records: str = None  # folder of the records; None: the book's own

# %% tags=["hide-input"]
from retlib.report import check_parameters

parameters = check_parameters(globals())

# %% tags=["hide-input"]
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown, display

from retlib import audit, report
from retlib.audit import figures as audit_figures
from retlib.audit import frames
from retlib.papers import list_papers, load_paper
from retlib.study import figures

figures.set_style()
folder = report.book_records(Path(".")) if parameters.records is None else Path(parameters.records)
background = audit.load_background(folder)
papers = {key: load_paper(key) for key in list_papers()}
audits = {key: audit.audit_paper(paper, background) for key, paper in papers.items()}
published = audit.audit_published(background)


def tell(rows):
    """The findings of one source as a list."""
    display(Markdown("\n".join(f"- {sentence}" for sentence in frames.sentences(rows, background))))


# %% [markdown]
# ## How to read a verdict
#
# Every printed number is an interval: all that rounds to it. What follows from several of them is computed with fractions,
# so an interval here is exact.
#
# - **consistent**: some confusion matrix rounds to all the numbers that take part.
# - **only as a mean over images**: none does, but a mean of scores over images need not obey the identities of one
#   confusion matrix, and the distance is no larger than averaging made it in our own records.
# - **impossible**: the numbers break a bound that is proven for every mean over images, or lie further off than averaging
#   went in any of our records. A table says which of the two.
#
# Each check takes something for granted, and says what. A row whose paper names the official test images is held against
# their labels; a row from the literature, or of validation images, against any photographs of its data set. *Impossible*
# means that the assumption and the numbers do not go together: a number may be mistyped, rows may come from different
# images or regions, or a label may have been resized before it was scored. It does not say which.

# %% tags=["hide-input"]
widths = frames.tolerance_frame(background)
if widths.empty:
    display(Markdown("There is no record yet, so only what breaks a proven bound is called impossible."))
else:
    display(
        report.style(
            widths,
            "How far means over images departed from the identities of pooled scores: the largest departure in our records, in both regions, for a row as good as our best record.",
        )
    )

# %% [markdown]
# The departures are largest where a network fails on single images, as on STARE when it was trained on DRIVE. So a row
# is held against networks that work about as well as it does: those whose Dice is nearer to the row's than to that of
# calling every pixel vessel, and scored in the same region where it is known. They are read from the records each time
# this page is built, so a verdict that rests on them can soften as records are added.

# %% [markdown]
# ## What we found

# %% tags=["hide-input"]
everything = {paper.short: audits[key] for key, paper in papers.items()} | {"published results": published}
report.style(frames.verdict_frame(everything), "Rows, tables taken as a whole, and statements of the text, by verdict.")

# %% tags=["hide-input"] mystnb={"image": {"alt": "For DRIVE, STARE and CHASE_DB1, one line a table row: the vessel share that the row implies, with its interval, beside lines for the share of the labels in the whole frame and inside the field of view. Most rows lie on one of the two lines; some lie between or far to the right."}, "figure": {"caption": "The vessel share that each row implies, against the labels: lines are pooled shares, bands single images. An arrow stands for a share beyond the axis.", "name": "fig-audit-shares"}}
audit_figures.share_figure(everything, background, ["drive", "stare", "chase_db1"])
plt.show()

# %% [markdown]
# ## ResASPP-UNet

# %% tags=["hide-input"]
tell(audits["resaspp-unet"])

# %% tags=["hide-input"]
report.style(frames.share_frame(audits["resaspp-unet"]), "ResASPP-UNet: the vessel share that each row implies.")

# %% tags=["hide-input"]
report.style(frames.check_frame(audits["resaspp-unet"]), "ResASPP-UNet: what no confusion matrix gives.")

# %% [markdown]
# ## AF-UNet

# %% tags=["hide-input"]
tell(audits["af-unet"])

# %% tags=["hide-input"]
report.style(frames.share_frame(audits["af-unet"]), "AF-UNet: the vessel share that each row implies.")

# %% tags=["hide-input"]
report.style(frames.check_frame(audits["af-unet"]), "AF-UNet: what no confusion matrix gives.")

# %% [markdown]
# ## R2U-Net
#
# The table follows a collapse over epochs. Its scores are of validation images, which may be any photographs or patches of
# them. The share tells what they were cut from.

# %% tags=["hide-input"]
tell(audits["r2u-net"])

# %% tags=["hide-input"]
report.style(frames.share_frame(audits["r2u-net"]), "R2U-Net: the vessel share that each epoch implies.")

# %% tags=["hide-input"]
report.style(frames.check_frame(audits["r2u-net"]), "R2U-Net: what no confusion matrix gives.")

# %% [markdown]
# ## ConvLSTM U-Net

# %% tags=["hide-input"]
tell(audits["convlstm-unet"])

# %% tags=["hide-input"]
report.style(
    frames.share_frame(audits["convlstm-unet"]),
    "ConvLSTM U-Net: the vessel share of its own row and of the rows that its introduction quotes.",
)

# %% [markdown]
# All checks of its own row, with the arithmetic:

# %% tags=["hide-input"]
own = [row for row in audits["convlstm-unet"] if row.kind == "measured"]
report.style(frames.check_frame(own, audit.VERDICTS), "ConvLSTM U-Net, Table 1: its numbers against one another.")

# %% [markdown]
# ## Attention U-Net++
#
# Dice and IoU alone say nothing about the region, but one fixes the other.

# %% tags=["hide-input"]
tell(audits["attention-unetpp"])

# %% tags=["hide-input"]
own = [row for row in audits["attention-unetpp"] if row.kind in ("measured", "quoted")]
report.style(frames.check_frame(own, audit.VERDICTS), "Attention U-Net++: Dice against IoU.")

# %% [markdown]
# ## Published results
#
# Results that others are measured against. An asterisk marks a row with numbers that were noted down without the source
# at hand; what follows from them is only as good as they are.

# %% tags=["hide-input"]
tell(published)

# %% tags=["hide-input"]
report.style(frames.share_frame(published), "Published results on DRIVE: the vessel share that each implies.")

# %% tags=["hide-input"]
report.style(frames.check_frame(published), "Published results: what no confusion matrix gives.")

# %% tags=["hide-input"]
noted = [row for row in audit.list_published() if row.unchecked]
report.style(
    pd.DataFrame({"row": row.label, "source": row.source, "noted down": ", ".join(row.unchecked)} for row in noted),
    "Numbers that were noted down without the source at hand.",
)

# %% [markdown]
# ## Your own table
#
# `retlib audit table.csv` does the same for anybody's table: one method a row, columns by their usual names, as fractions
# or percentages. In Python, with one of the published rows as the table:

# %%
row = audit.list_published()[0]
with tempfile.TemporaryDirectory() as scratch:
    table = Path(scratch) / "table.csv"
    table.write_text(
        "Method,Dataset,"
        + ",".join(row.scores)
        + "\n"
        + f"{row.label.replace(',', '')},DRIVE,"
        + ",".join(row.scores.values())
    )
    content = audit.read_table(table)
found = audit.audit_table(content, background)
for check in found[0].checks:
    print(f"{check.name}: {check.verdict}\n  {check.arithmetic}")
for note in content.notes:
    print(note)

# %%
share = audit.implied_prevalence(**{name: row.scores[name] for name in ("accuracy", "sensitivity", "specificity")})
print(f"vessel share {share.value:.4f}, from {share.low:.4f} to {share.high:.4f}")
