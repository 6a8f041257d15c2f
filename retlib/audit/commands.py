"""`retlib audit`: compare the numbers of a table with one another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from retlib.audit.row_audit import RowAudit
    from retlib.audit.table_file import TableFile


def audit(
    table: Annotated[Path, typer.Argument(help="A table as CSV, Markdown, LaTeX or .xlsx: one method a row.")],
    dataset: Annotated[
        str | None,
        typer.Option(help="Data set of all rows: drive, stare, chase_db1, hrf. A column Dataset does the same."),
    ] = None,
    part: Annotated[
        Literal["test", "any"] | None,
        typer.Option(
            help="What was scored: the customary test images, or any of the set; by default the test images "
            "are assumed, and what other images explain is left in doubt."
        ),
    ] = None,
    records: Annotated[
        Path | None, typer.Option(help="Folder of records; by default that of the checkout that you are in.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a table's own numbers imply, and whether they can stand together.

    Columns are known by their usual names (Acc, Se or Recall, Sp, Precision, F1 or Dice, IoU; Method; Dataset), as
    fractions or percentages; a heading may name a data set, split or region, as in 'Dice (DRIVE)'. The exit code is 0
    whatever the verdicts are.
    """
    from retlib.audit.deviations import find_records, load_background
    from retlib.audit.table_audit import audit_table
    from retlib.audit.table_file import read_table

    if records is not None and not records.is_dir():
        raise ValueError(f"--records: there is no folder {records}")
    content = read_table(table)
    background = load_background(find_records() if records is None else records)
    rows = audit_table(content, background, dataset, part)
    notes = list(content.notes)
    if not background.shares:
        notes.append("no measured vessel shares were found, so the region that was scored is not named (see --records)")
    if not background.deviations:
        notes.append("no records were found, so only what breaks a proven bound is called impossible (see --records)")
    if as_json:
        typer.echo(json.dumps(as_plain(content, rows, notes), indent=1, ensure_ascii=False))
    else:
        _print(content, rows, notes)


def as_plain(table: TableFile, rows: list[RowAudit], notes: list[str]) -> dict[str, Any]:
    """Convert the outcome to plain data: what was read, then a dictionary for each row."""
    keys = ("name", "verdict", "basis", "assumption", "arithmetic")
    return {
        "columns": {
            heading: {"score": score, "percent": heading in table.percent} for heading, score in table.columns.items()
        },
        "notes": notes,
        "rows": [
            {
                "label": row.label,
                "dataset": row.dataset,
                "scores": dict(row.scores),
                "vessel_share": None if row.share is None or row.share.interval is None else vars(row.share.interval),
                "region": row.share.region if row.share else "",
                "verdict": row.verdict,
                "checks": [{key: getattr(check, key) for key in keys} for check in row.checks],
            }
            for row in rows
        ],
    }


def _print(table: TableFile, rows: list[RowAudit], notes: list[str]) -> None:
    from retlib.audit.verdicts import BASES

    read = ", ".join(
        f"{heading} = {score}{' (percent)' if heading in table.percent else ''}"
        for heading, score in table.columns.items()
    )
    typer.echo(f"{len(table.rows)} rows; columns: {read}")
    for note in notes:
        typer.echo(f"note: {note}")
    wide = max(len(_name(row)) for row in rows)
    typer.echo(f"\n{'row':<{wide}}  {'vessel share':<26}  {'region':<38}  verdict")
    for row in rows:
        share = str(row.share.interval) if row.share and row.share.interval else "-"
        region = (row.share.region if row.share else "") or "-"
        typer.echo(f"{_name(row):<{wide}}  {share:<26}  {region:<38}  {row.verdict or 'nothing to check'}")
    for row in rows:
        if row.checks:
            typer.echo(f"\n{_name(row)}")
        for check in row.checks:
            typer.echo(f"  {check.name}: {check.verdict}")
            typer.echo(f"    {check.arithmetic}")
            typer.echo(f"    assumes: {check.assumption}; rests on: {BASES[check.basis]}")


def _name(row: RowAudit) -> str:
    return row.label if row.dataset is None else f"{row.label} ({row.dataset})"
