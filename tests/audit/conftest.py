"""The committed records and measurements, read once."""

from __future__ import annotations

from pathlib import Path

import pytest

from retlib.audit import Background, RowAudit, load_background
from retlib.study.paper_audit import audit_paper

RECORDS = Path(__file__).parents[2] / "book" / "records"


@pytest.fixture(scope="session")
def background() -> Background:
    return load_background(RECORDS)


@pytest.fixture(scope="session")
def audits(background: Background) -> dict[str, list[RowAudit]]:
    from retlib.papers import list_papers

    return {key: audit_paper(key, background) for key in list_papers()}
