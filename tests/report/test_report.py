"""Parameters, evidence, verdicts and tables, on records made for the purpose."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from retlib.metrics import Confusion
from retlib.papers import load_paper
from retlib.report import Evidence, Parameters, check_parameters, comparison, judge, open_study, show_roc, style
from retlib.study import Printed, Record, Store, run
from retlib.study.evidence import never_learned, paired_difference
from retlib.study.evidence_verdicts import verdict_text
from retlib.study.findings import Step, contradiction_sentences, ours, seed_sentences, signed, step_sentence
from retlib.study.parameters import _KERNEL_NAMES
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


def judged(value: float, evidence: Evidence | None, tmp_path: Path, metric: str = "dice", **other: object):
    """A number printed with four decimals, judged; ``other`` numbers of the row beside it."""
    printed = {name: Printed(f"{number:.4f}") for name, number in {metric: value, **other}.items()}
    return judge(printed, evidence, tmp_path, None)[metric]


def test_the_verdict_rule(records, tmp_path: Path) -> None:
    """Only `paper` records are judged; inside the widened interval is reproduced; otherwise above or below."""
    paper, lite, smoke = (Evidence("x", profile, (records[0],)) for profile in ("paper", "lite", "smoke"))
    low, high = paper.interval("dice")
    found = judged((low + high) / 2, paper, tmp_path)
    assert found.verdict == "reproduced" and found.half_width == pytest.approx((high - low) / 2)
    assert verdict_text(found.verdict, 0.00414) == "reproduced (±0.0041)"
    assert judged(low - 1e-6, paper, tmp_path).verdict == "reproduced"
    assert judged(low - 2e-4, paper, tmp_path).verdict == "higher"
    assert judged(high + 2e-4, paper, tmp_path).verdict == "lower"
    for evidence in (paper, lite, None):
        found = judged((low + high) / 2, evidence, tmp_path, iou=0.999)
        assert (found.verdict, found.half_width) == ("impossible as printed", None)
    assert judged((low + high) / 2, lite, tmp_path).verdict == "preview only"
    assert judged(0.5, None, tmp_path).verdict == judged(0.5, smoke, tmp_path).verdict == "not run"
    quoted = judge({"dice": Printed("0.5000")}, paper, tmp_path, None, quoted=True)["dice"]
    assert (quoted.verdict, quoted.measured) == (None, paper.value("dice"))


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
    def evidence(self, name: str, profile: str) -> Evidence | None:
        number = 0 if name == "drive-resaspp-unet" else 2
        return Evidence(name, "lite", (records[number],)) if profile == "lite" else None

    monkeypatch.setattr("retlib.study.notebook.Study._evidence", evidence)
    frame = comparison(study, "8", ["Model"])
    line = frame.loc[("ResASPP-UNet", "Dice")]
    assert line["measured"] == records[0].metrics()["dice"] and line["profile"] == "lite"
    assert line["difference"] == pytest.approx(line["measured"] - 0.7408)
    assert set(frame["verdict"]) == {"preview only"}
    sentence = step_sentence(study, "ASPP", "drive-res-unet", "drive-resaspp-unet", "dice", "Dice")
    assert signed(0.7408 - 0.7153) in sentence and "in the preview" in sentence
    told = ours(study.evidence("drive-resaspp-unet"), "dice")
    assert told == f"{records[0].metrics()['dice']:.4f} (lite, a preview)"


def test_a_control_trained_inside_the_fov_is_drawn_there_alone(repository: Path, monkeypatch) -> None:
    drawn = {}
    monkeypatch.setattr(
        "retlib.study.figures.roc_figure", lambda *given: drawn.update(panels=given[0], points=given[1])
    )
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    study = open_study("resaspp-unet", Parameters(), repository / "notebooks")
    show_roc(study, ["drive-unet"], "8", ["drive-unet-reference"])
    named = {title: [curve.split(" (")[0] for curve in curves] for title, curves in drawn["panels"].items()}
    assert named == {"whole frame": ["drive-unet"], "inside the FOV": ["drive-unet", "drive-unet-reference"]}
    pixels = {title: curves.popitem()[1].vessel.sum() for title, curves in drawn["panels"].items()}
    assert pixels["inside the FOV"] <= pixels["whole frame"]
    assert list(drawn["points"]) == ["whole frame"] and len(drawn["points"]["whole frame"]) == 3


def test_steps_are_taken_in_the_best_profile_that_both_runs_have(study, records, monkeypatch) -> None:
    have = {("a", "lite"): records[0], ("b", "lite"): records[2], ("b", "paper"): records[2]}

    def evidence(self, name: str, profile: str) -> Evidence | None:
        return Evidence(name, profile, (have[name, profile],)) if (name, profile) in have else None

    monkeypatch.setattr("retlib.study.notebook.Study._evidence", evidence)
    assert [found.profile for found in study.pair("a", "b")] == ["lite", "lite"]
    assert [found.profile for found in study.every("b")] == ["paper", "lite"]
    assert study.every("c") == [] and study.pair("a", "c") is None
    have["a", "paper"] = records[0]
    assert [found.profile for found in study.pair("a", "b")] == ["paper", "paper"]


def test_the_text_is_held_against_the_tables_it_repeats(repository: Path) -> None:
    study = open_study("resaspp-unet", Parameters(), repository / "notebooks")
    abstract, drive, stare, twice = contradiction_sentences(study)
    assert abstract == "Abstract, STARE: 1 of 1 numbers are not those of Table 9: accuracy 0.9170 (there 0.9556)."
    assert drive.startswith(
        "Conclusion, DRIVE: 5 of 5 numbers are not those of Table 8: accuracy 0.9170 (there 0.9554)"
    )
    assert stare.startswith(
        "Conclusion, STARE: 5 of 5 numbers are not those of Table 9: accuracy 0.9272 (there 0.9556)"
    )
    assert all("; impossible, since accuracy, sensitivity and specificity imply" in told for told in (drive, stare))
    assert twice == "Abstract: two values of accuracy on STARE, 0.9170 and 0.9556."
    assert contradiction_sentences(open_study("af-unet", Parameters(), repository / "notebooks")) == []


def test_a_smoke_number_never_stands_beside_a_reported_one(tmp_path: Path, records, monkeypatch) -> None:
    study = open_study("resaspp-unet", Parameters(profile="smoke", records=str(tmp_path)))
    monkeypatch.setattr(
        "retlib.study.notebook.Study.evidence", lambda self, name, best=True: Evidence(name, "smoke", (records[0],))
    )
    frame = comparison(study, "8", ["Model"])
    assert frame["measured"].notna().all() and frame["reported"].isna().all() and frame["difference"].isna().all()


def test_the_best_record_wins_and_its_profile_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study("resaspp-unet", Parameters(records=str(tmp_path)))
    have = {"lite"}

    def find(self, config, root=None, stale=True):
        return f"record of {config.profile}" if config.profile in have else None

    monkeypatch.setattr("retlib.study.records.Store.find", find)
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

    monkeypatch.setattr("retlib.study.records.Store.find", find)
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

    monkeypatch.setattr("retlib.study.records.Store.find", find)
    assert study.evidence("drive-unet").records == (records[2],)
    assert study.number("drive-unet", "dice") == records[0].metrics()["dice"]
    assert study.number("drive-unet", "parameters") == records[0].content["model"]["parameters"]
    assert study.curve("drive-unet", "train_loss") == [row["train_loss"] for row in records[0].history]
    assert study.curve("drive-unet", "no such column") == []
    assert study.number("drive-resaspp-unet", "dice") is None is study.curve("drive-resaspp-unet", "train_loss")


def test_seeds_are_trained_one_after_the_other_and_a_smoke_run_has_one(tmp_path: Path, monkeypatch) -> None:
    made = []
    monkeypatch.setattr("retlib.study.notebook.run", lambda config, *_, **__: made.append((config.seed, config.model)))
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
    assert seed_sentences({"a": one, "b": one, "c": None})[0].startswith("One seed per run:")
    assert seed_sentences({"a": one, "b": two, "c": None})[0].startswith("One seed in 1 of 2 runs:")


def test_style_escapes_and_signs() -> None:
    frame = pd.DataFrame({"name": ["<b>"], "difference": [-0.01], "measured": [math.nan]})
    html = style(frame, "a < b").to_html()
    assert "&lt;b&gt;" in html and "\N{MINUS SIGN}0.0100" in html and "—" in html and "a &lt; b" in html
    assert html == style(frame, "a < b").to_html()


# --- numbers of one epoch, and costs ----------------------------------------------------------------------------------


def test_a_number_of_an_epoch_is_judged_by_the_spread_of_the_seeds(records: list[Record], tmp_path: Path) -> None:
    evidence = Evidence("run", "paper", tuple(records[:2]))
    rows = [record.history[1] for record in records[:2]]
    values = [row["validation_sensitivity"] for row in rows]
    assert evidence.epoch_value("sensitivity", 2) == pytest.approx(np.mean(values))
    assert evidence.epoch_interval("sensitivity", 2) == (min(values), max(values))
    assert evidence.epoch_value("loss", 2) == pytest.approx(np.mean([row["validation_loss"] for row in rows]))
    assert math.isnan(evidence.epoch_value("dice", 7)) and math.isnan(evidence.epoch_interval("dice", 7)[0])
    low, high = min(values), max(values)
    for number, told in {np.mean(values): "reproduced", low - 0.01: "higher", high + 0.01: "lower"}.items():
        printed = {"sensitivity": Printed(f"{100 * number:.4f}%")}
        found = judge(printed, evidence, tmp_path, None, epoch=2)["sensitivity"]
        assert found.verdict == told and found.half_width == pytest.approx((high - low) / 2)
    after = judge({"sensitivity": Printed("0.5000")}, evidence, tmp_path, None, epoch=7)["sensitivity"]
    assert (after.verdict, after.evidence) == ("not run", None)


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


# --- runs that never learned ------------------------------------------------------------------------------------------


def with_training(record: Record, dice: list[float | None], profile: str = "lite", seed: int = 0) -> Record:
    config = {**record.content["config"], "profile": profile, "seed": seed}
    history = [{"epoch": epoch, "train_dice": value} for epoch, value in enumerate(dice, 1)]
    return Record(record.folder, {**record.content, "config": config, "history": history})


@pytest.mark.parametrize(
    ("dice", "told"),
    [
        ([0.0] * 40, True),
        ([0.30, 0.20, 0.09, 0.0], True),  # what came before the second half does not count
        ([0.0, 0.0, 0.0, 0.10], False),
        ([0.0, 0.0, 0.12], False),
        ([0.5, 0.0, 0.0], True),
        ([0.05], True),
        ([None, None], False),  # no training score, no judgement
        ([], False),
    ],
)
def test_the_rule_on_runs_that_never_learned(records, dice: list, told: bool) -> None:
    assert never_learned(with_training(records[0], dice)) is told
    assert not never_learned(with_training(records[0], dice, profile="smoke"))


def test_a_run_that_never_learned_is_in_the_mean_and_said_to_be(study, records, monkeypatch) -> None:
    dead, alive = with_training(records[0], [0.0, 0.0], seed=2), with_training(records[2], [0.4, 0.5])
    both = Evidence("x", "lite", (alive, dead))
    assert both.never_learned == (2,) and both.learned().records == (alive,)
    assert Evidence("x", "lite", (dead,)).learned() is None

    def evidence(self, name: str, profile: str) -> Evidence | None:
        return (both if name == "drive-unet" else Evidence(name, "lite", (alive,))) if profile == "lite" else None

    monkeypatch.setattr("retlib.study.notebook.Study._evidence", evidence)
    frame = comparison(study, "8", ["Model"])
    line, other = frame.loc[("UNet", "Dice")], frame.loc[("ResASPP-UNet", "Dice")]
    assert line["profile"] == "lite, 2 seeds (1 never learned)"
    assert line["measured"] == both.value("dice")
    assert line["without seeds that never learned"] == both.learned().value("dice")
    assert math.isnan(other["without seeds that never learned"])
    (told,) = seed_sentences({"drive-unet": both})
    assert "1 of 2 seeds never learned (seed 2)" in told
    assert f"is {both.value('dice'):.4f} with and {alive.metrics()['dice']:.4f} without" in told


def test_the_committed_runs_that_never_learned_are_found(repository: Path) -> None:
    """And no other of the papers' runs is told to be one."""
    found = {}
    for key in ("af-unet", "r2u-net", "resaspp-unet"):
        study = open_study(key, Parameters(seeds=(0, 1, 2)), repository / "notebooks")
        for name in load_paper(key).plan("lite"):
            found |= {(name, e.profile): e.never_learned for e in study.every(name) if e.never_learned}
    assert found == {("drive-unetpp", "lite"): (2,), ("drive-r2unet-no-norm", "paper"): (0,)}
