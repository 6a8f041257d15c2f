"""Fingerprints: equal for equal pixels, with and without files; different for anything else."""

from __future__ import annotations

import io
import json
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retlib.data import DataError, dataset_fingerprint, split_names
from retlib.data import phantoms as phantoms_module
from retlib.data.checksums import (
    _hash_file,
    committed_fingerprints,
    file_fingerprint,
    verify_files,
)
from retlib.data.collections import HRF, STARE
from retlib.data.registry import COLLECTIONS

TRAINING = split_names("drive", "training")


@pytest.fixture(autouse=True)
def no_root(monkeypatch):
    """Only an explicit root counts here."""
    monkeypatch.delenv("RETLIB_DATA", raising=False)


@pytest.mark.parametrize("dataset", sorted(COLLECTIONS))
def test_committed_hashes_cover_every_file(dataset: str):
    collection, committed = COLLECTIONS[dataset], committed_fingerprints(dataset)
    assert sorted(committed) == sorted(collection.names)
    hashes = [digest for name in committed for digest in committed[name].values()]
    assert all(sorted(committed[name]) == sorted(collection.files(name)) for name in committed)
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in hashes)
    images = [roles["image"] for roles in committed.values()]
    assert len(set(images)) == len(images)


@pytest.mark.parametrize("dataset", ["drive", "stare", "chase_db1"])
def test_same_with_and_without_files(data_root: Path, dataset: str):
    names = split_names(dataset, "all")
    assert dataset_fingerprint(dataset, names, root=data_root) == dataset_fingerprint(dataset, names)


def test_committed_hashes_are_those_of_the_files(data_root: Path):
    for name, roles in committed_fingerprints("stare").items():
        found = STARE.find(data_root, name)
        assert {role: file_fingerprint(STARE, path, role) for role, path in found.items()} == roles


def test_hrf_file(data_root: Path):
    committed = committed_fingerprints("hrf")["11_h"]
    for role, choices in HRF.files("11_h").items():
        assert file_fingerprint(HRF, data_root / "HRF" / choices[0], role) == committed[role]


def test_form_and_order(data_root: Path):
    value = dataset_fingerprint("drive", TRAINING)
    assert re.fullmatch(r"[0-9a-f]{64}", value)
    assert dataset_fingerprint("drive", [*reversed(TRAINING), TRAINING[0]]) == value
    assert dataset_fingerprint("drive", TRAINING[1:]) != value
    assert dataset_fingerprint("drive", split_names("drive", "test")) != value


def test_missing_root_means_committed(tmp_path: Path):
    assert dataset_fingerprint("drive", TRAINING, root=tmp_path) == dataset_fingerprint("drive", TRAINING)


def test_altered_file_changes_it(mirror, swap_in):
    root = mirror("DRIVE")
    value = dataset_fingerprint("drive", TRAINING, root=root)
    path = root / "DRIVE/training/1st_manual/30_manual1.gif"
    with Image.open(path) as image:
        pixels = np.array(image)
    pixels[300, 200] ^= 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "GIF")
    swap_in(path, buffer.getvalue())
    assert dataset_fingerprint("drive", TRAINING, root=root) != value
    assert dataset_fingerprint("drive", TRAINING[:5], root=root) == dataset_fingerprint("drive", TRAINING[:5])


def test_lossless_resave_does_not(mirror, swap_in):
    root = mirror("DRIVE")
    path = root / "DRIVE/training/images/30_training.tif"
    buffer = io.BytesIO()
    with Image.open(path) as image:
        Image.fromarray(np.array(image)).save(buffer, "TIFF", compression="tiff_deflate")
    assert buffer.getvalue() != path.read_bytes()
    swap_in(path, buffer.getvalue())
    assert dataset_fingerprint("drive", TRAINING, root=root) == dataset_fingerprint("drive", TRAINING)


def test_jpeg_counts_by_bytes(mirror, swap_in):
    root = mirror("CHASE_DB1")
    path = root / "CHASE_DB1/Image_01L.jpg"
    swap_in(path, path.read_bytes() + b"\0")
    names = ["Image_01L"]
    assert dataset_fingerprint("chase_db1", names, root=root) != dataset_fingerprint("chase_db1", names)


def test_quick_and_kept(data_root: Path):
    names = split_names("drive", "all")
    started = time.process_time()
    value = dataset_fingerprint("drive", names, root=data_root)
    first = time.process_time() - started
    started = time.process_time()
    assert dataset_fingerprint("drive", names, root=data_root) == value
    assert first < 3
    assert time.process_time() - started < 0.1


def test_change_within_the_process_is_noticed(tiny, tiny_root: Path):
    path = tiny_root / tiny.folder / "Image_01L_1stHO.png"
    first = file_fingerprint(tiny, path, "vessels")
    content = path.read_bytes()
    Image.fromarray(np.zeros((48, 60), np.uint8)).convert("1").save(path)
    assert file_fingerprint(tiny, path, "vessels") != first
    path.write_bytes(content)
    os.utime(path, ns=(0, 0))
    assert file_fingerprint(tiny, path, "vessels") == first


def test_processes_share_hashes_in_a_folder(tiny, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tiny_root / tiny.folder / "Image_01L_1stHO.png"
    alone = file_fingerprint(tiny, path, "vessels")
    folder = tmp_path / "hashes"
    folder.mkdir()
    monkeypatch.setenv("RETLIB_HASHES", str(folder))
    _hash_file.cache_clear()  # as another process starts
    assert file_fingerprint(tiny, path, "vessels") == alone
    (kept,) = folder.iterdir()
    kept.write_text(json.dumps(["taken from the folder", [48, 60]]))
    _hash_file.cache_clear()
    assert file_fingerprint(tiny, path, "vessels") == "taken from the folder"
    os.utime(path, ns=(0, 0))
    assert file_fingerprint(tiny, path, "vessels") == alone
    _hash_file.cache_clear()


def test_unreadable_file_is_an_error(tiny, tiny_root: Path):
    path = tiny_root / tiny.folder / "Image_01L_1stHO.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"Image_01L_1stHO\.png cannot be read"):
        file_fingerprint(tiny, path, "vessels")


def test_unknown_names_and_options():
    with pytest.raises(ValueError, match="DRIVE has no sample 41_training; its samples are 01_test to 40_training"):
        dataset_fingerprint("drive", ["41_training", "21_training"])
    with pytest.raises(ValueError, match="takes no options"):
        dataset_fingerprint("drive", TRAINING, count=3)
    with pytest.raises(ValueError, match="unknown data set 'retina'"):
        dataset_fingerprint("retina", TRAINING)


def test_phantoms(monkeypatch):
    names = split_names("phantom", "training", count=4)
    value = dataset_fingerprint("phantom", names)
    assert dataset_fingerprint("phantom", names, count=4, height=584, lesions=False) == value
    assert dataset_fingerprint("phantom", names, height=292) != value
    assert dataset_fingerprint("phantom", names, lesions=True) != value
    assert dataset_fingerprint("phantom", names[1:]) != value
    monkeypatch.setattr(phantoms_module, "GENERATOR_VERSION", phantoms_module.GENERATOR_VERSION + 1)
    assert dataset_fingerprint("phantom", names) != value


# Verification: what the fingerprints are for


def test_authentic_files_pass(data_root: Path):
    assert verify_files(COLLECTIONS["drive"], data_root) == []


def test_swapped_labels_are_found(mirror):
    """Two labels of the right size under each other's name: nothing but a fingerprint can tell."""
    root = mirror("DRIVE")
    one, other = (root / f"DRIVE/test/1st_manual/{number}_manual1.gif" for number in ("03", "04"))
    first, second = one.resolve(), other.resolve()
    one.unlink()
    other.unlink()
    one.symlink_to(second)
    other.symlink_to(first)
    differences = verify_files(COLLECTIONS["drive"], root)
    assert [item.path for item in differences] == [one, other]
    assert "holds the vessels of 04_test" in differences[0].problem
    assert "holds the vessels of 03_test" in differences[1].problem


def test_every_fault_is_named(mirror, swap_in):
    root = mirror("CHASE_DB1")
    folder = root / "CHASE_DB1"
    (folder / "Image_02L_2ndHO.png").unlink()
    swap_in(folder / "Image_03L_1stHO.png", b"no image")
    swap_in(folder / "Image_04L.jpg", b"no photograph")
    buffer = io.BytesIO()
    Image.new("1", (999, 959)).save(buffer, "PNG")
    swap_in(folder / "Image_05L_1stHO.png", buffer.getvalue())
    found = {item.path.name: item.problem for item in verify_files(COLLECTIONS["chase_db1"], root)}
    assert sorted(found) == [
        "Image_02L_2ndHO.png",
        "Image_03L_1stHO.png",
        "Image_04L.jpg",
        "Image_05L_1stHO.png",
    ]
    assert found["Image_02L_2ndHO.png"] == "is missing"
    assert found["Image_03L_1stHO.png"].startswith("cannot be read as an image")
    assert "other bytes" in found["Image_04L.jpg"]
    assert found["Image_05L_1stHO.png"].startswith("is 999 x 959 pixels")
