"""The rendered book: complete, readable offline, and its buttons lead to tracked files."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import build as book
import check_site
import pairing
import pytest
import yaml
from address import github_origin, is_placeholder
from PIL import Image

ROOT = Path(__file__).parents[2]
COLAB = "https://colab.research.google.com/github/"


def toc_files() -> list[str]:
    """Every document that _toc.yml names."""
    text = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    return re.findall(r"(?:file|root): (\S+)", text)


def test_every_document_has_a_page(site: Path) -> None:
    assert (site / "index.html").is_file()
    for name in toc_files():
        assert (site / f"{name}.html").is_file(), name
    pages = {str(path.relative_to(site).with_suffix("")) for path in check_site.read_site(site)}
    assert pages - set(toc_files()) == {"index", "genindex", "py-modindex", "search"}


def test_links_resolve_and_nothing_loads_from_outside(site: Path) -> None:
    assert list(check_site.check(site)) == []


def test_every_notebook_was_executed(build_folder: Path) -> None:
    notebooks = sorted((build_folder / "src" / "notebooks").glob("*.ipynb"))
    assert [path.stem for path in notebooks] == [path.stem for path in pairing.scripts(ROOT)]
    for path in notebooks:
        code = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
        counts = [cell["execution_count"] for cell in code if cell["source"]]  # with gaps: set-up is one cell
        assert None not in counts and counts == sorted(counts), path.name
        assert not [out for cell in code for out in cell["outputs"] if out.get("name") == "stderr"]


def test_charts_are_drawn_and_pictures_are_sharp(build_folder: Path) -> None:
    """SVG, or twice the pixels of its place on the page."""
    for path in sorted((build_folder / "src" / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for out in cell.get("outputs", []):
                for kind in {"image/png", "image/jpeg"} & out.get("data", {}).keys():
                    place = f"{path.name}: {''.join(cell['source'])[:80]}"
                    with Image.open(io.BytesIO(base64.b64decode("".join(out["data"][kind])))) as picture:
                        width = out["metadata"].get(kind, {}).get("width")
                        assert width is not None and picture.width >= min(2 * width - 1, book.WIDEST), place


def test_pages_show_no_failure_and_no_folder_of_this_machine(site: Path, build_folder: Path) -> None:
    for path in check_site.read_site(site):
        text = path.read_text(encoding="utf-8")
        assert "Traceback (most recent call last)" not in text, path.name
        for folder in (ROOT, build_folder):
            assert str(folder) not in text, f"{path.name} shows {folder}"


def test_authors_have_their_letters(site: Path) -> None:
    """BibTeX's escapes of stacked accents would come through as backslashes."""
    text = (site / "book" / "references.html").read_text(encoding="utf-8")
    assert "Nguyễn" in text and "\\" not in re.search(r"<article.*?</article>", text, re.DOTALL)[0]


def test_formulas_are_mathml(site: Path) -> None:
    text = (site / "book" / "protocol.html").read_text(encoding="utf-8")
    assert text.count("<math") >= 5
    assert "MathJax" not in text and r"\frac" not in text


def test_the_colab_cell_is_not_shown(site: Path) -> None:
    for script in pairing.scripts(ROOT):
        assert "google.colab" not in (site / "notebooks" / f"{script.stem}.html").read_text(encoding="utf-8")


def test_the_book_is_light(site: Path) -> None:
    pages = check_site.read_site(site)
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 25e6
    for path in pages:
        images = set(re.findall(r'src="([^":]+\.(?:svg|png|jpg))"', path.read_text(encoding="utf-8")))
        assert path.stat().st_size + sum((path.parent / name).stat().st_size for name in images) < 2.5e6, path.name


# --- buttons -----------------------------------------------------------------------------------------------------


PLACEHOLDER = pairing.book_repository(ROOT)[0]


def address() -> str | None:
    """The repository's address, as `make book` finds it."""
    return github_origin(ROOT) if is_placeholder(PLACEHOLDER) else PLACEHOLDER


def tracked(path: str) -> bool:
    """Whether the repository holds this file (in a checkout with uncommitted files: whether git would take it)."""
    if not (ROOT / ".git").exists():
        return (ROOT / path).is_file()
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", path]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() == path


def target(url: str) -> str | None:
    """Path in the repository that a Colab or repository address opens; None for an address of another kind.

    Raises:
        AssertionError: the address names another repository or another version than _config.yml.
    """
    tag = pairing.book_repository(ROOT)[1]
    repository = address() or PLACEHOLDER
    if url.startswith(COLAB):
        owner_and_name = "/".join(urlsplit(repository).path.strip("/").split("/"))
        start = f"{COLAB}{owner_and_name}/blob/{tag}/"
    elif url.startswith(f"{repository}/") and not url.startswith(f"{repository}/issues/"):
        start = f"{repository}/blob/{tag}/"
    else:
        return None
    assert url.startswith(start), url
    return unquote(urlsplit(url[len(start) :]).path)


def test_without_an_address_there_are_no_buttons_but_a_line_that_says_so(site: Path) -> None:
    if address() is not None:
        pytest.skip("this checkout has an address")
    for path, page in check_site.read_site(site).items():
        assert not [url for url in page.outside if url.startswith((COLAB, PLACEHOLDER))], path.name
    text = (site / "book" / "protocol.html").read_text(encoding="utf-8")
    assert text.count("Set <code>repository: url</code> in <code>_config.yml</code>") == 1


def test_every_button_leads_to_a_tracked_file(site: Path) -> None:
    seen = set()
    for path, page in check_site.read_site(site).items():
        for url in page.outside:
            if (name := target(url)) is not None:
                assert tracked(name), f"{path.name}: {url}"
                seen.add(name)
    if address() is not None:
        assert {"notebooks/index.ipynb", "book/protocol.md"} <= seen


@pytest.mark.parametrize(
    "url",
    [
        COLAB + "someone/else/blob/v0.1.0/notebooks/datasets.ipynb",
        COLAB + "example/retlib/blob/main/notebooks/datasets.ipynb",
    ],
)
def test_a_button_to_another_place_is_noticed(url: str) -> None:
    with pytest.raises(AssertionError):
        target(url)


def test_an_untracked_file_is_noticed() -> None:
    assert tracked("README.md") and not tracked("notebooks/no-such.ipynb")


# --- API ---------------------------------------------------------------------------------------------------------


def test_every_module_is_on_an_api_page() -> None:
    import pkgutil

    import retlib

    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "book" / "api").glob("*.md"))
    modules = [module.name for module in pkgutil.walk_packages(retlib.__path__, "retlib.")]
    public = [name for name in modules if not any(part.startswith("_") for part in name.split("."))]
    missing = [name for name in public if f"automodule:: {name}\n" not in pages]
    assert not missing, f"add to a page under book/api: {missing}"


def test_public_names_are_described_once(site: Path) -> None:
    """Under the name that people import."""
    text = (site / "book" / "api" / "data.html").read_text(encoding="utf-8")
    assert 'id="retlib.data.FundusSample"' in text and 'id="retlib.data.sample.FundusSample"' not in text
    assert 'href="#retlib.data.FundusSample"' in text  # from type hints


# --- the checker -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="gone.html">x</a>', "missing file: gone.html"),
        ('<a href="#gone">x</a>', "missing anchor: #gone"),
        ('<img src="a.png">', "image without alternative text: a.png"),
        ('<img src="a.png" alt="_images/a.png">', "image without alternative text: a.png"),
        ('<script src="https://cdn.example.org/x.js"></script>', "loads from outside: https://cdn.example.org/x.js"),
        ('<link rel="stylesheet" href="//cdn.example.org/x.css">', "loads from outside: //cdn.example.org/x.css"),
        ('<p id="a">x</p><p id="a">y</p>', "id stands twice: a"),
        ("<button><svg></svg></button>", "button without a name"),
        ("<details><summary><span></span></summary>x</details>", "summary without a name"),
        ("<table><tr><th>&nbsp;</th></tr></table>", "th without a name"),
        ("<article><h1>x</h1><h3>y</h3></article>", "heading h3 follows h1"),
        ("<article><h2>x</h2></article>", "heading h2 follows no heading"),
    ],
)
def test_the_checker_notices(tmp_path: Path, body: str, problem: str) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "index.html").write_text(f"<html><body>{body}</body></html>", encoding="utf-8")
    assert [text for _, text in check_site.check(tmp_path)] == [problem]


def test_the_checker_passes_a_sound_page(tmp_path: Path) -> None:
    body = '<h1 id="top">x</h1><a href="#top">x</a><a href="https://example.org">x</a><img src="a.png" alt="A line.">'
    body += '<button aria-label="Save"><svg></svg></button><summary><b>More</b></summary><th>x</th>'
    body += "<article><h1>x</h1><h2>y</h2><h3>z</h3><h2>y</h2></article>"
    (tmp_path / "a.png").touch()
    (tmp_path / "index.html").write_text(body, encoding="utf-8")
    assert list(check_site.check(tmp_path)) == []


def test_nothing_of_ours_is_excused_from_nitpicking() -> None:
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["sphinx"]["config"]
    names = [
        "retlib",
        "retlib.data.FundusSample",
        "FundusSample",
        "RunConfig",
        "build_model",
        "Record",
        "Paper",
        "Store",
    ]
    for kind, pattern in config["nitpick_ignore_regex"]:
        for name in names:
            assert not (re.fullmatch(kind, "py:class") and re.fullmatch(pattern, name)), (pattern, name)
