"""Loss and pixel scores of an epoch, summed on the device while it runs."""

from __future__ import annotations

import math
from typing import Any

import torch

from retlib.batches import Batch


def region_mask(batch: Batch, region: str) -> torch.Tensor | None:
    """float32 (N, 1, h, w): 1 where the loss and the running scores look; None: everywhere."""
    return batch.fov if region == "fov" else None


class Running:
    """Loss, and accuracy, sensitivity and Dice (at probability 0.5, pooled over the region's pixels), of an epoch."""

    def __init__(self, device: torch.device) -> None:
        # Loss times samples; then pixels: vessel and found, found, vessel, all.
        self.sums = torch.zeros(5, device=device, dtype=torch.float64)
        self.samples = 0

    @torch.no_grad()
    def add(self, loss: torch.Tensor, logits: torch.Tensor, batch: Batch, mask: torch.Tensor | None) -> None:
        """Add a batch: its mean loss, a scalar, and its logits (N, 1, h, w)."""
        found = (logits >= 0).to(batch.vessels.dtype)
        vessels = batch.vessels
        if mask is not None:
            found, vessels = found * mask, vessels * mask
            pixels = _count(mask)
        else:  # filled on the device; a tensor made of a Python number would be copied there, and waited for
            pixels = torch.full((), vessels.numel(), device=vessels.device, dtype=torch.float64)
        self.sums += torch.stack(
            [loss.detach().double() * len(logits), _count(found * vessels), _count(found), _count(vessels), pixels]
        )
        self.samples += len(logits)

    def state_dict(self) -> dict[str, Any]:
        """The sums so far, for a checkpoint; on CUDA this waits for the GPU."""
        return {"sums": self.sums.tolist(), "samples": self.samples}

    def load_state_dict(self, content: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.sums = torch.tensor(content["sums"], device=self.sums.device, dtype=torch.float64)
        self.samples = content["samples"]

    def row(self, prefix: str) -> dict[str, float]:
        """The epoch's scores by name, each name with ``prefix`` in front; NaN where there is no vessel to find."""
        loss, overlap, found, vessel, pixels = self.sums.tolist()
        correct = pixels - found - vessel + 2 * overlap
        return {
            f"{prefix}_loss": loss / self.samples,
            f"{prefix}_accuracy": correct / pixels,
            f"{prefix}_sensitivity": overlap / vessel if vessel else math.nan,
            f"{prefix}_dice": 2 * overlap / (found + vessel) if found + vessel else math.nan,
        }


def _count(ones: torch.Tensor) -> torch.Tensor:
    """Sum of float32 zeros and ones as float64, exact: float32 sums are, up to 2^24, so rows are summed in it first."""
    return ones.sum(dim=-1).sum(dtype=torch.float64)
