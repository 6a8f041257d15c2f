"""The page of the runs at full size says what the rehearsal's file says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from rehearse import planned

from tests.book.test_verdicts import Tables

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

from rehearsal import HEAD, batch_text, hours, rows  # noqa: E402

from retlib.papers import list_papers, load_paper  # noqa: E402


@pytest.fixture(scope="module")
def lines() -> dict[str, dict]:
    return json.loads((ROOT / "book" / "records" / "rehearsal.json").read_text(encoding="utf-8"))


def test_every_run_of_the_paper_profile_was_rehearsed_as_it_is_planned_now(lines: dict[str, dict]) -> None:
    groups = {members[0][0]: members for members in planned().values()}
    assert set(groups) == set(lines)
    for name, members in groups.items():
        assert lines[name]["config"] == members[0][1].identify(), f"{name}: make rehearse"
        assert lines[name]["stands_for"] == [other for other, _ in members]
        assert lines[name]["steps"] == 2 and lines[name]["loss"] > 0


def test_the_page_has_a_row_a_line(site: Path, lines: dict[str, dict]) -> None:
    page = (site / "book" / "full-size.html").read_text(encoding="utf-8")
    shown = [cells for cells in Tables(page).of("rehearsal") if len(cells) == len(HEAD)]
    papers = {name: line for name, line in lines.items() if name.split("/")[0] in list_papers()}
    studies = {name: line for name, line in lines.items() if name not in papers}
    assert len(shown) == len(lines)
    for cells, (name, line) in zip(shown, (papers | studies).items(), strict=True):
        assert name.split("/")[1] in cells[1]
        assert cells[2] == f"{line['parameters']:,}" and cells[6] == str(line["planned_steps"])


def test_hours_and_batches() -> None:
    assert hours({"step_s": 2.0, "planned_steps": 3600}) == 2.0
    assert batch_text(load_paper("resaspp-unet").runs("paper")["drive-unet"]).endswith("images of 512x512")
    assert "patches of" in batch_text(load_paper("r2u-net").runs("paper")["drive-r2unet"])


def test_a_row_holds_what_was_measured(lines: dict[str, dict]) -> None:
    name, line = next(iter(lines.items()))
    cells = [cell.astext() for cell in rows({name: line}, "papers")[0].children]
    assert len(cells) == len(HEAD)
    assert not rows({name: line}, "studies")
    assert cells[4] == f"{line['loss']:.3f}" and cells[-1] == f"{line['step_s'] * line['planned_steps'] / 3600:.1f}"
