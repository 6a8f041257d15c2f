"""CHASE_DB1: 28 photographs of 999 x 960 pixels, both eyes of 14 children, two observers, no FOV masks.

Fraz et al., "An ensemble classification-based approach applied to retinal blood vessel segmentation", IEEE
TBME 59(9), 2012. There is no official split; the first 20 images for training and the last 8 for testing is
the customary one.
"""

from __future__ import annotations

from retlib.data.collection import Collection, FileChoices


def _files(name: str) -> FileChoices:
    return {
        "image": (f"{name}.jpg",),
        "vessels": (f"{name}_1stHO.png",),
        "second_observer": (f"{name}_2ndHO.png",),
    }


def _child(name: str) -> str:
    """The two eyes of one child resemble each other and stay in one fold."""
    return name[:-1]


_NAMES = tuple(f"Image_{child:02d}{eye}" for child in range(1, 15) for eye in "LR")

CHASE_DB1 = Collection(
    key="chase_db1",
    title="CHASE_DB1",
    folder="CHASE_DB1",
    height=960,
    width=999,
    bases={"training": _NAMES[:20], "test": _NAMES[20:], "all": _NAMES},
    files=_files,
    group=_child,
    homepage="https://researchdata.kingston.ac.uk/96/",
    terms="CC BY 4.0",
    archive_base="https://researchdata.kingston.ac.uk/96/1/",
    archives=("CHASEDB1.zip",),
    instructions=(
        "`retlib data fetch chase_db1` downloads it; by hand: get CHASEDB1.zip from"
        " https://researchdata.kingston.ac.uk/96/ and unpack it flat into CHASE_DB1 under the data root"
        " (CHASE_DB1/Image_01L.jpg and so on)."
    ),
)
