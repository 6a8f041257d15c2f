"""Count faults: writes book/records/robustness.json, and its tables as CSV for the page *How far it was tested*.

    python -m tests.robustness                            kills, full disks, damaged files; a quarter of an hour
    python -m tests.robustness --parts kills --kills 200  some of them, more often
    python -m tests.robustness --suite                    run the whole test suite, and store its counts

Another processor's kernels are chosen by the environment: OPENBLAS_CORETYPE=Haswell ATEN_CPU_CAPABILITY=default.
A part that is not run stays as it was; `--parts` without a name writes the tables anew. The exit code is 1 where
something failed, which is stored, too.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

from retlib.files import write_whole
from tests.benchmarks.measuring import RECORDS, ROOT, processor_name, read_json, today, write_json

TARGET = RECORDS / "robustness.json"
KILLS, FILES = 50, 8  # by default
LEFT = (0, 5000)
"""Bytes that are left on a full disk: nothing, and a part of what is written."""


def count_malformed(folder: Path, each: int = FILES) -> dict[str, Any]:
    """Read damaged files; outcomes by group of readers, and the failures in words."""
    from tests.robustness.malformed import FAILED, READERS, count, try_reader

    cases = []
    for number, reader in enumerate(READERS):
        print(f"  damaged: {reader.name}", flush=True)
        cases += try_reader(reader, folder / str(number), each)
    failures = [f"{case.seed}: {case.why}" for case in cases if case.outcome == FAILED]
    readers: dict[str, list[str]] = {}
    for reader in READERS:
        readers.setdefault(reader.group, []).append(reader.name)
    return {"files": len(cases), "readers": readers, "outcomes": count(cases), "failures": failures}


def count_kills(folder: Path, kills: int = KILLS) -> dict[str, Any]:
    """Kill writers, runs and downloads; what was seen, by kind, and the failures in words."""
    from tests.robustness.kills import kill_downloads, kill_runs, kill_writer
    from tests.robustness.writers import WRITERS

    found: dict[str, Any] = {}
    failures = []
    for number, writer in enumerate(WRITERS):
        processes = 2 if writer.name == "record" else 1
        kinds: dict[str, Callable[[], dict[str, int]]] = {
            writer.name: lambda w=writer, n=number, p=processes: kill_writer(w, folder / str(n), kills, p)
        }
        found |= _tried(kinds, failures)
    kinds = {
        "downloads": lambda: kill_downloads(folder / "downloads", kills),
        "runs": lambda: kill_runs(folder / "runs", kills),
    }
    return {"kinds": found | _tried(kinds, failures), "failures": failures}


def _tried(kinds: dict[str, Callable[[], dict[str, int]]], failures: list[str]) -> dict[str, dict[str, int]]:
    found = {}
    for name, work in kinds.items():
        print(f"  killed: {name}", flush=True)
        try:
            found[name] = work()
        except Exception as error:
            failures.append(f"{name}: {type(error).__name__}: {error}")
    return found


def count_full_disks(folder: Path, _: None = None) -> dict[str, Any]:
    """Write on full disks; the messages, by kind of output, and the failures in words."""
    from tests.robustness.full_disk import write_on_a_full_disk
    from tests.robustness.writers import WRITERS

    messages, failures = {}, []
    for number, writer in enumerate(WRITERS):
        print(f"  full disk: {writer.name}", flush=True)
        for left in LEFT:
            place = folder / f"{number}-{left}"
            try:
                text = write_on_a_full_disk(writer, place, left).replace(str(place), "…")
                messages[f"{writer.name}, {left} bytes left"] = text
            except Exception as error:
                failures.append(f"{writer.name}: {type(error).__name__}: {error}")
    return {"messages": messages, "failures": failures}


def run_suite(arguments: list[str]) -> dict[str, Any]:
    """Run pytest in this interpreter; its counts, with all that decides the floats it computes."""
    import numpy as np
    import torch

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "-q"]
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        done = subprocess.run([*command, f"--junitxml={file}", *arguments], cwd=ROOT, env=environment)
        if not file.is_file():
            raise RuntimeError(f"pytest ended with {done.returncode} and wrote no counts")
        (suite,) = ElementTree.parse(file).getroot()
    counts = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    return {
        "processor": processor_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "openblas": os.environ.get("OPENBLAS_CORETYPE", "its own choice"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__.partition("+")[0],
        "torchvision": version("torchvision").partition("+")[0],
        "passed": counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"],
        "failed": counts["failures"] + counts["errors"],
        "skipped": counts["skipped"],
        "seconds": round(time.perf_counter() - started),
        "date": today(),
    }


def suite_key(suite: dict[str, Any]) -> str:
    """Name what a run of the suite was run with; a later run with the same replaces it."""
    return ", ".join(str(suite[name]) for name in ("processor", "instructions", "openblas", "python", "torch"))


def tables(content: dict[str, Any]) -> dict[str, list[list[object]]]:
    """Arrange the counts for the page: name of a table -> its rows, the first of them the headings."""
    from tests.robustness.malformed import OUTCOMES

    files: list[list[object]] = [["files", "kinds", "damaged", *OUTCOMES]]
    for group, outcomes in content["malformed"]["outcomes"].items():
        readers = ", ".join(content["malformed"]["readers"][group])
        files.append([group, readers, sum(outcomes.values()), *(outcomes[name] for name in OUTCOMES)])
    columns = [row[2:] for row in files[1:]]
    files.append(["all", "", *(sum(numbers) for numbers in zip(*columns, strict=True))])
    kills: list[list[object]] = [["what was being written", "kills", "what was there afterwards"]]
    for name, counts in content["kills"]["kinds"].items():
        words = _AFTERWARDS[name if name in _AFTERWARDS else "writer"].format(**counts)
        hidden = f"; {counts['halves']} times a hidden half beside it" if counts.get("halves") else ""
        kills.append([name, counts["kills"], words + hidden])
    disks: list[list[object]] = [["what was written, and the room for it", "the error"]]
    disks += map(list, content["full_disk"]["messages"].items())
    keys = ("processor", "instructions", "openblas", "python", "torch", "numpy", "passed", "failed", "skipped", "date")
    suites: list[list[object]] = [["processor", "PyTorch uses", "OpenBLAS uses", *keys[3:]]]
    suites += [[suite[key] for key in keys] for suite in content.get("suites", {}).values()]
    return {"files": files, "kills": kills, "disks": disks, "suites": suites}


_AFTERWARDS = {
    "writer": "a whole version each time, {new_versions} times a new one",
    "downloads": "no data set or a whole one; {arrived} downloads arrived",
    "runs": "whole records, equal to those of runs left alone; all of them were made {rounds} times, and {resumed} come"
    " from runs that resumed",
}


def write_tables(target: Path) -> None:
    """Write the tables of a file of counts beside it, as ``robustness-files.csv`` and so on."""
    content = read_json(target)
    if not {"malformed", "kills", "full_disk"} <= content.keys():
        return
    for name, rows in tables(content).items():
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(
            rows if len(rows) > 1 else [*rows, ["not run yet", *[""] * (len(rows[0]) - 1)]]
        )
        write_whole(target.with_name(f"{target.stem}-{name}.csv"), text.getvalue().encode())


PARTS = {"full_disk": count_full_disks, "kills": count_kills, "malformed": count_malformed}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="*", choices=PARTS, help="what to count; by default all")
    parser.add_argument("--suite", action="store_true", help="run the test suite; what follows goes to pytest")
    parser.add_argument("--files", type=int, default=FILES, help=f"damaged files a reader and kind: {FILES}")
    parser.add_argument("--kills", type=int, default=KILLS, help=f"kills a kind of output: {KILLS}")
    parser.add_argument("--output", type=Path, default=TARGET, help="file for the counts")
    options, more = parser.parse_known_args(arguments)
    content = read_json(options.output)
    if options.suite:
        suite = run_suite(more)
        content.setdefault("suites", {})[suite_key(suite)] = suite
        write_json(options.output, content)
        write_tables(options.output)
        return int(suite["failed"] > 0)
    if more:
        parser.error(f"unknown: {' '.join(more)}")
    import torch

    torch.set_num_threads(1)  # a fork has no other threads
    failed = 0
    for name in PARTS if options.parts is None else options.parts:
        with tempfile.TemporaryDirectory() as folder:
            part = PARTS[name](Path(folder), {"malformed": options.files, "kills": options.kills}.get(name))
        failed += len(part["failures"])
        about = {"processor": processor_name(), "python": platform.python_version(), "date": today()}
        content = read_json(options.output) | {name: part | about}
        write_json(options.output, content)
        print(f"{name}: {len(part['failures'])} failures", *part["failures"], sep="\n  ", flush=True)
    write_tables(options.output)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
