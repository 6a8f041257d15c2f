"""What going from one run to another brings: reported and measured, with its interval and its spread over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from retlib.study.evidence import RESAMPLES, Evidence, paired_difference, seed_differences
from retlib.study.evidence_tables import profile_text
from retlib.study.findings import signed
from retlib.study.notebook import Study
from retlib.study.tables import DASH

WIDTHS = {"recall_thin": "thin-vessel recall", "recall_medium": "2 to 4 px", "recall_wide": "over 4 px"}


def gains(study: Study, steps: Mapping[str, tuple[str, str]], metrics: Mapping[str, str]) -> pd.DataFrame:
    """A line a step and metric: reported and measured difference, paired interval over test images, spread over seeds.

    Args:
        study: the paper and the records; a step is measured in the best profile in which both runs have records.
        steps: title -> (run before, run after).
        metrics: retlib's name -> title; metrics of pixel counts, which have an interval.

    Returns:
        Indexed by step and metric. Both runs of a step are compared seed by seed: ``over seeds`` holds the lowest and
        the highest difference where several seeds of both have records, and is a dash where one has.
    """
    lines = []
    for title, (start, end) in steps.items():
        before, after = study.pair(start, end) or (None, None)
        for metric, name in metrics.items():
            printed = study.paper.printed(start, metric), study.paper.printed(end, metric)
            smoke = study.parameters.profile == "smoke"  # phantoms say nothing of the paper
            reported = math.nan if None in printed or smoke else printed[1].value - printed[0].value
            line: dict[str, object] = {"step": title, "metric": name, "reported": reported, "measured": math.nan}
            line |= {"95 % interval": None, "over seeds": DASH, "profile": DASH}
            if before is not None and after is not None and not _undefined(metric, before, after):
                difference, low, high = paired_difference(before, after, metric)
                line |= {"measured": difference, "95 % interval": (low, high), "profile": profile_text(after)}
                if len(after.records) > 1:
                    each = seed_differences(before, after, metric)
                    line["over seeds"] = f"{signed(min(each))} to {signed(max(each))}"
            lines.append(line)
    return pd.DataFrame(lines).set_index(["step", "metric"])


def fine_structure(study: Study, reference: str, runs: Sequence[str]) -> pd.DataFrame:
    """Recall of centre lines by vessel width, clDice and the error in the number of pieces, inside the FOV.

    Args:
        study: the paper and the records; only those of the notebook's own profile are compared.
        reference: the run whose thin-vessel recall is taken off the others'.
        runs: a line each.

    Returns:
        Indexed by run: means over test images and seeds; ``difference`` is of thin-vessel recall, image by image, with
        its 95 % bootstrap interval over the images where both are defined.
    """
    base = study.evidence(reference, best=False)
    lines = []
    for name in runs:
        found = study.evidence(name, best=False)
        line: dict[str, object] = {"run": name}
        for metric, title in {**WIDTHS, "cldice": "clDice", "betti0_error": "Betti-0 error"}.items():
            line[title] = math.nan if found is None else found.value(metric, region="fov", average="image")
            if metric == "recall_thin":
                difference, interval = math.nan, None
                if name != reference and found is not None and base is not None:
                    difference, interval = _per_image_difference(base, found, metric)
                line |= {"difference": difference, "95 % interval": interval}
        line["profile"] = DASH if found is None else profile_text(found)
        lines.append(line)
    return pd.DataFrame(lines).set_index("run")


def _per_image_difference(start: Evidence, end: Evidence, metric: str) -> tuple[float, tuple[float, float] | None]:
    """Mean difference over images inside the FOV, and its interval; seeds are averaged first."""
    if start.records[0].test()["images"] != end.records[0].test()["images"]:
        raise ValueError(f"{start.run} and {end.run} were not scored on the same images: they cannot be paired")
    per_run = [np.mean([r.per_image(region="fov")[metric] for r in item.records], axis=0) for item in (start, end)]
    differences = per_run[1] - per_run[0]
    differences = differences[~np.isnan(differences)]
    if not differences.size:
        return math.nan, None
    drawn = np.random.default_rng(20041).integers(differences.size, size=(RESAMPLES, differences.size))
    low, high = np.percentile(differences[drawn].mean(axis=1), [2.5, 97.5])
    return float(differences.mean()), (float(low), float(high))


def _undefined(metric: str, *evidence: Evidence) -> bool:
    """Whether a run has no value, such as the precision of one that predicts no vessel."""
    return any(math.isnan(item.value(metric)) for item in evidence)
