"""Notebooks run through papermill: the smoke profile to the end, a wrong parameter to one clear message."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import build as book
import pairing
import pytest

from retlib.papers import list_papers, load_paper
from retlib.study import Store

ROOT = Path(__file__).parents[2]
PAPERS = [script.stem for script in pairing.scripts(ROOT) if script.stem.replace("_", "-") in list_papers()]
OTHERS = [script.stem for script in pairing.scripts(ROOT) if script.stem not in PAPERS]
pytestmark = pytest.mark.usefixtures("_warm_kernels")


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
    made = {record.id: record for record in Store(records)}
    assert made, "the smoke profile made no record"
    for record in made.values():
        assert record.config.profile == "smoke"
        assert 1 <= len(record.history) <= record.config.training.epochs
        assert 0 <= record.metrics()["accuracy"] <= 1
        assert set(record.content["tests"]) == {selection.label for selection in record.config.test}
    if name == "resaspp_unet":  # its page shows every run, folds too
        runs = load_paper("resaspp-unet").runs("smoke")
        assert set(made) == {config.identify() for config in runs.values()}
    counts = [cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["source"]]
    assert counts == list(range(1, len(counts) + 1))
    errors = [out for cell in notebook["cells"] for out in cell.get("outputs", []) if out["output_type"] == "error"]
    assert not errors


@pytest.mark.parametrize("name", [*PAPERS, *OTHERS])
def test_an_unknown_parameter_is_refused(name: str, tmp_path: Path) -> None:
    notebook = pairing.find_notebook(name)
    with pytest.raises(pairing.NotebookError, match="has no parameter profil; it takes"):
        pairing.execute(notebook, tmp_path / "executed.ipynb", {"profil": "smoke"}, progress=False)
    assert not list(tmp_path.iterdir())


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


# --- processes that start warm, which these kernels are ---------------------------------------------------------------


def test_a_warm_process_is_like_a_fresh_one(warm_python: list[str], tmp_path: Path) -> None:
    """Its words, folder, environment, streams and exit status are those of the caller; nothing of others is there."""
    code = """
import os, sys
print(sys.argv[1:], os.getcwd(), os.environ["A"], "left" in globals())
left = 1
print(input(), file=sys.stderr)
sys.exit(3)
"""
    for value in ("one", "two"):
        options = {"cwd": tmp_path, "env": os.environ | {"A": value}, "input": "asked\n"}
        done = subprocess.run([*warm_python, "-c", code, "a b"], capture_output=True, text=True, **options)
        assert (done.returncode, done.stdout) == (3, f"['a b'] {tmp_path} {value} False\n")
        assert done.stderr == "asked\n"
    done = subprocess.run([*warm_python, "-c", "1 / 0"], capture_output=True, text=True)
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr


def test_a_warm_process_ends_with_its_caller(warm_python: list[str]) -> None:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    with subprocess.Popen([*warm_python, "-c", code], stdout=subprocess.PIPE, text=True) as caller:
        process = int(caller.stdout.readline())
        caller.kill()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the process outlived its caller")
