"""SegNet: its encoder against torchvision's VGG-16-BN, its unpooling, its counts, its ImageNet weights off line."""

from __future__ import annotations

import itertools
import sys
from urllib.error import URLError

import pytest
import torch
from torch.nn import functional as F

from retlib.models import build_model, count_parameters


@pytest.fixture(scope="module")
def vgg() -> torch.nn.Module:
    """torchvision's VGG-16-BN, its classifier thrown away."""
    from torchvision.models import vgg16_bn

    torch.manual_seed(0)
    model = vgg16_bn(weights=None)
    model.classifier = torch.nn.Identity()
    return model


def expected_count(channels: int, width: int, maps: int = 1) -> int:
    """From VGG-16's list of layers and its mirror image: convolutions with bias, pairs of BN, a last one without."""
    stages = [(1, 2), (2, 2), (4, 3), (8, 3), (8, 3)]
    down = [channels, *(multiple * width for multiple, count in stages for _ in range(count))]
    up = [*down[:0:-1], maps]  # thirteen convolutions back, the last one to the logit maps
    pairs = [*itertools.pairwise(down), *itertools.pairwise(up)]
    norms = sum(2 * after for _, after in pairs[:-1])
    return sum(9 * before * after + after for before, after in pairs) + norms


def test_the_count_is_that_of_the_reference():
    assert count_parameters(build_model("segnet", in_channels=3)) == 29_443_585 == expected_count(3, 64)
    assert expected_count(3, 64, maps=2) == 29_444_162  # the variant with two logit maps that is quoted elsewhere


@pytest.mark.parametrize(("channels", "width"), [(1, 64), (1, 4), (3, 16)])
def test_the_count_follows_from_the_layers(channels, width):
    assert count_parameters(build_model("segnet", in_channels=channels, width=width)) == expected_count(channels, width)


def encoder_map(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    for layer in model.encoder:
        x = layer(x)
        x = x[0] if isinstance(x, tuple) else x
    return x


@pytest.mark.parametrize("training", [False, True])
def test_the_encoder_equals_torchvisions_features(vgg, training):
    model = build_model("segnet", in_channels=3)
    model.encoder.load_state_dict(vgg.features.state_dict())  # strict: names and shapes are the same
    x = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = vgg.features.train(training)(x)
        found = encoder_map(model.train(training), x)
    assert found.shape == (2, 512, 2, 3)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_every_unpooling_puts_values_where_their_maxima_were(monkeypatch):
    pooled, unpooled = [], []
    real_pool, real_unpool = F.max_pool2d_with_indices, F.max_unpool2d

    def pool(x, *args, **kwargs):
        y, indices = real_pool(x, *args, **kwargs)
        pooled.append((tuple(x.shape), indices))
        return y, indices

    def unpool(x, indices, *args, **kwargs):
        y = real_unpool(x, indices, *args, **kwargs)
        unpooled.append((indices, x, y))
        return y

    monkeypatch.setattr(F, "max_pool2d_with_indices", pool)
    monkeypatch.setattr(F, "max_unpool2d", unpool)
    torch.manual_seed(0)
    model = build_model("segnet", width=2).eval()
    for layer in model.encoder:  # pooling goes through the function above
        if isinstance(layer, torch.nn.MaxPool2d):
            layer.forward = lambda x: F.max_pool2d_with_indices(x, kernel_size=2, stride=2)
    with torch.no_grad():
        model(torch.rand(1, 1, 64, 64))
    assert len(pooled) == len(unpooled) == 5
    for (shape, stored), (used, x, y) in zip(reversed(pooled), unpooled, strict=True):
        assert used is stored and tuple(y.shape) == shape
        assert torch.equal(y.flatten(2).gather(2, used.flatten(2)), x.flatten(2))
        assert int((y != 0).sum()) <= x.numel()


def test_the_decoder_mirrors_the_encoder_and_reads_no_skip():
    """Each of its convolutions reads the channels of the map before it and not one more."""
    model = build_model("segnet", width=2).eval()
    reads = [layer.in_channels for stage in model.decoder for layer in stage if isinstance(layer, torch.nn.Conv2d)]
    assert reads == [16] * 6 + [8] * 3 + [4] * 2 + [2]
    assert isinstance(model.head, torch.nn.Conv2d) and model.head.kernel_size == (3, 3)


@pytest.fixture
def weights_enum(monkeypatch):
    """Replaces the loading of torchvision's weights; gives a function that sets what it returns or raises."""
    from torchvision.models._api import WeightsEnum

    asked = []

    def replace(result: dict[str, torch.Tensor] | Exception) -> list[str]:
        def get_state_dict(self, *args, **kwargs):
            asked.append(f"{type(self).__name__}.{self.name}")
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr(WeightsEnum, "get_state_dict", get_state_dict)
        return asked

    return replace


def test_imagenet_weights_are_taken_in_colour_and_summed_for_gray(weights_enum, vgg):
    state = vgg.state_dict() | {"classifier.0.weight": torch.zeros(1)}
    asked = weights_enum(state)
    colour = build_model("segnet", in_channels=3, imagenet=True)
    assert asked == ["VGG16_BN_Weights.IMAGENET1K_V1"]
    assert torch.equal(colour.encoder[0].weight, vgg.features[0].weight)
    gray_model = build_model("segnet", imagenet=True).eval()
    gray = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = vgg.features.eval()(gray.expand(-1, 3, -1, -1))
        torch.testing.assert_close(encoder_map(gray_model, gray), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("failure", [URLError("Name or service not known"), RuntimeError("invalid hash\nvalue")])
def test_without_a_network_the_error_says_what_to_do(weights_enum, monkeypatch, tmp_path, failure):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights_enum(failure)
    with pytest.raises(FileNotFoundError) as caught:
        build_model("segnet", imagenet=True)
    message = str(caught.value)
    assert " ".join(str(failure).split()) in message and "\n" not in message
    assert str(tmp_path / "hub" / "checkpoints" / "vgg16_bn-") in message and "imagenet=False" in message
    assert caught.value.__suppress_context__


def test_without_torchvision_the_error_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(ImportError, match=r"needs torchvision.*imagenet=False") as caught:
        build_model("segnet", imagenet=True)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 16}, "exist at width 64 only: width=16 needs imagenet=False"),
        ({"in_channels": 2}, "fit 1 or 3 channels: in_channels=2 needs imagenet=False"),
    ],
)
def test_imagenet_weights_fit_full_width_and_gray_or_colour_only(weights_enum, options, message):
    asked = weights_enum(AssertionError("the weights were asked for"))
    with pytest.raises(ValueError, match=message):
        build_model("segnet", imagenet=True, **options)
    assert not asked
