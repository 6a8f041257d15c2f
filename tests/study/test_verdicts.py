"""Verdicts on the numbers and claims of a paper: a made paper with made records, and the papers themselves."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from retlib.papers import list_papers, load_paper
from retlib.study import Printed, Store, beside_ours, ledger, open_study, reported, tables, verdicts
from retlib.study.notebook import Study
from retlib.study.parameters import Parameters

KINDS = ("table cell", "claim", "data-set fact")
VERDICTS = ("reproduced", "higher", "lower", "impossible as printed", "holds", "holds in part", "fails")
VERDICTS += ("preview only", "not run")

TOY = """
key: toy
title: A toy
short: Toy 2026
authors: [A. Author]
year: 2026
citation: toy2026
datasets: [hrf]
summary: A toy.
proposed: {hrf: big}
tables:
  "1":
    caption: Scores
    columns: [Model, Year, Dice, IoU, Sensitivity]
    metrics: {Dice: dice, IoU: iou, Sensitivity: sensitivity}
    rows:
      - {kind: quoted, dataset: hrf, cells: [Elsewhere, "2020", "0.9", "-", "-"]}
      - {kind: quoted, dataset: hrf, run: small, cells: [Small, "2021", "0.70", "0.54", "-"]}
      - {kind: measured, dataset: hrf, run: big, cells: [Big, "2025", "80.00%", "66.70%", "-"]}
      - {kind: measured, dataset: hrf, run: other, cells: [Big, "2026", "0.80", "0.90", "0.75"]}
      - {kind: measured, dataset: hrf, cells: [Third, "2026", "0.50", "-", "-"]}
  "2":
    caption: By epoch
    columns: [Epoch, Loss, Dice]
    metrics: {Loss: loss, Dice: dice}
    rows:
      - {kind: measured, dataset: hrf, run: big, epoch: 1, cells: ["1", "0.5737", "0.1617"]}
      - {kind: measured, dataset: hrf, run: big, epoch: 9, cells: ["9", "0.5681", "0.0200"]}
claims:
  - id: repeated
    where: Abstract
    statement: The scores of Big.
    dataset: hrf
    run: big
    values: {dice: "0.800", iou: "0.700"}
    same_as: {table: "1", row: 2}
  - id: quoted
    where: Abstract
    statement: The score of Small.
    dataset: hrf
    run: small
    values: {dice: "0.70"}
  - id: first-epoch
    where: Text
    statement: Dice at the first epoch.
    dataset: hrf
    values: {dice: "0.1617"}
    same_as: {table: "2", row: 0}
  - {id: size, where: Data, statement: HRF is large., kind: dataset, dataset: hrf, facts: {width: "3500", images: "45"}}
  - id: better
    where: Text
    statement: Big beats Other on every score.
    compare: [{higher: big, lower: other, metrics: [dice, iou]}]
  - id: lighter
    where: Text
    statement: Big is lighter and quicker than Other.
    compare: [{higher: other, lower: big, metrics: [parameters, step_s]}]
  - id: thin
    where: Text
    statement: Big finds thinner vessels than Other.
    compare: [{higher: big, lower: other, metrics: [recall_thin]}]
  - {id: settles, where: Text, statement: Accuracy settles high., compare: [
      {higher: big, lower: "0.9", metrics: [train_accuracy]}]}
  - {id: looks, where: Text, statement: It looks good., check: Look at the figure.}
  - id: smaller
    where: Text
    statement: Big is no smaller than Other, which is no smaller than itself.
    compare:
      - {higher: big, lower: other, metrics: [parameters], or_equal: true}
      - {higher: other, lower: other, metrics: [parameters], or_equal: true}
  - {id: said, where: Text, statement: Other methods are compared., decided: fails, because: There are none.}
runs:
  base: {training: {epochs: 2, batch_size: 2, learning_rate: 1e-3, loss: {bce: 1.0}},
         model: unet, train: {dataset: hrf, split: training},
         scoring: {region: frame, average: image}}
  profiles: {smoke: {model_options: {width: 4}}, lite: {model_options: {width: 8}}}
  list:
    small: {dataset: hrf, about: a, test: &test [{dataset: hrf, split: test}], model_options: {depth: 1}}
    big: {dataset: hrf, about: b, test: *test, model_options: {depth: 2}}
    other: {dataset: hrf, about: c, test: *test, model_options: {depth: 3}}
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    path = tmp_path / "toy.yaml"
    path.write_text(TOY, encoding="utf-8")
    return path


def write(toy: Path, profile: str, run: str, *, dice: float, seed: int = 0, train_dice: float = 0.8, **changes) -> None:
    """Write a record of a run of the toy: five images around this Dice, and an IoU half as high."""
    config = load_paper(toy).runs(profile, seed)[run]
    spread = np.linspace(-0.01, 0.01, 5)
    scores = {"dice": dice, "iou": dice / 2, "sensitivity": 0.7}
    per_image = {metric: list(value + spread) for metric, value in scores.items()}
    inside = per_image | {"recall_thin": [dice / 4] * 5}
    epoch = {"epoch": 1, "train_dice": train_dice, "train_accuracy": 0.95}
    content = {
        "id": config.identify(),
        "config": config.model_dump(mode="json"),
        "threshold": 0.5,
        "tests": {
            "hrf:test": {
                "images": list("abcde"),
                "metrics": {region: {"pooled": scores, "image": scores} for region in ("frame", "fov")},
                "per_image": {"frame": per_image, "fov": inside},
            }
        },
        "history": [epoch | {"validation_loss": 0.5737, "validation_dice": 0.3}],
        "model": {"parameters": 1000},
        "training": {"steps": 2},
        "timing": {"step_s": 0.5},
        **changes,
    }
    Store(toy.parent / "records").write(content, {})


def opened(toy: Path, seeds: tuple[int, ...] = (0,), **parameters: object) -> Study:
    return open_study(str(toy), Parameters(records=str(toy.parent / "records"), seeds=seeds, **parameters))


def lines_of(toy: Path, seeds: tuple[int, ...] = (0,)) -> dict[tuple[str, ...], pd.Series]:
    """The ledger by place: (table, item), or (part of the paper, claim, item)."""
    frame = ledger(opened(toy, seeds))
    places = [
        (row["where"], row["item"]) if row["kind"] == "table cell" else (row["where"], row["group"], row["item"])
        for _, row in frame.iterrows()
    ]
    assert len(set(places)) == len(frame)
    return dict(zip(places, (row for _, row in frame.iterrows()), strict=True))


CELLS = [
    ("Table 1", "Small, 2021: Dice"),
    ("Table 1", "Small, 2021: IoU"),
    ("Table 1", "Big, 2025: Dice"),
    ("Table 1", "Big, 2025: IoU"),
    ("Table 1", "Big, 2026: Dice"),
    ("Table 1", "Big, 2026: IoU"),
    ("Table 1", "Big, 2026: Sensitivity"),
    ("Table 1", "Third, 2026: Dice"),
    ("Table 2", "Epoch 1: Loss"),
    ("Table 2", "Epoch 1: Dice"),
    ("Table 2", "Epoch 9: Loss"),
    ("Table 2", "Epoch 9: Dice"),
]
BETTER = ("Text", "Big beats Other on every score.", "")
LIGHTER = ("Text", "Big is lighter and quicker than Other.", "")
THIN = ("Text", "Big finds thinner vessels than Other.", "")
SETTLES = ("Text", "Accuracy settles high.", "")
COUNTED = ("Text", "Big is no smaller than Other, which is no smaller than itself.", "")
DECIDED = ("Text", "Other methods are compared.", "")
CLAIMS = [
    ("Abstract", "The scores of Big.", "Dice"),
    ("Abstract", "The scores of Big.", "IoU (Table 1 prints 66.70%)"),
    ("Abstract", "The score of Small.", "Dice"),
    ("Text", "Dice at the first epoch.", "Dice"),
    ("Data", "HRF is large.", "width"),
    ("Data", "HRF is large.", "images"),
    BETTER,
    LIGHTER,
    THIN,
    SETTLES,
    ("Text", "It looks good.", ""),
    COUNTED,
    DECIDED,
]


def test_there_is_a_line_for_every_measured_cell_and_every_claim(toy: Path) -> None:
    frame = ledger(opened(toy))
    assert tuple(frame.columns) == verdicts.COLUMNS and set(frame["paper"]) == {"toy"}
    assert list(lines_of(toy)) == CELLS + CLAIMS
    assert set(frame["kind"]) == set(KINDS)
    assert (frame["kind"] == "data-set fact").sum() == 2
    # The quoted row without a run of ours is printed, and has no line.
    printed = reported(load_paper(toy))
    assert len(printed) == len(CELLS) + 1 and printed.loc[printed["run"].isna(), "label"].tolist() == [
        "Elsewhere, 2020",
        "Third, 2026",
    ]


def test_without_records_nothing_is_measured(toy: Path) -> None:
    lines = lines_of(toy)
    open_lines = {
        place: line for place, line in lines.items() if place[0] != "Data" and place not in (COUNTED, DECIDED)
    }
    for line in open_lines.values():
        assert pd.isna(line["measured"]) and pd.isna(line["profile"]) and pd.isna(line["basis"])
        assert pd.isna(line["verdict"]) or line["verdict"] in ("not run", "impossible as printed")
    percent = lines["Table 1", "Big, 2025: Dice"]
    assert (percent["reported"], percent["decimals"]) == (0.8, 4)
    assert lines[BETTER]["reported"] == "fails"  # 0.8 and 0.8, 0.667 and 0.9
    assert pd.isna(lines[LIGHTER]["reported"])
    words = lines["Text", "It looks good.", ""]
    assert pd.isna(words["verdict"]) and words["note"] == "Look at the figure."


def test_what_needs_no_run_is_decided_without_one(toy: Path) -> None:
    lines = lines_of(toy)
    counted, decided = lines[COUNTED], lines[DECIDED]
    assert (counted["measured"], counted["verdict"]) == ("holds in 1 of 2", "holds in part")
    assert pd.isna(counted["profile"]) and re.search(r"b (\d[\d ]*); c (\d[\d ]*)", counted["note"])
    assert (decided["verdict"], decided["note"]) == ("fails", "There are none.") and pd.isna(decided["reported"])


def test_facts_are_held_against_the_data_set(toy: Path) -> None:
    lines = lines_of(toy)
    width, images = lines["Data", "HRF is large.", "width"], lines["Data", "HRF is large.", "images"]
    assert (width["reported"], width["measured"], width["verdict"]) == (3500, 3504, "fails")
    assert (images["reported"], images["measured"], images["verdict"]) == (45, 45, "holds")


def test_a_lite_record_is_shown_and_never_judged(toy: Path) -> None:
    for run in ("small", "big", "other"):
        write(toy, "lite", run, dice=0.8)
    lines = lines_of(toy)
    cell = lines["Table 1", "Big, 2025: Dice"]
    assert cell["measured"] == pytest.approx(0.8) and (cell["profile"], cell["verdict"]) == ("lite", "preview only")
    assert math.isnan(cell["half_width"]) and cell["difference"] == pytest.approx(0.0)
    assert (lines[LIGHTER]["measured"], lines[LIGHTER]["profile"]) == ("fails", "lite")
    judged = {line["verdict"] for line in lines.values() if line["profile"] == "lite" and pd.notna(line["verdict"])}
    assert judged == {"preview only", "impossible as printed"}


@pytest.mark.parametrize(("dice", "judged"), [(0.803, "reproduced"), (0.9, "higher"), (0.7, "lower")])
def test_the_best_record_wins_and_is_judged(toy: Path, dice: float, judged: str) -> None:
    write(toy, "lite", "big", dice=0.1)
    write(toy, "paper", "big", dice=dice)
    lines = lines_of(toy)
    cell, iou = lines["Table 1", "Big, 2025: Dice"], lines["Table 1", "Big, 2025: IoU"]
    assert cell["measured"] == pytest.approx(dice) and (cell["profile"], cell["verdict"]) == ("paper", judged)
    assert iou["measured"] == pytest.approx(dice / 2) and iou["verdict"] == "lower"
    assert 0 < cell["half_width"] < 0.01
    assert tables.verdict_text(judged, cell["half_width"]) == f"{judged} (±{cell['half_width']:.4f})"
    assert [path.parent for path in cell["records"]] == [toy.parent / "records"]


def test_a_number_counts_as_reproduced_within_its_rounding(toy: Path) -> None:
    """0.54 may be up to 0.545; the verdict does not look at the size of the gap beyond that."""
    write(toy, "paper", "big", dice=0.8, history=[{"epoch": 1, "validation_loss": 0.57374, "validation_dice": 0.1618}])
    lines = lines_of(toy)
    assert lines["Table 2", "Epoch 1: Loss"]["verdict"] == "reproduced"
    assert lines["Table 2", "Epoch 1: Dice"]["verdict"] == "higher"


def test_all_seeds_of_the_parameters_count(toy: Path) -> None:
    write(toy, "paper", "big", dice=0.78)
    write(toy, "paper", "big", dice=0.82, seed=7)
    line = lines_of(toy, (0, 7))["Table 1", "Big, 2025: Dice"]
    assert line["measured"] == pytest.approx(0.8) and line["basis"] == "paper, 2 seeds"
    assert lines_of(toy)["Table 1", "Big, 2025: Dice"]["basis"] == "paper, 1 seed"


def test_a_quoted_row_gets_our_number_and_no_verdict(toy: Path) -> None:
    write(toy, "paper", "small", dice=0.7)
    lines = lines_of(toy)
    for place in (("Table 1", "Small, 2021: Dice"), ("Abstract", "The score of Small.", "Dice")):
        line = lines[place]
        assert line["measured"] == pytest.approx(0.7) and line["profile"] == "paper" and pd.isna(line["verdict"])


def test_rows_over_epochs_are_held_against_the_history(toy: Path) -> None:
    write(toy, "paper", "big", dice=0.8)
    lines = lines_of(toy)
    loss, dice = lines["Table 2", "Epoch 1: Loss"], lines["Table 2", "Epoch 1: Dice"]
    assert (loss["measured"], loss["verdict"]) == (0.5737, "reproduced")
    assert (dice["measured"], dice["verdict"]) == (0.3, "higher")
    claimed = lines["Text", "Dice at the first epoch.", "Dice"]  # the row that it repeats names run and epoch
    assert (claimed["measured"], claimed["verdict"]) == (0.3, "higher")
    after = lines["Table 2", "Epoch 9: Dice"]  # training had stopped before
    assert pd.isna(after["measured"]) and pd.isna(after["profile"]) and after["verdict"] == "not run"


def test_numbers_of_an_epoch_have_the_range_of_the_seeds(toy: Path) -> None:
    for seed, dice in enumerate((0.1, 0.2)):
        history = [{"epoch": 1, "validation_loss": 0.5, "validation_dice": dice}]
        write(toy, "paper", "big", dice=0.8, seed=seed, history=history)
    line = lines_of(toy, (0, 1))["Table 2", "Epoch 1: Dice"]  # printed 0.1617
    assert line["measured"] == pytest.approx(0.15) and line["verdict"] == "reproduced"
    assert line["half_width"] == pytest.approx(0.05)


def test_impossible_numbers_stay_impossible_whatever_we_measured(toy: Path) -> None:
    for profile in (None, "lite", "paper"):
        if profile:
            write(toy, profile, "other", dice=0.8)
        lines = lines_of(toy)
        found = [place for place, line in lines.items() if line["verdict"] == "impossible as printed"]
        assert found == [
            ("Table 1", "Big, 2026: Dice"),
            ("Table 1", "Big, 2026: IoU"),
        ]  # a Dice of 0.80, an IoU of 0.90
        assert [bool(lines[place]["note"]) for place in found] == [True, False]  # said once
        assert all(math.isnan(lines[place]["half_width"]) for place in found)


def test_comparisons_take_all_runs_of_one_profile(toy: Path) -> None:
    write(toy, "paper", "big", dice=0.9)
    write(toy, "lite", "other", dice=0.8)
    line = lines_of(toy)[BETTER]
    assert pd.isna(line["measured"]) and pd.isna(line["profile"]) and line["verdict"] == "not run"
    write(toy, "lite", "big", dice=0.9)
    line = lines_of(toy)[BETTER]
    assert (line["measured"], line["profile"], line["verdict"]) == ("holds", "lite", "preview only")
    write(toy, "paper", "other", dice=0.8, model={"parameters": 2000}, timing={"step_s": 0.4})
    lines = lines_of(toy)
    line = lines[BETTER]
    assert (line["measured"], line["profile"], line["verdict"]) == ("holds", "paper", "holds")
    assert (lines[LIGHTER]["measured"], lines[LIGHTER]["verdict"]) == ("holds in 1 of 2", "holds in part")
    assert lines[SETTLES]["verdict"] == "holds"
    assert lines[THIN]["verdict"] == "holds"  # recorded inside the FOV alone
    write(toy, "paper", "big", dice=0.7)
    assert lines_of(toy)[BETTER]["verdict"] == "fails"


def test_comparisons_take_the_seeds_that_all_runs_have(toy: Path) -> None:
    write(toy, "paper", "big", dice=0.9)
    write(toy, "paper", "big", dice=0.1, seed=1)
    write(toy, "paper", "other", dice=0.8)
    line = lines_of(toy, (0, 1))[BETTER]
    assert (line["verdict"], line["basis"], len(line["records"])) == ("holds", "paper, 1 seed", 2)
    write(toy, "paper", "other", dice=0.8, seed=1)
    line = lines_of(toy, (0, 1))[BETTER]
    assert (line["verdict"], line["basis"], len(line["records"])) == ("fails", "paper, 2 seeds", 4)


def test_a_smoke_number_never_stands_beside_a_reported_one(toy: Path) -> None:
    write(toy, "smoke", "big", dice=0.8)
    study = opened(toy, profile="smoke")
    cells = beside_ours(reported(study.paper), study)
    ours = cells[cells["run"] == "big"]
    assert ours["value"].notna().any()
    measured = ours[ours["value"].notna()]
    assert measured["reported"].isna().all() and measured["difference"].isna().all()
    assert set(measured["verdict"]) == {"not run"}
    # Nor does another profile's page show it.
    assert all(pd.isna(line["profile"]) for line in lines_of(toy).values())


def test_other_records_in_the_store_are_none_of_the_papers(toy: Path) -> None:
    Store(toy.parent / "records").write({"id": "f", "config": {"kind": "baseline", "profile": "lite"}, "tests": {}}, {})
    lines = lines_of(toy)
    assert list(lines) == CELLS + CLAIMS and all(pd.isna(line["profile"]) for line in lines.values())


# --- tables -------------------------------------------------------------------------------------------------------


def test_the_table_of_details(toy: Path) -> None:
    write(toy, "paper", "big", dice=0.8)
    study = opened(toy)
    frame = tables.details(beside_ours(reported(study.paper, ["1"]), study))
    row = frame.loc[("Big, 2025", "Dice")]
    assert row["ours"] == pytest.approx(0.8) and row["verdict"].startswith("reproduced (±0.")
    low, high = row["95 % interval"]
    assert low < 0.8 < high
    folder = next((toy.parent / "records").glob("*/record.json")).parent.name
    assert row["rests on"] == f'<a href="records.html#r-{folder}">paper, 1 seed</a>'
    assert frame.loc[("Small, 2021", "Dice"), "verdict"] == tables.DASH
    assert "without seeds that never learned" not in frame
    epochs = tables.details(beside_ours(reported(study.paper, ["2"]), study))
    assert "95 % interval" not in epochs  # one seed has no range


def test_seeds_that_never_learned_are_in_the_mean_and_shown_apart(toy: Path) -> None:
    write(toy, "lite", "big", dice=0.8)
    write(toy, "lite", "big", dice=0.0, seed=1, train_dice=0.01)
    study = opened(toy, (0, 1))
    row = tables.details(beside_ours(reported(study.paper, ["1"]), study)).loc[("Big, 2025", "Dice")]
    assert row["ours"] == pytest.approx(0.4) and row["without seeds that never learned"] == pytest.approx(0.8)
    assert ">lite, 2 seeds (1 never learned)</a>" in row["rests on"]


def test_the_papers_digits_and_ours_stand_side_by_side(toy: Path) -> None:
    write(toy, "lite", "big", dice=0.8)
    study = opened(toy)
    wide = tables.side_by_side(beside_ours(reported(study.paper, ["1"]), study))
    assert wide.loc["Big, 2025", ("Dice", "paper")] == "0.8000" and wide.loc["Big, 2025", ("Dice", "ours")] == "0.8000"
    assert wide.loc["Small, 2021", ("Dice", "paper")] == "0.70"
    assert wide.loc["Small, 2021", ("Dice", "ours")] == tables.DASH
    assert list(wide.columns.get_level_values(0).unique()) == ["Dice", "IoU", "Sensitivity"]


def test_full_size_and_preview_in_one_table_are_told_apart(toy: Path) -> None:
    write(toy, "lite", "big", dice=0.8)
    write(toy, "paper", "other", dice=0.7)
    wide = tables.side_by_side(beside_ours(reported(opened(toy).paper, ["1"]), opened(toy)))
    runs = wide["our run", ""].dropna()
    assert runs["Big, 2025"] == "preview" and "full size" in set(runs)


def test_steps_are_paired_by_seed_and_in_one_profile(toy: Path) -> None:
    def step() -> pd.Series:
        return tables.steps_table(opened(toy, (0, 1)), {"more": ("big", "other")}, "dice").loc["more"]

    write(toy, "paper", "big", dice=0.7)
    assert math.isnan(step()["ours"])
    write(toy, "lite", "big", dice=0.70)
    write(toy, "lite", "other", dice=0.75)
    row = step()
    assert row["ours"] == pytest.approx(0.05) and row["rests on"] == "lite, 1 seed"
    assert row["paper"] == pytest.approx(0.0) and row["conclusion"].endswith("beyond image noise")
    write(toy, "lite", "big", dice=0.9, seed=1)  # has no partner yet
    assert step()["ours"] == pytest.approx(0.05)
    write(toy, "lite", "other", dice=0.8, seed=1)
    row = step()
    assert row["conclusion"] == "open" and row["seeds"] == pytest.approx((-0.1, 0.05))  # the seeds disagree in sign


def test_the_table_of_claims(toy: Path) -> None:
    for run in ("big", "other"):
        write(toy, "paper", run, dice=0.8)
    study = opened(toy)
    frame = tables.claims_table(ledger(study), study.paper).set_index("claim")
    assert list(frame.index) == [claim.statement for claim in study.paper.claims]
    assert frame.loc["The scores of Big.", "verdict"] == "reproduced (1), lower (1)"
    better = frame.loc["Big beats Other on every score."]
    assert (better["the paper's tables"], better["our records"]) == ("fails", "fails (paper, 1 seed)")
    assert frame.loc["It looks good.", ["verdict", "note"]].tolist() == [tables.DASH, "Look at the figure."]
    assert frame.loc["Other methods are compared.", "note"] == "There are none."


def test_the_sentence_of_the_verdicts_counts_the_ledger(toy: Path) -> None:
    text = verdicts.verdict_sentence(ledger(opened(toy)))
    assert text.startswith("0 of 10 table cells judged at full size; 2 printed numbers arithmetically impossible.")
    assert text.endswith("Claims of the text: 1 holds in part, 1 fails.")  # facts of the data set are not counted
    write(toy, "lite", "other", dice=0.8)
    write(toy, "paper", "big", dice=0.8)
    text = verdicts.verdict_sentence(ledger(opened(toy)))
    assert text.startswith("4 of 10 table cells judged at full size (all from one seed): ")
    assert "1 cell with a preview only" in text


@pytest.mark.parametrize(
    ("holds", "words"),
    [
        ([], None),
        ([None], None),
        ([True, True], "holds"),
        ([True, None], "holds, 1 open"),
        ([False, False], "fails"),
        ([True, False, None, True], "holds in 2 of 3, 1 open"),
    ],
)
def test_outcomes(holds: list, words: str | None) -> None:
    assert tables.outcome(holds) == words


def test_words_of_verdicts() -> None:
    assert tables.verdict_text(None, math.nan) == tables.DASH
    assert tables.verdict_text("preview only", math.nan) == "preview only"
    assert tables.verdict_text("lower", 0.00414) == "lower (±0.0041)"


# --- the papers themselves ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def committed(repository: Path) -> dict[str, tuple[Study, pd.DataFrame]]:
    """Each paper with the committed records, and its ledger."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RETLIB_DATA", raising=False)
        studies = {
            key: open_study(key, Parameters(seeds=tuple(range(10)), records=str(repository / "book" / "records")))
            for key in list_papers()
        }
        return {key: (study, ledger(study)) for key, study in studies.items()}


@pytest.mark.parametrize("key", list_papers())
def test_no_cell_and_no_claim_of_a_paper_is_left_out(key: str, committed) -> None:
    study, lines = committed[key]
    paper, found = study.paper, lines["where"].value_counts()
    for number, table in paper.tables.items():
        rows = [index for index, row in enumerate(table.rows) if row.kind == "measured" or row.run is not None]
        assert found.get(f"Table {number}", 0) == sum(len(v) for index in rows for v in table.values(index).values())
    for claim in paper.claims:
        own = lines[(lines["where"] == claim.where) & (lines["group"] == claim.statement)]
        alone = bool(claim.compares) + (claim.decided is not None)
        assert len(own) == (len(claim.values) + len(claim.facts) + alone or 1), claim.id
        assert own["verdict"].notna().iloc[0] or claim.check or claim.values


@pytest.mark.parametrize("key", list_papers())
def test_a_papers_page_gives_the_ledgers_verdict_on_every_claim(key: str, committed) -> None:
    study, lines = committed[key]
    frame = tables.claims_table(lines, study.paper)
    assert list(frame["claim"]) == [claim.statement for claim in study.paper.claims]
    for claim, text, note in zip(study.paper.claims, frame["verdict"], frame["note"], strict=True):
        own = lines[(lines["where"] == claim.where) & (lines["group"] == claim.statement)]
        expected = set(own["verdict"].dropna()) or {tables.DASH}
        assert set(re.sub(r" \(\d+\)", "", text).split(", ")) == expected, claim.id
        if claim.decided is not None:
            assert claim.decided in expected and claim.because in note


def test_the_conclusion_that_cannot_hold_is_found(committed) -> None:
    _, lines = committed["resaspp-unet"]
    impossible = lines[lines["verdict"] == "impossible as printed"]
    assert set(impossible["where"]) == {"Conclusion"} and len(impossible) == 6
    assert impossible["note"].astype(bool).sum() == 2  # said once for DRIVE and once for STARE
    table = committed["af-unet"][1]
    table = table[(table["where"] == "Table 1") & (table["verdict"] == "impossible as printed")]
    assert len(table) == 3


def test_the_committed_records_are_in_the_ledger(committed) -> None:
    """No lite number is judged, and no smoke number is shown."""
    lines = pd.concat([lines for _, lines in committed.values()], ignore_index=True)
    assert set(lines["paper"]) == set(list_papers()) and set(lines["verdict"].dropna()) <= set(VERDICTS)
    assert (lines["profile"] == "lite").any() and not (lines["profile"] == "smoke").any()
    lite = lines[lines["profile"] == "lite"]
    assert set(lite["verdict"].dropna()) <= {"preview only", "impossible as printed"}


def test_a_printed_score_above_one_is_impossible_and_no_error(toy: Path) -> None:
    study = opened(toy)
    printed = reported(study.source, ["1"])
    big = (printed["run"] == "big") & (printed["metric"] == "dice")
    printed.loc[big, "printed"] = Printed("180.0%")
    cells = beside_ours(printed, study)
    assert set(cells.loc[big, "verdict"]) == {"impossible as printed"}
    assert cells.loc[big, "note"].tolist() == ["Impossible: Dice 180.0% is not in [0, 1]."]
