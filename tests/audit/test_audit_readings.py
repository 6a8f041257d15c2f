"""What honest tables of other people look like: rows of other pixels, marks in cells, rows that hold no scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from retlib.audit import load_background
from retlib.audit.table_audit import audit_table
from retlib.audit.table_file import parse_table, read_table

ROOT = Path(__file__).parents[2]
BACKGROUND = load_background(ROOT / "book" / "records")
# Acc, Se, Sp, F1 of one confusion matrix each: vessels on .1273 of the pixels (DRIVE, FOV), on .0876 (DRIVE, whole
# frame) and on .0760 (STARE, whole frame).
FOV, FOV_2 = "0.9529,0.7537,0.9820,0.8030", "0.9558,0.8012,0.9784,0.8220"
FRAME, STARE = "0.9668,0.7537,0.9870,0.7990", "0.9679,0.7600,0.9850,0.7825"


def impossible(text: str, dataset: str | None = None) -> list[str]:
    rows = audit_table(parse_table(text), BACKGROUND, dataset, "test")
    return [check.name for row in rows for check in row.checks if check.verdict == "impossible"]


@pytest.mark.parametrize(
    ("heading", "first", "second"),
    [
        *[(heading, "DRIVE", "STARE") for heading in ("DB", "Benchmark", "Method", "", "Tested on")],
        *[("Method", f"U-Net {one}", f"U-Net {two}") for one, two in (("DRIVE", "STARE"), ("(DRIVE)", "(STARE)"))],
        *[("Method", f"U-Net {one}", f"U-Net {two}") for one, two in (("inside FOV", "whole image"),)],
        ("Method", "U-Net (with mask)", "U-Net (without mask)"),
        *[("Dataset", f"DRIVE {one}", f"DRIVE {two}") for one, two in (("(FOV)", "(whole frame)"), ("test", "train"))],
        *[(heading, "01_test.tif", "02_test.tif") for heading in ("Filename", "Name", "ID", "")],
        *[(heading, "1", "2") for heading in ("No.", "Patient ID", "Sample")],
        *[("Method", "image 1", "image 2"), ("Group", "normal", "abnormal"), ("FOV", "yes", "no")],
    ],
)
def test_rows_of_other_pixels_have_no_share_in_common(heading: str, first: str, second: str) -> None:
    other = STARE if "STARE" in second else FRAME
    assert impossible(f"{heading},Acc,Se,Sp,F1\n{first},{FOV}\n{second},{other}\n") == []


@pytest.mark.parametrize(
    ("column", "first", "second"),
    [
        *[(column, "a", "b") for column in ("Year", "Ref.", "Backbone", "Type", "Technique", "Published in")],
        *[("No.", "1", "2"), ("ID", "1", "2"), ("Params", "31M", "7M"), ("CRF", "✓", "✗"), ("Time", "1.2s", "0.4s")],
    ],
)
def test_rows_of_the_same_pixels_are_compared(column: str, first: str, second: str) -> None:
    assert impossible(f"{column},Method,Acc,Se,Sp,F1\n{first},A,{FOV}\n{second},B,{FRAME}\n") == ["one share"]
    assert impossible(f"Method,{column},Acc,Se,Sp,F1\nA,{first},{FOV}\nB,{second},{FRAME}\n") == ["one share"]


ALTERED = "0.9429,0.7537,0.9820,0.8030"  # one digit of the accuracy
NAMES = (
    *(
        "U-Net [12]",
        "BCDU-Net (d=3)",
        "IterNet, 2020",
        "Wang et al. (2019)",
        "Ours w/o attention",
        "2nd human observer",
    ),
    *("Data-driven net", "Full model", "Vessel-Net", "Mask R-CNN", "Masked U-Net", "Test-time aug.", "Whole-image CNN"),
    *(
        "Training-free (ours)",
        "Self-training U-Net",
        "Dev et al.",
        "Ours (10%)",
        "Ours (max)",
        "U-Net [gain]",
        "10%",
        "#1",
    ),
    *("No2Net", "Im2Vessel", "U-Net trained on STARE", "U-Net + STARE", "Chase et al.", "STARE weights", "HRF (Lin)"),
)


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_method_is_no_more(name: str) -> None:
    text = f'Method,Acc,Se,Sp,F1\nA,{FOV}\n"{name}",'
    if "HRF" not in name:  # which alone may be the data set
        assert impossible(text + FOV_2 + "\n", "drive") == []
        assert "vessel share" in impossible(text + ALTERED + "\n", "drive")
    assert parse_table(text + FRAME + "\n").labels[1] == name.replace("\\", "")
    if not {"STARE", "HRF"} & set(name.replace("(", "").split()):
        assert impossible(text + FRAME + "\n") == ["one share"]


@pytest.mark.parametrize(
    "cell", ["DRIVE (20 images)", "DRIVE (n=20)", "DRIVE database", "DRIVE (Staal 2004)", "DRIVE: 20", "drive dataset"]
)
def test_a_data_set_is_known_whatever_stands_beside_it(cell: str) -> None:
    assert "vessel share" in impossible(f"Method,Dataset,Acc,Se,Sp,F1\nA,{cell},{ALTERED}\n")


@pytest.mark.parametrize("heading", ["Source", "Extra data", "Weights", "Pretrained on", "Source domain"])
def test_a_column_of_other_data_sets_is_none_of_what_was_scored(heading: str) -> None:
    assert impossible(f"Method,{heading},Acc,Se,Sp,F1\nA,STARE,{FOV}\nB,HRF,{FOV_2}\n", "drive") == []
    assert impossible(f"{heading},Acc,Se,Sp,F1\nSTARE,{FOV}\nHRF,{FOV_2}\n", "drive") == []


def test_a_second_table_in_the_file_is_refused() -> None:
    with pytest.raises(ValueError, match="line 4"):
        parse_table(f"Method,Acc,Se,Sp\nA,0.94,0.75,0.98\nB,0.95,0.8,0.97\nMethod,Acc,Se,Sp,F1\nA,{FOV}\n")


@pytest.mark.parametrize(
    "label", ["DRIVE → STARE", "U-Net (trained on DRIVE)", "U-Net (DRIVE+STARE)", "[U-Net](https://example.org/drive)"]
)
def test_a_name_that_says_more_tells_no_data_set_that_was_scored(label: str) -> None:
    assert impossible(f"Method,Acc,Se,Sp,F1\n{label},{STARE}\n") == []


def test_rows_inside_and_outside_the_fov_are_not_compared() -> None:
    assert impossible(f"Method,Inside FOV?,Acc,Se,Sp,F1\nA,✓,{FOV}\nA,✗,{FRAME}\n") == []


def test_training_and_test_set_in_two_columns() -> None:
    table = parse_table(f"Train,Test,Acc,Se,Sp,F1\nDRIVE,DRIVE,{FOV}\nDRIVE,STARE,{STARE}\n")
    assert table.datasets == ("DRIVE", "STARE")
    assert [row.dataset for row in audit_table(table, BACKGROUND)] == ["drive", "stare"]


def test_crossed_data_sets_in_headings_are_two_experiments() -> None:
    fov, stare = FOV.split(","), STARE.split(",")
    heads = [f"{score} ({way})" for way in ("DRIVE→STARE", "STARE→DRIVE") for score in ("Acc", "Se", "Sp", "F1")]
    assert impossible(",".join(["Method", *heads]) + "\n" + ",".join(["A", *stare, *fov]) + "\n") == []


@pytest.mark.parametrize("label", ["min", "Max", "Median", "std", "25%", "75 %", "p-value", "U-Net (median)"])
def test_rows_that_are_no_means_are_passed_over(label: str) -> None:
    table = parse_table(f"Method,Acc,Se,Sp,F1\nA,{FOV}\n{label},0.001,0.5,0.9,0.02\nmean,{FOV}\n")
    assert table.labels == ("A", "mean") and any("passed over" in note for note in table.notes)


@pytest.mark.parametrize("heading", ["ΔF1", "σ F1", "F1 (median)", "F1 max", "1 - Sp", "1 – Specificity"])
def test_columns_that_are_no_means_are_passed_over(heading: str) -> None:
    table = parse_table(f"Method,Acc,Se,Sp,F1,{heading}\nA,{FOV},0.0180\n")
    assert heading not in table.columns and len(table.columns) == 4


# --- marks and markup -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cell",
    [
        *("0.9529$^{1}$", "0.9529$^1$", r"0.9529\textsuperscript{1}", r"0.9529\tnote{a}", "0.9529<sup>1</sup>"),
        *(r"0.9529{\tiny 0.02}", "$0.9529_{0.02}$", "$0.9529^{*}$", r"\cellcolor[HTML]{FFCCC9}0.9529", "_0.9529_"),
    ],
)
def test_a_mark_is_no_digit(cell: str) -> None:
    assert parse_table(f"Method;Acc;Se\nA;{cell};0.7537\n").rows[0]["Acc"] == "0.9529"


@pytest.mark.parametrize("name", ["U$^2$-Net", r"U\textsuperscript{2}-Net", "U<sup>2</sup>-Net"])
def test_a_power_in_a_name_stays(name: str) -> None:
    assert parse_table(f"Method;Acc;Se\n{name};0.95;0.75\n").labels[0] != "U-Net"


def test_a_power_of_ten_is_no_mark() -> None:
    assert parse_table("Method;Acc;Se\nA;9.529×10^{-1};0.7537\n").rows[0]["Acc"] == "0.9529"


HEAD = r"\begin{tabular}{lcccc} \hline Method & Acc & Se & Sp & F1 \\ \hline" + "\n"


def latex(*rows: tuple[str, str], end: str) -> str:
    return "".join(f"{label} & {numbers.replace(',', ' & ')} {end}" for label, numbers in rows)


@pytest.mark.parametrize("end", [r"\\" + "\n", r"\\ ", r"\\ \hline" + "\n", "\\\\\n\\midrule[1pt]\n"])
def test_each_latex_row_has_its_own_numbers(end: str) -> None:
    text = HEAD + latex(("A", FOV), ("B", FOV_2), end=end)
    text += latex(("Ours", FRAME), end=r"\\ \hline") + "\n" + r"\end{tabular}"
    table = parse_table(text)
    assert [",".join(row.values()) for row in table.rows] == [FOV, FOV_2, FRAME]
    assert table.labels == ("A", "B", "Ours")


def test_line_numbers_of_latex_are_those_of_the_file() -> None:
    text = HEAD + latex(("A", FOV), end="\\\\\n") + latex(("B", FOV_2), end="\\\\ \\hline\n")
    with pytest.raises(ValueError, match="line 4, column 'Acc'"):
        parse_table(text + latex(("C", "x,0.8,0.9,0.8"), end="\\\\\n") + r"\end{tabular}")


def test_a_name_over_several_rows_may_stand_in_the_last() -> None:
    rows = [("", "A", FOV), (r"\multirow{-2}{*}{DRIVE}", "B", FOV_2), ("", "A", STARE)]
    rows += [(r"\multirow{-2}{*}{STARE}", "B", STARE)]
    body = "".join(f"{data} & {name} & {numbers.replace(',', ' & ')} \\\\\n" for data, name, numbers in rows)
    text = "\\begin{tabular}{llcccc}\nDataset & Method & Acc & Se & Sp & F1 \\\\\n" + body + "\\end{tabular}"
    assert parse_table(text).datasets == ("DRIVE", "DRIVE", "STARE", "STARE")


def test_a_second_tabular_is_named() -> None:
    one = HEAD + latex(("A", FOV), end="\\\\\n") + "\\end{tabular}\n"
    assert any("the first of 2" in note for note in parse_table(one + one).notes)


def test_a_title_that_names_a_score_is_no_heading() -> None:
    table = parse_table(f"Dice scores on DRIVE,,,,\nMethod,Acc,Se,Sp,F1\nA,{FOV}\n")
    assert table.labels == ("A",) and list(table.columns) == ["Acc", "Se", "Sp", "F1"]


# --- Excel ------------------------------------------------------------------------------------------------------------


def test_the_first_sheet_that_shows_is_read_and_raised_digits_are_marks(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    from openpyxl.cell.rich_text import CellRichText, TextBlock
    from openpyxl.cell.text import InlineFont

    book = openpyxl.Workbook()
    book.active.append(["Method", "Acc", "Se", "Sp", "F1"])
    book.active.append(["old", 0.5, 0.5, 0.5, 0.9])
    book.active.sheet_state = "hidden"
    sheet = book.create_sheet("results")
    sheet.append(["Method", "Acc", "Se", "Sp", "F1"])
    sheet.append(["A", *map(float, FOV.split(","))])
    sheet["B2"] = CellRichText("0.9529", TextBlock(InlineFont(vertAlign="superscript"), "1"))
    sheet["D2"] = "=1-0.018"  # what another program wrote has no stored value
    sheet.row_dimensions[2].hidden = True
    book.save(tmp_path / "table.xlsx")
    table = read_table(tmp_path / "table.xlsx")
    assert table.labels == ("A",) and table.rows[0]["Acc"] == "0.9529"
    assert any("sheet 'results'" in note for note in table.notes) and any("hides" in note for note in table.notes)
    assert "Sp" not in table.rows[0] and any("formulas without a stored value" in note for note in table.notes)


@pytest.mark.parametrize(
    "text", ["Metric,A,B\nAcc,0.9529,0.9558\nSe,0.7537,0.8012\n", "Method,Acc\nA,0.95\nMethod,Acc\nB,0.96\n"]
)
def test_another_shape_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"one method a row|expected some of the columns"):
        parse_table(text)
