"""Tables for the pages: what a step of a paper's tables brings."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from retlib.study import results
from retlib.study.tables import steps_table
from tests.study.test_results import made, tidy

STEP = {"U-Net to AF-UNet": ("drive-unet", "drive-af-unet")}
PRINTED = {"drive-unet": SimpleNamespace(value=0.80), "drive-af-unet": SimpleNamespace(value=0.82)}


def step(*rows, printed=PRINTED):
    """Compare Dice of the two runs of a made study."""
    source = SimpleNamespace(printed=lambda run, metric: printed.get(run))
    study = SimpleNamespace(scores=lambda: results.join(rows), source=source)
    return steps_table(study, STEP, "dice").iloc[0]


def test_without_records_the_reported_step_stands_alone() -> None:
    line = step()
    assert line["paper"] == pytest.approx(0.02) and math.isnan(line["ours"])
    assert line[["95 % interval", "seeds", "conclusion", "rests on"]].isna().all()


def test_both_runs_have_the_seeds_that_both_have(tmp_path: Path) -> None:
    start = [tidy(made(tmp_path, seed, [0.8 + seed / 10] * 3)) for seed in (0, 1)]
    end = [tidy(made(tmp_path, seed, [0.7 + seed / 50] * 3), "drive-af-unet") for seed in (2, 1, 0)]
    line = step(*start, *end)
    assert line["ours"] == pytest.approx((-0.1 - 0.18) / 2) and line["seeds"] == pytest.approx((-0.18, -0.1))
    assert line["conclusion"] == "opposite direction" and line["rests on"] == "lite, 2 seeds"
    line = step(start[1], *end)
    assert line["ours"] == pytest.approx(-0.18) and line["seeds"] is None
    assert line["conclusion"] == "opposite direction, beyond image noise" and line["rests on"] == "lite, 1 seed"


def test_synthetic_images_are_not_held_against_the_paper(tmp_path: Path) -> None:
    rows = [
        tidy(made(tmp_path, 0, [dice] * 3, profile="smoke"), run)
        for run, dice in {"drive-unet": 0.5, "drive-af-unet": 0.6}.items()
    ]
    line = step(*rows)
    assert line["ours"] == pytest.approx(0.1) and math.isnan(line["paper"])
    assert line["conclusion"] == "higher, beyond image noise"
