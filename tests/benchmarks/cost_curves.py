"""Measure time and memory against size and fit their growth: writes book/records/cost-curves.json.

    python -m tests.benchmarks.cost_curves            what is missing; a stopped measurement resumes
    python -m tests.benchmarks.cost_curves --again    everything

About five minutes on two quiet cores. Each network point is measured in a process of its own (see workloads.py), so
that its memory is the work's own. Points of different machines are never mixed: another machine starts a new file.
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
from tqdm import tqdm

from tests.benchmarks.measuring import RECORDS, machine, read_json, timed, today, write_json
from tests.benchmarks.workloads import in_fresh_process

TARGET = RECORDS / "cost-curves.json"

# The U-Net of the one protocol, and what stays the same where a curve does not vary it.
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


def points() -> dict[str, dict[str, Any]]:
    """Map the name of each point to its curve and options; a point of two sweeps is there once."""
    named = {}
    for (curve, variable), values in SWEEPS.items():
        for value in values:
            options = BASES[curve] | {variable: value}
            named[point_name(curve, options)] = {"curve": curve, "options": options}
    return named


def point_name(curve: str, options: dict[str, Any]) -> str:
    """Name a point: ``training side=160 batch=8 width=16``."""
    return " ".join([curve, *(f"{key}={value}" for key, value in options.items())])


def measure(curve: str, options: dict[str, Any]) -> dict[str, float]:
    """Measure seconds, CPU seconds and (but for store and plan) memory of one point."""
    if curve in ("store", "plan"):
        work = {"store": measure_store, "plan": measure_plan}[curve]
        return work(**options)
    return in_fresh_process("scoring" if curve == "pooled" else curve, **options)


def measure_store(runs: int) -> dict[str, float]:
    """Read every record of a store with ``runs`` records: copies of the book's records under other names."""
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
    """Look up ``runs`` planned runs in the book's store: each is hashed first, as with `train=missing`."""
    from retlib.studies import load_study
    from retlib.study import Store

    os.environ.pop("RETLIB_DATA", None)  # the committed fingerprints, as on a machine without data
    first = list(load_study("one-protocol").runs("lite").values())
    configs = [first[i % len(first)].model_copy(update={"seed": i // len(first)}) for i in range(runs)]
    store = Store(RECORDS)
    seconds = timed(lambda: [store.find(config) for config in configs], least=2, budget=0.3)
    return {"seconds": seconds.wall, "cpu_seconds": seconds.cpu}


def power_law(x: Sequence[float], y: Sequence[float]) -> dict[str, float]:
    """Fit log y = log coefficient + exponent log x by least squares.

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
    error = float(np.sqrt(covariance[0, 0]))
    return {"exponent": float(exponent), "standard_error": error, "coefficient": float(np.exp(constant))}


def fits(measured: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Map ``training/side/seconds`` and the like to the fit of a sweep, with its points ``x`` and ``y``.

    An incomplete sweep is left out; so is memory where a point added nothing to the process.
    """
    fitted = {}
    for (curve, variable), values in SWEEPS.items():
        sweep = [measured.get(point_name(curve, BASES[curve] | {variable: value}), {}) for value in values]
        for quantity in ("seconds", "memory_mib"):
            numbers = [point.get(quantity) for point in sweep]
            if all(number is not None and number > 0 for number in numbers):
                fit = power_law(values, numbers)
                fitted[f"{curve}/{variable}/{quantity}"] = fit | {"x": list(values), "y": numbers}
    return fitted


def same_machine(stored: dict[str, Any], here: dict[str, Any]) -> bool:
    """Tell whether two measurements may be points of one curve; the load may differ."""
    return {**stored, "load": 0} == {**here, "load": 0}


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="measure every point again")
    options = parser.parse_args(arguments)
    here = machine()
    before = {} if options.again else read_json(TARGET)
    if before and not same_machine(before["machine"], here):
        print(f"{TARGET.name} is of another machine ({json.dumps(before['machine'])}): every point is measured again")
        before = {}
    measured = before.get("points", {})
    content = {"machine": here, "date": today(), "bases": BASES}
    for name, point in tqdm(points().items(), desc="cost curves", unit="point"):
        if name not in measured:
            measured[name] = measure(point["curve"], point["options"])
        done = {key: measured[key] for key in points() if key in measured}
        write_json(TARGET, content | {"points": done, "fits": fits(done)})


if __name__ == "__main__":
    main()
