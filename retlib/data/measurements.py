"""Keep what was measured on the labels of the data sets, in ``datasets.json`` in the folder of the records.

The book's page on the data sets measures them. The file holds numbers alone, no pixel of a data set, so that whatever
needs them works where the images are absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retlib.data.registry import get_collection
from retlib.files import read_json, seal_json, write_whole

FILE = "datasets.json"
Measurements = Mapping[str, Any]
"""Data set -> ``{"fingerprint": ..., "images": {name: {"fov_share": ..., "vessels_in_fov": ..., ...}}}``.

Of each image: the share of the frame that the FOV covers (``fov_share``), the shares of vessel pixels inside the FOV
and in the frame (``vessels_in_fov``, ``vessels_in_frame``), fractions of one, the number of vessel pixels outside the
FOV (``vessel_pixels_outside_fov``) and, where there is a second observer, the scores against the first (``observer``).
"""


def read_measurements(records: Path) -> dict[str, Any]:
    """Read the measurements in a folder of records; empty where the folder has none.

    Raises:
        ValueError: the file is damaged or was altered; the message names it.
    """
    file = records / FILE
    content = read_json(file) if file.is_file() else {}
    content.pop("sha256", None)
    if odd := [name for name, measured in content.items() if not isinstance(measured, dict)]:
        raise ValueError(f"{file}: {odd[0]!r} holds no measurements of a data set")
    return content


def write_measurements(records: Path, measurements: Measurements) -> None:
    """Write all measurements into a folder of records, whole or not at all."""
    write_whole(records / FILE, seal_json(measurements))


@dataclass(frozen=True)
class VesselShares:
    """Shares of vessel pixels in a data set's labels, by region: ``frame`` (the whole frame) or ``fov`` (inside it).

    Attributes:
        title: The data set's name in print.
        part: Its customary test part, or ``all`` where it has none.
        pooled: Region -> share over all pixels of that part.
        single: Region -> lowest and highest share of a single image of the whole data set; any selection of its
            images, pooled or averaged, lies between.
    """

    title: str
    part: str
    pooled: Mapping[str, float]
    single: Mapping[str, tuple[float, float]]

    def nearest(self, share: float) -> str:
        """Name the region whose pooled share is nearest to ``share``."""
        return min(self.pooled, key=lambda region: abs(self.pooled[region] - share))

    @property
    def widest(self) -> tuple[float, float]:
        """Share of the emptiest image in its whole frame, and of the fullest one inside its FOV."""
        return self.single["frame"][0], self.single["fov"][1]


def vessel_shares(measurements: Measurements, dataset: str | None) -> VesselShares | None:
    """Summarise the measured shares of a data set; None for a data set that was not measured."""
    images = measurements.get(dataset or "", {}).get("images")
    if not images:
        return None
    collection = get_collection(dataset)
    part = "test" if "test" in collection.bases else "all"
    single = {}
    for region in ("frame", "fov"):
        values = [row[f"vessels_in_{region}"] for row in images.values()]
        single[region] = (min(values), max(values))
    return VesselShares(collection.title, part, pooled_shares(images, collection.bases[part]), single)


def read_shares(records: Path) -> dict[str, VesselShares]:
    """Read the measured shares of all data sets in a folder of records, by data set."""
    measured = read_measurements(records)
    return {name: found for name in measured if (found := vessel_shares(measured, name)) is not None}


def pooled_shares(images: Mapping[str, Mapping[str, float]], names: tuple[str, ...]) -> dict[str, float]:
    """Share of vessel pixels by region, over all pixels of the measured images among ``names``."""
    rows = [images[name] for name in names if name in images]
    # Frames of one data set have one size, so the pooled share of the frame is the mean.
    frame = sum(row["vessels_in_frame"] for row in rows) / len(rows)
    fov = sum(row["fov_share"] * row["vessels_in_fov"] for row in rows) / sum(row["fov_share"] for row in rows)
    return {"frame": frame, "fov": fov}
