"""The page of the R2U-Net report without records: it has no message."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebooks.test_study_notebooks import execute, outputs, words

pytestmark = pytest.mark.usefixtures("_warm_kernels")


@pytest.fixture(autouse=True)
def _without_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "cache"))


def test_without_records_nothing_is_concluded(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    notebook = execute("r2u_net", tmp_path / "build", records=str(tmp_path / "records"))
    assert not [out for out in outputs(notebook) if out["output_type"] == "error" or out.get("name") == "stderr"]
    text = words(notebook)
    assert "No record yet of the run that the report states." in text and "artefact of evaluation" not in text
    assert "nan" not in text.lower().split()
    assert not list((tmp_path / "records").glob("*")), "a notebook that must not train made a record"
