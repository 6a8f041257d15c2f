"""`retlib audit table.csv` as a person uses it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from retlib.audit import ONLY_MEAN, read_table
from retlib.audit.table_file import parse_table
from retlib.cli import app

from .conftest import RECORDS

ROWS = "U-Net,0.9531,0.7537,0.9820,0.8142\nBCDU-Net,0.9559,0.8012,0.9784,0.8222\n"


def run(tmp_path: Path, text: str, *options: object) -> tuple[int, str]:
    table = tmp_path / "table.csv"
    table.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(app, ["audit", str(table), "--records", str(RECORDS), *map(str, options)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_a_table_is_audited(tmp_path):
    code, output = run(tmp_path, "Method,Acc,Sens,Spec,F1\n" + ROWS, "--dataset", "DRIVE")
    assert code == 0
    unet, bcdu = (next(line for line in output.splitlines() if line.startswith(name)) for name in ("U-Net", "BCDU-Net"))
    assert "inside the FOV (test part)" in unet and unet.endswith(("impossible", "only as a mean over images"))
    assert bcdu.endswith("consistent")
    assert "Dice by Acc, Se and Sp = 0.8023 to 0.8031" in output


def test_json(tmp_path):
    code, output = run(
        tmp_path, "Model;Database;ACC (%);Recall;SP;AUC\nA;DRIVE;95,54;0.7294;0.9771;0.9\n".replace(",", "."), "--json"
    )
    assert code == 0
    content = json.loads(output)
    assert content["columns"]["ACC (%)"] == {"score": "accuracy", "percent": True}
    assert any("'AUC' is passed over" in note for note in content["notes"])
    (row,) = content["rows"]
    assert row["dataset"] == "drive" and row["verdict"] == "consistent"
    assert row["vessel_share"]["low"] < 0.0876 < row["vessel_share"]["high"]
    assert {"name", "verdict", "basis", "assumption", "arithmetic"} == set(row["checks"][0])


def test_percent_is_recognised_per_column():
    table = parse_table(
        "Name,Accuracy,Sensitivity,Specificity,DSC\na,95.31,0.7537,98.20%,.8142\nb,95.59,0.8012,97.84%,-\n"
    )
    assert table.percent == ("Accuracy", "Specificity")
    assert table.rows[0] == {"Accuracy": "95.31%", "Sensitivity": "0.7537", "Specificity": "98.20%", "DSC": ".8142"}
    assert "DSC" not in table.rows[1]
    assert list(table.columns.values()) == ["accuracy", "sensitivity", "specificity", "dice"]


def test_percent_signs_over_fractions():
    table = parse_table("Method,Acc,Se,Sp\nA,0.9529%,0.7537%,0.9820%\n")
    assert table.percent == () and table.rows[0]["Acc"] == "0.9529" and "'Acc' says percent" in table.notes[0]


def test_a_heading_that_says_percent_over_fractions():
    table = parse_table("Acc (%),Se (%)\n0.95,80\n0.96,0.9\n")
    assert table.percent == ("Se (%)",) and len(table.notes) == 1 and "'Acc (%)' says percent" in table.notes[0]
    assert table.rows[1] == {"Acc (%)": "0.96", "Se (%)": "0.9%"}


@pytest.mark.parametrize(
    ("heading", "score"),
    [
        ("Sen.", "sensitivity"),
        ("TPR", "sensitivity"),
        ("PPV", "precision"),
        ("F1-score ↑", "dice"),
        ("Dice coefficient", "dice"),
        ("Jaccard Index (%)", "iou"),
        ("ACC", "accuracy"),
        ("Spec", "specificity"),
    ],
)
def test_usual_headings(heading, score):
    assert parse_table(f"{heading}\n0.8\n").columns == {heading: score}


def test_spreads_marks_and_blank_lines():
    table = parse_table("\ufeffMethod\tAcc\tSe\n\nA\t0.95 ± 0.01\t**0.80**\nB\t0.96 (0.02)\tn/a\n".lstrip("\ufeff"))
    assert table.rows == ({"Acc": "0.95", "Se": "0.80"}, {"Acc": "0.96"})


def test_two_columns_for_one_score_must_agree(tmp_path):
    head = "Method,Acc,Se,Sp,F1,Dice\n"
    _, output = run(tmp_path, head + "A,0.9559,0.8012,0.9784,0.8222,0.8222\n")
    assert "F1 against Dice: consistent" in output
    _, output = run(tmp_path, head + "A,0.9559,0.8012,0.9784,0.8222,0.8922\n")
    assert "F1 against Dice: impossible" in output


def test_rows_of_one_set_are_compared(tmp_path):
    _, output = run(
        tmp_path, "Method,Acc,Se,Sp\nA,0.9554,0.7294,0.9771\nB,0.9529,0.7153,0.9876\n", "--dataset", "drive"
    )
    assert "one share: impossible" in output


def test_without_records_the_notes_say_so(tmp_path):
    (tmp_path / "empty").mkdir()
    code, output = run(tmp_path, "Method,Acc,Se,Sp,F1\n" + ROWS, "--records", tmp_path / "empty", "--dataset", "drive")
    assert code == 0
    assert "no records were found, so only what breaks a proven bound is called impossible" in output
    assert f"Dice against Acc, Se and Sp: {ONLY_MEAN}" in output and "the region that was scored is not named" in output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("  \n \n", "the file is empty"),
        (",,,\n\n,,,\n", "the file is empty"),
        ("|---|---|\n|---|---|\n", "the file is empty"),
        ('Method,Acc,Se,Sp\nA,.95,.78,.98\n"B,.95,.78,.98\nC,.99,.78,.98\n', "never closed"),
        (f"Method,Acc,Se,Sp\n{'A' * 200_000},.95,.78,.98\n", "line 2: expected a table as CSV"),
        ("Method,Acc,Se,Sp\nA,1e99999999,.78,.98\n", "line 2, column 'Acc': expected a number"),
        ("Method,Acc\n", "expected rows under the headings"),
        ("Method,AUC\nA,0.98\n", "expected some of the columns Acc"),
        ("Acc,Se\n0.95,1.2\n", r"line 2, column 'Se': expected a value in \[0, 1\], found 1.2"),
        ("Acc,Se\n0.95,-0.2\n", r"line 2, column 'Se': expected a value in \[0, 1\], found -0.2"),
        ("Acc\n95.1\n101\n", r"line 3, column 'Acc': expected a value in \[0, 100\], found 101"),
        ("Acc\n0.95\n96.2\n", r"line 3, column 'Acc': expected a value in \[0, 1\], found 96.2"),
        ("Acc\n95%\n0.96\n", "line 3, column 'Acc': other cells have a percent sign, 0.96 has none"),
        ("Acc,Se\n0.95,good\n", "line 2, column 'Se': expected a number, found 'good'"),
        ("Acc,Se\n0.95,0.8,0.7\n", "line 2: expected 2 cells"),
        ("Acc,Acc\n0.95,0.8\n", "stands twice"),
    ],
)
def test_a_bad_table_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, text)


def test_bad_files_and_options(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"Acc\n\xff\xfe\n")
    with pytest.raises(ValueError, match="UTF-8"):
        read_table(tmp_path / "bytes.csv")
    with pytest.raises(ValueError, match="dataset: expected one of drive, stare, chase_db1, hrf, got 'kvasir'"):
        run(tmp_path, "Acc,Se,Sp\n0.95,0.8,0.97\n", "--dataset", "kvasir")
    with pytest.raises(ValueError, match="no folder"):
        run(tmp_path, "Acc\n0.95\n", "--records", tmp_path / "nowhere")


def test_from_a_shell(tmp_path):
    """An error is one line and exit code 2; a table with impossible rows ends in 0."""
    (tmp_path / "bad.csv").write_text("Acc,Se\n0.95,1.2\n", encoding="utf-8")
    command = [sys.executable, "-m", "retlib.cli", "audit"]
    bad = subprocess.run([*command, str(tmp_path / "bad.csv")], capture_output=True, text=True)
    assert bad.returncode == 2 and bad.stderr.startswith("retlib: bad.csv, line 2") and bad.stderr.count("\n") == 1
