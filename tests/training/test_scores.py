"""The moving average of the weights, and the scores of an epoch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from retlib.training import Batch
from retlib.training.loop import Scores, update_average

CPU = torch.device("cpu")
SHAPE = (2, 1, 32, 32)


def net() -> torch.nn.Module:
    """Parameters, and statistics of the batches."""
    torch.manual_seed(5)
    layers = (nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 1, 1))
    return nn.Sequential(*layers).to(memory_format=torch.channels_last).train()


def test_the_average_is_torchs_own() -> None:
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    model = net()
    ours = AveragedModel(model, use_buffers=True)
    torchs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for _ in range(4):
        with torch.no_grad():
            model(torch.rand(SHAPE))
            for parameter in model.parameters():
                parameter.add_(torch.rand_like(parameter))
        update_average(ours, model, 0.9)
        torchs.update_parameters(model)
    assert ours.n_averaged == torchs.n_averaged == 4
    expected = torchs.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in ours.state_dict().items())


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
