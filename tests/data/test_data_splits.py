"""Splits follow from names alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retlib.data import split_names
from retlib.data.registry import COLLECTIONS


@pytest.mark.parametrize(
    "dataset, split, count, first, last",
    [
        ("drive", "training", 20, "21_training", "40_training"),
        ("drive", "test", 20, "01_test", "20_test"),
        ("drive", "all", 40, "01_test", "40_training"),
        ("stare", None, 20, "im0001", "im0324"),
        ("stare", "all", 20, "im0001", "im0324"),
        ("chase_db1", "training", 20, "Image_01L", "Image_10R"),
        ("chase_db1", "test", 8, "Image_11L", "Image_14R"),
        ("chase_db1", "all", 28, "Image_01L", "Image_14R"),
        ("hrf", "training", 15, "01_dr", "05_h"),
        ("hrf", "test", 30, "06_dr", "15_h"),
        ("hrf", "all", 45, "01_dr", "15_h"),
        ("phantom", "training", 20, "phantom-0000", "phantom-0019"),
        ("phantom", "test", 20, "phantom-100000", "phantom-100019"),
        ("phantom", "all", 40, "phantom-0000", "phantom-100019"),
    ],
)
def test_bases(dataset: str, split: str | None, count: int, first: str, last: str):
    names = split_names(dataset, split)
    assert (len(names), names[0], names[-1]) == (count, first, last)
    assert list(names) == sorted(set(names))


def test_resolved_without_files(tmp_path, monkeypatch):
    names = split_names("hrf", "test")
    monkeypatch.setenv("RETLIB_DATA", str(tmp_path / "nowhere"))
    assert split_names("hrf", "test") == names


def test_folds_are_fixed():
    # Records carry split names, so the names behind a split must never change.
    assert split_names("stare", "fold1of5-test") == ("im0003", "im0005", "im0077", "im0324")
    assert split_names("drive", "training/fold2of10-test@3") == ("29_training", "39_training")
    assert split_names("chase_db1", "fold1of7-test") == ("Image_03L", "Image_03R", "Image_04L", "Image_04R")


@given(
    dataset=st.sampled_from(sorted(COLLECTIONS)),
    base=st.sampled_from(["", "training/", "test/", "all/"]),
    n=st.integers(2, 14),
    seed=st.integers(0, 2**40),
)
def test_folds_partition_the_base(dataset: str, base: str, n: int, seed: int):
    collection = COLLECTIONS[dataset]
    whole = collection.bases.get(base.rstrip("/") or "all")
    if whole is None or n > len({collection.group(name) for name in whole}):
        return
    held_out = []
    for k in range(1, n + 1):
        test = split_names(dataset, f"{base}fold{k}of{n}-test@{seed}")
        train = split_names(dataset, f"{base}fold{k}of{n}-train@{seed}")
        assert sorted(test + train) == sorted(whole)
        assert not {collection.group(name) for name in test} & {collection.group(name) for name in train}
        held_out.append(test)
    assert sorted(sum(held_out, ())) == sorted(whole)
    sizes = [len({collection.group(name) for name in test}) for test in held_out]
    assert max(sizes) - min(sizes) <= 1


def test_eyes_of_a_child_stay_together():
    test = split_names("chase_db1", "fold1of5-test")
    assert {name[-1] for name in test} == {"L", "R"}
    assert len(test) == 2 * len({name[:-1] for name in test})


def test_seed_defaults_to_zero_and_matters():
    assert split_names("stare", "fold1of5-test") == split_names("stare", "all/fold1of5-test@0")
    assert split_names("stare", "fold1of5-test") != split_names("stare", "fold1of5-test@1")


@pytest.mark.parametrize("split", ["val", "train", "Training", "", "fold1of5", "fold1of5-val", "base/fold1of5-test"])
@pytest.mark.parametrize("dataset", ["drive", "chase_db1", "hrf", "phantom"])
def test_unknown_split_lists_the_choices(dataset: str, split: str):
    with pytest.raises(ValueError, match=r"'training'.*'test'.*'all'.*fold\{k\}of\{n\}-\{train\|test\}"):
        split_names(dataset, split)


@pytest.mark.parametrize("dataset", ["drive", "chase_db1", "hrf", "phantom"])
def test_split_has_to_be_named(dataset: str):
    with pytest.raises(ValueError, match=r"needs a split; choose 'training'"):
        split_names(dataset, None)


@pytest.mark.parametrize("split", ["training", "test", "val", "training/fold1of5-test"])
def test_stare_has_no_official_split(split: str):
    with pytest.raises(ValueError, match=r"STARE has no official split.*None or 'all'.*'fold1of5-train'"):
        split_names("stare", split)


@pytest.mark.parametrize(
    "split, problem",
    [
        ("training/fold0of5-test", "k counts from 1 to 5"),
        ("training/fold6of5-test", "k counts from 1 to 5"),
        ("training/fold1of1-test", "n has to lie between 2 and 20"),
        ("training/fold1of21-test", "n has to lie between 2 and 20"),
    ],
)
def test_fold_numbers_are_checked(split: str, problem: str):
    with pytest.raises(ValueError, match=problem):
        split_names("drive", split)


def test_children_limit_the_folds():
    assert len(split_names("chase_db1", "fold1of14-test")) == 2
    with pytest.raises(ValueError, match="between 2 and 14"):
        split_names("chase_db1", "fold1of15-test")


def test_unknown_dataset_lists_the_choices():
    with pytest.raises(ValueError, match=r"'DRIVE'; choose one of drive, stare, chase_db1, hrf, phantom"):
        split_names("DRIVE", "test")


def test_options_are_for_phantoms():
    assert len(split_names("phantom", "test", count=3)) == 3
    with pytest.raises(ValueError, match="drive takes no options, got count"):
        split_names("drive", "test", count=3)
    with pytest.raises(ValueError, match="no option size; choose from count"):
        split_names("phantom", "test", size=3)
    with pytest.raises(ValueError, match="count has to be a positive whole number, got 0"):
        split_names("phantom", "test", count=0)
