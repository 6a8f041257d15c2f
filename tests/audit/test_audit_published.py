"""Quoted results: fractions with sources, and the region that their own numbers imply."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from retlib.audit import audit_published, list_published, load_background


def test_quoted_results_are_fractions_with_sources() -> None:
    for row in list_published():
        assert row.source
        for scores in row.scores.values():
            for metric, text in scores.items():
                assert math.isfinite(float(text)) and (metric == "betti0_error" or 0 < float(text) < 1), row.label


def test_one_of_them_is_the_reference_model_and_was_not_printed_by_others() -> None:
    (reference,) = (row for row in list_published() if row.reference)
    assert reference.pooled["drive"]["auc"] == "0.9811"
    assert reference.label not in {audit.label for audit in audit_published(load_background(None))}


@pytest.mark.parametrize(
    ("label", "dataset", "region"),
    [
        ("FSG-Net", "drive", "whole frame"),
        ("VesselSeg-Pytorch, example", "drive", "inside the FOV"),
        ("SA-UNet", "drive", "whole frame"),
        ("Little W-Net, its authors' weights", "drive", "inside the FOV"),
        ("DRIU", "drive", None),
    ],
)
def test_the_region_that_quoted_numbers_imply(repository: Path, label: str, dataset: str, region: str | None) -> None:
    row = next(item for item in list_published() if item.label == label)
    share = row.audit(dataset, load_background(repository / "book" / "records")).share
    assert share is None if region is None else share.region.startswith(region)
