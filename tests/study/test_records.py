"""The committed records: each of them real, current and whole, and none missing beside a table."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from retlib.papers import list_papers, load_paper
from retlib.studies import list_studies, load_study
from retlib.study import Store, open_study
from retlib.study.baselines import METHODS, baseline_of
from retlib.study.parameters import Parameters
from tests.pages import functions_of

TABLES = [(key, number) for key in list_papers() for number in load_paper(key).tables]


@pytest.fixture(autouse=True)
def without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids then come from the committed fingerprints, and no image is read."""
    monkeypatch.delenv("RETLIB_DATA", raising=False)


@pytest.fixture(scope="module")
def store(repository: Path) -> Store:
    """The book's records."""
    return Store(repository / "book" / "records")


@pytest.mark.parametrize(("key", "number"), TABLES)
def test_every_row_that_a_run_stands_beside_has_a_record(repository: Path, key: str, number: str) -> None:
    """On real data, of present numerics, its config the one of the paper's YAML."""
    study = open_study(key, Parameters(), repository / "notebooks")
    for _, name in study.paper.table_runs(number):
        record = study.record(name)
        assert record is not None, f"{key}, table {number}: {name} has no record"
        assert record.profile in ("lite", "paper") and not record.stale
        expected = study.paper.runs(record.profile)[name]
        assert record.config == expected and record.id == expected.identify()


@pytest.mark.parametrize("key", list_papers())
def test_a_papers_page_shows_every_seed_as_the_page_of_verdicts_does(repository: Path, store: Store, key: str) -> None:
    script = (repository / "notebooks" / f"{key.replace('-', '_')}.py").read_text(encoding="utf-8")
    shown = ast.literal_eval(re.search(r"^seeds: list = (\[.*?\])", script, re.MULTILINE)[1])
    paper = load_paper(key)
    for profile in ("lite", "paper"):
        for seed in set(range(10)) - set(shown):
            assert not [name for name, config in paper.runs(profile, seed).items() if store.find(config) is not None]


def test_no_record_is_left_over(repository: Path, store: Store) -> None:
    """Every committed record belongs to a run that a paper or a study plans, with some seed, as it is planned now."""
    planned = {
        config.identify()
        for key in list_papers()
        for profile in ("lite", "paper")
        for seed in range(10)
        for config in load_paper(key).runs(profile, seed).values()
    }
    for profile in ("lite", "paper"):
        for key in list_studies():
            study = load_study(key)
            planned |= {config.identify() for seed in range(3) for config in study.runs(profile, seed).values()}
        compared = load_study("one-protocol").runs(profile).values()
        planned |= {baseline_of(method, config).identify() for config in compared for method in METHODS}
        study = open_study("one-protocol", Parameters(profile=profile), repository)
        ranked = study.source.runs(profile, role="table", dataset="drive")
        planned |= {config.identify() for config in functions_of("protocol_faults").planned(study, ranked)}
    assert not [record.id for record in store if record.id not in planned]


def test_numbers_follow_from_the_histograms(store: Store) -> None:
    """Counts are exact, areas agree to 1e-3."""
    for record in store:
        for label in record.content["tests"]:
            for region in ("fov", "frame"):
                histogram = record.histograms(label).select(region=region, pooled=True)
                again = histogram.metrics(record.content["threshold"])
                stored = record.metrics(label, region, "pooled")
                for metric in ("accuracy", "sensitivity", "specificity", "precision", "dice", "iou", "mcc"):
                    if stored[metric] is not None:
                        assert float(again[metric]) == pytest.approx(stored[metric], abs=1e-12)
                for metric in ("auc", "average_precision"):
                    assert float(again[metric]) == pytest.approx(stored[metric], abs=1e-3)
