"""Public data sets: names, sizes, file layout and origin of DRIVE, STARE, CHASE_DB1 and HRF, without opening a file.

DRIVE: Staal et al., "Ridge-based vessel segmentation in color images of the retina", IEEE TMI 23(4), 2004. Official FOV
masks; a second observer for the test half only.

STARE: Hoover, Kouznetsova and Goldbaum, "Locating blood vessels in retinal images by piecewise threshold probing of a
matched filter response", IEEE TMI 19(3), 2000. No official split and no FOV masks; observer ah (Adam Hoover) is the
first, vk (Valentina Kouznetsova) the second.

CHASE_DB1: Fraz et al., "An ensemble classification-based approach applied to retinal blood vessel segmentation", IEEE
TBME 59(9), 2012. Both eyes of 14 children, two observers, no FOV masks. There is no official split; the first 20 images
for training and the last 8 for testing is the one commonly used.

HRF: Budai et al., "Robust vessel segmentation in fundus images", International Journal of Biomedical Imaging, 2013. 15
photographs each of healthy (h), diabetic (dr) and glaucomatous (g) eyes, official FOV masks, one observer. The first
five of each class for training is the authors' own split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from retlib.data.errors import DataMissingError

FileChoices = Mapping[str, tuple[str, ...]]
"""Role -> the places in the data set's folder where that file is looked for, the official one first."""

_ROLES = {"image": "image", "vessels": "vessel label", "fov": "FOV mask", "second_observer": "second observer"}


@dataclass(frozen=True)
class Collection:
    """One public data set in its official layout."""

    key: str  #: Name for ``load_dataset``.
    title: str  #: Name in print.
    folder: str  #: Folder under the data root.
    height: int  #: Rows of every image.
    width: int  #: Columns of every image.
    bases: Mapping[str, tuple[str, ...]]  #: Base split -> names of its samples, sorted; ``"all"`` is always among them.
    files: Callable[[str], FileChoices]  #: Name of a sample -> its files by role.
    homepage: str  #: Page on which a person finds the data set.
    terms: str  #: Terms of use, in a few words.
    instructions: str  #: What a person does to get the data set by hand.
    group: Callable[[str], str] = str  #: Name of a sample -> what is never divided between folds; the name itself.
    default_split: str | None = None  #: What ``split=None`` means, or None where a split has to be named.
    archives: tuple[str, ...] = ()  #: Archives to download, or empty where a person has to register first.
    archive_base: str = ""  #: Address of the folder in which the archives lie.

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all samples, sorted."""
        return self.bases["all"]

    @property
    def places(self) -> tuple[str, ...]:
        """Places in the data set's folder where any of its files is looked for, the official ones of a sample last."""
        return tuple(
            place for name in self.names for choices in self.files(name).values() for place in reversed(choices)
        )

    def directory(self, root: Path) -> Path:
        """Folder of the data set under the data root."""
        return root / self.folder

    def find(self, root: Path | None, name: str) -> dict[str, Path | None]:
        """Look for the files of one sample: role -> the first place that holds a file, or None; no root holds none."""
        if root is None:
            return dict.fromkeys(self.files(name))
        directory = self.directory(root)
        return {
            role: next((path for choice in choices if (path := directory / choice).is_file()), None)
            for role, choices in self.files(name).items()
        }

    def walk(self, root: Path | None) -> Iterator[tuple[str, str, Path, Path | None]]:
        """List every file of the data set: name of its sample, role, official place, and the file that is there."""
        directory = self.directory(root or Path())
        for name in self.names:
            found = self.find(root, name)
            for role, choices in self.files(name).items():
                yield name, role, directory / choices[0], found[role]


def sample_files(collection: Collection, root: Path, name: str) -> dict[str, Path]:
    """Find the files of one sample by role.

    Raises:
        DataMissingError: A file is not there; the message names it and says what to do.
    """
    found = collection.find(root, name)
    for role, choices in collection.files(name).items():
        if found[role] is None:
            others = f" (or {', '.join(Path(choice).name for choice in choices[1:])})" if choices[1:] else ""
            raise DataMissingError(
                f"{collection.title} lacks the {_ROLES[role]} of {name}:"
                f" expected {collection.directory(root) / choices[0]}{others}."
                f" {collection.instructions} `retlib data status` lists what is missing."
            )
    return found


def _drive_files(name: str) -> FileChoices:
    number, half = name.split("_")
    files = {
        "image": (f"{half}/images/{name}.tif",),
        "vessels": (f"{half}/1st_manual/{number}_manual1.gif",),
        "fov": (f"{half}/mask/{name}_mask.gif",),
    }
    if half == "test":
        files["second_observer"] = (f"{half}/2nd_manual/{number}_manual2.gif",)
    return files


def _stare_files(name: str) -> FileChoices:
    stems = {
        "image": f"stare-images/{name}",
        "vessels": f"labels-ah/{name}.ah",
        "second_observer": f"labels-vk/{name}.vk",
    }
    # The archives hold gzipped files; many people unzip them.
    return {role: (f"{stem}.ppm.gz", f"{stem}.ppm") for role, stem in stems.items()}


def _chase_db1_files(name: str) -> FileChoices:
    return {
        "image": (f"{name}.jpg",),
        "vessels": (f"{name}_1stHO.png",),
        "second_observer": (f"{name}_2ndHO.png",),
    }


def _child(name: str) -> str:
    """Name the child of an eye: the two eyes of one child resemble each other and stay in one fold."""
    return name[:-1]


def _hrf_files(name: str) -> FileChoices:
    # The official archive writes .JPG for the diabetic eyes and .jpg for the others.
    extensions = ("JPG", "jpg") if name.endswith("dr") else ("jpg", "JPG")
    return {
        "image": tuple(f"images/{name}.{extension}" for extension in extensions),
        "vessels": (f"manual1/{name}.tif",),
        "fov": (f"mask/{name}_mask.tif",),
    }


_DRIVE_TEST = tuple(f"{number:02d}_test" for number in range(1, 21))
_DRIVE_TRAINING = tuple(f"{number:02d}_training" for number in range(21, 41))

DRIVE = Collection(
    key="drive",
    title="DRIVE",
    folder="DRIVE",
    height=584,
    width=565,
    bases={"training": _DRIVE_TRAINING, "test": _DRIVE_TEST, "all": _DRIVE_TEST + _DRIVE_TRAINING},
    files=_drive_files,
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

_STARE = (1, 2, 3, 4, 5, 44, 77, 81, 82, 139, 162, 163, 235, 236, 239, 240, 255, 291, 319, 324)

STARE = Collection(
    key="stare",
    title="STARE",
    folder="STARE",
    height=605,
    width=700,
    bases={"all": tuple(f"im{number:04d}" for number in _STARE)},
    files=_stare_files,
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

_CHASE_DB1 = tuple(f"Image_{child:02d}{eye}" for child in range(1, 15) for eye in "LR")

CHASE_DB1 = Collection(
    key="chase_db1",
    title="CHASE_DB1",
    folder="CHASE_DB1",
    height=960,
    width=999,
    bases={"training": _CHASE_DB1[:20], "test": _CHASE_DB1[20:], "all": _CHASE_DB1},
    files=_chase_db1_files,
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

_HRF = tuple(f"{number:02d}_{kind}" for number in range(1, 16) for kind in ("dr", "g", "h"))

HRF = Collection(
    key="hrf",
    title="HRF",
    folder="HRF",
    height=2336,
    width=3504,
    bases={"training": _HRF[:15], "test": _HRF[15:], "all": _HRF},
    files=_hrf_files,
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
