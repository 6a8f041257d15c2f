"""What a lane does for the driver: functions at module level, so that any executor can carry them elsewhere."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch

from retlib.experiments import NUMERICS, Record, RunConfig, Store, pick_device, run

# torch's generators belong to the process: two runs in threads of one would take each other's random numbers.
_ONE_AT_A_TIME = threading.Lock()


def make_record(
    config: dict[str, Any], identity: str, store: str | None, root: str | None, device: str, progress: bool
) -> dict[str, Any]:
    """Make the record of one run, or go on where a killed one stopped.

    Args:
        config: the run, as `RunConfig.model_dump` gives it.
        identity: the id that the driver expects.
        store: folder that the record is written to; None makes it in a temporary one and sends its files back.
        root: folder of the data sets; RETLIB_DATA by default.
        device: where to run.
        progress: whether the run shows its own bar.

    Returns:
        ``seconds``, and ``files``: name -> bytes of the record's files (None with a store).

    Raises:
        ValueError: the code or the data of this machine is not the driver's.
    """
    with _ONE_AT_A_TIME:
        started = time.perf_counter()
        parsed = RunConfig.parse(config)
        if parsed.numerics != NUMERICS:
            raise ValueError(f"this machine's retlib has numerics {NUMERICS}, the driver's has {parsed.numerics}")
        if (found := parsed.identify(root)) != identity:
            raise ValueError(
                f"this machine's data are not the driver's: expected the run {identity}, got {found}; "
                "compare with `retlib data verify`"
            )
        target = pick_device(device)
        if target.type == "cuda":  # so that a record's peak is its own run's
            torch.cuda.reset_peak_memory_stats(target)
        try:
            if store is not None:
                run(parsed, store, root=root, device=device, progress=progress)
                files = None
            else:
                with tempfile.TemporaryDirectory(prefix="retlib-") as folder:
                    record = run(parsed, folder, root=root, device=device, progress=progress)
                    files = {path.name: path.read_bytes() for path in sorted(record.folder.iterdir())}
        finally:
            if target.type == "cuda":
                torch.cuda.empty_cache()
        return {"seconds": time.perf_counter() - started, "files": files}


def keep_record(files: dict[str, bytes], identity: str, store: Store) -> Record:
    """Write a record that was sent back, whole, unless it is there already.

    Raises:
        ValueError: what was sent is not the record of this run.
    """
    if (present := store.get(identity)) is not None:
        return present
    content = json.loads(files["record.json"])
    if content["id"] != identity:
        raise ValueError(f"expected the record {identity}, a worker sent {content['id']}")
    return store.write(content, {name: data for name, data in files.items() if name != "record.json"})


def wait_for_record(identity: str, store: Store, seconds: float = 10.0) -> Record:
    """The record that another process wrote; a shared folder may take a moment to show it.

    Raises:
        FileNotFoundError: it does not appear.
    """
    deadline = time.monotonic() + seconds
    while (record := store.get(identity)) is None:
        if time.monotonic() > deadline:
            raise FileNotFoundError(
                f"{Path(store.path, identity)}: the run is finished, but its record is not here; do all workers see "
                "this folder under this path? `--store returned` sends records back instead"
            )
        time.sleep(0.1)
    return record
