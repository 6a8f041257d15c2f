"""The model zoo: sizes, receptive fields and scores against other ways to them, and the drawings against the papers."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest
import torch

from retlib.models import MODEL_TITLES, build_model, count_parameters, list_models
from retlib.papers import list_papers, load_paper
from retlib.studies import load_study
from tests.notebooks.in_process import RECORDS, ROOT, run_script

pytestmark = pytest.mark.slow  # the build of the book executes the page; these look at what it says


@pytest.fixture(scope="module")
def page() -> tuple[dict, str]:
    """The page with the book's records."""
    return run_script("models", RECORDS)


def test_every_network_is_there_with_its_links(page: tuple) -> None:
    zoo = page[0]["zoo"]
    assert list(zoo.index) == list_models()
    api = (ROOT / "book" / "api" / "models.md").read_text(encoding="utf-8")
    modules = dict(zoo["network"].str.extract(r'models\.html#module-([\w.]+)"')[0])
    assert modules == {model: f"retlib.models.{model}" for model in list_models()}
    assert all(f"automodule:: {module}\n" in api for module in modules.values())
    assert zoo["what it is"].str.len().between(40, 130).all()
    linked = set(re.findall(r'href="(\w+)\.html"', "".join(zoo["papers"])))
    assert linked == {key.replace("-", "_") for key in list_papers()}
    for key in list_papers():
        for config in load_paper(key).runs("paper").values():
            assert f"{key.replace('-', '_')}.html" in zoo.loc[config.model, "papers"]


def test_the_leaderboard_is_that_of_the_records(page: tuple) -> None:
    """Means over images and seeds, from the records' files; parameters of networks that are built."""
    board = page[0]["leaderboard"]
    configs = load_study("one-protocol").runs("lite", role="table", dataset="drive")
    assert sorted(board["model"]) == list_models()
    of_model: dict[str, list[float]] = {}
    for run, config in configs.items():
        for seed in range(3):
            folder = RECORDS / load_study("one-protocol").config(run, "lite", seed).identify()
            dice = json.loads((folder / "record.json").read_text())["tests"]["drive:test"]["per_image"]["fov"]["dice"]
            of_model.setdefault(config.model, []).append(sum(dice) / len(dice))
    for run, row in board.iterrows():
        config = configs[run]
        model = build_model(config.model, in_channels=config.inputs.channels, **config.model_options)
        assert row["parameters"] == count_parameters(model)
        values = of_model[config.model]
        assert row["value"] == pytest.approx(sum(values) / len(values), abs=1e-9)
        assert row["low"] < row["value"] < row["high"]
    seconds = json.loads((RECORDS / "benchmarks.json").read_text())["network_seconds"]
    assert dict(zip(board["model"], board["CPU s"], strict=True)) == {k: v["cpu_s"] for k, v in seconds.items()}


@pytest.mark.parametrize(
    ("model", "options", "pixels"),
    [
        ("unet", {"depth": 1}, 18),  # 5 + 2 * (5 + 1) pixels and a place within the cell: see below
        ("resunetpp", {}, 1024),  # squeeze and excitation
        ("resaspp_unet", {}, 1024),  # image pooling
    ],
)
def test_receptive_fields(page: tuple, model: str, options: dict, pixels: int) -> None:
    """Of the U-Net of one pooling: two convolutions reach 2 pixels to each side of one; these 5 pixels lie in 3 cells;
    two convolutions in the bridge reach 2 cells more to each side, 7 cells of 2 pixels; the encoder 2 pixels more.
    """
    assert 7 * 2 + 2 * 2 == 18
    assert page[0]["receptive_field"](model, json.dumps(options)) == pixels


def test_a_change_outside_the_receptive_field_changes_nothing(page: tuple) -> None:
    torch.manual_seed(0)
    network = build_model("unet", width=4, depth=2).eval()
    reach = page[0]["receptive_field"]("unet", json.dumps({"depth": 2}))
    image = torch.rand(1, 1, 4, 256)
    with torch.no_grad():
        before = network(image)[..., 128]
        for place in [*range(128 - reach), *range(128 + reach, 256)]:
            image[..., place] = torch.rand(1)
        assert torch.equal(network(image)[..., 128], before)


def stages(page: tuple, model: str) -> tuple[list, list]:
    names = page[0]
    found = names["read_stages"](names["SHAPES"][model], 1)
    return found, names["joined"](found)[1]


def test_the_drawing_of_unet_has_its_skips(page: tuple) -> None:
    found, edges = stages(page, "unet")
    assert [shape[0] for _, _, shape in found] == [64, 128, 256, 512, 1024, 512, 256, 128, 64, 1]
    down, up = [(n, n + 1) for n in range(4)], [(n, n + 1) for n in range(4, 9)]
    assert edges == sorted([*down, *up, (3, 5), (2, 6), (1, 7), (0, 8)])


def test_the_drawing_of_unetpp_is_the_papers_grid(page: tuple) -> None:
    """Equation 1 of Zhou et al.: X(i, j) joins all X(i, k) with k < j, and X(i + 1, j - 1)."""
    found, edges = stages(page, "unetpp")
    grid = [(i, 0) for i in range(5)] + [(i, j) for j in range(1, 5) for i in range(5 - j)]
    number = {node: place for place, node in enumerate(grid)}
    wanted = [(number[i - 1, 0], number[i, 0]) for i in range(1, 5)]
    for i, j in grid[5:]:
        wanted += [(number[i, k], number[i, j]) for k in range(j)] + [(number[i + 1, j - 1], number[i, j])]
    assert edges == sorted([*wanted, (number[0, 4], len(grid))])
    assert len(found) == 16


def test_every_drawing_has_a_text_of_its_own(page: tuple) -> None:
    texts = [html.unescape(text) for text in re.findall(r'<img alt="([^"]+)" src="data:image/svg', page[1])]
    assert [text.split(":")[0] for text in texts] == [MODEL_TITLES[model] for model in list_models()]
    assert len(set(texts)) == len(texts) and all(len(text) > 60 for text in texts)


def test_without_records_there_are_gaps_and_no_scores(tmp_path: Path) -> None:
    names, shown = run_script("models", tmp_path, {"receptive_field": lambda model, options: 1})
    assert names["leaderboard"]["value"].isna().all() and len(names["leaderboard"]) == len(list_models())
    assert names["basis"] == "no record yet" and names["clock"] == ""
    assert "nan" not in shown.lower().split() and "highest Dice" not in shown
    assert not list(tmp_path.iterdir())
