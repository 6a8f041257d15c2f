"""Parameters, evidence, verdicts and tables, on records made for the purpose."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from retlib.experiments import Record, Store, run
from retlib.metrics import Confusion
from retlib.report import Evidence, Parameters, check_parameters, comparison, open_study, style, verdict
from retlib.report.evidence import paired_difference
from retlib.report.findings import Step, seed_sentences, signed, step_sentence
from retlib.report.parameters import _KERNEL_NAMES
from tests.experiments.conftest import tiny


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Two seeds of one run and another run on the same test images, scored over the frame and pooled."""
    folder = tmp_path_factory.mktemp("records")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETLIB_CACHE", str(folder / "cache"))
        scoring = {"region": "frame", "average": "pooled"}
        training = tiny().training.model_dump() | {"epochs": 6}
        configs = [tiny(seed=seed, scoring=scoring, training=training) for seed in (0, 1)]
        configs.append(tiny(scoring=scoring, training=training | {"epochs": 2}))
        return [run(config, folder / "records", device="cpu", progress=False) for config in configs]


# --- parameters ---------------------------------------------------------------------------------------------------


def test_kernel_names_and_imports_are_no_parameters() -> None:
    namespace = {"In": [], "Out": {}, "_": 1, "pd": pd, "check_parameters": check_parameters}
    assert check_parameters(namespace) == Parameters()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"profil": "smoke"}, ["'profil'", "profile"]),
        ({"profile": "full"}, ["profile", "smoke", "lite", "paper"]),
        ({"train": "yes"}, ["train", "missing"]),
        ({"seeds": [0, 0]}, ["seeds", "distinct"]),
        ({"seeds": []}, ["seeds"]),
        ({"seeds": True}, ["seeds"]),
        ({"device": "gpu"}, ["device", "cuda"]),
        ({"data_root": "/no/such/folder"}, ["data_root", "retlib data where"]),
        ({"measure": "missing"}, ["measure"]),
    ],
)
def test_wrong_parameters_are_named(given: dict, words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        check_parameters(given)
    for word in words:
        assert word in str(caught.value)


def test_a_notebooks_own_parameters() -> None:
    extra = {"measure": ("missing", "never")}
    assert check_parameters({"measure": "never", "seeds": 3}, extra).seeds == (3,)
    with pytest.raises(ValueError, match="measure"):
        check_parameters({"measure": "often"}, extra)


def test_a_fresh_kernel_is_not_mistaken_for_parameters() -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    shell.init_user_ns()
    assert {name for name in shell.user_ns if not name.startswith("_")} <= _KERNEL_NAMES


# --- evidence -----------------------------------------------------------------------------------------------------


def counts(record: Record) -> Confusion:
    return record.histograms().select(region="frame", pooled=False).counts(0.5)


def test_the_value_is_the_mean_over_seeds(records) -> None:
    both = Evidence("x", "lite", tuple(records[:2]))
    values = [Evidence("x", "lite", (record,)).value("dice") for record in records[:2]]
    assert both.value("dice") == pytest.approx(np.mean(values))
    pooled = [Confusion(*(getattr(counts(r), k).sum() for k in ("tp", "fp", "fn", "tn"))).dice for r in records[:2]]
    assert values == pytest.approx(pooled)


@pytest.mark.parametrize(("region", "average"), [("frame", "pooled"), ("fov", "image")])
def test_intervals_agree_with_a_bootstrap_written_otherwise(records, region: str, average: str) -> None:
    record = records[0]
    rng = np.random.default_rng(1)
    found = record.histograms().select(region=region, pooled=False).counts(0.5)
    per_image = record.per_image(region=region)["dice"]
    draws = []
    for _ in range(4000):
        chosen = rng.integers(len(per_image), size=len(per_image))
        tp, fp, fn = (getattr(found, key)[chosen].sum() for key in ("tp", "fp", "fn"))
        draws.append(2 * tp / (2 * tp + fp + fn) if average == "pooled" else per_image[chosen].mean())
    expected = np.percentile(draws, [2.5, 97.5])
    low, high = Evidence("x", "lite", (record,)).interval("dice", region=region, average=average)
    width = expected[1] - expected[0]
    assert low == pytest.approx(expected[0], abs=0.15 * width) and high == pytest.approx(expected[1], abs=0.15 * width)
    assert low <= Evidence("x", "lite", (record,)).value("dice", region=region, average=average) <= high


def test_paired_differences(records) -> None:
    first, second = Evidence("a", "lite", (records[0],)), Evidence("b", "lite", (records[2],))
    difference, low, high = paired_difference(first, second, "dice")
    assert difference == pytest.approx(second.value("dice") - first.value("dice")) and low <= difference <= high
    assert paired_difference(first, first, "dice") == (0.0, 0.0, 0.0)
    other = run_elsewhere(records)
    with pytest.raises(ValueError, match="same images"):
        paired_difference(first, Evidence("c", "lite", (other,)), "dice")


def run_elsewhere(records) -> Record:
    content = {**records[2].content, "tests": {"phantom:test": dict(records[2].test(), images=["a", "b", "c", "d"])}}
    return Record(records[2].folder, content)


def test_the_verdict_rule(records) -> None:
    """Only `paper` records are judged; inside the widened interval is reproduced; otherwise above or below."""
    paper, lite = (Evidence("x", profile, (records[0],)) for profile in ("paper", "lite"))
    low, high = paper.interval("dice")
    assert verdict((low + high) / 2, 5e-5, paper, "dice") == "reproduced"
    assert verdict(low - 4e-5, 5e-5, paper, "dice") == "reproduced"
    assert verdict(low - 2e-4, 5e-5, paper, "dice") == "higher"
    assert verdict(high + 2e-4, 5e-5, paper, "dice") == "lower"
    assert verdict((low + high) / 2, 5e-5, paper, "dice", impossible=True) == "impossible as printed"
    assert verdict((low + high) / 2, 5e-5, lite, "dice") == verdict(0.5, 5e-5, None, "dice") == "not run"


# --- tables -------------------------------------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path: Path):
    return open_study("resaspp-unet", Parameters(records=str(tmp_path)))


def test_what_nobody_has_run_stays_a_dash(study) -> None:
    frame = comparison(study, "8", ["Model"])
    assert len(frame) == 15 and frame["measured"].isna().all() and (frame["profile"] == "—").all()
    assert frame.loc[("ResASPP-UNet", "Dice"), "reported"] == 0.7408
    html = style(frame, "Table 8").to_html()
    assert "0.7408" in html and html.count("—") >= 4 * 15
    assert step_sentence(study, "ASPP", "drive-res-unet", "drive-resaspp-unet", "dice", "Dice") == "ASPP: not run."


def test_measured_numbers_come_from_the_record(study, records, monkeypatch: pytest.MonkeyPatch) -> None:
    def evidence(self, name: str, best: bool = True) -> Evidence:
        return Evidence(name, "lite", (records[0 if name == "drive-resaspp-unet" else 2],))

    monkeypatch.setattr("retlib.report.study.Study.evidence", evidence)
    frame = comparison(study, "8", ["Model"])
    line = frame.loc[("ResASPP-UNet", "Dice")]
    assert line["measured"] == records[0].metrics()["dice"] and line["profile"] == "lite"
    assert line["difference"] == pytest.approx(line["measured"] - 0.7408)
    sentence = step_sentence(study, "ASPP", "drive-res-unet", "drive-resaspp-unet", "dice", "Dice")
    assert signed(0.7408 - 0.7153) in sentence


def test_a_smoke_number_never_stands_beside_a_reported_one(tmp_path: Path, records, monkeypatch) -> None:
    study = open_study("resaspp-unet", Parameters(profile="smoke", records=str(tmp_path)))
    monkeypatch.setattr(
        "retlib.report.study.Study.evidence", lambda self, name, best=True: Evidence(name, "smoke", (records[0],))
    )
    frame = comparison(study, "8", ["Model"])
    assert frame["measured"].notna().all() and frame["reported"].isna().all() and frame["difference"].isna().all()


def test_the_best_record_wins_and_its_profile_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study("resaspp-unet", Parameters(records=str(tmp_path)))
    have = {"lite"}

    def find(self, config, root=None, stale=True):
        return f"record of {config.profile}" if config.profile in have else None

    monkeypatch.setattr("retlib.experiments.store.Store.find", find)
    assert study.evidence("drive-unet").profile == "lite"
    have.add("paper")
    os.utime(tmp_path, ns=(0, 0))  # as when a record enters the store
    assert study.evidence("drive-unet").profile == "paper"
    assert study.evidence("drive-unet", best=False).profile == "lite"


def test_a_run_is_looked_for_once_until_the_store_or_the_data_change(tmp_path: Path, records, monkeypatch) -> None:
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    study, looked = open_study("resaspp-unet", Parameters(records=str(tmp_path / "store"))), []

    def find(self, config, root=None, stale=True):
        looked.append(root)
        return None

    monkeypatch.setattr("retlib.experiments.store.Store.find", find)
    for _ in range(3):
        assert study.evidence("drive-unet") is None is study.evidence("drive-unet", best=False)
        assert study.number("drive-unet", "dice") is None is study.curve("drive-unet", "train_loss")
    assert looked == [None, None]  # the paper profile and the lite one; there is no store yet
    content = {**records[0].content, "id": "0123"}
    Store(tmp_path / "store").write(content, {})
    assert study.evidence("drive-unet") is None and len(looked) == 4
    os.utime(tmp_path / "store", ns=(0, 0))
    Store(tmp_path / "store").write(content, {})  # in the other's place
    assert study.evidence("drive-unet") is None and len(looked) == 6
    monkeypatch.setenv("RETLIB_DATA", str(tmp_path))
    assert study.evidence("drive-unet") is None and looked[6:] == [str(tmp_path)] * 2


def test_what_claims_are_held_against_is_of_the_own_profile(study, records, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(self, config, root=None, stale=True):
        return {"paper": records[2], "lite": records[0]}[config.profile] if config.model == "unet" else None

    monkeypatch.setattr("retlib.experiments.store.Store.find", find)
    assert study.evidence("drive-unet").records == (records[2],)
    assert study.number("drive-unet", "dice") == records[0].metrics()["dice"]
    assert study.number("drive-unet", "parameters") == records[0].content["model"]["parameters"]
    assert study.curve("drive-unet", "train_loss") == [row["train_loss"] for row in records[0].history]
    assert study.curve("drive-unet", "no such column") == []
    assert study.number("drive-resaspp-unet", "dice") is None is study.curve("drive-resaspp-unet", "train_loss")


def test_seeds_are_trained_one_after_the_other_and_a_smoke_run_has_one(tmp_path: Path, monkeypatch) -> None:
    made = []
    monkeypatch.setattr("retlib.report.study.run", lambda config, *_, **__: made.append((config.seed, config.model)))
    names = ["drive-unet", "drive-resaspp-unet"]
    open_study("resaspp-unet", Parameters(records=str(tmp_path), seeds=(2, 0), train="missing")).train(names)
    assert made == [(2, "unet"), (2, "resaspp_unet"), (0, "unet"), (0, "resaspp_unet")]
    made.clear()
    smoke = Parameters(profile="smoke", records=str(tmp_path), seeds=(2, 0), train="missing")
    open_study("resaspp-unet", smoke).train(names)
    assert {seed for seed, _ in made} == {2}


def test_runs_of_one_seed_are_said_to_be(records) -> None:
    one, two = (Evidence("run", "lite", tuple(records[:count])) for count in (1, 2))
    assert seed_sentences({"a": two, "b": two, "c": None}) == [] == seed_sentences({})
    assert seed_sentences({"a": one, "b": one, "c": None})[0].startswith("One seed a run:")
    assert seed_sentences({"a": one, "b": two, "c": None})[0].startswith("One seed in 1 of 2 runs:")


def test_style_escapes_and_signs() -> None:
    frame = pd.DataFrame({"name": ["<b>"], "difference": [-0.01], "measured": [math.nan]})
    html = style(frame, "a < b").to_html()
    assert "&lt;b&gt;" in html and "\N{MINUS SIGN}0.0100" in html and "—" in html and "a &lt; b" in html
    assert html == style(frame, "a < b").to_html()


# --- numbers of one epoch, and costs ----------------------------------------------------------------------------------


def test_a_number_of_an_epoch_is_judged_by_the_spread_of_the_seeds(records: list[Record]) -> None:
    evidence = Evidence("run", "paper", tuple(records[:2]))
    rows = [record.history[1] for record in records[:2]]
    values = [row["validation_sensitivity"] for row in rows]
    assert evidence.epoch_value("sensitivity", 2) == pytest.approx(np.mean(values))
    assert evidence.epoch_interval("sensitivity", 2) == (min(values), max(values))
    assert evidence.epoch_value("loss", 2) == pytest.approx(np.mean([row["validation_loss"] for row in rows]))
    assert math.isnan(evidence.epoch_value("dice", 7)) and math.isnan(evidence.epoch_interval("dice", 7)[0])
    assert verdict(float(np.mean(values)), 5e-5, evidence, "sensitivity", epoch=2) == "reproduced"
    assert verdict(min(values) - 0.01, 5e-5, evidence, "sensitivity", epoch=2) == "higher"
    assert verdict(max(values) + 0.01, 5e-5, evidence, "sensitivity", epoch=2) == "lower"
    assert verdict(0.5, 5e-5, evidence, "sensitivity", epoch=7) == "not run"


def test_costs_come_from_the_records(records: list[Record]) -> None:
    evidence = Evidence("run", "lite", tuple(records[:2]))
    assert evidence.cost("parameters") == records[0].content["model"]["parameters"]
    assert evidence.cost("step_s") == min(record.content["timing"]["step_s"] for record in records[:2])


def test_seeds_that_disagree_decide_nothing() -> None:
    one = Step(0.1, 0.05, 0.02, 0.08, seeds=(0.05,))
    agree = Step(0.1, 0.05, 0.02, 0.08, seeds=(0.01, 0.09))
    disagree = Step(0.1, 0.05, 0.02, 0.08, seeds=(-0.01, 0.11))
    assert one.clear and agree.clear and not disagree.clear
    assert not Step(0.1, 0.05, -0.02, 0.08, seeds=(0.05,)).clear
