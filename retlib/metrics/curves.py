"""Compute curves, areas, thresholds and calibration from histograms of scores, pooled or image by image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from retlib.metrics.checks import as_threshold
from retlib.metrics.counts import Confusion, ratio
from retlib.metrics.edges import threshold_to_logit

_TUNABLE = ("accuracy", "dice", "iou", "mcc")


@dataclass(frozen=True)
class Calibration:
    """Reliability diagram: the share of vessel pixels by predicted probability.

    Attributes:
        borders: (bins+1,) borders of the bins of predicted probability, from 0 to 1.
        predicted: (..., bins) mean predicted probability of the pixels in a bin; NaN in an empty one.
        observed: (..., bins) share of vessel pixels among them; NaN in an empty one.
        pixels: (..., bins) number of pixels.
        ece: expected calibration error, the mean of |predicted - observed| over pixels; NaN without a pixel.
    """

    borders: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray
    pixels: np.ndarray
    ece: float | np.ndarray


@dataclass(frozen=True)
class ScoreHistogram:
    """Histograms of vessel and background scores, of pooled pixels or of each image.

    ``vessel`` and ``background`` have shape (E+1,) when pooled, else (images, E+1); every result has the same
    leading shape (a float when pooled). Bin 0 lies below ``edges[0]``, bin i holds edges[i-1] <= logit <
    edges[i], bin E everything from ``edges[-1]`` up.

    Attributes:
        edges: (E,) float32 logits, strictly increasing.
        vessel: int64 counts of vessel pixels.
        background: int64 counts of background pixels.
        names: the images, in order.
    """

    edges: np.ndarray
    vessel: np.ndarray
    background: np.ndarray
    names: tuple[str, ...]

    @property
    def thresholds(self) -> np.ndarray:
        """(E,) float64: the edges as probabilities, the thresholds at which counts are exact."""
        return expit(self.edges.astype(np.float64))

    def roc_curve(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """False positive rate, true positive rate and threshold, from the highest threshold down.

        Every point is an exact point of the ROC curve; only what lies between two of them is interpolated.

        Returns:
            fpr and tpr of shape (..., E+2), rising from 0 to 1 (NaN where the class is absent), and the
            thresholds (E+2,): inf (nothing predicted), the edges as probabilities, 0 (everything predicted).
        """
        true, false = self._cumulative()
        return ratio(false, false[..., -1:]), ratio(true, true[..., -1:]), self._falling_thresholds()

    def pr_curve(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Precision, recall and threshold, from the highest threshold down.

        Returns:
            precision and recall of shape (..., E+2) and the thresholds (E+2,), as in ``roc_curve``. Where
            nothing is predicted precision is put to 1, as scikit-learn closes the curve. Recall is NaN
            without a vessel pixel.
        """
        true, false = self._cumulative()
        precision = ratio(true, true + false)
        return (
            np.where(true + false > 0, precision, 1.0),
            ratio(true, true[..., -1:]),
            self._falling_thresholds(),
        )

    def auc(self) -> float | np.ndarray:
        """Compute the area under the ROC curve, by the trapezoidal rule; NaN if a class is absent.

        With edges at 512 quantiles a class the error is below 1e-3 on the pooled pixels that the edges were
        drawn from, whatever their scores (it would take a perfect order inside every bin), and of the order
        of 1e-6 for the scores of a network.
        """
        true, false = self._cumulative()
        doubled = np.sum(np.diff(false, axis=-1) * (true[..., 1:] + true[..., :-1]), axis=-1)
        return ratio(doubled, 2.0 * true[..., -1] * false[..., -1])

    def average_precision(self) -> float | np.ndarray:
        """Compute average precision as scikit-learn defines it; NaN without a vessel pixel.

        The order of the pixels inside a bin is unknown: the expected value over all orders is taken. A bin
        that holds a single value (its borders are neighbouring floats) is one step, as a tie is.
        """
        true, false = self._cumulative()
        found, above = true[..., :-1].astype(float), (true + false)[..., :-1].astype(float)
        vessel, other = np.diff(true, axis=-1), np.diff(false, axis=-1)
        # The i-th of p vessel pixels among n background pixels has n i / (p + 1) of them before it. Its
        # precision is (found + i) / (above + s i); the sum over i = 1..p is taken as the integral from 1/2 to
        # p + 1/2.
        slope = 1 + other / (vessel + 1)
        rise = np.log((above + slope * (vessel + 0.5)) / (above + slope * 0.5))
        spread = vessel / slope + (found - above / slope) / slope * rise
        step = vessel * ratio(true[..., 1:], (true + false)[..., 1:])
        gain = np.where(self._single()[::-1], step, spread)
        return ratio(np.sum(np.where(vessel > 0, gain, 0), axis=-1), true[..., -1])

    def counts(self, threshold: float) -> Confusion:
        """Count the pixels when every probability of at least the threshold is called vessel.

        Args:
            threshold: one of ``thresholds`` (0.5 always is, and those that were asked for when the edges were
                made), or 0, which calls everything vessel.

        Raises:
            ValueError: a threshold outside [0, 1), or between two edges, where counts would not be exact.
        """
        first = self._first_bin(threshold)
        true, false = (counts[..., first:].sum(-1) for counts in (self.vessel, self.background))
        return Confusion(true, false, self.vessel.sum(-1) - true, self.background.sum(-1) - false)

    def nearest_threshold(self, threshold: float) -> float:
        """Return the nearest of ``thresholds``, where counts are exact, as a probability."""
        return float(self.thresholds[np.argmin(np.abs(self.thresholds - as_threshold(threshold)))])

    def metrics(self, threshold: float) -> dict[str, float | np.ndarray]:
        """Compute the scores of ``evaluate`` except clDice, which needs the masks; thresholds as for ``counts``."""
        scores = self.counts(threshold).scores()
        return scores | {"auc": self.auc(), "average_precision": self.average_precision()}

    def best_threshold(self, metric: str = "dice") -> float:
        """Find the threshold with the highest score: of the pooled pixels, or the mean over images if not pooled.

        Of equally good thresholds the one nearest to 0.5 is taken. Choose on training or validation images
        only.

        Args:
            metric: accuracy, dice, iou or mcc.

        Returns:
            A probability inside (0, 1), one of ``thresholds``.

        Raises:
            ValueError: another metric, or one that is undefined at every threshold.
        """
        if metric not in _TUNABLE:
            raise ValueError(f"metric is {metric!r}: expected one of {', '.join(_TUNABLE)}")
        true, false = self._cumulative()
        rising = slice(-2, 0, -1)  # from the lowest edge to the highest
        values = getattr(self._confusion(true[..., rising], false[..., rising]), metric)
        values = values.reshape(-1, self.edges.size)
        defined = ~np.isnan(values)
        mean = ratio(np.where(defined, values, 0).sum(0), defined.sum(0))
        chances = self.thresholds
        mean[(chances <= 0) | (chances >= 1) | np.isnan(mean)] = -np.inf
        if np.isneginf(mean).all():
            raise ValueError(
                f"{metric} is undefined at every threshold: the images do not hold both vessel and background"
            )
        best = np.flatnonzero(mean == mean.max())
        return float(chances[best[np.argmin(np.abs(chances[best] - 0.5))]])

    def calibration(self, bins: int = 10) -> Calibration:
        """Compute the reliability curve over equally wide bins of the predicted probability, and its expected error.

        Borders of the bins are exact for 2, 4, 5, 10 and 20 bins; for another number a histogram bin that
        lies across a border goes to where its centre lies. The mean predicted probability takes the pixels of
        a histogram bin as evenly spread over its logits; the error is at most half the bin's width in
        probability, and about 1e-4 in all for the default edges.

        Args:
            bins: number of bins, at least 1.
        """
        if bins < 1:
            raise ValueError(f"bins is {bins}: expected at least 1")
        centre = self._centres()
        # 1e-9 upwards: a border such as 0.3 must not fall below the histogram edge made of the same number.
        place = np.minimum((centre * bins + 1e-9).astype(int), bins - 1)
        member = (place[:, None] == np.arange(bins)).astype(float)
        pixels = (self.vessel + self.background) @ member
        predicted = ratio(((self.vessel + self.background) * centre) @ member, pixels)
        observed = ratio(self.vessel @ member, pixels)
        gap = np.where(pixels > 0, pixels * np.abs(predicted - observed), 0)
        ece = ratio(gap.sum(-1), pixels.sum(-1))
        return Calibration(np.linspace(0, 1, bins + 1), predicted, observed, pixels.astype(np.int64), ece)

    def _cumulative(self) -> tuple[np.ndarray, np.ndarray]:
        """(..., E+2) true and false positives at falling thresholds, from nothing predicted to everything."""
        empty = np.zeros((*self.vessel.shape[:-1], 1), np.int64)
        return tuple(
            np.concatenate((empty, np.cumsum(counts[..., ::-1], axis=-1, dtype=np.int64)), axis=-1)
            for counts in (self.vessel, self.background)
        )

    def _falling_thresholds(self) -> np.ndarray:
        return np.concatenate(([np.inf], self.thresholds[::-1], [0.0]))

    def _confusion(self, true: np.ndarray, false: np.ndarray) -> Confusion:
        """Complete the counts from (..., k) true and false positives."""
        vessel, background = (counts.sum(-1, keepdims=True) for counts in (self.vessel, self.background))
        return Confusion(true, false, vessel - true, background - false)

    def _first_bin(self, threshold: float) -> int:
        wanted = as_threshold(threshold)
        if wanted == 0:
            return 0
        chances = self.thresholds
        at = int(np.searchsorted(chances, wanted))
        if at < chances.size and chances[at] == wanted:
            return at + 1
        if wanted < 1:
            # Where the threshold is no edge's own probability, or older records hold its rounded logit.
            edge = threshold_to_logit(wanted)
            near = np.nextafter(edge, np.array([-np.inf, edge, np.inf], np.float32))
            found = np.flatnonzero(np.isin(self.edges, near))
            if found.size:
                return int(found[np.argmin(np.abs(self.edges[found] - edge))]) + 1
        below = chances[at - 1] if at else 0.0
        above = chances[at] if at < chances.size else 1.0
        raise ValueError(
            f"threshold is {wanted!r}, between two edges of this histogram: {float(below)!r} and "
            f"{float(above)!r}. Choose one of them (nearest_threshold), or name it when the run is made"
        )

    def _single(self) -> np.ndarray:
        """(E+1,) True for bins that can hold one float32 value only."""
        with np.errstate(over="ignore"):  # beyond the largest number lies infinity
            beyond = np.nextafter(self.edges, np.float32(np.inf))
        return np.concatenate(([False], np.append(self.edges[1:], np.float32(np.inf)) == beyond))

    def _centres(self) -> np.ndarray:
        """(E+1,) mean probability of bins with evenly spread logits (Simpson); half way to 0, 1 outside."""
        low, high = self.edges[:-1].astype(float), self.edges[1:].astype(float)
        inner = (expit(low) + 4 * expit(low / 2 + high / 2) + expit(high)) / 6
        chances = self.thresholds
        return np.concatenate(([chances[0] / 2], inner, [(1 + chances[-1]) / 2]))
