"""Tables and figures for the notebooks, and the rules by which numbers are compared."""

from __future__ import annotations

from retlib.study.evidence import Evidence
from retlib.study.evidence_tables import comparison, cost_table, verdicts
from retlib.study.evidence_verdicts import judge
from retlib.study.figures import show_cases, show_roc
from retlib.study.notebook import Study, book_records, open_study
from retlib.study.overview import (
    claims,
    count_text,
    inside_fov,
    profiles,
)
from retlib.study.parameters import Parameters, check_parameters
from retlib.study.tables import open_points, stated, style

__all__ = [
    "Evidence",
    "Parameters",
    "Study",
    "book_records",
    "check_parameters",
    "claims",
    "comparison",
    "cost_table",
    "count_text",
    "inside_fov",
    "judge",
    "open_points",
    "open_study",
    "profiles",
    "show_cases",
    "show_roc",
    "stated",
    "style",
    "verdicts",
]
