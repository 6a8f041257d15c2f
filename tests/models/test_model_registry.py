"""The registry, and what every model promises: any size in, the same size out, forward and backward."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from retlib.models import build_model, count_parameters, list_models, model_options

SMALL: dict[str, dict[str, object]] = {
    "af_unet": {"width": 8, "depth": 3},
    "attention_unet": {"width": 4},
    "attention_unetpp": {"width": 4},
    "attention_unetpp_resnet34": {"width": 4},
    "convlstm_unet": {"width": 8},
    "r2unet": {"width": 4, "depth": 3},
    "res_unet": {"width": 8},
    "resaspp_unet": {"width": 8},
    "resunet": {"width": 8},
    "resunetpp": {"width": 8},
    "segnet": {"width": 4},
    "unet": {"width": 8, "depth": 3},
    "unetpp": {"width": 4},
}
SIZES = [(64, 64), (61, 75), (1, 1), (33, 7), (96, 32)]
VARIANTS = [
    ("res_unet", {"width": 8, "upsampling": "transposed", "head": "fifth_stage", "decoder_norm": False}),
    ("resaspp_unet", {"width": 8, "upsampling": "transposed", "head": "fifth_stage", "decoder_norm": False}),
    ("resaspp_unet", {"width": 8, "rates": [2, 4]}),
    ("unet", {"width": 4, "depth": 1}),
    ("r2unet", {"width": 4, "depth": 3, "norm": "per_step", "upsampling": "transposed"}),
    ("r2unet", {"width": 4, "depth": 2, "t": 0, "norm": "none"}),
    ("convlstm_unet", {"width": 4, "direction": "bidirectional", "dense_blocks": 3, "dropout": 0.5}),
    ("convlstm_unet", {"width": 4, "depth": 1, "dense_blocks": 0, "gates": "hard_sigmoid", "head": "family"}),
    ("unetpp", {"width": 4, "deep_supervision": True}),
    ("attention_unet", {"width": 4, "gates": "equal"}),
    ("attention_unetpp", {"width": 1}),
    ("attention_unetpp_resnet34", {"width": 4, "stem_stride": 2}),
    ("af_unet", {"width": 4, "skips": "dense"}),
    ("af_unet", {"width": 4, "depth": 1}),
]


def check_forward_and_backward(model: torch.nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.rand(shape)
    for training in (True, False):
        model.train(training).zero_grad()
        logits = model(x)
        assert logits.shape == (shape[0], 1, *shape[2:]) and logits.isfinite().all()
        logits.square().sum().backward()
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        assert not [name for name, gradient in gradients.items() if gradient is None]
        assert all(gradient.isfinite().all() for gradient in gradients.values())


def test_every_model_is_tested_here():
    assert sorted(SMALL) == list_models()


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_any_size_and_batch_in_both_modes(name, batch, size):
    torch.manual_seed(0)
    check_forward_and_backward(build_model(name, **SMALL[name]), (batch, 1, *size))


@pytest.mark.parametrize("name", list_models())
def test_full_width_at_64_pixels(name):
    torch.manual_seed(0)
    check_forward_and_backward(build_model(name, in_channels=3), (1, 3, 64, 64))


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_variants(name, options):
    torch.manual_seed(0)
    check_forward_and_backward(build_model(name, in_channels=2, **options), (1, 2, 61, 75))


@pytest.mark.parametrize("name", list_models())
def test_every_weight_learns(name):
    """With a map larger than every rate, no parameter is left without a gradient.

    Of two values without a bias, as in the narrowest squeeze-and-excitation of ResUNet++, the ReLU leaves nothing
    where both start below 0: a seed where they do not.
    """
    torch.manual_seed(1 if name == "resunetpp" else 0)
    model = build_model(name, **SMALL[name] | ({"rates": (1, 2)} if name == "resaspp_unet" else {}))
    model(torch.rand(2, 1, 128, 128)).square().sum().backward()
    assert not [key for key, parameter in model.named_parameters() if not parameter.grad.any()]


@pytest.mark.parametrize("name", list_models())
def test_channels_last_gives_the_same_logits(name):
    torch.manual_seed(0)
    model = build_model(name, **SMALL[name]).eval()
    x = torch.rand(2, 1, 61, 75)
    with torch.no_grad():
        expected = model(x)
        found = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", list_models())
def test_in_eval_mode_an_image_does_not_depend_on_its_batch(name):
    torch.manual_seed(0)
    model = build_model(name, **SMALL[name]).eval()
    x = torch.rand(2, 1, 64, 61)
    with torch.no_grad():
        torch.testing.assert_close(model(x)[:1], model(x[:1]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", list_models())
def test_the_seed_decides_the_weights(name):
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(build_model(name, **SMALL[name]).state_dict())
    first, same, other = states
    assert all(torch.equal(first[key], same[key]) for key in first)
    kernel = next(key for key, value in first.items() if value.ndim > 1)  # scales and shifts start at 1 and 0
    assert not torch.equal(first[kernel], other[kernel])


@pytest.mark.parametrize("name", list_models())
def test_autocast_and_state_dict_round_trip(name):
    torch.manual_seed(0)
    model, other = build_model(name, **SMALL[name]).eval(), build_model(name, **SMALL[name]).eval()
    other.load_state_dict(model.state_dict())
    x = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(x), other(x))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = model(x)
        torch.testing.assert_close(half.float(), model(x), atol=0.1, rtol=0.1)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("u-net", {}, "no model 'u-net': choose one of .*res_unet, resaspp_unet, .*unet"),
        ("unet", {"rates": (6,)}, r"'unet' has no option rates: its options are width=64, depth=4"),
        ("unet", {"width": 0}, "width must be a whole number of at least 1, not 0"),
        ("unet", {"depth": 2.0}, "depth must be a whole number"),
        ("convlstm_unet", {"width": 5}, "width must be an even number, not 5"),
        ("convlstm_unet", {"direction": "forward"}, "direction must be one of backward, bidirectional, not 'forward'"),
        ("convlstm_unet", {"gates": "relu"}, "gates must be one of sigmoid, hard_sigmoid, not 'relu'"),
        ("convlstm_unet", {"head": "two"}, "head must be one of paired, family, not 'two'"),
        ("convlstm_unet", {"dense_blocks": -1}, "dense_blocks must be a whole number of at least 0, not -1"),
        ("convlstm_unet", {"dropout": 1.0}, "dropout must be a number from 0 up to, but not, 1, not 1.0"),
        ("unet", {"in_channels": 0}, "in_channels must be a whole number"),
        ("unetpp", {"deep_supervision": 1}, "deep_supervision must be True or False, not 1"),
        ("resunetpp", {"width": 1.5}, "width must be a whole number"),
        ("attention_unet", {"gates": "finer"}, "gates must be one of coarser, equal, not 'finer'"),
        ("attention_unet", {"width": 1, "gates": "equal"}, "width must be at least 2 with equal gates"),
        ("af_unet", {"skips": "all"}, "skips must be one of next, dense, not 'all'"),
        ("af_unet", {"depth": 0}, "depth must be a whole number of at least 1"),
        ("attention_unetpp", {"width": 0}, "width must be a whole number of at least 1, not 0"),
        ("attention_unetpp_resnet34", {"stem_stride": 4}, "stem_stride must be 1 or 2, not 4"),
        ("segnet", {"imagenet": "no"}, "imagenet must be True or False, not 'no'"),
        ("res_unet", {"width": 6}, "width must be a multiple of 4"),
        ("res_unet", {"width": "64"}, "width must be a whole number"),
        ("res_unet", {"head": "sixth"}, "head must be one of bilinear, fifth_stage"),
        ("res_unet", {"upsampling": "nearest"}, "upsampling must be one of bilinear, transposed"),
        ("res_unet", {"decoder_norm": 1}, "decoder_norm must be True or False"),
        ("res_unet", {"imagenet": "yes"}, "imagenet must be True or False"),
        ("resaspp_unet", {"width": 8, "rates": ()}, "rates must be a sequence of whole numbers"),
        ("resaspp_unet", {"width": 8, "rates": 6}, "rates must be a sequence of whole numbers"),
        (
            "resaspp_unet",
            {"width": 8, "rates": (6, 0)},
            "every rate must be a whole number of at least 1, not 0",
        ),
    ],
)
def test_a_bad_name_or_option_is_one_clear_error(name, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        build_model(name, **options)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize("x", [torch.rand(1, 3, 64, 64), torch.rand(1, 64, 64), torch.ones(1, 1, 64, 64).int()])
def test_a_batch_of_another_kind_is_refused(name, x):
    with pytest.raises(ValueError, match=r"takes a floating \(N, 1, H, W\) batch"):
        build_model(name, **SMALL[name])(x)


def test_options_and_their_defaults():
    assert model_options("unet") == {"width": 64, "depth": 4}
    assert model_options("resaspp_unet")["rates"] == (6, 12, 18)
    for name in list_models():
        assert count_parameters(build_model(name, **SMALL[name])) < count_parameters(
            build_model(name, **SMALL[name] | {"width": 16})
        )


def test_importing_the_models_needs_neither_torchvision_nor_opencv():
    code = (
        "import sys, retlib; assert 'torch' not in sys.modules\n"
        "import retlib.models, retlib.losses\n"
        "retlib.models.build_model('resaspp_unet', width=4)\n"
        "heavy = {'torchvision', 'cv2', 'pandas'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
