"""Losses against MONAI, scipy and closed forms; masks, extremes, mixed precision, weighted sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch.nn import functional as F

from retlib.losses import (
    bce,
    boundary,
    build_loss,
    cldice,
    dice,
    signed_distance,
    signed_distances,
    soft_skeleton,
)

LOSSES = {"bce": bce, "dice": dice, "boundary": boundary, "cldice": cldice}


def vessel_like(batch: int = 2, height: int = 48, width: int = 40, seed: int = 0) -> torch.Tensor:
    """Branching bands of a few pixels, (N, 1, H, W) of 0 and 1."""
    noise = np.random.default_rng(seed).standard_normal((batch, 1, height, width))
    field = gaussian_filter(noise, (0, 0, 4, 4))
    return torch.tensor(np.abs(field) < 0.25 * field.std(), dtype=torch.float32)


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    target = vessel_like()
    logits = 2.0 * target - 1.0 + torch.randn_like(target)
    mask = torch.ones_like(target)
    mask[..., :7] = 0
    mask[1, :, 30:] = 0
    return logits, target, mask


def test_bce_is_the_mean_over_the_scored_pixels(case):
    logits, target, mask = case
    chosen = mask.bool()
    expected = F.binary_cross_entropy_with_logits(logits[chosen], target[chosen])
    torch.testing.assert_close(bce(logits, target, mask), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("over", "batch"), [("sample", False), ("batch", True)])
@pytest.mark.parametrize("smooth", [1.0, 1e-5])
def test_dice_agrees_with_monai(case, over, batch, smooth):
    from monai.losses import DiceLoss

    logits, target, mask = case
    reference = DiceLoss(smooth_nr=smooth, smooth_dr=smooth, batch=batch)
    expected = reference(torch.sigmoid(logits) * mask, target * mask)
    torch.testing.assert_close(dice(logits, target, mask, over=over, smooth=smooth), expected, atol=1e-6, rtol=0)


def test_dice_per_sample_differs_from_the_batch_sum(case):
    logits, target, mask = case
    assert abs(dice(logits, target, mask, over="batch") - dice(logits, target, mask)) > 1e-4


@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_cldice_agrees_with_monai_sample_by_sample(case, iterations):
    from monai.losses import SoftclDiceLoss

    logits, target, mask = case
    # MONAI's third constant, in the harmonic mean, has no counterpart here
    reference = SoftclDiceLoss(iter_=iterations, smooth_nr=1.0, smooth_dr=1.0, smooth=1e-12)
    parts = [
        reference(torch.sigmoid(z)[None] * m[None], t[None] * m[None])
        for z, t, m in zip(logits, target, mask, strict=True)
    ]
    found = cldice(logits, target, mask, iterations=iterations, smooth=1.0)
    torch.testing.assert_close(found, torch.stack(parts).mean(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(2, 1, 33, 29), (1, 1, 1, 9), (1, 1, 2, 2), (1, 1, 9, 1)])
def test_soft_skeleton_and_its_gradient_agree_with_monai(shape):
    from monai.losses.cldice import soft_skel

    generator = torch.Generator().manual_seed(1)
    x = torch.rand(shape, dtype=torch.float64, generator=generator)
    weight = torch.rand(shape, dtype=torch.float64, generator=generator)
    results = []
    for skeleton in (soft_skeleton, soft_skel):
        leaf = x.clone().requires_grad_()
        value = skeleton(leaf, 5)
        (value * weight).sum().backward()
        results.append((value.detach(), leaf.grad))
    torch.testing.assert_close(results[0], results[1], atol=1e-12, rtol=0)


def test_soft_skeleton_gradient_is_the_numerical_one():
    x = torch.rand(1, 1, 7, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(lambda y: soft_skeleton(y, 3), x.requires_grad_())


def test_a_broken_vessel_costs_more_cldice_than_a_thinner_one():
    target = torch.zeros(1, 1, 40, 60)
    target[..., 18:23, 5:55] = 1  # 5 pixels wide
    thinner, broken = target.clone(), target.clone()
    thinner[..., 18, :] = 0  # 50 pixels less
    broken[..., 25:35] = 0  # 50 pixels less, in one gap
    thinner, broken = 40 * thinner - 20, 40 * broken - 20
    torch.testing.assert_close(dice(thinner, target), dice(broken, target), atol=1e-6, rtol=0)
    assert cldice(thinner, target) < 0.05 < 0.09 < cldice(broken, target)


@pytest.mark.parametrize("scale", ["pixels", "diagonal"])
def test_boundary_agrees_with_an_independent_computation(case, scale):
    logits, target, mask = case
    total = 0.0
    for z, t, m in zip(logits.numpy(), target.numpy(), mask.numpy(), strict=True):
        inside = (t * m).astype(bool)
        phi = distance_transform_edt(~inside) * ~inside - (distance_transform_edt(inside) - 1) * inside
        total += float((phi / (1 + np.exp(-z.astype(float))) * m).sum())
    expected = total / float(mask.sum()) / (math.hypot(48, 40) if scale == "diagonal" else 1)
    assert float(boundary(logits, target, mask, scale=scale)) == pytest.approx(expected, rel=1e-5)


def test_boundary_is_least_for_the_target_itself_and_then_negative():
    target = torch.zeros(1, 1, 32, 32)
    target[..., 8:24, 8:24] = 1
    perfect = float(boundary(100 * target - 50, target))
    depth = distance_transform_edt(target[0, 0].numpy()) - 1
    assert perfect == pytest.approx(-depth[target[0, 0].numpy() > 0].sum() / 1024, rel=1e-5)
    larger = F.max_pool2d(target, 5, 1, 2)
    assert perfect < float(boundary(100 * larger - 50, target)) < float(boundary(torch.full_like(target, 50), target))


def test_signed_distance_equals_scipys_on_a_real_label(data_root):
    from PIL import Image

    path = data_root / "DRIVE" / "test" / "1st_manual" / "01_manual1.gif"
    vessels = np.asarray(Image.open(path)) > 0
    outside, inside = distance_transform_edt(~vessels), distance_transform_edt(vessels)
    np.testing.assert_allclose(signed_distance(vessels), np.where(vessels, 1 - inside, outside), atol=1e-4)


@pytest.mark.parametrize("value", [False, True])
def test_signed_distance_is_zero_where_a_class_is_absent(value):
    assert not signed_distance(np.full((9, 7), value)).any()


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_outside_the_mask_counts(case, name):
    logits, target, mask = case
    outside = mask == 0
    expected = LOSSES[name](logits, target, mask)
    for poison in (1e4, math.inf, math.nan):
        leaf = torch.where(outside, torch.tensor(poison), logits).requires_grad_()
        value = LOSSES[name](leaf, torch.where(outside, 1 - target, target), mask)
        assert value == expected
        value.backward()
        assert not leaf.grad[outside].any()
        assert leaf.grad[~outside].any() and leaf.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_no_mask_is_a_mask_of_ones(case, name):
    logits, target, _ = case
    assert LOSSES[name](logits, target) == LOSSES[name](logits, target, torch.ones_like(target))
    assert LOSSES[name](logits, target.bool(), torch.ones_like(target).bool()) == LOSSES[name](logits, target)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("label", [0.0, 1.0])
@pytest.mark.parametrize("logit", [-50.0, 0.0, 50.0])
@pytest.mark.parametrize("scored", [0.0, 1.0])
def test_extremes_give_finite_values_and_gradients(name, label, logit, scored):
    logits = torch.full((2, 1, 16, 16), logit, requires_grad=True)
    constant = torch.full((2, 1, 16, 16), label)
    value = LOSSES[name](logits, constant, torch.full_like(constant, scored))
    value.backward()
    assert value.isfinite() and logits.grad.isfinite().all()


def test_perfect_predictions_cost_nothing():
    target = vessel_like()
    logits = 100 * target - 50
    for loss in (bce, dice, cldice):
        assert float(loss(logits, target)) == pytest.approx(0, abs=1e-5)


def test_an_empty_image_can_reach_zero_dice_loss():
    empty = torch.zeros(1, 1, 64, 64)
    assert float(dice(torch.full_like(empty, -20.0), empty)) < 1e-4
    assert float(dice(torch.full_like(empty, 0.0), empty)) > 0.99


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_computed_in_float32(case, name, kind):
    logits, target, mask = case
    half = logits.to(kind).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = LOSSES[name](half, target, mask)
    assert value.dtype == torch.float32
    assert value == LOSSES[name](half.detach().float(), target, mask)
    value.backward()
    assert half.grad.isfinite().all() and half.grad.any()


def test_each_loss_falls_when_its_gradient_is_followed(case):
    _, target, mask = case
    for name in LOSSES:
        logits = torch.zeros_like(target, requires_grad=True)
        optimiser = torch.optim.Adam([logits], lr=0.1)
        values = []
        for _ in range(30):
            optimiser.zero_grad()
            value = LOSSES[name](logits, target, mask)
            value.backward()
            optimiser.step()
            values.append(value.item())
        assert values[-1] < values[0] - 0.1 * abs(values[0]), name


def test_weighted_sum_by_name(case):
    loss = build_loss({"dice": 1, "boundary": 0.01, "cldice": 0.5}, cldice_iterations=4, boundary_scale="diagonal")
    parts = {
        "dice": dice(*case),
        "boundary": boundary(*case, scale="diagonal"),
        "cldice": cldice(*case, iterations=4),
    }
    expected = parts["dice"] + 0.01 * parts["boundary"] + 0.5 * parts["cldice"]
    torch.testing.assert_close(loss(*case), expected)
    assert cldice(*case, iterations=4) != cldice(*case)


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        ({}, {}, "at least one weight"),
        ({"focal": 1}, {}, "no loss 'focal': choose among bce, boundary, cldice, dice"),
        ({"bce": 0}, {}, "weight of loss 'bce' must be a number above 0, not 0"),
        ({"bce": 1, "dice": -1}, {}, "weight of loss 'dice'"),
        ({"bce": math.nan}, {}, "above 0"),
        ({"bce": "1"}, {}, "above 0"),
        ({"bce": 1}, {"bce_smooth": 1}, "no loss option 'bce_smooth': choose among boundary_scale, cldice_"),
        ({"bce": 1}, {"dice_smooth": 1}, "belongs to loss 'dice', which has no weight"),
        ({"dice": 1}, {"dice_over": "image"}, "dice_over must be one of sample, batch"),
        ({"dice": 1}, {"dice_smooth": 0}, "dice_smooth must be a number above 0"),
        ({"boundary": 1}, {"boundary_scale": "mm"}, "boundary_scale must be one of pixels, diagonal"),
        ({"cldice": 1}, {"cldice_iterations": 0}, "cldice_iterations must be a whole number above 0"),
        ({"cldice": 1}, {"cldice_iterations": 2.5}, "cldice_iterations must be a whole number above 0"),
        ({"cldice": 1}, {"cldice_smooth": -1}, "cldice_smooth must be a number above 0"),
    ],
)
def test_a_bad_description_is_refused_at_once(weights, options, message):
    with pytest.raises(ValueError, match=message):
        build_loss(weights, **options)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 8, 8), (2, 8, 8), (2, 8, 8)), "logits must be of shape"),
        (((1, 2, 8, 8), (1, 2, 8, 8), (1, 2, 8, 8)), "logits must be of shape"),
        (((1, 1, 8, 8), (1, 1, 8, 9), (1, 1, 8, 8)), "target must have the logits' shape"),
        (((2, 1, 8, 8), (2, 1, 8, 8), (1, 1, 8, 8)), "mask must have the logits' shape"),
    ],
)
def test_shapes_that_do_not_match_are_refused(shapes, message):
    with pytest.raises(ValueError, match=message):
        build_loss({"bce": 1})(*(torch.zeros(shape) for shape in shapes))


@pytest.mark.parametrize("name", LOSSES)
def test_no_loss_waits_for_a_gpu(name):
    """Tensors on the meta device have no values: whoever asks for one, or moves them to the CPU, fails."""
    logits = torch.zeros(2, 1, 12, 16, device="meta", requires_grad=True)
    target, mask, distances = torch.zeros(3, 2, 1, 12, 16, device="meta")
    loss = build_loss({name: 1.0})
    loss(logits, target, mask, distances).backward()
    assert logits.grad.shape == logits.shape
    if loss.uses_distances:
        with pytest.raises(NotImplementedError, match="meta"):
            loss(logits, target, mask)


def test_given_distances_are_used_by_the_boundary_alone(case):
    logits, target, mask = case
    maps = torch.from_numpy(signed_distances((target * mask)[:, 0].numpy() > 0.5))[:, None]
    for weights, factor in (({"dice": 1}, 1), ({"boundary": 1}, 2)):
        loss = build_loss(weights)
        own = loss(logits, target, mask)
        assert loss(logits, target, mask, maps) == own
        assert loss(logits, target, mask, 2 * maps) == factor * own
    with pytest.raises(ValueError, match="distances must have the logits' shape"):
        boundary(logits, target, mask, maps[:, 0])


@pytest.mark.parametrize("loss", LOSSES.values())
def test_targets_beyond_0_and_1_are_refused_unless_masked(loss) -> None:
    target = vessel_like()
    with pytest.raises(ValueError, match=r"target ranges from 0 to 255: expected 0 to 1"):
        loss(torch.zeros_like(target), target * 255)
    mask = torch.ones_like(target)
    mask[..., :5] = 0
    ignored = torch.where(mask > 0, target, 255.0)
    assert torch.equal(loss(torch.zeros_like(target), ignored, mask), loss(torch.zeros_like(target), target, mask))
