"""The files that install the study agree with one another, and nothing goes into the repository that should not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata, util
from pathlib import Path

import pytest
import yaml
from colab import pinned
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
MAX_BYTES = 1_500_000


def tracked_files() -> list[Path]:
    """Files that git holds or would take, so that a mistake shows before it is committed."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this is no git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def closure(*extras: str) -> dict[str, set[str]]:
    """Every package that retlib needs with these extras on this machine, and who asks for it."""
    wanted = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    queue, needed = [("retlib", Requirement(line)) for line in wanted], {}
    while queue:
        parent, requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        if name == "retlib":
            queue += [("retlib", Requirement(line)) for extra in requirement.extras for line in EXTRAS[extra]]
            continue
        known = name in needed
        needed.setdefault(name, set()).add(parent)
        if known and not requirement.extras:
            continue
        for line in metadata.requires(name) or []:
            child = Requirement(line)
            environments = [{"extra": extra} for extra in ("", *requirement.extras)]
            if child.marker is None or any(child.marker.evaluate(environment) for environment in environments):
                queue.append((name, child))
    return needed


# --- what is installed -------------------------------------------------------------------------------------------


def test_constraints_pin_everything_that_is_needed() -> None:
    needed = closure("book", "test")
    missing = {name: parents for name, parents in needed.items() if name not in pinned()}
    assert not missing, f"not in constraints.txt: {missing}"
    assert len(needed) > 100


def test_what_is_installed_is_what_the_constraints_say() -> None:
    wrong = {
        name: (metadata.version(name), pinned()[name])
        for name in closure("book", "test")
        if metadata.version(name) != pinned()[name]
    }
    assert not wrong, f"installed, pinned: {wrong}. Run `make setup`."


def test_pins_work_on_every_python_that_is_promised() -> None:
    """A pin that wants a later patch release of Python would break the set-up on a distribution's own Python."""
    oldest = re.fullmatch(r">=(\d+\.\d+)", PROJECT["requires-python"])[1] + ".0"
    too_new = {
        name: metadata.metadata(name).get("Requires-Python")
        for name in closure("book", "test")
        if not SpecifierSet(metadata.metadata(name).get("Requires-Python") or "").contains(oldest)
    }
    assert not too_new


def test_constraints_are_plain_pins() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        # no address, no host, no local build such as +cu130, no marker: both uv and pip take such lines from any index
        assert line.startswith("#") or re.fullmatch(r"[a-z0-9][a-z0-9-]*==[0-9][0-9a-z.]*", line), line
    names = [line.split("==")[0] for line in lines if not line.startswith("#")]
    assert names == sorted(set(names))


def test_pyproject_admits_the_pinned_versions() -> None:
    for line in [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]:
        requirement = Requirement(line)
        if requirement.name != "retlib":
            version = pinned()[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version, prereleases=True), f"{line} excludes {version}"


def test_the_older_torch_is_admitted_too() -> None:
    bounds = {Requirement(line).name: Requirement(line).specifier for line in PROJECT["dependencies"]}
    assert bounds["torch"].contains("2.11.0") and bounds["torchvision"].contains("0.26.0")


def test_conda_installs_the_same_set() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    # Python and pip come from conda, every library from the same constraints as `make setup`.
    assert pip == ["-c constraints.txt", "-e .[book,test]"]
    assert sorted(re.split("[=<>]", entry)[0] for entry in conda) == ["pip", "python"]
    python = next(entry for entry in conda if entry.startswith("python")).split("=")[1]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "-c constraints.txt -e '.[book,test]'" in makefile


def test_opencv_builds_are_pinned_alike() -> None:
    # Both fill one cv2 folder, so two versions would be a mixture.
    assert pinned()["opencv-python"] == pinned()["opencv-python-headless"]


# --- cv2 without a screen ----------------------------------------------------------------------------------------

SCREEN = re.compile(r"lib(GL|EGL|GLX|X11|xcb|Qt|gtk|gthread|glib)", re.IGNORECASE)


def needed_libraries(binary: Path) -> list[str]:
    """Shared libraries that an ELF file names, read without loading it."""
    found = subprocess.run(["readelf", "-d", binary], capture_output=True, text=True, check=True).stdout
    return re.findall(r"\(NEEDED\).*\[(.+)\]", found)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="wheels for other systems bring what they need")
def test_cv2_needs_no_screen_libraries() -> None:
    """Fails with opencv-python's build, whose cv2 links Qt, which links libGL and libgthread of the system."""
    folder = Path(util.find_spec("cv2").origin).parent
    (extension,) = folder.glob("cv2*.so")
    if shutil.which("readelf"):
        linked = needed_libraries(extension)
        assert linked, "readelf found no libraries at all"
    else:  # a machine without binutils: the names stand in the file's string table
        linked = [name.decode() for name in re.findall(rb"lib[\w.+-]+\.so[\w.]*", extension.read_bytes())]
    assert not [name for name in linked if SCREEN.match(name)], "run `make setup`, or see the README on OpenCV and pip"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_importing_cv2_maps_no_screen_library() -> None:
    code = "import cv2; print(open('/proc/self/maps').read())"
    maps = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {Path(line.split()[-1]).name for line in maps.splitlines() if ".so" in line}
    assert any(name.startswith("cv2") for name in loaded)
    assert not sorted(name for name in loaded if SCREEN.match(name))


# --- one version, one address ------------------------------------------------------------------------------------


def test_the_version_is_the_same_everywhere() -> None:
    import retlib

    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert retlib.__version__ == PROJECT["version"] == citation["version"]
    assert config["repository"]["branch"] == f"v{PROJECT['version']}"


def test_the_address_of_the_repository_stands_in_one_place() -> None:
    address = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
    holders = [
        path.relative_to(ROOT)
        for path in tracked_files()
        # the first cell of a notebook is written from _config.yml, and tests hold it to that
        if path.parent.name != "notebooks" and address in path.read_text(encoding="utf-8", errors="ignore")
    ]
    assert holders == [Path("_config.yml")]


def test_importing_retlib_is_cheap() -> None:
    code = (
        "import sys, retlib, retlib.data\n"
        "print([name for name in ('torch', 'pandas', 'cv2', 'albumentations', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_package_data_is_declared() -> None:
    """What retlib reads beside its code has to be in the wheel."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    for path in (ROOT / "retlib").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".py":
            assert any(path.match(pattern) for pattern in patterns), f"{path} would be left out of a wheel"


# --- commands ----------------------------------------------------------------------------------------------------


def make(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run make and keep what it prints."""
    return subprocess.run(["make", *arguments], cwd=cwd, capture_output=True, text=True)


def test_make_without_a_target_shows_the_targets() -> None:
    done = make()
    assert done.returncode == 0
    for target in ("setup", "book", "test", "reproduce", "lint", "serve", "clean", "help"):
        assert re.search(rf"^  make {target} +\S", done.stdout, re.MULTILINE), f"{target} is not described"


def test_an_old_python_is_refused_in_one_line(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    old = tmp_path / "old python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = make("setup", f"PYTHON='{old}'", cwd=tmp_path)
    assert done.returncode != 0
    assert "needs Python 3.11 or newer, found: Python 3.9.2" in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_the_gate_runs_the_suite() -> None:
    gate = ROOT / ".ci" / "run"
    text = gate.read_text(encoding="utf-8")
    assert gate.stat().st_mode & 0o111, ".ci/run has to be executable"
    assert text.startswith("#!/usr/bin/env bash") and "set -euo pipefail" in text
    assert re.search(r"^make test$", text, re.MULTILINE)
    subprocess.run(["bash", "-n", gate], check=True)


# --- what must not go in -----------------------------------------------------------------------------------------

HOMES = ["/" + name for name in ("root", "work", "Users", "mnt")]
PLACES = re.compile(r"(?<![\w.~:/}])(" + "|".join(HOMES) + r"|/home/\w+)/\w")
DATA_FILE = re.compile(
    r"(\d\d_(training|test|manual[12])|im0\d{3}|Image_\d\d[LR](_\w+)?|\d\d_(dr|g|h)(_mask)?)\.[\w.]+$|\.(tiff?|ppm|ppm\.gz|gif|jpe?g|mat|pth?)$",
    re.IGNORECASE,
)


def test_pages_that_the_readme_names_exist() -> None:
    named = re.findall(r"book's\s+page\s+\*([^*]+)\*", (ROOT / "README.md").read_text(encoding="utf-8"))
    pages = {file: r"^# (.+)$" for file in (ROOT / "book").glob("*.md")}
    pages |= {file: r"^# # (.+)$" for file in (ROOT / "notebooks").glob("*.py")}
    titles = {re.search(start, file.read_text(encoding="utf-8"), re.MULTILINE)[1] for file, start in pages.items()}
    assert len(named) > 4
    assert {" ".join(title.split()) for title in named} <= titles


def test_no_file_knows_this_machine() -> None:
    found = {}
    for path in tracked_files():
        text = path.read_text(encoding="utf-8", errors="ignore")
        hits = [match[0] for match in PLACES.finditer(text)] + ([str(ROOT)] if str(ROOT) in text else [])
        if hits:
            found[str(path.relative_to(ROOT))] = hits[:3]
    assert not found


def is_shipped(path: Path) -> bool:
    """Whether a file is the weights of the one network that comes with the package."""
    return path.parent == ROOT / "retlib" / "weights" and path.with_suffix(".json").is_file()


def test_no_data_and_no_weights() -> None:
    # One reduced photograph of CHASE_DB1 (CC BY 4.0), shown with its credit line.
    allowed = {ROOT / "book" / "_static" / "example-photograph.jpg"}
    found = {path for path in tracked_files() if DATA_FILE.search(path.name) and not is_shipped(path)}
    assert found == allowed


def test_no_big_files() -> None:
    sizes = {path: path.stat().st_size for path in tracked_files()}
    assert not {
        path.name: size for path, size in sizes.items() if size > (2_000_000 if is_shipped(path) else MAX_BYTES)
    }


def test_no_notebook_with_outputs() -> None:
    for path in tracked_files():
        if path.suffix == ".ipynb":
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
                assert not cell.get("outputs") and cell.get("execution_count") is None, f"{path.name} has outputs"


@pytest.mark.parametrize(
    ("name", "is_data"),
    [
        ("21_training.tif", True),
        ("im0001.ah.ppm.gz", True),
        ("Image_01L_1stHO.png", True),
        ("Image_01L.jpg", True),
        ("01_dr_mask.tif", True),
        ("drive-test.best.png", False),
        ("weights.pt", True),
        ("book.css", False),
    ],
)
def test_the_pattern_for_data_files(name: str, is_data: bool) -> None:
    assert bool(DATA_FILE.search(name)) == is_data


@pytest.mark.parametrize(
    ("text", "is_place"),
    [
        ("in " + HOMES[0] + "/project", True),
        ("'" + HOMES[1] + "/shared'", True),
        ("/home" + "/ada/data", True),
        (".." + HOMES[1] + "/x", False),
        ("https://example.org" + HOMES[1] + "/x", False),
        ("~/retina", False),
    ],
)
def test_the_pattern_for_places(text: str, is_place: bool) -> None:
    assert bool(PLACES.search(text)) == is_place
