"""Metrics of vessel segmentation: pixel counts, score curves and the shape of the vessel tree.

``evaluate`` scores probability maps of one image or of a test set. ``ScoreHistograms`` is what a run stores,
small enough to commit, and gives back every curve, threshold and calibration figure. The functions of
``topology`` compare two binary masks; ``morphology`` measures one. NumPy, SciPy and scikit-image only.
"""

from retlib.metrics.counts import COUNT_METRICS, Confusion, confusion
from retlib.metrics.curves import ScoreHistogram
from retlib.metrics.histograms import ScoreHistograms
from retlib.metrics.scores import METRICS, evaluate
from retlib.metrics.topology import (
    betti_errors,
    betti_numbers,
    cldice,
    skeleton_overlap,
    vessel_width_recall,
)

__all__ = [
    "METRICS",
    "COUNT_METRICS",
    "evaluate",
    "Confusion",
    "confusion",
    "ScoreHistograms",
    "ScoreHistogram",
    "skeleton_overlap",
    "cldice",
    "betti_numbers",
    "betti_errors",
    "vessel_width_recall",
]
