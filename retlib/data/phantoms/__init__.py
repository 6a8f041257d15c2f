"""Synthetic fundus images, whose vessels are known exactly: the data set ``phantom``.

An image is drawn, not learned: vessel trees grow from an optic disc, and the same geometry gives the label and, through
the optics of a camera, the photograph. Sizes, colours, contrasts, texture and noise follow DRIVE's training images
(Staal et al., 2004), whose frame of 565 x 584 pixels is the default; every length scales with the FOV.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from retlib.data.phantoms.photograph import photograph
from retlib.data.phantoms.vessels import draw_eye, grow_vessels, rasterise
from retlib.data.sample import FundusSample
from retlib.data.splits import resolve_split

GENERATOR_VERSION: int = 2  #: Changes whenever the same seed and options would give other pixels.
FIRST_TEST_SEED = 100_000  #: Seeds of the test split start here, far from those of the training split.
SMALLEST_SIZE = 32  #: Least height and width in pixels: below it no vessel is a pixel wide.
#: Options of the data set and their defaults: images a split, pixels, whether lesions are drawn.
DEFAULTS = {"count": 20, "height": 584, "width": 565, "lesions": False}
_name = "phantom-{:04d}".format


def make_phantom(seed: int, height: int = 584, width: int = 565, lesions: bool = False) -> FundusSample:
    """Draw the synthetic fundus image of a seed, with exact vessel label and FOV.

    Args:
        seed: Number of the image, 0 or more; the same seed and size always give the same arrays.
        height: Rows, 32 or more.
        width: Columns, 32 or more.
        lesions: Whether microaneurysms, haemorrhages, hard exudates and cotton-wool spots are drawn too; the eye, its
            vessels and their label stay the same.

    Returns:
        Sample ``phantom-{seed:04d}`` without a second observer. A pixel is vessel when its centre lies inside a vessel
        and inside the FOV.

    Raises:
        ValueError: The seed, the height or the width is not a whole number in its range.
    """
    for name, value, least in (("seed", seed, 0), ("height", height, SMALLEST_SIZE), ("width", width, SMALLEST_SIZE)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"phantom {name} has to be a whole number of at least {least}, got {value!r}")
    eye_rng, tree_rng, light_rng, lesion_rng = (np.random.default_rng([seed, part]) for part in range(4))
    eye = draw_eye(eye_rng, height, width)
    fov = np.abs(eye.grid) <= 1.0
    inside, depth = rasterise(eye, grow_vessels(tree_rng, eye))
    image = photograph(eye, depth, light_rng, lesion_rng if lesions else None)
    return FundusSample(_name(seed), image, inside & fov, fov)


def phantom_options(**options: object) -> dict[str, object]:
    """Fill in the defaults of the data set's options.

    Raises:
        ValueError: An option is unknown or out of range.
    """
    if unknown := sorted(set(options) - set(DEFAULTS)):
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
    """List the names of a split, sorted: seeds 0 and up for training, 100000 and up for testing."""
    count = phantom_options(**options)["count"]
    training = tuple(_name(seed) for seed in range(count))
    test = tuple(_name(seed) for seed in range(FIRST_TEST_SEED, FIRST_TEST_SEED + count))
    return resolve_split("phantom", {"training": training, "test": test, "all": training + test}, split, group=str)


def phantom_reader(**options: object) -> Callable[[str], FundusSample]:
    """Make a function that draws an image from its name."""
    chosen = phantom_options(**options)
    del chosen["count"]
    return partial(_make_named, **chosen)


def _make_named(name: str, **options: object) -> FundusSample:
    return make_phantom(int(name.removeprefix("phantom-")), **options)
