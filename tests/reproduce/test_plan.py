"""Which runs are planned, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from retlib.papers import list_papers, load_paper
from retlib.studies import list_studies, load_study
from retlib.study.pending import TIERS, expand_keys, runs_in_order

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def everything():
    return runs_in_order(["all"], "paper")


def test_all_is_every_run_of_every_paper_and_study(everything) -> None:
    planned = {(key, name, 0) for key in list_papers() for name in load_paper(key).plan("paper")}
    planned |= {(key, run.name, run.seed) for key in list_studies() for run in load_study(key).schedule("paper")}
    assert sorted((run.key, run.name, run.config.seed) for run in everything) == sorted(planned)


def test_tiers_follow_one_another(everything) -> None:
    tiers = [run.tier for run in everything]
    assert tiers == sorted(tiers, key=list(TIERS).index)
    assert set(tiers) == set(TIERS) - {"seeds"}  # papers have one seed unless more are asked for


def test_the_proposed_models_of_all_papers_come_first(everything) -> None:
    proposed = {(key, name) for key in list_papers() for name in load_paper(key).proposed.values()}
    assert {(run.key, run.name) for run in everything[: len(proposed)]} == proposed
    rows = {(key, name) for key in list_papers() for name in load_paper(key).runs("paper", role="table")}
    assert {(run.key, run.name) for run in everything if run.tier == "papers"} == rows


def test_the_leaderboard_keeps_its_own_schedule(everything) -> None:
    study = load_study("one-protocol")
    table = study.runs("paper", role="table")
    expected = [(run.name, run.seed) for run in study.schedule("paper") if run.name in table]
    assert [(run.name, run.config.seed) for run in everything if run.tier == "leaderboard"] == expected


def test_folds_cross_data_set_and_search_come_last(everything) -> None:
    by_tier = {tier: {run.key for run in everything if run.tier == tier} for tier in TIERS}
    assert by_tier["folds"] <= set(list_papers()) and by_tier["folds"]
    assert by_tier["transfer"] == {"transfer"}
    assert {"recipe", "cameras"} <= by_tier["ablations"]


def test_further_seeds_follow_the_leaderboard_and_every_row_gets_them() -> None:
    runs = runs_in_order(["resaspp-unet", "one-protocol"], "lite", seeds=(0, 4), roles=["table"])
    rows = load_paper("resaspp-unet").runs("lite", role="table")
    further = [run for run in runs if run.tier == "seeds"]
    assert {run.name for run in further} == set(rows) and {run.config.seed for run in further} == {4}
    assert runs[-len(further) :] == further
    board = [run for run in runs if run.tier == "leaderboard"]
    # Instead of the study's own seeds.
    assert {run.config.seed for run in board if run.name.startswith("hrf")} == {0, 4}


def test_keys() -> None:
    assert expand_keys(["af-unet", "all", "recipe"])[0] == "af-unet"
    assert sorted(expand_keys(["all"])) == sorted([*list_papers(), *list_studies()])
    with pytest.raises(ValueError, match=r"unknown paper or study 'af-unett'; papers: af-unet.*one-protocol"):
        expand_keys(["af-unett"])


def test_the_page_names_the_tiers_in_this_order() -> None:
    page = (ROOT / "book" / "reproduce.md").read_text(encoding="utf-8")
    places = [page.index(f"**{tier}**") for tier in TIERS]
    assert places == sorted(places)
