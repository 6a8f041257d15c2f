"""Time and memory against size, and the exponents of their growth: writes book/records/cost-curves.json.

    python tools/cost_curves.py            what is missing; a stopped measurement goes on where it was
    python tools/cost_curves.py --again    everything

About five minutes on two quiet cores. Network points are measured each in a process of its own (see workloads.py), so
that memory is the work's own. Points of another machine are never mixed in: the file is begun anew.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import RECORDS, machine, read_json, timed, today, write_json
from tqdm import tqdm

TARGET = RECORDS / "cost-curves.json"

# The U-Net of the one protocol: what a curve does not vary stays here.
BASES = {
    "training": {"side": 160, "batch": 8, "width": 16},
    "inference": {"side": 512, "batch": 1, "width": 16},
    "scoring": {"average": "image"},
    "pooled": {"average": "pooled"},
    "store": {},
    "plan": {},
}
SWEEPS: dict[tuple[str, str], Sequence[int]] = {
    ("training", "side"): (64, 96, 128, 160, 224, 320),
    ("training", "batch"): (1, 2, 4, 8, 16),
    ("training", "width"): (4, 8, 16, 32),
    ("inference", "side"): (128, 256, 512, 768, 1024),
    ("inference", "batch"): (1, 2, 4, 8),
    ("inference", "width"): (4, 8, 16, 32),
    ("scoring", "images"): (2, 5, 10, 20, 40),
    ("pooled", "images"): (2, 5, 10, 20, 40),
    ("store", "runs"): (30, 100, 300, 1000),
    ("plan", "runs"): (30, 100, 300, 1000),
}
IN_PROCESS = {"training": "training", "inference": "inference", "scoring": "scoring", "pooled": "scoring"}


def points() -> dict[str, dict[str, Any]]:
    """Name of each point -> its curve and options; a point that two sweeps share is there once."""
    found = {}
    for (curve, variable), values in SWEEPS.items():
        for value in values:
            options = BASES[curve] | {variable: value}
            found[point_name(curve, options)] = {"curve": curve, "options": options}
    return found


def point_name(curve: str, options: dict[str, Any]) -> str:
    """``training side=160 batch=8 width=16``."""
    return " ".join([curve, *(f"{key}={value}" for key, value in options.items())])


def measure(curve: str, options: dict[str, Any]) -> dict[str, float]:
    """Seconds, CPU seconds and (but for the store) memory of one point."""
    if curve in IN_PROCESS:
        from workloads import in_fresh_process

        return in_fresh_process(IN_PROCESS[curve], **options)
    return {"store": measure_store, "plan": measure_plan}[curve](**options)


def measure_store(runs: int) -> dict[str, float]:
    """Read every record of a store that holds so many: copies of the book's records under other names."""
    from retlib.study import Store

    originals = sorted(RECORDS.glob("*/record.json"))
    with tempfile.TemporaryDirectory() as folder:
        for number in range(runs):
            place = Path(folder) / f"{number:016x}"
            place.mkdir()
            shutil.copy(originals[number % len(originals)], place / "record.json")
        seconds = timed(lambda: list(Store(folder)), least=2, budget=0.3)
    return {"seconds": seconds.wall, "cpu_seconds": seconds.cpu}


def measure_plan(runs: int) -> dict[str, float]:
    """Ask the book's store for so many planned runs: each is hashed, as `train: missing` does, and looked up."""
    from retlib.studies import load_study
    from retlib.study import Store

    os.environ.pop("RETLIB_DATA", None)  # the committed fingerprints, as on a machine without data
    first = list(load_study("one-protocol").runs("lite").values())
    configs = [first[i % len(first)].model_copy(update={"seed": i // len(first)}) for i in range(runs)]
    store = Store(RECORDS)
    seconds = timed(lambda: [store.find(config) for config in configs], least=2, budget=0.3)
    return {"seconds": seconds.wall, "cpu_seconds": seconds.cpu}


def power_law(x: Sequence[float], y: Sequence[float]) -> dict[str, float]:
    """Least squares of log y = log coefficient + exponent log x.

    Returns:
        ``exponent``, its ``standard_error``, and ``coefficient``.

    Raises:
        ValueError: fewer than three points, points of one x, or a number that is not above 0.
    """
    abscissa, ordinate = np.asarray(x, float), np.asarray(y, float)
    if abscissa.shape != ordinate.shape or len(abscissa) < 3 or len(set(abscissa)) < 2:
        raise ValueError(f"a power law needs three points or more, got x {list(x)} and y {list(y)}")
    if not (np.isfinite(ordinate).all() and (abscissa > 0).all() and (ordinate > 0).all()):
        raise ValueError(f"a power law needs numbers above 0, got x {list(x)} and y {list(y)}")
    (exponent, constant), covariance = np.polyfit(np.log(abscissa), np.log(ordinate), 1, cov=True)
    return {
        "exponent": float(exponent),
        "standard_error": float(np.sqrt(covariance[0, 0])),
        "coefficient": float(np.exp(constant)),
    }


def fits(measured: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """``training/side/seconds`` -> the power law through a sweep's points, with those points.

    A sweep that is not whole yet is left out; so is memory where a point added nothing to the process.
    """
    found = {}
    for (curve, variable), values in SWEEPS.items():
        names = [point_name(curve, BASES[curve] | {variable: value}) for value in values]
        if not all(name in measured for name in names):
            continue
        for quantity in ("seconds", "memory_mib"):
            numbers = [measured[name].get(quantity) for name in names]
            if all(number is not None and number > 0 for number in numbers):
                law = power_law(values, numbers)
                found[f"{curve}/{variable}/{quantity}"] = law | {"x": list(values), "y": numbers}
    return found


def same_machine(stored: dict[str, Any], here: dict[str, Any]) -> bool:
    """Whether two measurements may stand in one curve; the load does not matter here."""
    return {**stored, "load": 0} == {**here, "load": 0}


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="measure every point again")
    options = parser.parse_args(arguments)
    here = machine()
    before = {} if options.again else read_json(TARGET)
    if before and not same_machine(before["machine"], here):
        print(f"{TARGET.name} is of another machine ({json.dumps(before['machine'])}): every point is measured again")
        before = {}
    wanted = points()
    measured = {name: point for name, point in before.get("points", {}).items() if name in wanted}
    content = {"machine": here, "date": today(), "bases": BASES}
    for name, point in tqdm(wanted.items(), desc="cost curves", unit="point"):
        if name in measured:
            continue
        measured[name] = measure(point["curve"], point["options"])
        write_json(TARGET, content | {"points": measured, "fits": fits(measured)})
    write_json(TARGET, content | {"points": {name: measured[name] for name in wanted}, "fits": fits(measured)})


if __name__ == "__main__":
    main()
