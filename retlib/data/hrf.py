"""HRF: 45 photographs of 3504 x 2336 pixels, 15 each of healthy (h), diabetic (dr) and glaucomatous (g) eyes.

Budai et al., "Robust vessel segmentation in fundus images", International Journal of Biomedical Imaging,
2013. Official FOV masks, one observer. The first five of each class for training is the authors' own split.
"""

from __future__ import annotations

from retlib.data.collection import Collection, FileChoices


def _files(name: str) -> FileChoices:
    # The official archive writes .JPG for the diabetic eyes and .jpg for the others.
    extensions = ("JPG", "jpg") if name.endswith("dr") else ("jpg", "JPG")
    return {
        "image": tuple(f"images/{name}.{extension}" for extension in extensions),
        "vessels": (f"manual1/{name}.tif",),
        "fov": (f"mask/{name}_mask.tif",),
    }


def _group(name: str) -> str:
    return name


_NAMES = tuple(f"{number:02d}_{kind}" for number in range(1, 16) for kind in ("dr", "g", "h"))

HRF = Collection(
    key="hrf",
    title="HRF",
    folder="HRF",
    height=2336,
    width=3504,
    bases={"training": _NAMES[:15], "test": _NAMES[15:], "all": _NAMES},
    files=_files,
    group=_group,
    homepage="https://www5.cs.fau.de/research/data/fundus-images/",
    terms="CC BY 4.0",
    archive_base="https://www5.cs.fau.de/fileadmin/research/datasets/fundus-images/",
    archives=("all.zip",),
    instructions=(
        "`retlib data fetch hrf` downloads it; by hand: get all.zip from"
        " https://www5.cs.fau.de/research/data/fundus-images/ and unpack it into HRF under the data root"
        " (HRF/images, HRF/manual1, HRF/mask)."
    ),
)
