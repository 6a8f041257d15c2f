"""What happens when a build goes wrong: one clear message, and no page that looks like a good one."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import build as book
import nbformat
import pairing
import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one page and one notebook."""
    root = tmp_path / "a checkout"
    (root / "notebooks").mkdir(parents=True)
    for name in ("_config.yml", "constraints.txt"):
        shutil.copy(ROOT / name, root / name)
    for name in ("_ext", "_static", "references.bib"):
        source = ROOT / "book" / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        (root / "book").mkdir(exist_ok=True)
        copy(source, root / "book" / name)
    (root / "book" / "index.md").write_text("# A book\n\nSome text.\n", encoding="utf-8")
    toc = {"format": "jb-book", "root": "book/index", "chapters": [{"file": "notebooks/one"}]}
    (root / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    write_notebook(root, "print(n)")
    return root


def write_notebook(root: Path, code: str, header: str = "# %%") -> None:
    """The one notebook of the checkout, paired."""
    script = root / "notebooks" / "one.py"
    parameters = '# %% [markdown]\n# # One\n\n# %% tags=["parameters"]\nn: int = 1  # how many\n'
    script.write_text(f"{parameters}\n{header}\n{code}\n", encoding="utf-8")
    for path, content in pairing.stale_files(root).items():
        path.write_text(content, encoding="utf-8")


def outputs(path: Path) -> str:
    """Everything that an executed notebook printed."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "".join("".join(out.get("text", [])) for cell in cells for out in cell.get("outputs", []))


def build(root: Path, **options: object) -> Path | None:
    """Build into the checkout's own _build."""
    return book.build(root / "_build", progress=False, root=root, **options)


def test_a_sound_checkout_builds(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    html = build(checkout)
    assert html == checkout / "_build" / "html" and (html / "notebooks" / "one.html").is_file()
    printed = capsys.readouterr().out
    assert "[1/1] notebooks/one.ipynb" in printed and "rendering" in printed and "total" in printed
    assert not (checkout / "_build" / "site").exists()


def test_parameters_and_the_working_folder(checkout: Path) -> None:
    write_notebook(checkout, "import os, sys\nprint(n, os.path.isfile('../book/index.md'), sys.executable)")
    build(checkout, only=["one"], parameters={"n": 7})
    assert outputs(checkout / "_build" / "src" / "notebooks" / "one.ipynb") == f"7 True {sys.executable}\n"
    assert not (checkout / "_build" / "html").exists()


def test_a_kernel_of_the_same_name_elsewhere_is_not_used(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine may have another Python registered as python3."""
    spec = {"argv": ["/bin/false", "{connection_file}"], "display_name": "Other", "language": "python"}
    other = tmp_path / "home" / ".local" / "share" / "jupyter"
    (other / "kernels" / "python3").mkdir(parents=True)
    (other / "kernels" / "python3" / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JUPYTER_PATH", str(other))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    write_notebook(checkout, "import sys\nprint(sys.executable)")
    build(checkout, only=["one"])
    assert outputs(checkout / "_build" / "src" / "notebooks" / "one.ipynb") == f"{sys.executable}\n"
    assert os.environ["JUPYTER_PATH"] == str(other)


def test_a_relative_data_folder_reaches_the_notebook(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout)
    monkeypatch.setenv("RETLIB_DATA", "some/data")
    write_notebook(checkout, "import os\nprint(os.environ['RETLIB_DATA'])")
    build(checkout, only=["one"])
    assert outputs(checkout / "_build" / "src" / "notebooks" / "one.ipynb") == f"{checkout / 'some' / 'data'}\n"


def test_a_failing_notebook_gives_one_message(checkout: Path) -> None:
    (checkout / "_build" / "html").mkdir(parents=True)
    (checkout / "_build" / "html" / "index.html").write_text("of an earlier build", encoding="utf-8")
    write_notebook(checkout, "def divide():\n    return n / 0\n\ndivide()")
    with pytest.raises(pairing.NotebookError) as caught:
        build(checkout)
    message = str(caught.value)
    assert message.startswith("notebooks/one.ipynb failed with ZeroDivisionError: division by zero")
    assert "return n / 0" in message and "\x1b" not in message
    assert caught.value.__suppress_context__
    assert not (checkout / "_build" / "html").exists()


def test_a_notebook_out_of_date_is_not_built(checkout: Path) -> None:
    script = checkout / "notebooks" / "one.py"
    script.write_text(script.read_text(encoding="utf-8") + "\n# %%\nprint(2)\n", encoding="utf-8")
    with pytest.raises(pairing.NotebookError, match=r"out of date: notebooks/one\.ipynb\. Run `make notebooks`"):
        build(checkout)


def test_an_unknown_notebook_lists_the_choices(checkout: Path) -> None:
    with pytest.raises(pairing.NotebookError, match="no notebook for 'two'; the choices are: one"):
        build(checkout, only=["two"])


FIGURE = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"


def test_a_figure_without_a_text_is_refused(checkout: Path) -> None:
    write_notebook(checkout, FIGURE)
    with pytest.raises(pairing.NotebookError, match=r"notebooks/one\.ipynb: a figure has no alternative text"):
        build(checkout, only=["one"])


def test_a_figure_with_a_text_is_taken(checkout: Path) -> None:
    write_notebook(checkout, FIGURE, header='# %% mystnb={"image": {"alt": "A line that rises."}}')
    build(checkout, only=["one"])
    notebook = nbformat.read(checkout / "_build" / "src" / "notebooks" / "one.ipynb", as_version=4)
    assert "papermill" not in notebook.metadata
    nbformat.validate(notebook)


NOWHERE = {
    "{rec}`no-such-paper/a/lite:metrics.dice:.4f`": "unknown paper 'no-such-paper'",
    "{rec}`resaspp-unet/no-such-run/lite:metrics.dice:.4f`": "has no lite run 'no-such-run'",
    "{reported}`resaspp-unet:99:0:Dice`": "has no table '99'",
    "{doc}`nowhere`": "nowhere",
    "{cite:p}`Nobody1900`": "Nobody1900",
    "{py:class}`retlib.data.NoSuchClass`": "retlib.data.NoSuchClass",
    "{py:func}`no_such_function`": "no_such_function",
}


def test_references_that_lead_nowhere_fail_the_build(checkout: Path) -> None:
    page = "# A book\n\n" + "\n\n".join(NOWHERE) + "\n"
    (checkout / "book" / "index.md").write_text(page, encoding="utf-8")
    source = book.stage(checkout / "_build", checkout)
    shutil.copy(checkout / "notebooks" / "one.ipynb", source / "notebooks" / "one.ipynb")
    with pytest.raises(pairing.NotebookError) as caught:
        book.render(source, checkout / "_build")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("the book was not rendered")
    for reference, complaint in NOWHERE.items():
        assert [line for line in lines[1:] if complaint in line], f"{reference} went through"
    assert not (checkout / "_build" / "html").exists()


# --- buttons and icons -----------------------------------------------------------------------------------------------


def rendered(checkout: Path) -> str:
    """Render the checkout's notebook without executing it; the text of its page."""
    source = book.stage(checkout / "_build", checkout)
    shutil.copy(checkout / "notebooks" / "one.ipynb", source / "notebooks" / "one.ipynb")
    return (book.render(source, checkout / "_build") / "notebooks" / "one.html").read_text(encoding="utf-8")


def set_address(checkout: Path, url: str) -> None:
    """Give the checkout an address and pair its notebook anew."""
    config = yaml.safe_load((checkout / "_config.yml").read_text(encoding="utf-8"))
    config["repository"]["url"] = url
    (checkout / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    write_notebook(checkout, "print(n)")


def test_a_book_with_an_address_has_all_buttons(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_address(checkout, "https://github.com/them/study")
    page = rendered(checkout)
    tag = yaml.safe_load((checkout / "_config.yml").read_text(encoding="utf-8"))["repository"]["branch"]
    notebook = f"them/study/blob/{tag}/notebooks/one.ipynb"
    assert f'href="https://colab.research.google.com/github/{notebook}"' in page
    assert f'href="https://github.com/{notebook}' in page and 'href="https://github.com/them/study"' in page
    assert 'href="https://github.com/them/study/issues/new' in page
    assert "repository: url" not in page and capsys.readouterr().out == ""


def test_a_book_without_an_address_says_how_to_set_it(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = rendered(checkout)
    assert "github.com/example" not in page and "colab.research" not in page
    assert "Set <code>repository: url</code> in <code>_config.yml</code>" in page
    assert "no Colab, source and issue buttons" in capsys.readouterr().out
    # Icons are in the page, and neither the script that would draw them nor the fonts are loaded.
    assert "fontawesome.js" not in page and '<i class="fa' not in page and page.count("svg-inline--fa") > 10
    assert not list((checkout / "_build" / "html" / "_static").glob("scripts/fontawesome*"))
