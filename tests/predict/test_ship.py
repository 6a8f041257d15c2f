"""Weights and a card from the record of a run, or of a mean: what ships is what was scored."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from retlib.data import FundusSample, load_dataset
from retlib.data.phantoms import make_phantom
from retlib.inference import predict_logits, predict_mean_logits, probabilities
from retlib.predict import WeightsError, load_predictor
from retlib.predict import weights as weights_module
from retlib.predict.fov import searched_region
from retlib.study import MeanConfig, Record, run_mean, weights_path
from retlib.study import ship as shipping
from retlib.study.rescore import build_members, member_states
from retlib.study.runner import build
from retlib.study.ship import ship
from tests.predict.conftest import random_weights, record_of

PHANTOMS = {"count": 3, "height": 180, "width": 170}


@pytest.fixture
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "cache"))


pytestmark = pytest.mark.usefixtures("_empty_cache")


# --- a run -------------------------------------------------------------------------------------------------------


def test_the_two_files(weights: Path) -> None:
    state = torch.load(weights, weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    card = json.loads(weights.with_suffix(".json").read_text())
    assert card["name"] == "tiny" and card["model"] == "unet" and card["model_options"] == {"width": 4, "depth": 2}
    assert card["inputs"]["fov_side"] == 96 and card["run"] == card["record"] == "0123456789abcdef"
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
    assert load_predictor(tmp_path / "w" / "n.pt", device="cpu").card.record == record.id
    with pytest.raises(SystemExit):
        shipping.main(["feedfeedfeedfeed", *options])
    assert "there is no record feedfeedfeedfeed" in capsys.readouterr().err


def test_the_card_of_a_network_in_colour_holds_the_colours_of_its_training_images(tmp_path: Path) -> None:
    record = record_of(tmp_path, inputs={"preprocessing": ["rgb"], "fov_side": 512})
    torch.save(build(record.config).state_dict(), tmp_path / "kept.pt")
    card = ship(record, tmp_path / "out", name="n", licence="x", weights=tmp_path / "kept.pt")
    names, selection = record.content["training"]["images"], record.config.train
    samples = load_dataset(selection.dataset, selection.split, **selection.options)
    images = [sample.image[sample.fov] for sample in samples if sample.name in names]
    assert len(images) == len(names)
    assert card.colour_mean == pytest.approx(np.mean([pixels.mean(axis=0) for pixels in images], axis=0), abs=2)
    assert card.colour_sd == pytest.approx(np.mean([pixels.std(axis=0) for pixels in images], axis=0), rel=0.1)


# --- a mean ------------------------------------------------------------------------------------------------------


def make_mean(count: int = 1, **changes: object) -> MeanConfig:
    """A mean of networks of different sizes on different inputs, with their weights in the cache."""
    selections = {
        "train": {"dataset": "phantom", "split": "training", "options": PHANTOMS},
        "test": [{"dataset": "phantom", "split": "test", "options": PHANTOMS | {"count": 1}}],
    }
    options = ({"width": 4, "depth": 2}, {"width": 6, "depth": 1})
    runs = [
        record_of(Path(), **selections, validation=0.0, seed=seed, model_options=options[seed]).config
        for seed in range(count)
    ]
    for run in runs:
        path = weights_path(run.identify())
        path.parent.mkdir(parents=True, exist_ok=True)
        random_weights(Record(Path(), {"config": run.model_dump(mode="json")}), path)
    views = [["none", "hv"], ["v", "h"]][:count]
    values = {"profile": "smoke", "members": runs, "views": views, "storage": "float16", "least_piece": 6}
    return MeanConfig.parse(values | {"amp_cpu": True} | changes)


@pytest.mark.parametrize("storage", ["float16", "float32"])
def test_what_ships_is_what_was_scored(tmp_path: Path, photograph: np.ndarray, storage: str) -> None:
    config = make_mean(storage=storage)
    record = run_mean(config, tmp_path / "records", device="cpu")
    card = ship(record, tmp_path / "shipped", name="one", licence="none")
    state = torch.load(tmp_path / "shipped" / "one.pt", weights_only=True)
    kernels = {value.dtype for value in state.values() if value.ndim > 1}
    assert kernels == {torch.float16 if storage == "float16" else torch.float32}
    assert {value.dtype for value in state.values() if value.ndim < 2} == {torch.float32}
    assert (tmp_path / "shipped" / "one.pt").stat().st_size == record.content["model"]["bytes"]
    assert [card.run] == record.content["members"]
    assert (card.record, card.parameters) == (record.id, record.content["model"]["parameters"])
    assert card.inference.least_piece == 6 and card.threshold == record.content["threshold"]

    found = load_predictor(tmp_path / "shipped" / "one.pt", device="cpu")
    # The scoring path, on the record's own test image and on the photograph with the field of view estimated in it.
    members = build_members(config, member_states(config), torch.device("cpu"))
    phantom = load_dataset("phantom", "test", count=1, height=180, width=170)[0]
    scored = predict_mean_logits(members, phantom, 6)
    np.testing.assert_array_equal(predict_logits(found.model, phantom, card.inputs, card.inference), scored)
    result = found(photograph)
    sample = FundusSample("x", photograph, np.zeros_like(result.fov), result.fov)
    expected = probabilities(predict_mean_logits(members, sample, 6)).astype(np.float32)
    expected[~searched_region(photograph, result.fov)] = 0
    np.testing.assert_array_equal(result.probabilities, expected)
    np.testing.assert_array_equal(result.vessels, expected >= np.float32(card.threshold))


def test_the_cost_of_16_bits_is_in_the_record(tmp_path: Path) -> None:
    """Rounded before anything is scored: another digest, other scores."""
    configs = [make_mean(2, storage=storage, amp_cpu=False) for storage in ("float16", "float32")]
    records = [run_mean(config, tmp_path / "records", device="cpu") for config in configs]
    models = [record.content["model"] for record in records]
    assert models[0]["digest"] != models[1]["digest"]
    assert models[0]["bytes"] < 0.75 * models[1]["bytes"]  # names, and layers of one axis, stay
    assert records[0].metrics()["auc"] != records[1].metrics()["auc"]
    assert abs(records[0].metrics()["auc"] - records[1].metrics()["auc"]) < 1e-3


def test_a_mean_of_several_networks_is_not_shipped(tmp_path: Path) -> None:
    record = run_mean(make_mean(2), tmp_path / "records", device="cpu")
    with pytest.raises(WeightsError, match=rf"record {record.id}: a mean of 2 networks"):
        ship(record, tmp_path / "out", name="n", licence="x")
    assert not (tmp_path / "out").exists()


def test_other_weights_than_those_that_were_scored_are_not_shipped(tmp_path: Path) -> None:
    record = run_mean(make_mean(), tmp_path / "records", device="cpu")
    path = weights_path(record.content["members"][0])
    state = torch.load(path)
    next(value for value in state.values() if value.ndim == 1).add_(0.25)
    torch.save(state, path)
    with pytest.raises(WeightsError, match=rf"record {record.id}: the weights in .* are not those that it scored"):
        ship(record, tmp_path / "out", name="n", licence="x")
    path.unlink()
    with pytest.raises(WeightsError, match=f"{path.name}: cannot be read"):
        ship(record, tmp_path / "out", name="n", licence="x")
    assert not (tmp_path / "out").exists()


def test_a_mean_that_is_too_large_is_not_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = run_mean(make_mean(), tmp_path / "records", device="cpu")
    monkeypatch.setattr(shipping, "MAX_BYTES", record.content["model"]["bytes"] - 1)
    with pytest.raises(WeightsError, match=r"MB may be shipped; .*storage: float16"):
        ship(record, tmp_path / "out", name="n", licence="x")
    monkeypatch.setattr(shipping, "MAX_BYTES", record.content["model"]["bytes"])
    ship(record, tmp_path / "out", name="n", licence="x")


def test_shipped_weights_score_again_what_they_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file serves as weights of its run, so the record can be made again without training."""
    config = make_mean()
    record = run_mean(config, tmp_path / "records", device="cpu")
    ship(record, tmp_path / "package", name="one", licence="x")
    weights_path(record.content["members"][0]).unlink()
    with pytest.raises(FileNotFoundError):
        run_mean(config, tmp_path / "again", device="cpu")
    monkeypatch.setattr(weights_module.resources, "files", lambda package: tmp_path / "package")
    again = run_mean(config, tmp_path / "again", device="cpu")
    for key in ("tests", "threshold", "model"):
        assert again.content[key] == record.content[key]
    exact = config.model_copy(update={"storage": "float32"})  # needs kernels that were not rounded
    with pytest.raises(FileNotFoundError):
        run_mean(exact, tmp_path / "again", device="cpu")


def test_the_command_ships_a_mean(tmp_path: Path, capsys) -> None:
    record = run_mean(make_mean(), tmp_path / "records", device="cpu")
    path = weights_path(record.content["members"][0])
    elsewhere = path.rename(tmp_path / "kept.pt")
    options = ["--name", "n", "--licence", "x", "--records", str(tmp_path / "records"), "--folder", str(tmp_path / "w")]
    with pytest.raises(SystemExit) as stopped:
        shipping.main([record.id, *options])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert path.name in error and error.count("\n") == 1
    shipping.main([record.id, *options, "--weights", str(elsewhere)])
    assert "n.pt: " in capsys.readouterr().out
    assert load_predictor(tmp_path / "w" / "n.pt", device="cpu").card.record == record.id
