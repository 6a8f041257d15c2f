"""The search of the book lists pages before names of the library."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.book.visit import WIDTHS, Visit

ROOT = Path(__file__).parents[2]
SCORER = ROOT / "book" / "_ext" / "search_scorer.js"


def test_the_order_of_results(browser: object) -> None:
    """By the file alone: title, description and score of a result as Sphinx passes them."""
    page = browser.new_page()
    page.add_script_tag(path=SCORER)

    def score(docname: str, title: str, description: str | None, score: int) -> int:
        return page.evaluate("result => Scorer.score(result)", [docname, title, "", description, score])

    exact = page.evaluate("Scorer.objNameMatch + 1")
    ranked = {
        "the name that was asked for": score("book/api/models", "retlib.models.build_model", "Python function", exact),
        "title": score("book/protocol", "Protocol", None, 15),
        "text": score("notebooks/audit", "The audit", None, 2),
        "page of the API": score("book/api/audit", "Audit", None, 15),
        "module of the same name": score("book/api/audit", "retlib.audit", "Python module", exact),
        "part of a name": score("book/api/audit", "retlib.audit.audit_row", "Python function", 1),
        "private": score("book/api/audit", "retlib.__init__", "Python method", 0),
    }
    assert list(ranked.values()) == sorted(ranked.values(), reverse=True)
    page.close()


@pytest.fixture
def hits(browser: object, site: Path):
    """Search: query -> (title, kind) of each hit, in the order of the page: a page, a name, or a place in a page."""
    visit = Visit(browser, WIDTHS["wide"])

    def search(query: str) -> list[tuple[str, str]]:
        visit.page.goto((site / "search.html").as_uri() + f"?q={query}")
        visit.page.wait_for_selector("#search-results .search-summary:has-text('finished')", timeout=60_000)
        found = []
        for item in visit.page.locator("#search-results li").all():
            link = item.locator("a").first
            whole = "#" not in link.get_attribute("href")
            kind = "name" if "(Python " in item.inner_text() else "page" if whole else "place"
            found.append((link.inner_text(), kind))
        return found

    yield search
    visit.context.close()


@pytest.mark.parametrize("query", ["dice", "audit", "predict"])
def test_pages_come_before_names(hits, query: str) -> None:
    kinds = [kind for _, kind in hits(query)]
    assert {"page", "name"} <= set(kinds)
    assert kinds.index("name") > max(place for place, kind in enumerate(kinds) if kind == "page")


def test_a_name_written_in_full_comes_first(hits) -> None:
    first, *others = hits("build_model")
    assert first == ("retlib.build_model", "name")
    assert [kind for _, kind in others[:3]] == ["page"] * 3
