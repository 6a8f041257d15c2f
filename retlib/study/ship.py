"""Make a weights file and its card from a finished run: ``python -m retlib.study.ship RECORD --name NAME ...``."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
from pathlib import Path

import torch
from torch import nn

import retlib
from retlib.data.phantoms import make_phantom
from retlib.files import write_whole
from retlib.inference import predict_logits, probabilities
from retlib.models import count_parameters
from retlib.predict.weights import UNUSED, ModelCard, State, WeightsError, fill, package_folder, read_state
from retlib.study.config import RunConfig
from retlib.study.records import Record, Store
from retlib.study.runner import build, weights_path

MAX_BYTES = 2_000_000
"""Greatest size of a weights file in bytes."""

MAX_CHANGE = 1e-3
"""Change of a probability from which on the kernels of a run keep their 32 bits."""


def ship(
    record: Record, folder: str | Path, *, name: str, licence: str, weights: str | Path | None = None
) -> ModelCard:
    """Write the two files of a finished run: ``<name>.pt`` and ``<name>.json``.

    The kernels are stored with 16 bits if that changes no probability by `MAX_CHANGE` on two synthetic images, else
    with 32. Normalisation layers and biases always keep 32 bits.

    Args:
        record: the run's record.
        folder: where the files go; made where it does not exist.
        name: name of the model, also of its files.
        licence: what others may do with the weights, in a sentence or two.
        weights: the run's state dict; by default the one that it left in the cache, see `weights_path`.

    Returns:
        The card.

    Raises:
        WeightsError: the weights do not fit the record's model, hold a value that is not finite, or take more than
            `MAX_BYTES`; or the network has no working size, which photographs of other sizes need.
    """
    run = record.config
    if run.inputs.crop or run.inputs.resample or (run.inputs.fov_side or run.inputs.size) is None:
        raise WeightsError(
            f"record {record.id}: its inputs suit its own data set alone; photographs of any size need"
            " inputs.fov_side, and neither crop nor resample"
        )
    source = weights_path(record.id) if weights is None else Path(weights)
    state = read_state(source)
    model = fill(build(run), state, source)
    buffer = io.BytesIO()
    torch.save(_shortest(run, model, state), buffer)
    content = buffer.getvalue()
    if len(content) > MAX_BYTES:
        raise WeightsError(
            f"record {record.id}: the weights take {len(content) / 1e6:.2f} MB, where {MAX_BYTES / 1e6:g} MB may be"
            " shipped; choose a smaller network"
        )
    images = set(record.content["training"]["images"])
    trained_on = {
        selection.label: tuple(name for name in selection.names() if name in images)
        for selection in (run.train, *run.also)
    }
    chosen = run.scoring.threshold
    card = ModelCard(
        name=name,
        model=run.model,
        model_options=run.model_options,
        inputs=run.inputs,
        inference=run.inference,
        parameters=count_parameters(model),
        threshold=record.content["threshold"],
        threshold_from=f"best pooled Dice on the {chosen} images" if isinstance(chosen, str) else "set in advance",
        run=record.id,
        trained_on=trained_on,
        licence=licence,
        sha256=hashlib.sha256(content).hexdigest(),
        retlib=retlib.__version__,
    )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{name}.pt", content)
    write_whole(folder / f"{name}.json", (json.dumps(card.model_dump(mode="json"), indent=1) + "\n").encode())
    return card


def _shortest(run: RunConfig, model: nn.Module, state: State) -> State:
    """Round the kernels to 16 bits if that changes the probabilities by less than `MAX_CHANGE`."""
    rounded = _stored(state, torch.float16)
    change = _greatest_change(model, fill(build(run), rounded, run.model), run)
    return rounded if change < MAX_CHANGE else _stored(state, torch.float32)


def _stored(state: State, kernels: torch.dtype) -> State:
    """Convert tensors of more than one axis to ``kernels`` and the others to float32."""
    return {
        key: value.detach().to(kernels if value.ndim > 1 else torch.float32).contiguous().clone()
        for key, value in state.items()
        if not key.endswith(UNUSED)
    }


def _greatest_change(one: nn.Module, other: nn.Module, run: RunConfig) -> float:
    """Compute the greatest difference of a probability between two networks, on two synthetic images."""
    change = 0.0
    for phantom in (make_phantom(seed) for seed in range(2)):
        maps = [probabilities(predict_logits(model, phantom, run.inputs, run.inference)) for model in (one, other)]
        change = max(change, float(abs(maps[0] - maps[1]).max()))
    return change


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and ship; a wrong argument ends in one line on stderr and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m retlib.study.ship", description=__doc__.partition(":")[0])
    parser.add_argument("record", help="id of the run's record")
    parser.add_argument("--name", required=True, help="name of the model and of its two files")
    parser.add_argument(
        "--licence",
        required=True,
        help="what others may do with the weights, with the terms of the photographs they were trained on",
    )
    parser.add_argument("--records", type=Path, default=Path("book/records"), help="folder of records")
    parser.add_argument("--weights", type=Path, help="state dict; by default what the run left in the cache")
    parser.add_argument("--folder", type=Path, default=package_folder(), help="where the files go")
    options = parser.parse_args(arguments)
    record = Store(options.records).get(options.record)
    if record is None:
        parser.error(f"there is no record {options.record} in {options.records}")
    try:
        card = ship(record, options.folder, name=options.name, licence=options.licence, weights=options.weights)
    except (ValueError, OSError) as error:
        print(f"ship: {error}", file=sys.stderr)
        sys.exit(2)
    path = options.folder / f"{card.name}.pt"
    print(f"{path}: {card.parameters:,} parameters, {path.stat().st_size / 1e6:.2f} MB, threshold {card.threshold:.3f}")


if __name__ == "__main__":
    main()
