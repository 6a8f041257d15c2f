"""Tables and figures for the notebooks, and the rules by which numbers are compared."""

from __future__ import annotations

from retlib.report.distribution import (
    held_out,
    settled_sentences,
    show_distribution,
    show_losses,
    show_overlay,
    where_it_falls,
)
from retlib.report.nested_grid import grid_figure, grid_nodes
from retlib.study.evidence import Evidence
from retlib.study.evidence_tables import comparison, cost_table, verdicts
from retlib.study.evidence_verdicts import judge
from retlib.study.figures import show_cases, show_roc
from retlib.study.ledger import all_verdicts, ledger_lines, verdict_counts
from retlib.study.notebook import Study, book_records, open_study
from retlib.study.overview import (
    claims,
    count_text,
    folds,
    inside_fov,
    profiles,
)
from retlib.study.parameters import Parameters, check_parameters
from retlib.study.tables import open_points, stated, style

__all__ = [
    "Evidence",
    "Parameters",
    "Study",
    "all_verdicts",
    "book_records",
    "check_parameters",
    "claims",
    "comparison",
    "cost_table",
    "count_text",
    "folds",
    "grid_figure",
    "grid_nodes",
    "held_out",
    "inside_fov",
    "judge",
    "ledger_lines",
    "open_points",
    "open_study",
    "profiles",
    "settled_sentences",
    "show_cases",
    "show_distribution",
    "show_losses",
    "show_overlay",
    "show_roc",
    "stated",
    "style",
    "verdict_counts",
    "verdicts",
    "where_it_falls",
]
