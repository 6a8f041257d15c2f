"""Shipping a network, and the network that was shipped at work."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import retlib.weights
from retlib.data import FundusSample
from retlib.data.phantoms import make_phantom
from retlib.inference import InferenceSettings, predict_logits, probabilities
from retlib.prediction import NotAFundusError, Predictor, WeightsError, find_fov, load_predictor, ship, shipping
from retlib.prediction.fov import searched_region
from retlib.study.runner import build
from tests.prediction.conftest import random_weights, record_of

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


def test_what_is_no_fundus_photograph_is_refused_unless_asked_for(predictor: Predictor) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    with pytest.raises(NotAFundusError, match=r"does not look like a fundus photograph: .*lines"):
        predictor(noise)
    result = predictor(noise, check=False)
    assert result.vessels.shape == (300, 300) and not result.check.passed
    with pytest.raises(ValueError, match="uint8"):
        predictor(noise.astype(float))


@pytest.mark.parametrize("least_piece", [None, 2, 60])
def test_small_pieces_are_gone_from_the_map_as_from_the_probabilities(
    weights: Path, tmp_path: Path, photograph: np.ndarray, least_piece: int | None
) -> None:
    for suffix in (".pt", ".json"):
        shutil.copy(weights.with_suffix(suffix), tmp_path)
    edit_card(tmp_path / "tiny.pt", least_piece=least_piece)
    sums = []
    for threshold in (0.2, 0.43, 0.7):
        result = load_predictor(tmp_path / "tiny.pt", threshold=threshold, device="cpu")(photograph)
        assert "probabilities" not in vars(result)  # they take a while, and are made where somebody asks for them
        np.testing.assert_array_equal(result.vessels, result.probabilities >= np.float32(threshold))
        assert result.probabilities is result.probabilities and result.probabilities.dtype == np.float32
        assert not result.probabilities[~result.searched].any()
        sums.append(int(result.vessels.sum()))
    assert sums == sorted(sums, reverse=True) and sums[0] > sums[-1]


# --- shipping ----------------------------------------------------------------------------------------------------


def test_the_two_files(weights: Path) -> None:
    state = torch.load(weights, weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    card = json.loads(weights.with_suffix(".json").read_text())
    (member,) = card["members"]
    assert card["name"] == "tiny" and member["model"] == "unet" and member["model_options"] == {"width": 4, "depth": 2}
    assert member["inputs"]["fov_side"] == 96 and member["record"] == card["record"] == "0123456789abcdef"
    assert card["trained_on"] == {"phantom:training": ["phantom-0000", "phantom-0001"]}
    assert card["licence"] == "none at all"


@pytest.mark.parametrize("half", [True, False])
def test_sixteen_bits_only_where_they_change_nothing(tmp_path: Path, half: bool, monkeypatch) -> None:
    """Kernels that 16 bits hold exactly are halved; others too, but only while probabilities stay put."""
    record = record_of(tmp_path)
    kept = random_weights(record, tmp_path / "kept.pt")
    state = {key: value.half().float() if value.ndim > 1 else value for key, value in torch.load(kept).items()}
    torch.save(state, kept)

    def kernels() -> set[torch.dtype]:
        ship(record, kept, tmp_path, name="n", licence="x", half=half)
        return {value.dtype for value in torch.load(tmp_path / "n.pt").values() if value.ndim > 1}

    assert kernels() == {torch.float16 if half else torch.float32}
    monkeypatch.setattr(shipping, "MAX_CHANGE", 0.0)
    assert kernels() == {torch.float32}


def test_the_change_that_storage_makes_is_measured(tmp_path: Path) -> None:
    record = record_of(tmp_path)
    torch.manual_seed(0)
    one = build(record.config).eval()
    other = build(record.config).eval()
    other.load_state_dict(one.state_dict())
    settings = (record.config.inputs, record.config.inference)
    assert shipping._greatest_change(one, other, *settings) == 0
    with torch.no_grad():
        next(other.parameters()).mul_(1.2)
    phantom = make_phantom(0)
    maps = [probabilities(predict_logits(model, phantom, *settings)) for model in (one, other)]
    assert shipping._greatest_change(one, other, *settings) >= np.abs(maps[0] - maps[1]).max() > 0


def spoil(state: dict, how: str) -> dict | list:
    name = next(key for key, value in state.items() if value.ndim > 1)
    if how == "nan":
        state[name][0] = float("nan")
    elif how == "missing":
        del state[name]
    elif how == "shape":
        state[name] = state[name][:1]
    elif how == "no tensors":
        state["note"] = "hello"
    return state


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("nan", "not finite"),
        ("missing", "do not fit"),
        ("shape", "do not fit"),
        ("no tensors", "plain state dict"),
        ("text", "cannot be read"),
        ("gone", "cannot be read"),
    ],
)
def test_bad_weights_are_not_shipped(tmp_path: Path, how: str, message: str) -> None:
    record = record_of(tmp_path)
    kept = random_weights(record, tmp_path / "kept.pt")
    torch.save(spoil(torch.load(kept), how), kept)
    if how == "text":
        kept.write_text("hello")
    elif how == "gone":
        kept.unlink()
    with pytest.raises(WeightsError, match=rf"kept\.pt: .*{message}"):
        ship(record, kept, tmp_path / "out", name="n", licence="x")
    assert not (tmp_path / "out").exists()


def test_weights_with_code_in_them_do_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    torch.save({"weight": Trap()}, tmp_path / "kept.pt")
    with pytest.raises(WeightsError, match="cannot be read"):
        ship(record_of(tmp_path), tmp_path / "kept.pt", tmp_path, name="n", licence="x")
    assert not (tmp_path / "sprung").exists()


def test_large_weights_are_not_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = record_of(tmp_path)
    kept = random_weights(record, tmp_path / "kept.pt")
    monkeypatch.setattr(shipping, "MAX_BYTES", 10_000)
    with pytest.raises(WeightsError, match=r"take 0\.\d+ MB, where 0\.01 MB may be shipped"):
        ship(record, kept, tmp_path, name="n", licence="x")


@pytest.mark.parametrize("inputs", [{}, {"crop": [64, 64], "fov_side": 96}, {"resample": [64, 64], "size": [64, 64]}])
def test_inputs_that_suit_one_data_set_are_not_shipped(tmp_path: Path, inputs: dict) -> None:
    record = record_of(tmp_path, inputs={"preprocessing": ["green"], **inputs})
    with pytest.raises(WeightsError, match=r"0123456789abcdef.*inputs\.fov_side"):
        ship(record, random_weights(record, tmp_path / "kept.pt"), tmp_path, name="n", licence="x")


def test_the_tool_ships_a_record(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    import ship_weights

    record = record_of(tmp_path)
    folder = tmp_path / "records" / record.id
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(record.content))
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "weights").mkdir(parents=True)
    options = ["--name", "n", "--licence", "x", "--records", str(tmp_path / "records"), "--folder", str(tmp_path / "w")]
    with pytest.raises(SystemExit) as exit_:
        ship_weights.main([record.id, *options])
    assert exit_.value.code == 2 and "0123456789abcdef.pt: cannot be read" in capsys.readouterr().err
    random_weights(record, tmp_path / "cache" / "weights" / f"{record.id}.pt")
    ship_weights.main([record.id, *options])
    assert "n.pt: " in capsys.readouterr().out
    assert load_predictor(tmp_path / "w" / "n.pt", device="cpu").card.record == record.id
    with pytest.raises(SystemExit):
        ship_weights.main(["feedfeedfeedfeed", *options])
    assert "there is no record feedfeedfeedfeed" in capsys.readouterr().err


# --- loading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: w.unlink(), "no such weights file"),
        (lambda w: w.with_suffix(".json").unlink(), r"tiny\.json is not beside it"),
        (lambda w: w.with_suffix(".json").write_text("{"), "expected a model card"),
        (lambda w: w.with_suffix(".json").write_text("{}"), "Field required"),
        (lambda w: w.write_bytes(w.read_bytes()[:-100]), "not what tiny.json describes"),
        (lambda w: edit_member(w, model="vnet"), "there is no model 'vnet'"),
        (lambda w: edit_member(w, model_options={"width": 5, "depth": 2}), "do not fit"),
        (lambda w: edit_card(w, members=[]), "members"),
        (lambda w: edit_card(w, members=2 * read_card(w)["members"]), r"do not fit the model"),
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


def edit_member(weights: Path, **changes) -> None:
    (member,) = read_card(weights)["members"]
    edit_card(weights, members=[member | changes])


def test_a_card_of_one_network_as_they_used_to_be(weights: Path, tmp_path: Path, photograph: np.ndarray) -> None:
    for suffix in (".pt", ".json"):
        shutil.copy(weights.with_suffix(suffix), tmp_path)
    card = read_card(weights)
    (member,) = card.pop("members")
    del card["least_piece"]
    flat = card | member | {"inference": {"flips": True, "tile": None, "overlap": 64, "least_piece": 9}}
    (tmp_path / "tiny.json").write_text(json.dumps(flat))
    found = load_predictor(tmp_path / "tiny.pt", device="cpu")
    assert found.card.least_piece == 9 and found.card.members[0].inference.seen == ("none", "v", "h", "hv")
    sample = FundusSample("x", photograph, np.zeros(photograph.shape[:2], bool), find_fov(photograph))
    (member,) = found._members
    settings = InferenceSettings(flips=True, least_piece=9)
    expected = probabilities(predict_logits(member.model, sample, member.inputs, settings)).astype(np.float32)
    expected[~searched_region(photograph, sample.fov)] = 0
    np.testing.assert_array_equal(found(photograph).probabilities, expected)


def test_without_shipped_weights_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping.resources, "files", lambda package: tmp_path)
    with pytest.raises(WeightsError, match=r"no weights are shipped.*--weights FILE"):
        load_predictor()


def test_the_shipped_network_is_the_default(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for suffix in (".pt", ".json"):
        shutil.copy(weights.with_suffix(suffix), tmp_path)
    monkeypatch.setattr(shipping.resources, "files", lambda package: tmp_path)
    assert load_predictor(device="cpu").card.name == "tiny"


def test_what_is_shipped_is_whole_and_small() -> None:
    """The files that lie in the package."""
    files = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".pt", ".json"))
    assert [Path(name).suffix for name in files] == [".json", ".pt"]
    predictor = load_predictor(device="cpu")
    assert (FOLDER / f"{predictor.card.name}.pt").stat().st_size <= shipping.MAX_BYTES
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


def test_importing_the_command_line_is_cheap() -> None:
    import subprocess

    code = "import sys, retlib.cli; print([name for name in ('torch', 'cv2', 'pandas') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
