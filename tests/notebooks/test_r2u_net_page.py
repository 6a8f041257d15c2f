"""The page of the R2U-Net report: its message follows from the records, and without records it has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from retlib.study import check_parameters, open_study
from tests.notebooks.test_study_notebooks import execute, outputs, words


@pytest.fixture(autouse=True)
def _without_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "cache"))


def test_the_message_is_that_of_the_books_records(repository: Path, tmp_path: Path) -> None:
    notebook = execute("r2u_net", tmp_path / "build")
    assert not [out for out in outputs(notebook) if out["output_type"] == "error" or out.get("name") == "stderr"]
    study = open_study("r2u-net", check_parameters({"seeds": [0, 1, 2]}), repository / "notebooks")
    dice = study.scores().query("as_scored and metric == 'dice' and profile == 'paper'").set_index("run")["value"]
    text = words(notebook)
    for run, said in {
        "drive-r2unet": "the kept networks score {:.2f}, {:.2f} and {:.2f} on DRIVE's test images",
        "drive-r2unet-per-step": "per recurrence, score {:.2f}, {:.2f} and {:.2f}.**",
    }.items():
        assert said.format(*dice[run]) in text
    assert "appears in none of our 3 seeds" in text and "it cannot be checked" in text
    assert "none in the network (full size, seed 0)" in text  # never learned
    assert "nan" not in text.lower().split()


def test_without_records_nothing_is_concluded(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    notebook = execute("r2u_net", tmp_path / "build", records=str(tmp_path / "records"))
    assert not [out for out in outputs(notebook) if out["output_type"] == "error" or out.get("name") == "stderr"]
    text = words(notebook)
    assert "No record yet of the run that the report states." in text and "artefact of evaluation" not in text
    assert "nan" not in text.lower().split()
    assert not list((tmp_path / "records").glob("*")), "a notebook that must not train made a record"
