"""Make a dry run of each full-size run: time a few optimiser steps and predict an image. Needs the data sets.

    python -m tests.benchmarks.rehearse                           the papers' runs (`make rehearse`)
    python -m tests.benchmarks.rehearse af-unet one-protocol      some papers or studies
    python -m tests.benchmarks.rehearse af-unet --device cpu --again

Writes book/records/rehearsal.json, one entry for all runs with the same kind of step: seconds per step in bfloat16 and
float32 on the CPU, or on the GPU where there is one, and the machine. What was measured before is kept, so a stopped
dry run resumes, and the GPU's column can be filled on another machine. All papers take about a quarter of an hour on
two cores with bfloat16 units.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from retlib.device import has_bfloat16, pick_device
from retlib.inference import predict_logits
from retlib.papers import list_papers, load_paper
from retlib.preprocessing import Prepared, prepare
from retlib.studies import list_studies, load_study
from retlib.study import RunConfig
from retlib.study.runner import build, load_samples
from retlib.study.steps import planned_steps, step_key
from retlib.training import fit
from tests.benchmarks.measuring import RECORDS, machine, read_json, today, write_json

TARGET = RECORDS / "rehearsal.json"

# Column -> steps that warm up, steps that are timed. On the CPU the first two or three wait for memory that the system
# has to clear, and the median leaves the third out. A step in float32 takes longer, so the wait is a small part of it.
STEPS = {"bfloat16": (2, 3), "float32": (1, 1), "gpu": (3, 9)}

Members = list[tuple[str, RunConfig]]


def planned() -> dict[str, Members]:
    """Group the full-size runs (``key/run``, config) with the same kind of step; the first of a group is measured."""
    groups: dict[str, Members] = {}
    plans = {key: load_paper(key) for key in list_papers()} | {key: load_study(key) for key in list_studies()}
    for key, plan in plans.items():
        for name, config in plan.runs("paper").items():
            groups.setdefault(step_key(config), []).append((f"{key}/{name}", config))
    return groups


def measure(
    groups: Mapping[str, Members], keys: Sequence[str], columns: Sequence[str], target: Path, again: bool = False
) -> None:
    """Measure the groups with a run of these papers or studies, and add to a file what it lacks.

    Entries whose runs are no longer planned are dropped.
    """
    known = {line.get("step"): line for line in read_json(target).values()}
    lines = {step: known.get(step, {"step": step}) for step in groups}
    wanted = [step for step, members in groups.items() if any(name.split("/")[0] in keys for name, _ in members)]
    for step in tqdm(wanted, desc="dry run", unit="run"):
        missing = [column for column in columns if again or column not in lines[step]]
        if not missing:
            continue
        measured = {"load": machine()["load"], "machine": describe_machine(missing)}
        for column, seconds in rehearse(groups[step][0][1], missing).items():
            lines[step][column] = {"step_s": seconds} | measured
        done = {members[0][0]: lines[step] | sums(lines[step], members) for step, members in groups.items()}
        write_json(target, {name: line for name, line in done.items() if not STEPS.keys().isdisjoint(line)})


def sums(line: Mapping[str, Any], members: Members) -> dict[str, Any]:
    """Return what the page on performance sums up: seconds in float32 on the CPU, and the runs that need them."""
    if "float32" not in line:
        return {"stands_for": []}
    return {
        "step_s": line["float32"]["step_s"],
        "planned_steps": planned_steps(members[0][1]),
        "stands_for": [name for name, _ in members],
    }


def describe_machine(columns: Sequence[str]) -> dict[str, Any]:
    """Describe the processor, its cores and bfloat16 units, threads, torch's version, the date, and the GPU in use."""
    able = torch.cpu.get_capabilities()
    facts = {name: value for name, value in machine().items() if name != "load"}
    facts |= {"threads": torch.get_num_threads(), "date": today()}
    facts |= {flag: bool(able.get(flag)) for flag in ("amx_bf16", "avx512_bf16")}
    return facts | ({"gpu": torch.cuda.get_device_name()} if "gpu" in columns else {})


def rehearse(
    config: RunConfig, columns: Sequence[str] = ("bfloat16", "float32"), *, root: str | None = None
) -> dict[str, float]:
    """Time optimiser steps of a config at its full size, then predict one held-out image; writes nothing.

    Data, working size, network, batch, loss, augmentation and optimiser are those of the run. The learning rate is next
    to nothing, so that no schedule cut down to a few steps can make the weights explode.

    Args:
        config: the run.
        columns: what to measure, of ``STEPS``: ``bfloat16`` and ``float32`` on the CPU, ``gpu`` in the precision that
            the run has on CUDA.
        root: folder of the data sets; RETLIB_DATA by default.

    Returns:
        Column -> seconds a step, the median of the timed steps.

    Raises:
        FileNotFoundError: the data is not there.
        FloatingPointError: the loss or the prediction is not finite.
    """
    settings = config.training
    names, held_out = config.split_training()
    samples = load_samples(config.train, config, root, names[: settings.batch_size])
    prepared = [prepare(sample, config.inputs) for sample in samples]
    batch = [prepared[i % len(prepared)] for i in range(settings.batch_size)]
    watched = load_samples(config.train, config, root, (held_out or names[-1:])[:1])[0]
    found = {}
    for column in columns:
        found[column], model = _time_steps(config, batch, column)
    device = next(model.parameters()).device
    logits = predict_logits(model, watched, config.inputs, config.inference, device=device, amp=settings.amp)
    if not np.isfinite(logits).all():
        raise FloatingPointError(f"{config.model}: the logits of {watched.name} are not finite")
    return found


def _time_steps(config: RunConfig, batch: list[Prepared], column: str) -> tuple[float, nn.Module]:
    """Median seconds of the timed steps, each an epoch of one batch, and the network."""
    warm_up, timed = STEPS[column]
    settings = config.training
    changes = {
        "epochs": warm_up + timed,
        "augmented_copies": 0,
        "learning_rate": 1e-9,
        "schedule": "constant",
        "schedule_options": {},
        "patience": None,
        "keep": "last",
        "amp_cpu": column == "bfloat16",
    }
    if settings.patches is not None:
        drawn = {"per_epoch": settings.batch_size, "validation": None, "layout": "random"}
        changes["patches"] = settings.patches.model_copy(update=drawn)
    ends: list[float] = []
    trained = fit(
        lambda: build(config),
        batch,
        [],
        settings.model_copy(update=changes),
        config.inputs,
        seed=config.seed,
        device=pick_device("cuda" if column == "gpu" else "cpu"),
        progress=lambda *_: ends.append(time.perf_counter()),
    )
    return float(np.median(np.diff(ends)[-timed:])), trained.model


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing; see the module's docstring."""
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
    else:  # without units for it bfloat16 is emulated, slower than float32
        columns = ["bfloat16", "float32"] if has_bfloat16() else ["float32"]
    measure(planned(), options.keys or list_papers(), columns, TARGET, options.again)


if __name__ == "__main__":
    main()
