"""FundusSample refuses arrays that do not belong together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from retlib.data import DataError, FundusSample


def arrays(**changes: object) -> dict[str, object]:
    mask = np.zeros((4, 6), dtype=bool)
    return {"name": "eye", "image": np.zeros((4, 6, 3), np.uint8), "vessels": mask, "fov": ~mask} | changes


def test_second_observer_may_be_missing():
    sample = FundusSample(**arrays())
    assert sample.second_observer is None


def test_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FundusSample(**arrays()).vessels = np.ones((4, 6), dtype=bool)


@pytest.mark.parametrize(
    "role, value",
    [
        ("image", np.zeros((4, 6, 3), np.float32)),
        ("image", np.zeros((4, 6), np.uint8)),
        ("image", np.zeros((4, 6, 4), np.uint8)),
        ("image", [[[0, 0, 0]]]),
        ("vessels", np.zeros((4, 6), np.uint8)),
        ("vessels", np.zeros((6, 4), bool)),
        ("vessels", None),
        ("fov", np.ones((4, 7), bool)),
        ("fov", None),
        ("second_observer", np.ones((5, 6), bool)),
    ],
)
def test_wrong_array_is_named(role: str, value: object):
    with pytest.raises(DataError, match=f"^eye: {role} has to be"):
        FundusSample(**arrays(**{role: value}))


def test_name_has_to_be_a_string():
    with pytest.raises(DataError, match="name"):
        FundusSample(**arrays(name=""))
