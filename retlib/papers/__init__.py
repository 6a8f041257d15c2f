"""Papers as data: one YAML a paper says what it reports, what it leaves open, and which runs stand beside it.

Adding a paper is adding a file; nothing here knows any paper. Reading one needs neither torch nor pandas:
those are loaded by :meth:`Paper.runs` and :attr:`Table.reported`.
"""

from __future__ import annotations

from retlib.papers.claims import Claim, Finding
from retlib.papers.loader import list_papers, load_paper
from retlib.papers.paper import Figure, OpenPoint, Paper, Stated
from retlib.papers.plan import PlannedRun
from retlib.papers.tables import Printed, Row, Table

__all__ = [
    "Claim",
    "Figure",
    "Finding",
    "OpenPoint",
    "Paper",
    "PlannedRun",
    "Printed",
    "Row",
    "Stated",
    "Table",
    "list_papers",
    "load_paper",
]
