"""Fundus photographs with their labels: DRIVE, STARE, CHASE_DB1, HRF, and synthetic fundus images."""

from retlib.data.checksums import dataset_fingerprint
from retlib.data.errors import DataError, DataMissingError
from retlib.data.fov import estimate_fov
from retlib.data.registry import Dataset, find_root, list_datasets, load_dataset, split_names
from retlib.data.sample import FundusSample

__all__ = [
    "DataError",
    "DataMissingError",
    "Dataset",
    "FundusSample",
    "dataset_fingerprint",
    "estimate_fov",
    "find_root",
    "list_datasets",
    "load_dataset",
    "split_names",
]
