"""Two optimiser steps and one validation image of every run of the `paper` profile: `make rehearse` (needs the data).

Papers first, then the studies. Writes book/records/rehearsal.json, a line a distinct network and setting; a run whose
line is there already is left alone, so a stopped rehearsal goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from retlib.experiments import RunConfig, rehearse
from retlib.files import write_whole
from retlib.papers import list_papers, load_paper
from retlib.studies import list_studies, load_study

TARGET = Path(__file__).parents[1] / "book" / "records" / "rehearsal.json"


def planned() -> dict[str, list[tuple[str, RunConfig]]]:
    """What decides whether two steps run -> the runs (``key/run``, config) that have it; the first one is rehearsed."""
    groups: dict[str, list[tuple[str, RunConfig]]] = {}
    plans = {key: load_paper(key) for key in list_papers()} | {key: load_study(key) for key in list_studies()}
    for key, plan in plans.items():
        for name, config in plan.runs("paper").items():
            # Everything but which images they see.
            essence = config.model_dump(mode="json", exclude={"train", "test", "seed", "scoring", "validation"})
            groups.setdefault(json.dumps(essence, sort_keys=True), []).append((f"{key}/{name}", config))
    return groups


def main() -> None:
    """Rehearse what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--again", action="store_true", help="rehearse everything again")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    done = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() and not arguments.again else {}
    wanted = {members[0][0]: members for members in planned().values()}
    done = {
        name: line for name, line in done.items() if name in wanted and line["config"] == wanted[name][0][1].identify()
    }
    for name, members in tqdm(wanted.items(), desc="rehearsing", unit="run"):
        if name not in done:
            config = members[0][1]
            done[name] = {"config": config.identify()} | rehearse(config, device=arguments.device)
        done[name]["stands_for"] = [other for other, _ in members]
        write_whole(TARGET, (json.dumps(dict(sorted(done.items())), indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
