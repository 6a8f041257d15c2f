"""How large the library is, and which of its rooms may import which: figures that are kept by a test."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import retlib

PACKAGE = Path(retlib.__file__).parent
MODULES = {path: path.relative_to(PACKAGE.parent).with_suffix("").parts for path in sorted(PACKAGE.rglob("*.py"))}
MAX_LINES, MAX_STUDY_LINES, MAX_FILE_LINES = 16_506, 5_000, 350


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def room(parts: tuple[str, ...]) -> str:
    """The sub-package or top-level module that a module belongs to; ``retlib`` for the package's own face."""
    parts = tuple(part for part in parts if part != "__init__")
    return parts[1] if len(parts) > 1 else "retlib"


def imports(path: Path) -> set[str]:
    """Rooms of retlib that a file imports from, wherever the import stands."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names if node.module == "retlib"]
        else:
            continue
        rooms |= {room(tuple(name.split("."))) for name in names if name.split(".")[0] == "retlib"}
    return rooms - {"retlib", "__version__"}


def arrows() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path, parts in MODULES.items():
        if room(parts) != "retlib":
            found.setdefault(room(parts), set()).update(imports(path) - {room(parts)})
    return found


def test_the_library_is_thin() -> None:
    assert sum(map(lines, MODULES)) <= MAX_LINES
    assert sum(lines(path) for path, parts in MODULES.items() if room(parts) == "study") <= MAX_STUDY_LINES


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_file_is_read_in_one_sitting(path: Path) -> None:
    assert lines(path) <= MAX_FILE_LINES


def test_rooms_do_not_import_in_a_circle() -> None:
    left = arrows()
    while left:
        free = {name for name, wanted in left.items() if not wanted & left.keys()}
        assert free, f"these import one another in a circle: {left}"
        left = {name: wanted for name, wanted in left.items() if name not in free}


@pytest.mark.parametrize("name", ["predict", "audit", "models", "metrics", "training", "data"])
def test_the_tools_know_nothing_of_the_study(name: str) -> None:
    assert not arrows()[name] & {"study", "papers", "studies"}


def test_papers_and_studies_are_data() -> None:
    for name in ("papers", "studies"):
        code = [path for path, parts in MODULES.items() if room(parts) == name]
        assert [path.name for path in code] == ["__init__.py"] and lines(code[0]) <= 15


def test_the_names_that_people_need_are_on_the_face() -> None:
    assert (
        {"load_dataset", "build_model", "fit", "predict_vessels", "evaluate"} <= set(dir(retlib)) == set(retlib.__all__)
    )
    for name in retlib.__all__:
        assert callable(getattr(retlib, name))
    with pytest.raises(AttributeError, match="no attribute 'gone'"):
        retlib.gone  # noqa: B018


def test_importing_it_loads_no_torch() -> None:
    code = "import retlib, sys; assert not {'torch', 'pandas', 'cv2', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
