"""The notebooks of our own studies: the same parameters, the smoke profile to the end, and gaps without records."""

from __future__ import annotations

import json
import re
from pathlib import Path

import build as book
import pairing
import pytest

ROOT = Path(__file__).parents[2]
NAMES = ("recipe", "transfer", "cameras")
pytestmark = pytest.mark.usefixtures("_warm_kernels")


def execute(name: str, folder: Path, **parameters: object) -> dict:
    """Execute a notebook as `make book` would; the executed notebook."""
    book.build(folder, only=[name], parameters=parameters, progress=False)
    return json.loads((folder / "src" / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))


def outputs(notebook: dict) -> list[dict]:
    return [out for cell in notebook["cells"] for out in cell.get("outputs", [])]


def words(notebook: dict) -> str:
    """Everything that the cells print and display, as text, and the summary that a build moves into a cell."""
    found = ["".join(cell["source"]) for cell in notebook["cells"] if cell.get("id") == "in-short"]
    for out in outputs(notebook):
        data = out.get("data", {})
        parts = [out.get("text", []), data.get("text/html", []), data.get("text/markdown", [])]
        found += ["".join(part) for part in parts]
    return "\n".join(found)


@pytest.fixture(autouse=True)
def _without_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", NAMES)
def test_they_take_the_parameters_of_a_paper(name: str) -> None:
    names = pairing.declared_parameters(ROOT / "notebooks" / f"{name}.ipynb")
    assert names == ["profile", "data_root", "records", "device", "seeds", "train"]


@pytest.mark.parametrize(("name", "seeds"), [("recipe", [0, 1]), ("transfer", [0]), ("cameras", [0])])
def test_the_smoke_profile_trains_everything(name: str, seeds: list[int], tmp_path: Path) -> None:
    from retlib.studies import load_study

    records = tmp_path / "records"
    notebook = execute(
        name, tmp_path / "build", profile="smoke", train="missing", device="cpu", seeds=seeds, records=str(records)
    )
    made = [json.loads(path.read_text(encoding="utf-8")) for path in records.glob("*/record.json")]
    planned = load_study(name).runs("smoke")
    assert len(made) == len(planned)
    assert {record["config"]["profile"] for record in made} == {"smoke"}
    assert not [out for out in outputs(notebook) if out["output_type"] == "error" or out.get("name") == "stderr"]
    text = words(notebook)
    assert "This is a smoke run on" in text and "No record yet" not in text


@pytest.mark.parametrize("name", [*NAMES, "convlstm_unet"])
def test_without_records_there_are_gaps_and_no_numbers(name: str, tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    notebook = execute(name, tmp_path / "build", records=str(tmp_path / "records"))
    assert not [out for out in outputs(notebook) if out["output_type"] == "error" or out.get("name") == "stderr"]
    text = words(notebook)
    assert "no record yet" in text.lower() and "nan" not in text.lower().split()
    assert text.count("—") > 20
    assert not list((tmp_path / "records").glob("*")), "a notebook that must not train made a record"
    if name == "recipe":  # the seal, shown at work
        assert "a study that searches may look at training images alone" in text and "got drive:test" in text
        assert "of 20 test images, 0 are among them" in text


def glued(notebook: dict) -> dict[str, str]:
    """Values that the sentences of a page take from its cells, by name."""
    found = {}
    for out in outputs(notebook):
        if "scrapbook" in out.get("metadata", {}):
            (text,) = (value for kind, value in out["data"].items() if kind.endswith("text/plain"))
            found[out["metadata"]["scrapbook"]["name"]] = "".join(text)
    return found


def named(notebook: dict) -> set[str]:
    """Names of values that the sentences of a page ask for."""
    prose = "".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    return set(re.findall(r"{glue:text}`(\w+)", prose))


@pytest.mark.parametrize("name", ["audit", "datasets"])
def test_pages_without_training_need_neither_data_nor_records(name: str, tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    notebook = execute(name, tmp_path / "build", records=str(tmp_path / "records"))
    assert not [out for out in outputs(notebook) if out["output_type"] == "error" or out.get("name") == "stderr"]
    assert "nan" not in words(notebook).lower().split()
    values = glued(notebook)
    assert named(notebook) <= values.keys() and "'—'" in values.values() and "'nan'" not in values.values()
    assert not list((tmp_path / "records").glob("*"))
