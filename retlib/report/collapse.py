"""The collapse in the R2U-Net report's table, taken apart: evaluation and training, single factors, text and table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from retlib.data.measurements import read_measurements
from retlib.data.registry import COLLECTIONS, get_collection
from retlib.report.epochs import measured_epochs, outcome, reported_epochs, same_training, typical_share
from retlib.study.evidence import Evidence, same_seeds
from retlib.study.evidence_tables import profile_text
from retlib.study.notebook import Study
from retlib.study.tables import DASH


def diagnosis(study: Study, names: Sequence[str]) -> pd.DataFrame:
    """Tabulate each run and profile: what differs, and how each seed ends, in the order of the seeds."""
    plan = study.paper.plan(study.parameters.profile)
    lines = []
    for name in names:
        found = [_ends(evidence) for evidence in study.every(name)]
        lines += [{"what differs": plan[name].about} | ends for ends in found or [{"profile": DASH}]]
    return pd.DataFrame(lines).astype(object).replace(math.nan, None)


def _ends(evidence: Evidence) -> dict[str, str]:
    frames, training = (
        [measured_epochs(record, part) for record in evidence.records] for part in ("validation", "train")
    )
    numbers = {
        "highest Dice": [frame["dice"].max() for frame in frames],
        "last Dice": [frame["dice"].iloc[-1] for frame in frames],
        "last accuracy": [frame["accuracy"].iloc[-1] for frame in frames],
        "background": [1 - typical_share(frame) for frame in frames],
        "last training Dice": [frame["dice"].iloc[-1] for frame in training],
        "test Dice": kept_dice(evidence),
    }
    shown = {title: " / ".join(f"{value:.3f}" for value in values) for title, values in numbers.items()}
    epochs = " / ".join(str(len(frame)) for frame in frames)
    return {"profile": profile_text(evidence), "epochs": epochs} | shown | {"outcome": " / ".join(outcomes(evidence))}


def outcomes(evidence: Evidence) -> list[str]:
    """The outcome of each seed."""
    return [outcome(measured_epochs(record)) for record in evidence.records]


def kept_dice(evidence: Evidence) -> list[float]:
    """Look up the test Dice of each seed's kept network, as the run is scored; 0 where no vessel is found."""
    return [record.metrics()["dice"] or 0.0 for record in evidence.records]


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
    images = read_measurements(study.store.path).get("drive", {}).get("images", {})
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
    images = read_measurements(study.store.path).get("drive", {}).get("images", {})
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


def findings(
    study: Study,
    number: str,
    stated: str,
    evaluations: Mapping[str, str],
    factors: Sequence[str],
    controls: Sequence[str],
) -> list[str]:
    """What the records say, as a list in Markdown; each number is looked up and each judgement computed.

    Args:
        study: the paper and the records; of each run the best profile that has some.
        number: the table over epochs.
        stated: the run as the report states it.
        evaluations: runs that are to differ from it in evaluation alone -> how they evaluate, in words.
        factors: further runs that differ from it in one thing.
        controls: the same network trained properly, then others by that recipe.
    """
    printed = reported_epochs(study.paper, number)
    share = typical_share(printed)
    full = 2 * share / (1 + share)
    reached = f"{int((printed['dice'] > full).sum())} of {len(printed)} epochs"
    plan = study.paper.plan(study.parameters.profile)
    lines = [
        f"The report's table {outcome(printed)}: Dice from {printed['dice'].iloc[0]:.4f} to "
        f"{printed['dice'].iloc[-1]:.4f}, accuracy from {printed['accuracy'].iloc[0]:.4f} to "
        f"{printed['accuracy'].iloc[-1]:.4f}. Its rows imply a vessel share of {share:.3f}: an empty mask would score "
        f"an accuracy of {1 - share:.4f}, and a full one a Dice of {full:.4f}, which {reached} exceed.",
        *_evaluation_sentences(study.evidence(stated), {how: study.evidence(n) for n, how in evaluations.items()}),
        *_factor_sentences(study.every(stated), [study.evidence(name) for name in factors]),
    ]
    for name in controls:
        if (found := study.evidence(name)) is not None:
            scores = [found.value(metric, region="fov", average="image") for metric in ("dice", "auc")]
            lines.append(
                "{}: Dice {:.4f} and AUC {:.4f} on DRIVE's test images, inside the FOV ({}).".format(
                    plan[name].about, *scores, profile_text(found)
                )
            )
    return [f"- {line}" for line in lines]


def same_trainings(stated: Evidence | None, other: Evidence | None) -> tuple[Evidence, Evidence] | None:
    """Pair two runs by seed if every common seed learned the same in both, to the last bit; else None."""
    if None in (stated, other) or stated.profile != other.profile:
        return None
    pair = same_seeds(stated, other)
    if None in pair or not all(same_training(a, b) for a, b in zip(pair[0].records, pair[1].records, strict=True)):
        return None
    return pair


def _evaluation_sentences(stated: Evidence | None, others: Mapping[str, Evidence | None]) -> list[str]:
    """Say what the trainings as stated score, what they score evaluated in other ways, and what follows."""
    if stated is None:
        return ["The run as the report states it has not been made."]
    training, validation = (
        [measured_epochs(record, part)["dice"] for record in stated.records] for part in ("train", "validation")
    )
    low, high = min(dice.min() for dice in validation), max(dice.max() for dice in validation)
    lines = [
        f"Trained as the report states it ({profile_text(stated)}), the network reaches a training Dice of "
        f"{listed((dice.iloc[-1] for dice in training), '.2f')} in its last epoch; its validation Dice, with running "
        f"statistics of batch normalisation that all recurrences share, lies between {low:.2f} and {high:.2f}, and the "
        f"kept networks score a Dice of {listed(kept_dice(stated), '.3f')} on DRIVE's test images."
    ]
    pairs = {how: pair for how, other in others.items() if (pair := same_trainings(stated, other)) is not None}
    if not pairs:
        return lines
    scores = {how: kept_dice(pair[1]) for how, pair in pairs.items()}
    told = "; ".join(f"{listed(values, '.3f')} {how}" for how, values in scores.items())
    means = _means_over_equal_weights({"as stated": stated} | {how: pair[1] for how, pair in pairs.items()})
    lines.append(
        f"The same trainings score {told}. Loss and scores in training are equal to the last bit in every epoch that "
        "the runs of a seed have in common, so these epochs have the same weights; their mean validation Dice is "
        f"{listed(f'{mean:.2f} {how}' for how, mean in means.items())}."
    )
    lowest, highest = min(map(min, scores.values())), max(kept_dice(stated))
    ends = Counter(outcomes(stated))
    course = ", ".join(f"{what} ({count})" for what, count in ends.most_common())
    lines.append(
        (
            "In our runs the low scores are therefore an artefact of how the network is evaluated, not of what it "
            f"learned: the lowest of these test scores, {lowest:.3f}, is above the highest as stated, {highest:.3f}. "
            "The report prints no training score, so whether the same happened there cannot be checked. "
            if lowest > highest
            else f"The test scores overlap ({lowest:.3f}, {highest:.3f}), so evaluation is not the whole cause. "
        )
        + f"The fall from epoch to epoch in the report's table appears in {ends['collapses'] or 'none'} of our "
        f"{len(stated.records)} seeds; their validation Dice, in the words defined below, {course}."
    )
    return lines


def _means_over_equal_weights(runs: Mapping[str, Evidence]) -> dict[str, float]:
    """Average the validation Dice over the seeds and epochs that all these runs of the same trainings share."""
    dice = {
        how: {record.content["config"]["seed"]: measured_epochs(record)["dice"] for record in evidence.records}
        for how, evidence in runs.items()
    }
    common = pd.concat({how: pd.concat(seeds) for how, seeds in dice.items()}, axis=1, join="inner")
    return common.mean().to_dict()


def _factor_sentences(stated: Sequence[Evidence], factors: Sequence[Evidence | None]) -> list[str]:
    known = [evidence for evidence in factors if evidence is not None]
    if not known:
        return ["None of the other factors has been run."]
    ends = Counter(end for evidence in known for end in outcomes(evidence))
    shown = ", ".join(f"{what} ({count})" for what, count in ends.most_common())
    profiles = ", ".join(dict.fromkeys(profile_text(evidence) for evidence in known))
    line = f"In {len(known)} further runs, each with one factor changed ({profiles}), the validation Dice {shown}."
    unchanged = [found for found in stated if {found.profile} == {evidence.profile for evidence in known}]
    if unchanged and all(len(evidence.records) == 1 for evidence in known):
        several = listed(sorted(set(outcomes(unchanged[0]))))
        line += (
            f" With one seed per factor this shows no cause: in the same profile the unchanged run alone, over its "
            f"{len(unchanged[0].records)} seeds, {several}."
        )
    return [line]


def listed(values: Iterable[float | str], form: str = "") -> str:
    """List values as people do: ``0.10, 0.47 and 0.12``."""
    texts = [format(value, form) for value in values]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
