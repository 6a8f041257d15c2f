"""Folders as other people have them: a checkout without write permission, names with blanks and any letters."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pairing
import pytest
from PIL import Image

from retlib.data import load_dataset
from retlib.data.collections import CHASE_DB1
from retlib.data.phantoms import make_phantom
from retlib.study import Store
from tests.experiments.conftest import tiny

ROOT = Path(__file__).parents[1]
# A blank, an umlaut, a letter that is decomposed on some systems, other alphabets, what shells and patterns know.
NAMES = ("Auge links ä", unicodedata.normalize("NFD", "œil é (1)"), "глаз [2]", "右眼 & 左眼", "50 % #1 'a'")
RUN = """
import sys
from retlib.study import RunConfig, run
run(RunConfig.model_validate_json(sys.argv[1]), sys.argv[2], device="cpu", progress=False)
"""
READ_ONLY = (
    'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && cd "$0/notebooks" && ! touch x 2>&- && exec "$@"'
)


def retlib(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as a terminal does."""
    command = [sys.executable, "-m", "retlib.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


def papermill(notebook: Path, output: Path, folder: Path, *before: str, **parameters: object) -> dict:
    """Execute a notebook as the README says; the executed notebook."""
    options = [word for name, value in parameters.items() for word in ("-p", name, str(value))]
    output.parent.mkdir(parents=True)
    with pairing.own_kernel(folder / "kernel"):
        command = [sys.executable, "-m", "papermill", str(notebook), str(output), *options, "--no-progress-bar"]
        environment = {**os.environ, "RETLIB_CACHE": str(folder / "Zwischen lager ü")}
        environment.pop("RETLIB_DATA", None)
        done = subprocess.run([*before, *command], capture_output=True, text=True, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(output.read_text(encoding="utf-8"))


def executed(notebook: dict) -> bool:
    """Whether every cell ran, in order."""
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["source"]]
    return [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))


def read_only(folder: Path) -> list[str]:
    """Command that shows a folder without write permission to the command behind it, root or not.

    Permissions do not hold root back, so the folder is mounted read-only in a name space of the process.
    """
    command = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"]), "sh", "-c", READ_ONLY]
    if not shutil.which("unshare") or subprocess.run([*command, str(folder), "true"], capture_output=True).returncode:
        pytest.skip("no read-only mounts on this machine")
    return [*command, str(folder)]


@pytest.mark.slow
def test_notebooks_of_a_checkout_that_cannot_be_written(tmp_path: Path) -> None:
    output = tmp_path / "aus gabe é" / "heft ß.ipynb"
    assert executed(papermill(ROOT / "notebooks" / "speed.ipynb", output, tmp_path, *read_only(ROOT)))


def test_a_run_from_a_checkout_that_cannot_be_written(tmp_path: Path) -> None:
    """Records and cache elsewhere, in folders with blanks and umlauts."""
    records = tmp_path / NAMES[0] / NAMES[1]
    command = [sys.executable, "-c", RUN, tiny().model_dump_json(), str(records)]
    environment = {**os.environ, "RETLIB_CACHE": str(tmp_path / NAMES[3])}
    done = subprocess.run([*read_only(ROOT), *command], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    (record,) = Store(records)
    assert record.error_maps() and (tmp_path / NAMES[3] / "weights" / f"{record.id}.pt").is_file()


def test_a_checkout_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """By the command whose default is a folder in it."""
    command = [sys.executable, "-m", "retlib.cli", "reproduce", "r2u-net", "--profile", "lite", "--dry-run"]
    done = subprocess.run([*read_only(ROOT), *command], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "book/records is no folder that can be written to; choose another place" in done.stderr


@pytest.mark.slow
def test_a_notebook_in_a_folder_with_such_a_name(tmp_path: Path) -> None:
    place = tmp_path / NAMES[0] / NAMES[2]
    place.mkdir(parents=True)
    shutil.copy(ROOT / "notebooks" / "speed.ipynb", place / f"{NAMES[3]}.ipynb")
    records = tmp_path / NAMES[1]
    records.mkdir()
    for file in (ROOT / "book" / "records").glob("*.json"):
        shutil.copy(file, records)
    output = tmp_path / "out" / f"{NAMES[4]}.ipynb"
    assert executed(papermill(place / f"{NAMES[3]}.ipynb", output, tmp_path, records=records))


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"], ids=["", "in a terminal of ASCII"])
def test_photographs_with_such_names(tmp_path: Path, encoding: str) -> None:
    folder = tmp_path / NAMES[1]
    folder.mkdir()
    for name in NAMES:
        Image.fromarray(make_phantom(3, 200, 190).image).save(folder / f"{name}.png")
    out, table = tmp_path / NAMES[3], tmp_path / NAMES[4] / f"{NAMES[0]}.csv"
    done = retlib(
        "predict", folder, "-o", out, "--overlay", "--csv", table, "--save-fov", tmp_path / NAMES[2],
        PYTHONIOENCODING=encoding, PYTHONUTF8="0",
    )  # fmt: skip
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    for name in NAMES:
        assert (out / f"{name}.png").is_file() and (out / f"{name}_overlay.png").is_file()
        assert (tmp_path / NAMES[2] / f"{name}.png").is_file()
    with table.open(encoding="utf-8", newline="") as file:
        assert sorted(row["file"] for row in csv.DictReader(file)) == sorted(str(folder / f"{n}.png") for n in NAMES)
    single = retlib("predict", folder / f"{NAMES[2]}.png", "-o", tmp_path / "глаз.png", PYTHONIOENCODING=encoding)
    assert single.returncode == 0 and (tmp_path / "глаз.png").is_file()  # brackets in a name are no pattern
    missing = retlib("predict", tmp_path / f"{NAMES[0]} nicht da.png", "-o", out, PYTHONIOENCODING=encoding)
    assert missing.returncode == 2 and missing.stderr.startswith("retlib: ") and missing.stderr.count("\n") == 1


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"], ids=["", "in a terminal of ASCII"])
def test_tables_with_such_names(tmp_path: Path, encoding: str) -> None:
    folder = tmp_path / NAMES[3]
    folder.mkdir()
    table = folder / f"{NAMES[2]}.csv"
    table.write_text("Method,Acc,Se,Sp\nMéthode de Kovač ±,0.9550,0.7300,0.9770\n", encoding="utf-8")
    for option in ([], ["--json"]):
        done = retlib("audit", table, "--records", folder, *option, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
        assert done.returncode == 0 and done.stderr == "", done.stderr
    assert json.loads(done.stdout)["rows"][0]["label"].startswith("M" if encoding == "utf-8" else "M\\xe9thode"[0])
    wrong = retlib("audit", folder / "keine ä.csv", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert wrong.returncode == 2 and wrong.stderr.startswith("retlib: ") and wrong.stderr.count("\n") == 1


def test_a_data_root_with_such_a_name(tmp_path: Path, data_root: Path) -> None:
    root = tmp_path / NAMES[1] / NAMES[3]
    root.mkdir(parents=True)
    (root / "CHASE_DB1").symlink_to(data_root / "CHASE_DB1")
    ours, theirs = (load_dataset("chase_db1", split="test", root=place)[0] for place in (root, data_root))
    np.testing.assert_array_equal(ours.image, theirs.image)
    status = retlib("data", "status", "--root", root, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert status.returncode == 0 and f"present{len(CHASE_DB1.names):>9}"[:7] in status.stdout
    parts = tmp_path / NAMES[4]
    packed = retlib("data", "pack", parts, "--root", root)
    assert packed.returncode == 0, packed.stderr
    unpacked = retlib("data", "unpack", *sorted(parts.iterdir()), "--root", tmp_path / NAMES[2])
    assert (tmp_path / NAMES[2] / "CHASE_DB1" / "Image_01L.jpg").is_file(), unpacked.stderr
