"""The page on Attention U-Net++: its numbers are those of the records, and synthetic images stand beside no number."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from retlib.papers import load_paper
from retlib.study import Store, run
from tests.notebooks.test_study_notebooks import ROOT, execute, outputs, words

PAPER = load_paper("attention-unetpp")
RESIDUAL = PAPER.proposed["hrf"]


def table(notebook: dict, caption: str) -> list[list[str]]:
    """The rows of the table with this start of a caption, as texts."""
    for out in outputs(notebook):
        html = "".join(out.get("data", {}).get("text/html", ""))
        if f"<caption>{caption}" in html:
            rows = re.findall(r"<tr>(.*?)</tr>", html, flags=re.S)
            return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.S) for row in rows]
    raise AssertionError(f"no table {caption!r}")


def test_single_images_are_those_of_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    records = ROOT / "book" / "records"
    notebook = execute("attention_unetpp", tmp_path / "build", records=str(records))
    assert not [out for out in outputs(notebook) if out["output_type"] == "error" or out.get("name") == "stderr"]
    made = [json.loads(path.read_text(encoding="utf-8")) for path in records.glob("*/record.json")]
    headings, *rows = table(notebook, "Dice of single held-out images")
    assert headings[-1] == "reach 0.8694" and [row[0] for row in rows] == [
        "U-Net",
        "SegNet",
        "Attention U-Net++",
        "Attention U-Net++ with ResNet",
    ]
    label = "hrf:all/fold1of10-test"
    for config, row in zip(PAPER.runs("lite", role="table").values(), rows, strict=True):
        own = [
            record
            for record in made
            if label in record["tests"] and record["config"]["model"] == config.model and record["config"]["seed"] < 3
        ]
        full = [record for record in own if record["config"]["profile"] == "paper"]
        dice = np.mean([record["tests"][label]["per_image"]["frame"]["dice"] for record in full or own], axis=0)
        numbers = [f"{value:.4f}" for value in (dice.min(), np.median(dice), dice.max())]
        assert row[1:] == [str(len(dice)), *numbers, str(int((dice >= 0.8694 - 0.00005).sum()))]


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
