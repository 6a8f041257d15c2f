"""The study of unseen cameras: what is left out, what is trained on, and what the page makes of known scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retlib.data import split_names
from retlib.study import Store
from retlib.study.config import flatten
from retlib.study.loader import load_study
from tests.notebooks.in_process import run_script
from tests.study.made_records import write_record

SETS = ("drive", "chase_db1", "stare", "hrf")
STUDY = load_study("cameras")


@pytest.mark.parametrize("profile", ["lite", "paper"])
def test_a_run_never_sees_the_data_set_left_out_nor_a_test_image(profile: str) -> None:
    tests = {name for key in SETS if key != "stare" for name in split_names(key, "test")}
    for name, config in STUDY.runs(profile).items():
        trained = [config.train, *config.also]
        if name != "drive-alone":
            out = name.split("-")[1]
            assert [selection.dataset for selection in config.test] == [out]
            assert {selection.dataset for selection in trained} == set(SETS) - {out}
        seen = {image for selection in trained for image in selection.names()}
        scored = {image for selection in config.test for image in selection.names()}
        assert not seen & scored and not (seen | scored) & tests


# What a change was tried on top of; of the others, the recipe.
BUILT_ON = {"local": "-smaller"} | dict.fromkeys(("averaged", "local640", "scales", "synthetic"), "-local")
BUILT_ON["combined"] = "-synthetic"
GROUPS = {
    "scales": "inference.",
    "combined": "inference.",
    "synthetic": "pretraining",
}  # changes of several settings of one group


def test_every_change_is_tried_on_every_data_set_and_changes_one_thing() -> None:
    runs = {name: flatten(config.model_dump(mode="json")) for name, config in STUDY.runs("lite").items()}
    changes = {name.split("-")[2] for name in runs if name.count("-") == 2}
    assert len(changes) >= 7
    for change in changes:
        differing = set()
        for out in SETS:
            before, after = runs[f"without-{out}{BUILT_ON.get(change, '')}"], runs[f"without-{out}-{change}"]
            differing.add(tuple(key for key in after if key not in before or after[key] != before[key]))
        (keys,) = differing
        if change in GROUPS:
            assert keys and all(key.startswith(GROUPS[change]) for key in keys)
        elif change == "local":  # of one channel, the augmentation cannot change the hue
            assert keys == ("inputs.preprocessing", "training.augmentation")
        else:
            assert len(keys) == 1


def test_the_page_keeps_what_raises_the_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records with known Dice: the means, the gains, and what is kept and taken."""
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    level = {"drive": 0.8, "chase_db1": 0.7, "stare": 0.75, "hrf": 0.65}
    gain = {"cameras": 0.02, "scale": -0.01, "together": 0.03}
    for name, config in STUDY.runs("lite").items():
        out, change = (*name.split("-"), "", "")[1:3]
        value = level.get(out, 0.5) + gain.get(change, 0.0)
        write_record(Store(tmp_path), config, lambda *_, value=value: value)
    names, _ = run_script("cameras", tmp_path)
    assert names["dice"].loc[names["BASE"], "mean"] == pytest.approx(np.mean(list(level.values())))
    assert names["gain"][names["CHANGES"]["scale"]] == pytest.approx(-0.01)
    assert names["kept"] == [names["CHANGES"]["cameras"]]
