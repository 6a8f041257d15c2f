"""The page on cross-dataset runs, executed on scores that are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from retlib.study import Store
from retlib.study.baselines import baseline_of
from retlib.study.loader import load_study
from tests.notebooks.test_study_notebooks import execute, outputs, words
from tests.study.made_records import write_record
from tests.study.test_transfer import fill

pytestmark = pytest.mark.usefixtures("_warm_kernels")


def test_the_page_takes_its_numbers_from_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    records = tmp_path / "records"
    scores = fill(records, leave_out=("stare-fold3", "hrf"))
    drive = load_study("transfer").runs("lite")["drive"]
    write_record(Store(records), baseline_of("second_observer", drive), lambda *_: 0.7)
    notebook = execute("transfer", tmp_path / "build", records=str(records))
    assert not [out for out in outputs(notebook) if out["output_type"] == "error" or out.get("name") == "stderr"]
    text = words(notebook)
    mean = scores.groupby(["group", "test"])["value"].mean()
    pairs = [(a, b) for b in ("drive", "chase_db1") for a in ("drive", "chase_db1", "stare") if a != b]
    cost = [mean[b, b] - mean[a, b] for a, b in pairs]
    assert f"{sum(cost) / 4:.4f} on average over 4 pairs of data sets" in text
    assert f"**Crossing cameras costs {min(cost):.4f}" in text and f"{max(cost):.4f} Dice" in text
    # Without the network of HRF and a fold of STARE, 11 of 16 changes can be told.
    assert "changes Dice by +0.0100 cross-dataset (9 cells) and +0.0100 in-domain (2 cells)" in text
    assert "changes Dice by +0.0200 cross-dataset (9 cells) and +0.0200 in-domain (2 cells)" in text
    assert "8 more comparisons lack a record" in text and "5 more comparisons lack a record" in text
    assert "0.7000" in text and "\N{EM DASH}" in text
    # Every made score is right at one threshold, so that ranking loses nothing.
    assert "0.0000 Dice are still lost" in text
    assert "is at least 0.0078 on CHASE_DB1 (8 images)" in text
