"""The API pages say what a person would write: no type that only a checker reads, no text of a tool about itself."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MODULES = [  # with array arguments, fields of each kind, a command, and names that two modules share
    "retlib",
    "retlib.metrics",
    "retlib.training",
    "retlib.training.checkpoints",
    "retlib.training.sampling",
    "retlib.training.settings",
    "retlib.data",
    "retlib.data.checksums",
    "retlib.data.collections",
    "retlib.data.download",
    "retlib.data.pack",
    "retlib.predict.command",
    "retlib.study",
    "retlib.study.printed",
    "retlib.study.commands",
]
CHECKERS = re.compile(
    r"_SupportsArray|_Buffer|_NestedSequence|<factory>|object at 0x|<class |<function |<built-in|Annotated\["
    r"|Alias for field|model_config|conforming to|ndarray\[tuple"
)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[str]], str]:
    """A page with some modules: name -> its signatures, and the whole text.

    Built by another process, because the extension changes what functions say of themselves.
    """
    folder = tmp_path_factory.mktemp("api")
    page = "API\n===\n" + "".join(f"\n.. automodule:: {name}\n   :members:\n" for name in MODULES)
    (folder / "index.rst").write_text(page, encoding="utf-8")
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["sphinx"]["config"]
    kept = {key: value for key, value in settings.items() if key.startswith(("autodoc", "napoleon", "python", "add_"))}
    lines = [f"import sys\nsys.path[:0] = [{str(ROOT / 'book' / '_ext')!r}, {str(ROOT)!r}]"]
    lines += [f"{key} = {value!r}" for key, value in kept.items()]
    lines += ["extensions = ['sphinx.ext.autodoc', 'api_docs']", "html_theme = 'basic'", "nitpicky = False"]
    (folder / "conf.py").write_text("\n".join(lines), encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", str(folder), str(folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (folder / "out" / "index.html").read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for name, inside in re.findall(r'<dt class="sig[^>]*id="([^"]+)"[^>]*>(.*?)</dt>', text, re.DOTALL):
        found.setdefault(name, []).append(plain(inside))
    return found, plain(text)


def plain(page: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", page))).replace("¶", "").strip()


def test_nothing_is_written_for_a_type_checker(described: tuple) -> None:
    found, text = described
    assert len(found) > 150
    assert CHECKERS.findall(text) == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("retlib.metrics.confusion", "(prediction: ArrayLike, vessels: ArrayLike, fov: ArrayLike | None = None)"),
        ("retlib.evaluate", "metrics: Iterable[str] = METRICS) → dict[str, float]"),
        ("retlib.metrics.ScoreHistograms.from_logits", "classmethod from_logits(names: Sequence[str], logits:"),
        ("retlib.training.Trained", "resumed_from: list[float] = ..."),
        ("retlib.training.TrainingSettings", "class TrainingSettings"),
        ("retlib.data.collections.Collection", "group: Callable[[str], str] = str,"),
        ("retlib.data.pack.pack", "collections: Sequence[Collection] = tuple(COLLECTIONS.values()))"),
        ("retlib.predict.command.predict", "photographs: list[str], output: str, overlay: bool = False,"),
        ("retlib.study.commands.reproduce", "(keys: list[str] | None = None, profile: str = 'paper',"),
    ],
)  # fmt: skip
def test_signatures_are_as_in_the_source(described: tuple, name: str, shown: str) -> None:
    (signature,) = described[0][name]
    assert shown in signature.replace('"', "'")


def test_a_model_lists_its_fields_once(described: tuple) -> None:
    found, text = described
    assert "augmented_copies – int | Literal['each'], default 0, at least 0" in text.replace("‘", "'").replace("’", "'")
    assert "corner – (top, left) of a tile of a grid" in text  # of a named tuple
    assert "samples_expected – Samples of the data set." in text  # of a dataclass
    assert not {"retlib.training.sampling.SampleIndex.corner", "retlib.data.checksums.Presence.files"} & set(found)
    assert "alias of str" in text  # which pydantic checks further


def test_no_page_of_the_book_shows_what_only_a_checker_reads(site: Path) -> None:
    pages = sorted((site / "book" / "api").glob("*.html"))
    assert len(pages) > 10
    assert {page.stem: found for page in pages if (found := CHECKERS.findall(plain(page.read_text("utf-8"))))} == {}
