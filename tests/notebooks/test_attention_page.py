"""The page on Attention U-Net++ without the book's records: gaps, and synthetic images beside no number."""

from __future__ import annotations

from pathlib import Path

import pytest

from retlib.papers import load_paper
from retlib.study import Store, run
from tests.notebooks.test_book_pages import table
from tests.notebooks.test_study_notebooks import execute, outputs, words

PAPER = load_paper("attention-unetpp")
RESIDUAL = PAPER.proposed["hrf"]
pytestmark = pytest.mark.usefixtures("_warm_kernels")


def test_synthetic_images_stand_beside_no_number_of_the_paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    records = tmp_path / "records"
    run(PAPER.runs("smoke")[RESIDUAL], Store(records), device="cpu", progress=False)
    notebook = execute("attention_unetpp", tmp_path / "build", profile="smoke", records=str(records))
    assert not [out for out in outputs(notebook) if out["output_type"] == "error" or out.get("name") == "stderr"]
    assert "This is a smoke run on synthetic images" in words(notebook)
    headings, *rows = table(notebook, "Dice of single held-out images")
    assert headings[-1] == "highest" and [row[0] for row in rows] == ["Attention U-Net++ with ResNet"]
    measured = next(row for row in table(notebook, "Table 1 (the text") if row[0] == "Attention U-Net with ResNet")
    assert measured[1] == "—" != measured[2]


def test_without_records_there_are_gaps(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    notebook = execute("attention_unetpp", tmp_path / "build", records=str(tmp_path / "records"))
    assert not [out for out in outputs(notebook) if out["output_type"] == "error" or out.get("name") == "stderr"]
    text = words(notebook)
    assert "No record yet" in text and "nan" not in text.lower().split() and "0.7273" not in text
