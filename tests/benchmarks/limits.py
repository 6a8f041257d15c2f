"""The lines of book/records/benchmarks.json: what each one measures, and its limit, fixed before it was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.measuring import machine, today


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        name: What is measured, for the page.
        unit: Unit of both numbers.
        limit: Least ratio where something is compared, else the largest value allowed; None: no limit.
        compares: Whether another library's number is beside ours.
        more_is_better: Whether the number is a rate, so that a higher one is faster.
        part: What measures it: a part of tests/benchmarks/bench.py (``tests``, ``utilisation``, ``book``) or ``given``.
    """

    name: str
    unit: str
    limit: float | None
    compares: bool = False
    more_is_better: bool = False
    part: str = "tests"

    def filled(
        self, ours: float, theirs: float | None = None, spread: Sequence[float] | None = None, note: str = ""
    ) -> dict[str, Any]:
        """Return the line as it is stored, with its verdict, the machine and the date.

        Args:
            ours: our number, a median.
            theirs: the other library's number from the same process; needed where the line compares.
            spread: the ratio of every round, or our number of every round where nothing is compared.
            note: a remark for the page.

        Raises:
            ValueError: ``theirs`` is missing, or given where nothing is compared.
        """
        if (theirs is not None) != self.compares:
            raise ValueError(f"{self.name}: expected {'two numbers' if self.compares else 'one number'} to fill it")
        ratio = met = None
        if theirs is not None:
            ratio = ours / theirs if self.more_is_better else theirs / ours
        if self.limit is not None:
            met = ours <= self.limit if ratio is None else ratio >= self.limit
        return self.empty() | {
            "ours": ours,
            "theirs": theirs,
            "ratio": ratio,
            "range": [min(spread), max(spread)] if spread else None,
            "met": met,
            "note": note,
            "machine": machine(),
            "date": today(),
        }

    def empty(self) -> dict[str, Any]:
        """Return the line before it is measured."""
        asked = {"limit": self.limit, "compares": self.compares, "unit": self.unit, "met": None, "note": ""}
        numbers = dict.fromkeys(("ours", "theirs", "ratio", "range"))
        return {"name": self.name, **numbers, **asked, "machine": None, "date": None}


def _scoring(name: str) -> Line:
    return Line(f"Scoring 20 maps with nine metrics, {name}", "s", 10.0, compares=True)


def _training(name: str, limit: float | None) -> Line:
    return Line(f"Training a U-Net, {name}", "steps/s", limit, compares=True, more_is_better=True)


def _utilisation(name: str) -> Line:
    name = f"FLOPs of the training loop against a matrix product, {name}"
    return Line(name, "GFLOP/s", None, compares=True, more_is_better=True, part="utilisation")


LINES: dict[str, Line] = {
    "scoring_sklearn_image": _scoring("mean over images, against scikit-learn, one function per metric"),
    "scoring_sklearn_pooled": _scoring("pooled, against scikit-learn, one function per metric"),
    "scoring_counts_image": _scoring("mean over images, against scikit-learn with one confusion matrix"),
    "scoring_counts_pooled": _scoring("pooled, against scikit-learn with one confusion matrix"),
    "scoring_torchmetrics_image": _scoring("mean over images, against torchmetrics"),
    "scoring_torchmetrics_pooled": _scoring("pooled, against torchmetrics"),
    "training_float32": _training("float32, against a plain PyTorch loop, float32", 1.3),
    "training_lite": _training("bfloat16 as in the lite profile, against the plain loop, float32", None),
    "utilisation_cpu_float32": _utilisation("processor, float32"),
    "utilisation_cpu_bfloat16": _utilisation("processor, bfloat16"),
    "utilisation_cuda_float32": _utilisation("GPU, float32 (TF32)"),
    "utilisation_cuda_bfloat16": _utilisation("GPU, bfloat16"),
    "photograph": Line("One photograph of 565x584 pixels with the shipped network", "s", 0.5),
    "photograph_tiled_memory": Line(
        "One photograph of 3504x2336 pixels on its own grid, in tiles: memory of the process", "GB", 2.0
    ),
    "photograph_large_memory": Line(
        "The same photograph as retlib predict segments it: memory of the process", "GB", 2.0
    ),
    "phantom": Line("Drawing a synthetic image of 565x584 pixels", "s", 0.3),
    "book": Line("make book with records, in an installed environment", "s", 240.0, part="book"),
    "first_paint": Line("A page of results in Chromium: time to first paint", "s", 2.0, part="book"),
    "book_size": Line("The rendered book", "MB", 30.0, part="book"),
    "tests": Line("make test", "s", 720.0, part="given"),
}
