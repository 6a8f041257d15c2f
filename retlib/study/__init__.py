"""Everything that makes retlib a study: runs and their records, the scores of records, verdicts, tables and figures.

The names below are imported when they are first used: reading a paper's file needs neither torch nor pandas.
"""

from retlib.lazy import lazy_names

_MODULES = {
    "config": ("NUMERICS", "Recorded", "RunConfig", "ScoringSettings", "Selection"),
    "plan": ("PROFILES",),
    "paper": ("Figure", "OpenPoint", "Paper", "Stated"),
    "printed": ("Printed", "Row", "Table"),
    "claims": ("Claim", "Finding"),
    "study_file": ("ScheduledRun", "StudyFile"),
    "runner": ("load_samples", "run", "weights_path"),
    "records": ("Record", "Store"),
    "notebook": ("in_short", "open_study"),
    "tables": ("style",),
    "verdicts": ("beside_ours", "ledger", "reported"),
    "parameters": ("check_parameters",),
    "results": ("best_profile", "difference", "matrix", "measure", "same_profile", "summarise"),
    "scoring": (
        "BACKGROUND",
        "ERROR_COLOURS",
        "FALSE_POSITIVE",
        "MISSED",
        "OUTSIDE",
        "TRUE_VESSEL",
        "error_map",
        "pick_cases",
    ),
}
_PLACES = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}
__all__ = list(_PLACES)
__getattr__, __dir__ = lazy_names(__name__, _PLACES)
