"""The mean of two networks: what ships is, bit for bit, what its record scored."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from retlib.data import FundusSample, load_dataset
from retlib.inference import predict_mean_logits, probabilities, remove_specks
from retlib.prediction import WeightsError, load_predictor, ship, shipping
from retlib.prediction.fov import searched_region
from retlib.study import MeanConfig, Record, run_mean
from retlib.study.ensembles import build_members, member_states
from tests.prediction.conftest import random_weights, record_of

PHANTOMS = {"count": 3, "height": 180, "width": 170}


def mean_of_two(folder: Path, **changes: object) -> tuple[MeanConfig, dict[str, Path]]:
    """A green and a colour network of different sizes on different working grids, and their weights."""
    selections = {
        "train": {"dataset": "phantom", "split": "training", "options": PHANTOMS},
        "test": [{"dataset": "phantom", "split": "test", "options": PHANTOMS | {"count": 1}}],
    }
    runs = [
        record_of(folder, **selections, validation=0.0).config,
        record_of(folder, **selections, validation=0.0, seed=1, model_options={"width": 6, "depth": 1}).config,
    ]
    files = {run.identify(): folder / f"{run.seed}.pt" for run in runs}
    for run, path in zip(runs, files.values(), strict=True):
        torch.manual_seed(run.seed)
        random_weights(Record(folder, {"config": run.model_dump(mode="json")}), path)
    values = {
        "profile": "smoke",
        "members": runs,
        "views": [["none", "hv"], ["v", "h"]],
        "storage": "float16",
        "amp_cpu": True,
        "least_piece": 6,
    }
    return MeanConfig.parse(values | changes), files


@pytest.fixture
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "cache"))


pytestmark = pytest.mark.usefixtures("_empty_cache")


@pytest.mark.parametrize("storage", ["float16", "float32"])
def test_what_ships_is_what_was_scored(tmp_path: Path, photograph: np.ndarray, storage: str) -> None:
    config, files = mean_of_two(tmp_path, storage=storage)
    record = run_mean(config, tmp_path / "records", device="cpu", weights=files)
    card = ship(record, files, tmp_path / "shipped", name="pair", licence="none")
    state = torch.load(tmp_path / "shipped" / "pair.pt", weights_only=True)
    kernels = {value.dtype for value in state.values() if value.ndim > 1}
    assert kernels == {torch.float16 if storage == "float16" else torch.float32}
    assert {value.dtype for value in state.values() if value.ndim < 2} == {torch.float32}
    assert {key[:2] for key in state} == {"0.", "1."}
    assert (tmp_path / "shipped" / "pair.pt").stat().st_size == record.content["model"]["bytes"]
    assert [m.record for m in card.members] == record.content["members"] == list(files)
    assert (card.record, card.parameters, card.least_piece) == (record.id, record.content["model"]["parameters"], 6)
    assert card.threshold == record.content["threshold"]

    found = load_predictor(tmp_path / "shipped" / "pair.pt", device="cpu")
    # The scoring path, on the record's own test image and on the photograph with the field of view that is found in it.
    members = build_members(config, member_states(config, weights=files), torch.device("cpu"))
    phantom = load_dataset("phantom", "test", count=1, height=180, width=170)[0]
    scored = remove_specks(predict_mean_logits(members, phantom), 6)
    np.testing.assert_array_equal(predict_mean_logits(found._members, phantom, 6), scored)
    result = found(photograph)
    sample = FundusSample("x", photograph, np.zeros_like(result.fov), result.fov)
    expected = probabilities(predict_mean_logits(members, sample, 6)).astype(np.float32)
    expected[~searched_region(photograph, result.fov)] = 0
    np.testing.assert_array_equal(result.probabilities, expected)
    np.testing.assert_array_equal(result.vessels, expected >= np.float32(card.threshold))


def test_what_16_bits_cost_stands_in_the_record(tmp_path: Path) -> None:
    """Rounded before anything is scored: another digest, other scores."""
    records = []
    for storage in ("float16", "float32"):
        config, files = mean_of_two(tmp_path, storage=storage, amp_cpu=False)
        records.append(run_mean(config, tmp_path / "records", device="cpu", weights=files))
    contents = [record.content for record in records]
    assert contents[0]["model"]["digest"] != contents[1]["model"]["digest"]
    assert contents[0]["model"]["bytes"] < 0.75 * contents[1]["model"]["bytes"]  # names and layers of one axis stay
    assert records[0].metrics()["auc"] != records[1].metrics()["auc"]
    assert abs(records[0].metrics()["auc"] - records[1].metrics()["auc"]) < 1e-3


def test_other_weights_than_those_that_were_scored_are_not_shipped(tmp_path: Path) -> None:
    config, files = mean_of_two(tmp_path)
    record = run_mean(config, tmp_path / "records", device="cpu", weights=files)
    state = torch.load(files[record.content["members"][1]])
    next(value for value in state.values() if value.ndim == 1).add_(0.25)
    torch.save(state, files[record.content["members"][1]])
    with pytest.raises(WeightsError, match=rf"record {record.id}: these are not the weights that it scored"):
        ship(record, files, tmp_path / "out", name="n", licence="x")
    files[record.content["members"][1]].unlink()
    with pytest.raises(FileNotFoundError, match=record.content["members"][1]):
        ship(record, files, tmp_path / "out", name="n", licence="x")
    assert not (tmp_path / "out").exists()


def test_a_mean_that_is_too_large_is_not_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, files = mean_of_two(tmp_path)
    record = run_mean(config, tmp_path / "records", device="cpu", weights=files)
    monkeypatch.setattr(shipping, "MAX_BYTES", record.content["model"]["bytes"] - 1)
    with pytest.raises(WeightsError, match=r"MB may be shipped; .*storage: float16"):
        ship(record, files, tmp_path / "out", name="n", licence="x")
    monkeypatch.setattr(shipping, "MAX_BYTES", record.content["model"]["bytes"])
    ship(record, files, tmp_path / "out", name="n", licence="x")


def test_a_card_and_weights_of_different_numbers_of_networks(tmp_path: Path) -> None:
    config, files = mean_of_two(tmp_path)
    record = run_mean(config, tmp_path / "records", device="cpu", weights=files)
    ship(record, files, tmp_path, name="n", licence="x")
    card = json.loads((tmp_path / "n.json").read_text())
    for members in (card["members"][:1], card["members"][::-1], card["members"] * 2):
        (tmp_path / "n.json").write_text(json.dumps(card | {"members": members}))
        with pytest.raises(WeightsError, match=r"n\.pt: the weights do not fit the model"):
            load_predictor(tmp_path / "n.pt", device="cpu")


def test_shipped_members_score_again_what_they_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pair's own file serves as weights of its members, so its record can be made again without training."""
    from retlib.study import ensembles

    config, files = mean_of_two(tmp_path)
    record = run_mean(config, tmp_path / "records", device="cpu", weights=files)
    ship(record, files, tmp_path / "package", name="pair", licence="x")
    with pytest.raises(FileNotFoundError):
        run_mean(config, tmp_path / "again", device="cpu")
    monkeypatch.setattr(ensembles.resources, "files", lambda package: tmp_path / "package")
    again = run_mean(config, tmp_path / "again", device="cpu")
    for key in ("tests", "threshold", "model"):
        assert again.content[key] == record.content[key]
    exact, _ = mean_of_two(tmp_path, storage="float32")  # for which rounded kernels will not do
    with pytest.raises(FileNotFoundError):
        run_mean(exact, tmp_path / "again", device="cpu")


def test_the_tool_ships_a_mean(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    import ship_weights

    config, files = mean_of_two(tmp_path)
    record = run_mean(config, tmp_path / "records", device="cpu", weights=files)
    options = ["--name", "n", "--licence", "x", "--records", str(tmp_path / "records"), "--folder", str(tmp_path / "w")]
    with pytest.raises(SystemExit) as stopped:
        ship_weights.main([record.id, *options])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert all(identity in error for identity in files) and error.count("\n") == 1
    named = [f"{identity}={path}" for identity, path in files.items()]
    ship_weights.main([record.id, *options, "--weights", named[0], "--weights", named[1]])
    assert "n.pt: " in capsys.readouterr().out
    assert load_predictor(tmp_path / "w" / "n.pt", device="cpu").card.record == record.id
    for wrong in ("nonsense", f"{named[0]}x", "=file"):
        with pytest.raises(SystemExit) as stopped:
            ship_weights.main([record.id, *options, "--weights", wrong])
        assert stopped.value.code == 2
