"""One fundus photograph with everything that belongs to its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retlib.data.errors import DataError


@dataclass(frozen=True, eq=False)
class FundusSample:
    """Photograph, vessel label, FOV and second observer of one eye, on one pixel grid.

    They travel together so that no score can be computed with the label or the FOV of another image.

    Attributes:
        name: Stable name inside its data set, the stem of the image file: ``"21_training"``, ``"im0001"``.
        image: Photograph, uint8 (H, W, 3), RGB, 0 to 255.
        vessels: Label of the first observer, bool (H, W), True on vessels.
        fov: Field of view, bool (H, W), True where the camera saw the retina.
        second_observer: Label of a second observer, bool (H, W), or None where there is none.

    Raises:
        DataError: An array has another type or size; the message names the sample and the array.
    """

    name: str
    image: np.ndarray
    vessels: np.ndarray
    fov: np.ndarray
    second_observer: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check types and sizes, so that a mistake shows where it was made."""
        if not isinstance(self.name, str) or not self.name:
            raise DataError(f"a sample's name has to be a non-empty string, got {self.name!r}")
        require_photograph(self.image, f"{self.name}: image")
        for role in ("vessels", "fov", "second_observer"):
            mask = getattr(self, role)
            if mask is None and role == "second_observer":
                continue
            if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != self.image.shape[:2]:
                expected = f"bool {self.image.shape[:2]} like its image"
                raise DataError(f"{self.name}: {role} has to be {expected}, got {_describe(mask)}")


def require_photograph(image: object, what: str = "a photograph") -> None:
    """Raise a DataError, which is a ValueError, unless an image is an array uint8 (H, W, 3)."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(f"{what} has to be uint8 (H, W, 3), got {_describe(image)}")


def _describe(value: object) -> str:
    """Name type and size of an array, or the type of anything else."""
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
