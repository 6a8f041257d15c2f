"""Phantoms as a data set: named, split and fingerprinted like the public ones, made when asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from retlib.data.sample import FundusSample
from retlib.data.splits import resolve_split

DEFAULTS = {"count": 20, "height": 584, "width": 565, "lesions": False}
"""Options of the phantom data set and their defaults: samples a split, pixels, whether lesions are drawn."""

FIRST_TEST_SEED = 100_000
"""Seeds of the test split start here, far from those of the training split."""


def phantom_options(**options: object) -> dict[str, object]:
    """Options with defaults filled in.

    Raises:
        ValueError: An option is unknown or out of range.
    """
    unknown = sorted(set(options) - set(DEFAULTS))
    if unknown:
        raise ValueError(f"phantom has no option {', '.join(unknown)}; choose from {', '.join(DEFAULTS)}")
    merged = {**DEFAULTS, **options}
    for name in ("count", "height", "width"):
        value = merged[name]
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"phantom option {name} has to be a positive whole number, got {value!r}")
    if merged["count"] > FIRST_TEST_SEED:
        raise ValueError(f"phantom option count has to be at most {FIRST_TEST_SEED}, got {merged['count']}")
    if not isinstance(merged["lesions"], bool):
        raise ValueError(f"phantom option lesions has to be True or False, got {merged['lesions']!r}")
    return merged


def phantom_names(split: str | None, **options: object) -> tuple[str, ...]:
    """Names of the phantoms of a split, sorted: seeds 0 and up for training, 100000 and up for testing."""
    count = phantom_options(**options)["count"]
    training = tuple(_name(seed) for seed in range(count))
    test = tuple(_name(seed) for seed in range(FIRST_TEST_SEED, FIRST_TEST_SEED + count))
    bases = {"training": training, "test": test, "all": training + test}
    return resolve_split("phantom", bases, split, group=str)


def phantom_reader(**options: object) -> Callable[[str], FundusSample]:
    """Function that makes a phantom from its name."""
    chosen = phantom_options(**options)
    return partial(_make, height=chosen["height"], width=chosen["width"], lesions=chosen["lesions"])


def _name(seed: int) -> str:
    return f"phantom-{seed:04d}"


def _make(name: str, height: int, width: int, lesions: bool) -> FundusSample:
    from retlib.data.phantom import make_phantom

    return make_phantom(int(name.removeprefix("phantom-")), height=height, width=width, lesions=lesions)
