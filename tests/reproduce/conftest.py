"""A made-up paper with the smallest runs there can be, and `retlib reproduce` as a person calls it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from retlib import cli

PAPER = """
key: toy
title: A toy
short: Toy
authors: [Nobody]
year: 2026
citation: Toy2026
datasets: [drive]
summary: Made up for the tests.
proposed: {drive: proposed}
tables:
  "1":
    caption: Nothing
    columns: [Model, F1]
    metrics: {F1: dice}
    rows:
      - {kind: measured, dataset: drive, run: baseline, cells: [Baseline, "0.5"]}
      - {kind: measured, dataset: drive, run: proposed, cells: [Proposed, "0.6"]}
runs:
  base:
    dataset: drive
    train: {dataset: phantom, split: training, options: &tiny {count: 2, height: 48, width: 48}}
    test: [{dataset: phantom, split: test, options: *tiny}]
    validation: 0
    inputs: {preprocessing: [green]}
    model: unet
    model_options: {width: 2, depth: 1}
    training: {epochs: 1, batch_size: 2, learning_rate: 1e-2, loss: {bce: 1.0}}
  list:
    baseline: {only: [smoke]}
    proposed: {only: [smoke], training: {learning_rate: 2e-2}}
    twin: {only: [smoke], role: ablation}
    broken: {only: [smoke], role: ablation, training: {learning_rate: 1e30, epochs: 3}}
    fold{k}: {only: [smoke], role: fold, for: {k: [1, 2]}, training: {learning_rate: 3e-2, weight_decay: "{k}"}}
    real: {only: [lite], train: {dataset: drive, split: training, options: null}, test: [{dataset: drive, split: test}]}
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, and no data."""
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The YAML of the made-up paper: ``proposed`` and ``baseline`` are its table, ``twin`` is ``baseline`` again."""
    path = tmp_path_factory.mktemp("paper") / "toy.yaml"
    path.write_text(PAPER, encoding="utf-8")
    return path


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> Callable[..., tuple[int, str, str]]:
    """Call `retlib reproduce`: (exit code, standard output, standard error)."""

    def reproduce(*arguments: object) -> tuple[int, str, str]:
        device = [] if "--device" in arguments else ["--device", "cpu"]
        monkeypatch.setattr(sys, "argv", ["retlib", "reproduce", *device, *map(str, arguments)])
        code: object = 0
        try:
            cli.main()
        except SystemExit as stopped:
            code = stopped.code or 0
        return code, *capfd.readouterr()

    return reproduce
