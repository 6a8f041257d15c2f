"""Pair the scripts in notebooks/ with clean .ipynb files, write their first cell, execute them with papermill.

    python book/_tools/pairing.py pair                      write notebooks/*.ipynb from notebooks/*.py
    python book/_tools/pairing.py check                     list what `pair` would change; exit status 1 if anything
    python book/_tools/pairing.py run KEY [-p NAME VALUE]   execute one notebook, result in _build/reproduce

The script is the source. Pairs are written from it only, so outputs of an executed notebook never get into a script.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Any
from unittest import mock

import yaml

from retlib.files import write_whole

ROOT = Path(__file__).resolve().parents[2]
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
PYTHON = [sys.executable]  # start of the command line of a kernel

COLAB_CELL = Template("""\
# On Colab: clone this version of the study and install what Colab lacks. Elsewhere this cell does nothing.
import os
import runpy
import subprocess
import sys

if "google.colab" in sys.modules:
    _study = "/content/$name-$tag"
    _clone = f"git clone --quiet --depth=1 --branch=$tag $repository {_study}"
    if not os.path.isdir(_study):
        subprocess.run(_clone.split(), check=True)
    runpy.run_path(f"{_study}/book/_tools/colab.py", run_name="__main__")""")


class NotebookError(Exception):
    """A notebook is wrong or failed; the message is meant for the person at the terminal."""


def book_repository(root: Path = ROOT) -> tuple[str, str]:
    """Read the repository's address, and the tag that the rendered book belongs to, from ``_config.yml``."""
    repository = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]
    return repository["url"].rstrip("/"), repository["branch"]


def colab_cell(root: Path = ROOT) -> str:
    """Write the source of the cell that opens every notebook."""
    url, tag = book_repository(root)
    return COLAB_CELL.substitute(name=url.rsplit("/", 1)[-1], tag=tag, repository=url)


def scripts(root: Path = ROOT) -> list[Path]:
    """List the percent scripts of the study, sorted."""
    return sorted((root / "notebooks").glob("*.py"))


def read_script(text: str) -> Any:
    """Parse a percent script into a notebook."""
    import jupytext

    return jupytext.reads(text, fmt="py:percent")


def paired_script(text: str, root: Path = ROOT) -> str:
    """Bring the kernel header and the Colab cell of a script up to date."""
    import jupytext
    from nbformat.v4 import new_code_cell

    notebook = read_script(text)
    if notebook.cells and "google.colab" in notebook.cells[0].source:
        notebook.cells.pop(0)
    notebook.cells.insert(0, new_code_cell(colab_cell(root), metadata={"tags": ["remove-cell"]}))
    notebook.metadata = {
        "kernelspec": KERNELSPEC,
        "jupytext": {"notebook_metadata_filter": "kernelspec,-all", "cell_metadata_filter": "tags,mystnb,-all"},
    }
    return jupytext.writes(notebook, fmt="py:percent")


def clean_notebook(text: str) -> str:
    """Write the .ipynb of a script: same cells, no outputs, ids that are hashes of the content."""
    import nbformat

    notebook = read_script(text)
    notebook.metadata = {"kernelspec": KERNELSPEC, "language_info": {"name": "python"}}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
        cell.id = f"{digest}-{seen[digest]}" if seen[digest] else digest
        seen[digest] += 1
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nbformat.writes(notebook, indent=1) + "\n"


def stale_files(root: Path = ROOT, only: Iterable[Path] | None = None) -> dict[Path, str]:
    """Map each file under ``notebooks/`` that ``pair`` would change to its new content; ``only`` of these notebooks."""
    chosen = None if only is None else {path.stem for path in only}
    stale = {}
    for script in scripts(root):
        if chosen is not None and script.stem not in chosen:
            continue
        text = script.read_text(encoding="utf-8")
        wanted = paired_script(text, root)
        notebook = script.with_suffix(".ipynb")
        for path, content in ((script, wanted), (notebook, clean_notebook(wanted))):
            if not path.is_file() or path.read_text(encoding="utf-8") != content:
                stale[path] = content
    return stale


def check_nothing_is_lost(root: Path = ROOT) -> None:
    """Refuse to pair when a notebook was edited after its script, since its cells would be overwritten.

    Raises:
        NotebookError: a newer .ipynb has other cells than its script; the message names both ways on.
    """
    import nbformat

    def cells(notebook: Any) -> list[tuple[str, str]]:
        found = [(cell.cell_type, cell.source) for cell in notebook.cells]
        return [cell for cell in found if "google.colab" not in cell[1]]

    for script in scripts(root):
        path = script.with_suffix(".ipynb")
        if not path.is_file() or path.stat().st_mtime_ns <= script.stat().st_mtime_ns:
            continue
        if cells(nbformat.read(path, as_version=4)) != cells(read_script(script.read_text(encoding="utf-8"))):
            raise NotebookError(
                f"notebooks/{path.name} is newer than notebooks/{script.name} and has other cells.\n"
                "Nothing was written. "
                f"To take its cells over: jupytext --sync notebooks/{path.name}\n"
                f"To overwrite it from the script: touch notebooks/{script.name}"
            )


@contextmanager
def own_kernel(folder: Path, quiet: bool = False):
    """Let ``python3`` be this interpreter and this checkout, whatever kernels the machine has registered."""
    spec = {
        "argv": [*PYTHON, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"],
        "display_name": KERNELSPEC["display_name"],
        "language": "python",
        "env": {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
            "NO_ALBUMENTATIONS_UPDATE": "1",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            # tqdm.auto would like ipywidgets, whose pages load scripts from the network.
            "PYTHONWARNINGS": "ignore:IProgress not found",
            "IPYTHONDIR": str(folder / "ipython"),
            # The kernel works in another folder, so a relative data folder is made absolute here.
            **({"RETLIB_DATA": os.path.abspath(data)} if (data := os.environ.get("RETLIB_DATA")) else {}),
            # A page of the book shows results, not progress bars.
            **({"TQDM_DISABLE": "1"} if quiet else {}),
        },
    }
    target = folder / "kernels" / "python3" / "kernel.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(spec, indent=1), encoding="utf-8")
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("JUPYTER_PATH")]))
    with mock.patch.dict(os.environ, JUPYTER_PATH=path):
        yield


def declared_parameters(notebook: Path) -> list[str]:
    """List the names assigned in the cell tagged ``parameters``, in order."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            body = ast.parse("".join(cell["source"])).body
            return [node.target.id for node in body if isinstance(node, ast.AnnAssign)]
    return []


def execute(
    notebook: Path,
    output: Path,
    parameters: Mapping[str, Any] | None = None,
    cwd: Path | None = None,
    progress: bool = True,
    echo: bool = False,
) -> float:
    """Execute ``notebook`` into ``output`` through papermill.

    Args:
        notebook: the .ipynb to run.
        output: file for the executed notebook; after a failure it holds the cells that ran.
        parameters: values for the cell tagged ``parameters``.
        cwd: working folder of the kernel; default: the notebook's own folder.
        progress: show papermill's progress bar.
        echo: print what the cells print, training progress included.

    Returns:
        Seconds it took.

    Raises:
        NotebookError: a parameter is unknown, or a cell failed (the message holds the traceback).
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    known = declared_parameters(notebook)
    if unknown := sorted(set(parameters or {}) - set(known)):
        raise NotebookError(
            f"notebooks/{notebook.name} has no parameter {', '.join(unknown)}; it takes {', '.join(known) or 'none'}"
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    options = {
        "parameters": dict(parameters or {}),
        "cwd": str(cwd or notebook.parent),
        "kernel_name": "python3",
        "progress_bar": progress,
        "stdout_file": sys.stdout if echo else None,
        "stderr_file": sys.stderr if echo else None,
    }
    start = time.perf_counter()
    try:
        try:
            papermill.execute_notebook(notebook, output, **options)
        except RuntimeError as error:
            # Jupyter looks for free ports before the kernel takes them; another kernel may have been faster.
            if "died before replying to kernel_info" not in str(error):
                raise
            papermill.execute_notebook(notebook, output, **options)
    except PapermillExecutionError as error:
        trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
        raise NotebookError(
            f"notebooks/{notebook.name} failed with {error.ename}: {error.evalue}\n"
            f"in its code cell {error.exec_count}; the notebook as far as it came: {output}\n\n{trace}"
        ) from None
    return time.perf_counter() - start


def parse_parameters(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Read values as YAML does: ``3`` is a number, ``[1, 2]`` a list, ``cuda`` a string."""
    return {name: yaml.safe_load(value) for name, value in pairs}


def find_notebook(key: str, root: Path = ROOT) -> Path:
    """Find a notebook by a paper's key or by its own name.

    Raises:
        NotebookError: there is none; the message lists the choices.
    """
    path = root / "notebooks" / f"{key.replace('-', '_')}.ipynb"
    if not path.is_file():
        choices = ", ".join(script.stem.replace("_", "-") for script in scripts(root)) or "none yet"
        raise NotebookError(f"there is no notebook for {key!r}; the choices are: {choices}")
    return path


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("pair", help="write notebooks/*.ipynb from notebooks/*.py")
    commands.add_parser("check", help="exit with status 1 if `pair` would change a file")
    run = commands.add_parser("run", help="execute one notebook in notebooks/")
    run.add_argument("key", help="a paper's key or a notebook's name, such as resaspp-unet")
    run.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    options = parser.parse_args(arguments)
    try:
        if options.command == "run":
            return run_one(options.key, parse_parameters(options.parameter))
        if options.command == "pair":
            check_nothing_is_lost()
        stale = stale_files()
        for path, content in stale.items():
            print(("wrote " if options.command == "pair" else "out of date: ") + str(path.relative_to(ROOT)))
            if options.command == "pair":
                write_whole(path, content.encode())
        if not stale:
            print("every notebook is up to date")
        return int(options.command == "check" and bool(stale))
    except NotebookError as error:
        print(error, file=sys.stderr)
        return 1


def run_one(key: str, parameters: Mapping[str, Any]) -> int:
    """Execute one notebook in its own folder, so that its records are written to ``book/records``."""
    notebook = find_notebook(key)
    suffix = f"-{parameters['profile']}" if "profile" in parameters else ""
    output = ROOT / "_build" / "reproduce" / f"{notebook.stem}{suffix}.ipynb"
    with own_kernel(ROOT / "_build" / "kernel"):
        seconds = execute(notebook, output, parameters, progress=False, echo=True)
    print(f"{notebook.stem}: {seconds:.0f} s; the executed notebook: {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
