"""Boxes around thin vessels: chosen by the truth alone, and the same from an error map as from the data."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from retlib.data import load_dataset
from retlib.metrics import vessel_width_recall
from retlib.preprocessing import to_grid
from retlib.report import Evidence
from retlib.report.thin import (
    Box,
    found_in_boxes,
    shared_maps,
    show_thin,
    thin_boxes,
    thin_centre_line,
    thin_figure,
    true_vessels,
)
from retlib.study import MISSED, TRUE_VESSEL, Record, error_map
from tests.experiments.conftest import tiny


@pytest.fixture
def tree() -> np.ndarray:
    """A wide vessel across the top, a thin one of 30 pixels below it, and one of 12 in the other corner."""
    vessels = np.zeros((90, 90), bool)
    vessels[8:16, 5:85] = True
    vessels[40, 10:40] = True
    vessels[70:82, 70] = True
    return vessels


def test_the_thin_centre_line_leaves_wide_vessels_out(tree: np.ndarray) -> None:
    line = thin_centre_line(tree)
    assert not line[:20].any()
    assert line[40, 10:40].sum() >= 28 and line[70:82, 70].sum() >= 10
    assert not thin_centre_line(np.ones((5, 5), bool)).any()


def test_boxes_hold_the_most_and_do_not_overlap(tree: np.ndarray) -> None:
    boxes = thin_boxes(tree, count=5, side=16)
    line = thin_centre_line(tree)
    assert [box.thin for box in boxes] == [int(line[box.window].sum()) for box in boxes]
    assert [box.thin for box in boxes] == sorted((box.thin for box in boxes), reverse=True)
    # No window anywhere holds more than the first: counted window by window.
    windows = np.lib.stride_tricks.sliding_window_view(line, (16, 16)).sum(axis=(2, 3))
    assert boxes[0].thin == windows.max()
    taken = np.zeros(tree.shape, int)
    for box in boxes:
        taken[box.window] += 1
    assert taken.max() == 1
    assert sum(box.thin for box in boxes) >= 0.9 * line.sum() and len(boxes) < 5  # nothing thin is left


def test_the_default_side_is_a_ninth(tree: np.ndarray) -> None:
    assert {box.side for box in thin_boxes(tree)} == {10}


@pytest.mark.parametrize("side", [0, 91])
def test_a_box_that_does_not_fit_is_refused(tree: np.ndarray, side: int) -> None:
    with pytest.raises(ValueError, match="side: expected 1 to 90"):
        thin_boxes(tree, side=side)


def test_no_thin_vessel_no_box() -> None:
    assert thin_boxes(np.zeros((20, 20), bool), side=4) == []


def test_an_error_map_gives_the_same_boxes_whatever_was_found(tree: np.ndarray) -> None:
    prediction = np.random.default_rng(0).random(tree.shape) < 0.5
    errors = error_map(prediction, tree, np.ones_like(tree))
    assert (true_vessels(errors) == tree).all()
    assert thin_boxes(true_vessels(errors), side=16) == thin_boxes(tree, side=16)


def test_shares_agree_with_the_metric_of_the_records(tree: np.ndarray) -> None:
    prediction = tree.copy()
    prediction[40, 10:25] = False
    everything = np.ones_like(tree)
    maps = {"half": error_map(prediction, tree, everything), "none": error_map(~tree, tree, everything)}
    boxes = thin_boxes(tree, count=2, side=16)
    frame = found_in_boxes(maps, boxes)
    assert frame.loc["half", "whole image"] == pytest.approx(vessel_width_recall(prediction, tree)["<=2"])
    assert (frame.loc["none"] == 0).all()
    line = thin_centre_line(tree)
    for number, box in enumerate(boxes, 1):
        expected = prediction[box.window][line[box.window]].mean()
        assert frame.loc["half", f"box {number}"] == pytest.approx(expected)


def test_maps_of_two_images_are_refused(tree: np.ndarray) -> None:
    other = np.roll(tree, 3, axis=0)
    maps = {name: error_map(truth, truth, np.ones_like(tree)) for name, truth in {"a": tree, "b": other}.items()}
    with pytest.raises(ValueError, match="error maps of one image"):
        found_in_boxes(maps, [Box(0, 0, 9, 1)])


class Kept(Record):
    """A record that keeps error maps without a folder: the map's only value tells which case it was."""

    def error_maps(self, label: str | None = None) -> dict[str, np.ndarray]:
        return {case: np.array([[index]]) for index, case in enumerate(self.test(label)["cases"])}


def kept(best: str, median: str, worst: str) -> Record:
    cases = {"best": {"image": best}, "median": {"image": median}, "worst": {"image": worst}}
    return Kept(Path(), {"id": "x", "tests": {"drive:test": {"cases": cases}}})


def test_an_image_that_all_records_keep_is_found() -> None:
    # Both a and c are kept by both; c is the first one's median.
    image, maps = shared_maps({"ours": kept("a", "c", "d"), "other": kept("c", "a", "e")})
    assert image == "c" and {title: int(m[0, 0]) for title, m in maps.items()} == {"ours": 1, "other": 0}


def test_a_record_without_a_common_image_is_left_out() -> None:
    records = {"ours": kept("a", "b", "c"), "first": kept("c", "x", "y"), "second": kept("a", "v", "w")}
    image, maps = shared_maps(records)
    assert image == "c" and list(maps) == ["ours", "first"]
    assert shared_maps({"ours": kept("a", "b", "c"), "other": kept("x", "y", "z")}) is None
    assert shared_maps({"ours": kept("a", "b", "c")}) is None and shared_maps({}) is None


def test_the_figure_shows_every_map_and_box(tree: np.ndarray) -> None:
    maps = {name: error_map(tree, tree, np.ones_like(tree)) for name in ("U-Net", "AF-UNet")}
    boxes = thin_boxes(tree, count=2, side=16)
    figure = thin_figure(maps, boxes)
    assert len(figure.axes) == 9  # truth and two maps, each whole and in two boxes
    assert [axis.get_title() for axis in figure.axes[::3]] == ["truth", "U-Net", "AF-UNet"]
    assert figure.axes[-1].get_title() == "100% of it found"
    enlarged = figure.axes[4].images[0].get_array()
    assert (np.isin(enlarged, (TRUE_VESSEL, MISSED)) == tree[boxes[0].window]).all()
    plt.close(figure)


def test_the_photograph_lies_on_the_grid_of_the_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of cropped images: the boxes are places in the crop, and so is what is seen through them."""
    config = tiny(inputs={"crop": (60, 50)}, model="unet")
    selection = config.test[0]
    whole = load_dataset(selection.dataset, selection.split, **selection.options)[0]
    sample = to_grid(whole, config.inputs)

    class Mapped(Kept):
        def error_maps(self, label: str | None = None) -> dict[str, np.ndarray]:
            return {"first": error_map(~sample.vessels, sample.vessels, sample.fov)}

    content = {"config": config.model_dump(mode="json"), "tests": {"t": {"cases": {"first": {"image": sample.name}}}}}
    evidence = Evidence("run", "smoke", (Mapped(Path(), {"id": "x"} | content),))
    study = SimpleNamespace(root=None, evidence=lambda name, best: evidence)
    drawn = []
    monkeypatch.setattr(plt, "show", lambda: drawn.append(plt.gcf()))
    show_thin(study, {"ours": "a", "other": "b"}, count=1)
    (box,) = thin_boxes(true_vessels(evidence.records[0].error_maps()["first"]), 1)
    photograph, enlarged = (axis.images[0].get_array() for axis in drawn[0].axes[:2])
    assert (photograph == sample.image).all()
    assert (enlarged == sample.image[box.window]).all()
    assert (enlarged != whole.image[box.window]).any()
    plt.close("all")
