"""Any paper: a toy one in a temporary folder, its errors, and the merging of its runs."""

from __future__ import annotations

import math
import textwrap

import pytest
import yaml

from retlib.papers import list_papers, load_paper
from retlib.study import Claim, Paper, Printed
from retlib.study.plan import Plan, fill, merge

TOY = """
key: toy
title: A toy
short: Toy 2026
authors: [A. Author]
year: 2026
citation: toy2026
datasets: [hrf]
summary: A table over epochs, in percent, and a table with a quoted row that is run all the same.
proposed: {hrf: hrf-unet}
tables:
  "1":
    caption: Validation scores by epoch
    columns: [Epoch, Val Loss, Dice Score, Sensitivity, Remark]
    metrics: {Val Loss: loss, Dice Score: dice, Sensitivity: sensitivity}
    rows:
      - {kind: measured, dataset: hrf, run: hrf-unet, epoch: 1, cells: ["1", "0.5737", "0.1617", "11.69%", x]}
      - {kind: measured, dataset: hrf, run: hrf-unet, epoch: 2, cells: ["2", "0.5681", null, "9.60%", "–"]}
  "2":
    caption: Precision, recall and F1
    columns: [Method, Precision, Recall, F1]
    metrics: {Precision: precision, Recall: sensitivity, F1: dice}
    rows:
      - {kind: quoted, dataset: hrf, run: hrf-unet, cells: [U-Net, "0.5", "0.70", "-"]}
claims:
  - {id: best, where: Text, statement: The second epoch is the best., check: Look at the curves.}
open_points:
  - {id: rate, question: "Which rate?", choice: A usual one., reason: None., config: training.learning_rate}
runs:
  base:
    inputs: {size: [64, 64]}
    training: {epochs: 2, batch_size: 2, learning_rate: 1e-3, loss: {bce: 1.0}}
  profiles:
    smoke: {model_options: {width: 4}}
    lite: {model_options: {width: 8}}
  parts:
    hrf:
      dataset: hrf
      train: {dataset: hrf, split: training}
      test: [{dataset: hrf, split: test}]
      profiles:
        smoke:
          train: {dataset: phantom, split: training, options: {count: 3, height: 64, width: 64}}
          test: [{dataset: phantom, split: test, options: {count: 1, height: 64, width: 64}}]
  list:
    hrf-unet: {use: [hrf], about: U-Net on HRF, model: unet, model_options: {depth: 2}}
    "hrf-unet-fold{k}of{n}":
      use: [hrf]
      role: fold
      model: unet
      for: {n: [2, 3], k: [1, 2]}
      train: {split: "all/fold{k}of{n}-train"}
      test: [{dataset: hrf, split: "all/fold{k}of{n}-test"}]
      only: [lite, paper]
"""


@pytest.fixture
def toy(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_text(TOY)
    return path


def test_a_paper_outside_the_package_loads_and_plans(toy):
    paper = load_paper(toy)
    assert (paper.key, paper.venue, paper.datasets) == ("toy", None, ("hrf",))
    assert list(paper.runs("smoke")) == ["hrf-unet"]
    assert list(paper.runs("paper")) == [
        "hrf-unet",
        "hrf-unet-fold1of2",
        "hrf-unet-fold2of2",
        "hrf-unet-fold1of3",
        "hrf-unet-fold2of3",
    ]
    assert paper.runs("lite")["hrf-unet-fold1of3"].train.split == "all/fold1of3-train"
    assert paper.runs("lite")["hrf-unet"].model_options == {"width": 8, "depth": 2}
    assert paper.configured(paper.open_points[0]) == {"training.learning_rate": 1e-3}
    assert load_paper(str(toy)) == paper
    assert paper.test_claim("best") == []


def test_tables_over_epochs_and_in_percent(toy):
    table = load_paper(toy).tables["1"]
    frame = table.reported
    assert frame["Sensitivity"].tolist() == [11.69, 9.60]
    assert frame["Remark"].tolist() == ["x", None]
    assert math.isnan(frame["Dice Score"][1])
    assert set(frame.select_dtypes("float64")) == {"Epoch", "Val Loss", "Dice Score", "Sensitivity"}
    values = table.values(1)["hrf"]
    assert set(values) == {"loss", "sensitivity"}
    assert values["sensitivity"].value == pytest.approx(0.096)
    assert values["sensitivity"].half_unit == pytest.approx(0.00005)


def test_a_quoted_row_may_have_a_run_but_prints_nothing_for_it(toy):
    paper = load_paper(toy)
    assert paper.table_runs("2") == [(0, "hrf-unet")]
    assert paper.printed("hrf-unet", "precision") is None
    assert set(paper.tables["2"].reported.select_dtypes("float64")) == {"Precision", "Recall"}


def test_printed_numbers():
    value = Printed("0.9500")
    assert (value.value, value.decimals) == (0.95, 4)
    assert value.half_unit == pytest.approx(0.00005)
    assert Printed("84.03%").value == pytest.approx(0.8403)
    assert Printed("1").decimals == 0
    for text in ("-", "0,95", "n/a", ""):
        with pytest.raises(ValueError, match="number as printed"):
            Printed(text)


WRONG = {
    # what is replaced, by what, what the message has to say
    "a key too many": ("year: 2026", "year: 2026\ndoi: none", ["doi", "Extra inputs"]),
    "a key missing": ("title: A toy\n", "", ["title", "Field required"]),
    "a number not quoted": (
        '"0.5", "0.70"',
        '0.5, "0.70"',
        ["tables.2.rows.0.cells.1", "quotation marks", "0.5"],
    ),
    "a cell too few": ('"0.70", "-"]', '"-"]', ["tables.2.rows.0.cells", "expected 4", "got 3"]),
    "a text for a number": ('"0.70"', '"high"', ["tables.2.rows.0.cells", "'Recall'", "'high'"]),
    "an unknown metric": ("F1: dice", "F1: f1", ["tables.2.metrics.F1", "'f1'"]),
    "an unknown column": ("F1: dice", "F2: dice", ["tables.2.metrics.F2", "columns"]),
    "an unknown kind": ("kind: quoted", "kind: cited", ["tables.2.rows.0.kind", "cited"]),
    "an unknown run": ("proposed: {hrf: hrf-unet}", "proposed: {hrf: hrf-u}", ["proposed.hrf", "'hrf-u'"]),
    "an unknown run in a row": (
        "run: hrf-unet, epoch: 2",
        "run: net, epoch: 2",
        ["tables.1.rows.1.run", "'net'"],
    ),
    "an unknown data set": ("datasets: [hrf]", "datasets: [hrv]", ["datasets.0", "'hrv'", "chase_db1"]),
    "an unknown part": ("use: [hrf], about", "use: [hrv], about", ["runs.list.hrf-unet.use", "'hrv'"]),
    "an unknown field of a run": ("role: fold", "rolle: fold", ["runs.list", "rolle"]),
    "an unknown profile": ("    lite: {", "    light: {", ["runs.profiles.light", "'paper'"]),
    "a loop over nothing": ("for: {n: [2, 3], k: [1, 2]}", "for: {k: [1, 2]}", ["for", "(k, n)", "got k"]),
    "a name twice": ("n: [2, 3], k: [1, 2]", "n: [2, 2], k: [1, 2]", ["runs.list", "hrf-unet-fold1of2"]),
    "a key twice": ("year: 2026", "year: 2026\nyear: 2025", ["line 7", "'year'", "twice"]),
    "a claim without substance": (", check: Look at the curves.", "", ["claims.0.check"]),
    "a claim decided without a reason": ("check: Look at the curves.", "decided: fails", ["claims.0.because"]),
    "a fact that is no data set's": (
        "check: Look at the curves.",
        'dataset: hrf, facts: {images: "45"}',
        ["claims.0.kind", "dataset"],
    ),
    "an unknown run in a comparison": (
        "check: Look at the curves.",
        "compare: [{higher: hrf-unet, lower: [hrf-unet, net], metrics: [dice]}]",
        ["claims.0.compare.0.lower", "'net'", "expected a run out of hrf-unet"],
    ),
    "a margin of no size": (
        "check: Look at the curves.",
        'compare: [{higher: hrf-unet, lower: "0.5", metrics: [dice], margin: "0.1"}]',
        ["claims.0.compare.0.by", "expected a size"],
    ),
    "no YAML": ("datasets: [hrf]", "datasets: [hrf", ["line", "expected YAML"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_error_names_the_file_the_place_and_what_was_expected(case, tmp_path):
    old, new, words = WRONG[case]
    assert old in TOY
    path = tmp_path / "wrong.yaml"
    path.write_text(TOY.replace(old, new, 1))
    with pytest.raises(ValueError, match=r"wrong\.yaml") as error:
        load_paper(path)
    message = str(error.value)
    for word in words:
        assert word in message
    assert len(message) < 900, "an error is to be read"
    assert error.value.__suppress_context__ or error.value.__context__ is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("epochs: 2", "epochs: 0", ["toy", "hrf-unet", "training.epochs", "greater than or equal to 1"]),
        ("split: test}", "split: testing}", ["hrf-unet", "'testing'"]),
        ("depth: 2", "deepness: 2", ["hrf-unet", "deepness", "depth"]),
        ("{bce: 1.0}", "{bee: 1.0}", ["hrf-unet", "'bee'", "bce"]),
        ("model: unet, model_options", "model: u-net, model_options", ["hrf-unet", "'u-net'", "unet"]),
    ],
)
def test_a_run_that_cannot_run_is_an_error_before_training(old, new, words, tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_text(TOY.replace(old, new, 1))
    with pytest.raises(ValueError) as error:
        load_paper(path).runs("paper")
    for word in words:
        assert word in str(error.value)


def size_claim(tmp_path, *, metric: str = "dice", **fields: object) -> tuple[Paper, Claim]:
    """The toy with a claim that a run is above another by a stated size."""
    content = yaml.safe_load(TOY)
    comparison = {"higher": "hrf-unet-fold1of2", "lower": "hrf-unet", "metrics": [metric]} | fields
    content["claims"] = [{"id": "size", "where": "Text", "statement": "A step.", "compare": [comparison]}]
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_paper(path), load_paper(path).claim("size")


@pytest.mark.parametrize(
    ("fields", "step", "width", "holds"),
    [
        ({"by": "1.6%"}, 0.0164, None, True),  # rounds to the stated size
        ({"by": "1.6%"}, 0.0166, None, False),
        ({"by": "1.6%"}, 0.049, None, False),  # the direction alone is not enough
        ({"by": "1.6%"}, 0.0266, 0.0204, True),  # half the interval's width is added
        ({"by": "1.6%"}, 0.0266, 0.0200, False),
        ({"by": "1.6%"}, -0.001, 0.2, False),  # a wide interval does not turn the sign
        ({"by": "1.6%", "margin": "0.5%"}, 0.021, 0.0, True),
        ({"by": "1.6%", "margin": "0.5%"}, 0.022, 0.2, False),  # a stated margin is the whole margin
        ({"by": "4%", "relative": True}, 0.02, None, True),  # of 0.5
        ({"by": "4%", "relative": True}, 0.04, None, False),
        ({"by": "4%", "relative": True}, 0.04, 0.04, True),
        ({"by": "-1.6%"}, -0.016, None, True),
    ],
)
def test_a_claim_of_a_size_holds_within_a_margin(fields, step, width, holds, tmp_path):
    paper, claim = size_claim(tmp_path, **fields)
    values = {"hrf-unet": 0.5, "hrf-unet-fold1of2": 0.5 + step}
    interval = None if width is None else (lambda start, end, metric: (step, step - width / 2, step + width / 2))
    (finding,) = paper.test_claim(claim, lambda run, metric: values[run], difference_of=interval)
    assert finding.holds is holds
    assert finding.left == Printed(fields["by"]).value
    assert finding.right == pytest.approx(step / 0.5 if fields.get("relative") else step)
    (finding,) = paper.test_claim(claim, lambda run, metric: None, difference_of=interval)
    assert finding.holds is None


def test_the_size_of_a_level_and_of_a_step(tmp_path):
    losses = {"hrf-unet": [1.0] * 9 + [0.28]}
    paper, claim = size_claim(tmp_path, metric="train_loss", higher="hrf-unet", lower="0.25", by="0.00", margin="0.05")
    (finding,) = paper.test_claim(claim, curve_of=lambda run, curve: losses.get(run))
    assert finding.holds and finding.what == "hrf-unet above 0.25 by 0.00, give or take 0.05"
    losses["hrf-unet"][-1] = 0.53
    (finding,) = paper.test_claim(claim, curve_of=lambda run, curve: losses.get(run))
    assert finding.holds is False
    paper, claim = size_claim(tmp_path, higher=["hrf-unet", "hrf-unet-fold1of2"], lower=["hrf-unet", "hrf-unet"])
    assert claim.runs() == ["hrf-unet", "hrf-unet-fold1of2"]
    (finding,) = paper.test_claim(claim, lambda run, metric: 0.5 + 0.1 * run.endswith("fold1of2"))
    assert finding.holds and finding.what.startswith("hrf-unet to hrf-unet-fold1of2 gains more than")


def test_review_values_have_to_stand_in_the_cells(tmp_path):
    content = yaml.safe_load(TOY)
    row = {
        "kind": "quoted",
        "cells": ["X", "HRF: Acc: 0.9680"],
        "values": {"hrf": {"accuracy": "0.968", "dice": "0.9"}},
    }
    content["tables"]["3"] = {"caption": "Review", "columns": ["Reference", "Results"], "rows": [row]}
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError) as error:
        load_paper(path)
    assert "tables.3.rows.0.values.hrf.accuracy" in str(error.value)  # the last zero belongs to the number
    assert "tables.3.rows.0.values.hrf.dice" in str(error.value)


def test_what_is_not_there():
    assert "resaspp-unet" in list_papers()
    with pytest.raises(ValueError, match=r"unknown paper 'resnet'; known: .*resaspp-unet"):
        load_paper("resnet")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml"):
        load_paper("nowhere.yaml")
    paper = load_paper("resaspp-unet")
    with pytest.raises(ValueError, match=r"claim 'x' does not exist; there are abstract-drive"):
        paper.claim("x")
    with pytest.raises(ValueError, match=r"unknown profile 'tiny'; known: smoke, lite, paper"):
        paper.runs("tiny")


def test_merge():
    under = {"a": {"x": 1, "y": [1, 2]}, "b": 1, "c": 2}
    over = {"a": {"y": [3], "z": {"deep": 1, "gone": None}}, "b": None, "d": {"e": 0}}
    assert merge(under, over) == {"a": {"x": 1, "y": [3], "z": {"deep": 1}}, "c": 2, "d": {"e": 0}}
    assert under == {"a": {"x": 1, "y": [1, 2]}, "b": 1, "c": 2}
    assert merge({"a": 1}, {"a": {"x": 2}}) == {"a": {"x": 2}}


def test_fill_leaves_other_braces_alone():
    assert fill({"s": ["fold{k}of5", "{other}", 3]}, {"k": 2}) == {"s": ["fold2of5", "{other}", 3]}


def test_layers_merge_from_the_general_to_the_special():
    text = """
    base: {model: base, validation: 0.1, model_options: {width: base, all: base}}
    profiles: {lite: {model: profile, validation: 0.2, model_options: {width: profile}}}
    parts:
      first:
        model: first
        model_options: {part: first}
        profiles: {lite: {model: first-lite, model_options: {width: first-lite}}}
      second: {model: second, model_options: {part: second}}
    list:
      none: {}
      one: {use: [first]}
      both: {use: [first, second]}
      own: {use: [first], model: own, profiles: {lite: {model: own-lite, validation: null}}}
    """
    plan = Plan.parse(yaml.safe_load(textwrap.dedent(text)))
    lite = {name: planned.settings for name, planned in plan.entries["lite"].items()}
    assert lite["none"] == {
        "model": "profile",
        "validation": 0.2,
        "model_options": {"width": "profile", "all": "base"},
    }
    assert lite["one"]["model"] == "first-lite"  # a part's own entry for the profile follows the part
    assert lite["one"]["model_options"] == {"width": "first-lite", "all": "base", "part": "first"}
    assert lite["both"]["model"] == "second"  # and the next part comes after both
    assert lite["own"]["model"] == "own-lite"
    assert "validation" not in lite["own"]  # null removes
    paper = {name: planned.settings for name, planned in plan.entries["paper"].items()}
    assert paper["own"]["model"] == "own"
    assert paper["one"]["model_options"]["width"] == "base"
