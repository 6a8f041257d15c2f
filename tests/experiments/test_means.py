"""The mean of trained networks: which can be averaged, what is scored, where weights come from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from retlib.inference import area_opening, predict_logits, probabilities, remove_small_components
from retlib.metrics import evaluate
from retlib.predict import WeightsError, weights
from retlib.predict.weights import fill
from retlib.study import MeanConfig, RunConfig, Store, load_samples, run, run_mean, weights_path
from retlib.study.rescore import build_members, digest, member_states, pack, stored
from retlib.study.runner import build
from retlib.study.scoring import best_threshold
from tests.experiments.conftest import PHANTOMS, tiny

QUICK = {"epochs": 3, "batch_size": 2, "learning_rate": 1e-2, "loss": {"bce": 1.0}}
OTHER = {"inputs": {"preprocessing": ["rgb"], "size": [80, 96]}, "model_options": {"width": 5, "depth": 1}}


def member(**changes: object) -> RunConfig:
    return tiny(**{"training": QUICK, "validation": 0.0, **changes})


def mean(*members: RunConfig, **changes: object) -> MeanConfig:
    return MeanConfig.parse({"profile": "smoke", "members": members or (member(), member(seed=1, **OTHER)), **changes})


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A store with the records of both members; their weights are in the cache."""
    for config in mean().members:
        run(config, tmp_path / "records", device="cpu", progress=False)
    return tmp_path / "records"


# --- config --------------------------------------------------------------------------------------------------------


def test_equal_configs_have_equal_ids_and_all_that_counts_moves_them() -> None:
    changes = [
        {},
        {"storage": "float16"},
        {"amp_cpu": True},
        {"least_piece": 5},
        {"views": [["none"], ["h", "v"]]},
        {"scoring": {"threshold": 0.4}},
        {"numerics": 1},
    ]
    ids = [mean(**change).identify() for change in changes]
    ids += [mean(member(), member(seed=2, **OTHER)).identify(), mean(member()).identify()]
    assert len(set(ids)) == len(ids)
    assert mean().identify() == mean(storage="float32", views=None).identify()
    again = MeanConfig.model_validate_json(mean(views=[["none"], ["h"]]).model_dump_json())
    assert again.identify() == mean(views=[["none"], ["h"]]).identify()
    assert mean().identify() not in {config.identify() for config in mean().members}


def test_new_fields_of_a_run_do_not_rename_means() -> None:
    """Fields at their defaults are not part of what is hashed."""
    content = json.loads(mean().canonical_json())
    assert content["members"] == [json.loads(config.canonical_json()) for config in mean().members]
    assert set(content) == {"kind", "numerics", "profile", "members"}


@pytest.mark.parametrize(
    ("members", "changes", "message"),
    [
        ((), {"views": [["none"]]}, r"views: expected one entry a member, 2, got 1"),
        ((), {"views": [["none"], ["h", "h"]]}, "named once"),
        ((), {"profile": "lite"}, r"members\.0 has the profile smoke, expected lite"),
        ((), {"storage": "int8"}, "storage"),
        ((), {"least_piece": 1}, "least_piece"),
        (
            (member(), member(train={"dataset": "phantom", "split": "training", "options": PHANTOMS | {"count": 5}})),
            {},
            r"members\.1\.train differs from members\.0\.train",
        ),
        (
            (member(), member(test=[{"dataset": "phantom", "split": "test", "options": PHANTOMS | {"count": 5}}])),
            {},
            r"members\.1\.test differs",
        ),
        ((member(validation=0.25), member(validation=0.25, seed=3)), {}, r"members\.1 was trained on other images"),
        ((member(), member(inputs={"crop": [32, 32]})), {}, "crop and resample have to be those"),
    ],
)
def test_what_cannot_be_averaged_is_named(members: tuple, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean(*members, **changes)


def test_a_mean_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="members"):
        MeanConfig.parse({"profile": "smoke", "members": []})


# --- running ---------------------------------------------------------------------------------------------------------


def test_a_record_of_the_mean(trained: Path) -> None:
    """Computed again from the parts: the members' logits, their mean, a threshold from training images."""
    config = mean(least_piece=4, views=[["none", "h"], ["v"]])
    record = run_mean(config, trained, device="cpu")
    store, content = Store(trained), record.content
    members = [store.find(run) for run in config.members]
    assert content["members"] == [m.id for m in members]
    assert content["model"]["parameters"] == sum(m.content["model"]["parameters"] for m in members)
    assert (content["history"], content["inference"]) == ([], {"bfloat16": False})
    assert content["training"]["images"] == members[0].content["training"]["images"]
    assert set(content["environment"]) == set(members[0].content["environment"])
    timing = content["timing"]
    kinds = ("inference", "vessels")
    assert set(timing) == {f"{kind}{clock}_s_per_image" for kind in kinds for clock in ("", "_cpu")}
    assert all(value > 0 for value in timing.values())

    parts = build_members(config, member_states(config), torch.device("cpu"))

    def logits_of(sample) -> np.ndarray:
        scores = [probabilities(predict_logits(p.model, sample, p.inputs, p.settings)) for p in parts]
        score = np.mean(scores, axis=0)
        return area_opening(np.log(score / (1 - score)).astype(np.float32), 4)

    training = load_samples(config.train, config.members[0], None)
    threshold = best_threshold([logits_of(s) for s in training], training, "fov")
    assert content["threshold"] == pytest.approx(threshold, abs=1e-3)
    test = load_samples(config.test[0], config.members[0], None)
    scores = [probabilities(logits_of(s)) for s in test]
    expected = evaluate(
        scores,
        [s.vessels for s in test],
        fov=[s.fov for s in test],
        threshold=content["threshold"],
        average="image",
        metrics=("dice", "auc"),
    )
    assert record.metrics()["dice"] == pytest.approx(expected["dice"], abs=2e-3)
    assert record.metrics()["auc"] == pytest.approx(expected["auc"], abs=1e-5)
    assert record.per_image()["dice"].shape == (len(test),) and "first" in record.error_maps()
    # A second call finds it, also where the weights are gone.
    for identity in content["members"]:
        weights_path(identity).unlink()
    assert run_mean(config, store, device="cpu").content == content
    assert store.find(config).id == record.id


def test_the_mean_of_one_scores_as_its_run_did(trained: Path) -> None:
    config = member()
    record = run_mean(mean(config, scoring=config.scoring.model_dump()), trained, device="cpu")
    own = Store(trained).find(config)
    assert record.id != own.id
    assert (record.test(), record.content["threshold"]) == (own.test(), own.content["threshold"])


def test_the_vessel_map_whose_time_is_taken_is_the_one_that_is_scored() -> None:
    logits = np.random.default_rng(0).normal(size=(60, 60)).astype(np.float32)
    for threshold in (0.3, 0.5, 0.8):
        expected = probabilities(area_opening(logits, 9)) >= threshold
        np.testing.assert_array_equal(remove_small_components(probabilities(logits) >= threshold, 9), expected)


# --- weights ---------------------------------------------------------------------------------------------------------


def test_missing_weights_say_which_run_to_train(tmp_path: Path) -> None:
    first, second = (config.identify() for config in mean().members)
    with pytest.raises(FileNotFoundError) as caught:
        run_mean(mean(), tmp_path / "records", device="cpu")
    message = str(caught.value)
    assert first in message and second in message and "unet on phantom:training, seed 1" in message
    assert "retlib.study.run" in message and str(weights_path("ID")) in message and "\n" not in message
    assert not (tmp_path / "records").exists()


def test_weights_of_another_network_are_refused(trained: Path, tmp_path: Path) -> None:
    first, second = (weights_path(config.identify()) for config in mean().members)
    for path in (first, second):
        path.rename(tmp_path / path.name)
    (tmp_path / first.name).rename(second)
    (tmp_path / second.name).rename(first)
    with pytest.raises(WeightsError, match=rf"{first.name}: the weights do not fit the model"):
        run_mean(mean(), tmp_path / "bad", device="cpu")


def test_shipped_weights_serve_as_a_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The card names the run that left the weights."""
    config, folder = mean(member()), tmp_path / "package"
    (identity,) = (m.identify() for m in config.members)
    folder.mkdir()
    (folder / "old.json").write_text(json.dumps({"name": "old", "run": identity}))
    (folder / "other.json").write_text(json.dumps({"name": "other", "run": "feed", "record": identity}))
    torch.manual_seed(0)
    state = build(config.members[0]).state_dict()
    torch.save(state, folder / "old.pt")
    monkeypatch.setattr(weights.resources, "files", lambda package: folder)
    (found,) = member_states(config)
    assert digest([found]) == digest([stored(state, "float32")])
    torch.save(stored(state, "float16"), folder / "old.pt")
    with pytest.raises(FileNotFoundError):
        member_states(config)
    (found,) = member_states(mean(member(), storage="float16"))
    assert digest([found]) == digest([stored(state, "float16")])


def test_storing_twice_changes_nothing_and_leaves_single_axes_alone() -> None:
    torch.manual_seed(0)
    state = build(member()).state_dict()
    once = stored(state, "float16")
    assert digest([stored(once, "float16")]) == digest([once]) != digest([stored(state, "float32")])
    for key, value in once.items():
        assert value.dtype == (torch.float16 if value.ndim > 1 else torch.float32)
        if value.ndim < 2:
            assert torch.equal(value, state[key])
    assert {key for key in state if key not in once} == {key for key in state if key.endswith("num_batches_tracked")}
    model = fill(build(member()), once, "here")
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters()) and not model.training
    assert digest([stored(model.state_dict(), "float16")]) == digest([once])


def test_the_digest_depends_on_the_order_of_the_networks() -> None:
    states = [stored(build(config).state_dict(), "float16") for config in mean().members]
    assert digest(states) != digest(states[::-1])
    assert len(pack(states)) > max(len(pack([state])) for state in states)
