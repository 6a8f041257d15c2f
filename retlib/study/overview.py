"""Frames that look across the runs of a study: claims, scores inside the FOV."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from retlib.study.evidence import Evidence
from retlib.study.evidence_tables import profile_text
from retlib.study.notebook import Study
from retlib.study.tables import DASH, claims_table
from retlib.study.verdicts import ledger

FOV_METRICS = ("auc", "average_precision", "dice", "sensitivity", "specificity", "accuracy", "cldice", "recall_thin")


def profiles(evidence: Iterable[Evidence | None]) -> str:
    """Which profiles some evidence is of: ``"lite: 8"``."""
    found = [item.profile for item in evidence if item is not None]
    return ", ".join(f"{name}: {found.count(name)}" for name in ("paper", "lite", "smoke") if name in found) or "none"


def count_text(number: int) -> str:
    """A count for people: 2756121 as ``2.76 million``."""
    return f"{number / 1e6:.2f} million" if number >= 1e6 else f"{number:,}".replace(",", " ")


def claims(study: Study) -> pd.DataFrame:
    """List the paper's claims with the verdicts, see :func:`retlib.study.tables.claims_table`."""
    return claims_table(ledger(study), study.paper)


def inside_fov(study: Study, names: Sequence[str], metrics: Sequence[str] = FOV_METRICS) -> pd.DataFrame:
    """Every run on its own test images, inside the FOV, mean over images."""
    lines = []
    for name in names:
        evidence = study.evidence(name)
        values = {
            metric: np.nan if evidence is None else evidence.value(metric, region="fov", average="image")
            for metric in metrics
        }
        lines.append({"run": name} | values | {"profile": DASH if evidence is None else profile_text(evidence)})
    return pd.DataFrame(lines).set_index("run")
