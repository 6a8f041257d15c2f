"""Set up Colab for a notebook: install this checkout of retlib and the few small packages that Colab lacks.

The first cell of every notebook clones the repository and runs this file. All packages are installed without their
dependencies, so Colab's own numpy, torch and OpenCV stay as they are.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# What Colab has of these stays, unless its albumentations is another than the one in constraints.txt.
PACKAGES = ("albumentations", "albucore", "simsimd", "stringzilla", "pooch")


def pinned(root: Path = ROOT) -> dict[str, str]:
    """Read the name and version of every package in ``constraints.txt``."""
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def set_up(root: Path = ROOT) -> None:
    """Install what is missing and change to the folder of the notebooks, whose paths are relative to it.

    Raises:
        subprocess.CalledProcessError: pip failed.
    """
    present = {each.name.lower(): each.version for each in metadata.distributions()}
    versions = pinned(root)
    fits = present.get("albumentations") == versions["albumentations"]
    wanted = [name for name in PACKAGES if name not in present or (not fits and present[name] != versions[name])]
    missing = [f"{name}=={versions[name]}" for name in wanted]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, str(root), *missing], check=True)
    os.chdir(root / "notebooks")


if __name__ == "__main__":
    set_up()
