"""What a table's own numbers say about how they were computed, and whether they can stand together.

Every printed number is an interval, of all that rounds to it. From these follow, by exact arithmetic, the share of
vessel pixels in the region that was scored, and every score that the others fix. A row is ``consistent`` when one
confusion matrix rounds to it; ``only as a mean over images`` when none does, but averaging over images may have moved
it there; and ``impossible`` when it breaks a bound that is proven for every average, or lies further off than averaging
went in any of our records.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from retlib.audit.background import Background, Departure, Peers, Tolerance, TrueShares, find_records, load_background
from retlib.audit.bounds import dice_of_iou, dice_of_precision, iou_of_precision, rates_can_hold
from retlib.audit.groups import check_one_share, check_text
from retlib.audit.intervals import Exact, Interval, read_number
from retlib.audit.matrices import SCORES, Matrices
from retlib.audit.prevalence import SHARE_PAIRS, implied_prevalence
from retlib.audit.rows import RowAudit, audit_row
from retlib.audit.shares import Share
from retlib.audit.verdicts import BASES, CONSISTENT, IMPOSSIBLE, ONLY_MEAN, VERDICTS, Check

if TYPE_CHECKING:
    from retlib.audit.papers import audit_paper
    from retlib.audit.published import Published, audit_published, list_published
    from retlib.audit.table_file import TableFile, audit_table, read_table

__all__ = [
    "implied_prevalence",
    "audit_row",
    "audit_paper",
    "audit_published",
    "audit_table",
    "check_one_share",
    "check_text",
    "read_table",
    "list_published",
    "load_background",
    "find_records",
    "read_number",
    "Background",
    "Check",
    "Departure",
    "Exact",
    "Interval",
    "Matrices",
    "Peers",
    "Published",
    "RowAudit",
    "Share",
    "TableFile",
    "Tolerance",
    "TrueShares",
    "dice_of_iou",
    "dice_of_precision",
    "iou_of_precision",
    "rates_can_hold",
    "BASES",
    "CONSISTENT",
    "IMPOSSIBLE",
    "ONLY_MEAN",
    "SCORES",
    "SHARE_PAIRS",
    "VERDICTS",
]

# Reading papers loads the metrics of retlib, which take a second; arithmetic on a row should not wait for them.
_LATER = {
    "audit_paper": "papers",
    "audit_published": "published",
    "list_published": "published",
    "Published": "published",
    "audit_table": "table_file",
    "read_table": "table_file",
    "TableFile": "table_file",
}


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(import_module(f"retlib.audit.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
