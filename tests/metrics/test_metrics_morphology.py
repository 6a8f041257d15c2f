"""Measures of a vessel map, on drawn vessels whose measures are known."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from retlib.data.phantoms import make_phantom
from retlib.metrics.morphology import MEASURES, box_counting_dimension, measure_vessels, trace_branches
from retlib.metrics.topology import skeleton

FINE = 8  # a vessel is drawn on a grid this much finer; a pixel is vessel where its middle is


def draw(points: np.ndarray, width: float, size: int = 600) -> np.ndarray:
    """Draw a path, (n, 2) rows and columns, of a width in pixels."""
    canvas = np.zeros((size * FINE, size * FINE), np.uint8)
    path = np.round((np.asarray(points) * FINE + (FINE - 1) / 2) * 16).astype(np.int32)
    cv2.polylines(canvas, [path[:, ::-1].reshape(-1, 1, 2)], False, 255, round(width * FINE), cv2.LINE_8, 4)
    return canvas[FINE // 2 :: FINE, FINE // 2 :: FINE] > 0


def straight(angle: float) -> np.ndarray:
    step = 200 * np.array([math.sin(math.radians(angle)), math.cos(math.radians(angle))])
    return 300.3 + np.stack([-step, step])  # not in the middle of a pixel, where edges would fall on pixels


@pytest.mark.parametrize("width", [2, 3, 5, 8])
def test_a_straight_vessel_of_any_direction(width):
    found = [measure_vessels(draw(straight(angle), width)) for angle in (0, 10, 22.5, 33, 45, 60, 80)]
    for measures in found:
        assert measures["length_px"] == pytest.approx(400, rel=0.01)
        assert measures["tortuosity"] == pytest.approx(1, abs=0.01)
        assert measures["branches"] == 1
        assert measures["mean_width_px"] == pytest.approx(width, abs=1)
        assert measures["width_50_px"] == pytest.approx(width, abs=1.2)
    assert np.mean([measures["mean_width_px"] for measures in found]) == pytest.approx(width, abs=0.4)
    assert np.mean([measures["width_50_px"] for measures in found]) == pytest.approx(width, abs=0.4)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_an_arc_is_as_tortuous_as_its_geometry_says(turn):
    angle = np.radians(np.linspace(0, turn, 500))
    measures = measure_vessels(draw(300 + 150 * np.stack([-np.sin(angle), np.cos(angle)], axis=1), 3))
    arc, chord = 150 * math.radians(turn), 300 * math.sin(math.radians(turn) / 2)
    assert measures["length_px"] == pytest.approx(arc, rel=0.01)
    assert measures["tortuosity"] == pytest.approx(arc / chord, rel=0.01)


def test_a_crossing_has_four_branches_and_a_ring_none_whose_ends_lie_apart():
    cross = draw(straight(0), 3) | draw(straight(90), 3)
    measures = measure_vessels(cross)
    assert measures["branches"] == 4 and measures["length_px"] == pytest.approx(800, rel=0.01)
    ring = np.zeros((200, 200), np.uint8)
    cv2.circle(ring, (100, 100), 80, 1, 3)
    measures = measure_vessels(ring)
    assert measures["length_px"] == pytest.approx(2 * math.pi * 80, rel=0.02) and math.isnan(measures["tortuosity"])


def test_every_pixel_of_a_centre_line_is_in_a_branch_or_a_junction():
    line = skeleton(make_phantom(3).vessels)
    paths, _ = trace_branches(line)
    places = [tuple(place) for path in paths for place in path]
    assert len(places) == len(set(places))
    rest = line.copy()
    rest[tuple(np.transpose(places))] = False
    assert all(line[row - 1 : row + 2, column - 1 : column + 2].sum() > 3 for row, column in np.argwhere(rest))
    for path in paths:  # one pixel after the other
        assert (np.abs(np.diff(path, axis=0)).max(axis=1) == 1).all()


def test_the_dimension_of_a_line_of_a_plane_and_of_a_carpet():
    line = np.zeros((512, 512), bool)
    line[200] = True
    assert box_counting_dimension(line, 4, 128)[0] == pytest.approx(1, abs=0.01)
    assert box_counting_dimension(np.ones((512, 512), bool), 4, 128) == pytest.approx((2, 4, 128), abs=0.01)
    carpet = np.ones((1, 1), bool)
    for _ in range(6):
        carpet = np.block([[carpet] * 3, [carpet, np.zeros_like(carpet), carpet], [carpet] * 3])
    assert box_counting_dimension(carpet, 4, 180)[0] == pytest.approx(math.log(8) / math.log(3), abs=0.03)
    assert all(map(math.isnan, box_counting_dimension(line, 4, 8)))


def test_the_field_of_view_is_the_unit():
    vessels = draw(straight(0), 4)
    fov = np.zeros_like(vessels)
    cv2.circle(view := fov.astype(np.uint8), (300, 300), 200, 1, -1)
    measures = measure_vessels(vessels, view)
    assert list(measures) == list(MEASURES)
    assert measures["fov_diameter_px"] == 401
    assert measures["vessel_density"] == pytest.approx((vessels & (view > 0)).sum() / view.sum())
    assert measures["length_fov"] == pytest.approx(measures["length_px"] / 401)
    assert measures["mean_width_fov"] == pytest.approx(measures["mean_width_px"] / 401)
    doubled = measure_vessels(*(np.kron(mask, np.ones((2, 2))) > 0 for mask in (vessels, view)))
    for name in ("length_fov", "mean_width_fov", "vessel_density"):
        assert doubled[name] == pytest.approx(measures[name], rel=0.05)


def test_without_a_vessel_what_is_undefined_is_nan():
    measures = measure_vessels(np.zeros((300, 300), bool))
    assert measures["vessel_density"] == measures["length_px"] == measures["branches"] == 0
    for name in ("mean_width_px", "width_50_px", "tortuosity", "fractal_dimension"):
        assert math.isnan(measures[name])
    with pytest.raises(ValueError, match="fov: expected some pixels"):
        measure_vessels(np.zeros((9, 9), bool), np.zeros((9, 9), bool))
    with pytest.raises(ValueError, match="fov"):
        measure_vessels(np.zeros((9, 9), bool), np.ones((9, 8), bool))
