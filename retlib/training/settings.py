"""Settings of a training, as a run's configuration states them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from retlib.augmentation import list_transforms
from retlib.settings import Settings

Side = Annotated[int, Field(ge=1)]
Region = Literal["fov", "frame"]  # pixels that a loss sees: those of the field of view, or all


class Patches(Settings):
    """Settings of a training on patches instead of whole images."""

    size: Side | tuple[Side, Side]  # side of a square, or (h, w), pixels of the working grid
    per_epoch: int | None = Field(None, ge=1)  # patches drawn in one epoch; None: every tile of a grid
    inside_fov: bool = True  # the patch's centre lies inside the FOV
    layout: Literal["random", "grid"] = "random"  # anywhere, with replacement; or side by side, each at most once
    validation: int | None = Field(None, ge=1)  # patches that validation uses; None: whole images

    @model_validator(mode="after")
    def _counted(self) -> Patches:
        if self.layout == "random" and self.per_epoch is None:
            raise ValueError("per_epoch: expected a number of patches; only layout: grid may leave it out")
        return self

    @property
    def sides(self) -> tuple[int, int]:
        """Return (h, w) of a patch."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)


class TrainingSettings(Settings):
    """Settings of a training: batches, loss, optimiser, schedule and stopping."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    augmentation: str = "none"
    # 0: augment in place; k: k augmented copies beside each original; each: a copy a transform, with it alone
    augmented_copies: Annotated[int, Field(ge=0)] | Literal["each"] = 0
    patches: Patches | None = None  # None: whole images at working size
    loss: dict[str, float] = {"bce": 1.0}
    loss_options: dict[str, Any] = {}
    loss_region: Region = "frame"
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(gt=0)  # the peak, for one_cycle
    weight_decay: float = Field(0.0, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)  # sgd only
    schedule: Literal["constant", "one_cycle", "cosine", "plateau", "step"] = "constant"
    schedule_options: dict[str, float] = {}  # plateau: factor, patience (epochs); step: every (epochs), factor
    patience: int | None = Field(None, ge=1)  # stop after so many epochs without a lower validation loss
    keep: Literal["last", "best"] = "last"  # best: the epoch with the lowest validation loss
    gradient_clip: float | None = Field(None, gt=0)  # largest gradient norm
    # Decay of an exponential moving average of the weights, updated every step; it is what is validated and kept.
    average_weights: float | None = Field(None, gt=0, lt=1)
    amp: bool = True  # bfloat16 autocast on CUDA
    amp_cpu: bool = False  # and on the CPU: half the time where it has bf16 instructions, slow where it has none

    @field_validator("augmentation")
    @classmethod
    def _known_augmentation(cls, name: str) -> str:
        list_transforms(name)
        return name

    @property
    def copies(self) -> int:
        """Count the augmented copies beside each original."""
        each = self.augmented_copies == "each"
        return len(list_transforms(self.augmentation)) if each else self.augmented_copies

    @property
    def looks_at_validation(self) -> str | None:
        """Name the first setting that needs validation images, for a message; None if there is none."""
        if self.keep == "best":
            return "training.keep: best"
        if self.patience is not None:
            return "training.patience"
        return "training.schedule: plateau" if self.schedule == "plateau" else None
