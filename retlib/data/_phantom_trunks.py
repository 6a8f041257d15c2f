"""Main vessels of a synthetic eye: arcades that arch around the macula, and fine vessels that leave with them."""

from __future__ import annotations

import numpy as np

from retlib.data._phantom_tree import Anatomy, Branch, Complex, headings


def draw_trunks(rng: np.random.Generator, anatomy: Anatomy) -> list[Branch]:
    """The vessels that leave the disc: four arcades of each kind, and finer ones to the macula and the nose.

    They are drawn in a frame with its origin at the disc, real towards the fovea and imaginary upwards.
    """
    axis = anatomy.fovea - anatomy.disc
    reach = abs(axis)
    axis /= reach
    up = axis * 1j if (axis * 1j).imag < 0 else axis * -1j
    hub = complex(rng.uniform(-0.04, 0.0), rng.uniform(-0.02, 0.02))
    beside = rng.uniform(0.012, 0.022) * np.exp(1j * rng.uniform(-0.6, 0.6))
    found: list[Branch] = []

    def add(path: Complex, size: float, vein: bool, parent: int = -1, node: int = 0) -> None:
        if parent < 0:
            start = hub + (beside if vein else -beside)
            path = start + path - path[0]
            path = anatomy.disc + path.real * axis + path.imag * up
        stop = np.abs(path) > 1.03
        if parent >= 0:
            stop |= np.abs(path - anatomy.fovea) < 1.4 * anatomy.avascular
        path = path[: int(np.argmax(stop)) + 1] if stop.any() else path
        if len(path) > 4:
            found.append(Branch(path, size**3, vein, parent, node))

    def add_twig(path: Complex, size: float) -> None:
        """A fine branch of a trunk that leaves it while still on the disc."""
        parent = int(rng.integers(trunks))
        node = int(rng.uniform(0.15, 0.7) * anatomy.disc_radius / anatomy.step)
        trunk = found[parent]
        if node < len(trunk.path) - 2:
            path = trunk.path[node] + (path.real - path[0].real) * axis + (path.imag - path[0].imag) * up
            add(path, min(0.9, size / np.cbrt(trunk.portion)), trunk.vein, parent, node)

    for side in (1, -1):
        temporal = (
            np.deg2rad(rng.uniform(66, 98)),
            np.deg2rad(rng.uniform(-30, 12)),
            rng.uniform(0.3, 0.6),
            0.17,
        )
        nasal = (
            np.deg2rad(rng.uniform(88, 105)),
            np.deg2rad(rng.uniform(112, 150)),
            rng.uniform(0.1, 0.4),
            0.08,
        )
        for course, scale in ((temporal, 1.0), (nasal, rng.uniform(0.55, 0.8))):
            guide = _guide(rng, anatomy, *course, length=2.4)
            size = scale * rng.uniform(0.92, 1.06)
            other = _beside(rng, anatomy, guide, rng.uniform(0.9, 2.2) if course is temporal else 6.0)
            for path, vein in ((guide, True), (other, False)):
                path = _wander(rng, anatomy, path)
                # No trunk may cut through the macula, however the dice fall: a soft floor under the arcade.
                spare = path.imag - 0.2 * np.clip((path.real - 0.2) / 0.3, 0, 1)
                path = path + 1j * (0.5 * (np.sqrt(spare**2 + 0.02) - spare) * np.clip((path.real - 0.2) / 0.3, 0, 1))
                add(path if side > 0 else path.conj(), size if vein else 0.74 * size, vein)
    trunks = len(found)
    for _ in range(rng.integers(3, 6)):  # papillomacular twigs, which end before the fovea
        leave, aim = np.deg2rad(rng.uniform(20, 75)), np.deg2rad(rng.uniform(-35, 5))
        path = _guide(rng, anatomy, leave, aim, rng.uniform(0.1, 0.35), 0.08, length=rng.uniform(0.4, 0.75) * reach)
        path = _wander(rng, anatomy, path, 1.8)
        add_twig(path if rng.random() < 0.5 else path.conj(), rng.uniform(0.24, 0.38))
    for _ in range(rng.integers(2, 5)):  # nasal twigs
        leave = np.deg2rad(rng.uniform(125, 235))
        path = _guide(rng, anatomy, leave, leave + rng.normal(0, 0.6), 0.2, 0.08, length=rng.uniform(0.3, 0.8))
        add_twig(_wander(rng, anatomy, path, 1.5), rng.uniform(0.25, 0.5))
    return found


def _guide(
    rng: np.random.Generator,
    anatomy: Anatomy,
    leave: float,
    aim: float,
    turn: float,
    width: float,
    length: float,
) -> Complex:
    """A curve that sets out in one direction and turns, around a given arc length, smoothly into another."""
    at = np.arange(0, length, anatomy.step)
    width *= rng.uniform(0.8, 1.4)
    angle = aim + (leave - aim) / (1 + np.exp((at - turn) / width))
    return np.concatenate([[0], np.cumsum(anatomy.step * np.exp(1j * angle))])


def _beside(rng: np.random.Generator, anatomy: Anatomy, path: Complex, beat: float) -> Complex:
    """A companion that runs along a path and changes side twice in the length ``beat``, crossing it there."""
    at = anatomy.step * np.arange(len(path))
    phase = rng.uniform(0.6, 2.4) + np.pi * rng.integers(2)
    away = rng.uniform(0.045, 0.08) * np.tanh(2 * np.sin(2 * np.pi * at / beat + phase))
    away *= 1 + 0.6 * at * rng.uniform(0, 1)
    return path + 1j * headings(path) * away * np.minimum(1.0, at / 0.12)


def _wander(rng: np.random.Generator, anatomy: Anatomy, path: Complex, strength: float = 1.0) -> Complex:
    """The same path with sway, and with a few shallow kinks."""
    at = anatomy.step * np.arange(len(path))
    sway = np.zeros(len(at))
    for wavelength, size in ((0.5, 0.0075), (0.27, 0.0042), (0.13, 0.0017)):
        phase, beat = rng.uniform(0, 2 * np.pi, 2), wavelength * rng.uniform(0.8, 1.25)
        swell = 0.6 + 0.4 * np.sin(2 * np.pi * at / (3.1 * beat) + phase[1])
        sway += strength * anatomy.tortuosity * size * swell * np.sin(2 * np.pi * at / beat + phase[0])
    for place in rng.uniform(0.3, 1.6, 3):
        width = rng.uniform(0.1, 0.2)
        sway += rng.normal(0, 0.08) * np.maximum(0.0, width - np.abs(at - place))
    return path + 1j * headings(path) * sway * np.minimum(1.0, at / 0.3)
