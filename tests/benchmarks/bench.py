"""Measure how fast the study is: writes book/records/benchmarks.json, which the page on performance shows.

    python -m tests.benchmarks.bench                    the benchmarks in tests/benchmarks, utilisation, each network
    python -m tests.benchmarks.bench --all              and the book: build time, size, first paint (needs a Chromium)
    python -m tests.benchmarks.bench --parts networks   some of them
    python -m tests.benchmarks.bench --parts --test-seconds 610     only store what `make test` took

Run it on a quiet machine: each line stores the load. A line that is not measured stays as it was.
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
from pathlib import Path
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

from tqdm import tqdm

from tests.benchmarks.limits import LINES
from tests.benchmarks.measuring import RECORDS, ROOT, machine, read_json, timed, today, use_threads, write_json

TARGET = RECORDS / "benchmarks.json"
PARTS = ("tests", "utilisation", "networks")
RESULT_PAGES = {
    "notebooks/one_protocol.html": "One protocol for all networks",
    "notebooks/verdicts.html": "Every claim and its verdict",
}

Filled = dict[str, dict[str, Any]]


def from_tests() -> Filled:
    """Run the benchmarks in tests/benchmarks and return their lines.

    Raises:
        RuntimeError: pytest measured nothing; the message ends with its output.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "benchmark.json"
        command = [sys.executable, "-m", "pytest", "tests/benchmarks", "-m", "benchmark", "--benchmark-only", "-q"]
        command += ["-p", "no:cacheprovider", f"--benchmark-json={file}"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        entries = read_json(file).get("benchmarks", [])
    lines = {key: line for entry in entries for key, line in entry["extra_info"].get("lines", {}).items()}
    if not lines:
        raise RuntimeError(f"tests/benchmarks measured nothing:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    if done.returncode:  # a missed limit, or numbers that disagree: pytest's last lines say which
        print("\n".join(line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR", "E  "))))
    return lines


def from_utilisation() -> Filled:
    """Compare FLOPs per second of the training loop with those of a matrix product, on the CPU and on a GPU."""
    import torch

    from tests.benchmarks.training_speed import utilisation

    use_threads()
    lines = {}
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        for kind in ("float32", "bfloat16"):
            key = f"utilisation_{device}_{kind}"
            ours, theirs = utilisation(device, kind == "bfloat16")
            note = torch.cuda.get_device_name() if device == "cuda" else ""
            lines[key] = LINES[key].filled(ours / 1e9, theirs / 1e9, note=note)
    return lines


def network_seconds() -> dict[str, dict[str, float]]:
    """Time one forward pass of each network of the leaderboard on DRIVE, lite profile: float32, fresh weights.

    The input is a synthetic image, cropped to its FOV and resized to the working size as a photograph is.
    """
    import torch

    from retlib.data.phantoms import make_phantom
    from retlib.preprocessing import prepare, to_input
    from retlib.studies import load_study
    from retlib.study.runner import build

    use_threads()
    sample = make_phantom(0)
    configs = load_study("one-protocol").runs("lite", role="table", dataset="drive")
    times = {}
    for config in tqdm(configs.values(), desc="networks", unit="network", delay=2):
        image = torch.from_numpy(to_input(prepare(sample, config.inputs).image, config.inputs))[None]
        image = image.contiguous(memory_format=torch.channels_last)
        model = build(config).to(memory_format=torch.channels_last).eval()
        with torch.inference_mode():
            seconds = timed(lambda model=model, image=image: model(image), least=3, budget=0.5)
        times[config.model] = {"wall_s": seconds.wall, "cpu_s": seconds.cpu}
    return times


def from_book() -> Filled:
    """Build the book into a scratch folder, then measure its size and open its pages of results."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        command = [sys.executable, "book/_tools/build.py", "--output", folder]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the book was not built:\n{(done.stdout + done.stderr)[-3000:]}")
        lines = {"book": LINES["book"].filled(time.perf_counter() - started)}
        html = Path(folder) / "html"
        size = sum(path.stat().st_size for path in html.rglob("*") if path.is_file())
        lines["book_size"] = LINES["book_size"].filled(size / 1e6)
        times = {page: first_paint(html / page) for page in RESULT_PAGES}
    slowest = max(times, key=lambda page: statistics.median(times[page]))
    note = f"the slower one of {' and '.join(RESULT_PAGES.values())}"
    line = LINES["first_paint"].filled(statistics.median(times[slowest]), spread=times[slowest], note=note)
    return lines | {"first_paint": line}


def find_browser() -> str | None:
    """Find a Chromium in the same order as book/_tools/browser.sh."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("RETLIB_BROWSER") or next((path for path in map(shutil.which, names) if path), None)


def first_paint(page: Path, visits: int = 5) -> list[float]:
    """Return the seconds to the first contentful paint of a local page, for each visit with a fresh profile.

    Raises:
        RuntimeError: there is no Chromium.
    """
    from playwright.sync_api import sync_playwright

    if (path := find_browser()) is None:
        raise RuntimeError("no Chromium found: `make browser` installs one or says how")
    times = []
    with sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-quic"])
        for _ in range(visits):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            tab = context.new_page()
            tab.goto(page.as_uri(), wait_until="load")
            asked = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
            times.append(tab.wait_for_function(asked).json_value() / 1000)
            context.close()
        browser.close()
    return times


def put_down(filled: Filled, networks: dict[str, Any] | None = None, target: Path = TARGET) -> dict[str, Any]:
    """Merge measured lines into the file, which holds every line of `LINES`, measured or not.

    An earlier measurement is kept unless the name, limit or unit of its line has changed since.
    """
    before = read_json(target)
    lines = {}
    for key, line in LINES.items():
        old = before.get("lines", {}).get(key)
        same = old is not None and (old["name"], old["limit"], old["unit"]) == (line.name, line.limit, line.unit)
        lines[key] = filled.get(key) or (old if same else line.empty())
    content = {"lines": lines} | {key: before.get(key, {}) for key in ("network_seconds", "network_machine")}
    if networks is not None:
        content |= {"network_seconds": networks, "network_machine": machine() | {"date": today()}}
    write_json(target, content)
    return content


def shown(line: dict[str, Any]) -> str:
    """Format one line for the terminal."""
    if line["ours"] is None:
        return f"  {'not measured':<24}{line['name']}"
    number = f"{line['ours']:.3g} {line['unit']}" + ("" if line["ratio"] is None else f", {line['ratio']:.2f}x")
    verdict = {True: "met", False: "MISSED", None: ""}[line["met"]]
    return f"  {number:<24}{line['name']}  {verdict}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="measure the book too")
    parser.add_argument("--parts", nargs="*", choices=[*PARTS, "book"], default=list(PARTS))
    parser.add_argument("--test-seconds", type=float, metavar="S", help="what `make test` took")
    options = parser.parse_args(arguments)
    measures = {"tests": from_tests, "utilisation": from_utilisation, "book": from_book}
    given = {} if options.test_seconds is None else {"tests": LINES["tests"].filled(options.test_seconds)}
    try:
        content = put_down(given)
        for part in [*PARTS, "book"] if options.all else options.parts:
            print(f"measuring: {part}", flush=True)
            networks = network_seconds() if part == "networks" else None
            lines = {} if networks else measures[part]()
            content = put_down(lines, networks)
            expected = {key for key, line in LINES.items() if line.part == part and "_cuda_" not in key}
            if missing := sorted(expected - set(lines)):
                raise RuntimeError(f"{part}: no measurement of {', '.join(missing)}; see what is printed above")
    except (RuntimeError, ValueError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    print("\n".join(shown(line) for line in content["lines"].values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
