"""Tables and figures for the notebooks, and the rules by which numbers are compared."""

from __future__ import annotations

from retlib.report.evidence import Evidence, verdict
from retlib.report.overview import (
    branch_row,
    claims,
    count_text,
    cross_dataset,
    folds,
    inside_fov,
    profiles,
    show_cases,
    show_roc,
)
from retlib.report.parameters import Parameters, check_parameters
from retlib.report.study import Study, book_records, open_study
from retlib.report.tables import comparison, open_points, stated, style, verdicts, with_our_row

__all__ = [
    "Evidence",
    "Parameters",
    "Study",
    "book_records",
    "branch_row",
    "check_parameters",
    "claims",
    "comparison",
    "count_text",
    "cross_dataset",
    "folds",
    "inside_fov",
    "open_points",
    "open_study",
    "profiles",
    "show_cases",
    "show_roc",
    "stated",
    "style",
    "verdict",
    "verdicts",
    "with_our_row",
]
