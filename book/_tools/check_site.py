"""Check a built book without the network: links, that nothing loads from outside, and what a screen reader needs.

Links and anchors resolve; images have a text and controls a name, headings come in order, an id stands once.

python book/_tools/check_site.py _build/html
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself; an <a> is only fetched when somebody clicks it.
LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("link", "href"), ("source", "src"), ("video", "src")}
OUTSIDE = ("http://", "https://", "//")
NAMED = ("button", "summary", "th")  # they need a text, or a label


class Page(HTMLParser):
    """What one page defines, links to and does wrong."""

    def __init__(self, path: Path) -> None:
        """Read and parse the file."""
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []  # inside the site
        self.outside: list[str] = []  # <a href> to elsewhere
        self.problems: list[str] = []
        self._open: list[tuple[str, list[str]]] = []  # elements of NAMED that are open, with their texts
        self._level: int | None = None  # of the last heading of the article
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect ids and addresses of one tag."""
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            if values["id"] in self.ids:
                self.problems.append(f"id stands twice: {values['id']}")
            self.ids.add(values["id"])
        if tag in NAMED:
            self._open.append((tag, [values.get("aria-label", ""), values.get("title", "")]))
        if tag == "article":
            self._level = 0
        if self._level is not None and tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
            if int(tag[1]) > self._level + 1:
                self.problems.append(f"heading {tag} follows " + (f"h{self._level}" if self._level else "no heading"))
            self._level = int(tag[1])
        if tag == "img":
            alt = values.get("alt", "").strip()
            file = values.get("src", "").rsplit("/", 1)[-1]
            if not alt or alt.endswith(file):  # without a text of its own an image gets its file's name
                self.problems.append(f"image without alternative text: {values.get('src')}")
        for name in ("href", "src"):
            url = values.get(name)
            if not url or url.startswith(("mailto:", "data:", "javascript:")):
                continue
            if not url.startswith(OUTSIDE):
                self.links.append(url)
            elif (tag, name) in LOADED and values.get("rel") != "canonical":
                self.problems.append(f"loads from outside: {url}")
            else:
                self.outside.append(url)

    def handle_data(self, data: str) -> None:
        """Collect the text of what needs a name."""
        for _, texts in self._open:
            texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        """Judge what needs a name when it ends."""
        if self._open and self._open[-1][0] == tag and not "".join(self._open.pop()[1]).strip():
            self.problems.append(f"{tag} without a name")


def read_site(root: Path) -> dict[Path, Page]:
    """Every page of a built book by its path; the theme's own files are left out."""
    root = root.resolve()
    return {path: Page(path) for path in sorted(root.rglob("*.html")) if "_static" not in path.parts}


def check(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield (page, problem)."""
    pages = read_site(root)
    for path, page in pages.items():
        yield from ((path, problem) for problem in page.problems)
        for url in page.links:
            parts = urlsplit(url)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                yield path, f"missing file: {url}"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                yield path, f"missing anchor: {url}"


def main(root: str) -> int:
    """Print the problems of a site; the number of them decides the exit status."""
    found = [f"{path}: {problem}" for path, problem in check(Path(root))]
    print("\n".join(found) or "every link resolves; nothing loads from outside")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
