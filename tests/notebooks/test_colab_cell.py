"""The cell that opens every notebook: nothing at home, and on Colab nothing that moves Colab's numpy or torch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import types
from importlib import metadata
from pathlib import Path

import colab
import pairing
import pytest

ROOT = Path(__file__).parents[2]
HEAVY = re.compile(r"(numpy|scipy|torch|torchvision|opencv[\w-]*|pandas|scikit[\w-]*|matplotlib|pillow)\b")


@pytest.fixture
def content(tmp_path: Path) -> Path:
    """What stands for Colab's /content."""
    return tmp_path


@pytest.fixture
def recorded(content: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that the cell would run; none is run, but a clone gets the files that the set-up reads."""
    commands: list[list[str]] = []

    def record(command: list[str], **options: object) -> None:
        assert options == {"check": True}, "a command that fails has to stop the notebook"
        commands.append(command)
        if command[:2] == ["git", "clone"]:
            for name in ("book/_tools/colab.py", "constraints.txt"):
                (Path(command[-1]) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, Path(command[-1]) / name)

    monkeypatch.setattr(subprocess, "run", record)
    monkeypatch.setattr(os, "chdir", lambda path: commands.append(["chdir", str(path)]))
    return commands


def run_cell(content: Path) -> dict:
    """Run the cell as a notebook would; its global names."""
    namespace: dict = {}
    exec(pairing.colab_cell(ROOT).replace("/content/", f"{content}/"), namespace)
    return namespace


def pretend_colab(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]) -> None:
    """Colab's marker module, and these packages as the only installed ones."""
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    present = [types.SimpleNamespace(name=name, version=version) for name, version in versions.items()]
    monkeypatch.setattr(metadata, "distributions", lambda: present)


def test_it_does_nothing_outside_colab(recorded: list, content: Path) -> None:
    assert "google.colab" not in sys.modules
    run_cell(content)
    assert recorded == []


def test_on_colab_it_clones_the_books_version(recorded: list, content: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_colab(monkeypatch, {})
    run_cell(content)
    clone, install, chdir = recorded
    url, tag = pairing.book_repository(ROOT)
    assert clone[:2] == ["git", "clone"] and "--depth=1" in clone and f"--branch={tag}" in clone
    folder = clone[-1]
    assert clone[-2] == url and folder.endswith(tag)
    assert install[:4] == [sys.executable, "-m", "pip", "install"] and folder in install
    assert chdir == ["chdir", f"{folder}/notebooks"]  # so that ../book/records is where the book expects it


def test_on_colab_nothing_heavy_is_moved(recorded: list, content: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_colab(monkeypatch, {"numpy": "1.0", "torch": "1.0", "opencv-python": "1.0"})
    run_cell(content)
    install = recorded[1]
    assert "--no-deps" in install
    packages = [word for word in install if "==" in word]
    assert packages == [f"{name}=={colab.pinned()[name]}" for name in colab.PACKAGES]
    assert not [word for word in packages if HEAVY.match(word)]
    assert not {"-U", "--upgrade", "--force-reinstall"} & set(install)


@pytest.mark.parametrize(
    ("changed", "installed"),
    [
        ({}, []),
        ({"stringzilla": "0.0.1", "pooch": "0.0.1"}, []),  # its albumentations works with what is there
        ({"pooch": None}, ["pooch"]),
        ({"albumentations": "0.0.1"}, ["albumentations"]),
        ({"albumentations": None, "albucore": "0.0.1"}, ["albumentations", "albucore"]),
    ],
)
def test_what_colab_has_is_left_alone(
    recorded: list, content: Path, monkeypatch: pytest.MonkeyPatch, changed: dict, installed: list[str]
) -> None:
    pins = colab.pinned()
    versions = {name: pins[name] for name in colab.PACKAGES} | changed
    pretend_colab(monkeypatch, {name: version for name, version in versions.items() if version is not None})
    run_cell(content)
    assert [word for word in recorded[1] if "==" in word] == [f"{name}=={pins[name]}" for name in installed]


def test_a_second_run_does_not_clone_again(recorded: list, content: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_colab(monkeypatch, {})
    run_cell(content)
    run_cell(content)
    assert [command[0] for command in recorded] == ["git", sys.executable, "chdir", sys.executable, "chdir"]


def test_it_leaves_no_names_that_look_like_parameters(
    recorded: list, content: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retlib.study import check_parameters

    pretend_colab(monkeypatch, {})
    namespace = run_cell(content)
    assert len(recorded) == 3
    check_parameters(namespace)  # refuses every name that is not a parameter


def test_the_cell_is_short() -> None:
    assert len(pairing.colab_cell(ROOT).splitlines()) <= 13


def test_small_packages_cover_what_albumentations_needs() -> None:
    """What --no-deps leaves out is either listed itself or one of the heavy ones that Colab has."""
    names = set(colab.PACKAGES)
    for package in ("albumentations", "albucore"):
        for line in metadata.requires(package):
            name = re.split(r"[ ;<>=!~\[]", line)[0].lower()
            if "extra ==" not in line and "python_version <" not in line:
                assert name in names or HEAVY.match(name) or name in {"pyyaml", "pydantic"}, line
