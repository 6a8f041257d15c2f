"""What happens when a build goes wrong: one clear message, and no page that looks like a good one."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import shutil
import sys
import textwrap
from pathlib import Path

import build as book
import finish
import nbformat
import numpy as np
import pairing
import pandas as pd
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[2]


def make_checkout(folder: Path) -> Path:
    """A checkout with one page and one notebook."""
    root = folder / "a checkout"
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


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that a test may change."""
    return make_checkout(tmp_path)


SUMMARY = """
from IPython.display import Markdown, display
print("before")
display(Markdown('<div class="in-short">\\n\\n**In short.** It ' + 'works.\\n\\n</div>'))
"""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A checkout without an address whose notebook shows a summary, built once: it, its pages and what was printed."""
    root = make_checkout(tmp_path_factory.mktemp("sound"))
    write_notebook(root, SUMMARY, header='# %% tags=["hide-input"]')
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        html = build(root)
    return root, html, printed.getvalue()


def write_notebook(root: Path, code: str, header: str = "# %%", name: str = "one") -> None:
    """A notebook of the checkout, paired."""
    script = root / "notebooks" / f"{name}.py"
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
    return book.build(root / "_build", root=root, **options)


def test_a_sound_checkout_builds(sound: tuple[Path, Path, str]) -> None:
    checkout, html, printed = sound
    assert html == checkout / "_build" / "html" and (html / "notebooks" / "one.html").is_file()
    assert "[1/1] notebooks/one.ipynb" in printed and "rendering" in printed and "total" in printed
    assert not (checkout / "_build" / "site").exists()
    # The download button gives the notebook as it is tracked, without outputs.
    source = html / "_sources" / "notebooks" / "one.ipynb"
    assert source.read_bytes() == (checkout / "notebooks" / "one.ipynb").read_bytes()


def test_notebooks_are_executed_side_by_side_and_share_the_hashes_of_the_data(checkout: Path) -> None:
    """Each waits for the other, so one after the other they would fail."""
    meet = """
    import os, pathlib, time
    pathlib.Path(f"{{n}}-{name}").touch()
    end = time.time() + 120
    while len(list(pathlib.Path().glob("1-*"))) < 2 and time.time() < end:
        time.sleep(0.05)
    print(time.time() < end, os.environ["RETLIB_HASHES"], os.environ["OMP_NUM_THREADS"])
    """
    for name in ("one", "two"):
        write_notebook(checkout, textwrap.dedent(meet.format(name=name)), name=name)
    build(checkout, only=["one", "two"], jobs=2)
    printed = {outputs(checkout / "_build" / "src" / "notebooks" / f"{name}.ipynb") for name in ("one", "two")}
    threads = os.environ.get("OMP_NUM_THREADS") or max(1, (os.cpu_count() or 1) // 2)
    assert printed == {f"True {checkout / '_build' / 'hashes'} {threads}\n"}


def test_one_that_fails_among_several_gives_its_message(checkout: Path) -> None:
    write_notebook(checkout, "n / 0", name="two")
    with pytest.raises(pairing.NotebookError, match=r"^notebooks/two\.ipynb failed with ZeroDivisionError"):
        build(checkout, only=["one", "two"], jobs=2)


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


PICTURES = ("image/png", "image/jpeg")
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


def test_a_photograph_gets_lighter_and_stays_the_same_to_the_eye(checkout: Path) -> None:
    code = "import numpy as np\nimport matplotlib.pyplot as plt\n" + "\n".join(
        (
            "across, down = np.mgrid[0:1:300j, 0:1:300j]",
            "noise = np.random.default_rng(0).normal(0, 0.02, (300, 300))",
            "picture = np.stack([0.9 - 0.4 * across, 0.5 * down + noise, across * down / 3], -1).clip(0, 1)",
            "plt.imshow(picture)",
            "plt.show()",
        )
    )
    write_notebook(checkout, code, header='# %% mystnb={"image": {"alt": "A field of colours."}}')
    (checkout / "_build" / "notebooks").mkdir(parents=True)
    target = checkout / "_build" / "notebooks" / "one.ipynb"
    with pairing.own_kernel(checkout / "_build" / "kernel", quiet=True):
        pairing.execute(checkout / "notebooks" / "one.ipynb", target, progress=False)
    before = pictures(target)
    book.tidy(target)
    after = pictures(target)
    assert len(after[0]) < 0.6 * len(before[0])
    one, other = (np.asarray(Image.open(io.BytesIO(file[0])).convert("RGB")).astype(int) for file in (before, after))
    assert one.shape == other.shape and np.abs(one - other).mean() < 2.5
    book.tidy(target)
    assert pictures(target) == after


def pictures(path: Path) -> list[bytes]:
    """PNG and JPEG files in the outputs of an executed notebook."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    data = [out.get("data", {}) for cell in cells for out in cell.get("outputs", [])]
    return [base64.b64decode("".join(kinds[kind])) for kinds in data for kind in kinds if kind in PICTURES]


def page_of(html: Path) -> str:
    """The text of the notebook's page."""
    return (html / "notebooks" / "one.html").read_text(encoding="utf-8")


def test_the_summary_comes_first(sound: tuple[Path, Path, str]) -> None:
    page = page_of(sound[1])
    article = page[page.index("<article") :]
    assert article.count('<div class="in-short">') == 1
    assert article.index("<h1>One") < article.index("It works.") < article.index("how many")


def test_the_cells_that_set_a_page_up_are_folded_into_one(tmp_path: Path) -> None:
    def code(source: str, *tags: str, outputs: tuple = ()) -> dict:
        return {"cell_type": "code", "source": source, "metadata": {"tags": list(tags)}, "outputs": list(outputs)}

    shown = {"output_type": "stream", "name": "stdout", "text": "shown"}
    text = [{"cell_type": "markdown", "source": source, "metadata": {}} for source in ("# One", "## Results")]
    cells = [
        text[0],
        code("a = 1", "parameters", "hide-input"),
        code("b = 2\n", "hide-input", "remove-output", outputs=(shown,)),
        code("c = 3", "hide-input", outputs=(shown,)),
        code("d = 4"),
        text[1],
        code("e = 5", "hide-input"),
    ]
    path = tmp_path / "one.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    book.arrange_opening(path)
    after = json.loads(path.read_text())["cells"]
    assert [cell["source"] for cell in after] == ["# One", "a = 1\n\nb = 2", "c = 3", "d = 4", "## Results", "e = 5"]
    assert after[1]["metadata"]["mystnb"]["code_prompt_show"] == "Show parameters and set-up"
    book.arrange_opening(path)
    assert json.loads(path.read_text())["cells"] == after


# --- finished pages -------------------------------------------------------------------------------------------------


def test_pandas_headings_become_one_line() -> None:
    frame = pd.DataFrame(
        {"Dice": [0.8], "IoU": [0.7]}, index=pd.MultiIndex.from_tuples([("a", 1)], names=["row", "fold"])
    )
    page = finish.finish_page(frame.style.to_html())
    (head,) = finish.HEAD.findall(page)
    assert re.findall(r"<th[^>]*>(.*?)</th>", head) == ["row", "fold", "Dice", "IoU"]
    assert head.count("<tr>") == 1 and finish.finish_page(page) == page
    plain = finish.finish_page(frame.to_html())  # as a notebook shows a frame that has no style
    assert "<th></th>" not in plain and "<td></td>" in plain


def test_headings_in_two_lines_stay_two() -> None:
    frame = pd.DataFrame(
        [[0.8, 0.7]], columns=pd.MultiIndex.from_product([["Dice"], ["paper", "ours"]]), index=["unet"]
    )
    (head,) = finish.HEAD.findall(finish.finish_page(frame.style.to_html()))
    assert re.findall(r"<th[^>]*>(.*?)</th>", head) == ["Dice", "paper", "ours"]
    assert len(re.findall(r"<td[^>]*>&nbsp;</td>", head)) == 2 and head.count("<tr>") == 2
    named = finish.finish_page(frame.rename_axis("network").style.to_html())
    (head,) = finish.HEAD.findall(named)
    assert re.findall(r"<th[^>]*>(.*?)</th>", head) == ["Dice", "network", "paper", "ours"] and head.count("<tr>") == 2


def test_the_names_of_columns_are_kept() -> None:
    frame = pd.DataFrame({"Dice": [0.8]}, index=pd.Index(["a"], name="row")).rename_axis(columns="metric")
    (head,) = finish.HEAD.findall(finish.finish_page(frame.style.to_html()))
    assert re.findall(r"<th[^>]*>(.*?)</th>", head) == ["metric", "Dice", "row"]


def test_what_unfolds_pages_has_a_name() -> None:
    link = '<a class="reference internal" href="../api/index.html">API &amp; more</a>'
    page = finish.finish_page(f"<li>{link}<details><summary><span></span></summary></details></li>")
    assert '<summary aria-label="Pages of API &amp; more">' in page


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


def set_address(checkout: Path, url: str) -> None:
    """Give the checkout an address and pair its notebook anew."""
    config = yaml.safe_load((checkout / "_config.yml").read_text(encoding="utf-8"))
    config["repository"]["url"] = url
    (checkout / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    write_notebook(checkout, "print(n)")


def test_a_book_with_an_address_has_all_buttons(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_address(checkout, "https://github.com/them/study")
    source = book.stage(checkout / "_build", checkout)
    shutil.copy(checkout / "notebooks" / "one.ipynb", source / "notebooks" / "one.ipynb")  # not executed
    page = page_of(book.render(source, checkout / "_build", checkout))
    tag = yaml.safe_load((checkout / "_config.yml").read_text(encoding="utf-8"))["repository"]["branch"]
    notebook = f"them/study/blob/{tag}/notebooks/one.ipynb"
    assert f'href="https://colab.research.google.com/github/{notebook}"' in page
    assert f'href="https://github.com/{notebook}' in page and 'href="https://github.com/them/study"' in page
    assert 'href="https://github.com/them/study/issues/new' in page
    assert "repository: url" not in page and capsys.readouterr().out == ""


def test_a_book_without_an_address_says_how_to_set_it(sound: tuple[Path, Path, str]) -> None:
    _, html, printed = sound
    page = page_of(html)
    assert "github.com/example" not in page and "colab.research" not in page
    assert "Set <code>repository: url</code> in <code>_config.yml</code>" in page
    assert "no Colab, source and issue buttons" in printed
    # Icons are in the page, and neither the script that would draw them nor the fonts are loaded.
    assert "fontawesome.js" not in page and '<i class="fa' not in page and page.count("svg-inline--fa") > 10
    assert not list((html / "_static").glob("scripts/fontawesome*"))


def test_a_kernel_whose_port_was_taken_is_started_again(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import papermill

    write_notebook(checkout, "print('here')")
    tries, start = [], papermill.execute_notebook

    def taken_at_first(*arguments: object, **options: object) -> object:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("Kernel died before replying to kernel_info")
        return start(*arguments, **options)

    monkeypatch.setattr(papermill, "execute_notebook", taken_at_first)
    build(checkout, only=["one"])
    assert len(tries) == 2
