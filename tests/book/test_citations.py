"""The roles that put measured and reported numbers into prose."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

from records import CITATION, CitationError, measured, reported, walk  # noqa: E402

from retlib.papers import load_paper  # noqa: E402
from retlib.study import Store  # noqa: E402

PAPER = "resaspp-unet"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("p/r/lite:metrics.dice:.4f", ("p/r/lite", "metrics.dice", ".4f")),
        ("p/r/lite:metrics.dice", ("p/r/lite", "metrics.dice", None)),
        ("p/r/lite:tests.drive:test.metrics.fov.image.dice:.1%",
         ("p/r/lite", "tests.drive:test.metrics.fov.image.dice", ".1%")),
        ("p/r/lite:tests.drive:test.images", ("p/r/lite", "tests.drive:test.images", None)),
        ("p/r/lite:model.parameters:,d", ("p/r/lite", "model.parameters", ",d")),
        ("resaspp-unet:4:0:Dice:.4f", ("resaspp-unet", "4:0:Dice", ".4f")),
    ],
)  # fmt: skip
def test_a_citation_is_cut_where_it_should_be(text: str, parts: tuple) -> None:
    match = CITATION.fullmatch(text)
    assert match and (match["source"], match["key"], match["format"]) == parts


def test_walking() -> None:
    tree = {"a": {"b": [1, {"c": 2}]}}
    assert walk(tree, "a.b.0") == 1 and walk(tree, "a.b.1.c") == 2
    for wrong in ("x", "a.x", "a.b.2", "a.b.c", "a.b.0.c"):
        with pytest.raises(CitationError):
            walk(tree, wrong)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A store with one record of a run that the paper plans."""
    name, config = next(iter(load_paper(PAPER).runs("smoke").items()))
    scores = {"dice": 0.5, "auc": 0.75}
    region, average = config.scoring.region, config.scoring.average
    content = {
        "id": config.identify(),
        "config": config.model_dump(mode="json"),
        "tests": {config.test[0].label: {"metrics": {region: {average: scores}}}},
        "model": {"parameters": 1234},
    }
    Store(tmp_path).write(content, {})
    assert name
    return tmp_path


def first_run() -> str:
    """Name of the first run of the paper."""
    return next(iter(load_paper(PAPER).runs("smoke")))


def test_a_measured_number_comes_from_its_record(records: Path) -> None:
    source = f"{PAPER}/{first_run()}/smoke"
    assert measured(source, "metrics.auc", records) == 0.75
    assert measured(source, "model.parameters", records) == 1234


@pytest.mark.parametrize(
    ("source", "key", "words"),
    [
        ("resaspp-unet", "metrics.auc", "is not paper/run/profile"),
        ("resaspp-unet/no-such-run/smoke", "metrics.auc", "has no smoke run 'no-such-run'"),
        ("resaspp-unet/{run}/lite", "metrics.auc", "nobody has run"),
        ("resaspp-unet/{run}/smoke", "metrics.beauty", "no 'beauty' in dice, auc"),
    ],
)
def test_a_measured_number_that_is_not_there(records: Path, source: str, key: str, words: str) -> None:
    with pytest.raises(CitationError, match=words):
        measured(source.format(run=first_run()), key, records)


def test_a_reported_number_is_the_papers() -> None:
    frame = load_paper(PAPER).tables["4"].reported
    column = frame.columns[-1]
    assert reported(PAPER, f"4:0:{column}") == frame[column].iloc[0]


@pytest.mark.parametrize("key", ["4:0", "99:0:Dice", "4:0:Beauty", "4:77:Accuracy", "4:no such row:Accuracy"])
def test_a_reported_number_that_is_not_there(key: str) -> None:
    with pytest.raises(CitationError):
        reported(PAPER, key)
