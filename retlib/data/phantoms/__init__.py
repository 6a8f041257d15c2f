"""Synthetic fundus images, whose vessels are known exactly: the data set ``phantom``.

An image is drawn, not learned: vessel trees grow from an optic disc and are rasterised twice from the same geometry,
once as the label and once, through a point spread function and an absorption per colour, into the photograph. Sizes,
colours, contrasts, texture and noise follow statistics of DRIVE's training images (Staal et al., 2004), whose frame of
565 x 584 pixels is the default; every length scales with the FOV.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from retlib.data.phantoms.grid import Scene, place_segments, rasterise
from retlib.data.phantoms.photograph import photograph
from retlib.data.phantoms.tree import REFERENCE_RADIUS, Anatomy
from retlib.data.phantoms.vessels import grow_tree
from retlib.data.sample import FundusSample
from retlib.data.splits import resolve_split

GENERATOR_VERSION: int = 1
"""Changes whenever the same seed and options would give other pixels."""

DEFAULTS = {"count": 20, "height": 584, "width": 565, "lesions": False}
"""Options of the data set and their defaults: images a split, pixels, whether lesions are drawn."""

SMALLEST_SIZE = 32
"""Least height and width, in pixels: below it no vessel is a pixel wide."""

FIRST_TEST_SEED = 100_000
"""Seeds of the test split start here, far from those of the training split."""


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
    eye, tree, light, spots = (np.random.default_rng([seed, part]) for part in range(4))
    scene, anatomy = _draw_eye(eye, height, width)
    segments = place_segments(grow_tree(tree, anatomy), scene)
    arteries, veins = (rasterise(scene, segments, vein) for vein in (False, True))
    fov = scene.aperture() <= 1.0
    vessels = np.zeros(fov.shape, dtype=bool)
    for kind in (arteries, veins):
        vessels.flat[kind.pixel[kind.depth >= 0]] = True
    image = photograph(scene, arteries, veins, light, spots if lesions else None)
    return FundusSample(_name(seed), image, vessels & fov, fov)


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


def _name(seed: int) -> str:
    return f"phantom-{seed:04d}"


def _make_named(name: str, **options: object) -> FundusSample:
    return make_phantom(int(name.removeprefix("phantom-")), **options)


def _draw_eye(rng: np.random.Generator, height: int, width: int) -> tuple[Scene, Anatomy]:
    """Draw which eye it is, how the camera looks at it, and how large its vessels are."""
    radius = 0.4755 * min(height, width) * rng.uniform(0.995, 1.0)
    disc = complex(rng.uniform(0.60, 0.84), rng.uniform(-0.13, 0.06))
    fovea = disc - rng.uniform(0.72, 0.82) * np.exp(-1j * rng.uniform(0.02, 0.17))
    disc_radius = rng.uniform(0.132, 0.16)
    mirrored = bool(rng.integers(2))
    margin = min(height, width) / 2 - radius
    centre = complex((width - 1) / 2, (height - 1) / 2) + 0.45 * margin * complex(*rng.uniform(-1, 1, 2))
    # A photograph with fewer pixels still shows its wide vessels: they shrink less than the frame does.
    shrunk = min(1.0, radius / REFERENCE_RADIUS)
    anatomy = Anatomy(
        disc=disc,
        fovea=fovea,
        disc_radius=disc_radius,
        avascular=rng.uniform(0.095, 0.14),
        widest=rng.uniform(3.7, 4.4) / REFERENCE_RADIUS * shrunk**-0.3,
        narrowest=max(0.64 / REFERENCE_RADIUS, 0.52 / radius),
        step=min(0.02, max(0.008, 1 / radius)),
        tortuosity=rng.lognormal(0.0, 0.3),
        share=rng.uniform(0.112, 0.138),
    )
    scene = Scene(
        height=height,
        width=width,
        centre=centre,
        radius=radius,
        mirrored=mirrored,
        disc=complex(-disc.real, disc.imag) if mirrored else disc,
        fovea=complex(-fovea.real, fovea.imag) if mirrored else fovea,
        disc_radius=disc_radius,
        blur=rng.uniform(0.7, 0.95) * max(0.45, radius / REFERENCE_RADIUS) ** 0.6,
        notch=0.985 * np.exp(-1j * rng.uniform(0.75, 0.9)) if rng.random() < 0.6 and radius > 100 else None,
    )
    return scene, anatomy
