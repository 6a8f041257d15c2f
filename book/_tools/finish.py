"""Finish the rendered pages: one line of headings a table, names for all controls, notebooks without their outputs.

These are details of pandas' and the theme's HTML that a screen reader stumbles over, and weight that nobody needs.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

HEAD = re.compile(r"<thead>.*?</thead>", re.DOTALL)
LINE = re.compile(r"<tr\b.*?</tr>", re.DOTALL)
HEADING = re.compile(r"<th\b(?P<attributes>[^>]*)>(?P<text>.*?)</th>", re.DOTALL)
EMPTY_HEADING = re.compile(r"<th\b(?P<attributes>[^>]*)>(?P<text>\s*(?:&nbsp;|&#160;|\xa0|<p>\s*</p>)?\s*)</th>")
FOLDED_PAGES = re.compile(r"(?P<link><a\b[^>]*>(?P<title>[^<]*)</a>)(?P<details><details\b[^>]*>)<summary>")


def one_line_of_headings(head: str) -> str:
    """Put the names that pandas writes below the headings, one for each column of labels, beside the headings.

    Args:
        head: a table's ``<thead>``. One whose last line holds more than such names comes back as it is.
    """
    lines = LINE.findall(head)
    cells = [HEADING.findall(line) for line in lines]
    if len(lines) < 2:
        return head
    names = [cell for cell in cells[-1] if "index_name" in cell[0]]
    blank = [cell for cell in cells[-1] if "blank" in cell[0]]
    places = cells[-2][: len(names)]
    if not names or len(names) + len(blank) != len(cells[-1]) or not all("blank" in cell[0] for cell in places):
        return head
    line = iter(names)
    joined = HEADING.sub(lambda cell: _heading(*next(line)) if "blank" in cell["attributes"] else cell[0], lines[-2])
    return head.replace(lines[-2], joined, 1).replace(lines[-1], "", 1)


def _heading(attributes: str, text: str) -> str:
    return f"<th{attributes}>{text}</th>"


def finish_page(page: str) -> str:
    """Rewrite the HTML of one page: headings of tables; names for the sidebar and for what unfolds pages in it."""
    page = HEAD.sub(lambda head: one_line_of_headings(head[0]), page)
    # An empty heading announces nothing; an empty cell is passed over.
    page = EMPTY_HEADING.sub(r"<td\g<attributes>>\g<text></td>", page)
    page = page.replace('class="bd-sidebar-primary ', 'role="region" aria-label="Sidebar" class="bd-sidebar-primary ')
    return FOLDED_PAGES.sub(r'\g<link>\g<details><summary aria-label="Pages of \g<title>">', page)


def finish(html: Path, notebooks: Path) -> None:
    """Finish a rendered book.

    Args:
        html: its folder.
        notebooks: the notebooks without outputs. They replace the executed ones that the download buttons lead to,
            which would hold every figure a second time.
    """
    for path in html.rglob("*.html"):
        if "_static" not in path.relative_to(html).parts:
            before = path.read_text(encoding="utf-8")
            if (after := finish_page(before)) != before:
                path.write_text(after, encoding="utf-8")
    for path in (html / "_sources" / "notebooks").glob("*.ipynb"):
        shutil.copyfile(notebooks / path.name, path)
