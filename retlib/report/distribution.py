"""One number of a paper among single images: scores of every held-out image, and what is missed on one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from retlib.data import FundusSample
from retlib.study import ERROR_COLOURS, FALSE_ALARM, MISSED, Printed
from retlib.study.claims import settled
from retlib.study.evidence_tables import profile_text
from retlib.study.figures import NO_RECORD, error_legend, on_map, show_errors, title_image
from retlib.study.notebook import Study
from retlib.study.photographs import photograph

Groups = Mapping[str, Sequence[str]]


def held_out(study: Study, groups: Groups, metric: str = "dice") -> pd.DataFrame:
    """The score of every held-out image, in the region of its run, mean over seeds.

    Args:
        study: the paper and the records.
        groups: title -> runs whose test images count together, such as the folds of one model.
        metric: retlib's name.

    Returns:
        Columns ``model``, ``run``, ``image``, ``value`` and ``profile``; runs without a record are left out. The
        profile stands without the number of seeds: a model's runs may differ in that.
    """
    lines = []
    for title, names in groups.items():
        for name in names:
            if (evidence := study.evidence(name)) is None:
                continue
            values = np.mean([record.per_image()[metric] for record in evidence.records], axis=0)
            for image, value in zip(evidence.records[0].test()["images"], values, strict=True):
                lines.append({"model": title, "run": name, "image": image, "value": float(value)})
                lines[-1]["profile"] = profile_text(evidence, counted=False)
    return pd.DataFrame(lines, columns=["model", "run", "image", "value", "profile"])


def where_it_falls(scores: pd.DataFrame, printed: Printed) -> list[str]:
    """One sentence a model: where a printed value falls among its held-out images.

    Args:
        scores: from :func:`held_out`.
        printed: the value. An image reaches it if its score is not below it, rounding allowed for.
    """
    sentences = []
    for (title, profile), part in scores.groupby(["model", "profile"], sort=False):
        values = part["value"].dropna().to_numpy()
        if not len(values):
            continue
        reached = int((values >= printed.value - printed.half_unit).sum())
        share = {0: "none", len(values): "all"}.get(reached, str(reached))
        verb = "reaches" if share == "none" else "reach"
        sentences.append(
            f"{title} ({profile}): {share} of the {len(values)} held-out images {verb} {printed.text}; "
            f"they lie between {values.min():.4f} and {values.max():.4f}, the median at {np.median(values):.4f}."
        )
    return sentences


def show_distribution(
    study: Study, groups: Groups, headline: Printed, metric: str = "dice", title: str = "Dice of one image"
) -> None:
    """Draw a dot for every held-out image, a row a model, with the paper's headline as a line across all rows.

    A small upright mark in a row is the value that the paper prints for that model, quoted or measured. In the smoke
    profile the paper's values are left out: phantoms say nothing of them.
    """
    scores = held_out(study, groups, metric)
    if scores.empty:
        print(NO_RECORD)
        return
    figure, axis = plt.subplots(figsize=(8, 0.75 * len(groups) + 1.4))
    colours = sns.color_palette()
    smoke = study.parameters.profile == "smoke"
    labels = []
    for place, (name, runs) in enumerate(groups.items()):
        part = scores[scores["model"] == name]
        # Dots that fall on one another are told apart by height; the order of the images decides, not chance.
        height = place + 0.13 * (np.arange(len(part)) % 3 - 1)
        label = "one held-out image" if place == 0 else None
        axis.plot(part["value"], height, "o", color=colours[0], alpha=0.75, label=label)
        if not part.empty:
            median = part["value"].median()
            axis.plot([median], [place], "D", color="black", markersize=5, label="median" if place == 0 else None)
        if not smoke and (own := study.paper.printed(runs[0], metric, quoted=True)) is not None:
            label = "the paper's value of this row" if place == 0 else None
            axis.plot([own.value], [place], "|", color=colours[1], markersize=22, markeredgewidth=2.5, label=label)
        profile = "" if part.empty else f"\n({', '.join(part['profile'].unique())})"
        labels.append(name + (profile or "\n(no record)"))
    if not smoke:
        label = f"headline, {headline.text}"
        axis.axvline(headline.value, color=colours[1], linestyle="--", linewidth=1.2, label=label)
    axis.set(xlabel=title, yticks=range(len(groups)), ylim=(len(groups) - 0.5, -0.5))
    axis.set_yticklabels(labels)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    plt.show()


def show_losses(study: Study, runs: Mapping[str, str]) -> None:
    """Draw training and validation loss by epoch, a panel a titled run, on one scale; the kept epoch is marked."""
    found = {title: item for title, name in runs.items() if (item := study.evidence(name)) is not None}
    if not found:
        print(NO_RECORD)
        return
    _, axes = plt.subplots(1, len(found), figsize=(4.5 * len(found), 3.2), sharey=True, squeeze=False)
    for axis, (title, evidence) in zip(axes[0], found.items(), strict=True):
        record = evidence.records[0]
        epochs = [row["epoch"] for row in record.history]
        for part, line in (("train", "-"), ("validation", "--")):
            values = [row.get(f"{part}_loss", np.nan) for row in record.history]
            axis.plot(epochs, values, line, label="training" if part == "train" else part)
        kept = record.content["training"]["kept_epoch"]
        axis.axvline(kept, color="grey", linestyle=":", label="weights that are scored")
        axis.set(title=f"{title}\n({profile_text(evidence, first=True)})", xlabel="epoch")
    axes[0, 0].set_ylabel("loss")
    axes[0, 0].legend()
    plt.show()


def settled_sentences(study: Study, runs: Mapping[str, str]) -> list[str]:
    """Where the losses of some titled runs start and settle (mean over the last tenth of the epochs), in words."""
    sentences = []
    for title, name in runs.items():
        if (evidence := study.evidence(name)) is None:
            continue
        record = evidence.records[0]
        texts = []
        for part, word in (("train", "training"), ("validation", "validation")):
            curve = [row[f"{part}_loss"] for row in record.history if f"{part}_loss" in row]
            if curve:
                texts.append(f"the {word} loss starts at {curve[0]:.3f} and settles at {settled(curve):.3f}")
        planned = record.content["config"]["training"]["epochs"]
        which = profile_text(evidence, first=True)
        sentences.append(f"{title} ({which}): {'; '.join(texts)}; {len(record.history)} of {planned} epochs.")
    return sentences


def show_overlay(study: Study, run: str, case: str = "median") -> None:
    """Draw a held-out image's missed vessels and false alarms: on white, and over the photograph where it is at hand.

    Args:
        study: the paper and the records.
        run: the run.
        case: ``best``, ``median`` or ``worst`` of the held-out images, by Dice.
    """
    evidence = study.evidence(run)
    if evidence is None:
        print(NO_RECORD)
        return
    record = evidence.records[0]
    errors = record.error_maps()[case]
    name = record.test()["cases"][case]["image"]
    sample = photograph(record, name, study.root)
    panels = 1 if sample is None else 2
    figure, axes = plt.subplots(1, panels, figsize=(5 * panels, 4), squeeze=False)
    show_errors(axes[0, 0], errors, f"{case} held-out image, {name} ({evidence.profile})")
    if sample is not None:
        _show_over(axes[0, 1], sample, errors)
    error_legend(figure)
    plt.show()


def _show_over(axis: Axes, sample: FundusSample, errors: np.ndarray) -> None:
    painted = on_map(sample.image, errors).copy()
    for key in (MISSED, FALSE_ALARM):
        painted[errors == key] = ERROR_COLOURS[key]
    axis.imshow(painted, interpolation="nearest")
    title_image(axis, "over the photograph")
