"""Compute two vessel filters that need no training: Frangi's vesselness and Chaudhuri's matched filter."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from scipy import ndimage

from retlib.data import FundusSample

BORDER = 4  # pixels at the border of the FOV that are dimmer than the retina and look like a vessel's flank


def working_channel(sample: FundusSample, longest: int) -> np.ndarray:
    """Extract the green channel, shrunk if need be, and fill the outside of the FOV with the values of its border.

    Unfilled, the edge of the FOV would be the strongest line of the photograph.

    Args:
        sample: photograph and FOV.
        longest: most pixels of the longer side; a larger photograph is shrunk by area averaging.

    Returns:
        float32 (h, w), 0 to 255.
    """
    green = np.ascontiguousarray(sample.image[..., 1])
    fov = sample.fov.astype(np.uint8)
    if (side := max(green.shape)) > longest:
        size = tuple(max(1, round(length * longest / side)) for length in reversed(green.shape))
        green = cv2.resize(green, size, interpolation=cv2.INTER_AREA)
        fov = cv2.resize(fov, size, interpolation=cv2.INTER_NEAREST_EXACT)
    inside = ndimage.distance_transform_edt(np.pad(fov > 0, 1))[1:-1, 1:-1] > BORDER
    if not inside.any():
        inside = np.ones_like(inside)
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    return green[tuple(nearest)].astype(np.float32)


def frangi_vesselness(channel: np.ndarray, sigmas: Sequence[float]) -> np.ndarray:
    """Compute the vesselness of dark lines, the largest over several scales (Frangi et al., MICCAI 1998; scikit-image).

    Args:
        channel: float (h, w).
        sigmas: standard deviations of the Gaussians, pixels.

    Returns:
        float32 (h, w), 0 where nothing looks like a line.
    """
    from skimage.filters import frangi

    return frangi(channel / np.float32(255), sigmas=tuple(sigmas), black_ridges=True).astype(np.float32)


def matched_filter(channel: np.ndarray, sigma: float = 2.0, length: float = 9.0, orientations: int = 12) -> np.ndarray:
    """Apply the matched filter for vessels (Chaudhuri et al., IEEE Trans. Med. Imaging 8(3), 263-269, 1989).

    A vessel's cross-section is modelled as a Gaussian valley that does not change over a length L. The photograph is
    smoothed by a 5x5 mean and correlated with that template, of zero mean, in evenly spaced directions; the largest
    response counts.

    Args:
        channel: float32 (h, w), vessels dark.
        sigma: spread of the valley, pixels; the template reaches 3 sigma to either side.
        length: length L of the template, pixels.
        orientations: directions over 180 degrees.

    Returns:
        float32 (h, w); negative where the photograph is brighter than its surroundings.
    """
    smooth = cv2.blur(np.ascontiguousarray(channel, dtype=np.float32), (5, 5))
    best = np.full(smooth.shape, -np.inf, np.float32)
    for index in range(orientations):
        kernel = matched_kernel(sigma, length, np.pi * index / orientations)
        np.maximum(best, cv2.filter2D(smooth, cv2.CV_32F, kernel, borderType=cv2.BORDER_REPLICATE), out=best)
    return best


def matched_kernel(sigma: float, length: float, angle: float) -> np.ndarray:
    """Make the template of `matched_filter` for a vessel in the direction ``angle`` (radians): float32, odd square."""
    reach = int(np.ceil(np.hypot(3 * sigma, length / 2)))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    across = -x * np.sin(angle) + y * np.cos(angle)
    along = x * np.cos(angle) + y * np.sin(angle)
    inside = (np.abs(across) <= 3 * sigma) & (np.abs(along) <= length / 2)
    kernel = np.where(inside, -np.exp(-(across**2) / (2 * sigma**2)), 0.0)
    kernel[inside] -= kernel[inside].mean()
    return kernel.astype(np.float32)
