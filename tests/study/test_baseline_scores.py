"""Scores of filters and second observer as rows of the table of scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from retlib.data import split_names
from retlib.study import Store, check_parameters, open_study, results
from retlib.study.baselines import baseline_of, baseline_scores, train_baselines
from retlib.study.notebook import Study
from tests.study.made_records import write_record

FOLDS = tuple(f"stare-fold{k}" for k in range(1, 6))


@pytest.fixture(autouse=True)
def _without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids follow from committed fingerprints: no file is hashed."""
    monkeypatch.delenv("RETLIB_DATA", raising=False)


def opened(folder: Path, **parameters: object) -> Study:
    return open_study("transfer", check_parameters({"records": str(folder), **parameters}))


def observe(folder: Path, runs: tuple[str, ...], method: str = "second_observer") -> None:
    """Write baselines beside runs of the lite profile, all with a score of 0.7."""
    configs = opened(folder).source.runs("lite")
    for name in runs:
        write_record(Store(folder), baseline_of(method, configs[name]), lambda *_: 0.7)


def test_the_folds_of_an_observer_are_joined(tmp_path: Path) -> None:
    observe(tmp_path, ("drive", *FOLDS))
    rows = baseline_scores(opened(tmp_path))
    assert set(rows["kind"]) == {"observer"} and set(rows["model"]) == {"second_observer"} and rows["complete"].all()
    assert set(rows["dataset"]) == {"drive", "stare"} and set(rows["source"]) == {"transfer"}
    stare = rows[(rows["group"] == "stare-second_observer") & (rows["metric"] == "dice") & (rows["average"] == "image")]
    assert set(stare["run"]) == {f"{fold}-second_observer" for fold in FOLDS} and set(stare["role"]) == {"fold"}
    assert list(results.matrix(stare)) == sorted(split_names("stare", "all"))
    summary = results.summarise(rows[rows["as_scored"]])
    assert summary.loc[("drive-second_observer", "dice"), "value"] == pytest.approx(0.7)
    assert rows.loc[rows["metric"] == "auc", "value"].isna().all()


def test_a_filter_ranks_pixels(tmp_path: Path) -> None:
    observe(tmp_path, ("drive",), "frangi")
    rows = baseline_scores(opened(tmp_path))
    assert set(rows["run"]) == {"drive-frangi"} and set(rows["kind"]) == {"filter"}
    assert rows.loc[rows["metric"] == "auc", "value"].notna().all()
    assert baseline_scores(opened(tmp_path), methods=["second_observer"]).empty


def test_a_missing_fold_leaves_a_baseline_out(tmp_path: Path) -> None:
    observe(tmp_path, ("chase_db1", *FOLDS[1:]))
    assert set(baseline_scores(opened(tmp_path))["dataset"]) == {"chase_db1"}


def test_baselines_are_made_as_the_parameters_allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "cache"))
    assert train_baselines(opened(tmp_path / "never", profile="smoke")) == []
    study = opened(tmp_path / "made", profile="smoke", train="missing")
    assert train_baselines(study, methods=["second_observer"]) == []  # nobody annotated synthetic images again
    made = train_baselines(study, methods=["matched_filter"])
    assert len(made) == 3 and {record.profile for record in made} == {"smoke"}
    rows = baseline_scores(study)
    assert set(rows["group"]) == {"drive-matched_filter", "chase_db1-matched_filter", "phantom-matched_filter"}
    assert baseline_scores(opened(tmp_path / "made")).empty  # smoke records stand beside no others
