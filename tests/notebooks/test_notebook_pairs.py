"""Every script and its notebook tell the same story, carry no results, and open with the shared cell."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pairing
import pytest
import yaml

ROOT = Path(__file__).parents[2]
SCRIPTS = pairing.scripts(ROOT)
MAX_BYTES = 1_500_000
each_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


def cells(script: Path) -> list[dict]:
    """Cells of the notebook that belongs to a script."""
    return json.loads(script.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]


def tags(cell: dict) -> list[str]:
    """Tags of a cell."""
    return cell["metadata"].get("tags", [])


def test_there_are_notebooks() -> None:
    assert {"resaspp_unet", "datasets"} <= {script.stem for script in SCRIPTS}


def test_every_notebook_is_up_to_date() -> None:
    stale = [str(path.relative_to(ROOT)) for path in pairing.stale_files(ROOT)]
    assert not stale, f"run `make notebooks`: {stale}"


def test_no_notebook_without_a_script() -> None:
    assert sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")) == [path.stem for path in SCRIPTS]


def test_every_notebook_is_in_the_book() -> None:
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert [path.stem for path in SCRIPTS if f": notebooks/{path.stem}\n" not in toc] == []


@each_script
def test_cells_are_the_scripts_cells(script: Path) -> None:
    described = pairing.read_script(script.read_text(encoding="utf-8")).cells
    stored = cells(script)
    assert [(c.cell_type, c.source, c.metadata.get("tags", [])) for c in described] == [
        (c["cell_type"], "".join(c["source"]), tags(c)) for c in stored
    ]


@each_script
def test_no_results_are_stored(script: Path) -> None:
    for cell in cells(script):
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
    assert "injected-parameters" not in script.read_text(encoding="utf-8")


@each_script
def test_the_first_cell_is_the_colab_set_up(script: Path) -> None:
    first = cells(script)[0]
    assert "".join(first["source"]) == pairing.colab_cell(ROOT)
    assert tags(first) == ["remove-cell"]


@each_script
def test_a_title_comes_next(script: Path) -> None:
    second = cells(script)[1]
    assert second["cell_type"] == "markdown" and second["source"][0].startswith("# ")


@each_script
def test_there_is_one_cell_of_parameters(script: Path) -> None:
    marked = [cell for cell in cells(script) if "parameters" in tags(cell)]
    assert len(marked) == 1
    body = ast.parse("".join(marked[0]["source"])).body
    # annotated and commented, one a line: papermill shows both in its help
    assert all(isinstance(node, ast.AnnAssign) for node in body)
    lines = "".join(marked[0]["source"]).splitlines()
    assert all("  # " in line for line in lines if not line.startswith("# "))


@each_script
def test_paper_notebooks_take_the_same_parameters(script: Path) -> None:
    from retlib.papers import list_papers

    names = pairing.declared_parameters(script.with_suffix(".ipynb"))
    if script.stem.replace("_", "-") in list_papers():
        assert names == ["profile", "data_root", "records", "device", "seeds", "train"]
    else:
        assert {"data_root", "records"} <= set(names)


def draws(source: str) -> bool:
    """Whether a cell shows a figure itself, and does not only define a function that does."""
    outside = [node for node in ast.parse(source).body if not isinstance(node, ast.FunctionDef)]
    return any("plt.show()" in ast.unparse(node) for node in outside)


@each_script
def test_figures_have_a_text(script: Path) -> None:
    """Cells that plot; whatever else shows an image is caught when the book is built."""
    for cell in cells(script):
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and draws(source):
            alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt) > 30, f"this figure needs mystnb image alt text: {source[:80]}"


@each_script
def test_notebooks_are_plain_markdown(script: Path) -> None:
    """Colab and GitHub show MyST roles and directives raw."""
    for cell in cells(script):
        if cell["cell_type"] == "markdown":
            source = "".join(cell["source"])
            assert "{" + "doc}" not in source and ":::" not in source and "```{" not in source


@each_script
def test_notebooks_stay_small(script: Path) -> None:
    assert script.with_suffix(".ipynb").stat().st_size < MAX_BYTES


# --- the mechanism -----------------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small checkout with one notebook."""
    for name in ("_config.yml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "notebooks").mkdir()
    script = '# %% [markdown]\n# # A title\n\n# %% tags=["parameters"]\nn: int = 1  # how many\n\n# %%\nn\n\n# %%\nn\n'
    (tmp_path / "notebooks" / "one.py").write_text(script, encoding="utf-8")
    return tmp_path


def pair(root: Path) -> list[str]:
    """Write what is out of date; names of the files."""
    stale = pairing.stale_files(root)
    for path, content in stale.items():
        path.write_text(content, encoding="utf-8")
    return sorted(path.name for path in stale)


def test_pairing_settles_at_once(checkout: Path) -> None:
    assert pair(checkout) == ["one.ipynb", "one.py"]
    assert pair(checkout) == []


def test_a_changed_script_makes_its_notebook_stale(checkout: Path) -> None:
    pair(checkout)
    script = checkout / "notebooks" / "one.py"
    script.write_text(script.read_text(encoding="utf-8").replace("# # A title", "# # Another"), encoding="utf-8")
    assert pair(checkout) == ["one.ipynb"]


def test_a_new_address_reaches_every_notebook(checkout: Path) -> None:
    pair(checkout)
    config = yaml.safe_load((checkout / "_config.yml").read_text(encoding="utf-8"))
    config["repository"] = {"url": "https://git.example.org/them/study", "branch": "v9.0"}
    (checkout / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert pair(checkout) == ["one.ipynb", "one.py"]
    text = (checkout / "notebooks" / "one.py").read_text(encoding="utf-8")
    assert "--branch=v9.0 https://git.example.org/them/study" in text and "/content/study-v9.0" in text
    assert text.count("google.colab") == 1  # the old cell was replaced


def test_outputs_are_never_taken_over(checkout: Path) -> None:
    pair(checkout)
    path = checkout / "notebooks" / "one.ipynb"
    clean = path.read_text(encoding="utf-8")
    notebook = json.loads(clean)
    notebook["cells"][-1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["1\n"]}]
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert pair(checkout) == ["one.ipynb"]
    assert path.read_text(encoding="utf-8") == clean


def edit(path: Path, before: str, after: str) -> None:
    """Change a file, and make it a second newer than its pair."""
    path.write_text(path.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    pair_of = path.with_suffix(".py" if path.suffix == ".ipynb" else ".ipynb")
    later = pair_of.stat().st_mtime + 1
    os.utime(path, (later, later))


def test_a_newer_notebook_is_not_overwritten(checkout: Path) -> None:
    pair(checkout)
    pairing.check_nothing_is_lost(checkout)  # written after its script, and equal
    edit(checkout / "notebooks" / "one.ipynb", "# A title", "# Edited in Jupyter")
    with pytest.raises(pairing.NotebookError, match=r"one\.ipynb is newer than notebooks/one\.py.*(?s:.*)touch"):
        pairing.check_nothing_is_lost(checkout)
    edit(checkout / "notebooks" / "one.py", "n: int = 1", "n: int = 2")
    pairing.check_nothing_is_lost(checkout)


@pytest.mark.parametrize("edited", ["one.ipynb", "one.py"])
def test_jupytext_takes_the_newer_one(checkout: Path, edited: str) -> None:
    """With the project's settings, and with the cell ids that VS Code writes."""
    shutil.copy(ROOT / "pyproject.toml", checkout)
    pair(checkout)
    path = checkout / "notebooks" / edited
    notebook = json.loads((checkout / "notebooks" / "one.ipynb").read_text(encoding="utf-8"))
    for number, cell in enumerate(notebook["cells"]):
        cell["id"] = f"vscode-{number}"
        cell["metadata"]["vscode"] = {"languageId": "python"}
    (checkout / "notebooks" / "one.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    edit(path, "A title", "Another title")
    subprocess.run([sys.executable, "-m", "jupytext", "--sync", str(path)], check=True, capture_output=True)
    for name in ("one.ipynb", "one.py"):
        assert "Another title" in (checkout / "notebooks" / name).read_text(encoding="utf-8")
    pairing.check_nothing_is_lost(checkout)
    pair(checkout)
    text = (checkout / "notebooks" / "one.py").read_text(encoding="utf-8")
    assert "vscode" not in text and 'tags=["parameters"]' in text and text.count("google.colab") == 1
    assert "vscode" not in (checkout / "notebooks" / "one.ipynb").read_text(encoding="utf-8")


def test_ids_of_cells_follow_from_their_content(checkout: Path) -> None:
    pair(checkout)
    before = [cell["id"] for cell in cells(checkout / "notebooks" / "one.py")]
    assert len(set(before)) == len(before)  # two equal cells get two ids
    script = checkout / "notebooks" / "one.py"
    text = script.read_text(encoding="utf-8").replace("# %% [markdown]\n# # A", "# %%\n2 + 2\n\n# %% [markdown]\n# # A")
    script.write_text(text, encoding="utf-8")
    pair(checkout)
    after = [cell["id"] for cell in cells(script)]
    assert [identity for identity in after if identity in before] == before
