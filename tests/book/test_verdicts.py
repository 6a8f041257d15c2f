"""The page of all verdicts: its tables say what the ledger says."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

from verdicts import DASH, HEAD, count_rows, ledger_rows, shown, text_nodes  # noqa: E402

from retlib.papers import list_papers, load_paper  # noqa: E402
from retlib.report import ledger_lines, verdict_counts  # noqa: E402
from retlib.study.ledger import Line  # noqa: E402


@pytest.mark.parametrize(
    ("value", "decimals", "sign", "text"),
    [
        (None, 4, False, DASH),
        ("holds in 3 of 5", 4, False, "holds in 3 of 5"),
        (0.95, 4, False, "0.9500"),
        (564.0, 0, False, "564"),
        (-0.0123, 4, True, "\N{MINUS SIGN}0.0123"),
        (0.0123, 4, True, "+0.0123"),
        (-0.000001, 4, True, "0.0000"),
        (0.0, 0, True, "0"),
    ],
)
def test_numbers_are_shown_as_printed(value: object, decimals: int, sign: bool, text: str) -> None:
    assert shown(value, decimals, sign) == text


def test_code_in_a_sentence() -> None:
    assert [node.astext() for node in text_nodes("See `a_b` and `c`.")] == ["See ", "a_b", " and ", "c", "."]


def test_a_group_of_several_lines_has_a_heading_and_a_single_claim_has_none() -> None:
    cell = {"where": "Table 1", "group": "Two models", "reported": 0.5, "verdict": "not run"}
    lines = [
        Line("toy", item="A: Dice", **cell),
        Line("toy", item="B: Dice", **cell),
        Line("toy", "Text", "A is best.", "", "holds", verdict="not run"),
        Line("toy", "Text", "A looks good.", "", note="Look at `b`."),
    ]
    rows = ledger_rows(lines)
    texts = [[entry.astext() for entry in row.children] for row in rows]
    assert texts == [
        ["Table 1. Two models"],
        ["A: Dice", "0.5000", DASH, DASH, DASH, "not run"],
        ["B: Dice", "0.5000", DASH, DASH, DASH, "not run"],
        ["Text. A is best.", "holds", DASH, DASH, DASH, "not run"],
        ["Text. A looks good. Look at b.", DASH, DASH, DASH, DASH, DASH],
    ]
    assert rows[0]["classes"] == ["group"] and rows[0].children[0]["morecols"] == len(HEAD) - 1


def test_the_summary_names_a_paper_once() -> None:
    lines = [Line("toy", "Text", "x", "", verdict=judged) for judged in ("not run", "not run", None)]
    rows = [[entry.astext() for entry in row.children] for row in count_rows(verdict_counts(lines), {"toy": "Toy"})]
    assert rows == [["Toy", "claims", DASH, "not run", "2"], ["", "claims", DASH, "no verdict", "1"]]


# --- the rendered page --------------------------------------------------------------------------------------------


class Tables(HTMLParser):
    """Rows of every table of a page by the table's class: texts of the cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[tuple[str, list[str]]] = []
        self.kind, self.cell = "", False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.kind = (dict(attrs)["class"] or "").split()[0]
        elif tag == "tr":
            self.rows.append((self.kind, []))
        elif tag == "td":
            self.rows[-1][1].append("")
            self.cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            self.cell = False

    def handle_data(self, data: str) -> None:
        if self.cell:
            self.rows[-1][1][-1] += data.strip("\n").replace("’", "'")

    def of(self, kind: str) -> list[list[str]]:
        """Rows of a kind of table, heads left out."""
        return [cells for found, cells in self.rows if found == kind and cells]


@pytest.fixture(scope="module")
def page(site: Path) -> str:
    return (site / "book" / "verdicts.html").read_text(encoding="utf-8")


def test_every_line_of_the_ledger_is_on_the_page(page: str, build_folder: Path) -> None:
    lines = ledger_lines(build_folder / "src" / "book" / "records")
    rows = [cells for cells in Tables(page).of("ledger") if len(cells) == len(HEAD)]
    assert len(rows) == len(lines)
    for cells, line in zip(rows, lines, strict=True):
        assert cells[0].lower().startswith((line.item or f"{line.where}. {line.group}").replace("`", "").lower())
        assert cells[1:] == [
            shown(line.reported, line.decimals),
            shown(line.measured, line.decimals),
            shown(line.difference, line.decimals, sign=True),
            line.profile,
            line.judged,
        ]


def test_the_summary_counts_them(page: str, build_folder: Path) -> None:
    rows = Tables(page).of("ledger-summary")
    lines = ledger_lines(build_folder / "src" / "book" / "records")
    assert sum(int(cells[-1]) for cells in rows) == len(lines)
    assert [cells[0] for cells in rows if cells[0]] == [load_paper(key).short for key in list_papers()]


@pytest.mark.parametrize("key", list_papers())
def test_every_paper_has_its_section_and_leads_to_its_page(page: str, key: str) -> None:
    start = page.index(f'<section id="verdicts-{key}">')
    introduction = page[start : page.index("<table", start)]
    assert f"../notebooks/{key.replace('-', '_')}.html" in introduction
    assert f'href="#verdicts-{key}"' in page


def test_what_is_missing_is_a_dash_and_nothing_else(page: str) -> None:
    cells = {cell for kind in ("ledger", "ledger-summary") for row in Tables(page).of(kind) for cell in row}
    assert not cells & {"nan", "NaN", "None", "\N{MINUS SIGN}"} and DASH in cells
    assert "_static/verdicts.css" in page
