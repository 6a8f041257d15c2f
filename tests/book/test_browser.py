"""The book in a real browser, from file://, wide and narrow, with no server and no network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import check_site
import numpy as np
import pytest

from retlib.metrics import ScoreHistograms
from retlib.study.figures import threshold_explorer
from tests.benchmarks.bench import find_browser

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra [test]")

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = {"wide": (1280, 900), "narrow": (390, 844)}

# Elements that stick out to the right of the screen, unless a box around them scrolls.
TOO_WIDE = """() => {
  const limit = document.documentElement.clientWidth + 1;
  const scrolls = node => {
    for (let box = node.parentElement; box; box = box.parentElement) {
      if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(box).overflowX) && box !== document.body
          && box !== document.documentElement && box.getBoundingClientRect().right <= limit) return true;
    }
    return false;
  };
  return [...document.querySelectorAll('main *')]
    .filter(node => node.getBoundingClientRect().right > limit && node.getBoundingClientRect().width > 0)
    .filter(node => getComputedStyle(node).visibility !== 'hidden' && !scrolls(node))
    .slice(0, 3).map(node => node.tagName + ' ' + node.className + ': ' + node.textContent.trim().slice(0, 60));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """A headless Chromium; where there is none the tests are skipped, but not in continuous integration."""
    path = find_browser()
    if path is None:
        message = "no Chromium found: `make browser` installs one or says how"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(message)
        pytest.skip(message)
    with playwright.sync_playwright() as engine:
        chromium = engine.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


class Visit:
    """A fresh profile that opens pages and keeps what goes wrong on them."""

    def __init__(self, browser: object, size: tuple[int, int]) -> None:
        self.context = browser.new_context(viewport={"width": size[0], "height": size[1]})
        self.page = self.context.new_page()
        self.faults: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.faults.append(f"script error: {error}"))
        self.page.on("requestfailed", lambda request: self.faults.append(f"failed: {request.url}"))
        self.page.on("request", self._request)

    def _console(self, message: object) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console {message.type}: {message.text}")

    def _request(self, request: object) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.faults.append(f"asks outside: {request.url}")

    def open(self, path: Path) -> object:
        """Open a page and wait until it has loaded."""
        self.page.goto(path.as_uri(), wait_until="load")
        return self.page


@pytest.mark.parametrize("size", WIDTHS.values(), ids=WIDTHS.keys())
def test_every_page_is_sound(browser: object, site: Path, size: tuple[int, int]) -> None:
    visit = Visit(browser, size)
    problems: dict[str, list[str]] = {}
    for path in check_site.read_site(site):
        if path == site.resolve() / "index.html":
            continue  # only leads on to the first page; has its own test
        visit.faults = found = []
        page = visit.open(path)
        if path.name not in ("genindex.html", "py-modindex.html", "search.html"):
            title = page.locator("article h1").first
            if not (title.count() and title.is_visible() and title.inner_text().strip()):
                found.append("no visible title")
        page.evaluate("document.querySelectorAll('img').forEach(image => { image.loading = 'eager'; })")
        page.wait_for_function("[...document.images].every(image => image.complete)")
        empty = page.evaluate("[...document.images].filter(i => !i.naturalWidth).map(i => i.getAttribute('src'))")
        found += [f"image did not load: {source}" for source in empty]
        page_width = page.evaluate("document.documentElement.scrollWidth")
        if page_width > size[0]:
            found.append(f"the page is {page_width} pixels wide: {page.evaluate(TOO_WIDE)}")
        if found:
            problems[str(path.relative_to(site.resolve()))] = found
    visit.context.close()
    assert not problems


def test_the_first_page_is_where_it_is_said_to_be(browser: object, site: Path) -> None:
    visit = Visit(browser, WIDTHS["wide"])
    page = visit.open(site / "index.html")
    page.wait_for_url("**/notebooks/index.html")
    assert "reproducibility study" in page.locator("article h1").first.inner_text()
    assert visit.faults == []
    visit.context.close()


def test_the_search_finds_pages(browser: object, site: Path) -> None:
    visit = Visit(browser, WIDTHS["wide"])
    page = visit.page
    page.goto((site / "search.html").as_uri() + "?q=verdict")
    # The list grows one entry at a time; only its summary line says that it is whole.
    page.wait_for_selector("#search-results .search-summary:has-text('finished')", timeout=30_000)
    hits = page.locator("#search-results li a").all_inner_texts()
    assert "Protocol" in hits
    assert [fault for fault in visit.faults if "asks outside" in fault or "script error" in fault] == []
    visit.context.close()


def test_the_contents_open_on_a_narrow_screen(browser: object, site: Path) -> None:
    visit = Visit(browser, WIDTHS["narrow"])
    page = visit.open(site / "book" / "protocol.html")
    entry = page.locator(".bd-sidebar-primary a", has_text="How to read this book").first
    assert not entry.is_visible() or entry.bounding_box()["x"] < 0
    page.locator("button.primary-toggle").first.click()
    entry.wait_for(state="visible")
    entry.click()
    page.wait_for_url("**/how-to-read.html")
    visit.context.close()


def test_folded_code_opens(browser: object, site: Path) -> None:
    visit = Visit(browser, WIDTHS["wide"])
    page = visit.open(site / "notebooks" / "datasets.html")
    folded = page.locator("details.hide").first
    assert not folded.locator("pre").first.is_visible()
    folded.locator("summary").click()
    assert folded.locator("pre").first.is_visible()
    visit.context.close()


def test_the_slider_over_the_threshold_moves_all_scores(browser: object, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    vessels = generator.random((100, 100)) < 0.13
    logits = generator.normal(2.0 * vessels - 2.0, 1.0)
    histogram = ScoreHistograms.from_logits(["a"], [logits], [vessels]).select(region="frame")
    point = {"sensitivity": 0.7, "specificity": 0.9, "precision": 0.5, "dice": 0.6}
    script = (Path(__file__).parents[2] / "book" / "_static" / "threshold.js").read_text(encoding="utf-8")
    explorer = threshold_explorer(histogram, 0.5, {"the paper's point": point}, "One run").data
    (tmp_path / "page.html").write_text(
        f"<html><head><meta charset='utf-8'><script>{script}</script></head><body>{explorer}</body></html>",
        encoding="utf-8",
    )
    visit = Visit(browser, WIDTHS["narrow"])
    page = visit.open(tmp_path / "page.html")

    def row(place: int) -> list[float]:
        return [float(text) for text in page.locator("tbody tr").nth(place).locator("td").all_inner_texts()]

    names = ("sensitivity", "specificity", "precision", "dice")
    expected = histogram.metrics(0.5)
    assert row(0) == pytest.approx([expected[name] for name in names], abs=5e-5) and row(1) == list(point.values())
    slider = page.get_by_label("Threshold (probability)")
    slider.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    reached = float(page.locator("output").inner_text())
    assert reached == pytest.approx(0.7, abs=0.01)
    expected = histogram.metrics(reached, nearest=True)
    assert row(0) == pytest.approx([expected[name] for name in names], abs=5e-5) and row(1) == list(point.values())
    assert f"Dice {expected['dice']:.3f}" in slider.get_attribute("aria-valuetext")
    dot = page.locator("svg").first.locator("circle.moving")
    assert float(dot.get_attribute("cy")) == pytest.approx(8 + 200 * (1 - expected["sensitivity"]))
    page.get_by_role("button").click()
    assert page.locator("output").inner_text() == "0.500" and page.locator("img").count() == 0
    assert visit.faults == []
    visit.context.close()
    plain = browser.new_context(java_script_enabled=False).new_page()
    plain.goto((tmp_path / "page.html").as_uri())
    assert plain.get_by_role("img").is_visible() and plain.locator("input").count() == 0
    plain.context.close()


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<script>throw new Error('broken')</script>", "script error: broken"),
        ("<script>console.error('bad')</script>", "console error: bad"),
        ("<img src='gone.png'>", "failed: "),
        ("<img src='http://127.0.0.1:9/x.png'>", "asks outside: http://127.0.0.1:9/x.png"),
    ],
)
def test_the_watch_notices(browser: object, tmp_path: Path, body: str, fault: str) -> None:
    (tmp_path / "page.html").write_text(f"<html><body><h1>x</h1>{body}</body></html>", encoding="utf-8")
    visit = Visit(browser, WIDTHS["wide"])
    visit.open(tmp_path / "page.html")
    assert any(found.startswith(fault) for found in visit.faults), visit.faults
    visit.context.close()
