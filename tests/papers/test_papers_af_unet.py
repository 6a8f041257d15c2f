"""af-unet.yaml against numbers typed a second time, by hand, from the paper."""

from __future__ import annotations

import pytest

from retlib.data import split_names
from retlib.models import model_options
from retlib.papers import load_paper
from retlib.study import run

PAPER = load_paper("af-unet")

# Jaccard, F1, recall, precision, accuracy, row by row.
PRINTED = {
    "1": """Unet          .6765 .8071 .7877 .8276 .9667
            Unet++        .6740 .8053 .7600 .8417 .9681
            ResUNet       .6719 .8038 .8040 .8079 .9659
            ResUNet++     .6658 .7994 .7525 .8578 .9672
            AttentionUNet .6507 .7884 .7883 .7912 .9647
            AF_UNet       .7095 .8301 .7991 .8638 .9691""",
    "2": """Unet          .6557 .7921 .7713 .8142 .9642
            Unet++        .6771 .8075 .7823 .8345 .9781
            ResUNet       .6871 .8146 .7993 .8343 .9682
            ResUNet++     .6982 .8223 .8012 .8446 .9772
            AttentionUNet .6598 .7951 .7912 .7992 .9787
            AF_UNet       .7142 .8333 .8134 .8544 .9791""",
}
METRICS = ["iou", "dice", "sensitivity", "precision", "accuracy"]
MODELS = ["unet", "unetpp", "resunet", "resunetpp", "attention-unet", "af-unet"]


def printed_rows(number: str) -> list[list[str]]:
    rows = [line.split() for line in PRINTED[number].splitlines()]
    return [[name, *(f"0{text}" for text in numbers)] for name, *numbers in rows]


def values(number: str, row: int) -> dict[str, float]:
    (found,) = PAPER.tables[number].values(row).values()
    return {metric: printed.value for metric, printed in found.items()}


# --- tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", PRINTED)
def test_cells_are_those_of_the_page(number: str) -> None:
    table = PAPER.tables[number]
    assert [list(row.cells) for row in table.rows] == printed_rows(number)
    assert list(table.reported.columns) == ["Method", "Jaccard", "F1", "Recall", "Precision", "Acc"]
    assert list(table.metrics.values()) == METRICS
    for index, (_, *expected) in enumerate(printed_rows(number)):
        assert values(number, index) == dict(zip(METRICS, map(float, expected), strict=True))


def test_there_are_two_tables_and_two_figures_and_each_row_has_its_run() -> None:
    assert list(PAPER.tables) == list(PAPER.figures) == ["1", "2"]
    for number, dataset in {"1": "drive", "2": "stare"}.items():
        assert PAPER.table_runs(number) == [(i, f"{dataset}-{model}") for i, model in enumerate(MODELS)]
        assert all((row.kind, row.dataset) == ("measured", dataset) for row in PAPER.tables[number].rows)


# --- what the notes say of the rows --------------------------------------------------------------------------------


def share(row: dict[str, float]) -> float:
    wrong = (1 - row["sensitivity"]) + row["sensitivity"] * (1 / row["precision"] - 1)  # a vessel pixel
    return (1 - row["accuracy"]) / wrong


def test_implied_shares_differ_by_more_than_rounding_and_lie_around_the_whole_frame() -> None:
    shares = {number: [share(values(number, row)) for row in range(6)] for number in PRINTED}
    assert (min(shares["1"]), max(shares["1"])) == pytest.approx((0.083, 0.0945), abs=5e-4)
    assert (min(shares["2"]), max(shares["2"])) == pytest.approx((0.052, 0.0885), abs=5e-4)
    assert min(range(6), key=lambda row: shares["2"][row]) == MODELS.index("attention-unet")
    assert min(shares["2"]) < min(shares["1"])  # the lowest of all twelve
    row = values("1", 1)
    moved = [share(row | {m: row[m] + d}) for m in ("accuracy", "sensitivity", "precision") for d in (-5e-5, 5e-5)]
    assert max(abs(other - shares["1"][1]) for other in moved) < 2e-4


def test_jaccard_follows_from_f1_and_one_f1_from_nothing() -> None:
    above = []
    for number in PRINTED:
        for index in range(6):
            row = values(number, index)
            assert row["iou"] == pytest.approx(row["dice"] / (2 - row["dice"]), abs=1e-4)
            harmonic = 2 * row["precision"] * row["sensitivity"] / (row["precision"] + row["sensitivity"])
            if row["dice"] > harmonic + 2e-4:
                above.append((number, MODELS[index]))
    assert above == [("1", "unetpp")]


def test_jaccard_was_computed_from_the_printed_f1_and_cut_off() -> None:
    rows = [values(number, index) for number in PRINTED for index in range(6)]
    # In units of the fourth digit, exactly: F1 is a whole number f of them, F1 / (2 - F1) is f / (20000 - f).
    printed = [(round(row["dice"] * 10000), round(row["iou"] * 10000)) for row in rows]
    assert [iou for _, iou in printed] == [10000 * f // (20000 - f) for f, _ in printed]
    assert sum(iou == round(10000 * f / (20000 - f)) for f, iou in printed) < 12


def test_what_the_claims_notes_say_of_the_tables() -> None:
    unet, resunet, ours = (values("1", index) for index in (0, 2, 5))
    assert ours["iou"] - unet["iou"] == pytest.approx(0.033) and ours["dice"] - unet["dice"] == pytest.approx(0.023)
    gaps = {name: abs(row["precision"] - row["sensitivity"]) for name, row in {"u": unet, "r": resunet}.items()}
    assert abs(ours["precision"] - ours["sensitivity"]) > max(gaps.values())  # 'more balanced' it is not
    assert 0 < ours["precision"] - values("1", 3)["precision"] < 0.01
    pairs = {number: (values(number, 0), values(number, 5)) for number in PRINTED}
    most = {n: max(METRICS, key=lambda m: end[m] - start[m]) for n, (start, end) in pairs.items()}
    assert most == {"1": "precision", "2": "iou"}
    plus, ours = values("2", 3), values("2", 5)
    assert ours["iou"] - plus["iou"] == pytest.approx(0.016) and ours["dice"] - plus["dice"] == pytest.approx(0.011)
    stare = {MODELS[index]: values("2", index) for index in range(6)}
    assert sorted(stare, key=lambda name: stare[name]["accuracy"])[-2] == "attention-unet"
    assert min(stare, key=lambda name: stare[name]["precision"]) == "attention-unet"


# --- claims --------------------------------------------------------------------------------------------------------


def test_balanced_is_decided_as_the_table_says() -> None:
    rows = {MODELS[index]: values("1", index) for index in range(6)}
    gaps = {name: abs(row["precision"] - row["sensitivity"]) for name, row in rows.items()}
    ours = gaps["af-unet"]
    assert {name for name, gap in gaps.items() if gap > ours} == {"unetpp", "resunetpp"}
    assert {name for name, gap in gaps.items() if gap < ours} == {"unet", "resunet", "attention-unet"}
    assert PAPER.claim("balanced").decided == "holds in part"


def test_the_tables_bear_out_every_claim_on_them_but_three() -> None:
    failing = {claim.id: [f for f in PAPER.test_claim(claim) if f.holds is False] for claim in PAPER.claims}
    failing = {identity: findings for identity, findings in failing.items() if findings}
    assert set(failing) == {"always-better", "stronger-than-classical", "overlap-and-recall-gain-most"}
    gains = failing.pop("overlap-and-recall-gain-most")
    assert [f.metric for f in gains] == ["iou", "dice", "sensitivity"]
    assert {f.what for f in gains} == {
        "drive-unet to drive-af-unet gains more than drive-unet to drive-af-unet in precision"
    }
    for findings in failing.values():
        assert [(f.what, f.metric) for f in findings] == [("drive-af-unet above drive-resunet", "sensitivity")]
    assert len(PAPER.test_claim("always-better")) == 50


def test_numbers_of_the_text_are_those_of_the_tables() -> None:
    stated = {claim.id: (claim.run, dict(claim.values)) for claim in PAPER.claims if claim.values}
    assert stated == {
        "drive-best-overlap": ("drive-af-unet", {"iou": "0.7095", "dice": "0.8301"}),
        "drive-over-unet": ("drive-unet", {"iou": "0.6765"}),
        "drive-recall": ("drive-af-unet", {"sensitivity": "0.7991"}),
        "drive-recall-resunet": ("drive-resunet", {"sensitivity": "0.8040"}),
        "drive-precision": ("drive-af-unet", {"precision": "0.8638"}),
        "drive-accuracy": ("drive-af-unet", {"accuracy": "0.9691"}),
        "stare-best": ("stare-af-unet", {"iou": "0.7142", "dice": "0.8333"}),
        "stare-recall": ("stare-af-unet", {"sensitivity": "0.8134"}),
        "stare-precision": ("stare-af-unet", {"precision": "0.8544"}),
        "stare-accuracy": ("stare-af-unet", {"accuracy": "0.9791"}),
    }
    for identity in stated:
        claim = PAPER.claim(identity)
        assert claim.same_as is not None and PAPER.tables[claim.same_as.table].rows[claim.same_as.row].run == claim.run


def test_cost_thin_vessels_and_connectivity_are_asked_of_records_alone() -> None:
    heavy = {"drive-unet": 31.0, "drive-af-unet": 32.6, "drive-attention-unet": 36.9}
    (finding,) = PAPER.test_claim("little-additional-computation", lambda run, metric: heavy[run])
    assert (finding.metric, finding.holds) == ("parameters", True)
    outcome = {f.what: f.holds for f in PAPER.test_claim("lightweight", lambda run, metric: heavy.get(run))}
    assert outcome["drive-unet above drive-af-unet"] is False and outcome["drive-unetpp above drive-af-unet"] is None
    # Fewer wrong pieces are better, so the other model has to have the higher error.
    findings = PAPER.test_claim("connectivity", lambda run, metric: 1.0 if run == "drive-af-unet" else 2.0)
    assert [(f.metric, f.holds) for f in findings] == [("cldice", False)] * 2 + [("betti0_error", True)] * 2
    for identity in ("lighter", "lightweight", "thin-vessels", "connectivity"):
        assert {f.holds for f in PAPER.test_claim(identity)} == {None}


# --- runs ----------------------------------------------------------------------------------------------------------


def test_the_paper_profile_is_what_the_paper_states() -> None:
    runs = PAPER.runs("paper", role="table")
    assert list(runs) == [f"{dataset}-{model}" for dataset in ("drive", "stare") for model in MODELS]
    for name, config in runs.items():
        training = config.training
        assert (training.optimiser, training.schedule, training.loss) == ("adam", "constant", {"bce": 1, "dice": 1})
        assert training.patience and training.keep == "best" and config.validation > 0
        assert training.patience < training.epochs and training.augmentation == "af-unet"
        # What the public code of this recipe has where the paper is silent.
        assert (training.learning_rate, training.batch_size, training.epochs) == (1e-4, 2, 50)
        assert training.augmented_copies == "each" and training.copies == 4
        assert config.scoring.average == "image"
        assert config.inputs.resample == (512, 512) and config.inputs.size is None and config.inputs.channels == 3
        assert config.model == name.split("-", 1)[1].replace("-", "_")
        (test,) = config.test
        assert (len(config.train.names()), len(test.names())) == ((20, 20) if "drive" in name else (16, 4))
        assert set(config.train.names()) | set(test.names()) == set(split_names(test.dataset, "all"))
    for model in ("af_unet", "unet"):
        config = runs[f"drive-{model.replace('_', '-')}"]
        assert (config.model_options["width"], config.model_options["depth"]) == (64, 4)
    assert runs["drive-af-unet"].model_options["skips"] == "next"


def test_baselines_have_their_usual_widths_and_previews_narrow_all_alike() -> None:
    full, lite = PAPER.runs("paper"), PAPER.runs("lite")
    factors = {}
    for name, config in full.items():
        defaults = model_options(config.model)
        assert config.model_options["width"] == defaults["width"]
        factors.setdefault(config.model, set()).add(lite[name].model_options["width"] / config.model_options["width"])
    assert factors.pop("resunetpp") == {1 / 4}  # three sixteenths do not train here, as its file says
    assert set.union(*factors.values()) == {3 / 16}


def test_the_ablation_differs_in_its_skips_alone() -> None:
    for profile in ("smoke", "lite", "paper"):
        (name,) = PAPER.runs(profile, role="ablation")
        dense, ours = (PAPER.runs(profile)[run].model_dump() for run in (name, "drive-af-unet"))
        assert (dense["model_options"].pop("skips"), ours["model_options"].pop("skips")) == ("dense", "next")
        assert dense == ours


def test_runs_are_distinct_and_profiles_differ_in_size_alone() -> None:
    def essence(config):
        content = config.model_dump(exclude={"profile"})
        content["model_options"].pop("width")
        for field in ("size", "resample", "resample_label"):  # previews are scored on the photograph's own pixels
            content["inputs"].pop(field)
        for field in ("epochs", "patience", "batch_size", "learning_rate", "augmented_copies"):
            content["training"].pop(field)
        return content

    paper, lite = PAPER.runs("paper"), PAPER.runs("lite")
    assert list(paper) == list(lite) == list(PAPER.runs("smoke"))
    for profile in ("smoke", "lite", "paper"):
        ids = [config.identify() for config in PAPER.runs(profile).values()]
        assert len(set(ids)) == len(ids) == 13
    for name, config in paper.items():
        assert essence(lite[name]) == essence(config)


@pytest.mark.parametrize("name", ["drive-af-unet-dense", "stare-resunetpp"])
def test_a_smoke_run_runs(name: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    record = run(PAPER.runs("smoke")[name], tmp_path / "records", device="cpu", progress=False)
    losses = [row["validation_loss"] for row in record.history]
    assert record.content["training"]["kept_epoch"] == losses.index(min(losses)) + 1
    assert 0 <= record.metrics()["iou"] <= record.metrics()["dice"] <= 1
