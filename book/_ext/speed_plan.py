"""What a larger study would cost, from the fitted power laws, the rehearsal of the full-size runs and the records.

Each answer is a list of (what, how it is reckoned, value); a value that nobody has measured is None.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Rows = list[tuple[str, str, str | None]]

BYTES_A_PIXEL = 5  # of a prepared sample: three channels, label and FOV, a byte each


def law(fit: Mapping[str, Any], x: float) -> float:
    """Value of a fitted power law at ``x``."""
    return fit["coefficient"] * x ** fit["exponent"]


def duration(seconds: float) -> str:
    """In the unit that reads best: ``41 s``, ``12 min``, ``3.4 h``, ``9.1 days``."""
    for unit, size, most in (("ms", 0.001, 1), ("s", 1, 120), ("min", 60, 7200), ("h", 3600, 48 * 3600)):
        if seconds < most:
            return f"{_short(seconds / size)} {unit}"
    return f"{_short(seconds / 86400)} days"


def _short(number: float) -> str:
    """Two digits that count, at least: 0.23, 4.1, 57, 1,234."""
    if number >= 10:
        return f"{number:,.0f}"
    digits = 1 - math.floor(math.log10(number)) if number > 0 else 0
    return f"{number:.{digits}f}"


def makespan(jobs: Iterable[float], workers: int) -> float:
    """Time until independent jobs are done, the longest one first, each on the worker that is free first."""
    free = [0.0] * workers
    for job in sorted(jobs, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + job)
    return max(free)


def table_rows(rehearsal: Mapping[str, Any]) -> dict[str, Any]:
    """The rehearsal's lines with those runs alone that stand beside a table of a paper."""
    from retlib.papers import list_papers, load_paper

    wanted = {f"{key}/{name}" for key in list_papers() for name in load_paper(key).runs("paper", role="table")}
    found = {name: [run for run in line["stands_for"] if run in wanted] for name, line in rehearsal.items()}
    return {name: {**rehearsal[name], "stands_for": runs} for name, runs in found.items() if runs}


def full_size_seconds(rehearsal: Mapping[str, Any]) -> list[float]:
    """Seconds of each run that the lines stand for, at full size, one seed, on the machine of the rehearsal."""
    return [line["step_s"] * line["planned_steps"] for line in rehearsal.values() for _ in line["stands_for"]]


def images(count: int, fits: Mapping[str, Any]) -> Rows:
    """``count`` photographs of DRIVE's size: predict, score, train on them."""
    from retlib.studies import load_study

    config = load_study("one-protocol").runs("lite")["drive-unet"]
    training, side = config.training, config.inputs.fov_side
    photographs = len(config.split_training()[0])
    visits = training.epochs * training.patches.per_epoch / photographs
    steps = count * visits / training.batch_size
    forward = law(fits["inference/side/seconds"], side)
    step = law(fits["training/side/seconds"], training.patches.size)
    measured = max(fits["scoring/images/seconds"]["x"])
    return [
        (
            f"Predicting {count:,} photographs",
            f"{count:,} forward passes at {side}x{side}, {duration(forward)} each, one at a time",
            duration(count * forward),
        ),
        (
            "Scoring them, nine metrics, mean over images",
            f"the law of scoring against images, fitted up to {measured}",
            duration(law(fits["scoring/images/seconds"], count)),
        ),
        (
            "Memory, if all maps are scored in one call",
            "the law of memory against images; scored one by one they need no more than one",
            f"{law(fits['scoring/images/memory_mib'], count) * 2**20 / 1e9:,.0f} GB"
            if "scoring/images/memory_mib" in fits
            else None,
        ),
        (
            f"Training on {count:,} photographs, float32",
            f"each seen as often as in the lite run on DRIVE ({visits:.0f} patches of {training.patches.size}x"
            f"{training.patches.size}): {steps:,.0f} steps of {training.batch_size}, {duration(step)} each",
            duration(steps * step),
        ),
        (
            "Memory for them while training",
            f"they are kept at working size, {BYTES_A_PIXEL} bytes a pixel",
            f"{count * side**2 * BYTES_A_PIXEL / 1e9:,.0f} GB",
        ),
    ]


def papers(count: int, fits: Mapping[str, Any], rehearsal: Mapping[str, Any], records: Path) -> Rows:
    """``count`` papers like the ones that are here."""
    from retlib.papers import list_papers, load_paper
    from retlib.study import Store

    store = Store(records)
    here = [load_paper(key) for key in list_papers()]
    full = full_size_seconds(rehearsal)
    lite = [config for paper in here for config in paper.runs("lite", role="table").values()]
    times = [record.content["timing"]["training_s"] for record in map(store.find, lite) if record is not None]
    factor = count / len(here)
    runs = factor * len(full)
    rows: Rows = [
        (
            "Training every table row at full size, one seed",
            f"{len(full)} runs of {len(here)} papers, rehearsed on a processor, times {factor:g}",
            duration(factor * sum(full)),
        ),
        (
            "The same in the lite profile",
            f"{len(times)} runs with a record, {duration(sum(times) / len(times))} each in the mean; "
            f"{len(lite)} runs of {len(here)} papers, times {factor:g}"
            if times
            else "no record",
            duration(factor * len(lite) * sum(times) / len(times)) if times else None,
        ),
        (
            "Finding what is missing",
            f"the law of planning and looking up against runs, at {runs:.0f} runs",
            duration(law(fits["plan/runs/seconds"], runs)),
        ),
        (
            "Reading all records, as the page of verdicts does",
            f"the law of reading a store against runs, at {runs:.0f} runs",
            duration(law(fits["store/runs/seconds"], runs)),
        ),
    ]
    return rows


def gpus(count: int, rehearsal: Mapping[str, Any], lines: Mapping[str, Any]) -> Rows:
    """Every table run at full size on ``count`` devices, runs being independent."""
    jobs = full_size_seconds(rehearsal)
    alone, together = sum(jobs), makespan(jobs, count)
    here, there = (lines.get(f"utilisation_{kind}", {}).get("ours") for kind in ("cpu_float32", "cuda_bfloat16"))
    scale = None if here is None or there is None else here / there
    how = (
        f"times {scale:.2g}, the training loop's FLOPs a second here over those of a GPU"
        if scale
        else "the formula above"
    )
    return [
        ("One machine as rehearsed, without a GPU", f"{len(jobs)} runs, one after the other", duration(alone)),
        (
            f"{count} such machines",
            f"the longest run first, {alone / together:.1f} times as fast; no run is split, the longest takes "
            f"{duration(max(jobs))}",
            duration(together),
        ),
        ("One GPU", how, duration(alone * scale) if scale else None),
        (f"{count} GPUs", how, duration(together * scale) if scale else None),
    ]
