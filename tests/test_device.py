"""What this machine computes with."""

from __future__ import annotations

import os

import pytest
import torch

from retlib.device import autocast, has_bfloat16, usable_cores


def test_the_processor_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_bfloat16() in (True, False)
    assert not has_bfloat16() or torch.backends.mkldnn.is_available()
    for supported in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda supported=supported: supported)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        assert has_bfloat16() is (supported and torch.backends.mkldnn.is_available())


def test_autocast_is_chosen_for_each_kind_of_device() -> None:
    product = torch.ones(2, 2)
    for cuda, cpu in ((True, False), (False, True)):
        with autocast(torch.device("cpu"), cuda, cpu):
            assert (product @ product).dtype == (torch.bfloat16 if cpu else torch.float32)


def test_cores_are_those_of_this_process() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
