"""A network and its card, read from disk and applied to photographs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import retlib.weights
from retlib.data import FundusSample
from retlib.data.phantoms import make_phantom
from retlib.inference import predict_logits, probabilities
from retlib.predict import NotAFundusError, Predictor, WeightsError, load_predictor, predict_vessels
from retlib.predict import weights as weights_module
from retlib.predict.fov import searched_region
from retlib.study.runner import build
from retlib.study.ship import MAX_BYTES
from tests.predict.conftest import random_weights, record_of

FOLDER = Path(retlib.weights.__file__).parent


# --- prediction --------------------------------------------------------------------------------------------------


def test_a_prediction_lies_on_the_photographs_own_grid(predictor: Predictor, photograph: np.ndarray) -> None:
    result = predictor(photograph)
    shape = photograph.shape[:2]
    assert (result.probabilities.shape, result.probabilities.dtype) == (shape, np.float32)
    assert (result.vessels.shape, result.vessels.dtype) == (shape, np.bool_) == (result.fov.shape, result.fov.dtype)
    assert 0 <= result.probabilities.min() and result.probabilities.max() <= 1
    assert not result.probabilities[~result.fov].any() and not result.vessels[~result.fov].any()
    assert 0.02 < result.vessel_share < 0.98  # it does tell pixels apart
    np.testing.assert_array_equal(result.vessels, result.probabilities >= np.float32(predictor.threshold))
    assert result.check.passed


def test_it_is_the_networks_own_map(
    predictor: Predictor, photograph: np.ndarray, weights: Path, tmp_path: Path
) -> None:
    """What `predict_logits` gives with the weights as they were kept, inside the region that is searched."""
    record = record_of(tmp_path)
    model = build(record.config)
    model.load_state_dict(torch.load(random_weights(record, tmp_path / "kept.pt"), weights_only=True))
    result = predictor(photograph)
    sample = FundusSample("x", photograph, np.zeros_like(result.fov), result.fov)
    expected = probabilities(predict_logits(model.eval(), sample, record.config.inputs))
    inside = searched_region(photograph, result.fov)
    assert np.abs(result.probabilities - expected)[inside].max() < 1e-3


def test_the_threshold_can_be_set(weights: Path, predictor: Predictor, photograph: np.ndarray) -> None:
    assert predictor.threshold == predictor.card.threshold == 0.43
    strict = load_predictor(weights, threshold=0.5, device="cpu")(photograph)
    result = predictor(photograph)
    assert strict.vessels.sum() < result.vessels.sum()
    np.testing.assert_array_equal(strict.probabilities, result.probabilities)
    for wrong in (0, 1, -1, float("nan")):
        with pytest.raises(ValueError, match="threshold: expected a probability"):
            load_predictor(weights, threshold=wrong, device="cpu")
    with pytest.raises(ValueError, match="device"):
        load_predictor(weights, device="toaster")


def test_one_call_gives_the_probabilities(weights: Path, predictor: Predictor, photograph: np.ndarray) -> None:
    found = predict_vessels(photograph, weights=weights, device="cpu")
    assert (found.dtype, found.shape) == (np.float32, photograph.shape[:2])
    np.testing.assert_array_equal(found, predictor(photograph).probabilities)
    with pytest.raises(NotAFundusError):
        predict_vessels(np.zeros_like(photograph), weights=weights, device="cpu")


def test_what_is_no_fundus_photograph_is_refused_unless_asked_for(predictor: Predictor) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    with pytest.raises(NotAFundusError, match=r"does not look like a fundus photograph: .*lines"):
        predictor(noise)
    result = predictor(noise, check=False)
    assert result.vessels.shape == (300, 300) and not result.check.passed
    with pytest.raises(ValueError, match="uint8"):
        predictor(noise.astype(float))


@pytest.mark.parametrize("least_piece", [None, 2, 60])
def test_small_components_are_gone_from_the_map_as_from_the_probabilities(
    weights: Path, tmp_path: Path, photograph: np.ndarray, least_piece: int | None
) -> None:
    for suffix in (".pt", ".json"):
        shutil.copy(weights.with_suffix(suffix), tmp_path)
    inference = read_card(tmp_path / "tiny.pt")["inference"] | {"least_piece": least_piece}
    edit_card(tmp_path / "tiny.pt", inference=inference)
    sums = []
    for threshold in (0.2, 0.43, 0.7):
        result = load_predictor(tmp_path / "tiny.pt", threshold=threshold, device="cpu")(photograph)
        assert "probabilities" not in vars(result)  # they take a while, and are made where somebody asks for them
        np.testing.assert_array_equal(result.vessels, result.probabilities >= np.float32(threshold))
        assert result.probabilities is result.probabilities and result.probabilities.dtype == np.float32
        assert not result.probabilities[~result.searched].any()
        sums.append(int(result.vessels.sum()))
    assert sums == sorted(sums, reverse=True) and sums[0] > sums[-1]


# --- loading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: w.unlink(), "no such weights file"),
        (lambda w: w.with_suffix(".json").unlink(), r"tiny\.json is not beside it"),
        (lambda w: w.with_suffix(".json").write_text("{"), "expected a model card"),
        (lambda w: w.with_suffix(".json").write_text("{}"), "Field required"),
        (lambda w: w.write_bytes(w.read_bytes()[:-100]), "not what tiny.json describes"),
        (lambda w: edit_card(w, model="vnet"), "there is no model 'vnet'"),
        (lambda w: edit_card(w, model_options={"width": 5, "depth": 2}), r"tiny\.pt: the weights do not fit the model"),
        (lambda w: edit_card(w, model_options={"colour": 5}), r"tiny\.json: .*colour"),
        (lambda w: edit_card(w, members=[]), "members"),
        (lambda w: edit_card(w, threshold=7), "threshold"),
    ],
)
def test_damaged_weights_are_named(weights: Path, tmp_path: Path, damage, message: str) -> None:
    for suffix in (".pt", ".json"):
        shutil.copy(weights.with_suffix(suffix), tmp_path)
    damage(tmp_path / "tiny.pt")
    with pytest.raises(ValueError, match=message):
        load_predictor(tmp_path / "tiny.pt", device="cpu")


def read_card(weights: Path) -> dict:
    return json.loads(weights.with_suffix(".json").read_text())


def edit_card(weights: Path, **changes) -> None:
    weights.with_suffix(".json").write_text(json.dumps(read_card(weights) | changes))


def test_without_shipped_weights_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_module.resources, "files", lambda package: tmp_path)
    with pytest.raises(WeightsError, match=r"no weights are shipped.*--weights FILE"):
        load_predictor()


def test_the_shipped_network_is_the_default(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for suffix in (".pt", ".json"):
        shutil.copy(weights.with_suffix(suffix), tmp_path)
    monkeypatch.setattr(weights_module.resources, "files", lambda package: tmp_path)
    assert load_predictor(device="cpu").card.name == "tiny"


def test_what_is_shipped_is_whole_and_small() -> None:
    """The files that lie in the package."""
    files = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".pt", ".json"))
    assert [Path(name).suffix for name in files] == [".json", ".pt"]
    predictor = load_predictor(device="cpu")
    assert (FOLDER / f"{predictor.card.name}.pt").stat().st_size <= MAX_BYTES
    assert predictor.card.licence
    phantom = make_phantom(11)
    result = predictor(phantom.image)
    overlap = 2 * (result.vessels & phantom.vessels).sum() / (result.vessels.sum() + phantom.vessels.sum())
    assert overlap > 0.5


def test_building_a_network_leaves_the_generator_alone(weights: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_predictor(weights, device="cpu")
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("module", "others"),
    [
        ("retlib.cli", ("torch", "cv2", "pandas")),
        ("retlib.predict.batch", ("retlib.study", "retlib.papers", "pandas")),  # prediction knows nothing of the study
    ],
)
def test_importing_is_cheap(module: str, others: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([name for name in {others} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("gray", [lambda image: image[..., 1], lambda image: image @ [0.299, 0.587, 0.114]])
def test_gray_photographs_give_the_map_of_the_colour_one(gray) -> None:
    """Green as red-free cameras store it, and luma; also green alone in an RGB file."""
    phantom = make_phantom(3, 292, 282)
    predict = load_predictor(device="cpu")
    colour = predict(phantom.image).vessels
    level = np.rint(gray(phantom.image)).astype(np.uint8)
    pictures = [np.repeat(level[..., None], 3, axis=2), level[..., None] * np.array([0, 1, 0], np.uint8)]
    for picture in pictures:
        vessels = predict(picture).vessels
        assert 2 * (vessels & colour).sum() / (vessels.sum() + colour.sum()) > 0.8


@pytest.mark.parametrize("axis", [0, 1])
def test_two_eyes_in_one_picture_are_segmented_each_by_itself(
    predictor: Predictor, photograph: np.ndarray, axis: int
) -> None:
    result = predictor(np.concatenate([photograph, photograph], axis=axis))
    alone = predictor(photograph).vessels
    assert result.vessels.shape[axis] == 2 * photograph.shape[axis] and "two eyes" in result.doubts[0]
    height, width = alone.shape
    assert (result.vessels[:height, :width] == alone).mean() > 0.97
