"""The ledger of all verdicts, on a toy paper with records made for the purpose, and on the papers themselves."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from retlib.papers import list_papers, load_paper
from retlib.report import Parameters, all_verdicts, claims, ledger_lines, open_study, verdict_counts, verdicts
from retlib.study import Printed, Store
from retlib.study.consistency import contradictions, vessel_shares
from retlib.study.ledger import COLUMNS, KINDS, VERDICTS, outcome

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


def write(toy: Path, profile: str, run: str, *, dice: float, seed: int = 0, **changes: object) -> Path:
    """A record of a run of the toy, with this Dice and an IoU half as high; the store's folder."""
    config = load_paper(toy).runs(profile, seed)[run]
    spread = np.linspace(-0.01, 0.01, 5)
    scores = {"dice": dice, "iou": dice / 2, "sensitivity": 0.7}
    per_image = {metric: list(value + spread) for metric, value in scores.items()}
    content = {
        "id": config.identify(),
        "config": config.model_dump(mode="json"),
        "tests": {
            "hrf:test": {
                "images": list("abcde"),
                "metrics": {"frame": {"image": scores}, "fov": {"image": {**scores, "recall_thin": dice / 4}}},
                "per_image": {"frame": per_image},
            }
        },
        "history": [{"epoch": 1, "train_accuracy": 0.95, "validation_loss": 0.5737, "validation_dice": 0.3}],
        "model": {"parameters": 1000},
        "timing": {"step_s": 0.5},
        **changes,
    }
    Store(toy.parent / "records").write(content, {})
    return toy.parent / "records"


def lines_by_what(store: Path, toy: Path) -> dict[tuple[str, str], object]:
    return {(line.where, line.what): line for line in ledger_lines(store, [str(toy)])}


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
CLAIMS = [
    ("Abstract", "The scores of Big: Dice"),
    ("Abstract", "The scores of Big: IoU (Table 1 prints 66.70%)"),
    ("Abstract", "The score of Small: Dice"),
    ("Text", "Dice at the first epoch: Dice"),
    ("Data", "HRF is large: width"),
    ("Data", "HRF is large: images"),
    ("Text", "Big beats Other on every score."),
    ("Text", "Big is lighter and quicker than Other."),
    ("Text", "Big finds thinner vessels than Other."),
    ("Text", "Accuracy settles high."),
    ("Text", "It looks good."),
    ("Text", "Big is no smaller than Other, which is no smaller than itself."),
    ("Text", "Other methods are compared."),
]


def test_there_is_a_line_for_every_measured_cell_and_every_claim(toy: Path) -> None:
    frame = all_verdicts(toy.parent / "records", [str(toy)])
    assert tuple(frame.columns) == COLUMNS and set(frame["paper"]) == {"toy"}
    assert list(zip(frame["where"], frame["what"], strict=True)) == CELLS + CLAIMS


def test_what_nobody_has_run_is_not_run(toy: Path) -> None:
    frame = all_verdicts(toy.parent / "records", [str(toy)])
    told = frame["where"].eq("Data") | frame["what"].isin([what for _, what in CLAIMS[-2:]])
    assert frame.loc[~told, "measured"].isna().all() and frame.loc[~told, "profile"].eq("—").all()
    assert set(frame.loc[~told, "verdict"].dropna()) == {"not run", "impossible as printed"}
    lines = lines_by_what(toy.parent / "records", toy)
    percent = lines["Table 1", "Big, 2025: Dice"]
    assert (percent.reported, percent.decimals) == (0.8, 4)
    assert lines["Text", "Big beats Other on every score."].reported == "fails"  # 0.8 and 0.8, 0.667 and 0.9
    assert lines["Text", "Big is lighter and quicker than Other."].reported is None
    words = lines["Text", "It looks good."]
    assert (words.verdict, words.note) == (None, "Look at the figure.")


def test_what_needs_no_run_is_decided_without_one(toy: Path) -> None:
    lines = lines_by_what(toy.parent / "records", toy)
    counted, said = (lines[place] for place in CLAIMS[-2:])
    assert (counted.measured, counted.verdict, counted.profile) == ("holds in 1 of 2", "holds in part", "—")
    assert re.search(r"big (\d[\d ]*), other (\d[\d ]*)", counted.note)
    assert (said.verdict, said.note, said.reported) == ("fails", "There are none.", None)


def test_facts_are_held_against_the_data_set(toy: Path) -> None:
    lines = lines_by_what(toy.parent / "records", toy)
    width, images = lines["Data", "HRF is large: width"], lines["Data", "HRF is large: images"]
    assert (width.reported, width.measured, width.difference, width.verdict) == (3500, 3504, 4, "fails")
    assert (images.difference, images.verdict) == (0, "holds")


def test_a_lite_record_is_shown_and_never_judged(toy: Path) -> None:
    for run in ("small", "big", "other"):
        store = write(toy, "lite", run, dice=0.8)
    lines = lines_by_what(store, toy)
    cell = lines["Table 1", "Big, 2025: Dice"]
    assert (cell.measured, cell.profile, cell.verdict) == (0.8, "lite", "preview only")
    assert cell.judged == "preview only" and cell.difference == pytest.approx(0.0)
    lighter = lines["Text", "Big is lighter and quicker than Other."]
    assert (lighter.measured, lighter.profile, lighter.verdict) == ("fails", "lite", "preview only")
    judged = {line.verdict for line in lines.values() if line.profile == "lite"}
    assert judged == {"preview only", "impossible as printed", None}


@pytest.mark.parametrize(("dice", "judged"), [(0.803, "reproduced"), (0.9, "higher"), (0.7, "lower")])
def test_the_best_record_wins_and_is_judged(toy: Path, dice: float, judged: str) -> None:
    write(toy, "lite", "big", dice=0.1)
    store = write(toy, "paper", "big", dice=dice)
    lines = lines_by_what(store, toy)
    cell, iou = lines["Table 1", "Big, 2025: Dice"], lines["Table 1", "Big, 2025: IoU"]
    assert (cell.measured, cell.profile, cell.verdict) == (dice, "paper", judged)
    assert (iou.measured, iou.verdict) == (dice / 2, "lower")
    assert cell.half_width > 0 and cell.judged == f"{judged} (±{cell.half_width:.4f})"


def test_every_seed_that_has_a_record_counts(toy: Path) -> None:
    write(toy, "paper", "big", dice=0.78)
    store = write(toy, "paper", "big", dice=0.82, seed=7)
    line = lines_by_what(store, toy)["Table 1", "Big, 2025: Dice"]
    assert line.measured == pytest.approx(0.8) and line.profile == "paper, 2 seeds"


def test_a_quoted_row_gets_our_number_and_no_verdict(toy: Path) -> None:
    store = write(toy, "paper", "small", dice=0.7)
    lines = lines_by_what(store, toy)
    for place in (("Table 1", "Small, 2021: Dice"), ("Abstract", "The score of Small: Dice")):
        assert (lines[place].measured, lines[place].profile, lines[place].verdict) == (0.7, "paper", None)


def test_rows_over_epochs_are_held_against_the_history(toy: Path) -> None:
    lines = lines_by_what(write(toy, "paper", "big", dice=0.8), toy)
    loss, dice = lines["Table 2", "Epoch 1: Loss"], lines["Table 2", "Epoch 1: Dice"]
    assert (loss.measured, loss.verdict) == (0.5737, "reproduced")
    assert (dice.measured, dice.verdict) == (0.3, "higher")
    claimed = lines["Text", "Dice at the first epoch: Dice"]  # the row that it repeats says which epoch of which run
    assert (claimed.measured, claimed.verdict) == (0.3, "higher")
    after = lines["Table 2", "Epoch 9: Dice"]  # training had stopped before
    assert (after.measured, after.profile, after.verdict) == (None, "—", "not run")


def test_comparisons_take_all_runs_of_one_profile(toy: Path) -> None:
    better, lighter = ("Text", "Big beats Other on every score."), ("Text", "Big is lighter and quicker than Other.")
    write(toy, "paper", "big", dice=0.9)
    store = write(toy, "lite", "other", dice=0.8)
    lines = lines_by_what(store, toy)
    assert (lines[better].measured, lines[better].profile, lines[better].verdict) == (None, "paper", "not run")
    store = write(toy, "lite", "big", dice=0.9)
    lines = lines_by_what(store, toy)
    assert (lines[better].measured, lines[better].profile, lines[better].verdict) == ("holds", "lite", "preview only")
    store = write(toy, "paper", "other", dice=0.8, model={"parameters": 2000}, timing={"step_s": 0.4})
    lines = lines_by_what(store, toy)
    assert (lines[better].measured, lines[better].profile, lines[better].verdict) == ("holds", "paper", "holds")
    assert (lines[lighter].measured, lines[lighter].verdict) == ("holds in 1 of 2", "holds in part")
    assert lines["Text", "Accuracy settles high."].verdict == "holds"
    assert lines["Text", "Big finds thinner vessels than Other."].verdict == "holds"  # recorded inside the FOV alone
    store = write(toy, "paper", "big", dice=0.7)
    assert lines_by_what(store, toy)[better].verdict == "fails"


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
    assert outcome(holds) == words


def test_counts_add_up(toy: Path) -> None:
    store = write(toy, "lite", "big", dice=0.8)
    lines = ledger_lines(store, [str(toy)])
    counts = verdict_counts(lines)
    assert counts["lines"].sum() == len(lines) == len(CELLS + CLAIMS)
    assert list(counts["kind"]) == sorted(counts["kind"], key=KINDS.index)
    facts = counts[counts["kind"] == "data-set fact"].set_index("verdict")["lines"]
    assert facts.to_dict() == {"holds": 1, "fails": 1}  # and in no other count
    for _, part in counts.groupby("kind"):
        assert list(part["profile"]) == sorted(part["profile"], key=["paper", "lite", "—"].index)
    row = counts[(counts["profile"] == "—") & (counts["verdict"] == "impossible as printed")]
    assert row["lines"].tolist() == [2]  # Big, 2026: a Dice of 0.80 and an IoU of 0.90
    assert set(counts["verdict"]) <= {*VERDICTS, "—"}


# --- impossible as printed ----------------------------------------------------------------------------------------

RATES = ("accuracy", "sensitivity", "specificity")
OVERLAP = ("dice", "iou")
F1 = ("dice", "precision", "sensitivity")
SHARES = (0.06, 0.17)


@pytest.mark.parametrize(
    ("numbers", "against"),
    [
        ({"accuracy": "0.9529", "sensitivity": "0.7153", "specificity": "0.9876"}, []),
        ({"accuracy": "0.9900", "sensitivity": "0.7153", "specificity": "0.9876"}, [RATES]),
        ({"accuracy": "0.70", "sensitivity": "0.7153", "specificity": "0.9876"}, [RATES]),
        ({"accuracy": "0.72", "sensitivity": "0.7153", "specificity": "0.9876"}, [RATES]),  # nearly all vessel
        ({"accuracy": "1.0", "sensitivity": "0.98", "specificity": "0.99"}, []),  # 0.99 may be 0.995, 1.0 may be 0.95
        ({"accuracy": "0.9170", "sensitivity": "0.8798", "specificity": "0.9857"}, [RATES]),  # a share of 0.65
        ({"accuracy": "0.9900", "sensitivity": "0.9876", "specificity": "0.7153"}, [RATES]),
        ({"dice": "0.8000", "iou": "0.6667"}, []),
        ({"dice": "0.7800", "iou": "0.6667"}, []),  # a mean over images may fall below the identity
        ({"dice": "0.8010", "iou": "0.6667"}, [OVERLAP]),
        ({"dice": "0.6600", "iou": "0.6667"}, [OVERLAP]),
        ({"dice": "0.8", "iou": "0.7"}, []),  # one digit allows it
        ({"dice": "80.10", "iou": "66.67"}, [OVERLAP]),
        ({"dice": "0.7947", "precision": "0.8940", "sensitivity": "0.7153"}, []),
        ({"dice": "0.8053", "precision": "0.8417", "sensitivity": "0.7600"}, [F1]),
        ({"dice": "0.5000", "precision": "0.8417", "sensitivity": "0.7600"}, [F1]),
        ({"dice": "0.9", "accuracy": "0.1"}, []),
        ({}, []),
    ],
)
def test_contradictions(numbers: dict, against: list) -> None:
    printed = {metric: Printed(text, percent=float(text) > 1) for metric, text in numbers.items()}
    assert [item.metrics for item in contradictions(printed, SHARES)] == against


def test_without_the_data_sets_shares_only_the_order_of_the_rates_counts() -> None:
    printed = {name: Printed(text) for name, text in zip(RATES, ("0.9170", "0.8798", "0.9857"), strict=True)}
    assert contradictions(printed) == [] and len(contradictions(printed, SHARES)) == 1
    assert "0.64 to 0.65" in contradictions(printed, SHARES)[0].why


@pytest.mark.parametrize("average", ["pooled", "image"])
def test_true_scores_never_contradict_one_another(average: str) -> None:
    """Whatever the images and however scores are averaged, as long as specificity is above sensitivity."""
    rng = np.random.default_rng(5)
    for _ in range(300):
        images = rng.integers(1, 6)
        share = rng.uniform(0.02, 0.4, images)
        sensitivity = rng.uniform(0.05, 0.9, images)
        specificity = sensitivity + (1 - sensitivity) * rng.uniform(0.05, 0.999, images)
        tp, fp = share * sensitivity, (1 - share) * (1 - specificity)
        counts = np.stack([tp, fp, share - tp, 1 - share - fp])
        counts = counts.sum(axis=1, keepdims=True) if average == "pooled" else counts
        tp, fp, fn, tn = counts
        scores = {
            "accuracy": (tp + tn) / counts.sum(axis=0),
            "sensitivity": tp / (tp + fn),
            "specificity": tn / (tn + fp),
            "precision": tp / (tp + fp),
            "dice": 2 * tp / (2 * tp + fp + fn),
            "iou": tp / (tp + fp + fn),
        }
        for decimals in (2, 4):
            printed = {metric: Printed(f"{values.mean():.{decimals}f}") for metric, values in scores.items()}
            assert contradictions(printed, (share.min(), share.max())) == []


def test_shares_come_from_the_measured_data_sets(repository: Path, tmp_path: Path) -> None:
    low, high = vessel_shares(repository / "book" / "records", "drive")
    assert 0.05 < low < 0.0877 < 0.1273 < high < 0.2  # DRIVE's shares as a whole: frame and FOV
    assert vessel_shares(repository / "book" / "records", "kvasir-seg") is None
    assert vessel_shares(repository / "book" / "records", None) is None is vessel_shares(tmp_path, "drive")


def test_a_record_without_a_seed_is_no_run_of_a_paper(toy: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "others")
    store.write({"id": "f", "config": {"kind": "baseline", "profile": "lite"}, "tests": {}}, {})
    assert len(ledger_lines(store, [str(toy)])) == len(CELLS + CLAIMS)
    assert not any(line.evidence for line in ledger_lines(store, [str(toy)]))


# --- the papers themselves ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", list_papers())
def test_no_cell_and_no_claim_of_a_paper_is_left_out(key: str, tmp_path: Path) -> None:
    paper = load_paper(key)
    lines = ledger_lines(tmp_path, [key])
    found = Counter(line.where for line in lines)
    for number, table in paper.tables.items():
        rows = [index for index, row in enumerate(table.rows) if row.kind == "measured" or row.run is not None]
        assert found[f"Table {number}"] == sum(len(v) for index in rows for v in table.values(index).values())
    assert {line.group for line in lines} >= {claim.statement for claim in paper.claims}
    for claim in paper.claims:
        own = [line for line in lines if (line.where, line.group) == (claim.where, claim.statement)]
        told = claim.compares + (claim.decided is not None)
        assert len(own) == (len(claim.values) + len(claim.facts) + told or 1), claim.id
        assert own[0].verdict is not None or claim.check or claim.values


def test_the_conclusion_that_cannot_hold_is_found(repository: Path) -> None:
    lines = ledger_lines(repository / "book" / "records", ["resaspp-unet"])
    impossible = [line for line in lines if line.verdict == "impossible as printed"]
    assert {line.where for line in impossible} == {"Conclusion"} and len(impossible) == 6
    assert sum(bool(line.note) for line in impossible) == 2  # said once for DRIVE and once for STARE


def test_the_committed_records_are_in_the_ledger(repository: Path) -> None:
    """No lite number is judged, and none of a stale record is shown as a fresh one."""
    frame = all_verdicts(repository / "book" / "records")
    assert set(frame["paper"]) == set(list_papers())
    assert set(frame["verdict"].dropna()) <= set(VERDICTS)
    lite = frame["profile"].str.startswith("lite")
    assert set(frame.loc[lite, "verdict"].dropna()) <= {"preview only", "impossible as printed"}
    assert not frame["profile"].str.startswith("smoke").any()


@pytest.mark.parametrize("key", list_papers())
def test_a_papers_page_gives_the_verdicts_of_the_page_of_verdicts(repository: Path, key: str) -> None:
    """Cell by cell, those of committed records and those that are impossible as printed."""
    records = repository / "book" / "records"
    study = open_study(key, Parameters(seeds=tuple(range(10))), repository / "notebooks")
    told = {number: [] for number in study.paper.tables}
    for line in ledger_lines(records, [key]):
        if line.kind == "table cell" and line.verdict is not None:
            told[line.where.removeprefix("Table ")].append(line.verdict)
    for number, expected in told.items():
        page = verdicts(study, [number])
        assert (list(page["verdict"]) if len(page) else []) == expected, number
    if key == "af-unet":
        assert told["1"].count("impossible as printed") == 3


@pytest.mark.parametrize("key", list_papers())
def test_a_papers_page_gives_the_ledgers_verdict_on_every_claim(repository: Path, key: str) -> None:
    study = open_study(key, Parameters(seeds=tuple(range(10))), repository / "notebooks")
    frame = claims(study)
    lines = ledger_lines(repository / "book" / "records", [key])
    assert list(frame["claim"]) == [claim.statement for claim in study.paper.claims]
    for claim, told, note in zip(study.paper.claims, frame["verdict"], frame["note"], strict=True):
        own = [line for line in lines if (line.where, line.group) == (claim.where, claim.statement)]
        expected = {line.verdict for line in own if line.verdict is not None} or {"—"}
        assert set(re.sub(r" \(\d+\)", "", told).split(", ")) == expected, claim.id
        if claim.decided is not None:
            assert claim.decided in expected and claim.because in note
