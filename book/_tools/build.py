"""Execute every notebook and render the book.

    python book/_tools/build.py                            the whole book into _build/html
    python book/_tools/build.py --only resaspp-unet        execute one notebook, render nothing
    python book/_tools/build.py -p profile smoke           with papermill parameters

The executed notebooks are staged beside a copy of book/, _config.yml and _toc.yml in _build/src under their committed
relative paths, and rendered there: every button of the book then points at a tracked file, and nothing in the
checkout changes. _build/html exists only when the last build succeeded.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from address import github_origin, with_address
from finish import finish
from pairing import ROOT, NotebookError, execute, find_notebook, own_kernel, parse_parameters, scripts, stale_files

JOBS = min(4, os.cpu_count() or 1)  # a kernel takes about 1.3 GB of memory
WIDEST = 1800  # pixels of a picture: a page shows it 900 wide, and good screens have two pixels for one


def check_pairs(notebooks: Sequence[Path], root: Path = ROOT) -> None:
    """Refuse to build from notebooks that differ from their scripts."""
    if stale := stale_files(root, notebooks):
        names = ", ".join(str(path.relative_to(root)) for path in stale)
        raise NotebookError(f"out of date: {names}. Run `make notebooks`, look at the difference and build again.")


def stage(output: Path, root: Path = ROOT) -> Path:
    """Copy the book's sources to ``output/src``, with the buttons that the repository's address allows."""
    source = output / "src"
    shutil.rmtree(source, ignore_errors=True)
    (source / "notebooks").mkdir(parents=True)
    shutil.copytree(root / "book", source / "book", ignore=shutil.ignore_patterns("__pycache__", ".*", "_tools"))
    shutil.copy2(root / "_toc.yml", source)
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    if note := with_address(config, github_origin(root)):
        print(note, flush=True)
    (source / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return source


def arrange_opening(path: Path) -> None:
    """Put the summary box of a page below its introduction, and fold the cells that set the page up into one."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = notebook["cells"]
    outputs = [(cell["outputs"], output) for cell in cells for output in cell.get("outputs", [])]
    for siblings, output in outputs:  # the box is the output of a cell that needs the records
        text = "".join(output.get("data", {}).get("text/markdown", ""))
        if 'class="in-short"' in text:
            siblings.remove(output)
            introduction = next(place for place, cell in enumerate(cells) if cell["cell_type"] == "markdown")
            box = {"cell_type": "markdown", "id": "in-short", "metadata": {}, "source": text}
            cells.insert(introduction + 1, box)
            break
    sections = [place for place, cell in enumerate(cells) if re.search("^## ", "".join(cell["source"]), re.MULTILINE)]
    folded = [cell for cell in cells[: min(sections, default=0)] if _sets_up(cell)]
    if folded:
        first, *others = folded
        first["source"] = "\n\n".join("".join(cell["source"]).strip() for cell in folded)
        prompts = {f"code_prompt_{verb}": f"{verb.title()} parameters and set-up" for verb in ("show", "hide")}
        first["metadata"] = {"tags": ["hide-input", "remove-output"], "mystnb": prompts}
        notebook["cells"] = [cell for cell in cells if not any(cell is other for other in others)]
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _sets_up(cell: dict[str, Any]) -> bool:
    """Tell whether a cell's code is folded and the page shows no output of it."""
    tags = cell["metadata"].get("tags", [])
    return "hide-input" in tags and (not cell.get("outputs") or "remove-output" in tags)


def lighter(png: str) -> tuple[str, str]:
    """Reduce a picture, base64 of a PNG, to twice a page's width at most, in the lighter of two formats.

    Returns:
        The media type and the base64 of its file: a PNG of 256 colours, or a JPEG where that takes less than half as
        many bytes, as photographs do.
    """
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        if picture.mode not in ("RGB", "RGBA"):
            return "image/png", png
        colours = picture.convert("RGB")
    if colours.width > WIDEST:
        colours = colours.resize((WIDEST, round(colours.height * WIDEST / colours.width)), Image.Resampling.LANCZOS)
    reduced, photograph = io.BytesIO(), io.BytesIO()
    few = colours.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(reduced, format="PNG", optimize=True)
    colours.save(photograph, format="JPEG", quality=85, subsampling=0, optimize=True)
    is_photograph = 2 * len(photograph.getvalue()) < len(reduced.getvalue())
    kind, file = ("image/jpeg", photograph) if is_photograph else ("image/png", reduced)
    return kind, base64.b64encode(file.getvalue()).decode()


def tidy(path: Path) -> None:
    """Make the pictures of an executed notebook lighter, and drop timings and file names that papermill adds.

    Raises:
        NotebookError: a figure has no alternative text.
    """
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["metadata"].pop("papermill", None)
    for cell in notebook["cells"]:
        for key in ("papermill", "execution"):
            cell["metadata"].pop(key, None)
        for output in cell.get("outputs", []):
            if png := output.get("data", {}).pop("image/png", None):
                kind, picture = lighter("".join(png))
                output["data"][kind] = picture
                if size := output["metadata"].pop("image/png", None):
                    output["metadata"][kind] = size
        has_image = any(kind.startswith("image/") for out in cell.get("outputs", []) for kind in out.get("data", {}))
        if has_image and not cell["metadata"].get("mystnb", {}).get("image", {}).get("alt"):
            head = "".join(cell["source"]).strip().splitlines()[:2]
            raise NotebookError(
                f"notebooks/{path.name}: a figure has no alternative text; give its cell the metadata "
                f'mystnb={{"image": {{"alt": "..."}}}}. The cell begins: {" / ".join(head)}'
            )
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def execute_one(notebook: Path, target: Path, parameters: Mapping[str, Any]) -> float:
    """Execute and tidy one notebook; return seconds."""
    seconds = execute(notebook, target, parameters, cwd=target.parent, progress=False)
    tidy(target)
    return seconds


def execute_all(
    notebooks: Sequence[Path], source: Path, parameters: Mapping[str, Any], jobs: int = JOBS, progress: bool = True
) -> dict[str, float]:
    """Execute ``notebooks`` into ``source/notebooks``, ``jobs`` at a time; return seconds by name.

    The kernels share the cores, since with more threads than cores they would wait for one another, and the hashes of
    the data files. After a failure no further notebook is started.
    """
    jobs = max(1, min(jobs, len(notebooks)))
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // jobs))
    times: dict[str, float] = {}

    def report(notebook: Path, seconds: float) -> None:
        times[notebook.stem] = seconds
        if progress:
            print(f"[{len(times)}/{len(notebooks)}] notebooks/{notebook.name}: {seconds:.0f} s", flush=True)

    hashes = source.parent / "hashes"
    shutil.rmtree(hashes, ignore_errors=True)
    hashes.mkdir(parents=True)
    shared = {"OMP_NUM_THREADS": threads, "RETLIB_HASHES": str(hashes)}
    with own_kernel(source.parent / "kernel", quiet=True), mock.patch.dict(os.environ, shared):
        tasks = {notebook: (notebook, source / "notebooks" / notebook.name, parameters) for notebook in notebooks}
        if jobs == 1:
            for notebook, task in tasks.items():
                report(notebook, execute_one(*task))
            return times
        # Not forked: the process that builds may have threads.
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            runs = {pool.submit(execute_one, *task): notebook for notebook, task in tasks.items()}
            try:
                for run in as_completed(runs):
                    report(runs[run], run.result())
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    return times


def render(source: Path, output: Path, root: Path = ROOT) -> Path:
    """Render the staged book with warnings as errors, finish its pages and put it in ``output/html``."""
    for notebook in (source / "notebooks").glob("*.ipynb"):
        arrange_opening(notebook)
    site = output / "site"
    shutil.rmtree(site, ignore_errors=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(source)]
    command += ["--path-output", str(site), "--all", "-W", "-n", "--keep-going"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_ALBUMENTATIONS_UPDATE": "1", "NO_COLOR": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    log = output / "render.log"
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    log.write_text(text, encoding="utf-8")
    if done.returncode:
        complaints = [line[:400] for line in text.splitlines() if re.search(r"WARNING|ERROR|CRITICAL", line)]
        shown = "\n".join(dict.fromkeys(complaints)).replace(f"{source}{os.sep}", "") or text[-3000:]
        raise NotebookError(f"the book was not rendered; the whole output: {log}\n\n{shown}")
    finish(site / "_build" / "html", root / "notebooks")
    html = output / "html"
    shutil.rmtree(html, ignore_errors=True)
    (site / "_build" / "html").rename(html)
    shutil.rmtree(site, ignore_errors=True)
    return html


def build(
    output: Path,
    only: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    progress: bool = True,
    root: Path = ROOT,
    jobs: int = JOBS,
) -> Path | None:
    """Execute the notebooks and render the book.

    Args:
        output: build folder; ``src``, ``html`` and ``render.log`` go into it.
        only: keys of the notebooks to execute; then nothing is rendered.
        parameters: papermill parameters for every notebook that is executed.
        progress: print a line for each notebook that is done, and the seconds of each in the end.
        root: the checkout.
        jobs: notebooks that are executed at a time.

    Returns:
        Folder of the pages; None with ``only``.

    Raises:
        NotebookError: a notebook is out of date or failed, or the renderer warned.
    """
    start = time.perf_counter()
    if not only:
        shutil.rmtree(output / "html", ignore_errors=True)
    chosen = [find_notebook(key, root) for key in only]
    check_pairs(chosen or scripts(root), root)
    chosen = chosen or sorted((root / "notebooks").glob("*.ipynb"))
    source = stage(output, root)
    times = execute_all(chosen, source, parameters or {}, jobs, progress)
    html = None
    if not only:
        print("rendering", flush=True)
        before = time.perf_counter()
        html = render(source, output, root)
        times["rendering"] = time.perf_counter() - before
    for name, seconds in times.items():
        print(f"  {name:<24}{seconds:6.1f} s")
    print(f"  {'total':<24}{time.perf_counter() - start:6.1f} s")
    return html


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="KEY", help="execute these notebooks, render nothing")
    parser.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"notebooks executed at a time (default: {JOBS})")
    parser.add_argument("--output", type=Path, default=ROOT / "_build", help="build folder (default: _build)")
    options = parser.parse_args(arguments)
    output = options.output.resolve()
    try:
        html = build(output, options.only, parse_parameters(options.parameter), jobs=options.jobs)
    except NotebookError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, say; copying a folder collects (source, target, reason) of each file
        reason = ": ".join(map(str, error.args[0][0][1:])) if isinstance(error, shutil.Error) else error
        print(f"\nthe book was not written: {reason}", file=sys.stderr)
        return 1
    if html:
        print(f"\nThe book is ready: open {(html / 'index.html').as_uri()}")
    else:
        print(f"\nThe executed notebooks are in {output / 'src' / 'notebooks'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
