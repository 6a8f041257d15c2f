"""The leaderboard of a data set: measured rows with intervals, quoted rows beside them, em dashes for the rest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from retlib.audit import Background
from retlib.comparison.contenders import Contender, with_records
from retlib.comparison.peers import Peer, implied, list_peers
from retlib.comparison.times import Times, recorded_times
from retlib.study import statistics
from retlib.study.tables import DASH

PIXELS = ("auc", "average_precision", "dice", "iou", "sensitivity", "specificity", "accuracy", "mcc")
STRUCTURE = ("cldice", "betti0_error", "recall_thin")
METRICS = (*PIXELS, *STRUCTURE)
TITLES = {
    "auc": "AUC",
    "average_precision": "AP",
    "dice": "Dice",
    "iou": "IoU",
    "sensitivity": "Se",
    "specificity": "Sp",
    "accuracy": "Acc",
    "mcc": "MCC",
    "cldice": "clDice",
    "betti0_error": "Betti-0 error",
    "recall_thin": "thin-vessel recall",
}


def leaderboard(
    contenders: Iterable[Contender], metrics: Sequence[str] = METRICS, times: Times | None = None
) -> pd.DataFrame:
    """Every measured number: a line a contender and metric, best mean Dice first, those without a record last.

    Args:
        contenders: of one data set.
        metrics: retlib's names.
        times: where seconds come from, one source for all lines; the records by default.

    Returns:
        Columns key, row, kind, metric, mean, low, high (95 % over images and seeds), parameters, seconds, evidence. NaN
        where nobody has run it.
    """
    times = times or recorded_times()
    ordered = sorted(contenders, key=lambda item: -item.value("dice") if item else math.inf)
    lines = []
    for item in ordered:
        for metric in metrics:
            low, high = item.interval(metric)
            lines.append(
                {
                    "key": item.key,
                    "row": item.title,
                    "kind": item.kind,
                    "metric": metric,
                    "mean": item.value(metric),
                    "low": low,
                    "high": high,
                    "parameters": item.parameters,
                    "seconds": times.of(item),
                    "evidence": item.evidence,
                }
            )
    return pd.DataFrame(lines).astype({"parameters": "Int64"})


def board(frame: pd.DataFrame, metrics: Sequence[str], seconds: str | None = None) -> pd.DataFrame:
    """Some metrics of :func:`leaderboard` for reading: a line a row, each cell a mean and its interval.

    Args:
        frame: from :func:`leaderboard`.
        metrics: the columns.
        seconds: heading of the column of seconds (`Times.label`); None leaves parameters and seconds out.
    """
    lines = []
    for key in dict.fromkeys(frame["key"]):
        rows = frame[frame["key"] == key].set_index("metric")
        first = rows.iloc[0]
        line: dict[str, object] = {"row": first["row"]}
        line |= {TITLES[metric]: cell(metric, *rows.loc[metric, ["mean", "low", "high"]]) for metric in metrics}
        if seconds is not None:
            known = not pd.isna(first["parameters"])
            line["parameters"] = f"{first['parameters']:,}".replace(",", " ") if known else None
            line[seconds] = None if math.isnan(first["seconds"]) else f"{first['seconds']:.2f}"
        lines.append(line | {"evidence": first["evidence"]})
    return pd.DataFrame(lines)


def cell(metric: str, mean: float, low: float, high: float) -> str:
    """A mean with its interval: ``0.8283 (0.822 to 0.834)``; an em dash where there is none."""
    if math.isnan(mean):
        return DASH
    decimals, fewer = (1, 1) if metric.startswith("betti") else (4, 3)
    shown = f"{mean:.{decimals}f}"
    if math.isnan(low):
        return shown
    return f"{shown} ({low:.{fewer}f} to {high:.{fewer}f})"


def peer_row(peer: Peer, dataset: str, metrics: Sequence[str], cost: bool = False) -> dict[str, object]:
    """A peer that was measured under this protocol as a line of :func:`board`: its numbers as they are quoted."""
    line: dict[str, object] = {"row": peer.label}
    line |= {TITLES[metric]: peer.scores.get(dataset, {}).get(metric) for metric in metrics}
    if cost:
        line["parameters"] = None if peer.parameters is None else f"{peer.parameters:,}".replace(",", " ")
    return line | {"evidence": "quoted, same protocol, not ranked"}


def quoted(dataset: str, background: Background, metrics: Sequence[str] = METRICS) -> pd.DataFrame:
    """Published results on a data set as they stand in their sources; nothing here was measured under this protocol.

    Numbers that were noted down without the source at hand carry an asterisk. The last columns say what the row's own
    numbers imply of the scored region, and what its source says.
    """
    lines = []
    for peer in list_peers():
        if dataset not in peer.scores:
            continue
        scores = peer.scores[dataset]
        line: dict[str, object] = {"row": peer.label}
        for metric in metrics:
            text = scores.get(metric)
            line[TITLES[metric]] = None if text is None else text + ("*" if metric in peer.unchecked else "")
        line["parameters"] = None if peer.parameters is None else f"{peer.parameters:,}".replace(",", " ")
        line |= {
            "implied region": implied(peer, dataset, background),
            "protocol": peer.protocol or None,
            "evidence": f"quoted: {peer.source}",
        }
        lines.append(line)
    frame = pd.DataFrame(lines)
    empty = [TITLES[metric] for metric in metrics if not frame.empty and frame[TITLES[metric]].isna().all()]
    return frame.drop(columns=empty)


def per_image_values(contenders: Iterable[Contender], metric: str = "dice") -> dict[str, np.ndarray]:
    """Title -> one value an image (mean over seeds), for those contenders that have records of the same images.

    Those whose images differ from the first's are left out: they cannot be paired.
    """
    known = with_records(contenders, ("network", "filter", "observer"))
    if not known:
        return {}
    images = known[0].images
    return {item.title: item.paired(metric) for item in known if item.images == images}


def network_tests(contenders: Sequence[Contender], metric: str = "dice") -> pd.DataFrame:
    """Paired tests of all pairs of networks, Holm's correction over them; see `statistics.paired_tests`."""
    return statistics.paired_tests(per_image_values(with_records(contenders), metric))


def observer_tests(contenders: Sequence[Contender], metric: str = "dice") -> pd.DataFrame:
    """Paired tests of every network against the second observer, a family of its own."""
    values = per_image_values(with_records(contenders, ("network", "observer")), metric)
    people = {item.title for item in contenders if item.kind == "observer"} & set(values)
    return statistics.paired_tests(values, [(name, person) for person in people for name in values if name != person])


def power_table(datasets: Mapping[str, Sequence[Contender]], metric: str = "dice") -> pd.DataFrame:
    """A line a data set: what tests of all pairs of the planned networks could decide at best, and what was decided.

    What could be decided follows from the numbers of images and networks alone, so it is there before any run is.
    """
    lines = []
    for dataset, contenders in datasets.items():
        networks = with_records(contenders)
        planned = [item for item in contenders if item.kind == "network"]
        tests = network_tests(contenders, metric) if len(networks) >= 2 else None
        line: dict[str, object] = {
            "data set": dataset,
            "networks run": f"{len(networks)} of {len(planned)}",
            "pairs run": f"{0 if tests is None else len(tests)} of {len(planned) * (len(planned) - 1) // 2}",
        }
        if (could := planned_power(contenders)) is not None:
            line |= {
                "images": str(could.images),
                "smallest p possible": p_text(could.smallest),
                "Holm's strictest level, all pairs": p_text(could.strictest),
                "can one of all pairs pass": "yes" if could.possible else "no",
            }
        if tests is not None:
            could = statistics.power(len(networks[0].images), len(tests))
            line |= {
                "can one of the pairs run pass": "yes" if could.possible else "no",
                "real differences": f"{int(tests['real'].sum())} of {len(tests)}",
                "Friedman's p": p_text(statistics.friedman(per_image_values(networks, metric))),
            }
        lines.append(line)
    columns = ["data set", "images", "networks run", "pairs run", "smallest p possible"]
    columns += ["Holm's strictest level, all pairs", "can one of all pairs pass", "can one of the pairs run pass"]
    return pd.DataFrame(lines, columns=[*columns, "real differences", "Friedman's p"])


def planned_power(contenders: Sequence[Contender]) -> statistics.Power | None:
    """What tests of all pairs of the planned networks could decide; None for fewer than two networks."""
    planned = [item for item in contenders if item.kind == "network"]
    images = max((item.planned for item in planned), default=0)
    if len(planned) < 2 or not images:
        return None
    return statistics.power(images, len(planned) * (len(planned) - 1) // 2)


_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def p_text(value: float) -> str:
    """A p value or a level for reading: two digits, as a power of ten where it is small."""
    if math.isnan(value):
        return DASH
    if value >= 1e-3:
        return f"{value:.2g}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits} × 10⁻{str(abs(int(exponent))).translate(_RAISED)}"
