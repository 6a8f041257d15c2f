"""Sentences of the comparison: every number is looked up in a record, and every judgement is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from retlib.comparison import curves, faults, statistics
from retlib.comparison.boards import TITLES, network_tests, observer_tests, p_text
from retlib.comparison.contenders import DATASETS, Contender, best_by, with_records
from retlib.comparison.faults import Cost
from retlib.comparison.peers import list_peers
from retlib.report.findings import signed
from retlib.report.overview import count_text


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
            line += "; " + ", ".join(f"{item.title} {item.value('dice'):.4f}" for item in others)
        lines.append(f"{line}.")
    return lines


def power_sentences(datasets: Mapping[str, Sequence[Contender]], metric: str = "dice") -> list[str]:
    """Where tests of all pairs can decide anything, and what they decided."""
    lines = []
    for dataset, contenders in datasets.items():
        networks = with_records(contenders)
        planned = sum(item.kind == "network" for item in contenders)
        if len(networks) < 2:
            continue
        name, images = DATASETS.get(dataset, dataset), len(networks[0].images)
        tests = network_tests(contenders, metric)
        could = statistics.power(images, len(tests))
        level = f"the smallest p that {images} images can give is {p_text(could.smallest)}, Holm's strictest level"
        if could.possible:
            lines.append(
                f"{name}: {level} {p_text(could.strictest)}, so differences can pass; {int(tests['real'].sum())} of "
                f"{len(tests)} pairs of networks differ in {TITLES[metric]} beyond noise."
            )
        else:
            lines.append(
                f"{name}: {level} {p_text(could.strictest)}, so no difference can pass among {len(tests)} comparisons, "
                f"however large ({_most(could)}). Two networks between which no difference is marked as real have not "
                "been shown to be equal."
            )
        if len(networks) < planned:
            whole = statistics.power(images, planned * (planned - 1) // 2)
            word = "can" if whole.possible else "cannot"
            lines[-1] += f" Among all {planned} networks there are {whole.comparisons} pairs, and then one {word} pass."
    return lines


def observer_sentences(datasets: Mapping[str, Sequence[Contender]]) -> list[str]:
    """How networks stand to the second observer: Dice by paired tests, and broken vessels."""
    lines = []
    for dataset, contenders in datasets.items():
        people, networks = with_records(contenders, ("observer",)), with_records(contenders)
        if not people or not networks:
            continue
        tests, person = observer_tests(contenders), people[0].value("betti0_error")
        above = int((tests["real"] & (tests["difference"] > 0)).sum())
        errors = [item.value("betti0_error") for item in networks]
        line = (
            f"{DATASETS.get(dataset, dataset)}: {above} of {len(tests)} networks agree better with the first "
            "observer's labels than the second observer does (Dice, beyond noise). The second observer is "
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


def fault_sentences(costs: Sequence[Cost]) -> list[str]:
    """What each fault brings on the measure that it moves most visibly."""
    told = {
        faults.FRAME: ("accuracy", "Counting the black frame adds {} to accuracy and {} to AUC, and {} to Dice"),
        faults.TEST_THRESHOLD: ("dice", "Choosing the threshold on the test images adds {} to Dice"),
        faults.IMAGE_THRESHOLD: ("dice", "Choosing a threshold for each test image adds {} to Dice"),
        faults.RESIZED: ("dice", "Scoring against resized labels changes Dice by {}"),
        faults.TEST_EPOCH: ("dice", "Taking the epoch that is best on the test images adds {} to Dice"),
    }
    also = {faults.FRAME: ("accuracy", "auc", "dice")}
    found = faults.mean_costs(costs)
    lines = []
    for fault, (metric, words) in told.items():
        if (fault, metric) not in found:
            lines.append(f"{fault[0].upper()}{fault[1:]}: not run.")
            continue
        numbers = [signed(found[fault, name]) for name in also.get(fault, (metric,))]
        count = len({cost.network for cost in costs if cost.fault == fault})
        lines.append(f"{words.format(*numbers)} (mean over {count} network{'s' if count > 1 else ''}).")
    return lines


def peer_sentence(contenders: Sequence[Contender], dataset: str = "drive") -> str | None:
    """The best network beside the measured peer, whose protocol is the same; None without a record."""
    best = best_by(with_records(contenders))
    peer = next(item for item in list_peers() if "threshold from the training images" in item.protocol)
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


def _most(could: statistics.Power) -> str:
    if could.most == 0:
        return "so few images cannot decide a single comparison"
    return f"so many images can decide among at most {could.most}"
