"""Honest tables that another reading explains: flagged and not impossible, and the other reading is said."""

from __future__ import annotations

import numpy as np
import pytest

from retlib.audit import CONSISTENT, CUT_OFF, DOUBT, IMPOSSIBLE, VERDICTS, audit_row
from retlib.audit.table_audit import audit_table
from retlib.audit.table_file import parse_table

from .honest_tables import SHORTS, Table, draw_table, plain, score

ROW = "0.9529,0.7537,0.9820,0.8030"  # Acc, Se, Sp, F1 of one matrix, vessels on .1273 of the pixels


def audited(text: str, background, *options) -> tuple[str, str]:
    """The hardest verdict of a table, and all that is said of its rows."""
    rows = audit_table(parse_table(text), background, *options)
    verdicts = [row.verdict for row in rows if row.verdict]
    return max(verdicts, key=VERDICTS.index), " ".join(check.arithmetic for row in rows for check in row.checks)


def cut(value: float, decimals: int) -> str:
    return f"{np.floor(value * 10**decimals + 1e-9) / 10**decimals:.{decimals}f}"


def twice(value: float, decimals: int) -> str:
    return f"{float(f'{value:.{decimals + 1}f}') + 1e-12:.{decimals}f}"


@pytest.mark.parametrize(("how", "every"), [(cut, True), (cut, False), (twice, True)])
def test_numbers_that_were_cut_off_or_rounded_twice(how, every, background) -> None:
    rng = np.random.default_rng(3)
    for _ in range(60):
        table: Table = draw_table(rng)
        chosen = range(len(table.scores)) if every else [rng.integers(len(table.scores))]
        cells = [
            [how(x, table.decimals) if i in chosen else f"{x:.{table.decimals}f}" for i, x in enumerate(row[0])]
            for row in table.rows
        ]
        rows = audit_table(parse_table(plain(table, cells)), background)
        assert all(row.verdict != IMPOSSIBLE for row in rows), plain(table, cells)


def test_what_only_cutting_off_explains_has_its_own_verdict() -> None:
    row = {"precision": "0.8120", "sensitivity": "0.7800", "dice": "0.7958"}
    assert audit_row(row).verdict == CUT_OFF and audit_row({**row, "dice": "0.7968"}).verdict == IMPOSSIBLE


@pytest.mark.parametrize("kind", [("iou",), ("dice",), ("dice", "iou"), ("accuracy",)])
def test_means_over_vessels_and_background(kind, background) -> None:
    rng = np.random.default_rng(4)
    for _ in range(40):
        shares, pixels = rng.uniform(0.07, 0.16, 12), rng.integers(200_000, 400_000, 12)
        found, alarms = shares * rng.uniform(0.6, 0.85, 12), (1 - shares) * rng.uniform(0.01, 0.04, 12)
        cells = np.array([found, shares - found, alarms, 1 - shares - alarms]) * pixels
        values, others = score(cells), score(cells[::-1])
        for name in kind:
            of = "sensitivity" if name == "accuracy" else name
            values[name] = (score(cells)[of] + others[of]) / 2
        text = ",".join(SHORTS.values()) + "\n" + ",".join(f"{values[name].mean():.4f}" for name in SHORTS)
        assert audited(text, background)[0] != IMPOSSIBLE, text


@pytest.mark.parametrize(
    "heading", ["Method,Dice,IoU", "Method,Dice (mean),AUC,Jaccard (mean)", "Method,F1 (DRIVE),IoU (DRIVE)"]
)
def test_means_over_vessels_and_background_with_nothing_beside_them(heading, background) -> None:
    """Networks of every quality, on images one by one and pooled; the records alone would call some impossible."""
    rng = np.random.default_rng(6)
    verdicts = []
    for number in range(60):
        shares = rng.uniform(0.07, 0.16, 12)
        found, alarms = shares * rng.uniform(0.2, 0.85), (1 - shares) * rng.uniform(0.01, 0.08)
        cells = np.array([found, shares - found, alarms, 1 - shares - alarms])
        cells = cells if number % 2 else cells.sum(axis=1, keepdims=True)
        of = {name: f"{(score(cells)[name] + score(cells[::-1])[name]).mean() / 2:.4f}" for name in ("dice", "iou")}
        row = [of["dice"], *(["0.97"] if "AUC" in heading else []), of["iou"]]
        verdict, words = audited(f"{heading}\nA,{','.join(row)}\n", background)
        assert verdict != IMPOSSIBLE and (verdict != DOUBT or "write 'mean of classes' into the heading" in words)
        verdicts.append(verdict)
    assert verdicts.count(DOUBT) > 10


def test_the_means_of_one_row_excuse_no_other_row(background) -> None:
    rows = "A,0.9531,0.7537,0.9820,,\nB,0.9672,0.7537,0.9880,,\nC,,,,0.7000,0.6000\n"
    audits = audit_table(parse_table(f"Method,Acc,Se,Sp,Dice,IoU\n{rows}"), background)
    assert {row.label: row.verdict for row in audits}["C"] == DOUBT
    assert {row.label: row.verdict for row in audits}["all rows"] == IMPOSSIBLE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Method,Dice,IoU\nA,0.7000,0.6000\n", "Dice and IoU may be averaged over vessels and background"),
        ("Method,Acc,SE,Dice\nA,0.9529,0.0020,0.8030\n", "a standard error"),
        ("Method,Acc,Se,Sp,Dice\nA,0.9529,0.0021,0.9820,0.8030\n", "a standard error"),
        ("Method,Acc,PR,F1\nA,0.9529,0.0500,0.8030\n", "precision-recall curve"),
        ("Method,Acc,Se,Sp,F1,IoU\nA,0.9529,0.7537,0.9820,0.8030,0.8100\n", "IoU may be averaged"),
        ("Method,Dice,IoU\nA,0.8030,0.8097\n", "IoU may be averaged"),
        ("Method,Dice,IoU,Dataset\nA,0.8030,0.8097,DCA1\n", "IoU may be averaged"),
        ("Method,Se,Precision,Dice,Dataset\nA,0.7537,0.8593,0.8879,DRIVE\n", "Dice may be averaged"),
        ("Median scores,,,,\nMethod,Acc,Se,Sp,F1\nA,0.9529,0.7537,0.9820,0.3030\n", "medians"),
        ("Method,Acc,Se,Sp,F1\nA,0.9529 (0.93-0.96),0.7537 (0.70-0.80),0.9820,0.3030 (0.2-0.4)\n", "medians"),
        ("Method,Acc,Se,Sp,F1\nA (best of runs),0.9529,0.7537,0.9820,0.3030\n", "best of several runs"),
        ("Method,Acc,Se,Sp,F1\nA,0.9529,0.8679,0.8679,0.9010\n", "one number"),
        (
            "Method,Acc,Precision,Recall,F1,Dataset\nA,0.9529,0.9120,0.8679,0.8885,DRIVE\n",
            "averages over vessels and background",
        ),
    ],
)
def test_another_reading_is_said(text, said, background) -> None:
    verdict, words = audited(text, background)
    assert verdict == DOUBT and said in words


@pytest.mark.parametrize(
    "text",
    [
        "Method,Acc,Se,Sp,F1\nA,0.9529,0.7537,0.9820,0.3030\n",
        "Method,Acc,SE,SP,F1\nA,0.7000,0.7537,0.9820,0.8030\n",
        "Method,Acc,Sensitivity,F1\nA,0.9529,0.0020,0.8030\n",
        "Method,Dice,IoU\nA,0.8030,0.9000\n",
        "Method,Dice,IoU\nA,0.9000,0.9500\n",
        "Method,Dice,IoU\nA,0.7600,0.5000\n",
        "Method,Acc,Dice,IoU\nA,0.9529,0.7000,0.6000\n",
        "Method,Acc,Se,Sp\nA,0.9531,0.7537,0.9820\nA,0.9672,0.7537,0.9880\n",
        "Method,Acc,Se,Sp,Sørensen–Dice coeff.\nA,0.9529,0.7537,0.9820,0.3030\n",
        "Method,Global accuracy,Se,Sp,F1-measure\nA,0.9529,0.7537,0.9820,0.3030\n",
        "Method,Acc,Se,Sp,F1 (95% CI)\nA,0.9529,0.7537,0.9820,0.3030 (0.30-0.31)\n",
    ],
)
def test_no_other_reading_is_left(text, background) -> None:
    assert audited(text, background)[0] == IMPOSSIBLE


def test_a_standard_error_beside_each_score_is_passed_over() -> None:
    table = parse_table("Method,Acc,SE,Dice,SE\nA,0.9529,0.0020,0.8030,0.0100\n")
    assert list(table.columns) == ["Acc", "Dice"]


@pytest.mark.parametrize(
    ("options", "verdict"), [((), DOUBT), (("test",), IMPOSSIBLE), (("any",), CONSISTENT)], ids=["", "test", "any"]
)
def test_other_photographs_than_the_customary_ones(options, verdict, background) -> None:
    text = "Method,Acc,Se,Sp,F1\nA,0.9708,0.7800,0.9850,0.7874\n"
    assert audited(text, background, "chase_db1", *options)[0] == verdict
    assert ("--part any" in audited(text, background, "chase_db1", *options)[1]) == (verdict == DOUBT)


@pytest.mark.parametrize(("dataset", "verdict"), [("drive", IMPOSSIBLE), ("chase_db1", DOUBT)])
def test_a_test_part_is_settled_where_it_is_official(dataset, verdict, background) -> None:
    numbers = {"drive": "0.9429,0.7537,0.9820", "chase_db1": "0.9708,0.7800,0.9850"}[dataset]
    assert audited(f"Method,Split,Acc,Se,Sp\nA,test,{numbers}\n", background, dataset)[0] == verdict


def test_no_photograph_of_the_data_set_has_such_a_share(background) -> None:
    assert audited("Method,Acc,Se,Sp\nA,0.9170,0.8798,0.9857\n", background, "drive")[0] == IMPOSSIBLE
