"""Measure how fast the study is and write book/records/benchmarks.json, which the book's page about speed shows.

    python tools/bench.py                    the benchmarks in tests/benchmarks, utilisation, seconds a network
    python tools/bench.py --all              and the book: building it, its size, its first paint (needs a Chromium)
    python tools/bench.py --parts networks   only some
    python tools/bench.py --parts --test-seconds 610     only put down what `make test` took

On a quiet machine, please: the load is put down with every line. A line that is not measured stays as it was.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

from measuring import RECORDS, ROOT, machine, read_json, timed, today, use_threads, write_json
from speed_lines import LINES
from tqdm import tqdm

TARGET = RECORDS / "benchmarks.json"
PARTS = ("tests", "utilisation", "networks")
RESULT_PAGES = ("notebooks/one_protocol.html", "book/verdicts.html")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

Found = dict[str, dict[str, Any]]


def from_tests() -> Found:
    """Lines of the benchmarks in tests/benchmarks.

    Raises:
        RuntimeError: pytest came to no measurement at all; the message ends with its output.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "benchmark.json"
        command = [sys.executable, "-m", "pytest", "tests/benchmarks", "-m", "benchmark", "--benchmark-only", "-q"]
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider", f"--benchmark-json={file}"], cwd=ROOT, capture_output=True, text=True
        )
        content = read_json(file)
    found = {}
    for entry in content.get("benchmarks", []):
        found |= entry["extra_info"].get("lines", {})
    if not found:
        raise RuntimeError(f"tests/benchmarks measured nothing:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    if done.returncode:  # a missed limit, or numbers that disagree: pytest's last lines say which
        print("\n".join(line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR", "E  "))))
    return found


def from_utilisation() -> Found:
    """FLOPs a second of the training loop and of a matrix product, on the processor and on a GPU where there is one."""
    import torch
    from training_speed import utilisation

    use_threads()
    found = {}
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        for kind in ("float32", "bfloat16"):
            key = f"utilisation_{device}_{kind}"
            ours, theirs = utilisation(device, kind == "bfloat16")
            note = torch.cuda.get_device_name() if device == "cuda" else ""
            found[key] = LINES[key].filled(ours / 1e9, theirs / 1e9, note=note)
    return found


def network_seconds() -> dict[str, dict[str, float]]:
    """Model -> seconds of one forward pass at DRIVE's working size, float32, two threads, fresh weights.

    The networks are those of the one protocol's board on DRIVE, lite profile; the input is a phantom's FOV, brought to
    that size as a photograph is.
    """
    import torch

    from retlib.data.phantoms import make_phantom
    from retlib.preprocessing import prepare, to_input
    from retlib.studies import load_study
    from retlib.study.runner import build

    use_threads()
    sample = make_phantom(0)
    configs = load_study("one-protocol").runs("lite", role="table", dataset="drive")
    found = {}
    for config in tqdm(configs.values(), desc="networks", unit="network", delay=2):
        image = torch.from_numpy(to_input(prepare(sample, config.inputs).image, config.inputs))[None]
        image = image.contiguous(memory_format=torch.channels_last)
        model = build(config).to(memory_format=torch.channels_last).eval()
        with torch.inference_mode():
            seconds = timed(lambda model=model, image=image: model(image), least=3, budget=0.5)
        found[config.model] = {"wall_s": seconds.wall, "cpu_s": seconds.cpu}
    return found


def from_book() -> Found:
    """Build the book beside the checkout's own _build, then weigh it and open its pages of results."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        command = [sys.executable, "tools/build_book.py", "--output", folder]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the book was not built:\n{(done.stdout + done.stderr)[-3000:]}")
        found = {"book": LINES["book"].filled(time.perf_counter() - started)}
        html = Path(folder) / "html"
        size = sum(path.stat().st_size for path in html.rglob("*") if path.is_file())
        found["book_size"] = LINES["book_size"].filled(size / 1e6)
        times = {page: first_paint(html / page) for page in RESULT_PAGES}
    slowest = max(times, key=lambda page: statistics.median(times[page]))
    note = f"the slower one of {' and '.join(f'`{page}`' for page in times)}"
    line = LINES["first_paint"].filled(statistics.median(times[slowest]), spread=times[slowest], note=note)
    return found | {"first_paint": line}


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless Chromium.

    Raises:
        RuntimeError: there is none.
    """
    from playwright.sync_api import sync_playwright

    path = os.environ.get("RETLIB_BROWSER") or next((p for p in map(shutil.which, BROWSERS) if p), None)
    if path is None:
        raise RuntimeError("no Chromium found: `make browser` installs one or says how")
    with sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-quic"])
        yield browser
        browser.close()


def first_paint(page: Path, visits: int = 5) -> list[float]:
    """Seconds to the first contentful paint of a page from the disk, each time in a fresh profile."""
    times = []
    with chromium() as browser:
        for _ in range(visits):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            tab = context.new_page()
            tab.goto(page.as_uri(), wait_until="load")
            asked = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
            times.append(tab.wait_for_function(asked).json_value() / 1000)
            context.close()
    return times


def junit_seconds(path: Path) -> float:
    """Wall time of a test session from the file that ``pytest --junitxml`` wrote.

    Raises:
        ValueError: the file is not there or holds no session.
    """
    try:
        return float(next(ElementTree.parse(path).getroot().iter("testsuite")).attrib["time"])
    except (OSError, ElementTree.ParseError, KeyError, StopIteration) as error:
        raise ValueError(f"--junit: expected a file written by pytest --junitxml, got {path} ({error!r})") from None


def put_down(found: Found, networks: dict[str, Any] | None = None, target: Path = TARGET) -> dict[str, Any]:
    """Write what was found over what the file holds; every line of `LINES` is in it, measured or not."""
    before = read_json(target)
    old = before.get("lines", {})
    lines = {key: found.get(key) or _kept(old.get(key), key) for key in LINES}
    content: dict[str, Any] = {"lines": lines}
    for key in ("network_seconds", "network_machine"):
        content[key] = before.get(key, {})
    if networks is not None:
        content |= {"network_seconds": networks, "network_machine": machine() | {"date": today()}}
    write_json(target, content)
    return content


def _kept(old: dict[str, Any] | None, key: str) -> dict[str, Any]:
    """An earlier measurement, unless the line asks for something else by now."""
    line = LINES[key]
    same = old is not None and (old["name"], old["limit"], old["unit"]) == (line.name, line.limit, line.unit)
    return old if same else line.empty()


def shown(line: dict[str, Any]) -> str:
    """One line for the terminal."""
    if line["ours"] is None:
        return f"  {'not measured':<24}{line['name']}"
    number = f"{line['ours']:.3g} {line['unit']}" + ("" if line["ratio"] is None else f", {line['ratio']:.2f}x")
    verdict = {True: "met", False: "MISSED", None: ""}[line["met"]]
    return f"  {number:<24}{line['name']}  {verdict}"


def main(arguments: list[str] | None = None) -> int:
    """Entry point; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="measure the book too")
    parser.add_argument("--parts", nargs="*", choices=[*PARTS, "book"], default=list(PARTS))
    parser.add_argument("--test-seconds", type=float, metavar="S", help="what `make test` took")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="the same, from a file of pytest --junitxml")
    options = parser.parse_args(arguments)
    parts = [*PARTS, "book"] if options.all else options.parts
    measures = {"tests": from_tests, "utilisation": from_utilisation, "book": from_book}
    seconds = options.test_seconds
    try:
        if options.junit is not None:
            seconds = junit_seconds(options.junit)
        content = {}
        if seconds is not None:
            content = put_down({"tests": LINES["tests"].filled(seconds)})
        for part in parts:
            print(f"measuring: {part}", flush=True)
            networks = network_seconds() if part == "networks" else None
            found = {} if networks else measures[part]()
            content = put_down(found, networks)
            expected = {key for key, line in LINES.items() if line.part == part and "_cuda_" not in key}
            if missing := sorted(expected - set(found)):
                raise RuntimeError(f"{part}: no measurement of {', '.join(missing)}; see what is printed above")
    except (RuntimeError, ValueError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    print("\n".join(shown(line) for line in content.get("lines", {}).values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
