"""The directive ``{verdicts}``: the ledger of all papers as tables, made from the records when the book is built.

It stands alone, without argument or content: a summary comes first, then one section and one table a paper. What
nobody has run is an em dash; facts about data sets are counted apart. The ledger is `retlib.report.all_verdicts`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

DASH = "—"
HEAD = ("", "reported", "measured", "difference", "profile", "verdict")


def shown(value: float | str | None, decimals: int, sign: bool = False) -> str:
    """A number with its decimals and a real minus sign, a text as it is, an em dash for nothing."""
    if value is None:
        return DASH
    if isinstance(value, str):
        return value
    value = round(value, decimals) or 0.0  # no negative zero
    return format(value, f"{'+' if sign and value else ''}.{decimals}f").replace("-", "\N{MINUS SIGN}")


def text_nodes(text: str) -> list[nodes.Node]:
    """Plain text with ``code`` in backticks."""
    parts = re.split(r"`([^`]+)`", text)
    made = (nodes.literal(part, part) if index % 2 else nodes.Text(part) for index, part in enumerate(parts))
    return [node for node in made if node.astext()]


def entry(*content: nodes.Node | str, **options: object) -> nodes.entry:
    """One cell."""
    inline = [node for item in content for node in (text_nodes(item) if isinstance(item, str) else [item])]
    return nodes.entry("", nodes.paragraph("", "", *inline), **options)


def table(head: Sequence[str], rows: Iterable[nodes.row], classes: Sequence[str]) -> nodes.table:
    """A table whose columns are as wide as they need to be."""
    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in head), cols=len(head))
    group += nodes.thead("", nodes.row("", *(entry(title) for title in head)))
    group += nodes.tbody("", *rows)
    return nodes.table("", group, classes=["colwidths-auto", *classes])


def ledger_rows(lines: Sequence) -> list[nodes.row]:
    """The rows of one paper: a line across the table for each group of several, then its lines."""
    rows = []
    for (where, group, _), members in groupby(lines, key=lambda line: (line.where, line.group, bool(line.item))):
        members = list(members)
        alone = len(members) == 1 and not members[0].item
        head = [nodes.strong("", f"{where}. "), *text_nodes(group)]
        if not alone:
            rows.append(nodes.row("", entry(*head, morecols=len(HEAD) - 1), classes=["group"]))
        for line in members:
            what = head if alone else text_nodes(line.item[:1].upper() + line.item[1:])
            if line.note:
                what = [*what, nodes.inline("", "", *text_nodes(f" {line.note}"), classes=["note"])]
            anchor = nodes.make_id(f"verdict-{line.verdict or DASH}")
            rows.append(
                nodes.row(
                    "",
                    entry(*what),
                    entry(shown(line.reported, line.decimals)),
                    entry(shown(line.measured, line.decimals)),
                    entry(shown(line.difference, line.decimals, sign=True)),
                    entry(line.profile),
                    entry(nodes.inline("", line.judged, classes=["verdict", anchor])),
                )
            )
    return rows


def count_rows(counts, titles: dict[str, str]) -> list[nodes.row]:
    """The rows of the summary; a paper's name stands in its first one and leads to its table."""
    rows, before = [], None
    for paper, kind, profile, judged, number in counts.itertuples(index=False):
        name = nodes.reference("", titles[paper], internal=True, refid=section_id(paper)) if paper != before else ""
        judged = "no verdict" if judged == DASH else judged
        rows.append(nodes.row("", *map(entry, (name, f"{kind}s", profile, judged, str(number)))))
        before = paper
    return rows


def section_id(key: str) -> str:
    """Anchor of a paper's section."""
    return nodes.make_id(f"verdicts-{key}")


class VerdictsDirective(SphinxDirective):
    """Every claim of every paper, from the book's records."""

    def run(self) -> list[nodes.Node]:
        """Sphinx calls this where the directive stands."""
        from retlib.papers import list_papers, load_paper
        from retlib.report import ledger_lines, verdict_counts

        self.env.note_reread()  # it depends on records and papers, not on this page alone
        papers = {key: load_paper(key) for key in list_papers()}
        lines = ledger_lines(Path(self.env.srcdir) / "book" / "records")
        titles = {key: paper.short for key, paper in papers.items()}
        counts = verdict_counts(lines)
        head = ("paper", "about", "profile", "verdict", "lines")
        summary = table(head, count_rows(counts, titles), ["ledger-summary"])
        sections = [self.section("Summary", "verdicts-summary", summary)]
        for key, paper in papers.items():
            own = [line for line in lines if line.paper == key]
            made = table(HEAD, ledger_rows(own), ["ledger"])
            sections.append(self.section(paper.short, section_id(key), self.introduction(paper), made))
        return sections

    def section(self, title: str, anchor: str, *content: nodes.Node) -> nodes.section:
        """A section with its heading."""
        made = nodes.section("", nodes.title("", title), *content, ids=[anchor], names=[])
        self.set_source_info(made)
        self.state.document.ids[anchor] = made
        return made

    def introduction(self, paper) -> nodes.paragraph:
        """Title, authors and year, and the way to the paper's page where there is one."""
        words = nodes.paragraph("", f"{', '.join(paper.authors)}: " if paper.authors else "")
        words += nodes.emphasis("", paper.title)
        words += nodes.Text(f" ({paper.year}).")
        page = f"notebooks/{paper.key.replace('-', '_')}"
        if page in self.env.found_docs:
            words += nodes.Text(" Its page: ")
            options = {"refdomain": "std", "reftype": "doc", "refexplicit": False, "refwarn": True}
            reference = addnodes.pending_xref("", refdoc=self.env.docname, reftarget=f"/{page}", **options)
            reference += nodes.inline("", paper.short)
            words += reference
            words += nodes.Text(".")
        return words


def setup(app):
    """Register the directive and the style of its tables."""
    app.add_directive("verdicts", VerdictsDirective)
    app.add_css_file("verdicts.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
