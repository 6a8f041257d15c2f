"""Pieces of work whose time and memory are measured in a process of their own.

    python tools/workloads.py training '{"side": 160, "batch": 8, "width": 16}'

prints one line of JSON: ``seconds`` and ``cpu_seconds`` of one repetition, ``memory_mib`` (what the work added to the
process at its highest point) and ``peak_mib`` (the whole process).
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
from measuring import ROOT, PeakMemory, Seconds, timed, use_threads

# The U-Net of the one protocol, of which the curves are drawn.
BASE = {"side": 160, "batch": 8, "width": 16}


def network(width: int) -> torch.nn.Module:
    """U-Net of the one protocol with so many channels in its first stage."""
    from retlib.models import build_model

    torch.manual_seed(0)
    return build_model("unet", in_channels=3, width=width, depth=3).to(memory_format=torch.channels_last)


def random_batch(side: int, batch: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Image (batch, 3, side, side) and vessels (batch, 1, side, side), float32; what is in them costs nothing."""
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.random((batch, 3, side, side), dtype=np.float32))
    vessels = torch.from_numpy((rng.random((batch, 1, side, side)) < 0.12).astype(np.float32))
    return image.contiguous(memory_format=torch.channels_last), vessels


def training_step(side: int, batch: int, width: int) -> Callable[[], None]:
    """One optimiser step as in retlib.training, float32, on a batch that is there already."""
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

    return step


def training(side: int, batch: int, width: int) -> Seconds:
    """Seconds a training step."""
    return timed(training_step(side, batch, width))


def inference(side: int, batch: int, width: int) -> Seconds:
    """Seconds a forward pass."""
    model = network(width).eval()
    image, _ = random_batch(side, batch)

    def forward() -> None:
        with torch.inference_mode():
            model(image)

    return timed(forward)


def scoring(images: int, average: str) -> Seconds:
    """Seconds to score so many maps of DRIVE's size with every metric but clDice."""
    from retlib.metrics import METRICS, evaluate

    maps, vessels, fov = random_maps(images)
    names = [name for name in METRICS if name != "cldice"]
    return timed(lambda: evaluate(maps, vessels, [fov] * images, average=average, metrics=names))


def random_maps(images: int, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Probabilities float32 (584, 565) and vessels, a list each, and a round FOV; a share of 0.12 is vessel."""
    rng = np.random.default_rng(seed)
    rows, columns = np.ogrid[:584, :565]
    vessels = [rng.random((584, 565), dtype=np.float32) < 0.12 for _ in range(images)]
    logits = [rng.standard_normal(v.shape, np.float32) * np.float32(1.6) - 3 + np.float32(4.5) * v for v in vessels]
    return [1 / (1 + np.exp(-each)) for each in logits], vessels, np.hypot(rows - 292, columns - 282) < 270


def photograph(tiled: bool) -> Seconds:
    """Seconds to segment a photograph of 3504x2336 pixels (HRF's size) with the shipped network.

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
    vessels, fov = (
        cv2.resize(part.view(np.uint8), (3504, 2336), interpolation=cv2.INTER_NEAREST).astype(bool)
        for part in (small.vessels, small.fov)
    )
    sample = FundusSample("large", image, vessels, fov)
    predictor = load_predictor(device="cpu")
    if not tiled:
        return timed(lambda: predictor(sample.image), least=1, budget=0)
    inputs = predictor.card.inputs.model_copy(update={"fov_side": None})
    settings = InferenceSettings(tile=512, overlap=64)
    return timed(lambda: predict_logits(predictor.model, sample, inputs, settings), least=1, budget=0)


WORKLOADS: dict[str, Callable[..., Seconds]] = {
    "training": training,
    "inference": inference,
    "scoring": scoring,
    "photograph": photograph,
}


SMALLEST: dict[str, dict[str, Any]] = {
    "training": {"side": 32, "batch": 1, "width": 4},
    "inference": {"side": 32, "batch": 1, "width": 4},
    "scoring": {"images": 1, "average": "image"},
}


def in_fresh_process(name: str, **options: Any) -> dict[str, float]:
    """Run a workload in a process of its own; see the module.

    Raises:
        RuntimeError: it failed; the message ends with what it printed.
    """
    command = [sys.executable, __file__, name, json.dumps(options)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{name} {options} failed with exit status {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure one workload and print it."""
    name, options = sys.argv[1], json.loads(sys.argv[2])
    use_threads()
    if name in SMALLEST:  # brings in the libraries' own memory, which is no part of the work
        WORKLOADS[name](**SMALLEST[name])
    memory = PeakMemory()
    seconds = WORKLOADS[name](**options)
    more, peak = memory.reached()
    print(json.dumps({"seconds": seconds.wall, "cpu_seconds": seconds.cpu, "memory_mib": more, "peak_mib": peak}))


if __name__ == "__main__":
    main()
