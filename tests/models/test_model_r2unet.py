"""R2U-Net: its counts, its values against a plain reference, and what the norm's statistics do in evaluation."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from retlib.models import build_model, count_parameters

SMALL = {"width": 4, "depth": 2}


def expected_count(channels: int, width: int, depth: int, upsampling: str, norm: bool = True) -> int:
    """From the layer list: every convolution has a bias, every normalisation a scale and a shift."""

    def block(i: int, o: int) -> int:
        return i * o + o + 2 * (9 * o * o + o + 2 * o * norm)

    def up(i: int, o: int) -> int:
        return 4 * i * o + o if upsampling == "transposed" else 9 * i * o + o + 2 * o * norm

    widths = [width * 2**stage for stage in range(depth + 1)]
    down = sum(block(i, o) for i, o in zip([channels, *widths], widths, strict=False))
    return down + sum(up(2 * w, w) + block(2 * w, w) for w in widths[:-1]) + width + 1


@pytest.mark.parametrize(("channels", "published"), [(3, 39_091_393), (1, 39_091_265)])
def test_the_default_has_the_count_of_the_usual_code(channels, published):
    with torch.device("meta"):
        model = build_model("r2unet", in_channels=channels)
    assert count_parameters(model) == expected_count(channels, 64, 4, "nearest") == published


@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
@pytest.mark.parametrize("norm", ["shared", "per_step", "none"])
def test_counts_of_the_other_designs(upsampling, norm):
    for t in (0, 2, 3):  # steps share their weights
        with torch.device("meta"):
            model = build_model("r2unet", depth=3, t=t, norm=norm, upsampling=upsampling)
        assert count_parameters(model) == expected_count(1, 64, 3, upsampling, norm != "none")


def reference(state: dict[str, torch.Tensor], x: torch.Tensor, depth: int, t: int, norm: str, training: bool):
    """R2U-Net with transposed convolutions on a size that 2**depth divides, from the report's sections 3.2 and 4."""

    def normal(x: torch.Tensor, name: str, step: int) -> torch.Tensor:
        if norm == "none":
            return x
        kept = f"{name}.statistics.{step if norm == 'per_step' else 0}"
        mean, variance = state[f"{kept}.running_mean"], state[f"{kept}.running_var"]
        if training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        return x * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]

    def block(x: torch.Tensor, name: str) -> torch.Tensor:
        x = F.conv2d(x, state[f"{name}.project.weight"], state[f"{name}.project.bias"])
        y = x
        for layer in (0, 1):
            place, state_before, given = f"{name}.recurrent.{layer}", 0.0, y
            for step in range(t + 1):
                y = F.conv2d(
                    given + state_before, state[f"{place}.conv.weight"], state[f"{place}.conv.bias"], padding=1
                )
                y = state_before = normal(y, f"{place}.norm", step).clamp(min=0)
        return x + y

    kept = []
    for stage in range(depth):
        kept.append(block(x, f"encoder.{stage}"))
        x = kept[-1].unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2))
    x = block(x, "bridge")
    for stage in range(depth):
        enlarged = torch.einsum("nihw,ioab->nohawb", x, state[f"up.{stage}.weight"])
        x = enlarged.flatten(4, 5).flatten(2, 3) + state[f"up.{stage}.bias"][:, None, None]
        x = block(torch.cat([kept.pop(), x], 1), f"decoder.{stage}")
    return F.conv2d(x, state["head.weight"], state["head.bias"])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("norm", "t"), [("shared", 2), ("per_step", 2), ("per_step", 0), ("none", 1)])
def test_values_agree_with_a_plain_reference(norm, t, training):
    torch.manual_seed(0)
    model = build_model("r2unet", in_channels=2, t=t, norm=norm, upsampling="transposed", **SMALL)
    model.double().train(training)
    for name, value in model.state_dict().items():  # statistics and scales that are not 0 and 1
        if value.ndim == 1:
            value.uniform_(0.5, 1.5) if "bias" not in name else value.uniform_(-0.5, 0.5)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    x = torch.randn(2, 2, 16, 24, dtype=torch.float64)
    expected = reference(state, x, 2, t, norm, training)
    torch.testing.assert_close(model(x), expected, atol=1e-9, rtol=1e-9)


def test_nearest_upsampling_repeats_then_convolves():
    torch.manual_seed(0)
    up = build_model("r2unet", **SMALL).eval().up[0]
    x = torch.rand(1, 16, 3, 5)
    repeated = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    expected = up.norm(F.conv2d(repeated, up.conv.weight, up.conv.bias, padding=1)).clamp(min=0)
    torch.testing.assert_close(up(x), expected)


def trained(steps: int = 30, **options) -> tuple[torch.nn.Module, list[float], torch.Tensor]:
    """A network after some steps on one batch, its losses, and the batch."""
    torch.manual_seed(0)
    model = build_model("r2unet", upsampling="transposed", **SMALL, **options).train()
    torch.manual_seed(1)
    x = torch.rand(4, 1, 32, 32)
    target = (x > 0.8).float()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(steps):
        loss = F.binary_cross_entropy_with_logits(model(x), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return model, losses, x


def test_statistics_change_no_weight_in_training():
    models = [trained(steps=5, **options) for options in ({}, {"norm": "per_step"}, {"running_statistics": False})]
    for model, losses, _ in models[1:]:
        assert losses == models[0][1]
        pairs = zip(model.parameters(), models[0][0].parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def gap(model: torch.nn.Module, x: torch.Tensor) -> float:
    """Largest difference of a pixel's probability between evaluation and training mode, statistics settled.

    Running statistics are averages over the last steps of training; passes without learning settle them on the batch.
    """
    model.train()
    with torch.no_grad():
        for _ in range(100):
            in_training = model(x)
        return (model.eval()(x).sigmoid() - in_training.sigmoid()).abs().max().item()


def test_shared_statistics_make_evaluation_differ_from_training_and_own_ones_do_not():
    """The known fault: one pair of running statistics for steps of three distributions fits none of them."""
    (shared, _, x), (per_step, _, _) = trained(), trained(norm="per_step")
    # Thirty steps of training magnify the last bits in which kernels differ: the second gap is 0.013 to 0.026. So it is
    # compared with the first one of the same processor, 0.76 to 0.81.
    assert gap(shared, x) > 0.3
    # What is left is that running variances are unbiased and those of a batch are not.
    assert gap(per_step, x) < gap(shared, x) / 10
    assert gap(trained(t=0)[0], x) < 0.02  # a single application has nothing to mix


def test_shared_statistics_are_dominated_by_the_last_step():
    torch.manual_seed(0)
    model = build_model("r2unet", **SMALL).train()
    layer = model.encoder[0].recurrent[0]
    steps: list[torch.Tensor] = []
    layer.conv.register_forward_hook(lambda *call: steps.append(call[2].detach()))
    x = torch.rand(2, 1, 16, 16)
    for _ in range(100):
        steps.clear()
        model(x)
    means = [step.mean((0, 2, 3)) for step in steps]
    weights = torch.tensor([0.9**2, 0.9, 1.0]) * 0.1 / (1 - 0.9**3)  # a moving average with momentum 0.1, settled
    expected = sum(weight * mean for weight, mean in zip(weights, means, strict=True))
    torch.testing.assert_close(layer.norm.statistics[0].running_mean, expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(means[0], means[2], atol=1e-2)


def test_without_running_statistics_evaluation_is_training():
    model, _, x = trained(steps=3, running_statistics=False)
    assert not list(model.buffers())
    with torch.no_grad():
        assert torch.equal(model.train()(x), model.eval()(x))
        assert not torch.allclose(model(x)[:1], model(x[:1]))  # so an image's logits depend on its batch


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "batch"}, "norm must be one of shared, per_step, none, not 'batch'"),
        ({"t": -1}, "t must be a whole number of at least 0, not -1"),
        ({"t": 2.0}, "t must be a whole number"),
        ({"upsampling": "bilinear"}, "upsampling must be one of nearest, transposed"),
        ({"running_statistics": 1}, "running_statistics must be True or False, not 1"),
        ({"width": 0}, "width must be a whole number of at least 1"),
        ({"depth": 0}, "depth must be a whole number of at least 1"),
    ],
)
def test_bad_options_are_one_clear_error(options, message):
    with pytest.raises(ValueError, match=message):
        build_model("r2unet", **options)
