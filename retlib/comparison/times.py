"""Seconds of networks, like with like: all of one source, and never a wall clock's on a machine that is busy."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from retlib.comparison.contenders import Contender, with_records

FILE = "benchmarks.json"


@dataclass(frozen=True)
class Times:
    """CPU seconds of one core, summed over threads.

    Attributes:
        label: for a heading or an axis.
        about: what was timed, to end a sentence with.
        measured: network's key -> seconds of the benchmark; None where the seconds are those of each record.
    """

    label: str
    about: str
    measured: Mapping[str, float] | None

    def of(self, contender: Contender) -> float:
        """Seconds of a contender; NaN where this source has none. The benchmark knows networks alone."""
        if self.measured is None:
            return contender.cpu_seconds
        return self.measured.get(contender.key, math.nan) if contender.kind == "network" else math.nan


def recorded_times() -> Times:
    """CPU seconds that a record keeps of scoring its test images, an image."""
    return Times("CPU s an image", "CPU seconds an image, kept by each record while its test images were scored", None)


def pick_times(contenders: Iterable[Contender], benchmark: Mapping[str, float]) -> Times:
    """The one source that all networks of a table or a figure take their seconds from.

    That is the benchmark, unless the records know the seconds of more of these networks.

    Args:
        contenders: of one data set or of several.
        benchmark: from :func:`load_benchmark`.
    """
    networks = with_records(contenders)
    kept = {item.key for item in networks if not math.isnan(item.cpu_seconds)}
    timed = {item.key for item in networks if item.key in benchmark}
    if not timed or len(timed) < len(kept):
        return recorded_times()
    about = "CPU seconds of one forward pass at DRIVE's working size, measured one after the other on a quiet machine"
    return Times("CPU s, one forward pass", about, dict(benchmark))


def load_benchmark(folder: str | Path) -> dict[str, float]:
    """Network's key -> CPU seconds of one forward pass, from ``benchmarks.json`` beside the records; {} without one.

    Raises:
        ValueError: the file is no JSON, or an entry has no number of seconds.
    """
    file = Path(folder) / FILE
    if not file.is_file():
        return {}
    try:
        entries = json.loads(file.read_text(encoding="utf-8")).get("network_seconds", {})
        return {key: float(entry["cpu_s"]) for key, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file}: expected network_seconds with a cpu_s for each network ({error!r}); make it again with "
            "`make bench`"
        ) from None
