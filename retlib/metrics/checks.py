"""Check the arrays that metrics take: each bad argument gives one error that names it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def as_array(values: ArrayLike, name: str) -> np.ndarray:
    """Convert an array or a torch tensor, also one of bfloat16, on a GPU or with a gradient, to a NumPy array.

    Raises:
        ValueError: a masked array, whose mask would be lost; or no array.
    """
    if np.ma.is_masked(values):
        raise ValueError(f"{name} is a masked array: fill it, and give what is not masked as fov (~{name}.mask)")
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if str(values.dtype) == "torch.bfloat16" else values  # a type that NumPy lacks
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is no array: {error}") from None


def as_mask(values: ArrayLike, name: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Convert a bool array, or integers that are 0 or 1, to a two-dimensional bool array.

    Args:
        values: (H,W) mask, True (1) inside.
        name: what the error calls the argument.
        shape: the (H,W) that the mask must have; None takes any.

    Raises:
        ValueError: another shape, another type, or integers other than 0 and 1.
    """
    mask = as_array(values, name)
    if mask.ndim != 2:
        raise ValueError(f"{name} has shape {mask.shape}: expected one mask of shape (H, W)")
    if shape is not None and mask.shape != shape:
        raise ValueError(f"{name} has shape {mask.shape}: expected {shape}, the shape of the image that is scored")
    if mask.dtype == bool:
        return mask
    if mask.dtype.kind not in "iu":
        raise ValueError(f"{name} has type {mask.dtype}: expected bool, or integers that are 0 or 1 (use {name} > 0.5)")
    if mask.size and (mask.min() < 0 or mask.max() > 1):
        raise ValueError(
            f"{name} holds integers from {mask.min()} to {mask.max()}: expected only 0 and 1 "
            f"(for a label image of 0 and 255 use {name} > 127)"
        )
    return mask.astype(bool)


def as_probabilities(values: ArrayLike, name: str = "probabilities") -> np.ndarray:
    """Convert values in [0, 1] to a two-dimensional float32 or float64 array.

    Half precision becomes float32, which holds it exactly; bool and 0/1 integers (a hard segmentation) become
    0.0 and 1.0.

    Raises:
        ValueError: another shape, a type without an order, a NaN, or a value outside [0, 1].
    """
    array = as_array(values, name)
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}: expected one map of shape (H, W)")
    if array.dtype.kind not in "fbiu":
        raise ValueError(f"{name} has type {array.dtype}: expected floating-point probabilities")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64 if array.dtype.kind == "f" and array.dtype.itemsize > 4 else np.float32)
    if array.size:
        low, high = array.min(), array.max()  # both are NaN if any value is
        if np.isnan(low):
            raise ValueError(f"{name} holds {int(np.isnan(array).sum())} NaN: expected probabilities in [0, 1]")
        if low < 0 or high > 1:
            raise ValueError(
                f"{name} ranges from {low:.6g} to {high:.6g}: expected probabilities in [0, 1] "
                "(give logits through a sigmoid first, divide 8-bit maps by 255)"
            )
    return array


def as_pair(prediction: ArrayLike, vessels: ArrayLike, fov: ArrayLike | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Convert prediction and truth to bool (H,W) arrays that are False outside the FOV (None: the whole frame).

    Raises:
        ValueError: an argument that is no mask, or whose shape differs.
    """
    truth = as_mask(vessels, "vessels")
    predicted = as_mask(prediction, "prediction", truth.shape)
    if fov is None:
        return predicted, truth
    inside = as_mask(fov, "fov", truth.shape)
    return predicted & inside, truth & inside


def as_threshold(threshold: float) -> float:
    """Return the threshold as a float in [0, 1], else raise a ValueError."""
    try:
        value = float(threshold)
    except (TypeError, ValueError):
        raise ValueError(f"threshold is {threshold!r}: expected a probability in [0, 1]") from None
    if not 0 <= value <= 1:
        raise ValueError(f"threshold is {threshold!r}: expected a probability in [0, 1]")
    return value
