"""Losses on logits inside a mask, and weighted sums of them by name.

Every loss takes ``(logits, target, mask)``, tensors of shape (N, 1, H, W): logits of any floating type, target 0 or 1
(on a CPU, values outside are a ValueError), mask 1 where a pixel is scored (None scores all). Pixels outside the mask
contribute neither value nor gradient. Losses are scalars, computed in float32, so they are safe under autocast. None
makes the CPU wait for a GPU, except :func:`boundary` if it has to compute the signed distances.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def _prepare(logits: Tensor, target: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Check the arguments and return them as float32, with logits and target zero outside the mask."""
    if logits.ndim != 4 or logits.shape[1] != 1:
        raise ValueError(f"logits must be of shape (N, 1, H, W), not {tuple(logits.shape)}")
    for name, tensor in (("target", target), ("mask", mask)):
        if tensor is not None and tensor.shape != logits.shape:
            raise ValueError(f"{name} must have the logits' shape {tuple(logits.shape)}, not {tuple(tensor.shape)}")
    logits, target = logits.float(), target.to(torch.float32)
    if mask is None:
        inside = torch.ones_like(target)
    else:
        # masked_fill and not a product: a NaN or infinity outside must not leak in, neither forward nor backward
        outside = ~(mask > 0.5)
        logits, target = logits.masked_fill(outside, 0.0), target.masked_fill(outside, 0.0)
        inside = (~outside).to(torch.float32)
    if target.device.type == "cpu" and target.numel():  # on a GPU the CPU would have to wait for the answer
        low, high = (float(value) for value in torch.aminmax(target))
        if not (low >= 0 and high <= 1):
            raise ValueError(f"target ranges from {low:g} to {high:g}: expected 0 to 1 (divide 8-bit labels by 255)")
    return logits, target, inside


def bce(logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute binary cross-entropy in nats, mean over the scored pixels of the batch (0 if there is none)."""
    logits, target, mask = _prepare(logits, target, mask)
    losses = F.binary_cross_entropy_with_logits(logits, target, weight=mask, reduction="sum")
    return losses / mask.sum().clamp(min=1.0)


def dice(
    logits: Tensor, target: Tensor, mask: Tensor | None = None, *, over: str = "sample", smooth: float = 1.0
) -> Tensor:
    """Compute the soft Dice loss 1 - (2 |PT| + smooth) / (|P| + |T| + smooth), sums over the scored pixels.

    Args:
        logits: see the module, as for target and mask.
        target: 0 or 1.
        mask: 1 where a pixel is scored.
        over: ``"sample"`` takes the mean over images; ``"batch"`` pools the pixels of the batch.
        smooth: in pixels, above 0; keeps the loss defined on an empty image. The default is small beside the thousands
            of vessel pixels of a photograph, and lets the loss of a patch without vessels fall to 0.
    """
    logits, target, mask = _prepare(logits, target, mask)
    _choice("dice_over", over, ("sample", "batch"))
    _above_zero("dice_smooth", smooth)
    probabilities = torch.sigmoid(logits) * mask
    axes = (1, 2, 3) if over == "sample" else (0, 1, 2, 3)
    both = (probabilities * target).sum(axes)
    either = probabilities.sum(axes) + target.sum(axes)
    return (1.0 - (2.0 * both + smooth) / (either + smooth)).mean()


def signed_distance(target: np.ndarray) -> np.ndarray:
    """Compute the signed distance map of a boolean (H, W) array in pixels (Kervadec et al. 2019, as in their code).

    Outside the vessels the Euclidean distance to the nearest vessel pixel, inside minus (the distance to the nearest
    background pixel - 1), so 0 on the vessel's border. All zero if either class is absent.
    """
    vessels = np.ascontiguousarray(target, dtype=bool)
    if vessels.all() or not vessels.any():
        return np.zeros(vessels.shape, dtype=np.float32)
    # scipy's exact transform, not OpenCV's faster one: that one varies in the last bits from process to process, and a
    # run would not repeat bit for bit.
    inside, outside = distance_transform_edt(vessels), distance_transform_edt(~vessels)
    return np.where(vessels, 1.0 - inside, outside).astype(np.float32)


def signed_distances(targets: np.ndarray) -> np.ndarray:
    """Compute :func:`signed_distance` of each of N boolean targets, (N, H, W): float32 (N, H, W)."""
    return np.stack([signed_distance(target) for target in targets])


def boundary(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    distances: Tensor | None = None,
    *,
    scale: str = "pixels",
) -> Tensor:
    """Compute the boundary loss, the mean of probability times signed distance (Kervadec et al. 2019).

    It may be negative: its least value is minus the mean depth inside the vessels. In vessels of one to three pixels
    the depth is near 0, so it mostly punishes false positives far from any vessel, and is not to be used alone.

    Args:
        logits: see the module, as for target and mask.
        target: 0 or 1. Distances are taken to the vessels inside the mask.
        mask: 1 where a pixel is scored.
        distances: float32 of the logits' shape, :func:`signed_distance` of each target inside the mask, in pixels;
            None: computed here, on the CPU.
        scale: ``"pixels"`` (as the authors), or ``"diagonal"``, which divides the distances by the image diagonal, so
            that the loss is comparable with the others and independent of the image size.
    """
    logits, target, mask = _prepare(logits, target, mask)
    _choice("boundary_scale", scale, ("pixels", "diagonal"))
    if distances is None:
        vessels = target.detach().cpu().numpy() > 0.5
        distances = torch.from_numpy(signed_distances(vessels[:, 0])[:, None]).to(logits.device)
    elif distances.shape != logits.shape:
        raise ValueError(
            f"distances must have the logits' shape {tuple(logits.shape)}, not {tuple(distances.shape)}: "
            "one map of signed_distance an image"
        )
    if scale == "diagonal":
        distances = distances / math.hypot(*logits.shape[-2:])
    return (torch.sigmoid(logits) * distances * mask).sum() / mask.sum().clamp(min=1.0)


Offset = tuple[int, int]
_COLUMN: tuple[Offset, ...] = ((-1, 0), (1, 0))
_ROW: tuple[Offset, ...] = ((0, -1), (0, 1))


def _overlap(offset: Offset) -> tuple[tuple, tuple]:
    """Return the index of the pixels with a neighbour at ``offset`` (rows, columns), and that of the neighbours."""

    def along(step: int) -> tuple[slice, slice]:
        pixels = slice(max(-step, 0), -step if step > 0 else None)
        return pixels, slice(max(step, 0), step if step < 0 else None)

    (rows, other_rows), (columns, other_columns) = along(offset[0]), along(offset[1])
    return (..., rows, columns), (..., other_rows, other_columns)


class _Extreme(torch.autograd.Function):
    """Minimum or maximum of each pixel and its neighbours at the given offsets, none beyond the border.

    Several times as fast on the CPU, forward and backward, as max-pooling or differentiated slices. The
    gradient goes to one of equal values: the pixel itself, else the neighbour at the first offset.
    """

    @staticmethod
    def forward(ctx, x: Tensor, offsets: tuple[Offset, ...], least: bool) -> Tensor:
        extreme = torch.minimum if least else torch.maximum
        out = x.clone()
        for offset in offsets:
            pixels, neighbours = _overlap(offset)
            extreme(out[pixels], x[neighbours], out=out[pixels])
        ctx.save_for_backward(x, out)
        ctx.offsets = offsets
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        x, out = ctx.saved_tensors
        share = torch.eq(x, out).to(gradient.dtype).mul_(gradient)
        left = gradient - share  # not yet assigned to a source
        for offset in ctx.offsets:
            pixels, neighbours = _overlap(offset)
            claimed = torch.eq(x[neighbours], out[pixels]).to(gradient.dtype).mul_(left[pixels])
            share[neighbours] += claimed
            left[pixels] -= claimed
        return share, None, None


def _erode(x: Tensor) -> Tensor:
    """Soft erosion: the least of each pixel and its four neighbours (3x1 and 1x3 minimum)."""
    return _Extreme.apply(x, _COLUMN + _ROW, True)


def _dilate(x: Tensor) -> Tensor:
    """Soft dilation: the 3x3 maximum, one axis after the other."""
    return _Extreme.apply(_Extreme.apply(x, _COLUMN, False), _ROW, False)


def soft_skeleton(x: Tensor, iterations: int = 10) -> Tensor:
    """Compute the soft skeleton of maps in 0..1 (Shit et al. 2021, algorithm 1): what opening takes from each erosion.

    Args:
        x: (N, 1, H, W) in 0..1.
        iterations: erosions; at least the radius in pixels of the widest vessel.
    """
    skeleton = None
    for _ in range(iterations + 1):
        eroded = _erode(x)
        ridge = F.relu(x - _dilate(eroded))
        skeleton = ridge if skeleton is None else skeleton + F.relu(ridge - skeleton * ridge)
        x = eroded
        # Nothing is left to erode, and the remaining iterations add exactly 0; on a GPU asking takes longer than they.
        if x.device.type == "cpu" and not x.requires_grad and not x.any():
            break
    return skeleton


def cldice(
    logits: Tensor, target: Tensor, mask: Tensor | None = None, *, iterations: int = 10, smooth: float = 1.0
) -> Tensor:
    """Compute soft clDice, a topology loss (Shit et al. 2021, algorithm 2): 1 - 2 Tprec Tsens / (Tprec + Tsens).

    Tprec = (|S(P) T| + smooth) / (|S(P)| + smooth), Tsens = (|S(T) P| + smooth) / (|S(T)| + smooth), S the soft
    skeleton. The mean over images; the authors' code sums over the batch first. Prediction and target are 0 outside the
    mask.

    Args:
        logits: see the module, as for target and mask.
        target: 0 or 1.
        mask: 1 where a pixel is scored.
        iterations: of the soft skeleton; the authors' code always does 10.
        smooth: in pixels, above 0.
    """
    logits, target, mask = _prepare(logits, target, mask)
    if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
        raise ValueError(f"cldice_iterations must be a whole number above 0, not {iterations!r}")
    _above_zero("cldice_smooth", smooth)
    probabilities = torch.sigmoid(logits) * mask
    axes = (1, 2, 3)
    with torch.no_grad():
        true_skeleton = soft_skeleton(target, iterations)
    skeleton = soft_skeleton(probabilities, iterations)
    precision = ((skeleton * target).sum(axes) + smooth) / (skeleton.sum(axes) + smooth)
    sensitivity = ((true_skeleton * probabilities).sum(axes) + smooth) / (true_skeleton.sum(axes) + smooth)
    return (1.0 - 2.0 * precision * sensitivity / (precision + sensitivity)).mean()


_LOSSES: dict[str, Callable[..., Tensor]] = {"bce": bce, "dice": dice, "boundary": boundary, "cldice": cldice}
_USE_DISTANCES = {"boundary"}


def _choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def _above_zero(name: str, value: object) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name} must be a number above 0, not {value!r}")


@dataclass(frozen=True)
class WeightedLoss:
    """Weighted sum of named losses: call it with (logits, target, mask, distances). Built by :func:`build_loss`.

    Mask and distances may be left out. Distances are what :func:`boundary` takes; losses that use none ignore them.
    """

    weights: Mapping[str, float]
    options: Mapping[str, Mapping[str, object]]

    @property
    def uses_distances(self) -> bool:
        """Tell whether one of the losses uses signed distances, which it computes if they are not given."""
        return not _USE_DISTANCES.isdisjoint(self.weights)

    def __call__(
        self, logits: Tensor, target: Tensor, mask: Tensor | None = None, distances: Tensor | None = None
    ) -> Tensor:
        """Compute the weighted sum, a scalar."""
        terms = []
        for name, weight in self.weights.items():
            given = {"distances": distances} if name in _USE_DISTANCES else {}
            terms.append(weight * _LOSSES[name](logits, target, mask, **given, **self.options[name]))
        return torch.stack(terms).sum()


def _loss_options() -> dict[str, tuple[str, str]]:
    """Map option names of build_loss to (loss, keyword): ``dice_smooth`` to ``("dice", "smooth")``."""
    keywords = {
        name: [k for k, p in inspect.signature(loss).parameters.items() if p.kind is p.KEYWORD_ONLY]
        for name, loss in _LOSSES.items()
    }
    return {f"{name}_{keyword}": (name, keyword) for name, found in keywords.items() for keyword in found}


def build_loss(weights: Mapping[str, float], **options: object) -> WeightedLoss:
    """Build the weighted sum of losses by name.

    Args:
        weights: name of a loss of this module to weight, finite and above 0.
        options: keyword of a loss, its name in front: ``dice_over``, ``dice_smooth``, ``boundary_scale``,
            ``cldice_iterations``, ``cldice_smooth``.

    Returns:
        A callable (logits, target, mask, distances) -> scalar tensor.

    Raises:
        ValueError: an unknown name or option, an option of a loss without a weight, or a value out of range.
    """
    if not weights:
        raise ValueError(f"a loss needs at least one weight: choose among {', '.join(sorted(_LOSSES))}")
    for name, weight in weights.items():
        if name not in _LOSSES:
            raise ValueError(f"there is no loss {name!r}: choose among {', '.join(sorted(_LOSSES))}")
        _above_zero(f"the weight of loss {name!r}", weight)
    known = _loss_options()
    chosen: dict[str, dict[str, object]] = {name: {} for name in weights}
    for option, value in options.items():
        if option not in known:
            raise ValueError(f"there is no loss option {option!r}: choose among {', '.join(sorted(known))}")
        name, keyword = known[option]
        if name not in weights:
            raise ValueError(f"option {option!r} belongs to loss {name!r}, which has no weight")
        chosen[name][keyword] = value
    loss = WeightedLoss({name: float(weight) for name, weight in weights.items()}, chosen)
    loss(*torch.zeros(3, 1, 1, 4, 4))  # a bad value of an option fails here, not in the first training step
    return loss
