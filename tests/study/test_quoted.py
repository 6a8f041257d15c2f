"""Quoted results: fractions with sources, and the region that their own numbers imply."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from retlib.audit import load_background
from retlib.study.quoted import implied_region, list_quoted, reference_model


def test_quoted_results_are_fractions_with_sources() -> None:
    for row in list_quoted():
        assert row.source
        for scores in row.scores.values():
            for metric, text in scores.items():
                assert math.isfinite(float(text)) and (metric == "betti0_error" or 0 < float(text) < 1), row.label


def test_one_of_them_is_the_reference_model() -> None:
    assert [row.label for row in list_quoted() if row.reference] == [reference_model().label]
    assert reference_model().pooled["drive"]["auc"] == "0.9811"


@pytest.mark.parametrize(
    ("label", "dataset", "region"),
    [
        ("FSG-Net", "drive", "whole frame"),
        ("VesselSeg-Pytorch, example", "drive", "inside the FOV"),
        ("SA-UNet", "drive", "whole frame"),
        ("Little W-Net, its authors' weights", "drive", "inside the FOV"),
        ("DRIU", "drive", "cannot be told"),
    ],
)
def test_the_region_that_quoted_numbers_imply(repository: Path, label: str, dataset: str, region: str) -> None:
    row = next(item for item in list_quoted() if item.label == label)
    assert implied_region(row, dataset, load_background(repository / "book" / "records")).startswith(region)
