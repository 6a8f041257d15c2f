"""The scores of an epoch."""

from __future__ import annotations

import pytest
import torch

from retlib.training.batches import Batch
from retlib.training.loop import Scores

CPU = torch.device("cpu")
SHAPE = (2, 1, 32, 32)


@pytest.mark.parametrize("masked", [False, True])
def test_scores_count_pixels(masked: bool) -> None:
    torch.manual_seed(0)
    shape = (3, 1, 17, 23)
    logits, scores = torch.randn(shape), Scores(CPU)
    vessels, fov = (torch.rand(shape) < 0.3).float(), (torch.rand(shape) < 0.8).float()
    mask = fov if masked else None
    for _ in range(2):
        scores.add(torch.tensor(0.25), logits, Batch(logits, vessels, fov), mask)
    inside = fov.bool() if masked else torch.ones(shape, dtype=torch.bool)
    predicted, truth = (logits >= 0)[inside], vessels.bool()[inside]
    row = scores.row("x")
    both = int((predicted & truth).sum())
    assert row["x_loss"] == 0.25
    assert row["x_accuracy"] == int((predicted == truth).sum()) / int(inside.sum())
    assert row["x_sensitivity"] == both / int(truth.sum())
    assert row["x_dice"] == 2 * both / (int(predicted.sum()) + int(truth.sum()))
