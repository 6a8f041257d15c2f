"""The dry runs of full-size runs: what is measured, what is kept, and the file in book/records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retlib.study import RunConfig
from retlib.study.steps import planned_steps, step_key
from tests.benchmarks import rehearse
from tests.experiments.conftest import tiny

MACHINE = {
    "processor": "A processor",
    "cores": 2,
    "threads": 2,
    "torch": "2.15.0",
    "date": "2026-01-31",
    "amx_bf16": True,
    "avx512_bf16": False,
}


def wide(**changes: object) -> RunConfig:
    return tiny(model_options={"width": 8, "depth": 2}, **changes)


def line(config: RunConfig, **seconds: float) -> dict:
    measured = {column: {"step_s": value, "load": 0.1, "machine": MACHINE} for column, value in seconds.items()}
    return {"step": step_key(config), **measured}


def test_columns_are_merged_and_what_is_there_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fake(config: RunConfig, columns: list[str]) -> dict[str, float]:
        asked.append((config.model_options["width"], *columns))
        return dict.fromkeys(columns, float(len(asked)))

    monkeypatch.setattr(rehearse, "rehearse", fake)
    target = tmp_path / "rehearsal.json"
    target.write_text(json.dumps({"a/gone": line(tiny(), float32=9.0) | {"step": "gone"}, "a/old": {"step_s": 1}}))
    groups = {step_key(c): [(name, c)] for name, c in (("a/x", tiny()), ("b/z", wide()))}
    groups[step_key(tiny())].append(("a/y", tiny(seed=1)))

    rehearse.measure(groups, ["a"], ["bfloat16"], target)
    content = json.loads(target.read_text())
    assert list(content) == ["a/x"] and content["a/x"]["bfloat16"]["step_s"] == 1
    assert {"cores", "torch", "date", "amx_bf16", "avx512_bf16"} <= set(content["a/x"]["bfloat16"]["machine"])
    # Without float32 there is nothing that the page about speed could add up.
    assert content["a/x"]["stands_for"] == [] and "step_s" not in content["a/x"]

    rehearse.measure(groups, ["a", "b"], ["bfloat16", "float32"], target)
    content = json.loads(target.read_text())
    assert asked == [(4, "bfloat16"), (4, "float32"), (8, "bfloat16", "float32")]
    assert content["a/x"]["bfloat16"]["step_s"] == 1 and content["a/x"]["float32"]["step_s"] == 2
    sums = {key: content["a/x"][key] for key in ("step_s", "planned_steps", "stands_for")}
    assert sums == {"step_s": 2, "planned_steps": 12, "stands_for": ["a/x", "a/y"]}

    rehearse.measure(groups, ["b"], ["float32"], target, again=True)
    content = json.loads(target.read_text())
    assert content["b/z"]["float32"]["step_s"] == 4 and content["b/z"]["bfloat16"]["step_s"] == 3
    assert content["a/x"]["float32"]["step_s"] == 2


def test_a_run_of_milliseconds(tmp_path: Path) -> None:
    config = tiny()
    target = tmp_path / "rehearsal.json"
    rehearse.measure({step_key(config): [("a/x", config)]}, ["a"], ["bfloat16", "float32"], target)
    (entry,) = json.loads(target.read_text()).values()
    assert entry["step"] == step_key(config) and entry["step_s"] == entry["float32"]["step_s"] > 0
    assert all(set(MACHINE) <= set(entry[column]["machine"]) for column in ("bfloat16", "float32"))


def test_an_unknown_paper_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        rehearse.main(["af-net"])
    assert "unknown: af-net; expected some of af-unet" in capsys.readouterr().err


def test_the_file_of_the_book_holds_seconds_and_machines() -> None:
    for entry in json.loads(rehearse.TARGET.read_text(encoding="utf-8")).values():
        for column in rehearse.STEPS.keys() & entry.keys():
            assert entry[column]["step_s"] > 0 and set(MACHINE) <= set(entry[column]["machine"])


# --- timing steps -------------------------------------------------------------------------------------------------

TRAININGS = [
    ({}, 4 * 3),  # three images and their copies, two a batch
    ({"schedule": "plateau", "patience": 2, "keep": "best", "augmented_copies": 0}, 4 * 2),
    ({"patches": {"size": 32, "per_epoch": 10, "validation": 4}, "augmented_copies": 0}, 4 * 5),
    ({"patches": {"size": 32, "layout": "grid", "inside_fov": False}, "augmented_copies": 0}, None),
]


@pytest.mark.parametrize(("changes", "planned"), TRAININGS)
def test_a_step_of_the_run_itself_is_timed(changes: dict, planned: int | None) -> None:
    config = tiny(training=tiny().training.model_dump() | changes)
    found = rehearse.rehearse(config)
    assert list(found) == ["bfloat16", "float32"] and all(0 < seconds < 60 for seconds in found.values())
    assert planned_steps(config) == planned


def test_a_schedule_of_few_steps_makes_nothing_explode() -> None:
    rehearse.rehearse(tiny(training=tiny().training.model_dump() | {"learning_rate": 1e30}), ["float32"])


def test_a_pre_training_has_steps_too() -> None:
    config = tiny()
    training = config.training.model_dump() | {"epochs": 5}
    first = {"train": config.train.model_dump() | {"options": {"count": 6, "height": 64, "width": 72}}}
    assert planned_steps(tiny(pretraining=first | {"training": training})) == 4 * 3 + 5 * 6


def test_runs_whose_steps_take_as_long_share_a_key() -> None:
    training = tiny().training.model_dump()
    same = tiny(seed=1, profile="lite", training=training | {"learning_rate": 1.0, "epochs": 9, "amp_cpu": True})
    assert step_key(same) == step_key(tiny())
    for other in (tiny(training=training | {"batch_size": 1}), tiny(model_options={"width": 8, "depth": 2})):
        assert step_key(other) != step_key(tiny())
