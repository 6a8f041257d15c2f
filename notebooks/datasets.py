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
# Four public sets of fundus photographs with vessels drawn by hand, and phantoms made by code. This page shows what each
# set holds, what its labels say, how far two people agree, and what a loader has to watch. How to get the files is on the
# [data page](../book/data.md).

# %% [markdown]
# ## Parameters
#
# papermill replaces these by name.

# %% tags=["parameters"]
data_root: str = None  # folder of the data sets; None: RETLIB_DATA
records: str = None  # folder of the book's records; None finds it
measure: str = "missing"  # missing, never, always: which sets to measure

# %% tags=["hide-input"]
from retlib.report import check_parameters

parameters = check_parameters(globals(), extra={"measure": ("missing", "never", "always")})

# %% tags=["hide-input"]
from pathlib import Path

import matplotlib.pyplot as plt
from IPython.display import Markdown, display

from retlib import report
from retlib.data import find_root, load_dataset
from retlib.report import datasets
from retlib.study import figures

figures.set_style()
folder = report.book_records(Path(".")) if parameters.records is None else Path(parameters.records)
root = find_root(parameters.data_root)
present = [
    name for name in datasets.COLLECTIONS if root is not None and datasets.COLLECTIONS[name].directory(root).is_dir()
]

# %% tags=["hide-input", "remove-output"]
measurements = datasets.load_measurements(folder / "datasets.json")
for name in present:
    if measure == "always" or (measure == "missing" and name not in measurements):
        measurements[name] = datasets.measure_dataset(name, str(root))
        datasets.save_measurements(folder / "datasets.json", measurements)

# %% [markdown]
# ## What each set holds

# %% tags=["hide-input"]
report.style(datasets.overview(measurements), "The four sets; shares are means over all images.", decimals=3)

# %% tags=["hide-input"]
where = ", ".join(datasets.COLLECTIONS[name].title for name in present) or "none of the sets"
display(
    Markdown(
        f"On the machine that built this page: {where}. Where a set is absent its numbers come from a committed measurement and its pictures are left out."
    )
)

# %% [markdown]
# ## How many pixels are vessel
#
# Accuracy, sensitivity and specificity of one pixel set fix its share of vessel pixels, so these numbers tell which region
# a paper has scored: inside the FOV or the whole frame.

# %% tags=["hide-input"]
report.style(datasets.test_shares(measurements), "Share of vessel pixels, pooled over the images of a part.")

# %% tags=["hide-input"] mystnb={"image": {"alt": "Dots, one an image, of the share of vessel pixels in each data set: in all four the share inside the field of view lies well above that of the whole frame."}, "figure": {"caption": "Share of vessel pixels of every image.", "name": "fig-datasets-shares"}}
datasets.share_figure(measurements)
plt.show()

# %% [markdown]
# ## How far two people agree
#
# The second observer scored against the first as if it were a method. It is a reference, not a ceiling: a network can learn
# the first observer's habits and score above a second person.

# %% tags=["hide-input"]
report.style(datasets.observers(measurements), "Second observer against the first, inside the FOV, mean over images.")

# %% [markdown]
# ## How they look
#
# The first image of each set, where this machine has it, with its label; two phantoms beside them.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Fundus photographs in the upper row and their vessel labels in the lower row: one of each data set on this machine, then two phantoms, one of them with lesions."}, "figure": {"caption": "Photographs and labels: the sets on the machine that built this page, then two phantoms (the second with lesions).", "name": "fig-datasets-look"}}
samples = {datasets.COLLECTIONS[name].title: load_dataset(name, "all", root)[0] for name in present}
samples["phantom"] = load_dataset("phantom", "training", count=1)[0]
samples["phantom, lesions"] = load_dataset("phantom", "test", count=1, lesions=True)[0]
figures.gallery(samples)
plt.show()

# %% [markdown]
# ## What a loader has to watch
#
# - Pair files by name, never by the order of a folder.
# - Binarise labels and masks above half of the grey range: DRIVE's second observer is a palette image, and three labels of
#   HRF have grey edges.
# - STARE and CHASE_DB1 ship no FOV masks. Theirs are computed from the photograph, and compared with masks that others have
#   made in the test suite.
# - A few label pixels lie outside the FOV: score with the mask, or say that you did not.
# - STARE has no official split. A fold has to be named:

# %% tags=["hide-input"]
try:
    load_dataset("stare", split="test", root=root)
except ValueError as error:
    print(error)
