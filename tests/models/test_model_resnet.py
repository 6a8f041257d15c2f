"""The ResNet-50 encoder against torchvision's, and its ImageNet weights without touching a network."""

from __future__ import annotations

import sys
from urllib.error import URLError

import pytest
import torch

from retlib.models import build_model
from retlib.models.resnet import ResNet50


@pytest.fixture(scope="module")
def torchvision_resnet() -> torch.nn.Module:
    from torchvision.models import resnet50

    torch.manual_seed(0)
    return resnet50(weights=None)


def without_classifier(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: value for key, value in model.state_dict().items() if not key.startswith("fc.")}


def torchvision_maps(model: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    maps = [model.relu(model.bn1(model.conv1(x)))]
    x = model.maxpool(maps[0])
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        x = layer(x)
        maps.append(x)
    return maps


@pytest.mark.parametrize("training", [False, True])
def test_features_equal_torchvisions(torchvision_resnet, training):
    encoder = ResNet50(in_channels=3).train(training)
    encoder.load_state_dict(without_classifier(torchvision_resnet))  # strict: names and shapes are the same
    x = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = torchvision_maps(torchvision_resnet.train(training), x), encoder(x)
    for one, other, channels, stride in zip(found, expected, encoder.channels, (2, 4, 8, 16, 32), strict=True):
        assert one.shape == (2, channels, 96 // stride, 64 // stride)
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("width", [16, 8])
def test_the_width_scales_every_map(width):
    encoder = ResNet50(width=width)
    shapes = [tuple(m.shape) for m in encoder(torch.rand(1, 1, 64, 64))]
    assert shapes == [(1, width * k, s, s) for k, s in ((1, 32), (4, 16), (8, 8), (16, 4), (32, 2))]
    assert encoder.channels == (width, 4 * width, 8 * width, 16 * width, 32 * width)


@pytest.fixture
def weights_enum(monkeypatch):
    """Replaces the loading of torchvision's weights; gives a function that sets what it returns or raises."""
    from torchvision.models._api import WeightsEnum

    asked = []

    def replace(result: dict[str, torch.Tensor] | Exception) -> list[str]:
        def get_state_dict(self, *args, **kwargs):
            asked.append(self.name)
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr(WeightsEnum, "get_state_dict", get_state_dict)
        return asked

    return replace


def test_imagenet_weights_are_loaded_and_gray_gives_what_gray_in_colour_gave(weights_enum, torchvision_resnet):
    asked = weights_enum(torchvision_resnet.state_dict())
    model = build_model("res_unet", imagenet=True).eval()
    assert asked == ["IMAGENET1K_V1"]
    gray = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = torchvision_maps(torchvision_resnet.eval(), gray.expand(-1, 3, -1, -1))
        for one, other in zip(model.encoder(gray), expected, strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_imagenet_weights_in_colour_are_taken_as_they_are(weights_enum, torchvision_resnet):
    weights_enum(torchvision_resnet.state_dict())
    encoder = build_model("resaspp_unet", in_channels=3, imagenet=True).encoder
    assert torch.equal(encoder.conv1.weight, torchvision_resnet.conv1.weight)


@pytest.mark.parametrize(
    "failure",
    [
        URLError("Name or service not known"),
        TimeoutError("timed out"),
        RuntimeError('invalid hash value (expected "0676ba61",\ngot "d41d8cd9")'),
    ],
)
@pytest.mark.parametrize("name", ["res_unet", "resaspp_unet"])
def test_without_a_network_the_error_says_what_to_do(weights_enum, monkeypatch, tmp_path, failure, name):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights_enum(failure)
    with pytest.raises(FileNotFoundError) as caught:
        build_model(name, imagenet=True)
    message = str(caught.value)
    assert " ".join(str(failure).split()) in message and "\n" not in message
    assert str(tmp_path / "hub" / "checkpoints" / "resnet50-0676ba61.pth") in message
    assert "imagenet=False" in message
    assert caught.value.__suppress_context__


def test_without_torchvision_the_error_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(ImportError, match=r"needs torchvision.*imagenet=False") as caught:
        build_model("res_unet", imagenet=True)
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
        build_model("res_unet", imagenet=True, **options)
    assert not asked
