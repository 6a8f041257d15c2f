"""Audit a paper: every row of its tables, the rows of a table together, the text against the tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from retlib.audit import SCORES, Background, RowAudit, audit_row, check_one_share, check_text
from retlib.study import Claim, Paper, Printed, Table
from retlib.study.loader import load_paper
from retlib.study.tables import DASH
from retlib.study.verdicts import row_label


def audit_paper(paper: Paper | str, background: Background) -> list[RowAudit]:
    """Audit the tables of a paper and the claims of its text that print numbers.

    Which images were scored is taken from the paper's runs: a measured row whose run is tested on a customary test part
    is compared with that part; a row of one epoch (validation images) or from the literature with any photographs.

    Returns:
        Tables first, in the paper's order (rows, then the rows together), then claims. A row without a number that can
        be checked has no checks.
    """
    paper = load_paper(paper) if isinstance(paper, str) else paper
    audits = [audit for table in paper.tables.values() for audit in _audit_table(paper, table, background)]
    claims = [claim for claim in paper.claims if claim.values]
    return audits + [audit for claim in claims for audit in _audit_claim(paper, claim, background)]


def _audit_table(paper: Paper, table: Table, background: Background) -> Iterator[RowAudit]:
    where = f"Table {table.number}" if table.number.isdigit() else table.number
    measured: dict[str | None, list[RowAudit]] = {}
    for index, row in enumerate(table.rows):
        label = row_label(paper, table, row, None)
        for dataset, printed in table.values(index).items():
            audit = audit_row(
                printed,
                dataset=dataset,
                test_part=row.epoch is None and scored_test_part(paper, row.run, dataset),
                background=background,
                label="own row" if label == DASH else label,
                where=where,
                kind=row.kind,
            )
            yield audit
            if row.kind == "measured":
                measured.setdefault(dataset, []).append(audit)
    for dataset, rows in measured.items():
        check = check_one_share(rows)
        if check is not None:
            yield RowAudit("all rows", where, dataset, "measured", {}, {}, None, (check,))


def _audit_claim(paper: Paper, claim: Claim, background: Background) -> Iterator[RowAudit]:
    said = {metric: Printed(text) for metric, text in claim.values.items()}
    audit = audit_row(
        said,
        dataset=claim.dataset,
        test_part=scored_test_part(paper, claim.run, claim.dataset),
        background=background,
        label=claim.id,
        where=claim.where,
        kind="claim",
    )
    text = None
    if claim.same_as is not None:
        text = check_text(said, paper.repeated(claim), f"Table {claim.same_as.table}")
        # Numbers that only repeat a row were checked there.
        repeats = text is not None and text.verdict == "consistent"
        checks = (text,) if repeats else (*([text] if text else []), *audit.checks)
        audit = replace(audit, checks=checks)
    if len(said.keys() & SCORES.keys()) > 1 or text is not None:
        yield audit


def scored_test_part(paper: Paper, run: str | None, dataset: str | None) -> bool:
    """Check whether a run of the ``paper`` profile is scored on the customary test part of a data set."""
    planned = paper.plan("paper").get(run) if run is not None else None
    tests = [] if planned is None else planned.settings.get("test", [])
    return any(test.get("dataset") == dataset and test.get("split") == "test" for test in tests)
