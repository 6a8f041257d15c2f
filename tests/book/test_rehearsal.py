"""The page of the full-size runs says what the rehearsal's file and the records say, and a dash for the rest."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import rehearse
from docutils import nodes

from tests.book.test_verdicts import DASH, Tables
from tests.experiments.conftest import tiny

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

from rehearsal import COLUMNS, HEAD, batch_text, machine_texts, rows  # noqa: E402

from retlib.papers import list_papers, load_paper  # noqa: E402
from retlib.studies import list_studies, load_study  # noqa: E402
from retlib.study import RunConfig, Store  # noqa: E402
from retlib.study.rehearsal import planned_steps, step_key  # noqa: E402

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


def texts(made: list[nodes.row]) -> list[list[str]]:
    return [[cell.astext() for cell in row.children] for row in made]


# --- the tool --------------------------------------------------------------------------------------------------------


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


def test_a_run_of_milliseconds_from_the_tool_to_the_table(tmp_path: Path) -> None:
    config = load_paper("af-unet").runs("smoke")["drive-unet"]
    target = tmp_path / "rehearsal.json"
    rehearse.measure({step_key(config): [("af-unet/drive-unet", config)]}, ["af-unet"], ["bfloat16", "float32"], target)
    lines = {entry["step"]: entry for entry in json.loads(target.read_text()).values()}
    (cells,) = texts(rows([("AF-UNet", {"drive-unet": config})], lines, Store(tmp_path)))
    assert DASH not in (cells[4], cells[5], cells[7]) and [cells[6], *cells[8:]] == [DASH] * 3
    assert len(machine_texts(list(lines.values()))) == 2


def test_an_unknown_paper_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        rehearse.main(["af-net"])
    assert "unknown: af-net; expected some of af-unet" in capsys.readouterr().err


# --- the page --------------------------------------------------------------------------------------------------------


def test_a_row_holds_what_was_measured_and_dashes(tmp_path: Path) -> None:
    short = tiny(training=tiny().training.model_dump() | {"epochs": 2})
    runs = {"x": tiny(), "y": tiny(seed=1), "short": short, "wide": wide()}
    measured = line(tiny(), bfloat16=3000.0, float32=15000.0)
    shown = texts(rows([("A paper", runs)], {measured["step"]: measured}, Store(tmp_path)))
    batch = "2 images of 64x64"
    assert shown == [
        ["A paper", "x, y", "12", batch, "15,000", "3,000", DASH, "10.0", DASH, DASH],
        ["A paper", "short", "6", batch, "15,000", "3,000", DASH, "5.00", DASH, DASH],
        ["A paper", "wide", "12", batch, *[DASH] * 6],
    ]
    assert all(len(cells) == len(HEAD) for cells in shown)


def test_hours_on_record_are_means_over_runs_and_seeds(tmp_path: Path) -> None:
    for seed, device, hours in ((0, "cpu", 1), (1, "cpu", 2), (2, "cuda", 0.25)):
        header = tiny(seed=seed).header()
        folder = tmp_path / header["id"]
        folder.mkdir()
        wall = 9 * hours if device == "cpu" else hours  # stopped for other work
        timing = {"training_s": 3600 * wall, "training_cpu_s": 2 * 3600 * hours}
        content = header | {"environment": {"device": device, "threads": 2}, "timing": timing}
        (folder / "record.json").write_text(json.dumps(content))
    assert texts(rows([("A paper", {"x": tiny()})], {}, Store(tmp_path)))[0][-1] == "1.50, 0.250 (GPU)"


def test_machines_are_named_once() -> None:
    lines = [line(tiny(), bfloat16=1.0), line(wide(), bfloat16=2.0, gpu=0.1)]
    lines[1]["gpu"]["machine"] = MACHINE | {"gpu": "A GPU", "amx_bf16": False}
    where = "2 cores, 2 threads, units for bfloat16"
    assert machine_texts(lines) == [
        f"bfloat16: A processor, {where}: amx_bf16; torch 2.15.0, 2026-01-31.",
        f"GPU: A GPU, {where}: none; torch 2.15.0, 2026-01-31.",
    ]


def test_batches() -> None:
    assert batch_text(load_paper("resaspp-unet").runs("paper")["drive-unet"]).endswith("images of 512x512")
    assert "patches of" in batch_text(load_paper("r2u-net").runs("paper")["drive-r2unet"])


def test_the_file_of_the_book_holds_seconds_and_machines() -> None:
    for entry in json.loads(rehearse.TARGET.read_text(encoding="utf-8")).values():
        for column in COLUMNS.keys() & entry.keys():
            assert entry[column]["step_s"] > 0 and set(MACHINE) <= set(entry[column]["machine"])


def test_the_page_has_a_row_for_every_run(site: Path) -> None:
    page = (site / "book" / "full-size.html").read_text(encoding="utf-8")
    shown = [cells for cells in Tables(page).of("rehearsal") if len(cells) == len(HEAD)]
    plans = [*map(load_paper, list_papers()), *map(load_study, list_studies())]
    runs = [(plan, name, config) for plan in plans for name, config in plan.runs("paper").items()]
    assert sum(len(cells[1].split(", ")) for cells in shown) == len(runs)
    assert {cells[2] for cells in shown} == {f"{planned_steps(config):,}" for _, _, config in runs}
