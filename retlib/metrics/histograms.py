"""Store the score histograms of one run on one test set as one small file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np
from numpy.typing import ArrayLike

from retlib.metrics.checks import as_mask
from retlib.metrics.curves import ScoreHistogram
from retlib.metrics.edges import as_logits, bin_counts, histogram_edges

REGIONS = ("fov", "frame")
_SAMPLE = 2**24  # edges are drawn from about this many pixels at most: ranks at 1/512 need no more


@dataclass(frozen=True)
class ScoreHistograms:
    """Logit histograms of every image of a test set, by class, inside and outside the FOV.

    Logits keep the order of scores whose float32 probabilities are all 1.0: areas recomputed from here agree
    with scikit-learn's on the logits, not on probabilities that have lost that order.

    Attributes:
        names: the n images, in order.
        edges: (E,) float32 logits, strictly increasing, the same for all images.
        counts: (n, 2, 2, E+1) int32 pixels: image, region (inside the FOV, outside), class (background,
            vessel), bin. Bin 0 lies below ``edges[0]``, bin i holds edges[i-1] <= logit < edges[i].

    Raises:
        ValueError: arrays that do not fit one another.
    """

    names: tuple[str, ...]
    edges: np.ndarray
    counts: np.ndarray

    def __post_init__(self) -> None:
        """Check that the three belong together."""
        if len(set(self.names)) != len(self.names):
            raise ValueError("names of score histograms repeat: expected each image once")
        if self.edges.dtype != np.float32 or self.edges.ndim != 1 or not self.edges.size:
            raise ValueError(f"edges is {self.edges.dtype} of shape {self.edges.shape}: expected float32 of shape (E,)")
        if not np.isfinite(self.edges).all() or (np.diff(self.edges) <= 0).any():
            raise ValueError("edges must be finite and strictly increasing")
        expected = (len(self.names), 2, 2, self.edges.size + 1)
        if self.counts.dtype != np.int32 or self.counts.shape != expected or (self.counts < 0).any():
            raise ValueError(
                f"counts is {self.counts.dtype} of shape {self.counts.shape}: "
                f"expected int32 of shape {expected}, none negative"
            )

    @classmethod
    def from_logits(
        cls,
        names: Sequence[str],
        logits: Sequence[ArrayLike],
        vessels: Sequence[ArrayLike],
        fovs: Sequence[ArrayLike | None] | None = None,
        thresholds: Iterable[float] = (0.5,),
    ) -> ScoreHistograms:
        """Histograms of the logit maps of a test set.

        Edges are drawn from the pixels inside the FOV of these images (from an even sample of them beyond 16 million),
        see ``histogram_edges``.

        Args:
            names: n names, each once.
            logits: n (H,W) float maps, of any sizes; infinite logits (hard 0 and 1) are allowed. Kept as
                float32.
            vessels: n (H,W) masks.
            fovs: n (H,W) masks, None among them for a whole frame; None for whole frames throughout.
            thresholds: probabilities at which counts must be exact.

        Raises:
            ValueError: sequences of different lengths, bad shapes or types, NaN; the message names the
                argument and the image.
        """
        names = tuple(names)
        fovs = [None] * len(names) if fovs is None else list(fovs)
        for name, values in (("logits", logits), ("vessels", vessels), ("fovs", fovs)):
            if len(values) != len(names):
                raise ValueError(f"{name} has {len(values)} images: expected {len(names)}, one for each of names")
        if not names:
            raise ValueError("names is empty: expected at least one image")
        images = list(zip(names, logits, vessels, fovs, strict=True))
        samples = [_sample(_split(*image)[0], _SAMPLE // len(names)) for image in images]
        background, vessel = map(np.concatenate, zip(*samples, strict=True))
        edges = histogram_edges(vessel, background, thresholds)
        counts = [[[bin_counts(part, edges) for part in region] for region in _split(*image)] for image in images]
        return cls(names, edges, np.array(counts, dtype=np.int32))

    def select(
        self, region: str = "fov", images: str | Iterable[str] | None = None, pooled: bool = True
    ) -> ScoreHistogram:
        """Select the histograms of one region and some images.

        Args:
            region: ``"fov"`` (pixels inside the FOV) or ``"frame"`` (all pixels).
            images: names of the images, or one name; None takes all.
            pooled: True adds the images up; False keeps an axis over images, so that every result has one
                value an image.

        Raises:
            ValueError: an unknown region or image.
        """
        if region not in REGIONS:
            raise ValueError(f'region is {region!r}: expected "fov" or "frame"')
        chosen = self.names if images is None else (images,) if isinstance(images, str) else tuple(images)
        unknown = [name for name in chosen if name not in self.names]
        if unknown:
            raise ValueError(f"images: {unknown[0]!r} is none of {', '.join(self.names)}")
        rows = self.counts[[self.names.index(name) for name in chosen]].astype(np.int64)
        counts = rows[:, 0] if region == "fov" else rows.sum(axis=1)
        if pooled:
            counts = counts.sum(axis=0)
        return ScoreHistogram(self.edges, vessel=counts[..., 1, :], background=counts[..., 0, :], names=chosen)

    def save(self, path: str | PathLike[str]) -> None:
        """Write one compressed .npz; equal histograms give equal bytes (with the same NumPy and zlib)."""
        with open(path, "wb") as file:
            np.savez_compressed(file, names=np.array(self.names, dtype=np.str_), edges=self.edges, counts=self.counts)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> ScoreHistograms:
        """Read what ``save`` wrote; nothing in the file is executed.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a damaged file, or one of another kind; the message names it.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(tuple(map(str, file["names"])), file["edges"], file["counts"])
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: no such file of score histograms") from None
        except Exception as error:  # NumPy and zipfile raise more than a dozen kinds, also for a size beyond memory
            raise ValueError(f"{path} holds no score histograms ({error}): run the experiment again") from None


def _split(name: str, logits: ArrayLike, vessels: ArrayLike, fov: ArrayLike | None) -> list[list[np.ndarray]]:
    """Split the logits of one image into [inside the FOV, outside] x [background, vessel]."""
    scores = as_logits(logits, f"logits of {name}")
    if scores.ndim != 2:
        raise ValueError(f"logits of {name} has shape {scores.shape}: expected (H, W)")
    truth = as_mask(vessels, f"vessels of {name}", scores.shape)
    inside = np.ones(scores.shape, bool) if fov is None else as_mask(fov, f"fov of {name}", scores.shape)
    return [[scores[region & label] for label in (~truth, truth)] for region in (inside, ~inside)]


def _sample(parts: list[np.ndarray], most: int) -> list[np.ndarray]:
    """Take every k-th pixel of each part, about ``most`` in all."""
    stride = 1 + sum(part.size for part in parts) // most
    return [part[::stride] for part in parts]
