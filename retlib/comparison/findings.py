"""Sentences of the comparison: every number is looked up in a record, and every judgement is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from retlib.comparison import curves, faults
from retlib.comparison.boards import TITLES, network_tests, observer_tests, p_text, planned_power
from retlib.comparison.contenders import DATASETS, Contender, best_by, with_records
from retlib.comparison.faults import Cost
from retlib.comparison.peers import measured_peer
from retlib.comparison.surround import found_outside
from retlib.comparison.times import pick_times
from retlib.study import statistics
from retlib.study.findings import signed
from retlib.study.overview import count_text


def best_sentences(datasets: Mapping[str, Sequence[Contender]]) -> list[str]:
    """The best network of each data set, with its interval, beside observer and filters."""
    lines = []
    for dataset, contenders in datasets.items():
        networks, planned = with_records(contenders), [item for item in contenders if item.kind == "network"]
        best = best_by(networks)
        name = DATASETS.get(dataset, dataset)
        if best is None:
            lines.append(f"{name}: none of {len(planned)} networks has been run.")
            continue
        low, high = best.interval("dice")
        line = (
            f"{name}: of {len(networks)} networks that were run (of {len(planned)}), {best.title} has the highest "
            f"Dice, {best.value('dice'):.4f} (95 % interval {low:.4f} to {high:.4f}; {best.evidence})"
        )
        others = [item for item in with_records(contenders, ("observer", "filter")) if item.images == best.images]
        if others:
            line += "; beside it " + ", ".join(f"{item.title} {item.value('dice'):.4f}" for item in others)
        lines.append(f"{line}.")
    return lines


def power_sentences(datasets: Mapping[str, Sequence[Contender]], metric: str = "dice") -> list[str]:
    """Where tests of all pairs can decide anything, and what they decided."""
    lines = []
    for dataset, contenders in datasets.items():
        whole = planned_power(contenders)
        if whole is None or (whole.possible and len(with_records(contenders)) < 2):
            continue  # nothing is decided yet, and nothing stands in the way
        planned = sum(item.kind == "network" for item in contenders)
        line = (
            f"{DATASETS.get(dataset, dataset)}: the smallest p that {whole.images} images can give is "
            f"{p_text(whole.smallest)}; Holm's strictest level for the {whole.comparisons} pairs of {planned} networks "
            f"is {p_text(whole.strictest)}, so "
        )
        line += (
            "a difference can pass."
            if whole.possible
            else f"no difference can pass, however large it is ({_most(whole)}), and none has been shown to be absent."
        )
        lines.append(f"{line} {_decided(contenders, metric)}".strip())
    return lines


def _decided(contenders: Sequence[Contender], metric: str) -> str:
    """What tests of the pairs that have been run decided, corrected for these pairs."""
    networks = with_records(contenders)
    if len(networks) < 2:
        return ""
    tests = network_tests(contenders, metric)
    could = statistics.power(len(networks[0].images), len(tests))
    if not could.possible:
        return f"Among the {len(tests)} pairs that have been run none can pass."
    real = int(tests["real"].sum())
    return (
        f"{real} of the {len(tests)} pairs that have been run {'differs' if real == 1 else 'differ'} in "
        f"{TITLES[metric]} beyond noise."
    )


def observer_sentences(datasets: Mapping[str, Sequence[Contender]]) -> list[str]:
    """How networks stand to the second observer: Dice by means and by paired tests, and broken vessels."""
    lines = []
    for dataset, contenders in datasets.items():
        people, networks = with_records(contenders, ("observer",)), with_records(contenders)
        if not people or not networks:
            continue
        tests, person = observer_tests(contenders), people[0].value("betti0_error")
        higher = sum(item.value("dice") > people[0].value("dice") for item in networks)
        above = int((tests["real"] & (tests["difference"] > 0)).sum())
        errors = [item.value("betti0_error") for item in networks]
        line = (
            f"{DATASETS.get(dataset, dataset)}: {higher} of {len(networks)} networks have a higher Dice against the "
            f"first observer's labels than the second observer, {above} beyond noise. The second observer is "
            f"{person:.1f} pieces off on average, the networks {min(errors):.1f} to {max(errors):.1f}"
        )
        lines.append(line + (": where people draw a vessel whole, networks break it." if min(errors) > person else "."))
    return lines


def size_sentence(contenders: Sequence[Contender]) -> str | None:
    """Whether more parameters went with a higher Dice, among networks of one data set: Spearman's correlation."""
    from scipy import stats

    networks = [item for item in with_records(contenders) if item.parameters]
    if len(networks) < 4:
        return None
    sizes, dice = [item.parameters for item in networks], [item.value("dice") for item in networks]
    found = stats.spearmanr(sizes, dice)
    name = DATASETS.get(networks[0].dataset, networks[0].dataset)
    return (
        f"{name}: between {count_text(min(sizes))} and {count_text(max(sizes))} parameters, size and Dice have a rank "
        f"correlation of {signed(float(found.statistic), 2)} (p {p_text(float(found.pvalue))}, {len(networks)} "
        "networks)."
    )


def calibration_sentence(contenders: Sequence[Contender]) -> str | None:
    """The best and the worst calibrated network of a data set."""
    networks = with_records(contenders)
    if not networks:
        return None
    errors = {item.title: curves.reliability(item).ece for item in networks}
    low, high = min(errors, key=errors.__getitem__), max(errors, key=errors.__getitem__)
    return (
        f"{DATASETS.get(networks[0].dataset, networks[0].dataset)}: expected calibration error from {errors[low]:.4f} "
        f"({low}) to {errors[high]:.4f} ({high})."
    )


def width_sentence(contenders: Sequence[Contender]) -> str | None:
    """How much of the centre line networks find where vessels are thin and where they are wide, and the person."""
    networks, people = with_records(contenders), with_records(contenders, ("observer",))
    if not networks:
        return None
    told = []
    for metric, words in (("recall_thin", "thin"), ("recall_wide", "wide")):
        values = [item.value(metric) for item in networks]
        person = "".join(f", the second observer {item.value(metric):.3f}" for item in people)
        told.append(
            f"of the centre line of {words} vessels networks find {min(values):.3f} to {max(values):.3f}{person}"
        )
    return f"{DATASETS.get(networks[0].dataset, networks[0].dataset)}: {'; '.join(told)}."


def surround_sentence(contenders: Sequence[Contender]) -> str | None:
    """What networks say of the black surround, and why; None without a record."""
    networks = with_records(contenders)
    if not networks:
        return None
    found = {item.title: [found_outside(record) for record in item.records] for item in networks}
    shares = {title: float(np.mean([part.share for part in parts])) for title, parts in found.items()}
    alarms = {title: float(np.mean([part.of_alarms for part in parts])) for title, parts in found.items()}
    low, high = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
    name = DATASETS.get(networks[0].dataset, networks[0].dataset)
    told = (
        f"{shares[low]:.1%} ({low}, {alarms[low]:.1%} of all false alarms in the frame) to {shares[high]:.1%} ({high}, "
        f"{alarms[high]:.1%}) of the black surround"
    )
    if all(record.config.training.loss_region == "fov" for item in networks for record in item.records):
        return (
            f"{name}: the loss looks inside the FOV alone, so what a network says of the black surround is untrained. "
            f"Networks call {told} vessel, which costs them Dice as soon as the frame counts."
        )
    return f"{name}: networks call {told} vessel."


def fault_sentences(costs: Sequence[Cost], contenders: Sequence[Contender] = ()) -> list[str]:
    """What each fault brings on the measure that it moves most visibly.

    Args:
        costs: of one data set.
        contenders: of the data set; how many networks a number rests on is said of all that are planned.
    """
    told = {
        faults.FRAME: (
            "accuracy",
            "Counting the whole frame, where our networks are untrained, changes accuracy by {}, AUC by {} and Dice by "
            "{}",
        ),
        faults.BLANKED: (
            "accuracy",
            "Counting the whole frame, with nothing found outside the FOV, changes accuracy by {}, AUC by {} and Dice "
            "by {}",
        ),
        faults.TEST_THRESHOLD: ("dice", "Choosing the threshold on the test images adds {} to Dice"),
        faults.IMAGE_THRESHOLD: ("dice", "Choosing a threshold for each test image adds {} to Dice"),
        faults.RESIZED: ("dice", "Scoring against resized labels changes Dice by {}"),
        faults.TEST_EPOCH: ("dice", "Taking the epoch that is best on the test images adds {} to Dice"),
    }
    also = dict.fromkeys((faults.FRAME, faults.BLANKED), ("accuracy", "auc", "dice"))
    planned = sum(item.kind == "network" for item in contenders)
    of = f" of {planned}" if planned else ""
    found = faults.mean_costs(costs)
    lines = []
    for fault, (metric, words) in told.items():
        if (fault, metric) not in found:
            lines.append(f"{fault[0].upper()}{fault[1:]}: not run.")
            continue
        numbers = [signed(found[fault, name]) for name in also.get(fault, (metric,))]
        count = len({cost.network for cost in costs if cost.fault == fault})
        plural = "s" if (planned or count) > 1 else ""
        lines.append(f"{words.format(*numbers)} (mean over {count}{of} network{plural}).")
    return lines


def peer_sentence(contenders: Sequence[Contender], dataset: str = "drive") -> str | None:
    """The best network beside the measured peer, whose protocol is the same; None without a record."""
    best = best_by(with_records(contenders))
    peer = measured_peer()
    if best is None or dataset not in peer.scores:
        return None
    parts = []
    for metric in ("dice", "auc", "cldice", "betti0_error"):
        theirs, ours = float(peer.scores[dataset][metric]), best.value(metric)
        decimals = 1 if metric == "betti0_error" else 4
        parts.append(f"{TITLES[metric]} {ours:.{decimals}f} beside {theirs:.{decimals}f}")
    return (
        f"{DATASETS.get(dataset, dataset)}: {best.title} ({best.evidence}, {count_text(best.parameters)} parameters) "
        f"beside {peer.label} ({count_text(peer.parameters)} parameters; quoted, {peer.protocol}): {'; '.join(parts)}."
    )


def time_sentence(datasets: Mapping[str, Sequence[Contender]], benchmark: Mapping[str, float]) -> str:
    """Where the seconds of the cost figure come from, and how many networks have none from there."""
    networks = [item for contenders in datasets.values() for item in with_records(contenders)]
    times = pick_times(networks, benchmark)
    known = len({item.key for item in networks if not math.isnan(times.of(item))})
    keys = len({item.key for item in networks})
    return (
        f"Times are {times.about}. {known} of the {keys} networks that have been run have them; the others are missing "
        "on the right."
        if known < keys
        else f"Times are {times.about}."
    )


def _most(could: statistics.Power) -> str:
    if could.most == 0:
        return "so few images cannot decide a single comparison"
    return f"so many images can decide among at most {could.most}"
