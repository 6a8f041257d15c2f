"""Frames and figures that look across the runs of a study: claims, folds, other data sets, curves, cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from retlib.study.evidence import Evidence
from retlib.study.evidence_tables import profile_text
from retlib.study.ledger import claim_lines, outcome
from retlib.study.notebook import Study
from retlib.study.shelf import Shelf
from retlib.study.tables import DASH

CORE = ("accuracy", "sensitivity", "specificity", "dice", "iou")
FOV_METRICS = ("auc", "average_precision", "dice", "sensitivity", "specificity", "accuracy", "cldice", "recall_thin")


def profiles(evidence: Iterable[Evidence | None]) -> str:
    """Which profiles some evidence is of: ``"lite: 8"``."""
    found = [item.profile for item in evidence if item is not None]
    return ", ".join(f"{name}: {found.count(name)}" for name in ("paper", "lite", "smoke") if name in found) or "none"


def count_text(number: int) -> str:
    """A count for people: 2756121 as ``2.76 million``."""
    return f"{number / 1e6:.2f} million" if number >= 1e6 else f"{number:,}".replace(",", " ")


def claims(study: Study) -> pd.DataFrame:
    """The paper's claims: what its own tables say of each, what our records say, and the verdicts of the ledger.

    The note says why a claim is decided as it is, or what to look at where nothing decides it.
    """
    shelf = Shelf(study.paper, study.store, study.parameters)
    lines = []
    for claim in study.paper.claims:
        own = study.paper.test_claim(claim)
        found = list(claim_lines(shelf, claim))
        ours = [f"{line.measured} ({line.profile})" for line in found if isinstance(line.measured, str)]
        told = Counter(line.verdict for line in found if line.verdict is not None)
        notes = [*(line.note for line in found), claim.note]
        lines.append(
            {
                "where": claim.where,
                "claim": claim.statement,
                "the paper's tables": outcome(finding.holds for finding in own) or DASH,
                "our records": "; ".join(ours).replace(f" ({DASH})", "") if claim.compares and ours else DASH,
                "verdict": ", ".join(f"{name} ({n})" if len(told) > 1 else name for name, n in told.items()) or DASH,
                "note": " ".join(note for note in notes if note) or None,
            }
        )
    return pd.DataFrame(lines)


def folds(study: Study, names: Sequence[str]) -> pd.DataFrame:
    """Mean and standard deviation over the folds of each data set, as far as they have records."""
    plan = study.paper.plan(study.parameters.profile)
    lines = []
    for dataset in dict.fromkeys(plan[name].dataset for name in names):
        members = [name for name in names if plan[name].dataset == dataset]
        found = [item for item in map(study.evidence, members) if item is not None]
        line: dict[str, object] = {"data set": dataset, "folds with a record": f"{len(found)} of {len(members)}"}
        for metric in CORE:
            values = [item.value(metric) for item in found]
            line[metric] = f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else None
        line["profile"] = profile_text(found[0]) if found else DASH
        lines.append(line)
    return pd.DataFrame(lines)


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
