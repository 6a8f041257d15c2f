"""Two optimiser steps and one validation image of every table row's `paper` run: `make rehearse` (needs the data sets).

Writes book/records/rehearsal.json, a line a distinct network and size; a run whose line is there already is left
alone, so a stopped rehearsal goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from retlib.experiments import RunConfig, rehearse
from retlib.papers import list_papers, load_paper

TARGET = Path(__file__).parents[1] / "book" / "records" / "rehearsal.json"


def planned(roles: tuple[str, ...] = ("table",)) -> dict[str, list[tuple[str, RunConfig]]]:
    """Key of a network at a size -> the runs (``paper/run``, config) that have it; the first one is rehearsed."""
    groups: dict[str, list[tuple[str, RunConfig]]] = {}
    for key in list_papers():
        paper = load_paper(key)
        for role in roles:
            for name, config in paper.runs("paper", role=role).items():
                # What decides whether two steps run: everything but which images they see.
                essence = config.model_dump(mode="json", exclude={"train", "test", "seed", "scoring", "validation"})
                groups.setdefault(json.dumps(essence, sort_keys=True), []).append((f"{key}/{name}", config))
    return groups


def main() -> None:
    """Rehearse what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--again", action="store_true", help="rehearse everything again")
    parser.add_argument("--ablations", action="store_true", help="rehearse the ablation runs too")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    done = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() and not arguments.again else {}
    groups = planned(("table", "ablation") if arguments.ablations else ("table",))
    wanted = {members[0][0]: members for members in groups.values()}
    done = {
        name: line for name, line in done.items() if name in wanted and line["config"] == wanted[name][0][1].identify()
    }
    for name, members in tqdm(wanted.items(), desc="rehearsing", unit="run"):
        if name not in done:
            config = members[0][1]
            done[name] = {"config": config.identify()} | rehearse(config, device=arguments.device)
        done[name]["stands_for"] = [other for other, _ in members]
        TARGET.write_text(json.dumps(dict(sorted(done.items())), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
