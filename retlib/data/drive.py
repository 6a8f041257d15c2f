"""DRIVE: 40 photographs of 565 x 584 pixels, half for training and half for testing.

Staal et al., "Ridge-based vessel segmentation in color images of the retina", IEEE TMI 23(4), 2004. Official
FOV masks; a second observer for the test half only.
"""

from __future__ import annotations

from retlib.data.collection import Collection, FileChoices


def _files(name: str) -> FileChoices:
    number, half = name.split("_")
    files = {
        "image": (f"{half}/images/{name}.tif",),
        "vessels": (f"{half}/1st_manual/{number}_manual1.gif",),
        "fov": (f"{half}/mask/{name}_mask.gif",),
    }
    if half == "test":
        files["second_observer"] = (f"{half}/2nd_manual/{number}_manual2.gif",)
    return files


def _group(name: str) -> str:
    return name


_TEST = tuple(f"{number:02d}_test" for number in range(1, 21))
_TRAINING = tuple(f"{number:02d}_training" for number in range(21, 41))

DRIVE = Collection(
    key="drive",
    title="DRIVE",
    folder="DRIVE",
    height=584,
    width=565,
    bases={"training": _TRAINING, "test": _TEST, "all": _TEST + _TRAINING},
    files=_files,
    group=_group,
    homepage="https://drive.grand-challenge.org/",
    terms="research use after registration; do not redistribute",
    instructions=(
        "Register free of charge at https://drive.grand-challenge.org/, download the data set and unpack it"
        " so that the data root holds DRIVE/training/{images,1st_manual,mask} and"
        " DRIVE/test/{images,1st_manual,2nd_manual,mask}. Users report that this download leaves out the test"
        " labels (1st_manual, 2nd_manual); they come with the authors' first release, and without them only"
        " the training half can be used."
    ),
)
