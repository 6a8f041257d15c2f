"""Photographs in figures: on the grid of their record, thinned to what is drawn, in the coordinates of their pixels."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from retlib.data import load_dataset
from retlib.study import MISSED, TRUE_VESSEL, Record, figures
from retlib.study.figures import photograph
from tests.experiments.conftest import tiny


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def record_of(**changes) -> Record:
    return Record(Path(), {"id": "x", "config": tiny(**changes).model_dump(mode="json")})


def test_a_photograph_is_on_the_grid_that_was_scored() -> None:
    record = record_of(inputs={"crop": (40, 30), "resample": (20, 15)})
    selection = record.config.test[0]
    name = selection.names()[1]
    sample = photograph(record, name, None)
    assert sample.name == name and sample.vessels.shape == (20, 15)
    whole = photograph(record_of(), name, None)
    dataset = load_dataset(selection.dataset, selection.split, **selection.options)
    assert (whole.image == dataset[dataset.names.index(name)].image).all()


def test_without_data_there_is_no_photograph() -> None:
    selections = {"train": {"dataset": "drive", "split": "training"}, "test": [{"dataset": "drive", "split": "test"}]}
    assert photograph(record_of(**selections), "01_test", None) is None


def shown(image: np.ndarray, inches: float = 1.0, columns: int = 1):
    _, axes = plt.subplots(1, columns, figsize=(inches * columns, inches), dpi=100, squeeze=False)
    figures.show_image(axes[0, 0], image, "title")
    return axes[0, 0].images[0]


@pytest.mark.parametrize("columns", [1, 3])
def test_a_large_photograph_is_thinned_by_area_to_its_place(columns: int) -> None:
    image = np.zeros((800, 400, 3), np.uint8)
    image[:, ::2] = 200
    drawn = shown(image, columns=columns)
    assert drawn.get_array().shape == (200, 100, 3)  # two pixels for each of its place
    assert (drawn.get_array() == 100).all()  # every fourth column would be all dark or all bright
    assert drawn.get_extent() == [-0.5, 399.5, 799.5, -0.5]
    assert drawn.axes.get_title() == "title" and not drawn.axes.axison


def test_a_small_one_stays_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 40, 3), dtype=np.uint8)
    drawn = shown(image)
    assert (drawn.get_array() == image).all() and drawn.get_extent() == [-0.5, 39.5, 59.5, -0.5]


def test_thinning_changes_no_scale_of_greys() -> None:
    channel = np.full((400, 400), 90, np.uint8)
    channel[0, 0], channel[1, 1] = 10, 250
    drawn = shown(channel)
    assert drawn.get_array().shape == (200, 200) and drawn.get_clim() == (10, 250)
    label = np.zeros((400, 400), bool)
    label[:, 200:201] = True  # one of two columns
    drawn = shown(label)
    assert drawn.get_clim() == (0, 255) and set(np.unique(drawn.get_array())) == {0, 128}
    assert shown(~np.zeros((8, 8), bool)).get_array().min() == 255  # white, though nothing is black beside it


def test_a_photograph_is_brought_to_a_thinned_error_map() -> None:
    image = np.arange(7 * 10).reshape(7, 10)
    errors = np.zeros((3, 4), np.uint8)
    assert (figures.on_map(image, errors) == image[::3, ::3]).all()
    assert figures.on_map(image, np.zeros((7, 10))).shape == (7, 10)


def test_cases_show_truth_and_prediction_beside_the_map() -> None:
    sample = load_dataset("phantom", "test", count=1, height=64, width=64)[0]
    errors = np.where(sample.vessels, MISSED, 0).astype(np.uint8)
    errors[:32][sample.vessels[:32]] = TRUE_VESSEL
    figure = figures.case_figure({"best": errors}, {"best": sample})
    photo, truth, prediction, map_ = (axis.images[0].get_array() for axis in figure.axes)
    assert (photo == sample.image).all() and ((truth > 0) == sample.vessels).all() and (map_ == errors).all()
    assert ((prediction > 0) == (errors == TRUE_VESSEL)).all()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(figures.ERROR_NAMES.values())
