"""From a photograph to its vessels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from retlib.data import FundusSample
from retlib.experiments import pick_device
from retlib.inference import predict_logits, probabilities
from retlib.prediction.fov import find_fov, searched_region
from retlib.prediction.fundus import FundusCheck, NotAFundusError, check_fundus
from retlib.prediction.shipping import ModelCard, read_shipped, shipped_weights


@dataclass(frozen=True, eq=False)
class Prediction:
    """What was found in a photograph, on its own pixel grid.

    Attributes:
        probabilities: that a pixel is a vessel, float32 (H, W), 0 to 1; 0 outside the FOV and on its
            very rim, see `searched_region`.
        vessels: bool (H, W), where the probability reaches the threshold.
        fov: field of view as it was found, bool (H, W).
        check: how the photograph stands against the rule for fundus photographs.
    """

    probabilities: np.ndarray
    vessels: np.ndarray
    fov: np.ndarray
    check: FundusCheck

    @property
    def vessel_share(self) -> float:
        """Share of the FOV that is vessel."""
        return float(self.vessels.sum() / max(int(self.fov.sum()), 1))


class Predictor:
    """A trained network, ready for photographs.

    Args:
        model: the network; see `read_shipped`.
        card: what stands beside its weights.
        threshold: probability from which on a pixel is a vessel; the card's own by default.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...; ``auto`` takes CUDA where there is one.
    """

    def __init__(
        self, model: nn.Module, card: ModelCard, *, threshold: float | None = None, device: str = "auto"
    ) -> None:
        self.card = card
        self.threshold = card.threshold if threshold is None else float(threshold)
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold: expected a probability between 0 and 1, got {self.threshold:g}")
        self.device = pick_device(device)
        self._model = model.to(self.device, memory_format=torch.channels_last).eval()

    def __call__(self, image: np.ndarray, *, check: bool = True) -> Prediction:
        """Segment one photograph.

        Args:
            image: uint8 (H, W, 3), RGB, any size.
            check: whether what does not look like a fundus photograph is refused.

        Raises:
            NotAFundusError: it does not look like one; the message says why.
            ValueError: the array is no uint8 (H, W, 3).
        """
        fov = find_fov(image)
        verdict = check_fundus(image, fov)
        if check and not verdict.passed:
            raise NotAFundusError(f"this does not look like a fundus photograph: {'; '.join(verdict.reasons)}")
        sample = FundusSample("photograph", image, vessels=np.zeros_like(fov), fov=fov)
        logits = predict_logits(self._model, sample, self.card.inputs, self.card.inference, device=self.device)
        scores = probabilities(logits).astype(np.float32)
        scores[~searched_region(image, fov)] = 0
        return Prediction(scores, scores >= np.float32(self.threshold), fov, verdict)


def load_predictor(
    weights: str | Path | None = None, *, threshold: float | None = None, device: str = "auto"
) -> Predictor:
    """The network that comes with retlib, or another one.

    Args:
        weights: a weights file that `ship` has made, with its card beside it; by default the shipped one.
        threshold: probability from which on a pixel is a vessel; by default the one chosen when the network was made.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...; ``auto`` takes CUDA where there is one.

    Raises:
        WeightsError: no weights are shipped, or the file is missing, damaged or without its card.
        ValueError: a threshold or a device that does not exist.
    """
    model, card = read_shipped(shipped_weights() if weights is None else weights)
    return Predictor(model, card, threshold=threshold, device=device)
