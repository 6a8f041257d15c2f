"""Runs and their records: RunConfig (validated, hashed) -> run -> Record, kept in a Store."""

from __future__ import annotations

from retlib.experiments.config import NUMERICS, PROFILES, Recorded, RunConfig, ScoringSettings, Selection
from retlib.experiments.ensembles import MeanConfig, run_mean
from retlib.experiments.rehearsal import rehearse
from retlib.experiments.runner import load_samples, load_weights, pick_device, run, run_all, weights_path
from retlib.experiments.scoring import (
    BACKGROUND,
    ERROR_COLOURS,
    FALSE_ALARM,
    MISSED,
    OUTSIDE,
    TRUE_VESSEL,
    error_map,
    pick_cases,
)
from retlib.experiments.store import Record, Store

__all__ = [
    "BACKGROUND",
    "ERROR_COLOURS",
    "FALSE_ALARM",
    "MISSED",
    "NUMERICS",
    "OUTSIDE",
    "PROFILES",
    "TRUE_VESSEL",
    "MeanConfig",
    "Record",
    "Recorded",
    "RunConfig",
    "ScoringSettings",
    "Selection",
    "Store",
    "error_map",
    "load_samples",
    "load_weights",
    "pick_cases",
    "pick_device",
    "rehearse",
    "run",
    "run_all",
    "run_mean",
    "weights_path",
]
