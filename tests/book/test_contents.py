"""The table of contents: what a reader of the study wants, then what a person does with it, then what is looked up."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
PARTS = {part["caption"]: [chapter["file"] for chapter in part["chapters"]] for part in TOC["parts"]}


def test_the_parts_in_order() -> None:
    assert list(PARTS) == ["The study", "Papers", "All together", "Data", "Use it", "Reference"]


def test_what_a_developer_looks_up_is_no_part_of_the_study() -> None:
    assert {"book/predict", "notebooks/model_card", "book/reproduce", "book/add-a-paper"} <= set(PARTS["Use it"])
    lookup = {
        "notebooks/models",
        "book/api/index",
        "notebooks/speed",
        "notebooks/full_size",
        "notebooks/records",
        "book/references",
    }
    assert lookup <= set(PARTS["Reference"])


def test_every_page_of_prose_is_listed_once() -> None:
    listed = [TOC["root"], *(file for files in PARTS.values() for file in files)]
    chapters = [chapter for part in TOC["parts"] for chapter in part["chapters"]]
    listed += [section["file"] for chapter in chapters for section in chapter.get("sections", [])]
    pages = [f"book/{path.relative_to(ROOT / 'book').with_suffix('')}" for path in (ROOT / "book").rglob("*.md")]
    notebooks = [f"notebooks/{path.stem}" for path in (ROOT / "notebooks").glob("*.py")]
    assert sorted(listed) == sorted(pages + notebooks)
