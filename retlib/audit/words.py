"""Short words for scores and for what a verdict leans on."""

from __future__ import annotations

from collections.abc import Iterable

from retlib.audit.background import ALL, Tolerance

SHORT = {
    "accuracy": "Acc",
    "sensitivity": "Se",
    "specificity": "Sp",
    "precision": "P",
    "dice": "Dice",
    "iou": "IoU",
}


def name_scores(metrics: Iterable[str]) -> str:
    """``Acc, Se and Sp``."""
    shorts = [SHORT[name] for name in metrics]
    return shorts[0] if len(shorts) == 1 else ", ".join(shorts[:-1]) + " and " + shorts[-1]


def tell_tolerance(what: str, tolerance: Tolerance) -> str:
    """How far averaging moved something in our records."""
    from retlib.data.registry import COLLECTIONS

    where = tolerance.where if tolerance.where == ALL else COLLECTIONS[tolerance.where].title
    tests = "1 scoring" if tolerance.tests == 1 else f"{tolerance.tests} scorings"
    return f"averaging moved {what} by {tolerance.value:.4f} at most in {tests} on {where}"
