"""The plain loop does the same work as ours: part of the suite, and asserted again before the two are timed."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from retlib.data import load_dataset
from retlib.losses import build_loss
from retlib.preprocessing import prepare
from retlib.study.runner import build
from tests.benchmarks.plain_loop import BCEDiceLoss, PatchDataset, PlainLoop, step_scores
from tests.benchmarks.training_speed import lite_config


def check_same_step(config: object, samples: list, side: int | None = None) -> None:
    """Loss and gradient of one batch and one set of weights are the same; only the memory layout differs.

    The networks are float64 here: in float32 two layouts add up in another order, and batch normalisation makes that
    a thousandth of the gradient. Our loss is float32 whatever comes in, hence the tolerance.
    """
    side = side or config.training.patches.size
    dataset = PatchDataset(samples, side, 4)
    images, masks = (torch.stack(parts) for parts in zip(*(dataset[i] for i in range(4)), strict=True))
    assert images.shape == (4, 3, side, side) and masks.shape == (4, 1, side, side)
    assert images.is_contiguous() and images.dtype == masks.dtype == torch.float32
    assert 0.3 < float(images.max()) <= 1 and masks.unique().tolist() == [0, 1]
    theirs, images = build(config).double().train(), images.double()
    ours = copy.deepcopy(theirs).to(memory_format=torch.channels_last)
    loss_of = build_loss(config.training.loss, **config.training.loss_options)
    losses = (
        BCEDiceLoss()(theirs(images), masks.double()),
        loss_of(ours(images.contiguous(memory_format=torch.channels_last)), masks),
    )
    assert losses[0].item() == pytest.approx(losses[1].item(), abs=1e-6)
    for loss in losses:
        loss.backward()
    gradients = [torch.cat([p.grad.flatten() for p in model.parameters()]) for model in (ours, theirs)]
    assert float((gradients[0] - gradients[1]).norm()) < 1e-5 * float(gradients[1].norm())


@pytest.fixture(scope="module")
def samples() -> list:
    config = lite_config()
    small = config.inputs.model_copy(update={"fov_side": 96})
    return [prepare(s, small) for s in load_dataset("phantom", split="training", count=2, height=120, width=120)]


def test_both_loops_compute_the_same_step(samples: list) -> None:
    torch.manual_seed(0)
    check_same_step(lite_config(), samples, side=48)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_plain_loop_learns(samples: list, workers: int) -> None:
    torch.manual_seed(0)
    dataset = PatchDataset(samples, 48, 16)
    loop = PlainLoop(
        build(lite_config()), dataset, batch_size=4, workers=workers, learning_rate=4e-3, weight_decay=0.01
    )
    seconds = [loop.epoch() for _ in range(3)]
    assert all(0 < each < 60 for each in seconds) and len(loop.history) == 12
    assert loop.history[-1]["loss"] < loop.history[0]["loss"]


def test_scores_of_a_step() -> None:
    logits = torch.tensor([2.0, 2.0, -2.0, -2.0]).reshape(1, 1, 2, 2)
    truth = torch.tensor([1.0, 0.0, 1.0, 0.0]).reshape(1, 1, 2, 2)
    assert step_scores(logits, truth) == {"accuracy": 0.5, "sensitivity": 0.5, "dice": 0.5}


def test_patches_lie_inside_the_photograph(samples: list) -> None:
    for number, top, left in PatchDataset(samples, 48, 200).places:
        height, width = samples[number].fov.shape
        assert 0 <= top <= height - 48 and 0 <= left <= width - 48
    assert len(np.unique([place[0] for place in PatchDataset(samples, 48, 200).places])) == 2
