"""Time optimiser steps of the runs of the `paper` profile and predict an image with each: `make rehearse`, with data.

Writes book/records/rehearsal.json, one line for all runs whose steps take as long: seconds a step in bfloat16 and in
float32 on the CPU, or on the GPU where there is one, and the machine. What is there already is kept, so a stopped
rehearsal goes on where it was, and the GPU's column can be filled on another machine. All papers take about a
quarter of an hour on two cores with units for bfloat16.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from measuring import RECORDS, machine, read_json, today, write_json
from tqdm import tqdm

from retlib.acceleration import processor_flags
from retlib.inference import has_bfloat16, pick_device
from retlib.papers import list_papers, load_paper
from retlib.studies import list_studies, load_study
from retlib.study import RunConfig, rehearse
from retlib.study.rehearsal import STEPS, planned_steps, step_key

TARGET = RECORDS / "rehearsal.json"

Members = list[tuple[str, RunConfig]]


def planned() -> dict[str, Members]:
    """Group the full-size runs (``key/run``, config) whose steps take as long; the first of a group is rehearsed."""
    groups: dict[str, Members] = {}
    plans = {key: load_paper(key) for key in list_papers()} | {key: load_study(key) for key in list_studies()}
    for key, plan in plans.items():
        for name, config in plan.runs("paper").items():
            groups.setdefault(step_key(config), []).append((f"{key}/{name}", config))
    return groups


def measure(
    groups: Mapping[str, Members], keys: Sequence[str], columns: Sequence[str], target: Path, again: bool = False
) -> None:
    """Rehearse the groups with a run of these papers or studies, and add to a file what it lacks.

    Lines whose runs are planned no longer are dropped from it.
    """
    known = {line.get("step"): line for line in read_json(target).values()}
    lines = {step: known.get(step, {"step": step}) for step in groups}
    wanted = [step for step, members in groups.items() if any(name.split("/")[0] in keys for name, _ in members)]
    for step in tqdm(wanted, desc="rehearsing", unit="run"):
        missing = [column for column in columns if again or column not in lines[step]]
        if not missing:
            continue
        measured = {"load": machine()["load"], "machine": describe_machine(missing)}
        for column, seconds in rehearse(groups[step][0][1], missing).items():
            lines[step][column] = {"step_s": seconds} | measured
        done = {members[0][0]: lines[step] | sums(lines[step], members) for step, members in groups.items()}
        write_json(target, {name: line for name, line in done.items() if not STEPS.keys().isdisjoint(line)})


def sums(line: Mapping[str, Any], members: Members) -> dict[str, Any]:
    """What the page about speed adds up: float32 on the CPU, and the runs that take it."""
    if "float32" not in line:
        return {"stands_for": []}
    return {
        "step_s": line["float32"]["step_s"],
        "planned_steps": planned_steps(members[0][1]),
        "stands_for": [name for name, _ in members],
    }


def describe_machine(columns: Sequence[str]) -> dict[str, Any]:
    """Name the processor, its cores and units for bfloat16, threads, torch's version, the day, and the GPU in use."""
    flags = processor_flags() or ()
    facts = {name: value for name, value in machine().items() if name != "load"}
    facts |= {"threads": torch.get_num_threads(), "date": today()}
    facts |= {flag: flag in flags for flag in ("amx_bf16", "avx512_bf16")}
    return facts | ({"gpu": torch.cuda.get_device_name()} if "gpu" in columns else {})


def main(arguments: list[str] | None = None) -> None:
    """Rehearse what is missing."""
    known = [*list_papers(), *list_studies()]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("keys", nargs="*", metavar="KEY", help=f"of {', '.join(known)}; by default all papers")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto: a GPU where there is one (default)")
    parser.add_argument("--again", action="store_true", help="measure anew what is there already")
    options = parser.parse_args(arguments)
    if unknown := [key for key in options.keys if key not in known]:
        parser.error(f"unknown: {', '.join(unknown)}; expected some of {', '.join(known)}")
    if pick_device(options.device).type == "cuda":
        columns = ["gpu"]
    else:  # without units for it bfloat16 is emulated, and nobody would train in it
        columns = ["bfloat16", "float32"] if has_bfloat16() else ["float32"]
    measure(planned(), options.keys or list_papers(), columns, TARGET, options.again)


if __name__ == "__main__":
    main()
