"""Workloads whose time and memory are measured in a process of their own.

    python -m tests.benchmarks.workloads training '{"side": 160, "batch": 8, "width": 16}'

prints one line of JSON: ``seconds`` and ``cpu_seconds`` of one repetition, ``memory_mib`` (what the work added to the
process at its peak) and ``peak_mib`` (the whole process).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import numpy as np
import torch

from tests.benchmarks.measuring import ROOT, PeakMemory, Seconds, timed, use_threads


def network(width: int) -> torch.nn.Module:
    """Build the U-Net of the one protocol with ``width`` channels in its first stage."""
    from retlib.models import build_model

    torch.manual_seed(0)
    return build_model("unet", in_channels=3, width=width, depth=3).to(memory_format=torch.channels_last)


def random_batch(side: int, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw images (batch, 3, side, side) and vessels (batch, 1, side, side), float32."""
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.random((batch, 3, side, side), dtype=np.float32))
    vessels = torch.from_numpy((rng.random((batch, 1, side, side)) < 0.12).astype(np.float32))
    return image.contiguous(memory_format=torch.channels_last), vessels


def training(side: int, batch: int, width: int) -> Seconds:
    """Time one optimiser step as in retlib.training, float32, on a batch in memory."""
    from retlib.losses import build_loss

    model = network(width).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss_of = build_loss({"bce": 1.0, "dice": 1.0})
    image, vessels = random_batch(side, batch)

    def step() -> None:
        loss = loss_of(model(image), vessels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return timed(step)


def inference(side: int, batch: int, width: int) -> Seconds:
    """Time one forward pass."""
    model = network(width).eval()
    image, _ = random_batch(side, batch)
    with torch.inference_mode():
        return timed(lambda: model(image))


def scoring(images: int, average: str) -> Seconds:
    """Time the scoring of ``images`` maps of DRIVE's size with every metric but clDice."""
    from retlib.metrics import METRICS, evaluate

    rng = np.random.default_rng(0)
    rows, columns = np.ogrid[:584, :565]
    fov = np.hypot(rows - 292, columns - 282) < 270
    vessels = [rng.random((584, 565), dtype=np.float32) < 0.12 for _ in range(images)]
    logits = [rng.standard_normal(v.shape, np.float32) * np.float32(1.6) - 3 + np.float32(4.5) * v for v in vessels]
    maps = [1 / (1 + np.exp(-each)) for each in logits]
    names = [name for name in METRICS if name != "cldice"]
    return timed(lambda: evaluate(maps, vessels, [fov] * images, average=average, metrics=names))


def photograph(tiled: bool) -> Seconds:
    """Time the shipped network on a photograph of 3504x2336 pixels (HRF's size).

    Either as `retlib predict` does, at the network's working size, or on the native grid in tiles of 512 pixels.
    """
    import cv2

    from retlib.data import FundusSample
    from retlib.data.phantoms import make_phantom
    from retlib.inference import InferenceSettings, predict_logits
    from retlib.predict import load_predictor

    # Enlarged: drawing it at full size would take more memory than segmenting it.
    small = make_phantom(0, height=584, width=876)
    image = cv2.resize(small.image, (3504, 2336), interpolation=cv2.INTER_CUBIC)
    predictor = load_predictor(device="cpu")
    if not tiled:
        return timed(lambda: predictor(image), least=1, budget=0)
    masks = [part.view(np.uint8) for part in (small.vessels, small.fov)]
    masks = [cv2.resize(each, (3504, 2336), interpolation=cv2.INTER_NEAREST).astype(bool) for each in masks]
    sample = FundusSample("large", image, *masks)
    inputs = predictor.card.inputs.model_copy(update={"fov_side": None})
    settings = InferenceSettings(tile=512, overlap=64)
    return timed(lambda: predict_logits(predictor.model, sample, inputs, settings), least=1, budget=0)


WORKLOADS: dict[str, Callable[..., Seconds]] = {
    "training": training,
    "inference": inference,
    "scoring": scoring,
    "photograph": photograph,
}
# Run once before the measurement, so that the libraries' own memory does not count.
SMALLEST: dict[str, dict[str, Any]] = {
    "training": {"side": 32, "batch": 1, "width": 4},
    "inference": {"side": 32, "batch": 1, "width": 4},
    "scoring": {"images": 1, "average": "image"},
}


def in_fresh_process(name: str, **options: Any) -> dict[str, float]:
    """Run a workload in a new process and return its measurements.

    Raises:
        RuntimeError: it failed; the message ends with what it printed.
    """
    command = [sys.executable, "-m", __name__, name, json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{name} {options} failed with exit status {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure one workload and print it."""
    name, options = sys.argv[1], json.loads(sys.argv[2])
    use_threads()
    if name in SMALLEST:
        WORKLOADS[name](**SMALLEST[name])
    memory = PeakMemory()
    seconds = WORKLOADS[name](**options)
    added, peak = memory.reached()
    print(json.dumps({"seconds": seconds.wall, "cpu_seconds": seconds.cpu, "memory_mib": added, "peak_mib": peak}))


if __name__ == "__main__":
    main()
