"""Every command that the README or a page of the book prints is run here, so that none of them goes stale.

`retlib` commands run as printed, in a folder that holds the files they name; `retlib reproduce` plans without training.
Notebooks are executed by the tests of tests/notebooks, so of a command that executes one, notebook and parameters are
checked, and the two papermill commands are run. Of what needs a network, the files and extras it names are checked.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pairing
import pytest
import yaml
from PIL import Image

import retlib
from retlib.cli import main
from retlib.data.phantoms import make_phantom
from retlib.study.parameters import Parameters

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "book").rglob("*.md")), *sorted((ROOT / "notebooks").glob("*.py"))]
BLOCK = re.compile(r"^(`{3,})(?:\{code-block\} )?(?:console|bash|shell|sh)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
# `retlib predict` without an argument is a name, and no command.
INLINE = re.compile(r"`((?:retlib \w+|make|papermill|pip|python) [^`\n]+)`")
# book/add-a-paper.md is carried out from its first block to its last by tests/papers/test_add_a_paper.py.
ELSEWHERE = {ROOT / "book" / "add-a-paper.md"}


def printed_commands() -> list[str]:
    """Collect the commands of all pages, without prompts and remarks, each once."""
    found: dict[str, None] = {}
    for page in PAGES:
        if page in ELSEWHERE:
            continue
        text = page.read_text(encoding="utf-8")
        if page.suffix == ".py":
            text = re.sub("^# ?", "", text, flags=re.MULTILINE)
        lines = [line for _, block in BLOCK.findall(text) for line in block.splitlines()]
        lines += [match for match in INLINE.findall(text) if "..." not in match]
        for line in lines:
            if words := shlex.split(line.removeprefix("$ "), comments=True):
                found[shlex.join(words)] = None
    return list(found)


COMMANDS = printed_commands()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with what the printed commands name: photographs, a table, weights, data sets."""
    folder = tmp_path_factory.mktemp("desk")
    sample = make_phantom(1, 300, 290)
    (folder / "clinic").mkdir()
    for name in ("photo.jpg", "part.jpg", "a.tif", "b1.jpg", "clinic/left.png", "clinic/right.jpg"):
        Image.fromarray(sample.image).save(folder / name)
    Image.fromarray(sample.fov).save(folder / "mask.png")
    (folder / "table.csv").write_text("method,Acc,Se,Sp\nours,0.9550,0.7300,0.9770\n")
    weights = Path(retlib.__file__).parent / "weights"
    shipped = next(weights.glob("*.pt"))
    for suffix in (".pt", ".json"):
        shutil.copy(shipped.with_suffix(suffix), folder / f"mine{suffix}")
    return folder


@pytest.fixture
def at_desk(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in that folder, with it as the home folder."""
    monkeypatch.chdir(desk)
    monkeypatch.setenv("HOME", str(desk))
    return desk


def run_retlib(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command of retlib in this process, as its entry point does; the exit code."""
    monkeypatch.setattr(sys, "argv", ["retlib", *words])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


def test_commands_are_found() -> None:
    first = {command.split()[0] for command in COMMANDS}
    assert {"retlib", "make", "papermill", "pip", "python"} <= first
    assert len(COMMANDS) > 40


@pytest.mark.parametrize("command", [line for line in COMMANDS if re.match("retlib (predict|audit)", line)])
def test_predict_and_audit(command: str, at_desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(command)[1:]
    assert run_retlib(words, monkeypatch) == 0
    if "-o" in words:
        assert (at_desk / words[words.index("-o") + 1]).exists()


def test_data_in_the_order_of_the_pages(
    at_desk: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but HRF, for speed; what is present is not downloaded again."""
    retina = at_desk / "retina"
    retina.mkdir()
    for name in ("CHASE_DB1", "STARE", "DRIVE"):
        (retina / name).symlink_to(data_root / name)
    monkeypatch.setenv("RETLIB_DATA", str(retina))
    commands = [command for command in COMMANDS if command.startswith("retlib data")]
    assert {command.split()[2] for command in commands} == {"status", "fetch", "verify", "pack", "unpack"}
    for command in commands:
        words = [path for word in shlex.split(command)[1:] for path in map(str, _matches(at_desk, word))]
        assert run_retlib(words, monkeypatch) == 0, command
    assert "is present in" in capsys.readouterr().out


def _matches(folder: Path, word: str) -> list[Path | str]:
    """Expand a pattern as a shell does."""
    # The pages show the parts of four data sets; here are fewer, in one part.
    return sorted(folder.glob(re.sub(r"of\d", "of*", word))) or [word] if "*" in word else [word]


@pytest.mark.parametrize("command", [line for line in COMMANDS if re.search("retlib reproduce", line)])
def test_reproduce_plans(
    command: str, at_desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(command)
    words = words[words.index("retlib") + 1 :]
    if "--dask" in words:  # tests/reproduce runs two workers
        assert importlib.util.find_spec("distributed")
        del words[words.index("--dask") : words.index("--dask") + 2]
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("RETLIB_DATA", raising=False)  # or every plan reads every file of the data sets
    words = [str(at_desk / word[1:]) if word.startswith("/") else word for word in words if word != "--dry-run"]
    extra = ["--dry-run", "--present-only", "--device", "cpu"]
    assert run_retlib(words + extra, monkeypatch) == 0
    assert "runs; " in capsys.readouterr().out


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("make ")])
def test_make(command: str) -> None:
    done = subprocess.run(["make", "-n", *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        if "pairing.py run" in line:
            check_notebook(shlex.split(line))


def check_notebook(words: list[str]) -> None:
    """Check that ``... run KEY -p NAME VALUE`` names a notebook and values that it takes."""
    key, options = words[words.index("run") + 1], words[words.index("run") + 2 :]
    given = pairing.parse_parameters(
        zip(options[1::3], options[2::3], strict=True)  # -p NAME VALUE
    )
    assert given.keys() <= set(pairing.declared_parameters(pairing.find_notebook(key)))
    Parameters.parse(given, where="the command")


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("papermill ")])
@pytest.mark.usefixtures("_warm_kernels")
def test_papermill(command: str, tmp_path: Path, data_root: Path) -> None:
    # Training is left out: all seeds of all runs take hours; tests/notebooks trains with the smoke profile.
    words = shlex.split(command.replace("train missing", "train never"))[1:]
    words[1] = str(tmp_path / "out.ipynb")
    folder = ROOT if words[0].startswith("notebooks/") else ROOT / "notebooks"
    with pairing.own_kernel(tmp_path):
        environment = os.environ | {"RETLIB_DATA": str(data_root), "RETLIB_CACHE": str(tmp_path / "cache")}
        done = subprocess.run(
            [sys.executable, "-m", "papermill", *words, "--no-progress-bar"],
            cwd=folder, env=environment, capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    cells = json.loads((tmp_path / "out.ipynb").read_text(encoding="utf-8"))["cells"]
    counts = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code" and cell["source"]]
    assert counts == list(range(1, len(counts) + 1))


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("python -m ")])
def test_modules(command: str, warm_python: list[str]) -> None:
    module, *options = shlex.split(command)[2:]
    done = subprocess.run([*warm_python, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    missing = [word for word in options if word.startswith("--") and word not in done.stdout]
    assert not missing


def test_installing() -> None:
    """Check extras, files and packages that commands with a network name."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    for command in COMMANDS:
        words = shlex.split(command)
        for word in words if words[0] in ("pip", "conda") else ():
            if word.startswith(".["):
                assert set(word[2:-1].split(",")) <= extras.keys()
            elif word.endswith((".txt", ".yml")):
                assert (ROOT / word).is_file()
    assert "opencv-python-headless==" in pinned
    assert yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]


def test_no_command_is_left_out() -> None:
    known = (
        r"(timeout .*)?retlib (predict|audit|data|reproduce) |make |papermill |python -m |(pip|conda) "
        r"|'?RETLIB_DATA=\S+ dask |dask scheduler|cd notebooks$|export "
        r"|test -f |rm -rf "
    )
    assert [command for command in COMMANDS if not re.match(known, command)] == []
