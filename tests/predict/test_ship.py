"""Weights and a card from the record of a run: what ships is what was scored."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from retlib.data import FundusSample
from retlib.data.phantoms import make_phantom
from retlib.inference import predict_logits, probabilities
from retlib.predict import WeightsError, load_predictor
from retlib.predict.fov import searched_region
from retlib.study import ship as shipping
from retlib.study.runner import build
from retlib.study.ship import ship
from tests.predict.conftest import random_weights, record_of


@pytest.fixture
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "cache"))


pytestmark = pytest.mark.usefixtures("_empty_cache")


def test_the_two_files(weights: Path) -> None:
    state = torch.load(weights, weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    card = json.loads(weights.with_suffix(".json").read_text())
    assert card["name"] == "tiny" and card["model"] == "unet" and card["model_options"] == {"width": 4, "depth": 2}
    assert card["inputs"]["fov_side"] == 96 and card["run"] == "0123456789abcdef"
    assert card["trained_on"] == {"phantom:training": ["phantom-0000", "phantom-0001"]}
    assert card["licence"] == "none at all"


def test_sixteen_bits_only_where_they_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that 16 bits hold exactly are halved; others too, but only while probabilities stay put."""
    record = record_of(tmp_path)
    kept = random_weights(record, tmp_path / "kept.pt")
    state = {key: value.half().float() if value.ndim > 1 else value for key, value in torch.load(kept).items()}
    torch.save(state, kept)

    def kernels() -> set[torch.dtype]:
        ship(record, tmp_path, name="n", licence="x", weights=kept)
        return {value.dtype for value in torch.load(tmp_path / "n.pt").values() if value.ndim > 1}

    assert kernels() == {torch.float16}
    monkeypatch.setattr(shipping, "MAX_CHANGE", 0.0)
    assert kernels() == {torch.float32}


def test_the_change_that_storage_makes_is_measured(tmp_path: Path) -> None:
    record = record_of(tmp_path)
    torch.manual_seed(0)
    one = build(record.config).eval()
    other = build(record.config).eval()
    other.load_state_dict(one.state_dict())
    assert shipping._greatest_change(one, other, record.config) == 0
    with torch.no_grad():
        next(other.parameters()).mul_(1.2)
    phantom = make_phantom(0)
    maps = [probabilities(predict_logits(model, phantom, record.config.inputs)) for model in (one, other)]
    assert shipping._greatest_change(one, other, record.config) >= np.abs(maps[0] - maps[1]).max() > 0


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
        ship(record, tmp_path / "out", name="n", licence="x", weights=kept)
    assert not (tmp_path / "out").exists()


def test_weights_with_code_in_them_do_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    torch.save({"weight": Trap()}, tmp_path / "kept.pt")
    with pytest.raises(WeightsError, match="cannot be read"):
        ship(record_of(tmp_path), tmp_path, name="n", licence="x", weights=tmp_path / "kept.pt")
    assert not (tmp_path / "sprung").exists()


def test_large_weights_are_not_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = record_of(tmp_path)
    kept = random_weights(record, tmp_path / "kept.pt")
    monkeypatch.setattr(shipping, "MAX_BYTES", 10_000)
    with pytest.raises(WeightsError, match=r"take 0\.\d+ MB, where 0\.01 MB may be shipped"):
        ship(record, tmp_path, name="n", licence="x", weights=kept)


@pytest.mark.parametrize("inputs", [{}, {"crop": [64, 64], "fov_side": 96}, {"resample": [64, 64], "size": [64, 64]}])
def test_inputs_that_suit_one_data_set_are_not_shipped(tmp_path: Path, inputs: dict) -> None:
    record = record_of(tmp_path, inputs={"preprocessing": ["green"], **inputs})
    with pytest.raises(WeightsError, match=r"0123456789abcdef.*inputs\.fov_side"):
        ship(record, tmp_path, name="n", licence="x", weights=random_weights(record, tmp_path / "kept.pt"))


def test_the_command_ships_a_record(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    record = record_of(tmp_path)
    folder = tmp_path / "records" / record.id
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(record.content))
    (tmp_path / "cache" / "weights").mkdir(parents=True)
    options = ["--name", "n", "--licence", "x", "--records", str(tmp_path / "records"), "--folder", str(tmp_path / "w")]
    with pytest.raises(SystemExit) as exit_:
        shipping.main([record.id, *options])
    assert exit_.value.code == 2 and "0123456789abcdef.pt: cannot be read" in capsys.readouterr().err
    random_weights(record, tmp_path / "cache" / "weights" / f"{record.id}.pt")
    shipping.main([record.id, *options])
    assert "n.pt: " in capsys.readouterr().out
    assert load_predictor(tmp_path / "w" / "n.pt", device="cpu").card.run == record.id
    with pytest.raises(SystemExit):
        shipping.main(["feedfeedfeedfeed", *options])
    assert "there is no record feedfeedfeedfeed" in capsys.readouterr().err


def test_what_ships_is_the_network_that_was_scored(tmp_path: Path, photograph: np.ndarray) -> None:
    """Its own test image and any photograph get the same map from the files as from the run's weights."""
    record = record_of(tmp_path, inference={"flips": True, "least_piece": 6, "amp_cpu": True})
    kept = random_weights(record, tmp_path / "kept.pt")
    card = ship(record, tmp_path / "shipped", name="one", licence="none", weights=kept)
    assert (card.run, card.threshold, card.inference) == (record.id, 0.43, record.config.inference)
    found = load_predictor(tmp_path / "shipped" / "one.pt", device="cpu")
    model = build(record.config).eval()
    model.load_state_dict(torch.load(kept))
    result = found(photograph)
    sample = FundusSample("x", photograph, np.zeros_like(result.fov), result.fov)
    scored = probabilities(predict_logits(model, sample, card.inputs, card.inference))
    scored[~searched_region(photograph, result.fov)] = 0
    assert np.abs(result.probabilities - scored).max() < 2e-2  # bfloat16 where the processor has it
    assert card.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_the_card_names_the_photographs_of_every_data_set(tmp_path: Path) -> None:
    options = {"count": 3, "lesions": True}
    record = record_of(
        tmp_path,
        train={"dataset": "phantom", "split": "training/fold1of2-test", "options": {"count": 3}},
        also=[{"dataset": "phantom", "split": "training/fold2of2-test", "options": options}],
        validation=0.0,
    )
    images = [name for selection in (record.config.train, *record.config.also) for name in selection.names()]
    record.content["training"]["images"] = images
    card = ship(record, tmp_path, name="n", licence="x", weights=random_weights(record, tmp_path / "kept.pt"))
    assert set(card.trained_on) == {"phantom:training/fold1of2-test", "phantom:training/fold2of2-test"}
    assert sorted(name for names in card.trained_on.values() for name in names) == sorted(images)
