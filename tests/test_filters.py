"""The two vessel filters: what they respond to."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import ndimage
from skimage.filters import frangi

from retlib import filters
from retlib.data import load_dataset


@pytest.mark.parametrize("angle", [0.0, 0.3, np.pi / 2])
def test_the_template_has_zero_mean_and_the_valleys_shape(angle: float) -> None:
    kernel = filters.matched_kernel(2.0, 9.0, angle)
    assert kernel.sum() == pytest.approx(0, abs=1e-5)
    assert np.allclose(kernel, kernel[::-1, ::-1], atol=1e-6)
    middle = kernel.shape[0] // 2
    assert kernel[middle, middle] == kernel.min()


def test_a_quarter_turn_transposes_the_template() -> None:
    upright, flat = (filters.matched_kernel(2.0, 9.0, angle) for angle in (np.pi / 2, 0.0))
    assert np.allclose(upright, flat.T, atol=1e-5)


@pytest.mark.parametrize("degrees", [0, 15, 45, 90, 150])
def test_the_matched_filter_answers_to_a_line_in_its_direction(degrees: int) -> None:
    """A dark line across the middle, whatever its direction: highest there, nothing on the even ground."""
    image = np.full((81, 81), 150, np.float32)
    angle = np.deg2rad(degrees)
    ends = [tuple(round(40 + s * 60 * f) for f in (np.cos(angle), np.sin(angle))) for s in (-1, 1)]
    cv2.line(image, *ends, 100, 3)
    response = filters.matched_filter(image)
    line = image == 100
    assert np.median(response[line]) > 5 * abs(np.median(response[~ndimage.binary_dilation(line, iterations=12)]))
    assert line[np.unravel_index(response.argmax(), response.shape)]
    assert filters.matched_filter(np.full((40, 40), 77, np.float32)) == pytest.approx(0, abs=1e-2)


def test_one_pixel_of_the_matched_filter_by_hand() -> None:
    image = np.random.default_rng(0).uniform(0, 255, (60, 60)).astype(np.float32)
    smooth = ndimage.uniform_filter(image.astype(np.float64), 5)
    expected = -np.inf
    for index in range(12):
        kernel = filters.matched_kernel(2.0, 9.0, np.pi * index / 12)
        reach = kernel.shape[0] // 2
        window = smooth[30 - reach : 31 + reach, 25 - reach : 26 + reach]
        expected = max(expected, float((window * kernel).sum()))
    assert filters.matched_filter(image)[30, 25] == pytest.approx(expected, rel=1e-4)


def test_frangi_is_scikit_images() -> None:
    channel = load_dataset("phantom", "training", count=4, height=64, width=72)[0].image[..., 1].astype(np.float32)
    expected = frangi(channel / 255, sigmas=[1, 2])
    assert filters.frangi_vesselness(channel, (1, 2)) == pytest.approx(expected, abs=1e-5)
