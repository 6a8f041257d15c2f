"""Segment the vessels of a photograph."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from retlib.data import FundusSample
from retlib.device import pick_device
from retlib.inference import area_opening, predict_logits, probabilities, remove_small_components
from retlib.predict.fov import find_fov, searched_region
from retlib.predict.fundus_check import FundusCheck, NotAFundusError, check_fundus
from retlib.predict.weights import ModelCard, read_weights, shipped_weights


@dataclass(frozen=True, eq=False)
class Prediction:
    """Hold the vessels of a photograph, on its own pixel grid.

    Attributes:
        vessels: bool (H, W), where the probability reaches the threshold.
        fov: estimated field of view, bool (H, W).
        check: measures of the rule for fundus photographs, and its reasons against this one.
        logits: of the network, before small components are removed, float32 (H, W).
        searched: where vessels are looked for, bool (H, W), see `searched_region`.
        min_size: pixels of the smallest component that stays, see `retlib.inference.area_opening`; None: all stay.
    """

    vessels: np.ndarray
    fov: np.ndarray
    check: FundusCheck
    logits: np.ndarray = field(repr=False)
    searched: np.ndarray = field(repr=False)
    min_size: int | None = None

    @functools.cached_property
    def probabilities(self) -> np.ndarray:
        """Probability of vessel, float32 (H, W), 0 to 1; 0 outside `searched`.

        Computed on first access: removing small components at all thresholds takes longer than at one.
        """
        logits = self.logits if self.min_size is None else area_opening(self.logits, self.min_size)
        return probabilities(logits).astype(np.float32) * self.searched

    @property
    def vessel_share(self) -> float:
        """Share of the FOV that is vessel."""
        return float(self.vessels.sum() / max(int(self.fov.sum()), 1))


class Predictor:
    """Apply a trained network to photographs.

    Args:
        model: the network, see `retlib.predict.weights.read_weights`.
        card: the description of its weights.
        threshold: probability from which on a pixel is a vessel, 0 to 1, ends excluded; the card's by default.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...; ``auto`` takes CUDA where there is one.

    Raises:
        ValueError: an impossible threshold or device.
    """

    def __init__(
        self, model: nn.Module, card: ModelCard, *, threshold: float | None = None, device: str = "auto"
    ) -> None:
        self.card = card
        self.threshold = card.threshold if threshold is None else float(threshold)
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold: expected a probability between 0 and 1, got {self.threshold:g}")
        self.device = pick_device(device)
        self.model = model.to(self.device, memory_format=torch.channels_last).eval()
        self._settings = card.inference.model_copy(update={"least_piece": None})

    def __call__(self, image: np.ndarray, *, check: bool = True) -> Prediction:
        """Segment one photograph.

        Args:
            image: uint8 (H, W, 3), RGB, any size.
            check: refuse an image that does not look like a fundus photograph.

        Raises:
            NotAFundusError: the image does not look like a fundus photograph; the message says why.
            ValueError: the array is not uint8 (H, W, 3).
        """
        fov = find_fov(image)
        verdict = check_fundus(image, fov)
        if check and not verdict.passed:
            raise NotAFundusError(f"this does not look like a fundus photograph: {'; '.join(verdict.reasons)}")
        sample = FundusSample("photograph", image, vessels=np.zeros_like(fov), fov=fov)
        logits = predict_logits(self.model, sample, self.card.inputs, self._settings, device=self.device)
        vessels = probabilities(logits).astype(np.float32) >= np.float32(self.threshold)
        min_size = self.card.inference.least_piece
        if min_size is not None:
            vessels = remove_small_components(vessels, min_size)
        searched = searched_region(image, fov)
        return Prediction(vessels & searched, fov, verdict, logits, searched, min_size)


def load_predictor(
    weights: str | Path | None = None, *, threshold: float | None = None, device: str = "auto"
) -> Predictor:
    """Load the network that comes with retlib, or the one of another weights file with its card beside it.

    Threshold and device are those of `Predictor`.

    Raises:
        WeightsError: no weights are shipped, or the file is missing, damaged or without its card.
        ValueError: an impossible threshold or device.
    """
    model, card = read_weights(shipped_weights() if weights is None else weights)
    return Predictor(model, card, threshold=threshold, device=device)


def predict_vessels(
    image: np.ndarray, *, weights: str | Path | None = None, device: str = "auto", check: bool = True
) -> np.ndarray:
    """Segment the vessels of one photograph; for many, call `load_predictor` once and apply the predictor to each.

    Args:
        image: uint8 (H, W, 3), RGB, any size.
        weights: a weights file with its card beside it; by default the one that comes with retlib.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...; ``auto`` takes CUDA where there is one.
        check: refuse an image that does not look like a fundus photograph.

    Returns:
        Probability of vessel, float32 (H, W), 0 to 1; 0 outside the field of view.

    Raises:
        NotAFundusError: the image does not look like a fundus photograph; the message says why.
        ValueError: the array is not uint8 (H, W, 3), or the weights or the device are not there.

    Example:
        >>> from retlib.data import load_dataset
        >>> from retlib.predict import predict_vessels
        >>> image = load_dataset("phantom", split="test")[0].image
        >>> predict_vessels(image, device="cpu").shape == image.shape[:2]
        True
    """
    return load_predictor(weights, device=device)(image, check=check).probabilities
