"""STARE: 20 photographs of 700 x 605 pixels, two observers, no official split and no FOV masks.

Hoover, Kouznetsova and Goldbaum, "Locating blood vessels in retinal images by piecewise threshold probing of
a matched filter response", IEEE TMI 19(3), 2000. Observer ah (Adam Hoover) is the first, vk (Valentina
Kouznetsova) the second.
"""

from __future__ import annotations

from retlib.data.collection import Collection, FileChoices

_NUMBERS = (1, 2, 3, 4, 5, 44, 77, 81, 82, 139, 162, 163, 235, 236, 239, 240, 255, 291, 319, 324)


def _files(name: str) -> FileChoices:
    # The archives hold gzipped files; many people unzip them.
    stems = {
        "image": f"stare-images/{name}",
        "vessels": f"labels-ah/{name}.ah",
        "second_observer": f"labels-vk/{name}.vk",
    }
    return {role: (f"{stem}.ppm.gz", f"{stem}.ppm") for role, stem in stems.items()}


def _group(name: str) -> str:
    return name


STARE = Collection(
    key="stare",
    title="STARE",
    folder="STARE",
    height=605,
    width=700,
    bases={"all": tuple(f"im{number:04d}" for number in _NUMBERS)},
    files=_files,
    group=_group,
    default_split="all",
    homepage="https://cecas.clemson.edu/~ahoover/stare/probing/",
    terms="freely available for research",
    archive_base="https://cecas.clemson.edu/~ahoover/stare/probing/",
    archives=("stare-images.tar", "labels-ah.tar", "labels-vk.tar"),
    instructions=(
        "`retlib data fetch stare` downloads it; by hand: get stare-images.tar, labels-ah.tar and"
        " labels-vk.tar from https://cecas.clemson.edu/~ahoover/stare/probing/ and unpack them into"
        " STARE/stare-images, STARE/labels-ah and STARE/labels-vk under the data root."
    ),
)
