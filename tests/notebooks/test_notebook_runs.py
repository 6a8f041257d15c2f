"""Notebooks run through papermill: the smoke profile to the end, a wrong parameter to one clear message."""

from __future__ import annotations

import json
from pathlib import Path

import build as book
import pairing
import pytest

from retlib.papers import list_papers

ROOT = Path(__file__).parents[2]
PAPERS = [script.stem for script in pairing.scripts(ROOT) if script.stem.replace("_", "-") in list_papers()]
OTHERS = [script.stem for script in pairing.scripts(ROOT) if script.stem not in PAPERS]


def execute(name: str, folder: Path, **parameters: object) -> dict:
    """Execute a notebook as `make book` would; the executed notebook."""
    book.build(folder, only=[name], parameters=parameters, progress=False)
    return json.loads((folder / "src" / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", PAPERS)
def test_smoke_profile_runs_to_the_end(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On phantoms, with nothing on disk, everything trained from nothing."""
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "cache"))
    records = tmp_path / "records"
    notebook = execute(name, tmp_path / "build", profile="smoke", train="missing", device="cpu", records=str(records))
    assert list(records.glob("*/record.json")), "the smoke profile made no record"
    for record in records.glob("*/record.json"):
        assert json.loads(record.read_text(encoding="utf-8"))["config"]["profile"] == "smoke"
    counts = [cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["source"]]
    assert counts == list(range(1, len(counts) + 1))
    errors = [out for cell in notebook["cells"] for out in cell.get("outputs", []) if out["output_type"] == "error"]
    assert not errors


@pytest.mark.parametrize("name", [*PAPERS, *OTHERS])
def test_an_unknown_parameter_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(pairing.NotebookError, match="has no parameter profil; it takes"):
        execute(name, tmp_path, profil="smoke")


@pytest.mark.parametrize("name", PAPERS)
def test_a_wrong_value_fails_right_after_the_parameters(name: str, tmp_path: Path) -> None:
    with pytest.raises(pairing.NotebookError) as caught:
        execute(name, tmp_path, profile="full")
    assert f"notebooks/{name}.ipynb failed with ValueError" in str(caught.value)
    assert "profile" in str(caught.value) and "smoke" in str(caught.value)
    executed = json.loads((tmp_path / "src" / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in executed["cells"] if cell["cell_type"] == "code"]
    failed = [cell for cell in code if any(out["output_type"] == "error" for out in cell["outputs"])]
    order = [cell["metadata"].get("tags", []) for cell in code]
    injected = next(index for index, tags in enumerate(order) if "injected-parameters" in tags)
    assert code.index(failed[0]) == injected + 1
