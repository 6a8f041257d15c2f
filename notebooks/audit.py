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
# # Do the printed numbers fit together?
#
# {glue:text}`papers_impossible` of the {glue:text}`papers` papers print numbers of their own that are arithmetically
# impossible; and most tables tell, without a word of text, whether the black frame around the retina was scored. Of all rows
# and statements that were checked, {glue:text}`count_bound` are arithmetically impossible, by a proof that needs the printed numbers and
# the labels alone; {glue:text}`count_text` more contradict the table of their paper; and {glue:text}`count_records` more are implausible given
# our records.
#
# A row of a results table is over-determined. Accuracy, sensitivity and specificity determine the share of vessel pixels
# in the region that was scored, and with that share every other score. This page checks the five papers, the rows that
# they quote from the literature, and a few well-known published results by this arithmetic alone.
#
# ## Key findings
#
# - **ResASPP-UNet.** The paper's own rows on DRIVE imply a vessel share of {glue:text}`resaspp_drive`. The labels of the test
#   images have {glue:text}`drive_frame` in the whole frame and {glue:text}`drive_fov` inside the field of view (FOV), so the
#   rows fit: {glue:text}`resaspp_drive_region`. The scores in its conclusion imply {glue:text}`conclusion_drive` on DRIVE and
#   {glue:text}`conclusion_stare` on STARE, where no photograph has more than {glue:text}`drive_most` and
#   {glue:text}`stare_most`: {glue:text}`conclusion_verdict`, and different from the paper's own tables.
# - **AF-UNet.** On DRIVE its rows imply {glue:text}`af_drive` ({glue:text}`af_drive_region`), on STARE {glue:text}`af_stare`.
#   All rows of a table should share one value; the verdict is: {glue:text}`af_drive_one` on DRIVE,
#   {glue:text}`af_stare_one` on STARE. Of the DRIVE rows, {glue:text}`af_drive_impossible` by itself: the Dice exceeds every
#   value that precision and recall allow.
# - **R2U-Net.** The rows of its table, one for each epoch, imply {glue:text}`r2u_drive`
#   ({glue:text}`r2u_drive_region`). Each row is consistent with a confusion matrix: {glue:text}`r2u_consistent`.
# - **ConvLSTM U-Net.** Its row on DRIVE implies {glue:text}`convlstm_drive` ({glue:text}`convlstm_drive_region`). Checks
#   passed: {glue:text}`convlstm_checks`.
# - **Attention U-Net++.** It prints Dice and IoU alone, which leave the region open. Rows in which one agrees with the
#   other: {glue:text}`attention_consistent`.
# - **Published results on DRIVE.** Scored on the whole frame, by their own numbers: {glue:text}`published_frame`. Their
#   accuracy cannot be compared with that of rows scored inside the FOV, since the frame adds background that is easy.

# %% tags=["parameters", "hide-input"]
data_root: str = None  # folder of the data sets; accepted as on every page, not read here
records: str = None  # folder of the records; None: the book's own

# %% tags=["hide-input"]
from retlib.study.parameters import check_parameters

parameters = check_parameters(globals())

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib_inline.backend_inline import set_matplotlib_formats

from retlib import audit
from retlib.data.registry import COLLECTIONS
from retlib.papers import list_papers
from retlib.study.figures import set_style
from retlib.study.notebook import book_records
from retlib.study.paper_audit import audit_paper
from retlib.study.tables import style

set_style()
set_matplotlib_formats("svg", metadata={"Date": None})
plt.rcParams["svg.hashsalt"] = "audit"  # a page that is built twice is the same page
folder = book_records(Path(".")) if parameters.records is None else Path(parameters.records)
NAMES = {
    "resaspp-unet": "ResASPP-UNet",
    "af-unet": "AF-UNet",
    "r2u-net": "R2U-Net",
    "convlstm-unet": "ConvLSTM U-Net",
    "attention-unetpp": "Attention U-Net++",
}
KINDS = {"measured": "own rows", "claim": "statements of the text", "quoted": "quoted rows"}
# Verdicts of the page: what `retlib audit` calls impossible, by what the verdict rests on. From the mildest to the hardest.
BROKEN = {
    "records": "implausible given our records",
    "text": "text contradicts the table",
    "bound": "arithmetically impossible",
}
WORDS = [*(word for word in audit.VERDICTS if word != audit.IMPOSSIBLE), *BROKEN.values()]


def verdict_of(checks):
    """Name the hardest verdict of some checks; None where there are none."""
    found = [BROKEN[check.basis] if check.verdict == audit.IMPOSSIBLE else check.verdict for check in checks]
    return max(found, key=WORDS.index, default=None)


# %% [markdown]
# ## Results
#
# Every row is audited against the vessel shares that were measured on the data sets, and against how far averaging over
# images moved the scores of our own records.

# %%
background = audit.load_background(folder)
papers = sorted(list_papers(), key=[*NAMES, *list_papers()].index)
audits = {NAMES.get(key, key): audit_paper(key, background) for key in papers}
audits["Published results"] = audit.audit_published(background)


def interval(row):
    """Implied vessel share of a row with its range; empty where the row determines none."""
    return vars(row.share.interval) if row.share and row.share.interval and row.share.pair else {}


rows = pd.DataFrame(
    {
        "source": source,
        "kind": KINDS[row.kind] if row.label != "all rows" else "tables as a whole",
        "place": row.where,
        "row": "statement" if row.kind == "claim" else row.label,
        "data set": COLLECTIONS[row.dataset].title if row.dataset in COLLECTIONS else row.dataset,
        "vessel share": interval(row).get("value"),
        "lowest": interval(row).get("low"),
        "highest": interval(row).get("high"),
        "region that fits": row.share.region if row.share else "",
        "verdict": verdict_of(row.checks),
        "checks": row.checks,
    }
    for source, found in audits.items()
    for row in found
)

# %%
counts = pd.crosstab([rows["source"], rows["kind"]], rows["verdict"])
counts = counts.reindex(rows["source"].unique(), level="source")
counts = counts[[word for word in WORDS if word in counts]]
SHORT = [
    audit.CONSISTENT,
    "only as a mean",
    "only if cut off",
    "other reading",
    "implausible",
    "contradicts table",
    "impossible",
]
style(
    counts.reset_index().rename(columns=dict(zip(WORDS, SHORT, strict=True))),
    "Rows, statements and whole tables by verdict; without those that print too few scores to check. "
    "Implausible: given our records. Impossible: arithmetically. Quoted rows were printed by others first.",
)

# %%
own = rows[rows["kind"].eq("own rows") & rows["vessel share"].notna()]
implied = own.groupby(["source", "data set"], sort=False).agg(
    rows=("row", "size"),
    smallest=("vessel share", "min"),
    largest=("vessel share", "max"),
    region=("region that fits", lambda regions: "; ".join(dict.fromkeys(regions))),
)
style(
    implied.reset_index().rename(columns=lambda name: f"{name} share" if name in ("smallest", "largest") else name),
    "The vessel share that each paper's own rows imply, and the region that it fits.",
    decimals=3,
)

# %% [markdown]
# The labels themselves, pooled over the images that are usually scored:

# %%
labels = pd.DataFrame(
    {
        "data set": shares.title,
        "images": shares.part,
        "whole frame": shares.pooled["frame"],
        "FOV": shares.pooled["fov"],
    }
    for shares in background.shares.values()
)
style(labels, "Measured share of vessel pixels in the labels.", decimals=3)

# %% tags=["hide-input"]
try:
    from myst_nb import glue
except ModuleNotFoundError:  # outside the book the sentences above show names; here are their values

    def glue(name, value, display=False):
        """Print a value under the name that a sentence has for it."""
        print(f"{name}: {value}")


def several(values, digits=3):
    """One number, or the span of several; a dash for none."""
    texts = sorted({f"{value:.{digits}f}" for value in values})
    return f"{texts[0]} to {texts[-1]}" if len(texts) > 1 else "".join(texts) or "—"


def listed(texts):
    """Different texts after one another; a dash for none."""
    return "; ".join(dict.fromkeys(text for text in texts if text)) or "—"


def part(of):
    """How many of some verdicts are consistent."""
    return f"{int(of.eq(audit.CONSISTENT).sum())} of {len(of)}"


numbers = {"papers": len(papers)}
not_quoted = rows[rows["kind"].ne("quoted rows") & rows["verdict"].eq(BROKEN["bound"])]
numbers |= {f"count_{basis}": int(rows["verdict"].eq(words).sum()) for basis, words in BROKEN.items()}
numbers["papers_impossible"] = not_quoted["source"].nunique()
for key in ("drive", "stare"):
    shares = background.shares.get(key)
    numbers[f"{key}_frame"] = several([shares.pooled["frame"]] if shares else [])
    numbers[f"{key}_fov"] = several([shares.pooled["fov"]] if shares else [])
    numbers[f"{key}_most"] = several([shares.widest[1]] if shares else [])
for short, source in {
    "resaspp": "ResASPP-UNet",
    "af": "AF-UNet",
    "r2u": "R2U-Net",
    "convlstm": "ConvLSTM U-Net",
}.items():
    for title in ("DRIVE", "STARE"):
        chosen = own[own["source"].eq(source) & own["data set"].eq(title)]
        numbers[f"{short}_{title.lower()}"] = several(chosen["vessel share"])
        numbers[f"{short}_{title.lower()}_region"] = listed(chosen["region that fits"])
    numbers[f"{short}_consistent"] = part(own[own["source"].eq(source)]["verdict"])
conclusion = rows[rows["source"].eq("ResASPP-UNet") & rows["place"].eq("Conclusion")]
for title in ("DRIVE", "STARE"):
    numbers[f"conclusion_{title.lower()}"] = several(conclusion[conclusion["data set"].eq(title)]["vessel share"], 2)
    whole = rows[rows["source"].eq("AF-UNet") & rows["kind"].eq("tables as a whole") & rows["data set"].eq(title)]
    numbers[f"af_{title.lower()}_one"] = listed(whole["verdict"])
numbers["conclusion_verdict"] = listed(conclusion["verdict"])
broken = rows[rows["source"].eq("AF-UNet") & rows["data set"].eq("DRIVE") & rows["verdict"].eq(BROKEN["bound"])]
numbers["af_drive_impossible"] = f"{listed(broken['row'])} is {BROKEN['bound']}"
checks = [
    check
    for found in rows[rows["source"].eq("ConvLSTM U-Net") & rows["kind"].eq("own rows")]["checks"]
    for check in found
]
numbers["convlstm_checks"] = part(pd.Series([check.verdict for check in checks], dtype=str))
dice_iou = rows[rows["source"].eq("Attention U-Net++") & rows["kind"].isin(["own rows", "quoted rows"])]
numbers["attention_consistent"] = part(dice_iou["verdict"])
published = rows[rows["source"].eq("Published results")]
numbers["published_frame"] = listed(published[published["region that fits"].str.startswith("whole frame (")]["row"])
for name, value in numbers.items():
    glue(name, value, display=False)

# %% [markdown]
# ## Each paper
#
# In the figures a dot is the vessel share that a row implies, and its colour is the verdict on that row, from all checks
# of the row. A row may imply the right share and still be arithmetically impossible, when its Dice contradicts its other scores. Lines are
# the shares of the labels, bands the range over single photographs.

# %% tags=["hide-input"]
MARKERS = dict(zip(WORDS, "os^vDPX", strict=True))
LINES = {"frame": ("-", "labels, whole frame"), "fov": ("--", "labels, inside the FOV")}
PALETTE = sns.color_palette("colorblind")
COLOURS = dict(zip(WORDS, (PALETTE[i] for i in (0, 1, 8, 5, 9, 7, 3)), strict=True))
TITLES = {shares.title: shares for shares in background.shares.values()}


def once(frame):
    """Own rows first; a row that stands in several tables is shown once, with all its places."""
    order = frame["kind"].map([*KINDS.values(), "tables as a whole"].index)
    keys = [column for column in frame.columns if column not in ("place", "checks")]
    frame = frame.assign(order=order).sort_values("order", kind="stable")
    return frame.groupby(keys, sort=False, dropna=False)["place"].agg(", ".join).reset_index()


def name(frame):
    """Rows of a table by their name and place; published results, whose places are long, by their name."""
    return frame["row"].where(frame["source"].eq("Published results"), frame["row"] + " (" + frame["place"] + ")")


def draw_shares(source, limit=0.26):
    """A panel for each data set: the implied shares of the rows against the shares of the labels."""
    shown = once(rows[rows["source"].eq(source) & rows["vessel share"].notna()])
    panels = {title: group for title, group in shown.groupby("data set", sort=False) if title in TITLES}
    heights = [len(group) + 1.5 for group in panels.values()] or [1]
    figure, axes = plt.subplots(
        max(len(panels), 1), 1, figsize=(8.5, 0.27 * sum(heights) + 1.3), height_ratios=heights, squeeze=False
    )
    for axis, (title, group) in zip(axes[:, 0], panels.items(), strict=False):
        for (key, (line, _)), colour in zip(LINES.items(), (PALETTE[2], PALETTE[4]), strict=True):
            axis.axvspan(*TITLES[title].single[key], color=colour, alpha=0.12, linewidth=0)
            axis.axvline(TITLES[title].pooled[key], color=colour, linestyle=line, linewidth=1.2)
        for place, (_, row) in enumerate(group.iterrows()):
            colour, value = COLOURS[row["verdict"]] if row["verdict"] in COLOURS else "gray", row["vessel share"]
            if value > limit:
                axis.plot(limit, place, ">", color=colour, markersize=7, clip_on=False, zorder=3)
                axis.annotate(
                    f"{value:.2f}", (limit, place), (-9, 0), textcoords="offset points", ha="right", va="center"
                )
            else:
                axis.plot(
                    [row["lowest"], min(row["highest"], limit)], [place, place], color=colour, linewidth=2, zorder=3
                )
                axis.plot(value, place, MARKERS.get(row["verdict"], "."), color=colour, markersize=5, zorder=3)
        axis.set_yticks(range(len(group)), name(group))
        axis.set(xlim=(0, limit), ylim=(len(group) - 0.4, -0.6))
        axis.set_title(title, loc="left")
        axis.grid(axis="y", linewidth=0.4)
    axes[-1, 0].set_xlabel("share of vessel pixels")
    handles = [plt.Line2D([], [], color=COLOURS[v], marker=MARKERS[v], linestyle="", label=v) for v in counts]
    handles += [
        plt.Line2D([], [], color=colour, linestyle=line, label=label)
        for (line, label), colour in zip(LINES.values(), (PALETTE[2], PALETTE[4]), strict=True)
    ]
    figure.legend(handles=handles, title="colour of a dot: verdict on its row", loc="outside upper center", ncols=3)


def show_shares(source):
    """The implied share of each row, its region and the verdict on the row."""
    frame = once(rows[rows["source"].eq(source) & rows["vessel share"].notna()])
    frame["row"] = name(frame)
    frame["fits"] = frame["region that fits"].str.replace("inside the FOV", "FOV").str.replace("whole frame", "frame")
    columns = ["row", "data set", "vessel share", "fits", "verdict"]
    return style(frame[columns], f"{source}: the vessel share that each row implies, and the region that it fits.")


def list_checks(source, verdicts):
    """Checks of one source with these verdicts, the hardest first, and their numbers."""
    lines = rows[rows["source"].eq(source)].explode("checks").dropna(subset="checks")
    lines = lines.assign(
        arithmetic=[check.arithmetic.split("; averaging")[0].replace(" - ", " − ") for check in lines["checks"]],
        verdict=[verdict_of([check]) for check in lines["checks"]],
    )
    lines = once(lines[lines["verdict"].isin(verdicts)])
    lines = lines.sort_values("verdict", key=lambda column: -column.map(WORDS.index), kind="stable")
    lines["row"] = name(lines)
    return lines[["row", "data set", "arithmetic", "verdict"]].reset_index(drop=True)


def show_inconsistent(source, verdicts=WORDS[1:], which="that are not consistent"):
    """Checks of one source with these verdicts, by default all but the consistent ones."""
    return style(list_checks(source, verdicts), f"{source}: checks {which}.")


# %% [markdown]
# ### ResASPP-UNet

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two panels, DRIVE and STARE: the vessel share that each row of the ResASPP-UNet paper implies. The paper's own rows lie on the line of the whole frame; some quoted rows and the two statements of the conclusion lie far to the right."}, "figure": {"caption": "ResASPP-UNet: implied vessel shares against the labels. An arrow stands for a share beyond the axis.", "name": "fig-audit-resaspp"}}
draw_shares("ResASPP-UNet")
plt.show()

# %%
show_shares("ResASPP-UNet")

# %%
show_inconsistent("ResASPP-UNet", WORDS[2:], "that averaging over images does not explain")

# %% tags=["hide-output"]
show_inconsistent("ResASPP-UNet", [audit.ONLY_MEAN], "that hold only as a mean over images")

# %% [markdown]
# ### AF-UNet

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two panels, DRIVE and STARE: the vessel share that each row of the AF-UNet paper implies. On DRIVE the rows scatter around the line of the whole frame, on STARE they spread far to the left of both lines."}, "figure": {"caption": "AF-UNet: implied vessel shares against the labels. Rows of one table should share one value.", "name": "fig-audit-af"}}
draw_shares("AF-UNet")
plt.show()

# %%
show_shares("AF-UNet")

# %%
show_inconsistent("AF-UNet", WORDS[2:], "that averaging over images does not explain")

# %% tags=["hide-output"]
show_inconsistent("AF-UNet", [audit.ONLY_MEAN], "that hold only as a mean over images")

# %% [markdown]
# ### R2U-Net
#
# The table follows a collapse over epochs. Its scores are of validation images, which may be any photographs or patches of
# them; the share shows what they were cut from.

# %% tags=["hide-input"] mystnb={"image": {"alt": "One panel, DRIVE: the vessel share that each epoch of the R2U-Net implies. All lie close to the line of the labels inside the field of view."}, "figure": {"caption": "R2U-Net: implied vessel shares against the labels.", "name": "fig-audit-r2u"}}
draw_shares("R2U-Net")
plt.show()

# %%
show_shares("R2U-Net")

# %%
show_inconsistent("R2U-Net")

# %% [markdown]
# ### ConvLSTM U-Net
#
# Its own row, and rows that its introduction quotes.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Three panels, DRIVE, STARE and CHASE_DB1: the vessel share that the ConvLSTM U-Net's own row and the rows quoted in its introduction imply. The own row lies on the line of the labels inside the field of view."}, "figure": {"caption": "ConvLSTM U-Net: implied vessel shares against the labels.", "name": "fig-audit-convlstm"}}
draw_shares("ConvLSTM U-Net")
plt.show()

# %%
style(list_checks("ConvLSTM U-Net", WORDS), "ConvLSTM U-Net: all checks.")

# %% [markdown]
# ### Attention U-Net++
#
# Dice and IoU do not depend on the number of background pixels, so they leave the region open; but one determines the
# other.

# %%
style(list_checks("Attention U-Net++", WORDS), "Attention U-Net++: all checks.")

# %% [markdown]
# ### Published results
#
# Results that others are compared with. An asterisk marks a row with numbers that were noted down without the source at
# hand; what follows from them is only as good as they are.

# %% tags=["hide-input"] mystnb={"image": {"alt": "A panel for each data set: the vessel share that published results imply. On DRIVE most lie on the line of the labels inside the field of view, some on that of the whole frame."}, "figure": {"caption": "Published results: implied vessel shares against the labels of the test images.", "name": "fig-audit-published"}}
draw_shares("Published results")
plt.show()

# %%
show_inconsistent("Published results")

# %% tags=["hide-input"]
style(
    pd.DataFrame(
        {"row": row.label, "source": row.source, "noted down": ", ".join(row.unchecked) or None}
        for row in audit.list_published()
        if not row.reference
    ),
    "Sources, and the scores that were noted down without the source at hand.",
)

# %% [markdown]
# ## How it is computed
#
# A printed number stands for the interval of all numbers that round to it. Arithmetic is done on fractions, so nothing is
# rounded on the way. With accuracy, sensitivity (Se) and specificity (Sp) the vessel share is
#
# $$p = \frac{\mathrm{Sp} - \mathrm{Acc}}{\mathrm{Sp} - \mathrm{Se}},$$
#
# and with accuracy, precision (P) and recall (R)
#
# $$p = \frac{1 - \mathrm{Acc}}{(1 - \mathrm{R}) + \mathrm{R}\,(1/\mathrm{P} - 1)}.$$
#
# The confusion matrices that round to a row form a polytope in the shares of TP, FN, FP and TN; the range of any other
# score is found at its corners (`retlib.audit.Matrices`). A row gets the hardest verdict of its checks:
#
# - **consistent**: some confusion matrix rounds to all the numbers that take part.
# - **only as a mean over images**: none does, but a mean of scores over images need not obey the identities of one
#   confusion matrix, and the distance is no larger than averaging made it in our own records.
# - **only if cut off, not rounded**: no rounding allows the numbers, but they fit where digits were cut off, or rounded
#   twice.
# - **only by another reading**: impossible as the numbers were read, and possible by a reading that the check names.
# - **implausible given our records**: the numbers lie further off than averaging over images moved them in any of our records.
# - **text contradicts the table**: a sentence gives another number than the paper's own table for the same score.
# - **arithmetically impossible**: the numbers break a bound that is proven for every mean over images.
#
# `retlib audit` calls the last three *impossible* and names what each rests on. Excluded are pooled pixels and means over
# images; medians are not judged, for they obey none of these bounds.
#
# Each check makes an assumption. A row whose paper names the official test images is compared with their labels; a row
# from the literature, or of validation images, with any photographs of its data set. *Arithmetically impossible* means that
# the assumption and the numbers contradict each other: a number may be mistyped, rows may come from different images or
# regions, or a label may have been resized before it was scored. The arithmetic does not show which.
#
# How far averaging moves an identity depends on the network: most on photographs where it fails. So a row is compared
# with networks that work about as well as it does, those whose Dice is nearer to the row's than to that of calling every
# pixel vessel, and in the same region where that is known. The table shows the largest deviations for a row as good as our
# best record of each data set. They are read from the records whenever this page is built, so a verdict that rests on them
# can change as records are added. An identity that divides by Sp − Se determines little where the two are nearly equal, which
# makes some deviations large.

# %%
identities = {
    ("prevalence", "accuracy", "sensitivity", "specificity"): "vessel share from Acc, Se, Sp",
    ("prevalence", "accuracy", "precision", "sensitivity"): "vessel share from Acc, P, Se",
    ("dice", "iou"): "Dice from IoU",
    ("dice", "precision", "sensitivity"): "Dice from P, Se",
    ("dice", "accuracy", "sensitivity", "specificity"): "Dice from Acc, Se, Sp",
}
best = {}
for deviation in background.deviations:
    dataset = deviation.test.split(":")[0]
    if dataset in COLLECTIONS:
        best[dataset] = max(best.get(dataset, 0), deviation.means["dice"])
tolerances = pd.DataFrame(
    {"identity": text}
    | {
        COLLECTIONS[name].title: background.tolerance(target, given, name, dice).value
        for name, dice in sorted(best.items())
    }
    for (target, *given), text in identities.items()
)
style(tolerances, "Largest deviation of means over images from identities of pooled scores.")

# %% [markdown]
# ## Your own table
#
# `retlib audit table.csv` does the same for any table: one method in each row, columns by their usual names, as fractions
# or percentages, in CSV, Markdown, LaTeX or Excel. It says how it read the table. Rows of medians, extremes and spreads are
# passed over, and rows that may be of other pixels (images, folds, regions, another data set, a column that is not
# understood) are not expected to have one vessel share in common. What is impossible as the table was read, and possible by
# another reading, is *only by another reading*: the customary test images are assumed (`--part`), *SE* may be a standard
# error, IoU a mean over vessels and background, a number with a range in brackets a median. The check says which reading,
# and what to write. In Python, with one of the published rows as the table:

# %%
row = next(row for row in audit.list_published() if row.label.startswith("U-Net, as BCDU-Net"))
scores = row.scores["drive"]
with tempfile.TemporaryDirectory() as scratch:
    table = Path(scratch) / "table.csv"
    pd.DataFrame([{"Method": row.label, "Dataset": "DRIVE", **scores}]).to_csv(table, index=False)
    content = audit.read_table(table)
for check in audit.audit_table(content, background)[0].checks:
    print(check.name, check.verdict, *check.arithmetic.split("; "), sep="\n  ")
for note in content.notes:
    print(note)

# %%
rates = {name: scores[name] for name in ("accuracy", "sensitivity", "specificity")}
share = audit.implied_prevalence(**rates)
print(f"vessel share {share.value:.4f}, from {share.low:.4f} to {share.high:.4f}")
