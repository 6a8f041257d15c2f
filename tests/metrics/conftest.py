"""Random score maps and the real observers of DRIVE, for the tests of the metrics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit


@pytest.fixture(scope="session")
def score_maps() -> Callable[..., tuple[list, list, list]]:
    """Makes logits, vessels and FOVs of n images: overlapping normal scores, twelve per cent vessel."""

    def make(count: int = 3, scale: float = 1.0, shape: tuple[int, int] = (120, 140), seed: int = 0):
        rng = np.random.default_rng(seed)
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        fov = np.hypot(rows - shape[0] / 2, columns - shape[1] / 2) < 0.46 * min(shape)
        vessels = [rng.random(shape) < 0.12 for _ in range(count)]
        logits = [
            (scale * (rng.normal(size=shape) * (1.5 + 0.2 * i) - 3 + 4.5 * truth)).astype(np.float32)
            for i, truth in enumerate(vessels)
        ]
        return logits, vessels, [fov.copy() for _ in vessels]

    return make


@pytest.fixture(scope="session")
def probability_maps(score_maps):
    """As ``score_maps``, with probabilities of the wanted type in place of logits."""

    def make(dtype=np.float32, **options):
        logits, vessels, fovs = score_maps(**options)
        return [expit(each.astype(dtype)) for each in logits], vessels, fovs

    return make


@pytest.fixture(scope="session")
def observers(data_root) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Second observer, first observer and FOV of DRIVE's twenty test images."""
    from retlib.data import load_dataset

    samples = load_dataset("drive", split="test", root=data_root)
    return [(sample.second_observer, sample.vessels, sample.fov) for sample in samples]
