"""Squares around thin vessels: chosen by the truth alone, and the same from an error map as from the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retlib.metrics import vessel_width_recall
from retlib.study import Record, error_map
from tests.pages import functions_of

page = functions_of("af_unet")
shared_maps, thin_boxes, true_vessels = page.shared_maps, page.thin_boxes, page.true_vessels
thin_centre_line, thin_recall = page.thin_centre_line, page.thin_recall


def window(square: tuple[int, int, int, int]) -> tuple[slice, slice]:
    top, left, side, _ = square
    return slice(top, top + side), slice(left, left + side)


@pytest.fixture
def tree() -> np.ndarray:
    """A wide vessel across the top, a thin one of 30 pixels below it, and one of 12 in the other corner."""
    vessels = np.zeros((144, 90), bool)
    vessels[8:16, 5:85] = True
    vessels[40, 10:40] = True
    vessels[70:82, 70] = True
    return vessels


def test_the_thin_centre_line_leaves_wide_vessels_out(tree: np.ndarray) -> None:
    line = thin_centre_line(tree)
    assert not line[:20].any()
    assert line[40, 10:40].sum() >= 28 and line[70:82, 70].sum() >= 10
    assert not thin_centre_line(np.ones((5, 5), bool)).any()


def test_squares_hold_the_most_and_do_not_overlap(tree: np.ndarray) -> None:
    squares = thin_boxes(tree, count=5)
    line = thin_centre_line(tree)
    assert [square[3] for square in squares] == [int(line[window(square)].sum()) for square in squares]
    assert [square[3] for square in squares] == sorted((square[3] for square in squares), reverse=True)
    # No window anywhere holds more than the first: counted window by window.
    windows = np.lib.stride_tricks.sliding_window_view(line, (16, 16)).sum(axis=(2, 3))
    assert squares[0][3] == windows.max()
    taken = np.zeros(tree.shape, int)
    for square in squares:
        taken[window(square)] += 1
    assert taken.max() == 1
    assert sum(square[3] for square in squares) >= 0.9 * line.sum() and len(squares) < 5  # nothing thin is left


def test_the_default_side_is_a_ninth(tree: np.ndarray) -> None:
    assert {square[2] for square in thin_boxes(tree)} == {16}


def test_no_thin_vessel_no_square() -> None:
    assert thin_boxes(np.zeros((20, 20), bool)) == []


def test_an_error_map_gives_the_same_squares_whatever_was_detected(tree: np.ndarray) -> None:
    prediction = np.random.default_rng(0).random(tree.shape) < 0.5
    errors = error_map(prediction, tree, np.ones_like(tree))
    assert (true_vessels(errors) == tree).all()
    assert thin_boxes(true_vessels(errors)) == thin_boxes(tree)


def test_shares_agree_with_the_metric_of_the_records(tree: np.ndarray) -> None:
    prediction = tree.copy()
    prediction[40, 10:25] = False
    everything = np.ones_like(tree)
    half, none = error_map(prediction, tree, everything), error_map(~tree, tree, everything)
    whole = slice(None), slice(None)
    assert thin_recall(half, whole) == pytest.approx(vessel_width_recall(prediction, tree)["<=2"])
    line = thin_centre_line(tree)
    for square in thin_boxes(tree, count=2):
        assert thin_recall(half, window(square)) == pytest.approx(
            prediction[window(square)][line[window(square)]].mean()
        )
        assert thin_recall(none, window(square)) == 0


class Kept(Record):
    """A record that keeps error maps without a folder: the map's only value tells which case it was."""

    def error_maps(self, label: str | None = None) -> dict[str, np.ndarray]:
        return {case: np.array([[index]]) for index, case in enumerate(self.test(label)["cases"])}


def kept(*images: str, cases: tuple[str, ...] = ("best", "median", "worst")) -> Kept:
    listed = {case: {"image": image} for case, image in zip(cases, images, strict=True)}
    return Kept(Path(), {"id": "x", "tests": {"drive:test": {"cases": listed}}})


@pytest.fixture
def _any_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shared_maps.__globals__, "true_vessels", lambda errors: errors >= 0)


@pytest.mark.usefixtures("_any_truth")
def test_an_image_that_all_records_keep_is_found() -> None:
    # Both a and c are kept by both; c is the first one's median.
    image, maps = shared_maps({"ours": kept("a", "c", "d"), "other": kept("c", "a", "e")})
    assert image == "c" and {title: int(m[0, 0]) for title, m in maps.items()} == {"ours": 1, "other": 0}


@pytest.mark.usefixtures("_any_truth")
def test_a_record_without_a_common_image_is_left_out() -> None:
    records = {"ours": kept("a", "b", "c"), "first": kept("c", "x", "y"), "second": kept("a", "v", "w")}
    image, maps = shared_maps(records)
    assert image == "c" and list(maps) == ["ours", "first"]
    assert shared_maps({"ours": kept("a", "b", "c"), "other": kept("x", "y", "z")}) is None
    assert shared_maps({"ours": kept("a", "b", "c")}) is None and shared_maps({}) is None
    assert shared_maps({"ours": kept("a", "b", "c"), "without maps": kept(cases=())}) is None


def test_maps_of_two_truths_are_refused() -> None:
    # Values 1 and 0: one map has a vessel where the other has background.
    with pytest.raises(ValueError, match="c: expected error maps of one image"):
        shared_maps({"ours": kept("a", "c", "d"), "other": kept("c", "b", "e")})
