"""Metrics of vessel segmentation: pixel counts, score curves and the shape of the vessel tree.

``evaluate`` scores probability maps of one image or of a test set. ``ScoreHistograms`` is what a run stores,
small enough to commit, and gives back every curve, threshold and calibration figure. The functions of
``topology`` compare two binary masks; ``morphology`` measures one. NumPy, SciPy and scikit-image only.
"""

from retlib.metrics.counts import COUNT_METRICS, Confusion, confusion
from retlib.metrics.curves import Calibration, ScoreHistogram
from retlib.metrics.edges import histogram_edges, threshold_to_logit
from retlib.metrics.histograms import ScoreHistograms
from retlib.metrics.scores import METRICS, evaluate
from retlib.metrics.topology import (
    SkeletonOverlap,
    betti_errors,
    betti_numbers,
    cal,
    cldice,
    skeleton,
    skeleton_overlap,
    skeleton_recall,
    vessel_width_counts,
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
    "Calibration",
    "histogram_edges",
    "threshold_to_logit",
    "SkeletonOverlap",
    "skeleton",
    "skeleton_overlap",
    "skeleton_recall",
    "cldice",
    "betti_numbers",
    "betti_errors",
    "cal",
    "vessel_width_counts",
    "vessel_width_recall",
]
