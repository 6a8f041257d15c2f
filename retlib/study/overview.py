"""Frames and figures that look across the runs of a study: claims, folds, other data sets, curves, cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from retlib.study import figures
from retlib.study.evidence import Evidence
from retlib.study.ledger import claim_lines, outcome
from retlib.study.notebook import Study
from retlib.study.photographs import photograph
from retlib.study.shelf import Shelf
from retlib.study.tables import DASH, profile_text

CORE = ("accuracy", "sensitivity", "specificity", "dice", "iou")
FOV_METRICS = ("auc", "average_precision", "dice", "sensitivity", "specificity", "accuracy", "cldice", "recall_thin")
NO_RECORD = "No record yet: run this notebook with the parameter train='missing'."


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


def cross_dataset(study: Study, names: Sequence[str], metrics: Sequence[str] = ("auc", *CORE)) -> pd.DataFrame:
    """Every run scored on its own test images and on the other data set's."""
    lines = []
    for name in names:
        evidence = study.evidence(name)
        if evidence is None:
            lines.append({"run": name, "tested on": DASH} | dict.fromkeys(metrics, np.nan) | {"profile": DASH})
            continue
        for label in evidence.records[0].content["tests"]:
            line = {"run": name, "tested on": label}
            line |= {metric: evidence.value(metric, label) for metric in metrics}
            lines.append(line | {"profile": profile_text(evidence)})
    return pd.DataFrame(lines).set_index(["run", "tested on"])


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


def branch_row(branch: dict[str, float]) -> dict[str, object]:
    """One line on one ASPP branch, see retlib.models.aspp_branches."""
    return {
        "map": f"{branch['map_height']}x{branch['map_width']}",
        "rate": branch["rate"],
        "taps alive": f"{branch['live_taps']} of 9",
        "share inside the map": branch["inside"],
    }


def show_cases(study: Study, run: str) -> None:
    """Draw the best, median and worst test image of a run; with photographs where this machine has them."""
    evidence = study.evidence(run)
    if evidence is None:
        print(NO_RECORD)
        return
    record = evidence.records[0]
    entry = record.test()
    dice = dict(zip(entry["images"], record.per_image()["dice"], strict=True))
    maps = {case: errors for case, errors in record.error_maps().items() if case != "first"}
    names = {case: entry["cases"][case]["image"] for case in maps}
    titles = {case: f"{case} ({name}), Dice {dice[name]:.3f}" for case, name in names.items()}
    photographs = {titles[case]: photograph(record, name, study.root) for case, name in names.items()}
    known = None if None in photographs.values() else photographs
    figures.case_figure({titles[case]: maps[case] for case in maps}, known)
    plt.show()


def show_roc(study: Study, names: Sequence[str], table: str, controls: Sequence[str] = ()) -> None:
    """Draw pooled ROC curves in two panels: the region of the paper's runs with a table's points, and inside the FOV.

    Args:
        study: the paper and the records.
        names: the runs of the paper.
        table: the table whose rows have operating points.
        controls: runs that were trained inside the FOV alone; they are drawn there and nowhere else.
    """
    region = study.paper.runs(study.parameters.profile)[names[0]].scoring.region
    points = {}
    for index, run in study.paper.table_runs(table):
        printed = study.paper.tables[table].values(index)[study.paper.tables[table].rows[index].dataset]
        points[f"paper: {run}"] = (1 - printed["specificity"].value, printed["sensitivity"].value)
    panels = {}
    for title, where, shown in (
        ("whole frame" if region == "frame" else "inside the FOV", region, names),
        ("inside the FOV", "fov", [*names, *controls]),
    ):
        found = {name: item for name in shown if (item := study.evidence(name)) is not None}
        panels[title] = {
            f"{name} ({profile_text(item, first=True)})": item.records[0].histograms().select(region=where, pooled=True)
            for name, item in found.items()
        }
    if not any(panels.values()):
        print(NO_RECORD)
        return
    figures.roc_figure(panels, {next(iter(panels)): points})
    plt.show()
