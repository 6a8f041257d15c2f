"""What pages say follows from the book's records; they are read from the build that the tests of the book share."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from retlib.papers import load_paper
from retlib.study import check_parameters, open_study
from tests.notebooks.test_study_notebooks import ROOT, glued, named, outputs, words


def shown(build_folder: Path, name: str) -> dict:
    """The executed notebook of a page."""
    return json.loads((build_folder / "src" / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))


def table(notebook: dict, caption: str) -> list[list[str]]:
    """The rows of the table with this start of a caption, as texts."""
    for out in outputs(notebook):
        html = "".join(out.get("data", {}).get("text/html", ""))
        if f"<caption>{caption}" in html:
            rows = re.findall(r"<tr>(.*?)</tr>", html, flags=re.S)
            return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.S) for row in rows]
    raise AssertionError(f"no table {caption!r}")


@pytest.mark.parametrize(("name", "expected"), [("audit", "arithmetically impossible"), ("datasets", "CHASE_DB1")])
def test_their_sentences_take_every_number_from_the_cells(name: str, expected: str, build_folder: Path) -> None:
    notebook = shown(build_folder, name)
    assert not [out for out in outputs(notebook) if out["output_type"] == "error" or out.get("name") == "stderr"]
    values, asked = glued(notebook), named(notebook)
    assert asked and asked <= values.keys()
    assert not [name for name in asked if values[name] in ("'—'", "'nan'", "''")]
    assert expected in words(notebook)
    if name == "audit":
        assert values["papers_impossible"] == "2" and values["resaspp_drive"] == "'0.087 to 0.088'"
        assert values["drive_frame"] == "'0.088'" and values["af_drive_impossible"].startswith("'Unet++ is")
    else:
        assert (values["drive_frame"], values["drive_fov"]) == ("'8.8 %'", "'12.7 %'")


def test_the_message_of_r2u_net_is_that_of_the_records(build_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    notebook = shown(build_folder, "r2u_net")
    assert not [out for out in outputs(notebook) if out["output_type"] == "error" or out.get("name") == "stderr"]
    study = open_study("r2u-net", check_parameters({"seeds": [0, 1, 2]}), ROOT / "notebooks")
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


def test_single_images_of_attention_unetpp_are_those_of_the_records(
    build_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    records = ROOT / "book" / "records"
    notebook = shown(build_folder, "attention_unetpp")
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
    runs = load_paper("attention-unetpp").runs("lite", role="table")
    for config, row in zip(runs.values(), rows, strict=True):
        own = [
            record
            for record in made
            if label in record["tests"] and record["config"]["model"] == config.model and record["config"]["seed"] < 3
        ]
        full = [record for record in own if record["config"]["profile"] == "paper"]
        dice = np.mean([record["tests"][label]["per_image"]["frame"]["dice"] for record in full or own], axis=0)
        numbers = [f"{value:.4f}" for value in (dice.min(), np.median(dice), dice.max())]
        assert row[1:] == [str(len(dice)), *numbers, str(int((dice >= 0.8694 - 0.00005).sum()))]
