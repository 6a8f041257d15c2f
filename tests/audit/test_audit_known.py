"""Known answers: what was found by hand in the papers, and the agreement with mlscorecheck."""

from __future__ import annotations

import json
import logging
import shutil

import pytest

from retlib.audit import (
    CONSISTENT,
    IMPOSSIBLE,
    ONLY_MEAN,
    Background,
    audit_published,
    audit_row,
    implied_prevalence,
    list_published,
    load_background,
)
from retlib.papers import load_paper
from retlib.study import Printed

from .conftest import RECORDS

RATES = ("accuracy", "sensitivity", "specificity")


def rows_of(audits, key, where, kind=None):
    return [r for r in audits[key] if r.where == where and r.label != "all rows" and kind in (None, r.kind)]


def together(audits, key, where):
    return next(r.checks[0] for r in audits[key] if r.where == where and r.label == "all rows")


def check(row, name):
    return next(item for item in row.checks if item.name == name)


def test_the_labels_shares(background):
    drive = background.shares["drive"]
    assert drive.part == "test"
    assert drive.pooled["frame"] == pytest.approx(0.0876, abs=5e-5)
    assert drive.pooled["fov"] == pytest.approx(0.1273, abs=5e-5)
    assert background.shares["stare"].part == "all"


def test_resaspp_drive_rows_are_whole_frames(audits):
    for where in ("Table 4", "Table 8"):
        rows = rows_of(audits, "resaspp-unet", where)
        assert len(rows) in (2, 3)
        for row in rows:
            assert float(row.share.interval) == pytest.approx(0.0875, abs=5e-4)
            assert row.share.region == "whole frame (test part)"
            assert row.verdict != IMPOSSIBLE
        assert together(audits, "resaspp-unet", where).verdict == CONSISTENT


def test_resaspp_stare_rows_do_not_meet(audits):
    shares = {row.label: row.share.interval for row in rows_of(audits, "resaspp-unet", "Table 9")}
    assert (shares["ResASPP-UNet"].low, shares["ResASPP-UNet"].high) == pytest.approx((0.0805, 0.0817), abs=6e-5)
    others = [shares["UNet"], shares["Res-UNet"]]
    assert min(item.low for item in others) == pytest.approx(0.0774, abs=6e-5)
    assert max(item.high for item in others) == pytest.approx(0.0784, abs=6e-5)
    assert together(audits, "resaspp-unet", "Table 9").verdict == ONLY_MEAN
    assert together(audits, "resaspp-unet", "Table 5").verdict == CONSISTENT


def test_resaspp_conclusion_cannot_hold(audits):
    claims = {row.label: row for row in audits["resaspp-unet"] if row.kind == "claim"}
    for label, share in {"conclusion-drive": 0.65, "conclusion-stare": 0.62}.items():
        row = claims[label]
        assert float(row.share.interval) == pytest.approx(share, abs=0.005)
        found = check(row, "vessel share")
        assert (found.verdict, found.basis) == (IMPOSSIBLE, "bound")
        assert check(row, "text against table").verdict == IMPOSSIBLE
    assert claims["abstract-drive"].verdict == CONSISTENT
    assert claims["abstract-stare-accuracy"].verdict == IMPOSSIBLE


def test_khan_is_impossible_wherever_it_stands(audits):
    rows = [row for row in audits["resaspp-unet"] if row.label.startswith("Khan")]
    assert [row.where for row in rows] == ["Table 3", "Table 3", "Table 6", "Table 7"]
    shares = {row.dataset: float(row.share.interval) for row in rows}
    assert shares == pytest.approx({"drive": 0.23, "stare": 0.40}, abs=0.005)
    assert {row.verdict for row in rows} == {IMPOSSIBLE}


def test_convlstm_row_agrees_with_itself(audits):
    (row,) = rows_of(audits, "convlstm-unet", "Table 1")
    assert f"{float(row.share.interval):.3f}" == "0.127"
    assert row.share.region == "inside the FOV (test part)"
    names = {item.name for item in row.checks}
    assert {"vessel share", "Dice against P and Se", "Dice against Acc, Se and Sp", "all together"} <= names
    assert {item.verdict for item in row.checks} == {CONSISTENT}


def test_af_unet_rows_are_not_one_test_set(audits):
    for where, low, high in (("Table 1", 0.083, 0.095), ("Table 2", 0.052, 0.089)):
        values = [float(row.share.interval) for row in rows_of(audits, "af-unet", where)]
        assert len(values) == 6
        assert (min(values), max(values)) == pytest.approx((low, high), abs=6e-4)
        assert together(audits, "af-unet", where).verdict != CONSISTENT
    worst = rows_of(audits, "af-unet", "Table 1")[1]
    found = check(worst, "Dice against P and Se")
    assert worst.label == "Unet++" and (found.verdict, found.basis) == (IMPOSSIBLE, "bound")


def test_r2u_net_epochs(audits):
    rows = rows_of(audits, "r2u-net", "Table 1")
    assert {f"{float(row.share.interval):.3f}" for row in rows} == {"0.131", "0.132", "0.133"}
    assert all(row.share.region.startswith("inside the FOV (") for row in rows)
    assert {row.verdict for row in rows} == {CONSISTENT}


def test_attention_unetpp_rows_obey_the_identity(audits):
    rows = rows_of(audits, "attention-unetpp", "Table 1")
    assert len(rows) == 4 and {row.verdict for row in rows} == {CONSISTENT}


def test_published_rows(background):
    rows = {row.label: row for row in audit_published(background)}
    unet = next(row for label, row in rows.items() if label.startswith("U-Net"))
    dice = check(unet, "Dice against Acc, Se and Sp")
    assert dice.verdict != CONSISTENT and "= 0.8023 to 0.8031; printed 0.81415 to 0.81425" in dice.arithmetic
    assert rows["BCDU-Net"].share.region.startswith("inside the FOV")
    assert rows["SA-UNet *"].share.region.startswith("whole frame")
    assert rows["RV-GAN *"].share.region.startswith("whole frame")


def test_a_row_that_no_photograph_gives():
    """What is proven needs no record, and without one nothing else is called impossible."""
    bare = Background({}, ())
    swapped = {"precision": "0.8417", "sensitivity": "0.7600", "dice": "0.8053"}
    assert audit_row(swapped, background=bare).verdict == IMPOSSIBLE
    below = {"precision": "0.8079", "sensitivity": "0.8040", "dice": "0.7838"}
    row = audit_row(below, background=bare)
    assert row.verdict == ONLY_MEAN and row.checks[0].basis == "not judged"


def test_tolerances_come_from_the_records(background, tmp_path):
    """Largest departure, by hand from the record files; none without them, none from a broken network."""
    largest = 0.0
    for row in background.deviations:
        if row.test.startswith("drive:"):
            largest = max(largest, abs(row.means["dice"] - 2 * row.means["iou"] / (1 + row.means["iou"])))
    found = background.tolerance("dice", ("iou",), "drive")
    assert found.where == "drive" and found.value == pytest.approx(largest, abs=1e-15) and found.tests > 10
    assert background.tolerance("dice", ("iou",), "hrf").value > 0
    # A network that fails says nothing about a row that does not: the better the row, the fewer records count.
    poor, good = (background.tolerance("dice", ("iou",), "drive", dice) for dice in (0.0, 0.95))
    assert poor == found and good.tests <= found.tests and good.value <= found.value
    counting = [
        row
        for row in background.deviations
        if row.test.startswith("drive:") and row.means["dice"] >= (0.95 + row.unskilled) / 2
    ]
    assert good.tests == len(counting)
    assert load_background(tmp_path).tolerance("dice", ("iou",)) is None
    assert load_background(None) == Background({}, ())
    record = next(path for path in sorted(RECORDS.glob("*/record.json")))
    (tmp_path / "one").mkdir()
    shutil.copy(record, tmp_path / "one" / "record.json")
    content = json.loads(record.read_text(encoding="utf-8"))
    whole = load_background(tmp_path)
    assert whole.deviations and not whole.shares
    content["config"]["profile"], content["sha256"] = "smoke", None
    (tmp_path / "one" / "record.json").write_text(json.dumps(content), encoding="utf-8")
    assert not load_background(tmp_path).deviations


@pytest.fixture(scope="module")
def mlscorecheck():
    """The package with its logger silenced: it writes to stderr even when told not to."""
    package = pytest.importorskip("mlscorecheck")
    logger = logging.getLogger("mlscorecheck")
    logger.handlers.clear()
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return package


def drive_rows() -> list[dict[str, str]]:
    rows = [dict(row.scores) for row in list_published()]
    for key in ("resaspp-unet", "convlstm-unet"):
        paper = load_paper(key)
        for table in paper.tables.values():
            for index in range(len(table.rows)):
                values = table.values(index).get("drive", {})
                rows.append({name: number.text for name, number in values.items()})
    return [{name: row[name] for name in RATES} for row in rows if set(RATES) <= row.keys()]


def test_mlscorecheck_agrees_on_every_drive_row(mlscorecheck, background):
    """Pooled verdicts agree both ways, region by region. For means over images mlscorecheck lets every image have any
    sensitivity, so what it excludes is impossible here too, and what it allows may still lie beyond our records.
    """
    from mlscorecheck.check.bundles.retina import check_drive_vessel_aggregated

    rows = drive_rows()
    assert len(rows) > 15
    for row in rows:
        scores = {short: float(row[name]) for short, name in zip(("acc", "sens", "spec"), RATES, strict=True)}
        theirs = check_drive_vessel_aggregated(imageset="test", annotator=1, scores=scores, eps=0.5e-4, verbosity=0)
        theirs = {key.removeprefix("inconsistency_"): not value for key, value in theirs["inconsistency"].items()}
        ours = audit_row(row, dataset="drive", test_part=True, background=background)
        regions = {"fov": "inside the FOV", "all": "whole frame"}
        pooled = [text for key, text in regions.items() if theirs[f"{key}_som"]]
        means = [text for key, text in regions.items() if theirs[f"{key}_mos"]]
        assert (ours.verdict == CONSISTENT) == bool(pooled), row
        if pooled:
            assert ours.share.region.startswith(pooled[0])
        if ours.verdict == ONLY_MEAN:
            assert any(ours.share.region.startswith(text) for text in means), row
        if not means:
            assert ours.verdict == IMPOSSIBLE, row
        if check(ours, "vessel share").basis == "bound":
            assert not means, row


@pytest.mark.parametrize(
    ("scores", "consistent"),
    [
        ({"accuracy": "0.9310", "sensitivity": "0.7300", "specificity": "0.9533"}, True),
        ({"accuracy": "0.9310", "sensitivity": "0.7300", "specificity": "0.9533", "dice": "0.6791"}, True),
        ({"accuracy": "0.9310", "sensitivity": "0.7300", "specificity": "0.9533", "dice": "0.6891"}, False),
        ({"accuracy": "0.9310", "precision": "0.6348", "sensitivity": "0.7300", "iou": "0.5141"}, True),
        ({"accuracy": "0.9310", "precision": "0.6438", "sensitivity": "0.7300", "iou": "0.5141"}, False),
        ({"accuracy": "0.9130", "sensitivity": "0.7300", "specificity": "0.9533"}, False),
    ],
)
def test_mlscorecheck_agrees_on_one_matrix(mlscorecheck, scores, consistent):
    """A test set of 100 vessel and 900 background pixels: 73 found, 42 false alarms, and altered digits."""
    from mlscorecheck.check.binary import check_1_testset_no_kfold

    short = {
        "accuracy": "acc",
        "sensitivity": "sens",
        "specificity": "spec",
        "precision": "ppv",
        "dice": "f1",
        "iou": "ji",
    }
    theirs = check_1_testset_no_kfold(
        testset={"p": 100, "n": 900}, scores={short[k]: float(v) for k, v in scores.items()}, eps=0.5e-4
    )
    assert theirs["inconsistency"] != consistent
    row = audit_row(scores)
    fits = row.share.exact is not None and row.share.exact.low <= 0.1 <= row.share.exact.high
    assert (row.verdict in (None, CONSISTENT) and fits) == consistent
    if {"accuracy", "sensitivity", "specificity"} <= scores.keys() and consistent:
        assert 0.1 in implied_prevalence(**{name: Printed(scores[name]) for name in RATES})
