"""What a notebook works with: its parameters, its study, and how its tables are shown."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pandas as pd
import pytest

from retlib.study import Store, check_parameters, figures, open_study, style
from retlib.study.parameters import _KERNEL_NAMES, Parameters
from tests.pages import functions_of

# --- parameters ---------------------------------------------------------------------------------------------------


def test_kernel_names_and_imports_are_no_parameters() -> None:
    namespace = {"In": [], "Out": {}, "_": 1, "pd": pd, "check_parameters": check_parameters}
    assert check_parameters(namespace) == Parameters()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"profil": "smoke"}, ["'profil'", "profile"]),
        ({"profile": "full"}, ["profile", "smoke", "lite", "paper"]),
        ({"train": "yes"}, ["train", "missing"]),
        ({"seeds": [0, 0]}, ["seeds", "distinct"]),
        ({"seeds": []}, ["seeds"]),
        ({"seeds": True}, ["seeds"]),
        ({"device": "gpu"}, ["device", "cuda"]),
        ({"data_root": "/no/such/folder"}, ["data_root", "retlib data status"]),
        ({"measure": "missing"}, ["measure"]),
        ({"seeds": "0; 1"}, ["seeds", "distinct", "'0; 1'"]),
        ({"seeds": "None"}, ["seeds", "distinct"]),
        ({"seeds": "true"}, ["seeds", "distinct"]),
        ({"train": "False"}, ["train", "missing", "'False'"]),
        ({"profile": "None"}, ["profile", "smoke"]),
    ],
)
def test_wrong_parameters_are_named(given: dict, words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        check_parameters(given)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"seeds": "[0, 1]"}, {"seeds": (0, 1)}),
        ({"seeds": "0,1"}, {"seeds": (0, 1)}),
        ({"seeds": "0"}, {"seeds": (0,)}),
        ({"train": "never"}, {"train": "never"}),
        ({"train": "'missing'"}, {"train": "missing"}),
        ({"data_root": "None", "records": "null"}, {"data_root": None, "records": None}),
        ({"records": "2026"}, {"records": "2026"}),  # the name of a folder
        ({"data_root": "~"}, {"data_root": str(Path.home())}),
    ],
)
def test_parameters_that_come_as_text(given: dict, expected: dict) -> None:
    """As `papermill -r` or an editor hands them over."""
    assert check_parameters(given) == Parameters(**expected)


def test_a_notebooks_own_parameters() -> None:
    extra = {"measure": ("missing", "never")}
    assert check_parameters({"measure": "never", "seeds": 3}, extra).seeds == (3,)
    with pytest.raises(ValueError, match="measure"):
        check_parameters({"measure": "often"}, extra)


def test_cells_are_run_again_in_one_kernel() -> None:
    """As Jupyter does: change a value, run the cells again; then mistype a name, and correct it."""
    namespace: dict = {}
    cell = 'profile: str = "lite"\nseeds: list = [0]\n'
    exec(cell, namespace)
    namespace.pop("__builtins__")
    namespace["parameters"] = check_parameters(namespace)
    namespace |= {"paper": object(), "rows": [1, 2]}
    exec(cell.replace("lite", "smoke"), namespace)
    assert check_parameters(namespace).profile == "smoke"
    exec('profil: str = "lite"', namespace)
    with pytest.raises(ValueError, match="'profil'"):
        check_parameters(namespace)
    exec(cell, namespace)
    assert check_parameters(namespace).profile == "lite"


def test_papermill_names_its_files() -> None:
    """papermill --inject-paths"""
    check_parameters({"PAPERMILL_INPUT_PATH": "a.ipynb", "PAPERMILL_OUTPUT_PATH": "b.ipynb"})


def test_a_fresh_kernel_is_not_mistaken_for_parameters() -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    shell.init_user_ns()
    assert {name for name in shell.user_ns if not name.startswith("_")} <= _KERNEL_NAMES


# --- the study ----------------------------------------------------------------------------------------------------


def test_the_records_are_looked_for_once_until_the_store_or_the_data_change(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    study, looked = open_study("resaspp-unet", Parameters(records=str(tmp_path / "store"))), []

    def find(self, config, root=None, stale=True):
        looked.append(root)

    monkeypatch.setattr("retlib.study.records.Store.find", find)
    for _ in range(3):
        assert study.found() == [] and study.record("drive-unet") is None
        assert study.scores().empty and study.records().empty and study.histories().empty
    once = len(looked)
    assert once == sum(len(study.source.plan(profile)) for profile in ("paper", "lite"))
    Store(tmp_path / "store").write({"id": "0123", "tests": {}}, {})
    assert study.found() == [] and len(looked) == 2 * once
    os.utime(tmp_path / "store", ns=(0, 0))
    Store(tmp_path / "store").write({"id": "0123", "tests": {}}, {})  # in the other's place
    assert study.found() == [] and len(looked) == 3 * once
    monkeypatch.setenv("RETLIB_DATA", str(tmp_path))
    assert study.found() == [] and set(looked[3 * once :]) == {str(tmp_path)}


def test_the_best_record_is_drawn(repository: Path) -> None:
    study = open_study("resaspp-unet", Parameters(), repository / "notebooks")
    assert study.record("drive-resaspp-unet").profile == "paper"
    assert study.record("drive-resaspp-unet", "lite").profile == "lite"
    assert study.record("no-such-run") is None


def test_seeds_are_trained_one_after_the_other_and_a_smoke_run_has_one(tmp_path: Path, monkeypatch) -> None:
    made = []
    monkeypatch.setattr("retlib.study.notebook.run", lambda config, *_, **__: made.append((config.seed, config.model)))
    names = ["drive-unet", "drive-resaspp-unet"]
    study = open_study("resaspp-unet", Parameters(records=str(tmp_path), seeds=(2, 0), train="missing"))
    study.train(names)
    assert made == [(2, "unet"), (2, "resaspp_unet"), (0, "unet"), (0, "resaspp_unet")]
    made.clear()
    study.train(names, seeds=[0])
    assert made == [(0, "unet"), (0, "resaspp_unet")]
    made.clear()
    smoke = Parameters(profile="smoke", records=str(tmp_path), seeds=(2, 0), train="missing")
    open_study("resaspp-unet", smoke).train(names)
    assert {seed for seed, _ in made} == {2}


def test_the_committed_runs_that_never_learned_are_found(repository: Path) -> None:
    """And no other of the papers' runs is one."""
    found = set()
    for key in ("af-unet", "r2u-net", "resaspp-unet"):
        records = open_study(key, Parameters(seeds=(0, 1, 2)), repository / "notebooks").records()
        never = records[~records["learned"]]
        found |= set(zip(never["run"], never["profile"], never["seed"], strict=True))
    assert found == {("drive-unetpp", "lite", 2), ("drive-r2unet-no-norm", "paper", 0)}


# --- tables and figures -------------------------------------------------------------------------------------------


def test_style_escapes_and_signs() -> None:
    frame = pd.DataFrame({"name": ["<b>"], "difference": [-0.01], "measured": [math.nan], "interval": [(-0.5, 0.25)]})
    html = style(frame, "a < b").to_html()
    assert "&lt;b&gt;" in html and "\N{MINUS SIGN}0.0100" in html and "—" in html and "a &lt; b" in html
    assert "\N{MINUS SIGN}0.5000 to 0.2500" in html
    assert html == style(frame, "a < b").to_html()


def test_a_control_trained_inside_the_fov_is_drawn_there_alone(repository: Path, monkeypatch) -> None:
    drawn = {}
    monkeypatch.setattr(figures, "roc_figure", lambda *given: drawn.update(panels=given[0], points=given[1]))
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    study = open_study("resaspp-unet", Parameters(), repository / "notebooks")
    functions_of("resaspp_unet").show_roc(study, ["drive-unet"], "8", ["drive-unet-reference"])
    named = {title: [curve.split(" (")[0] for curve in curves] for title, curves in drawn["panels"].items()}
    unet, reference = "U-Net on DRIVE", "A small U-Net on DRIVE by standard training"
    assert named == {"whole frame": [unet], "inside the FOV": [unet, reference]}
    pixels = {title: curves.popitem()[1].vessel.sum() for title, curves in drawn["panels"].items()}
    assert pixels["inside the FOV"] <= pixels["whole frame"]
    assert list(drawn["points"]) == ["whole frame"] and len(drawn["points"]["whole frame"]) == 3
