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
# # AF-UNet
#
# AF-UNet gives every decoder level of a U-Net a second, shallower encoder feature, an asymmetric skip. The paper reports it
# on DRIVE and STARE against five relatives of U-Net. This page re-runs the paper from its own description.

# %% tags=["parameters", "hide-input"]
# papermill replaces these by name. The defaults show the records that come with the book and train nothing.
profile: str = "lite"  # smoke: synthetic images; lite: real images, small; paper: as published
data_root: str = None  # folder of the data sets; None: RETLIB_DATA
records: str = None  # folder of the records; None: the book's own
device: str = "auto"  # auto, cpu, cuda, cuda:1
seeds: list = [0, 1, 2]  # one run a seed (smoke: the first alone)
train: str = "never"  # missing, never, always: which records to make

# %% tags=["hide-input"]
from retlib.study import check_parameters

parameters = check_parameters(globals())

# %% tags=["hide-input", "remove-output"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display
from matplotlib.patches import Rectangle
from matplotlib_inline.backend_inline import set_matplotlib_formats
from scipy import ndimage

from retlib.audit import BASES, load_background
from retlib.data import load_dataset
from retlib.inference import predict_logits
from retlib.metrics import evaluate
from retlib.metrics.topology import skeleton
from retlib.models import build_model
from retlib.models.drawing import Arrow, Box, map_sizes, network_figure
from retlib.preprocessing import prepare
from retlib.study import (
    MISSED,
    TRUE_VESSEL,
    beside_ours,
    figures,
    in_short,
    ledger,
    open_study,
    reported,
    style,
    tables,
    verdicts,
)
from retlib.study.paper_audit import audit_paper
from retlib.study.results import best_profile, difference, same_profile, summarise
from retlib.study.statistics import coverage_note
from retlib.study.tables import number_text, signed
from retlib.training import fit

figures.set_style()
set_matplotlib_formats("svg", metadata={"Date": None})
plt.rcParams["svg.hashsalt"] = "af-unet"  # a page that is built twice is the same page
study = open_study("af-unet", parameters)
paper = study.paper
TABLE_RUNS = list(paper.runs(parameters.profile, role="table"))
(DENSE,) = paper.runs(parameters.profile, role="ablation")  # all finer stages at every decoder level
study.train([*TABLE_RUNS, DENSE])

configs = paper.runs("paper")
NAMES = {run: plan.about.replace(f" on {plan.dataset.upper()}", "") for run, plan in paper.plan("paper").items()}
METRICS = {"dice": "F1", "iou": "Jaccard", "sensitivity": "Recall", "precision": "Precision", "accuracy": "Acc"}
STEPS = {
    f"{dataset.upper()}: {title} to AF-UNet": (f"{dataset}-{start}", f"{dataset}-af-unet")
    for title, start in {"U-Net": "unet", "Attention U-Net": "attention-unet"}.items()
    for dataset in ("drive", "stare")
} | {"DRIVE: one asymmetric skip per level to all": ("drive-af-unet", DENSE)}

# %% tags=["hide-input"]
lines = ledger(study)
f1 = tables.steps_table(study, STEPS, "dice")
costs = tables.network_costs({run: configs[run] for run in configs if run.startswith("drive")}, (512, 512))
more = 100 * (costs.loc["drive-af-unet"] / costs - 1)  # percent that AF-UNet has above each network


def compared(change):
    """Word a step of F1: what the paper prints, and ours with its interval."""
    row = f1.loc[change]
    if np.isnan(row["ours"]):
        return f"{change}: paper {signed(row['paper'])}, ours no record yet"
    low, high = (signed(value) for value in row["95 % interval"])
    ours = f"ours {signed(row['ours'])} ({low} to {high}; {row['conclusion']}; {row['rests on']})"
    return f"{change}: paper {signed(row['paper'])}, {ours}"


def percent(run, column):
    """Word how much more of a cost AF-UNet has than another network."""
    return f"{signed(more.loc[run, column], 1)} %"


over_unet = ["DRIVE: U-Net to AF-UNet", "STARE: U-Net to AF-UNet"]
if parameters.profile == "smoke":
    display(
        in_short("This is a smoke run on synthetic images: the pipeline works, and no number here speaks of the paper.")
    )
else:
    impossible = lines[lines["verdict"] == "impossible as printed"]
    rows = impossible["item"].str.split(": ", expand=True)
    where = "; ".join(f"{', '.join(part[1])} in the row '{name}'" for name, part in rows.groupby(0, sort=False))
    above = [change.split(":")[0] for change in over_unet if str(f1.loc[change, "conclusion"]).startswith("same")]
    gain = f"is seen on {' and '.join(above)}" if above else "is seen on neither data set"
    if f1.loc[over_unet, "ours"].isna().any():
        gain = "cannot be compared on both data sets yet"
    display(
        in_short(
            verdicts.verdict_sentence(lines),
            f"**Arithmetically impossible as printed:** {where} of {impossible['where'].iloc[0]}.",
            f"**The gain over U-Net {gain} in our runs**, by F1-score. {'. '.join(map(compared, over_unet))}.",
            f"Cost of AF-UNet at full width: {percent('drive-unet', 'parameters')} parameters and "
            f"{percent('drive-unet', 'multiply-adds, 10^9')} multiply-adds against U-Net; "
            f"{percent('drive-attention-unet', 'parameters')} and "
            f"{percent('drive-attention-unet', 'multiply-adds, 10^9')} against Attention U-Net.",
        )
    )


# %% tags=["hide-input"]
def draw_network(run):
    """Draw AF-UNet as a run of the paper profile has it: sizes and skips are read off the model."""
    config = configs[run]
    with torch.device("meta"):  # shapes alone: no weights are drawn
        model = build_model(config.model, config.inputs.channels, **config.model_options)
    sizes = map_sizes(model, config.inputs.channels, *config.inputs.resample)
    a_map, a_level = box_kinds = {
        "map: channels @ height×width": "#cfe3f3",
        "decoder level: joined → own map": "#fbe3c4",
    }
    arrow_kinds = {
        "convolutions, max-pooling": ("0.2", "-"),
        "transposed convolution": ("0.2", "--"),
        "symmetric skip": ("#888888", "-"),
        "asymmetric skip, max-pooled": ("#E69F00", "-"),
    }
    down, up, symmetric, asymmetric = arrow_kinds
    boxes, arrows = {"image": Box(0, -1, f"photograph\n{sizes[''].takes[0]}", a_map)}, []
    stages = [f"encoder.{stage}" for stage in range(model.depth)]
    for row, name in enumerate([*stages, "bridge"]):
        title, column = ("bridge", 1) if name == "bridge" else (f"encoder {row + 1}", 0)
        arrows.append(Arrow(list(boxes)[-1], name, down))
        boxes[name] = Box(column, row, f"{title}\n{sizes[name].gives}", a_map)
    for step, stage in enumerate(reversed(range(model.depth))):
        decoder = f"decoder.{step}"
        arrows += [Arrow(list(boxes)[-1], decoder, up), Arrow(stages[stage], decoder, symmetric)]
        arrows += [Arrow(stages[finer], decoder, asymmetric) for finer in model.finer(stage)]
        (joined,), level = sizes[decoder]
        boxes[decoder] = Box(2, stage, f"decoder {stage + 1}\n{joined.channels} → {level}", a_level)
    arrows.append(Arrow(list(boxes)[-1], "head", down))
    boxes["head"] = Box(2, -1, f"1×1 convolution\n{sizes['head'].gives}", a_map)
    network_figure(boxes, arrows, box_kinds, arrow_kinds)


# %% tags=["hide-input"] mystnb={"image": {"alt": "A U-shaped network: four encoder stages, a bridge and four decoder levels. Gray arrows join stages of equal size; an orange arrow joins each of the first three encoder stages to the decoder level below it."}, "figure": {"caption": "Our counterpart of the paper's Figure 1, drawn from our model: AF-UNet with one asymmetric skip a level, which is our default.", "name": "fig-af-unet-architecture"}}
draw_network("drive-af-unet")
plt.show()

# %% [markdown]
# ## Results
#
# The numbers of the paper beside ours. Each of our rows is the best that there is: a full-size run where it has been made,
# else a preview by a narrow network with few steps (`lite`). Scores are means over the test images, of the whole frame and
# at a threshold of 0.5; {ref}`the underspecified details <af-unet-underspecified>` have the reasons.

# %%
scores = study.scores()  # one row a run, seed, image, region, average and metric
cells = beside_ours(reported(paper), study)  # joins them by run and metric, and gives the verdicts
style(tables.side_by_side(cells[cells["table"] == "1"]), "Table 1, six models on DRIVE: the paper and ours.")

# %%
style(tables.side_by_side(cells[cells["table"] == "2"]), "Table 2, six models on STARE: the paper and ours.")

# %% tags=["hide-input"]
rough = coverage_note(len(configs["stare-unet"].test[0].names()))
never = study.records().query("not learned")
failed = [f"{NAMES[row.run]} on {row.dataset.upper()}, seed {row.seed}" for row in never.itertuples()]
display(
    Markdown(
        f"Runs that never learned, by the rule of the protocol: {'; '.join(failed) or 'none'}. Such runs are in the means above; "
        f"the list below has the means without them too. STARE's test part is small, so its intervals are too narrow: {rough}."
    )
)

# %% [markdown]
# Every number with its interval and verdict follows. An interval is a 95 % bootstrap over the test images, and over seeds
# where there are several. Only full-size runs are judged, by the rule of the [protocol](../book/protocol.md).

# %% tags=["hide-output"]
for number in ("1", "2"):
    display(style(tables.details(cells[cells["table"] == number]), f"Table {number}: intervals and verdicts."))

# %% [markdown]
# ### Printed numbers that cannot be
#
# A row is arithmetically impossible where no set of photographs, however scored, gives its numbers together.

# %%
said = lines[lines["verdict"] == "impossible as printed"]
style(said[["where", "item", "reported", "note"]].reset_index(drop=True), "Numbers that contradict their own row.")

# %% [markdown]
# All rows of a table score the same photographs, so they have to imply one share of vessel pixels, but for what averaging
# over images moves it. The [audit](audit.ipynb) tests this too, with the help of our records:

# %% tags=["hide-input"]
together = [row for row in audit_paper("af-unet", load_background(study.store.path)) if row.label == "all rows"]
words = [f"{row.where}, {row.dataset.upper()}: {row.verdict} ({BASES[row.checks[0].basis]})" for row in together]
display(Markdown(f"All rows together, as printed. {'; '.join(words)}."))

# %% [markdown]
# ### What the asymmetric skips bring
#
# The same training with and without them, paired by image and by seed. The interval draws images and seeds; a step whose
# interval holds zero, or whose seeds disagree in sign, is open. The paper leaves open which shallow features join which
# level. If all finer stages join every level the skips are dense, which the paper calls redundant without having tried it.
# A pair with one seed depends on how both networks did with that seed. The column *all seeds* therefore takes the mean over
# all seeds of either network, unpaired.

# %%
brings = {title: tables.steps_table(study, STEPS, metric) for metric, title in METRICS.items()}
means = scores[scores["as_scored"] & (scores["metric"] == "dice")]
means = [same_profile(means, pair).groupby("run")["value"].mean().reindex(pair) for pair in STEPS.values()]
unpaired = brings["F1"].assign(**{"all seeds": [pair.iloc[1] - pair.iloc[0] for pair in means]})
style(unpaired, "F1-score: difference in the paper's tables and in ours.")

# %% tags=["hide-output"]
style(pd.concat(brings, names=["metric"]).swaplevel().loc[list(STEPS)], "The same steps by every metric of the paper.")

# %% [markdown]
# ### What they cost
#
# The paper calls the network lighter, lightweight and compact, and prints no count. Ours: the networks at the paper's
# widths, multiply-adds of one photograph of 512×512, and what our runs had: parameters, and the fastest seed's seconds per
# optimiser step, which depend on the machine and on what else it did.

# %%
trained = best_profile(study.records()).groupby("run").agg({"parameters": "first", "step_s": "min", "profile": "first"})
trained = trained.rename(columns={"parameters": "our parameters", "step_s": "our seconds per step"})
table = costs.join(trained).rename(index=NAMES).rename_axis(None)
counts = ["parameters", "our parameters"]
table[counts] = table[counts].astype(float).map(lambda count: number_text(count, ",.0f"))
style(table, "Parameters, multiply-adds and time of a step.", decimals=2)

# %% tags=["hide-input"]
others = costs.drop(index=["drive-af-unet", DENSE])["parameters"]
own = costs.loc["drive-af-unet", "parameters"]
fewer, heavier = (
    ", ".join(NAMES[run] for run in others[part].index) or "none" for part in (others < own, others > own)
)
display(
    Markdown(
        f"Of the five other networks, those with fewer parameters than AF-UNet: {fewer}; with more: {heavier}. Against its "
        f"own dense reading AF-UNet has {percent(DENSE, 'parameters')} parameters and "
        f"{percent(DENSE, 'multiply-adds, 10^9')} multiply-adds."
    )
)

# %% tags=["hide-input"] mystnb={"image": {"alt": "The same network with six orange arrows: every decoder level but the first is joined to all finer encoder stages."}, "figure": {"caption": "The dense reading, for comparison: all finer stages at every level.", "name": "fig-af-unet-dense"}}
draw_network(DENSE)
plt.show()

# %% [markdown]
# ## Thin vessels
#
# The claims on thin vessels and on connectivity are made from one photograph. Over all test images: how much of the
# observer's centre lines is detected where vessels are thin (up to two pixels wide), medium and wide; the agreement of the
# centre lines (clDice); and the error in the number of connected components (Betti-0), which is lower where vessels stay
# connected.

# %%
FINE = {"recall_medium": "2 to 4 px", "recall_wide": "over 4 px", "cldice": "clDice", "betti0_error": "Betti-0 error"}
inside = scores[(scores["region"] == "fov") & (scores["average"] == "image")]


def fine_structure(runs):
    """Recall by vessel width, clDice and Betti-0 error of some runs; thin-vessel recall also minus that of the first."""
    rows = same_profile(inside[inside["metric"].isin(["recall_thin", *FINE])], runs)
    ours = summarise(rows, by=["run", "metric"])
    table = ours["value"].unstack("metric").reindex(index=runs, columns=["recall_thin", *FINE])
    thin = {run: part for run, part in rows[rows["metric"] == "recall_thin"].groupby("run")}
    changes = {run: difference(thin[runs[0]], thin[run]) for run in runs[1:] if run in thin and runs[0] in thin}
    changes = {run: change for run, change in changes.items() if change is not None}
    table.insert(1, "difference", pd.Series({run: change.value for run, change in changes.items()}, dtype=float))
    table.insert(
        2, "95 % interval", pd.Series({run: (change.low, change.high) for run, change in changes.items()}, dtype=object)
    )
    table["betti0_error"] = table["betti0_error"].map(lambda error: number_text(error, ".1f"))
    table["rests on"] = ours["basis"].groupby("run").first()
    return table.rename(index=NAMES, columns=FINE).rename_axis(index=None, columns=None)


drive_runs, stare_runs = ([run for run in TABLE_RUNS if run.startswith(name)] for name in ("drive", "stare"))
caption = "inside the FOV, mean over test images; the difference is thin-vessel recall minus U-Net's, of the same seeds"
style(fine_structure([*drive_runs, DENSE]), f"DRIVE, {caption}.")

# %%
style(fine_structure(stare_runs), f"STARE, {caption}; {rough}.")

# %% [markdown]
# The paper's Figure 2 has boxes at the places that show its model at its best. Here a rule chooses them from the label alone:
# the squares that hold the most of the thin vessels' centre line, none overlapping another. The image is one of which the
# records keep an error map, the first or else the median of AF-UNet's, where the others keep it too.


# %% tags=["hide-input"]
def true_vessels(errors):
    """Read the label, bool (H, W), off an error map; False where the map is outside its region."""
    return np.isin(errors, (TRUE_VESSEL, MISSED))


def thin_centre_line(vessels):
    """Find the centre line of the vessels that are at most two pixels wide, bool (H, W).

    Width is measured as by `retlib.metrics.vessel_width_recall`: twice the distance to the nearest background pixel.
    """
    # A map without any background has no thin vessel either: its distances are not defined.
    if vessels.all():
        return np.zeros_like(vessels)
    return skeleton(vessels) & (2 * ndimage.distance_transform_edt(vessels) <= 2)


def thin_boxes(vessels, count=3):
    """Choose the squares with the most of the thin vessels' centre line, none overlapping another.

    The side of a square is a ninth of the image's longer side. Of equal squares the first in reading order is chosen.

    Returns:
        (first row, first column, side, pixels of centre line) of each square, the most first; fewer than ``count``
        where no thin vessel is left.
    """
    side = max(vessels.shape) // 9
    sums = np.pad(thin_centre_line(vessels).astype(np.int64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    held = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    squares = []
    while len(squares) < count and held.max() > 0:
        top, left = (int(i) for i in np.unravel_index(held.argmax(), held.shape))
        squares.append((top, left, side, int(held[top, left])))
        held[max(top - side + 1, 0) : top + side, max(left - side + 1, 0) : left + side] = 0
    return squares


def thin_recall(errors, window):
    """Compute the share of the thin vessels' centre line in a window of an error map that is detected."""
    line = thin_centre_line(true_vessels(errors))
    return float((errors == TRUE_VESSEL)[window][line[window]].mean())


def shared_maps(records):
    """Find one test image of which several records, by title, keep an error map; None where fewer than two share one.

    Of the images that all records keep, the first test image is taken, else the one that is the first record's median,
    else its worst or best. A record that shares no image with those before it is left out.

    Returns:
        Name of the image, and title -> error map.
    """
    kept = {title: {r.test()["cases"][case]["image"]: case for case in r.error_maps()} for title, r in records.items()}
    common, titles = set(), []
    for title, cases in kept.items():
        if both := common & set(cases) if titles else set(cases):
            common, titles = both, [*titles, title]
    if len(titles) < 2:
        return None
    image = min(common, key=lambda name: ("first", "median", "worst", "best").index(kept[titles[0]][name]))
    maps = {title: records[title].error_maps()[kept[title][image]] for title in titles}
    label, *others = map(true_vessels, maps.values())
    if not all(np.array_equal(label, other) for other in others):
        raise ValueError(f"{image}: expected error maps of one image, but their vessels differ")
    return image, maps


def show_boxes(runs):
    """Draw one image with its squares, and the squares enlarged, a row a run; above them the photograph or the label."""
    shown = same_profile(study.records(), runs.values()).set_index("run")["profile"].to_dict()
    records = {title: study.record(run, shown[run]) for title, run in runs.items() if run in shown}
    shared = shared_maps(records)
    if shared is None:
        print(figures.NO_RECORD, "(Fewer than two of these runs have an error map of the same image.)")
        return
    image, maps = shared
    first = next(iter(maps))
    label = true_vessels(maps[first])
    squares = thin_boxes(label)
    if not squares:
        print(f"{image} has no thin vessel.")
        return
    sample = figures.photograph(records[first], image, study.root)
    size = (len(maps) + 1, len(squares) + 1)
    figure, axes = plt.subplots(*size, figsize=(2.5 * size[1], 2.7 * size[0]), squeeze=False)
    rows = {"label": ~label} if sample is None else {"photograph": figures.on_map(sample.image, maps[first])}
    for row, (title, shown) in zip(axes, (rows | maps).items(), strict=True):
        draw = figures.show_errors if title in maps else figures.show_image
        draw(row[0], shown, f"{title}, image {image}" if title not in maps else title)
        for number, (axis, (top, left, side, thin)) in enumerate(zip(row[1:], squares, strict=True), 1):
            window = slice(top, top + side), slice(left, left + side)
            text = f"{number}: {thin} px of centre line"
            if title in maps:
                text = f"{number}: {100 * thin_recall(shown, window):.0f} % of centre line"
            draw(axis, shown[window], text)
            corner = left - 0.5, top - 0.5
            row[0].add_patch(Rectangle(corner, side, side, fill=False, edgecolor="#CC79A7", linewidth=1.6))
            place = {"xytext": (3, -3), "textcoords": "offset points", "va": "top"}
            row[0].annotate(str(number), (corner[0] + side, corner[1]), color="#CC79A7", weight="bold", **place)
    figures.error_legend(figure)
    if left_out := [title for title in records if title not in maps]:
        figure.suptitle(f"No error map of this image is kept for {', '.join(left_out)}", fontsize=10)


FIGURE_2 = {"AF-UNet": "af-unet", "U-Net": "unet", "ResUNet": "resunet", "ResUNet++": "resunetpp"}
set_matplotlib_formats("retina")

# %% tags=["hide-input"] mystnb={"image": {"alt": "A DRIVE test image with three boxes around thin vessels, and the boxes enlarged for each model: detected vessels in gray, missed ones in orange, false positives in blue."}, "figure": {"caption": "Our counterpart of the paper's Figure 2, DRIVE: thin vessels in the same boxes, and the share of their centre line that each model detects.", "name": "fig-af-unet-thin-drive"}}
show_boxes({title: f"drive-{name}" for title, name in FIGURE_2.items()})
plt.show()

# %% tags=["hide-input"] mystnb={"image": {"alt": "A STARE test image with three boxes around thin vessels, and the boxes enlarged for each model: detected vessels in gray, missed ones in orange, false positives in blue."}, "figure": {"caption": "The same on STARE.", "name": "fig-af-unet-thin-stare"}}
show_boxes({title: f"stare-{name}" for title, name in FIGURE_2.items()})
plt.show()

# %% [markdown]
# ## Qualitative results
#
# The test images with the highest, the median and the lowest F1-score. Where this machine has the data the photograph, the
# label and the prediction stand beside the error map.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Error maps of three DRIVE test images: detected vessels in gray, missed vessels in orange, mostly thin ones, and false positives in blue."}, "figure": {"caption": "AF-UNet on DRIVE: best, median and worst test image of our run.", "name": "fig-af-unet-cases-drive"}}
figures.show_cases(study, paper.proposed["drive"])

# %% [markdown]
# ## Training curves
#
# The paper stops training by the validation loss and shows no curve.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Curves over epochs for U-Net and AF-UNet on DRIVE: loss on a logarithmic axis, accuracy and Dice, for training and validation images."}, "figure": {"caption": "Loss (logarithmic axis), accuracy and Dice of U-Net and AF-UNet on DRIVE, training and validation.", "name": "fig-af-unet-curves"}}
set_matplotlib_formats("svg", metadata={"Date": None})
curves = {run: record for run in ("drive-unet", "drive-af-unet") if (record := study.record(run)) is not None}
if curves:
    figure = figures.training_curves({f"{NAMES[run]} ({record.profile})": record for run, record in curves.items()})
    for axis in figure.axes[::3]:
        axis.set_yscale("log")
    plt.show()
else:
    print(figures.NO_RECORD)

# %% [markdown]
# ## Claims

# %% tags=["hide-input"]
display(Markdown(paper.summary))
style(
    tables.claims_table(lines, paper),
    "What the paper claims in its text, against its own tables and against our records.",
)

# %% [markdown]
# ## Protocol
#
# The settings of AF-UNet's run on DRIVE, as previewed and at full size; what is not listed is at its default.

# %%
style(tables.configuration(paper, paper.proposed["drive"]), "Configuration of the run drive-af-unet.")

# %% tags=["hide-input", "hide-output"]
style(tables.stated(paper), "What the paper states, and the value in our full-size runs.")

# %% [markdown]
# (af-unet-underspecified)=
# ## Underspecified details
#
# What the paper leaves open, and how each point was decided, once, before a run was looked at.

# %% tags=["hide-input"]
style(tables.open_points(paper), "What the paper leaves open, and our choices.")

# %% [markdown]
# ## Limits
#
# - A preview trains a network of three sixteenths of the paper's width for few steps. It says what the networks do with
#   that budget, and no more: a network that learns more slowly can still be the better one at full size.
# - STARE has no official split, and our test part has few images. The dense reading has no run on STARE.

# %% [markdown]
# ## Scope, and how it went
#
# - **Scope.** Tables 1 and 2, six networks on DRIVE and STARE; the network's figure; the picture of thin vessels; and what
#   the text says of cost.
# - **What was easy.** Encoder, decoder, loss and optimiser are stated, the other five networks are well known, and
#   parameters and multiply-adds are counted without training.
# - **What was difficult.** The paper's idea is which shallow map joins which level, and the paper does not say which.
#   Learning rate, batch size and length are missing, too: we follow a public collection of code whose tables have the same
#   columns. Four photographs of STARE decide little. A full-size network takes hours, and there are twelve.
# - **What held.** See the summary at the top and [every claim and its verdict](verdicts.ipynb). The authors have not been
#   contacted.

# %% [markdown]
# ## The pipeline, line by line
#
# The same code at its smallest, on synthetic fundus images, while this page is built. Its numbers say nothing of the paper.

# %%
small = paper.runs("smoke")[paper.proposed["drive"]]
settings = small.training.model_copy(update={"epochs": 60, "patience": None})
training = [prepare(sample, small.inputs) for sample in load_dataset("phantom", "training", **small.train.options)]
fitted = fit(
    lambda: build_model(small.model, small.inputs.channels, **small.model_options),
    training,
    training[:1],
    settings,
    small.inputs,
    seed=0,
    device=torch.device("cpu"),
)
sample = load_dataset("phantom", "test", **small.train.options)[0]
logits = predict_logits(fitted.model, sample, small.inputs)
shown = evaluate(1 / (1 + np.exp(-logits)), sample.vessels, sample.fov)
style(
    pd.DataFrame([shown]),
    "A network trained for a few steps, scored on one synthetic image: it shows the pipeline and is no result.",
)

# %% [markdown]
# ## How to re-run
#
# ```bash
# make reproduce PAPER=af-unet PROFILE=lite      # the previews, minutes a run on two CPU cores
# make reproduce PAPER=af-unet PROFILE=paper     # full size: hours on a CPU with bfloat16 units, or a GPU
# ```
#
# [How to read this book](../book/how-to-read.md) shows the same through papermill.
