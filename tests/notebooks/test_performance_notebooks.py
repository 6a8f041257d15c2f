"""The pages on performance and on the cost of full-size runs, with made-up measurements and with the book's own."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pairing
import pytest

from retlib.papers import list_papers, load_paper
from retlib.studies import list_studies, load_study
from retlib.study.steps import planned_steps, step_key
from tests.benchmarks.cost_curves import BASES, SWEEPS, fits, point_name
from tests.benchmarks.limits import LINES

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "book" / "records"
MACHINE = {"processor": "A processor", "cores": 2, "threads": 2, "torch": "2.15.0", "load": 0.1}
UNITS = {"amx_bf16": True, "avx512_bf16": False, "date": "2026-01-31"}


@pytest.fixture(autouse=True)
def _no_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))


def run(name: str, records: Path) -> dict:
    """Run the code of a notebook in this process; its names."""
    namespace: dict = {}
    for cell in pairing.read_script((ROOT / "notebooks" / f"{name}.py").read_text(encoding="utf-8")).cells[1:]:
        if cell.cell_type == "code":
            exec(cell.source, namespace)
        if "parameters" in cell.metadata.get("tags", []):
            namespace["records"] = str(records)
    return namespace


def write(folder: Path, name: str, content: dict) -> None:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A folder with made-up files that a test may change."""
    make_up(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def speed(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Names of the page on performance, run once on made-up files."""
    make_up(folder := tmp_path_factory.mktemp("records"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plt, "show", lambda: plt.close("all"))
        return run("speed", folder)


def make_up(folder: Path) -> None:
    """Write files of a machine on which x takes 0.001 x^1.5 seconds and 2 x MiB, with dry runs of papers' runs."""
    filled = {
        "scoring_sklearn_image": LINES["scoring_sklearn_image"].filled(0.1, 2.0, spread=[19.0, 22.0]),
        "training_float32": LINES["training_float32"].filled(4.8, 4.0),
        "utilisation_cpu_float32": LINES["utilisation_cpu_float32"].filled(50.0, 100.0),
        "photograph": LINES["photograph"].filled(0.75, spread=[0.7, 0.9], note="a note"),
        "phantom": LINES["phantom"].filled(0.2),
    }
    for line in filled.values():
        line |= {"machine": MACHINE, "date": "2026-01-31"}
    filled["phantom"]["date"] = "2026-02-01"
    lines = {key: filled.get(key, line.empty()) for key, line in LINES.items()}
    networks = {"r2unet": {"wall_s": 0.9, "cpu_s": 1.5}, "unet": {"wall_s": 0.4, "cpu_s": 0.5}}
    machine = MACHINE | {"date": "2026-01-31"}
    write(folder, "benchmarks.json", {"lines": lines, "network_seconds": networks, "network_machine": machine})
    measured = {}
    for (curve, variable), values in SWEEPS.items():
        for value in values:
            memory = {} if curve in ("store", "plan") else {"memory_mib": 2.0 * value}
            point = {"seconds": 0.001 * value**1.5} | memory
            measured.setdefault(point_name(curve, BASES[curve] | {variable: value}), point)
    write(folder, "cost-curves.json", {"machine": MACHINE, "date": "2026-01-31", "fits": fits(measured)})
    dry_runs = {
        "a": {"step_s": 2.0, "planned_steps": 1800, "stands_for": ["af-unet/drive-unet", "af-unet/stare-unet"]},
        "b": {"step_s": 4.0, "planned_steps": 2700, "stands_for": ["r2u-net/drive-r2unet", "recipe/base"]},
        "c": {"step_s": 9.0, "planned_steps": 9000, "stands_for": ["af-unet/drive-af-unet-dense"]},
    }
    write(folder, "rehearsal.json", dry_runs)


def test_the_table_says_what_the_lines_say(speed: dict) -> None:
    table = speed["table"].drop(columns="what")
    assert list(table.loc["scoring_sklearn_image"]) == [
        "0.100 s", "2.00 s", "20.0 (19.0 to 22.0)", "at least 10 times", "yes", "A",
    ]  # fmt: skip
    assert list(table.loc["training_float32"])[2:5] == ["1.20", "at least 1.3 times", "NO"]
    assert list(table.loc["photograph"])[:5] == ["0.750 s (0.700 to 0.900)", "—", "—", "at most 0.5 s", "NO"]
    assert list(table.loc["phantom"])[-2:] == ["yes", "B"]
    assert list(table.loc["tests"]) == ["—", "—", "—", "at most 720 s", "not measured", "—"]
    assert list(table.loc["utilisation_cpu_float32"])[2:5] == ["0.500", "—", "—"]
    assert speed["table"].loc["photograph", "what"].endswith("(a note)") and len(table) == len(LINES)
    assert list(speed["seconds"].index) == ["unet", "r2unet"] and speed["seconds"].loc["r2unet", "relative"] == 3
    assert list(speed["exponents"].loc[("training", "side")]) == [64, 320, "1.50 ± 0.00", "1.00 ± 0.00"]


def test_a_stored_verdict_that_is_wrong_is_refused(records: Path) -> None:
    content = json.loads((records / "benchmarks.json").read_text())
    content["lines"]["photograph"]["met"] = True
    write(records, "benchmarks.json", content)
    with pytest.raises(ValueError, match=r"does not follow from the numbers of \['photograph'\]; run `make bench`"):
        run("speed", records)


@pytest.mark.parametrize(
    ("page", "name", "command"),
    [
        ("speed", "benchmarks.json", "make bench"),
        ("speed", "cost-curves.json", "python -m tests.benchmarks.cost_curves"),
        ("speed", "rehearsal.json", "make rehearse"),
        ("full_size", "rehearsal.json", "make rehearse"),
    ],
)
def test_a_missing_file_says_what_to_run(records: Path, page: str, name: str, command: str) -> None:
    (records / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name}: not found in .*; `{command}` writes it"):
        run(page, records)


def test_what_more_would_cost(speed: dict) -> None:
    duration = speed["duration"]
    shown = [duration(seconds) for seconds in (0.0234, 41, 720, 12345, 4e6, float("nan"))]
    assert shown == ["23 ms", "41 s", "12 min", "3.4 h", "46 days", "—"]
    # 10 epochs of 480 patches on 20 photographs, 8 a step.
    assert speed["steps"] == 300_000 and speed["step"] == pytest.approx(0.001 * 160**1.5)
    assert speed["forward"] == pytest.approx(0.001 * 544**1.5) and speed["scored"] == pytest.approx(0.001 * 10_000**1.5)
    assert speed["kept_gb"] == pytest.approx(14.8, abs=0.1)
    # Two runs of one hour and one of three; neither a study's run nor one beside no table row counts.
    assert speed["jobs"] == [3600, 3600, 10800] and speed["factor"] == 2 and speed["runs"] == 6
    assert speed["recorded"] == [] and np.isnan(speed["each"])
    assert speed["alone"] == 5 * 3600 and speed["together"] == 3 * 3600 and np.isnan(speed["scale"])
    makespan = speed["makespan"]
    assert [makespan([1, 1, 3], 1), makespan([1, 1, 3], 2), makespan([2, 2, 2], 2)] == [5, 3, 4]


def test_hours_on_a_gpu_that_was_measured(records: Path) -> None:
    content = json.loads((records / "benchmarks.json").read_text())
    content["lines"]["utilisation_cuda_bfloat16"]["ours"] = 5000.0
    write(records, "benchmarks.json", content)
    page = run("speed", records)
    assert [row[2] for row in page["rows"]] == ["5.0 h", "3.0 h", "3.0 min", "108 s"]


def test_hours_of_full_size_runs(records: Path) -> None:
    config = load_paper("af-unet").runs("paper")["drive-unet"]
    machine = MACHINE | UNITS
    columns = {name: {"step_s": s, "machine": machine} for name, s in (("float32", 7.2), ("bfloat16", 3.6))}
    gpu = {"step_s": 0.36, "machine": machine | {"gpu": "A GPU", "amx_bf16": False}}
    write(records, "rehearsal.json", {"a": {"step": step_key(config), **columns, "gpu": gpu}, "old": {"step_s": 1}})
    for seed, device, hours in ((0, "cpu", 1), (1, "cpu", 2), (2, "cuda", 0.25)):
        header = config.model_copy(update={"seed": seed}).header()
        timing = {"training_s": 3600 * hours * (9 if device == "cpu" else 1), "training_cpu_s": 2 * 3600 * hours}
        content = header | {"environment": {"device": device, "threads": 2}, "timing": timing}
        (records / header["id"]).mkdir()
        write(records / header["id"], "record.json", content)
    page = run("full_size", records)
    table = page["of_papers"]
    row = table[table["runs"] == "drive-unet"].iloc[0]
    steps = planned_steps(config)
    assert row["steps"] == steps and row["batch"] == "2 images of 512x512"
    assert row["bfloat16, hours"] == pytest.approx(3.6 * steps / 3600)
    assert row["GPU, hours"] == pytest.approx(0.36 * steps / 3600)
    assert row["hours on record, CPU"] == 1.5 and row["hours on record, GPU"] == 0.25
    assert table["bfloat16, s per step"].count() == 2  # DRIVE and STARE have steps of the same length
    where = "2 cores, 2 threads, bfloat16 units"
    assert page["machines"] == [
        f"- float32: A processor, {where}: amx_bf16; torch 2.15.0, 2026-01-31.",
        f"- bfloat16: A processor, {where}: amx_bf16; torch 2.15.0, 2026-01-31.",
        f"- GPU: A GPU, {where}: none; torch 2.15.0, 2026-01-31.",
    ]
    batches = page["batch_text"](load_paper("r2u-net").runs("paper")["drive-r2unet"])
    assert batches == "16 patches of 64x64"


def test_the_books_files_fill_the_pages() -> None:
    page = run("speed", RECORDS)
    assert len(page["recorded"]) > 0 and len(page["jobs"]) > 0
    page = run("full_size", RECORDS)
    plans = [*map(load_paper, list_papers()), *map(load_study, list_studies())]
    runs = [name for plan in plans for name in plan.runs("paper")]
    listed = [*page["of_papers"]["runs"], *page["of_studies"]["runs"]]
    assert sorted(", ".join(listed).split(", ")) == sorted(runs)
