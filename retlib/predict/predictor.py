"""Segment the vessels of a photograph."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from retlib.data import FundusSample
from retlib.data.sample import require_photograph
from retlib.device import pick_device
from retlib.inference import area_opening, predict_logits, probabilities, remove_small_components
from retlib.predict.doubts import find_doubts, measure_quality
from retlib.predict.fov import eyes_side_by_side, find_fov, searched_region
from retlib.predict.fundus_check import FundusCheck, NotAFundusError, check_fundus
from retlib.predict.weights import ModelCard, read_weights, shipped_weights
from retlib.preprocessing import InputSettings

_LIT = 20  # gray levels above which a pixel's colour counts
_GRAY_SPREAD = 12  # gray levels by which the channels of a gray photograph differ, after JPEG compression
_GREEN_ONLY = 0.3  # greatest red and blue of a red-free photograph that is stored in green / green


@dataclass(frozen=True, eq=False)
class Prediction:
    """Hold the vessels of a photograph, on its own pixel grid.

    Attributes:
        vessels: bool (H, W), where the probability reaches the threshold.
        fov: estimated field of view, bool (H, W).
        check: measures of the rule for fundus photographs, and its reasons against this one.
        logits: of the network, before small components are removed, float32 (H, W).
        searched: where vessels are looked for, bool (H, W), see `searched_region`.
        doubts: why the map may be wrong, in words; empty where nothing was found.
        min_size: pixels of the smallest component that stays, see `retlib.inference.area_opening`; None: all stay.
    """

    vessels: np.ndarray
    fov: np.ndarray
    check: FundusCheck
    logits: np.ndarray = field(repr=False)
    searched: np.ndarray = field(repr=False)
    min_size: int | None = None
    doubts: tuple[str, ...] = ()

    @functools.cached_property
    def probabilities(self) -> np.ndarray:
        """Probability of vessel, float32 (H, W), 0 to 1; 0 outside `searched`.

        Computed on first access: removing small components at all thresholds takes longer than at one.
        """
        logits = self.logits if self.min_size is None else area_opening(self.logits, self.min_size)
        return _probabilities(logits) * self.searched

    @property
    def vessel_share(self) -> float:
        """Share of the FOV that is vessel."""
        return float(self.vessels.sum() / max(int(self.fov.sum()), 1))

    @property
    def fov_diameter(self) -> int:
        """Longer side of the FOV in pixels."""
        return max(cv2.boundingRect(self.fov.astype(np.uint8))[2:])


@dataclass(frozen=True, eq=False)
class Predictor:
    """Apply a trained network to photographs; `load_predictor` makes one.

    Attributes:
        model: the network, in eval mode, on the device.
        card: the description of its weights.
        inputs: how a photograph becomes the network's input: the card's settings at the chosen scale.
        threshold: probability from which on a pixel is a vessel.
        device: where the network is.
    """

    model: nn.Module
    card: ModelCard
    inputs: InputSettings
    threshold: float
    device: torch.device

    def __call__(self, image: np.ndarray, *, check: bool = True, fov: np.ndarray | None = None) -> Prediction:
        """Segment one photograph; of two eyes side by side or one above the other, each by itself.

        Args:
            image: uint8 (H, W, 3), RGB, any size.
            check: refuse an image that does not look like a fundus photograph.
            fov: field of view, bool (H, W); by default it is estimated.

        Raises:
            NotAFundusError: the image does not look like a fundus photograph; the message says why.
            ValueError: the array is not uint8 (H, W, 3), or the FOV has another size or no pixel.
        """
        require_photograph(image)
        gray = gray_of(image)
        if gray is not None:
            image = np.repeat(gray[..., None], 3, axis=2)
        if fov is None:
            for axis, turned in ((1, image), (0, image.transpose(1, 0, 2))):
                if (place := eyes_side_by_side(turned)) is not None:
                    parts = np.split(image, [place], axis=axis)
                    return _joined([self(np.ascontiguousarray(part), check=check) for part in parts], axis)
            fov = find_fov(image)
        elif fov.shape != image.shape[:2] or not fov.any():
            expected = f"{image.shape[1]} x {image.shape[0]}"
            raise ValueError(
                f"the field of view is {' x '.join(map(str, fov.shape[::-1]))} pixels with {int(fov.sum())} inside,"
                f" expected {expected} as the photograph, and some inside"
            )
        verdict = check_fundus(image, fov)
        if check and verdict.refused:
            raise NotAFundusError(
                f"this does not look like a fundus photograph: {'; '.join(verdict.reasons)}; --force (in Python:"
                " check=False) segments it nevertheless"
            )
        sample = FundusSample("photograph", image, vessels=np.zeros_like(fov), fov=fov)
        min_size = self.card.inference.least_piece  # small components go at the threshold alone, which is quick
        settings = self.card.inference.model_copy(update={"least_piece": None})
        logits = predict_logits(self.model, sample, self.inputs, settings, device=self.device)
        vessels = _probabilities(logits) >= np.float32(self.threshold)
        if min_size is not None:
            vessels = remove_small_components(vessels, min_size)
        searched = searched_region(image, fov)
        vessels &= searched
        share = float(vessels.sum() / fov.sum())
        doubts = verdict.reasons + find_doubts(measure_quality(image, fov) | {"vessel_share": share})
        if gray is not None and self.inputs.channels == 3:
            doubts += ("it is gray, and the network was trained on colours",)
        return Prediction(vessels, fov, verdict, logits, searched, min_size, doubts)


def gray_of(image: np.ndarray) -> np.ndarray | None:
    """Return the gray levels, uint8 (H, W), of a photograph without colour, or of one that is green only; else None."""
    step = max(1, max(image.shape) // 500)  # a sample of the pixels of a large photograph is enough
    pixels = image[::step, ::step].reshape(-1, 3).astype(np.int16)
    lit = pixels[pixels.max(axis=1) > _LIT]
    if not len(lit):
        return None
    spread = np.percentile(lit.max(axis=1) - lit.min(axis=1), 95)
    red, green, blue = lit.mean(axis=0)
    return image[..., 1] if spread <= _GRAY_SPREAD or max(red, blue) < _GREEN_ONLY * green else None


def _probabilities(logits: np.ndarray) -> np.ndarray:
    """Compute float32 probabilities strip by strip, since the float64 between takes twice the memory of both."""
    return np.concatenate(
        [probabilities(part).astype(np.float32) for part in np.array_split(logits, len(logits) // 500 + 1)]
    )


def _joined(parts: list[Prediction], axis: int) -> Prediction:
    """Join the predictions of photographs that stand side by side (axis 1) or one above the other (0)."""
    names = ("vessels", "fov", "logits", "searched")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts], axis=axis) for name in names}
    check = next((part.check for part in parts if not part.check.passed), parts[0].check)
    doubts = dict.fromkeys(("two eyes in one picture, each segmented by itself", *(d for p in parts for d in p.doubts)))
    return Prediction(check=check, min_size=parts[0].min_size, doubts=tuple(doubts), **arrays)


def load_predictor(
    weights: str | Path | None = None, *, threshold: float | None = None, device: str = "auto", scale: float = 1.0
) -> Predictor:
    """Load the network that comes with retlib, or the one of another weights file with its card beside it.

    Args:
        weights: the weights file.
        threshold: probability from which on a pixel is a vessel, 0 to 1, ends excluded; the card's by default.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...; ``auto`` takes CUDA where there is one.
        scale: factor on the size at which the network sees a photograph, 0.1 to 2: 0.5 where only half of the retina's
            width is in the picture.

    Raises:
        WeightsError: no weights are shipped, or the file is missing, damaged or without its card.
        ValueError: an impossible threshold, device or scale.
    """
    model, card = read_weights(shipped_weights() if weights is None else weights)
    if not 0.1 <= scale <= 2:
        raise ValueError(f"scale: expected a factor from 0.1 to 2, got {scale:g}")
    if scale != 1 and card.inputs.fov_side is None:
        raise ValueError(f"scale: {card.name} has no working size (inputs.fov_side) that it could change")
    side = card.inputs.fov_side and max(64, round(card.inputs.fov_side * scale))
    inputs = card.inputs.model_copy(update={"fov_side": side})
    threshold = card.threshold if threshold is None else float(threshold)
    if not 0 < threshold < 1:
        raise ValueError(f"threshold: expected a probability above 0 and below 1, got {threshold:g}")
    place = pick_device(device)
    return Predictor(model.to(place, memory_format=torch.channels_last).eval(), card, inputs, threshold, place)


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
