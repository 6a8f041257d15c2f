"""The book for people who see little, use the keyboard alone, keep scripts off, or print."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.book.visit import WIDTHS, Visit

# One page of each kind: text and pictures, results, ledger with its filter, API, search.
PAGES = [
    "book/how-to-read.html",
    "book/predict.html",
    "notebooks/index.html",
    "notebooks/resaspp_unet.html",
    "notebooks/one_protocol.html",
    "notebooks/verdicts.html",
    "book/api/data.html",
    "search.html",
]
THEMES = ["light", "dark"]
ENOUGH = 4.5  # WCAG 2, level AA, text of ordinary size
PAPER = (718, 1000)  # A4 with the margins of a browser, in CSS pixels

# Contrast of an element's text with what lies behind it, through transparent layers.
CONTRAST = """element => {
  const parse = text => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+(e-\\d+)?/g).map(Number);
    const scale = text.startsWith('color(') ? 255 : 1;
    return [r * scale, g * scale, b * scale, a];
  };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const layers = [];
  for (let node = element; node; node = node.parentElement) layers.push(parse(getComputedStyle(node).backgroundColor));
  const behind = layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
  const shine = colour => {
    const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = colour.slice(0, 3).map(v => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [one, other] = [shine(over(parse(getComputedStyle(element).color), behind)), shine(behind)];
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
}"""

KINDS = {  # of text that is no plain paragraph -> where, and what is seen of it
    "caption of results": ("notebooks/resaspp_unet.html", "table.retlib-table caption"),
    "results": ("notebooks/resaspp_unet.html", "table.retlib-table tbody tr"),
    "results with labels in two columns": ("notebooks/resaspp_unet.html", "table.retlib-table tbody tr:has(th + th)"),
    "leaderboard": ("notebooks/one_protocol.html", "table.retlib-table tbody tr"),
    "ledger": ("notebooks/verdicts.html", "table.ledger tbody tr"),
    "caption of a figure": ("notebooks/resaspp_unet.html", "figure figcaption .caption-text"),
    "table of the slider": ("notebooks/one_protocol.html", ".threshold-explorer .numbers tbody tr"),
    "caption of the slider": ("notebooks/one_protocol.html", ".threshold-explorer figcaption"),
    "table in text": ("book/predict.html", "article table.table tbody tr"),
}


@pytest.mark.parametrize("theme", THEMES)
def test_captions_and_hovered_rows_are_readable(browser: object, site: Path, theme: str) -> None:
    visit = Visit(browser, color_scheme=theme)
    poor, seen = [], None
    for kind, (path, selector) in KINDS.items():
        if path != seen:
            page, seen = visit.open(site / path), path
            assert page.evaluate("document.documentElement.dataset.theme") == theme
            page.evaluate("document.querySelectorAll('details').forEach(folded => { folded.open = true; })")
        found = page.locator(selector).locator("visible=true").first
        found.hover()
        for cell in found.locator("xpath=self::*[not(self::tr)] | .//td | .//th | .//a").all():
            contrast = cell.evaluate(CONTRAST)
            if contrast < ENOUGH:
                poor.append(f"{kind}: {contrast:.2f}, {cell.inner_text()[:40]!r}")
    visit.context.close()
    assert not poor


def axe(page: object) -> list[str]:
    """Violations of axe-core's rules on a page as it is: rule, how often, and the first place."""
    base = pytest.importorskip("axe_playwright_python.base", reason="needs the extra [test]")
    page.add_style_tag(content="* { transition: none !important }")  # a colour half-way between two has no contrast
    page.evaluate(base.AXE_FILE_PATH.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [f"{rule['id']}: {len(rule['nodes'])}, {rule['nodes'][0]['html'][:200]}" for rule in found]


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_axe_finds_nothing(browser: object, site: Path, theme: str) -> None:
    visit = Visit(browser, color_scheme=theme)
    problems = {path: found for path in PAGES if (found := axe(visit.open(site / path)))}
    visit.context.close()
    assert not problems


def test_axe_notices(browser: object, tmp_path: Path) -> None:
    body = "<main><h1>x</h1><img src='data:,'><button></button><p style='color: #999'>pale</p></main>"
    (tmp_path / "page.html").write_text(f"<html lang='en'><title>x</title><body>{body}</body></html>", encoding="utf-8")
    visit = Visit(browser)
    rules = {line.split(":")[0] for line in axe(visit.open(tmp_path / "page.html"))}
    assert {"image-alt", "button-name", "color-contrast"} <= rules
    visit.context.close()


# --- without scripts ------------------------------------------------------------------------------------------------


def test_without_scripts_all_is_there_and_nothing_is_dead(browser: object, site: Path) -> None:
    visit = Visit(browser, java_script_enabled=False)
    page = visit.page
    for path in PAGES[:-1]:  # a search needs scripts
        visit.open(site / path)
        for name, (width, height) in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height})
            place, article = f"{path}, {name}", page.locator("article")
            assert article.locator("h1").first.is_visible() and len(article.inner_text()) > 400, place
            dead = page.locator("button, input, select").locator("visible=true")
            found = [item.evaluate("e => e.outerHTML.slice(0, 120)") for item in dead.all()]
            assert not found, f"{place}: {found}"
            contents = page.locator(".bd-sidebar-primary a", has_text="How to read this book")
            assert contents.first.is_visible(), place
    visit.open(site / "notebooks/one_protocol.html")
    pictures = visit.page.locator(".threshold-explorer img")
    assert pictures.count() > 1 and all(picture.is_visible() for picture in pictures.all())
    visit.open(site / "book/predict.html")
    assert visit.page.locator(".compare img").locator("visible=true").count() == 2
    visit.context.close()


# --- on paper ---------------------------------------------------------------------------------------------------------

# Tables, lines of code and pictures that reach beyond the paper, or beyond a box that cuts them off.
CUT = """() => {
  const edge = document.documentElement.clientWidth + 1;
  return [...document.querySelectorAll('article :is(table, pre, img, svg)')].filter(item => {
    if (!item.getClientRects().length) return false;
    const right = item.getBoundingClientRect().left + Math.max(item.getBoundingClientRect().width, item.scrollWidth);
    for (let box = item.parentElement; box.tagName !== 'ARTICLE'; box = box.parentElement) {
      if (getComputedStyle(box).overflowX !== 'visible' && right > box.getBoundingClientRect().right + 1) return true;
    }
    return right > edge;
  }).map(item => `${item.tagName} ${(item.caption || item).textContent.trim().slice(0, 60)}`);
}"""


def test_nothing_is_cut_off_on_paper(browser: object, site: Path) -> None:
    visit = Visit(browser, PAPER)
    visit.page.emulate_media(media="print")
    cut = {path: found for path in PAGES if (found := visit.open(site / path).evaluate(CUT))}
    visit.context.close()
    assert not cut


def test_what_is_cut_off_is_noticed(browser: object, tmp_path: Path) -> None:
    wide = "<table><tr><td><div style='width: 900px'>x</div></td></tr></table>"
    boxed = f"<div style='overflow: auto; width: 300px'>{wide}</div>"
    for body in (wide, boxed):
        (tmp_path / "page.html").write_text(f"<html><body><article>{body}</article></body></html>", encoding="utf-8")
        visit = Visit(browser, PAPER)
        assert visit.open(tmp_path / "page.html").evaluate(CUT) == ["TABLE x"]
        visit.context.close()
