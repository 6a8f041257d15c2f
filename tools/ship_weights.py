"""Make the weights that come with retlib from a finished run: ``python tools/ship_weights.py RECORD_ID --name NAME``.

Reads the record of a run, or of a mean of several, and the weights that the runs left in the cache, and writes
``NAME.pt`` and ``NAME.json`` into ``retlib/weights``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from retlib.prediction import ship
from retlib.study import Record, Store, weights_path

ROOT = Path(__file__).parents[1]


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and ship; a wrong argument ends in one line on stderr and exit code 2."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("record", help="id of the run's or the mean's record")
    parser.add_argument("--name", required=True, help="name of the model and of its two files")
    parser.add_argument(
        "--licence",
        required=True,
        help="what others may do with the weights, with the terms of the photographs they were trained on",
    )
    parser.add_argument("--records", type=Path, default=ROOT / "book" / "records", help="folder of records")
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="[ID=]FILE",
        help="state dict, by default what the run left in the cache; of a mean: the id of a member's run and its file",
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "retlib" / "weights", help="where the files go")
    options = parser.parse_args(arguments)
    record = Store(options.records).get(options.record)
    if record is None:
        parser.error(f"there is no record {options.record} in {options.records}")
    try:
        source = _source(record, options.weights)
        card = ship(record, source, options.folder, name=options.name, licence=options.licence)
    except (ValueError, OSError) as error:
        print(f"ship_weights: {error}", file=sys.stderr)
        sys.exit(2)
    size = (options.folder / f"{card.name}.pt").stat().st_size
    print(f"{options.folder / card.name}.pt: {card.parameters:,} parameters, {size / 1e6:.2f} MB, {card.threshold:.3f}")


def _source(record: Record, named: list[str]) -> Path | dict[str, Path]:
    """The file of a run, or those files of a mean's members that were named."""
    if record.content["config"].get("kind") != "mean":
        if len(named) > 1:
            raise ValueError(f"--weights: record {record.id} is of one run, expected one file, got {len(named)}")
        return Path(named[0]) if named else weights_path(record.id)
    files = {}
    for entry in named:
        identity, _, file = entry.partition("=")
        if identity not in record.content["members"] or not file:
            members = ", ".join(record.content["members"])
            raise ValueError(f"--weights: expected ID=FILE with an id among {members}, got {entry!r}")
        files[identity] = Path(file)
    return files


if __name__ == "__main__":
    main()
