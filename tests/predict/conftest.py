"""A tiny network with random weights, shipped as a trained one is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from retlib.data.phantoms import make_phantom
from retlib.inference import predict_logits
from retlib.predict import Predictor, load_predictor
from retlib.preprocessing import InputSettings
from retlib.study import Record, RunConfig
from retlib.study.runner import build
from retlib.study.ship import ship

CONFIG = {
    "profile": "smoke",
    "seed": 0,
    "train": {"dataset": "phantom", "split": "training", "options": {"count": 3}},
    "test": [{"dataset": "phantom", "split": "test", "options": {"count": 1}}],
    "inputs": {"preprocessing": ["green"], "fov_side": 96},
    "model": "unet",
    "model_options": {"width": 4, "depth": 2},
    "training": {"epochs": 1, "batch_size": 1, "learning_rate": 0.01, "loss": {"bce": 1.0}},
}


def record_of(folder: Path, **changes) -> Record:
    """A record that was never run: what `ship` reads of one."""
    config = RunConfig.parse({**CONFIG, **changes})
    content = {
        "id": "0123456789abcdef",
        "config": config.model_dump(mode="json"),
        "threshold": 0.43,
        "training": {"images": ["phantom-0000", "phantom-0001"]},
    }
    return Record(folder, content)


def random_weights(record: Record, path: Path) -> Path:
    """State dict of a network with seeded weights that finds vessels on a part of a phantom."""
    torch.manual_seed(0)
    model = build(record.config).eval()
    phantom = make_phantom(3, 292, 282)
    with torch.no_grad():
        logits = predict_logits(model, phantom, InputSettings(preprocessing=("green",), fov_side=96))
        inside = logits[phantom.fov]
        weight, bias = list(model.parameters())[-2:]
        bias.sub_(float(np.quantile(inside, 0.96)))
        for parameter in (weight, bias):
            parameter.mul_(2 / float(inside.std()))
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights file with its card."""
    folder = tmp_path_factory.mktemp("weights")
    record = record_of(folder)
    kept = random_weights(record, folder / "kept.pt")
    ship(record, folder / "shipped", name="tiny", licence="none at all", weights=kept)
    return folder / "shipped" / "tiny.pt"


@pytest.fixture(scope="session")
def predictor(weights: Path) -> Predictor:
    """The tiny network."""
    return load_predictor(weights, device="cpu")


@pytest.fixture(scope="session")
def photograph() -> np.ndarray:
    """A phantom's photograph, uint8 (292, 282, 3)."""
    return make_phantom(3, 292, 282).image
