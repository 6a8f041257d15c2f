"""Check the numbers of a results table by arithmetic alone.

Every printed number stands for the interval of all numbers that round to it. From the intervals of a row follow, by
exact arithmetic, the share of vessel pixels in the region that was scored, and the range of every score that the others
determine. A row is ``consistent`` when one confusion matrix rounds to it; ``only as a mean over images`` when none
does, but averaging over images may explain the difference; and ``impossible`` when it breaks a bound that is proven for
every average, or lies further off than averaging over images moved the scores in any of our records.
"""

from retlib.lazy import lazy_names

_MODULES = {
    "prevalence": ("implied_prevalence", "Share", "SHARE_PAIRS"),
    "row_audit": ("audit_row", "RowAudit"),
    "table_audit": ("audit_table", "check_one_share", "check_text"),
    "table_file": ("read_table", "TableFile"),
    "published": ("audit_published", "list_published", "Published"),
    "deviations": ("load_background", "find_records", "Background", "Deviation", "Tolerance"),
    "verdicts": ("Check", "BASES", "CONSISTENT", "CUT_OFF", "DOUBT", "IMPOSSIBLE", "ONLY_MEAN", "VERDICTS"),
    "intervals": ("read_number", "Exact", "Interval"),
    "matrices": ("Matrices", "SCORES", "SHORT"),
    "bounds": ("dice_of_iou", "dice_of_precision", "iou_of_precision", "rates_can_hold"),
}
_PLACES = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}
__all__ = list(_PLACES)
__getattr__, __dir__ = lazy_names(__name__, _PLACES)
