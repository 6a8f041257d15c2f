"""Which address the buttons of the book use."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path

import pytest
import yaml
from address import github_origin, is_placeholder, with_address

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config() -> dict:
    """The book's configuration, with the placeholder whatever this checkout has."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    config["repository"]["url"] = "https://github.com/" + "example/retlib"
    return config


def test_an_address_of_the_configuration_is_kept(config: dict) -> None:
    config["repository"]["url"] = "https://github.com/them/study"
    before = copy.deepcopy(config)
    assert with_address(config, "https://github.com/other/fork") == "" and config == before


def test_the_placeholder_gives_way_to_origin(config: dict) -> None:
    note = with_address(config, "https://github.com/them/study")
    assert config["repository"]["url"] == "https://github.com/them/study"
    assert "https://github.com/them/study" in note and "make notebooks" in note
    assert config["html"]["use_repository_button"] and config["html"]["use_issues_button"]
    assert config["launch_buttons"] == {}  # the committed notebooks would clone the placeholder


def test_without_an_address_there_are_no_buttons(config: dict) -> None:
    assert "no Colab, source and issue buttons" in with_address(config, None)
    assert not config["html"]["use_repository_button"] and not config["html"]["use_issues_button"]
    assert not config["sphinx"]["config"]["html_theme_options"]["use_source_button"]
    assert config["launch_buttons"] == {} and "repository: url" in config["html"]["extra_footer"]


def test_placeholders() -> None:
    assert is_placeholder("https://github.com/" + "example/retlib")
    assert not is_placeholder("https://github.com/examples/retlib") and not is_placeholder(
        "https://github.com/a/example"
    )


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://github.com/them/study", "https://github.com/them/study"),
        ("https://github.com/them/study.git/", "https://github.com/them/study"),
        ("https://token@github.com/them/my.study.git", "https://github.com/them/my.study"),
        ("git@github.com:them/study.git", "https://github.com/them/study"),
        ("ssh://git@github.com/them/study.git", "https://github.com/them/study"),
        ("https://gitlab.com/them/study.git", None),
        ("https://notgithub.com/them/study", None),
        ("../study", None),
        (None, None),
    ],
)
def test_origin_on_github(tmp_path: Path, remote: str | None, address: str | None) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    if remote is not None:
        subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", remote], check=True)
    assert github_origin(tmp_path) == address
