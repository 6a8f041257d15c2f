"""The loop that ours is measured against: PyTorch as most repositories of the field write it.

What their training code does, read in November 2026 (none of it is copied):

- lee-zq/VesselSeg-Pytorch: all photographs in memory, patches cut in ``__getitem__`` around places drawn beforehand,
  flips and quarter turns, ``num_workers=0`` (an older loader: 6), ``loss.item()`` at every step.
- lseventeen/FR-UNet: patches from pickle files, flips and rotation, ``num_workers=16``, ``loss.item()`` and all scores
  at every step, taken with NumPy from outputs moved to the CPU, with scikit-learn's AUC among them.
- agaldran/lwnet: photograph, label and mask opened with PIL at every visit, ``num_workers=0``, ``loss.item()`` at every
  step.
- nikhilroxtomar/Retina-Blood-Vessel-Segmentation-in-PyTorch: images read with OpenCV at every visit, ``num_workers=2``,
  ``loss.item()`` at every step.
- Most others: albumentations' Compose with ToTensorV2, and the same loop.

Where they differ the faster way is taken: photographs in memory and not read from disk, places of the patches drawn
beforehand, no AUC at a step. Nobody uses channels_last, so the loop does not. The number of workers is measured with 0
and with 2, and the faster one counts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import albumentations as A
import numpy as np
import torch
from albumentations.pytorch import ToTensorV2
from torch import nn
from torch.utils.data import DataLoader, Dataset

from retlib.preprocessing import Prepared


class PatchDataset(Dataset):
    """Patches of photographs in memory, augmented when they are visited."""

    def __init__(self, samples: Sequence[Prepared], size: int, count: int, seed: int = 0) -> None:
        self.samples, self.size = samples, size
        rng = np.random.default_rng(seed)
        self.places = [self._place(rng) for _ in range(count)]
        self.transforms = A.Compose([A.D4(p=1.0), ToTensorV2()])

    def _place(self, rng: np.random.Generator) -> tuple[int, int, int]:
        """Sample, top and left of a patch whose centre lies inside the FOV."""
        number = int(rng.integers(len(self.samples)))
        fov = self.samples[number].fov
        rows, columns = np.nonzero(fov)
        chosen = rng.integers(len(rows))
        top, left = rows[chosen] - self.size // 2, columns[chosen] - self.size // 2
        return number, min(max(top, 0), fov.shape[0] - self.size), min(max(left, 0), fov.shape[1] - self.size)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        number, top, left = self.places[index]
        window = np.s_[top : top + self.size, left : left + self.size]
        image = self.samples[number].image[window]
        mask = self.samples[number].vessels[window].astype(np.uint8)
        augmented = self.transforms(image=image, mask=mask)
        return augmented["image"].float() / 255, augmented["mask"].float().unsqueeze(0)


class BCEDiceLoss(nn.Module):
    """Cross-entropy plus soft Dice, an image at a time."""

    def __init__(self, smooth: float = 1.0) -> None:
        super().__init__()
        self.smooth, self.bce = smooth, nn.BCEWithLogitsLoss()

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        probabilities = torch.sigmoid(logits)
        overlap = (probabilities * target).sum(dim=(1, 2, 3))
        total = probabilities.sum(dim=(1, 2, 3)) + target.sum(dim=(1, 2, 3))
        dice = 1 - ((2 * overlap + self.smooth) / (total + self.smooth)).mean()
        return self.bce(logits, target) + dice


def step_scores(logits: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    """Accuracy, sensitivity and Dice of a batch, with NumPy on the CPU."""
    found = torch.sigmoid(logits).detach().cpu().numpy().flatten() >= 0.5
    truth = target.cpu().numpy().flatten() >= 0.5
    tp, fp, fn = (found & truth).sum(), (found & ~truth).sum(), (~found & truth).sum()
    return {
        "accuracy": float((found == truth).mean()),
        "sensitivity": float(tp / max(tp + fn, 1)),
        "dice": float(2 * tp / max(2 * tp + fp + fn, 1)),
    }


class PlainLoop:
    """Network, optimiser and loader of a plain training script."""

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        *,
        batch_size: int,
        workers: int,
        learning_rate: float,
        weight_decay: float,
    ) -> None:
        self.model = model.train()
        self.loader = DataLoader(dataset, batch_size=batch_size, shuffle=True, num_workers=workers)
        self.criterion = BCEDiceLoss()
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
        self.history: list[dict[str, float]] = []

    def epoch(self) -> float:
        """One pass over the data; seconds from the second step on, so that the start of workers does not count."""
        started, total = 0.0, 0.0
        for number, (images, masks) in enumerate(self.loader):
            self.optimizer.zero_grad()
            logits = self.model(images)
            loss = self.criterion(logits, masks)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
            self.history.append({"loss": total / (number + 1), **step_scores(logits, masks)})
            if number == 0:
                started = time.perf_counter()
        return time.perf_counter() - started
