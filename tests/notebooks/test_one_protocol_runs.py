"""The pages of the one protocol on synthetic images and without records: all is made from nothing, gaps stay gaps."""

from __future__ import annotations

import json
from pathlib import Path

import build as book
import pairing
import pytest

from tests.notebooks.test_study_notebooks import outputs, words

PAGES = ["one_protocol", "protocol_faults"]
pytestmark = pytest.mark.usefixtures("_warm_kernels")


def execute(folder: Path, pages: list[str], **parameters: object) -> list[dict]:
    """Execute notebooks as `make book` would; the executed ones."""
    book.build(folder, only=pages, parameters=parameters, progress=False)
    folder = folder / "src" / "notebooks"
    return [json.loads((folder / f"{page}.ipynb").read_text(encoding="utf-8")) for page in pages]


def figures(notebook: dict) -> int:
    kinds = ("image/png", "image/svg+xml")
    return sum(any(kind in out.get("data", {}) for kind in kinds) for out in outputs(notebook))


def unsound(notebook: dict) -> list[dict]:
    return [out for out in outputs(notebook) if out["output_type"] == "error" or out.get("name") == "stderr"]


@pytest.fixture(autouse=True)
def _without_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "cache"))


def test_smoke_profile_runs_to_the_end(tmp_path: Path) -> None:
    records = tmp_path / "records"
    settings = {"profile": "smoke", "train": "missing", "device": "cpu", "seeds": [0], "records": str(records)}
    leaderboard, flaws = execute(tmp_path / "build", PAGES, **settings)
    kinds = {}
    for path in records.glob("*/record.json"):
        config = json.loads(path.read_text(encoding="utf-8"))["config"]
        assert config["profile"] == "smoke"
        kind = config.get("method") or config.get("kind") or "run"
        kinds[kind] = kinds.get(kind, 0) + 1
    assert kinds == {"run": 3, "frangi": 1, "matched_filter": 1, "rescored": 3, "epochs": 1}
    assert not unsound(leaderboard) and not unsound(flaws)
    assert (figures(leaderboard), figures(flaws)) == (6, 3)
    assert "0.8283" not in json.dumps(leaderboard), "a published number stands beside synthetic images"
    assert all("This is a smoke run on synthetic images" in words(page) for page in (leaderboard, flaws))
    assert "no difference is shown to be absent" in words(leaderboard)


def test_without_records_there_are_gaps_and_no_numbers(tmp_path: Path) -> None:
    """What tests can decide follows from the numbers of images and networks, so it is there before any run is."""
    (tmp_path / "records").mkdir()
    pages = execute(tmp_path / "build", PAGES, records=str(tmp_path / "records"))
    for page in pages:
        assert not unsound(page) and figures(page) == 0
        text = words(page)
        assert "no record yet" in text.lower() and "nan" not in text.lower().split() and text.count("\N{EM DASH}") > 20
    text = words(pages[0])
    assert "With 8 images no pair of CHASE_DB1 can reach significance after Holm's correction over 78 pairs" in text
    assert "at most 6 comparisons, the pairs of 4 networks" in text and text.count("no pair of") == 1
    assert not list((tmp_path / "records").glob("*")), "a notebook that must not train made a record"


def test_a_wrong_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(pairing.NotebookError, match="profile"):
        execute(tmp_path, PAGES[:1], profile="full")
