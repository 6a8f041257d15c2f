"""The collapse in the R2U-Net report's table, taken apart: what each factor does alone, what text and table say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from retlib.data.registry import COLLECTIONS, get_collection
from retlib.report.datasets import load_measurements
from retlib.report.epochs import dips, measured_epochs, outcome, reported_epochs, same_training, typical_share
from retlib.report.evidence import Evidence
from retlib.report.study import Study
from retlib.report.tables import DASH, profile_text


def diagnosis(study: Study, names: Sequence[str]) -> pd.DataFrame:
    """One line a run: its factor, where Dice and accuracy start, peak and end in validation, and the outcome.

    With several seeds the numbers are those of the first and the outcome is each seed's.
    """
    plan = study.paper.plan(study.parameters.profile)
    lines = []
    for name in names:
        line: dict[str, object] = {"run": name, "what differs": plan[name].about}
        evidence = study.evidence(name, best=False)
        if evidence is None:
            empty = dict.fromkeys(
                ("highest Dice", "last Dice", "accuracy then", "last accuracy", "background", "last training Dice"),
                math.nan,
            )
            lines.append(line | {"epochs": None} | empty | {"dips": None, "outcome": None, "profile": DASH})
            continue
        frame, training = (measured_epochs(evidence.records[0], part) for part in ("validation", "train"))
        best = frame["dice"].fillna(0.0).idxmax()
        lines.append(
            line
            | {
                "epochs": str(len(frame)),
                "highest Dice": frame["dice"][best],
                "last Dice": frame["dice"].iloc[-1],
                "accuracy then": frame["accuracy"][best],
                "last accuracy": frame["accuracy"].iloc[-1],
                "background": 1 - typical_share(frame),
                "last training Dice": training["dice"].iloc[-1],
                "dips": str(dips(frame)),
                "outcome": "; ".join(outcomes(evidence)),
                "profile": profile_text(evidence, first=True),
            }
        )
    return pd.DataFrame(lines).set_index("run")


def outcomes(evidence: Evidence) -> list[str]:
    """The outcome of each seed."""
    return [outcome(measured_epochs(record)) for record in evidence.records]


def known_shares(study: Study, number: str, run: str) -> pd.DataFrame:
    """Vessel shares to hold the implied ones against, from committed measurements and from a run's record.

    Args:
        study: the paper and the records.
        number: the table over epochs.
        run: a run whose test images were cropped as the report says.
    """
    lines = [
        {
            "pixels": "Table 1, implied by its epochs (median)",
            "share": typical_share(reported_epochs(study.paper, number)),
        }
    ]
    # Phantoms say nothing of the report's pixels, so theirs are not put beside them.
    evidence = None if study.parameters.profile == "smoke" else study.evidence(run)
    ours = math.nan if evidence is None else typical_share(measured_epochs(evidence.records[0]))
    lines.append({"pixels": "our validation patches, implied by our epochs", "share": ours})
    images = load_measurements(study.store.path / "datasets.json").get("drive", {}).get("images", {})
    training = [row for name, row in images.items() if name.endswith("training")]
    fov = np.array([row["fov_share"] for row in training])
    inside = np.array([row["vessels_in_fov"] for row in training])
    share = float((fov * inside).sum() / fov.sum()) if training else math.nan
    lines.append({"pixels": "DRIVE's training photographs, inside the field of view", "share": share})
    # The crop cuts rows that lie outside the field of view, so the vessels stay and the pixels become fewer.
    drive, crop = get_collection("drive"), study.paper.runs("paper")[run].inputs.crop
    whole = np.mean([row["vessels_in_frame"] for row in training]) if training else math.nan
    cut = drive.height * drive.width / (crop[0] * crop[1])
    lines.append({"pixels": "DRIVE's training photographs, whole crop", "share": float(whole * cut)})
    for region, title in (("fov", "inside the field of view"), ("frame", "whole crop")):
        share = math.nan
        if evidence is not None:
            counts = evidence.records[0].histograms().select(region=region, pooled=True).counts(0.5)
            share = float(counts.prevalence)
        lines.append({"pixels": f"our test images, {title}", "share": share})
    return pd.DataFrame(lines)


def text_checks(frame: pd.DataFrame) -> pd.DataFrame:
    """What a text says of a table over epochs, and what the table says itself; every number is computed from it."""
    best, share = frame["loss"].idxmin(), typical_share(frame)
    empty, full = 1 - share, 2 * share / (1 + share)
    after = frame.loc[best:, "loss"]
    rises = sum(later > earlier for earlier, later in pairwise(after))
    last = frame.index[-1]
    above_empty = [epoch for epoch in frame.index if frame["accuracy"][epoch] > empty]
    above_full = [epoch for epoch in frame.index if frame["dice"][epoch] > full]
    rows = {
        f"Epoch {best} is the best": f"the lowest loss is at epoch {best}, the highest Dice at epoch "
        f"{frame['dice'].idxmax()}",
        f"Meaningful features at epoch {best}": f"accuracy {frame['accuracy'][best]:.4f}, of an empty mask "
        f"{empty:.4f}; Dice {frame['dice'][best]:.4f}, of a full mask {full:.4f}",
        f"The loss rises steadily after epoch {best}": f"it rises in {rises} of {len(after) - 1} steps",
        "Accuracy improves by background": f"the last accuracy is {frame['accuracy'][last]:.4f}, of an empty mask "
        f"{empty:.4f}; sensitivity {frame['sensitivity'][last]:.4f}",
        f"Stopped at epoch {last}": f"{last - best} epochs after the lowest loss",
        "The model performed reasonably well": f"above an empty mask's accuracy in {_listed(above_empty)}; above a "
        f"full mask's Dice in {_listed(above_full)}",
    }
    return pd.DataFrame({"the text": rows.keys(), "its table": rows.values()})


def _listed(epochs: Sequence[int]) -> str:
    return "no epoch" if not epochs else f"epoch {', '.join(map(str, epochs))}"


def fact_checks(study: Study) -> pd.DataFrame:
    """What the report says of data sets, and what was measured on their files (``datasets.json`` of the records)."""
    images = load_measurements(study.store.path / "datasets.json").get("drive", {}).get("images", {})
    drive = COLLECTIONS["drive"]
    pixels = drive.height * drive.width
    diameters = [2 * math.sqrt(row["fov_share"] * pixels / math.pi) for row in images.values()]
    second = [name for name in drive.names if "second_observer" in drive.files(name)]
    counts = [f"{COLLECTIONS[name].title} {len(COLLECTIONS[name].names)}" for name in ("stare", "chase_db1", "drive")]
    found = {
        "fov-diameter": f"a disc of the masks' mean area is {np.mean(diameters):.1f} pixels across"
        if diameters
        else DASH,
        "two-observers": f"{len(second)} of {len(drive.names)} photographs have a second observer",
        "larger-data-sets": f"photographs: {', '.join(counts)}",
    }
    statements = [study.paper.claim(identity).statement for identity in found]
    return pd.DataFrame({"the text": statements, "the files": found.values()})


def findings(study: Study, number: str, stated: str, factors: Sequence[str], controls: Sequence[str]) -> list[str]:
    """What the records say, as a list in Markdown; each number is looked up and each judgement computed.

    Args:
        study: the paper and the records.
        number: the table over epochs.
        stated: the run as the report states it.
        factors: runs that differ from it in one thing.
        controls: the same network trained properly, then others by that recipe.
    """
    printed = reported_epochs(study.paper, number)
    share = typical_share(printed)
    full = 2 * share / (1 + share)
    reached = f"{int((printed['dice'] > full).sum())} of {len(printed)} epochs"
    lines = [
        f"- The report's table {outcome(printed)}: Dice from {printed['dice'].iloc[0]:.4f} to "
        f"{printed['dice'].iloc[-1]:.4f}, accuracy from {printed['accuracy'].iloc[0]:.4f} to "
        f"{printed['accuracy'].iloc[-1]:.4f}. Its rows imply a vessel share of {share:.3f}: an empty mask would score "
        f"an accuracy of {1 - share:.4f}, and a full one a Dice of {full:.4f}, which {reached} exceed."
    ]
    plan = study.paper.plan(study.parameters.profile)
    found = {name: study.evidence(name, best=False) for name in (stated, *factors, *controls)}
    lines.append("- " + _stated_sentence(found[stated]))
    lines.append("- " + _factor_sentence({plan[name].about: found[name] for name in factors}))
    same = [name for name in factors if _same(found[stated], found[name])]
    if same:
        gaps = []
        for name in same:
            here, there = (measured_epochs(found[key].records[0])["dice"] for key in (stated, name))
            gaps.append(f"{(there - here).abs().max():.4f} ({plan[name].about})")
        lines.append(
            "- These runs learned the same weights as the stated one, bit for bit, and differ in evaluation alone; at "
            f"their widest the validation Dice of one epoch differs by {', '.join(gaps)}."
        )
    if parted := _parted(found[stated], {plan[name].about: found[name] for name in factors}):
        lines.append("- " + parted)
    for name in controls:
        if found[name] is not None:
            scores = {key: found[name].value(key, region="fov", average="image") for key in ("dice", "auc")}
            lines.append(
                f"- {plan[name].about}: Dice {scores['dice']:.4f} and AUC {scores['auc']:.4f} on DRIVE's test images, "
                f"inside the FOV ({profile_text(found[name])})."
            )
    return lines


def _stated_sentence(evidence: Evidence | None) -> str:
    if evidence is None:
        return "The run as the report states it has not been made."
    frame = measured_epochs(evidence.records[0])
    whose = "the first seed's" if len(evidence.records) > 1 else "its"
    return (
        f"Our run as the report states it {_outcome_text(evidence)} ({profile_text(evidence)}): after {len(frame)} "
        f"epochs {whose} validation Dice is {frame['dice'].iloc[-1]:.4f}, its highest {frame['dice'].max():.4f}, and "
        f"its accuracy {frame['accuracy'].iloc[-1]:.4f} where an empty mask scores {1 - typical_share(frame):.4f}."
    )


def _factor_sentence(found: dict[str, Evidence | None]) -> str:
    known = {about: evidence for about, evidence in found.items() if evidence is not None}
    if not known:
        return "None of the factors has been run."
    guilty = [about for about, evidence in known.items() if "collapses" in outcomes(evidence)]
    dipping = [
        f"{about} ({dips(frame)} of {len(frame)} epochs)"
        for about, evidence in known.items()
        if about not in guilty and dips(frame := measured_epochs(evidence.records[0]))
    ]
    others = Counter(_outcome_text(evidence) for about, evidence in known.items() if about not in guilty)
    text = f"Of {len(known)} factors that were changed one at a time, "
    text += (
        f"{len(guilty)} alone makes Dice fall while accuracy rises to the share of background: {'; '.join(guilty)}."
        if guilty
        else "none alone makes Dice fall while accuracy rises to the share of background."
    )
    if others:
        text += f" Outcomes{' of the others' if guilty else ''}: "
        text += f"{', '.join(f'{what} ({count})' for what, count in others.most_common())}."
    if dipping:
        text += f" Dice drops below half of what it had been for some epochs with {'; '.join(dipping)}."
    return text


def _parted(stated: Evidence | None, factors: dict[str, Evidence | None]) -> str | None:
    """Runs whose last epoch scores more than twice as high on what it trains on as in validation, by Dice."""
    gaps = []
    for about, evidence in {"as stated": stated, **factors}.items():
        if evidence is not None:
            ends = [measured_epochs(evidence.records[0], part)["dice"].iloc[-1] for part in ("train", "validation")]
            if ends[0] > 2 * ends[1]:
                gaps.append(f"{about} ({ends[0]:.4f} against {ends[1]:.4f})")
    if not gaps:
        return None
    return (
        "In the last epoch these runs score more than twice the Dice while they train, normalised by the batch, than "
        f"in validation, normalised as in evaluation: {'; '.join(gaps)}."
    )


def _outcome_text(evidence: Evidence) -> str:
    return " or ".join(sorted(set(outcomes(evidence)))) + (" (by seed)" if len(set(outcomes(evidence))) > 1 else "")


def _same(first: Evidence | None, second: Evidence | None) -> bool:
    return None not in (first, second) and same_training(first.records[0], second.records[0])
