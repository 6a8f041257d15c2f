"""From a photograph to its vessels."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from retlib.data import FundusSample
from retlib.inference import Member, cut_specks, predict_mean_logits, probabilities, remove_specks
from retlib.prediction.fov import find_fov, searched_region
from retlib.prediction.fundus import FundusCheck, NotAFundusError, check_fundus
from retlib.prediction.shipping import ModelCard, read_shipped, shipped_weights
from retlib.study import pick_device


@dataclass(frozen=True, eq=False)
class Prediction:
    """What was found in a photograph, on its own pixel grid.

    Attributes:
        vessels: bool (H, W), where the probability reaches the threshold.
        fov: field of view as it was found, bool (H, W).
        check: how the photograph stands against the rule for fundus photographs.
        logits: of the network, before small pieces are removed, float32 (H, W).
        searched: where vessels were looked for, bool (H, W), see `searched_region`.
        least_piece: pixels that a piece has at least, see `remove_specks`; None: all pieces stay.
    """

    vessels: np.ndarray
    fov: np.ndarray
    check: FundusCheck
    logits: np.ndarray = field(repr=False)
    searched: np.ndarray = field(repr=False)
    least_piece: int | None = None

    @functools.cached_property
    def probabilities(self) -> np.ndarray:
        """That a pixel is a vessel, float32 (H, W), 0 to 1; 0 outside the FOV and on its very rim.

        Computed when it is first asked for: the map of one threshold needs no small pieces removed at all the others.
        """
        logits = self.logits if self.least_piece is None else remove_specks(self.logits, self.least_piece)
        return _scores(logits) * self.searched

    @property
    def vessel_share(self) -> float:
        """Share of the FOV that is vessel."""
        return float(self.vessels.sum() / max(int(self.fov.sum()), 1))


class Predictor:
    """Trained networks, ready for photographs.

    Args:
        models: the networks, one a member of the card; see `read_shipped`.
        card: what stands beside their weights.
        threshold: probability from which on a pixel is a vessel; the card's own by default.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...; ``auto`` takes CUDA where there is one.
    """

    def __init__(
        self, models: Sequence[nn.Module], card: ModelCard, *, threshold: float | None = None, device: str = "auto"
    ) -> None:
        self.card = card
        self.threshold = card.threshold if threshold is None else float(threshold)
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold: expected a probability between 0 and 1, got {self.threshold:g}")
        self.device = pick_device(device)
        self._members = tuple(
            Member(model.to(self.device, memory_format=torch.channels_last).eval(), part.inputs, part.inference)
            for model, part in zip(models, card.members, strict=True)
        )

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
        logits = predict_mean_logits(self._members, sample, device=self.device)
        # At one threshold, small pieces are found in the map itself.
        vessels = _scores(logits) >= np.float32(self.threshold)
        if self.card.least_piece is not None:
            vessels = cut_specks(vessels, self.card.least_piece)
        searched = searched_region(image, fov)
        return Prediction(vessels & searched, fov, verdict, logits, searched, self.card.least_piece)


def _scores(logits: np.ndarray) -> np.ndarray:
    return probabilities(logits).astype(np.float32)


def load_predictor(
    weights: str | Path | None = None, *, threshold: float | None = None, device: str = "auto"
) -> Predictor:
    """The network (or the mean of several) that comes with retlib, or another one.

    Args:
        weights: a weights file that `ship` has made, with its card beside it; by default the shipped one.
        threshold: probability from which on a pixel is a vessel; by default the one chosen when the network was made.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...; ``auto`` takes CUDA where there is one.

    Raises:
        WeightsError: no weights are shipped, or the file is missing, damaged or without its card.
        ValueError: a threshold or a device that does not exist.
    """
    models, card = read_shipped(shipped_weights() if weights is None else weights)
    return Predictor(models, card, threshold=threshold, device=device)
