"""The book in a real browser, from file://, wide and narrow, with no server and no network."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import check_site
import numpy as np
import pandas as pd
import pytest
from finish import finish_page

from retlib.metrics import ScoreHistograms
from retlib.study.figures import threshold_explorer
from tests.book.visit import WIDTHS, Visit

ROOT = Path(__file__).parents[2]

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

# Pictures whose sides are not reduced alike.
STRETCHED = """() => [...document.querySelectorAll('article img')]
  .filter(image => image.naturalWidth && image.clientWidth > 20)
  .filter(i => Math.abs(i.clientWidth / i.clientHeight / i.naturalWidth * i.naturalHeight - 1) > .03)
  .map(image => image.getAttribute('src'))"""


def test_every_page_is_sound(browser: object, site: Path) -> None:
    """Wide and narrow: a page is loaded at one width and then shown at the other, which takes half the time of two."""
    visit = Visit(browser)
    problems: dict[str, list[str]] = {}
    for number, path in enumerate(check_site.read_site(site)):
        if path == site.resolve() / "index.html":
            continue  # only leads on to the first page; has its own test
        visit.faults = found = []
        widths = list(WIDTHS) if number % 2 else list(reversed(WIDTHS))  # scripts run at loading, at either width
        for name in widths:
            width, height = WIDTHS[name]
            visit.page.set_viewport_size({"width": width, "height": height})
            page = visit.open(path) if name == widths[0] else visit.page
            if path.name not in ("genindex.html", "py-modindex.html", "search.html"):
                title = page.locator("article h1").first
                if not (title.count() and title.is_visible() and title.inner_text().strip()):
                    found.append(f"{name}: no visible title")
            page.evaluate("document.querySelectorAll('img').forEach(image => { image.loading = 'eager'; })")
            page.wait_for_function("[...document.images].every(image => image.complete)")
            empty = page.evaluate("[...document.images].filter(i => !i.naturalWidth).map(i => i.getAttribute('src'))")
            found += [f"{name}: image did not load: {source}" for source in empty]
            found += [f"{name}: image is stretched: {source}" for source in page.evaluate(STRETCHED)]
            page_width = page.evaluate("document.documentElement.scrollWidth")
            if page_width > width:
                found.append(f"{name}: the page is {page_width} pixels wide: {page.evaluate(TOO_WIDE)}")
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
    script = (ROOT / "book" / "_static" / "threshold.js").read_text(encoding="utf-8")
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
    expected = histogram.metrics(histogram.nearest_threshold(reached))
    assert row(0) == pytest.approx([expected[name] for name in names], abs=5e-5) and row(1) == list(point.values())
    assert f"Dice {expected['dice']:.3f}" in slider.get_attribute("aria-valuetext")
    dot = page.locator("svg").first.locator("path.moving")
    (up,) = re.findall(r"translate\(\S+ (\S+)\)", dot.get_attribute("transform"))
    assert float(up) == pytest.approx(8 + 200 * (1 - expected["sensitivity"]))
    page.get_by_role("button").click()
    assert page.locator("output").inner_text() == "0.500" and page.locator("img").count() == 0
    assert visit.faults == []
    visit.context.close()
    plain = browser.new_context(java_script_enabled=False).new_page()
    plain.goto((tmp_path / "page.html").as_uri())
    assert plain.get_by_role("img").is_visible() and plain.locator("input").count() == 0
    plain.context.close()


def test_the_slider_of_the_leaderboard(browser: object, site: Path) -> None:
    """One network with its data set at a time, chosen and moved by the keyboard alone."""
    visit = Visit(browser)
    page = visit.open(site / "notebooks" / "one_protocol.html")
    shown = page.locator(".threshold-explorer").locator("visible=true")
    choice = page.get_by_label("Network and data set")
    options = choice.locator("option").all_inner_texts()
    assert len(options) > 1 and all(" on " in option for option in options)
    first = shown.locator("figcaption").inner_text()
    assert shown.count() == 1 and first.startswith(options[0])
    choice.focus()
    page.keyboard.press("ArrowDown")
    assert shown.count() == 1 and shown.locator("figcaption").inner_text().startswith(options[1])
    page.keyboard.press("ArrowUp")
    rows = shown.locator("tbody tr")
    titles = rows.locator("th").all_inner_texts()
    assert titles[0] == "at this threshold" and titles[1].startswith("chosen threshold")
    assert titles[2:] == ["threshold 0.5", "second observer"]  # DRIVE comes first, and has one

    def numbers(place: int) -> list[str]:
        return rows.nth(place).locator("td").all_inner_texts()

    assert numbers(0) == numbers(1) != numbers(2)
    slider = shown.get_by_label("Threshold (probability)")
    slider.focus()
    page.keyboard.press("Home")
    fixed = [numbers(place) for place in (1, 2, 3)]
    sensitivity, specificity, *_ = map(float, numbers(0))
    assert sensitivity > 0.9 > specificity and [numbers(place) for place in (1, 2, 3)] == fixed
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # back to the run's own threshold
    assert numbers(0) == numbers(1)
    marks = shown.locator("svg[role=img]").first.locator("path")
    assert len({mark.get_attribute("d") for mark in marks.all()}) == 4  # told apart by their shapes
    assert visit.faults == []
    visit.context.close()


def test_a_figure_is_enlarged_by_keyboard_and_mouse(browser: object, site: Path) -> None:
    visit = Visit(browser)
    page = visit.open(site / "notebooks" / "resaspp_unet.html")
    image = page.locator("article figure img").first
    image.scroll_into_view_if_needed()
    before = image.bounding_box()["width"]
    button = page.locator("figure .enlargeable button").first
    dialog = page.locator("dialog.enlarged")
    button.focus()
    assert button.is_visible() and not dialog.is_visible()
    page.keyboard.press("Enter")
    large = dialog.locator("img")
    assert dialog.is_visible() and large.bounding_box()["width"] > 1.1 * before
    assert large.get_attribute("alt") == image.get_attribute("alt")
    box = dialog.bounding_box()
    assert box["x"] >= 0 and box["width"] <= 1280 and box["height"] <= 900
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement === document.querySelector('figure .enlargeable button')")
    image.click()
    assert dialog.is_visible()
    dialog.get_by_role("button", name="Close").click()
    assert not dialog.is_visible() and visit.faults == []
    visit.context.close()
    plain = Visit(browser, java_script_enabled=False)
    page = plain.open(site / "notebooks" / "resaspp_unet.html")
    assert page.locator("article figure img").first.is_visible()
    assert page.locator("dialog.enlarged, .enlargeable").count() == 0
    plain.context.close()


def test_an_enlarged_figure_can_be_scrolled_on_a_narrow_screen(browser: object, site: Path) -> None:
    visit = Visit(browser, WIDTHS["narrow"])
    page = visit.open(site / "notebooks" / "resaspp_unet.html")
    page.locator("article figure img").first.click()
    dialog = page.locator("dialog.enlarged")
    assert dialog.bounding_box()["width"] <= 390 and dialog.locator("img").bounding_box()["width"] > 700
    page.keyboard.press("Tab")  # from the button to the picture
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('dialog .picture').scrollLeft > 0")
    visit.context.close()


TABLE = pd.DataFrame(
    {
        ("Dice", "paper"): ["0.8120", "—"],
        ("Dice", "ours"): ["\N{MINUS SIGN}0.0310", "1e-05"],
        ("parameters", ""): ["31 043 521", "7"],
        ("image", ""): ["01", 'a "b", c'],
    },
    index=pd.MultiIndex.from_tuples([("unet", "DRIVE"), ("unet", "STARE")]),
)


def test_tables_are_saved_as_csv_and_json(browser: object, tmp_path: Path) -> None:
    table = finish_page(TABLE.style.set_caption("Our results").set_table_attributes('class="retlib-table"').to_html())
    scripts = (ROOT / "book" / "_static" / "tables.js").read_text(encoding="utf-8")
    page_text = f"<meta charset='utf-8'><script>{scripts}</script><div>{table}</div>"
    (tmp_path / "page.html").write_text(page_text, encoding="utf-8")
    visit = Visit(browser)
    page = visit.open(tmp_path / "page.html")
    saved = {}
    for name in ("CSV", "JSON"):
        page.get_by_role("button", name=name).focus()
        with page.expect_download() as download:
            page.keyboard.press("Enter")
        assert download.value.suggested_filename == f"our-results.{name.lower()}"
        saved[name] = download.value.path().read_text(encoding="utf-8")
    first = {"row": "unet", "row 2": "DRIVE", "Dice: paper": 0.812, "Dice: ours": -0.031}
    second = {"row": "unet", "row 2": "STARE", "Dice: paper": None, "Dice: ours": 1e-05}
    records = [first | {"parameters": 31043521, "image": "01"}, second | {"parameters": 7, "image": 'a "b", c'}]
    assert json.loads(saved["JSON"]) == records
    read = pd.read_csv(io.StringIO(saved["CSV"]), dtype={"image": str})
    assert json.loads(read.to_json(orient="records")) == records
    assert visit.faults == []
    visit.context.close()


def test_every_table_of_results_can_be_saved(browser: object, site: Path) -> None:
    visit = Visit(browser)
    page = visit.open(site / "notebooks" / "one_protocol.html")
    tables = page.locator("table.retlib-table").count()
    assert tables > 10
    assert page.locator(".table-tools button").all_text_contents() == ["CSV", "JSON"] * tables  # also folded ones
    visit.context.close()


def test_the_ledger_is_filtered_and_sorted_by_keyboard(browser: object, site: Path) -> None:
    visit = Visit(browser)
    page = visit.open(site / "notebooks" / "verdicts.html")
    table = page.locator("table.ledger").first
    rows = table.locator("tbody tr")
    number = rows.count()
    page.locator("input.table-filter").first.focus()
    page.keyboard.type("dice")
    left = rows.locator("visible=true").all_inner_texts()
    assert 0 < len(left) < number and all("dice" in text.lower() for text in left)
    for _ in range(4):
        page.keyboard.press("Backspace")
    assert rows.locator("visible=true").count() == number
    heads = table.locator("thead th")
    column = heads.all_inner_texts().index("verdict")
    sorter = heads.nth(column).get_by_role("button")
    for state in ("ascending", "descending"):
        sorter.focus()
        page.keyboard.press("Enter")
        texts = rows.locator(f"xpath=*[{column + 1}]").all_inner_texts()
        order = page.evaluate("texts => [...texts].sort((a, b) => a.localeCompare(b))", texts)
        assert heads.nth(column).get_attribute("aria-sort") == state
        assert len(set(texts)) > 1 and texts == (order if state == "ascending" else order[::-1])
    assert visit.faults == []
    visit.context.close()


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
