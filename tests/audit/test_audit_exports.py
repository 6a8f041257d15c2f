"""Tables as they are exported: honest ones are read right and never called impossible, altered ones are caught."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from retlib.audit import IMPOSSIBLE, Background, TableFile, audit_row, audit_table, read_table
from retlib.audit.table_file import parse_table

from .honest_tables import GROUPS, Table, draw_table, dressed, plain

CAUGHT_BEFORE = 224  # of the 500 altered tables, while values outside [0, 1] still set tolerances


def impossible(table: TableFile, background: Background) -> bool:
    return any(row.verdict == IMPOSSIBLE for row in audit_table(table, background))


def test_500_honest_tables_in_the_dresses_of_exports(background, tmp_path):
    pytest.importorskip("openpyxl")
    background = Background(deviations=background.deviations)  # the images are not those of DRIVE and STARE
    rng = np.random.default_rng(11)
    for _ in range(500):
        table = draw_table(rng, GROUPS[rng.integers(len(GROUPS))] if rng.random() < 0.4 else ("",))
        suffix, raw = dressed(table, rng)
        path = tmp_path / f"table{suffix}"
        path.write_bytes(raw)
        content = read_table(path)
        texts = [text for row in content.rows for text in row.values()]
        found = [float(text.rstrip("%")) / (100 if text.endswith("%") else 1) for text in texts]
        assert found == pytest.approx([x for row in table.rows for part in row for x in part], abs=6e-4), raw
        assert len({heading.group for heading in content.headings.values()}) == len(table.groups), raw
        assert not impossible(content, background), raw


def alter(table: Table, rng: np.random.Generator) -> list[list[str]]:
    """Change one digit of one number, not its last one."""
    cells = table.cells
    row, column = rng.integers(len(cells)), rng.integers(len(cells[0]))
    text = cells[row][column]
    places = [i for i, mark in enumerate(text) if mark.isdigit()][:-1]
    while True:
        place = rng.choice(places)
        digit = (int(text[place]) + rng.integers(1, 10)) % 10
        cells[row][column] = f"{text[:place]}{digit}{text[place + 1 :]}"
        if (10 if table.percent else 0) <= float(cells[row][column]) <= (100 if table.percent else 1):
            return cells


def test_500_tables_with_an_altered_digit(background):
    rng, caught = np.random.default_rng(7), 0
    for _ in range(500):
        table = draw_table(rng)
        caught += impossible(parse_table(plain(table, alter(table, rng))), background)
    assert caught >= CAUGHT_BEFORE


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("Method,Acc (FOV),Acc (full)\nA,0.9531,0.9672\n", [(None, ("FOV",)), (None, ("whole frame",))]),
        ("Model,Dice (train),Dice (test)\nA,0.86,0.81\n", [(None, ("train",)), (None, ("test",))]),
        ("Method,Se [DRIVE],F1 - FOV\nA,0.8,0.8\n", [("drive", ()), (None, ("FOV",))]),
        ("Method,DRIVE,,STARE,\n,Acc,F1,Acc,F1\nA,.9,.8,.9,.7\n", [("drive", ())] * 2 + [("stare", ())] * 2),
        ("Method,Acc,,F1,\n,DRIVE,IOSTAR,DRIVE,IOSTAR\nA,.9,.8,.9,.7\n", [("drive", ()), (None, ("iostar",))] * 2),
        ("Accuracy (ACC),Recall (Se),F1 (%) ↑,Dice/F1\n.9,.8,.7,.7\n", [(None, ())] * 4),
        ("Dice (mean ± SD),Acc (95% CI),Se SD\n.8 ± .1,.9 (.8-.95),.1\n", [(None, ())] * 2),
        ("Dice,IoU\nmean,sd\n,\n.8,.1\n", [(None, ())]),
    ],
)
def test_qualifiers_of_headings(text, groups):
    assert [heading.group for heading in parse_table(text).headings.values()] == groups


@pytest.mark.parametrize(
    "heading", ["boundary IoU", "Balanced accuracy", "AUC-PR", "mean IoU", "Precision/Recall", "clDice"]
)
def test_other_scores_are_passed_over(heading):
    table = parse_table(f"Method,Acc,{heading}\nA,0.9,0.8\n")
    assert list(table.columns) == ["Acc"] and f"column {heading!r} is passed over" in " ".join(table.notes)


@pytest.mark.parametrize("text", ["Dice,Dice (mean)\n.8,.7\n", "Acc,Se,Acc,Se\n.9,.8,.9,.7\n"])
def test_columns_that_nothing_tells_apart(text):
    with pytest.raises(ValueError, match=r"cannot be told apart; name the data set, split or region"):
        parse_table(text)


@pytest.mark.parametrize(
    ("text", "rows", "note"),
    [
        ("Method;Acc;Se\nA;0,9531;−\n", [{"Acc": "0.9531"}], "decimal commas are read as points"),
        ('Method,Acc,,\nA,"95,31 %",,\n', [{"Acc": "95.31%"}], "2 empty columns are passed over"),
        ("Method,Acc\nA,9.531e-01\n", [{"Acc": "0.9531"}], ""),
        ("Method,Acc\nA,0.95312345678\n", [{"Acc": "0.953123"}], "more than 6 decimals"),
        ("Table 3,\nMethod,Acc\nA,0.95\n", [{"Acc": "0.95"}], "the title 'Table 3' is passed over"),
        ("Method,Statistic,Acc\nA,mean,.9\n,sd,.1\n", [{"Acc": ".9"}], "line 3 is passed over: it holds spreads"),
        ("Method & Acc \\\\\nA~\\cite{a} & $\\mathbf{0.95}_{\\pm 0.1}$ \\\\", [{"Acc": "0.95"}], "LaTeX"),
        ("|Method|Acc|\n|:--|--:|\n|A|**0.95**|\n", [{"Acc": "0.95"}], "Markdown"),
        ("Method   Acc   Se\nU-Net    0.9   0.8\n", [{"Acc": "0.9", "Se": "0.8"}], ""),
    ],
)
def test_cells(text, rows, note):
    table = parse_table(text)
    assert list(table.rows) == rows and note in " ".join(table.notes)


def test_names_under_merged_cells_and_headings_between_rows():
    table = parse_table("Dataset,Method,Acc,Se\nDRIVE,A,.9,.8\n,B,.9,.8\nSTARE,A,.9,.8\n")
    assert table.datasets == ("DRIVE", "DRIVE", "STARE")
    table = parse_table("Method,Acc,Se\nDRIVE,,\nA,.9,.8\nSTARE,,\nA,.9,.8\n")
    assert table.labels == ("A", "A") and table.datasets == ("drive", "stare")


@pytest.mark.parametrize(
    "text",
    [
        "Image,Acc,Se,Sp\n1,.95,.80,.97\n2,.95,.80,.96\nMean,.95,.80,.965\n",
        "Method,Split,Acc,Se,Sp\nA,train,.95,.80,.97\n,test,.95,.80,.96\n",
        "Method,Acc,Se,Sp\nA (FOV),.950,.800,.970\nA (full),.950,.800,.960\n",
        "Method,Se (DRIVE),Sp (DRIVE),Acc (DRIVE),F1 (STARE)\nA,.75,.98,.95,.30\n",
        "Method,Se (thin),Sp (thin),Acc (thin),F1 (thin)\nA,.75,.98,.95,.60\n",
    ],
)
def test_rows_and_columns_of_different_pixels_are_not_compared(text, background):
    assert not impossible(parse_table(text), background)


@pytest.mark.parametrize("dice", ["0.3000", "0.9900", "0.4500"])
def test_a_wrong_dice_is_impossible_without_a_data_set(dice, background):
    """No value outside [0, 1] that an identity derives sets a tolerance: it divides by nearly nothing there."""
    row = {"accuracy": "0.9531", "sensitivity": "0.7537", "specificity": "0.9820", "dice": dice}
    assert audit_row(row, background=background).verdict == IMPOSSIBLE
    for given in (("accuracy", "sensitivity", "specificity"), ("precision", "sensitivity"), ("iou",)):
        assert background.tolerance("dice", given).value < 0.5


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "cp1252"])
def test_encodings(encoding, tmp_path):
    (tmp_path / "table.csv").write_bytes("Method\tAcc\r\nA\t0.95 ± 0.02\r\n".encode(encoding))
    assert read_table(tmp_path / "table.csv").rows == ({"Acc": "0.95"},)


def test_excel_shows_its_digits_and_merges_cells(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for line in (["Method", "DRIVE", None], [None, "Acc", "F1"], ["A", 0.95, 0.8142]):
        book.active.append(line)
    book.active.merge_cells("B1:C1")
    book.active["B3"].number_format, book.active["C3"].number_format = "0.0000", "0.00%"
    book.save(tmp_path / "table.xlsx")
    assert read_table(tmp_path / "table.xlsx").rows == ({"Acc (DRIVE)": "0.9500", "F1 (DRIVE)": "81.42%"},)
    (tmp_path / "broken.xlsx").write_text("no workbook", encoding="utf-8")
    with pytest.raises(ValueError, match="expected an Excel file"):
        read_table(tmp_path / "broken.xlsx")


def test_excel_without_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    (tmp_path / "table.xlsx").write_bytes(b"")
    with pytest.raises(ValueError, match=r"pip install 'retlib\[excel\]'"):
        read_table(tmp_path / "table.xlsx")


def test_a_row_that_is_cut_off_is_noted() -> None:
    cut = "Method,Acc,Se,Sp\nOurs,0.9550,0.7300,0.9770\nTheirs,0.95"
    assert "line 3 has 2 cells where the headings have 4; the rest is read as blank" in parse_table(cut).notes
    assert parse_table(f"{cut}00,0.7300,0.9770").notes == ()
