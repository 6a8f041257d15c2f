"""The page book/add-a-paper.md, done: its blocks are applied to a copy of the checkout, its commands are run there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "book" / "add-a-paper.md"
BLOCK = re.compile(r"^(`{3,})(?:\{code-block\} )?(\w+)\n(?::caption: (\S+)\n\n)?(.*?)^\1$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str | None, str]]:
    """(language, file or None, text) of every fenced block of the page, in its order."""
    found = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    return [(language, caption or None, text) for _, language, caption, text in found]


def insert(text: str, change: str, name: str) -> str:
    """The lines marked ``+`` put below the unmarked line above them, which has to be there once."""
    lines, position = text.splitlines(), None
    for line in change.splitlines():
        if line.startswith("+"):
            assert position is not None, f"{name}: a block starts with a line to add"
            position += 1
            lines.insert(position, line[1:])
        else:
            places = [index for index, present in enumerate(lines) if present == line[1:]]
            assert len(places) == 1, f"{name}: the page shows a line that is there {len(places)} times: {line[1:]!r}"
            position = places[0]
    return "\n".join(lines) + "\n"


def apply(root: Path) -> list[str]:
    """Do what the blocks with a file say; the files."""
    done = []
    for language, name, text in blocks():
        if name is None:
            continue
        path = root / name
        if language == "diff":
            text = insert(path.read_text(encoding="utf-8"), text, name)
        elif path.exists():
            text = path.read_text(encoding="utf-8").rstrip("\n") + "\n\n" + text
        path.write_text(text, encoding="utf-8")
        done.append(name)
    return done


def commands() -> list[list[str]]:
    """The commands of the page, as words."""
    consoles = [text for language, _, text in blocks() if language == "console"]
    return [shlex.split(line.removeprefix("$ ")) for text in consoles for line in text.splitlines()]


def left_out(folder: str, names: list[str]) -> set[str]:
    """What a fresh checkout would not hold, and the records, which nothing here needs."""
    if Path(folder) == ROOT:
        return {name for name in names if name.startswith((".", "_build")) or name.endswith(".egg-info")}
    return {"__pycache__", "records"} & set(names)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, with the sixth paper, in which every command of the page has been run."""
    if shutil.which("make") is None:
        pytest.skip("the page's commands need make")
    folder = tmp_path_factory.mktemp("a sixth paper")
    root = folder / "checkout"
    shutil.copytree(ROOT, root, ignore=left_out)
    assert len(apply(root)) == 10
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RETLIB_", "PYTEST_"))}
    environment |= {"RETLIB_CACHE": str(folder / "cache"), "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    # This interpreter takes the place of the .venv that make would set up.
    make = ["make", "-o", ".venv/.retlib-installed", f"PY={shlex.quote(sys.executable)}", "JOBS=0"]
    for words in commands():
        command = {"make": make, "python": [sys.executable]}[words[0]] + words[1:]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{shlex.join(words)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        (folder / f"{words[1]}.log").write_text(done.stdout, encoding="utf-8")
    return root


def test_the_page_names_every_step() -> None:
    """Every kind of file that a paper consists of."""
    files = [name for _, name, _ in blocks() if name]
    assert files == [
        "retlib/papers/toy-net.yaml",
        "retlib/models/toy_net.py",
        "retlib/models/__init__.py",
        "tests/models/test_model_registry.py",
        "book/api/models.md",
        "retlib/augmentation.py",
        "notebooks/toy_net.py",
        "_toc.yml",
        "book/references.bib",
        "tests/papers/test_papers_toy_net.py",
    ]
    assert [words[1] for words in commands() if words[0] == "make"] == ["notebooks", "test", "reproduce"]


def test_every_run_of_the_new_paper_has_its_record(checkout: Path) -> None:
    folder = checkout.parent / "cache" / "smoke-records"
    records = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("*/record.json")]
    assert sorted(record["config"]["model"] for record in records) == ["toy_net", "unet"]
    for record in records:
        assert record["config"]["profile"] == "smoke"
        assert record["config"]["training"]["augmentation"] == "toy-net"
        assert len(record["history"]) == record["config"]["training"]["epochs"] == 2
        assert set(record["tests"]) == {"phantom:test"}


def test_the_page_of_results_shows_the_records(checkout: Path) -> None:
    notebook = json.loads((checkout / "_build" / "reproduce" / "toy_net-smoke.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["source"]]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [out for cell in code for out in cell["outputs"]]
    assert not [out for out in outputs if out["output_type"] == "error"]
    assert [out for out in outputs if "image/png" in out.get("data", {})], "the figure is missing"
    pages = ["".join(out["data"]["text/html"]) for out in outputs if "text/html" in out.get("data", {})]
    table = next(page for page in pages if "Table 1: two models on DRIVE." in page)
    folder = checkout.parent / "cache" / "smoke-records"
    for file in folder.glob("*/record.json"):
        record = json.loads(file.read_text(encoding="utf-8"))
        scores = record["tests"]["phantom:test"]["metrics"]["frame"]["pooled"]
        for metric in ("sensitivity", "specificity", "accuracy", "dice"):
            assert f">{scores[metric]:.4f}<" in table, metric
    assert "0.7463" not in table  # a number measured on phantoms never stands beside a reported one


def test_the_pages_tests_have_run(checkout: Path) -> None:
    log = (checkout.parent / "test.log").read_text(encoding="utf-8")
    passed = re.search(r"(\d+) passed", log)
    assert passed and int(passed[1]) > 30 and "failed" not in log


def test_the_pages_code_is_in_the_projects_style(checkout: Path) -> None:
    files = [name for _, name, _ in blocks() if name and name.endswith(".py")]
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *files], cwd=checkout, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_line_that_is_not_there_is_noticed() -> None:
    assert insert("a\nb\n", " a\n+new\n", "f") == "a\nnew\nb\n"
    for text in ("b\n", "a\na\n"):
        with pytest.raises(AssertionError, match="the page shows a line"):
            insert(text, " a\n+new\n", "f")
