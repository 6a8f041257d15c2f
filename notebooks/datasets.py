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
# # The data sets
#
# Of the images that papers score, vessels make up {glue:text}`fov_low` to {glue:text}`fov_high` of the pixels inside the field
# of view (FOV) and {glue:text}`frame_low` to {glue:text}`frame_high` of the whole frame: which of the two was scored changes
# every number that counts background.
#
# Four public sets of fundus photographs with vessels drawn by hand, and synthetic images made by code. This page shows what
# each set holds, what its labels contain, how far two observers agree, and how the images look. How to get the files, how
# they are split and what to watch when reading them is on [another page](../book/data.md).
#
# ## Key findings
#
# - On the test images of DRIVE {glue:text}`drive_frame` of the frame and {glue:text}`drive_fov` of the FOV is vessel. A paper's
#   accuracy, sensitivity and specificity imply this share, and with it [the region that was scored](audit.ipynb).
# - A second observer, scored against the first as if it were a method, has a Dice of {glue:text}`drive_dice` on DRIVE,
#   {glue:text}`stare_dice` on STARE and {glue:text}`chase_db1_dice` on CHASE_DB1. This is a reference, not a ceiling: a network can
#   learn the first observer's habits and score above a second person.
# - Labels reach beyond the FOV: {glue:text}`outside` images have vessel pixels outside it, up to {glue:text}`outside_most` in
#   one image. Scores should be computed inside the mask, or the text should state the region.

# %% tags=["parameters", "hide-input"]
data_root: str = None  # folder of the data sets; None: RETLIB_DATA
records: str = None  # folder of the book's records; None finds it
measure: str = "missing"  # missing, never, always: which sets to measure

# %% tags=["hide-input"]
from retlib.study.parameters import check_parameters

parameters = check_parameters(globals(), extra={"measure": ("missing", "never", "always")})

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib_inline.backend_inline import set_matplotlib_formats

from retlib.data import dataset_fingerprint, find_root, load_dataset, split_names
from retlib.data.measurements import pooled_shares, read_measurements, write_measurements
from retlib.data.registry import COLLECTIONS
from retlib.metrics import betti_errors, cldice, confusion
from retlib.study.figures import gallery, set_style
from retlib.study.notebook import book_records
from retlib.study.tables import style

set_style()
set_matplotlib_formats("svg", metadata={"Date": None})
plt.rcParams["svg.hashsalt"] = "datasets"  # a page that is built twice is the same page
folder = book_records(Path(".")) if parameters.records is None else Path(parameters.records)
root = find_root(parameters.data_root)
present = [name for name, item in COLLECTIONS.items() if root is not None and item.directory(root).is_dir()]

# %% [markdown]
# ## What each set holds


# %%
def having(collection, kind):
    """How many images of a set come with a file of this kind."""
    count = sum(kind in collection.files(name) for name in collection.names)
    return "all images" if count == len(collection.names) else f"{count} images" if count else "none"


sets = pd.DataFrame(
    {
        "data set": item.title,
        "images": len(item.names),
        "training / test": " / ".join(str(len(item.bases[part])) for part in ("training", "test"))
        if "test" in item.bases
        else "folds",
        "height × width": f"{item.height} × {item.width}",
        "FOV masks": having(item, "fov"),
        "second observer": having(item, "second_observer"),
        "terms": item.terms,
    }
    for item in COLLECTIONS.values()
)
style(sets, "The four sets. Where a set has no FOV masks they are computed from the photographs.")

# %% [markdown]
# ## How many pixels are vessel
#
# Every image was measured once; the numbers are kept with the records of this book, without any pixel, so this page can be
# built where the images are absent. The cell below measures what is missing, if the machine has the files.

# %%
METRICS = ("dice", "sensitivity", "specificity", "accuracy", "cldice", "betti0_error")


def score_observer(sample):
    """Score the second observer of a sample against the first, inside the FOV."""
    pair = sample.second_observer, sample.vessels
    scores = confusion(*pair, fov=sample.fov).scores() | betti_errors(*pair, fov=sample.fov)
    scores["cldice"] = cldice(*pair, fov=sample.fov)
    return {metric: float(scores[metric]) for metric in METRICS}


def measure_label(sample):
    """Measure the label of an image: shares of pixels are fractions of one."""
    row = {
        "fov_share": float(sample.fov.mean()),
        "vessels_in_fov": float(sample.vessels[sample.fov].mean()),
        "vessels_in_frame": float(sample.vessels.mean()),
        "vessel_pixels_outside_fov": int((sample.vessels & ~sample.fov).sum()),
    }
    return row if sample.second_observer is None else row | {"observer": score_observer(sample)}


measurements = read_measurements(folder)
for name in present:
    if measure == "always" or (measure == "missing" and name not in measurements):
        images = {sample.name: measure_label(sample) for sample in load_dataset(name, "all", root)}
        fingerprint = dataset_fingerprint(name, split_names(name, "all"), root)
        measurements[name] = {"fingerprint": fingerprint, "images": images}
        write_measurements(folder, measurements)

# %%
shares = pd.DataFrame(
    {"data set": COLLECTIONS[name].title, "part": part, "images": len(images)}
    | pooled_shares(measurements[name]["images"], images)
    for name in COLLECTIONS
    if name in measurements
    for part in COLLECTIONS[name].bases
    for images in [split_names(name, part)]
)
style(
    shares.rename(columns={"frame": "whole frame", "fov": "inside the FOV"}),
    "Share of vessel pixels, pooled over the images of a part.",
    decimals=3,
)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Dots, one for each image, of the share of vessel pixels in each data set: in all four the share inside the field of view lies well above that of the whole frame."}, "figure": {"caption": "Share of vessel pixels of every image.", "name": "fig-datasets-shares"}}
images = pd.DataFrame(
    [
        {"data set": COLLECTIONS[name].title, "image": image, **row, **row.get("observer", {})}
        for name in COLLECTIONS
        for image, row in measurements.get(name, {}).get("images", {}).items()
    ],
    columns=["data set", "image", "vessels_in_fov", "vessels_in_frame", "vessel_pixels_outside_fov", *METRICS],
)
regions = {"vessels_in_fov": "inside the FOV", "vessels_in_frame": "whole frame"}
long = images.rename(columns=regions).melt("data set", list(regions.values()), "region", "share of vessel pixels")
figure, axis = plt.subplots(figsize=(7, 3.2))
if len(long):
    sns.stripplot(
        long,
        x="share of vessel pixels",
        y="data set",
        hue="region",
        dodge=True,
        jitter=0.15,
        size=4,
        alpha=0.7,
        ax=axis,
    )
    axis.legend(title="", loc="lower right")
axis.set_ylabel("")
plt.show()

# %% [markdown]
# ## How far two observers agree
#
# The Betti-0 error is the difference in the number of connected components; clDice compares centre lines.

# %%
observers = images.dropna(subset="dice").groupby("data set", sort=False)
agreement = observers[list(METRICS)].mean()
agreement.insert(0, "images", observers.size())
style(
    agreement.reset_index(),
    "Second observer against the first, inside the FOV, mean over images.",
    decimals=3,
)

# %% tags=["hide-input"]
try:
    from myst_nb import glue
except ModuleNotFoundError:  # outside the book the sentences above show names; here are their values

    def glue(name, value, display=False):
        """Print a value under the name that a sentence has for it."""
        print(f"{name}: {value}")


def text(values, digits, scale=1, unit=""):
    """The first of some numbers as text; a dash where there is none."""
    return next((f"{scale * value:.{digits}f}{unit}" for value in values if pd.notna(value)), "—")


usual = shares[shares["part"].ne("training")] if len(shares) else pd.DataFrame(columns=["data set", "frame", "fov"])
tests = usual.groupby("data set", sort=False).first()  # the test part where there is one, else all images
for region in ("frame", "fov"):
    glue(f"{region}_low", text([tests[region].min()], 1, 100, " %"), display=False)
    glue(f"{region}_high", text([tests[region].max()], 1, 100, " %"), display=False)
    glue(f"drive_{region}", text(tests[region][tests.index == "DRIVE"], 1, 100, " %"), display=False)
for name in ("drive", "stare", "chase_db1"):
    glue(f"{name}_dice", text(agreement["dice"][agreement.index == COLLECTIONS[name].title], 3), display=False)
beyond = images["vessel_pixels_outside_fov"]
glue("outside", f"{(beyond > 0).sum()} of {len(beyond)}" if len(beyond) else "—", display=False)
glue("outside_most", text([beyond.max()], 0), display=False)

# %% [markdown]
# ## How they look
#
# The first image of each set whose licence allows it to be shown, where the machine that builds this page has it, with its
# label; two synthetic images beside them. CHASE_DB1: {cite:t}`Fraz2012`, Kingston University, CC BY 4.0. HRF:
# {cite:t}`Budai2013`, Friedrich-Alexander-Universität Erlangen-Nürnberg, CC BY 4.0. Both are reduced in size. DRIVE and STARE
# may not be passed on, so they are not shown.

# %% mystnb={"image": {"alt": "Fundus photographs in the upper row and their vessel labels in the lower row, then two synthetic images, the second with lesions."}, "figure": {"caption": "Photographs and labels, then two synthetic images (the second with lesions).", "name": "fig-datasets-look"}}
set_matplotlib_formats("retina")
free = [name for name in present if COLLECTIONS[name].terms.startswith("CC BY")]
samples = {COLLECTIONS[name].title: load_dataset(name, "all", root)[0] for name in free}
samples["synthetic"] = load_dataset("phantom", "training", count=1)[0]
samples["synthetic, lesions"] = load_dataset("phantom", "test", count=1, lesions=True)[0]
gallery(samples)
plt.show()

# %% [markdown]
# ## A split has to be named
#
# STARE has no official split, so asking for its test part is an error that lists the choices:

# %%
try:
    load_dataset("stare", split="test", root=root)
except ValueError as error:
    print(*str(error).split("; "), sep="\n")
