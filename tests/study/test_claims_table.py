"""The table of a paper's claims."""

from __future__ import annotations

from retlib.study import check_parameters, open_study, tables, verdicts


def test_our_records_are_shown_where_the_papers_tables_decide_nothing(repository, monkeypatch):
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    study = open_study("r2u-net", check_parameters({"seeds": [0, 1, 2]}), repository / "notebooks")
    table = tables.claims_table(verdicts.ledger(study), study.paper).set_index("claim")
    compared = table.loc[study.paper.claim("better-features").statement]
    assert compared["the paper's tables"] == tables.DASH and compared["our records"].startswith(("holds", "fails"))
    # Numbers of a claim, and facts of a data set, are no comparison of runs.
    for identity in ("last-epoch", "drive-files", "fov-diameter"):
        assert table.loc[study.paper.claim(identity).statement, "our records"] == tables.DASH
