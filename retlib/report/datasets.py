"""What the labels of a data set say: shares of vessel pixels, and how far a second observer agrees with the first.

The numbers are measured once from the files and kept in one small JSON file of the book, so that the page can be read
where the data is not. They are numbers alone: no pixel of a data set is in the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from retlib.data import FundusSample, dataset_fingerprint, load_dataset, split_names
from retlib.data.registry import COLLECTIONS
from retlib.metrics import betti_errors, cldice, confusion

OBSERVER_METRICS = ("dice", "sensitivity", "specificity", "accuracy", "cldice", "betti0_error")
# The part of each data set on which its observers are usually compared.
OBSERVER_SPLITS = {"drive": "test", "stare": "all", "chase_db1": "all"}


def measure_sample(sample: FundusSample) -> dict[str, float]:
    """Shares (of one) and, where there is a second observer, the second scored against the first inside the FOV."""
    row = {
        "fov_share": float(sample.fov.mean()),
        "vessels_in_fov": float(sample.vessels[sample.fov].mean()),
        "vessels_in_frame": float(sample.vessels.mean()),
        "vessel_pixels_outside_fov": int((sample.vessels & ~sample.fov).sum()),
    }
    if sample.second_observer is not None:
        scores = confusion(sample.second_observer, sample.vessels, fov=sample.fov).scores()
        scores["cldice"] = cldice(sample.second_observer, sample.vessels, fov=sample.fov)
        scores |= betti_errors(sample.second_observer, sample.vessels, fov=sample.fov)
        row["observer"] = {metric: float(scores[metric]) for metric in OBSERVER_METRICS}
    return row


def measure_dataset(name: str, root: str | None = None) -> dict[str, Any]:
    """Measure every image of a public data set; reads all its files."""
    names = split_names(name, "all")
    images = {sample.name: measure_sample(sample) for sample in load_dataset(name, "all", root)}
    return {"fingerprint": dataset_fingerprint(name, names, root=root), "images": images}


def load_measurements(path: Path) -> dict[str, Any]:
    """The measurements that are there: data set -> fingerprint and images; empty without the file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def save_measurements(path: Path, measurements: Mapping[str, Any]) -> None:
    """Write all measurements, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(measurements, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def overview(measurements: Mapping[str, Any]) -> pd.DataFrame:
    """A line a data set: images, size, splits, and mean shares over all images and over the test part."""
    lines = []
    for name, collection in COLLECTIONS.items():
        found = measurements.get(name, {}).get("images", {})
        line: dict[str, object] = {
            "data set": collection.title,
            "images": len(collection.names),
            "size (H x W)": f"{collection.height} x {collection.width}",
            "training / test": _split_text(name),
            "own FOV masks": "yes" if "fov" in collection.files(collection.names[0]) else "no, computed",
            "second observer": _observer_text(name),
        }
        for title, key in {
            "FOV share": "fov_share",
            "vessels in FOV": "vessels_in_fov",
            "vessels in frame": "vessels_in_frame",
        }.items():
            line[title] = float(np.mean([row[key] for row in found.values()])) if found else np.nan
        lines.append(line | {"terms": collection.terms})
    return pd.DataFrame(lines)


def test_shares(measurements: Mapping[str, Any]) -> pd.DataFrame:
    """Share of vessel pixels in the parts that papers score, pooled over images: what a table's own numbers imply."""
    lines = []
    for name, collection in COLLECTIONS.items():
        found = measurements.get(name, {}).get("images", {})
        for base in collection.bases:
            rows = [found[image] for image in split_names(name, base) if image in found]
            if rows:
                fov = np.array([row["fov_share"] for row in rows])
                inside = np.array([row["vessels_in_fov"] for row in rows])
                line = {"data set": collection.title, "part": base, "images": len(rows)}
                line["inside the FOV"] = float((fov * inside).sum() / fov.sum())
                line["whole frame"] = float(np.mean([row["vessels_in_frame"] for row in rows]))
                lines.append(line)
    return pd.DataFrame(lines)


def observers(measurements: Mapping[str, Any]) -> pd.DataFrame:
    """The second observer scored against the first, inside the FOV, mean over images."""
    lines = []
    for name, split in OBSERVER_SPLITS.items():
        found = measurements.get(name, {}).get("images", {})
        rows = [found[image]["observer"] for image in split_names(name, split) if "observer" in found.get(image, {})]
        line: dict[str, object] = {"data set": f"{COLLECTIONS[name].title}, {split}", "images": len(rows)}
        for metric in OBSERVER_METRICS:
            line[metric] = float(np.mean([row[metric] for row in rows])) if rows else np.nan
        lines.append(line)
    return pd.DataFrame(lines)


def share_figure(measurements: Mapping[str, Any]) -> Figure:
    """Share of vessel pixels of every image, inside the FOV and in the whole frame."""
    rows = [
        {"data set": COLLECTIONS[name].title, "region": region, "share of vessel pixels": row[key]}
        for name, entry in measurements.items()
        for row in entry["images"].values()
        for region, key in (("inside the FOV", "vessels_in_fov"), ("whole frame", "vessels_in_frame"))
    ]
    figure, axis = plt.subplots(figsize=(7, 3.2))
    sns.stripplot(
        pd.DataFrame(rows),
        x="share of vessel pixels",
        y="data set",
        hue="region",
        dodge=True,
        jitter=0.15,
        size=4,
        alpha=0.7,
        ax=axis,
    )
    axis.set_ylabel("")
    axis.legend(title="", loc="lower right")
    return figure


def _split_text(name: str) -> str:
    bases = COLLECTIONS[name].bases
    return f"{len(bases['training'])} / {len(bases['test'])}" if "test" in bases else "none official, folds by seed"


def _observer_text(name: str) -> str:
    collection = COLLECTIONS[name]
    having = [image for image in collection.names if "second_observer" in collection.files(image)]
    return "no" if not having else "all images" if len(having) == len(collection.names) else f"{len(having)} images"
