"""Every source that a decoder joins has a say: with it set to zero the logits change."""

from __future__ import annotations

import pytest
import torch

from retlib.models import build_model
from retlib.models.blocks import join

WIDTH = 4
# (model, options, the modules that take a concatenation, channels of its parts in units of WIDTH)
JOINS: list[tuple[str, dict[str, object], dict[str, list[int]]]] = [
    (
        "unetpp",
        {},
        {f"nested.{j - 1}.{i}": [2**i] * j + [2 ** (i + 1)] for j in range(1, 5) for i in range(5 - j)},
    ),
    ("resunet", {}, {f"decoder.{k}": [2 * c, c] for k, c in enumerate((4, 2, 1))}),
    ("resunetpp", {}, {f"decoder.{k}.unit": [4 * c, c] for k, c in enumerate((4, 2, 1))}),
    ("attention_unet", {}, {f"decoder.{k}": [c, c] for k, c in enumerate((8, 4, 2, 1))}),
    ("attention_unet", {"gates": "equal"}, {f"decoder.{k}": [c, c] for k, c in enumerate((8, 4, 2, 1))}),
    (
        "af_unet",
        {},
        {"decoder.0": [8, 4, 8], "decoder.1": [4, 2, 4], "decoder.2": [2, 1, 2], "decoder.3": [1, 1]},
    ),
    (
        "af_unet",
        {"skips": "dense"},
        {"decoder.0": [8, 1, 2, 4, 8], "decoder.1": [4, 1, 2, 4], "decoder.2": [2, 1, 2], "decoder.3": [1, 1]},
    ),
]
# (model, options, the modules that take two maps)
PAIRS: list[tuple[str, dict[str, object], list[str]]] = [
    ("resunetpp", {}, [f"decoder.{k}.attention" for k in range(3)]),
    ("attention_unet", {}, [f"gates.{k}" for k in range(3)]),
    ("attention_unet", {"gates": "equal"}, [f"gates.{k}" for k in range(4)]),
]


def change(model: torch.nn.Module, x: torch.Tensor, where: str, argument: int, part: slice) -> float:
    """Largest change of a logit when channels ``part`` of an argument of module ``where`` are zero."""

    def silence(_module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        silent = args[argument].clone()
        silent[:, part] = 0
        return *args[:argument], silent, *args[argument + 1 :]

    before = model(x)
    handle = model.get_submodule(where).register_forward_pre_hook(silence)
    after = model(x)
    handle.remove()
    return float((after - before).abs().max())


@pytest.mark.parametrize(("name", "options", "joins"), JOINS)
@torch.no_grad()
def test_every_part_of_a_concatenation_matters(name, options, joins):
    torch.manual_seed(1)
    model, x = build_model(name, width=WIDTH, **options), torch.rand(2, 1, 32, 32)
    for where, parts in joins.items():
        start = 0
        for part in parts:
            channels = slice(start, start + part * WIDTH)
            assert change(model, x, where, 0, channels) > 1e-3, (where, channels)
            start = channels.stop
        first = next(module for module in model.get_submodule(where).modules() if hasattr(module, "weight"))
        assert start == first.weight.shape[1 if first.weight.ndim > 1 else 0], where  # no channel is left over


@pytest.mark.parametrize(("name", "options", "modules"), PAIRS)
@torch.no_grad()
def test_both_maps_of_an_attention_matter(name, options, modules):
    torch.manual_seed(1)
    model, x = build_model(name, width=WIDTH, **options), torch.rand(2, 1, 32, 32)
    for where in modules:
        for argument in (0, 1):
            assert change(model, x, where, argument, slice(None)) > 1e-3, (where, argument)


def test_join_is_a_concatenation_whose_gradients_are_whole_maps() -> None:
    torch.manual_seed(0)
    maps = [torch.randn(2, c, 6, 6).contiguous(memory_format=torch.channels_last) for c in (3, 5)]
    whole = [part.clone().requires_grad_() for part in maps]
    seen = []
    for part in whole:
        part.register_hook(lambda gradient: seen.append(gradient.is_contiguous(memory_format=torch.channels_last)))
    joined = join([part * 1 for part in whole])
    assert torch.equal(joined, torch.cat(maps, dim=1))
    weight = torch.randn_like(joined)
    (joined * weight).sum().backward()
    assert seen == [True, True]
    assert torch.equal(torch.cat([part.grad for part in whole], dim=1), weight)
