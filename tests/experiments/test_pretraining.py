"""Pretraining: other images first, then the training proper from those weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from retlib.predict.weights import read_state
from retlib.study import run, runner, weights_path
from tests.experiments.conftest import PHANTOMS, tiny
from tests.experiments.test_runs import comparable

OTHERS = {"dataset": "phantom", "split": "training", "options": PHANTOMS | {"width": 80}}
FIRST = {"train": OTHERS, "training": {"epochs": 3, "batch_size": 2, "learning_rate": 1e-2, "loss": {"bce": 1.0}}}


def make(folder: Path, **changes: object):
    return run(tiny(**changes), folder / "records", device="cpu", progress=False)


def test_training_starts_from_the_pretrained_weights(tmp_path: Path) -> None:
    still = {"epochs": 1, "batch_size": 2, "learning_rate": 1e-12, "loss": {"bce": 1.0}}
    plain, first = make(tmp_path, training=still), make(tmp_path, training=still, pretraining=FIRST)
    alone = make(tmp_path, train=OTHERS, training=FIRST["training"], validation=0.0)
    weight = "head.weight"
    kept = {record.id: read_state(weights_path(record.id))[weight] for record in (plain, first, alone)}
    torch.testing.assert_close(kept[first.id], kept[alone.id])
    assert not torch.allclose(kept[plain.id], kept[alone.id])
    assert first.content["pretraining"]["history"] == alone.history
    assert first.content["pretraining"]["images"] == alone.content["training"]["images"]
    assert len(first.history) == 1 and "pretraining" not in plain.content
    assert first.content["fingerprints"]["pretraining"] == alone.content["fingerprints"]["train"]


def test_a_run_killed_between_the_two_parts_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = comparable(make(tmp_path / "whole", pretraining=FIRST))
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "other-cache"))
    fit, calls = runner.fit, []

    def killed(*arguments, **options):
        calls.append(options["checkpoint"].name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(*arguments, **options)

    monkeypatch.setattr(runner, "fit", killed)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "parts", pretraining=FIRST)
    monkeypatch.setattr(runner, "fit", fit)
    record = make(tmp_path / "parts", pretraining=FIRST)
    assert calls == ["pretraining.pt", "checkpoint.pt"]
    assert comparable(record) == expected
    assert json.loads((record.folder / "record.json").read_text())["pretraining"]["steps"] == 6


def test_what_cannot_be_pretrained_on_is_refused() -> None:
    test_images = {"dataset": "phantom", "split": "test", "options": PHANTOMS}
    with pytest.raises(ValueError, match="shares images"):
        tiny(pretraining=FIRST | {"train": test_images})
    with pytest.raises(ValueError, match=r"pretraining holds no images out, so training.keep: best"):
        tiny(pretraining=FIRST | {"training": FIRST["training"] | {"keep": "best"}})


def test_pretraining_moves_the_id() -> None:
    assert tiny(pretraining=FIRST).identify() != tiny().identify()
