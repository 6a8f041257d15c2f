"""Vessel tree of a synthetic eye: its sizes, its branches, their widths, and the main vessels.

Lengths are in units of the FOV radius, and positions are complex numbers ``x + 1j * y`` (y points down) with the
centre of the FOV at 0. The optic disc lies at positive x; a left eye is mirrored when placed on the pixel grid.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complex128]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

REFERENCE_RADIUS = 268.0  # radius of DRIVE's FOV in pixels: the size at which statistics were taken


@dataclass(frozen=True)
class Anatomy:
    """Places and sizes of one eye, in units of the FOV radius."""

    disc: complex  #: Centre of the optic disc.
    fovea: complex  #: Centre of the fovea.
    disc_radius: float  #: Mean radius of the disc.
    avascular: float  #: Radius of the foveal avascular zone.
    widest: float  #: Radius of a main vein where it leaves the disc.
    narrowest: float  #: Radius of the finest vessel drawn.
    step: float  #: Spacing of the nodes of a vessel's centreline.
    tortuosity: float  #: Strength of the wander of the vessels (1 is ordinary).
    share: float  #: Share of the FOV that vessels should cover, 0 to 1.


@dataclass
class Branch:
    """One unbranched run of a vessel."""

    path: Complex  #: Nodes of the centreline, (nodes,).
    portion: float  #: Part of the cube of the parent's radius that it takes over (for a main vessel, of the root's).
    vein: bool  #: Whether it is a vein.
    parent: int = -1  #: Index of the branch it leaves, -1 for a main vessel.
    node: int = 0  #: Node of the parent at which it leaves.
    fork: bool = False  #: Whether it ends in two branches that share what is left of it.
    radius: Float = field(default_factory=lambda: np.empty(0))  #: Radius at each node, (nodes,), set by `set_radii`.


def headings(path: Complex) -> Complex:
    """Compute the unit direction at each node of a path."""
    difference = np.empty_like(path)
    difference[1:-1] = path[2:] - path[:-2]
    difference[0], difference[-1] = path[1] - path[0], path[-1] - path[-2]
    return difference / np.maximum(np.abs(difference), 1e-12)


def covered(branches: list[Branch]) -> float:
    """Compute the share of the FOV that branches cover, overlaps counted twice."""
    total = 0.0
    for branch in branches:
        length = np.abs(np.diff(branch.path))
        inside = np.abs(branch.path[1:]) < 1.0
        total += float((length * (branch.radius[1:] + branch.radius[:-1]) * inside).sum())
    return total / np.pi


def set_radii(branches: list[Branch], anatomy: Anatomy) -> None:
    """Set the radius at every node, parents first.

    At a bifurcation ``parent**3 = daughter**3 + rest**3`` (Murray's law). Between bifurcations a vessel loses a little
    to twigs too fine to see, fine vessels more of it than wide ones.
    """
    finest = anatomy.narrowest**3
    children: dict[int, list[Branch]] = {}
    for branch in branches:
        children.setdefault(branch.parent, []).append(branch)
    roots = {id(branch): anatomy.widest * np.cbrt(branch.portion) for branch in children[-1]}
    for index, branch in enumerate(branches):
        root = roots[id(branch)]
        along = anatomy.step * np.arange(len(branch.path))
        whole = root**3 * np.exp(-along * min(4.0, 0.35 * anatomy.widest / root))
        own = sorted(children.get(index, ()), key=lambda child: child.node)
        forked = bool(own) and own[-1].node == len(branch.path) - 1
        if abs(branch.path[-1]) < 1.0 and not forked:  # ends inside the FOV: a point, not a stump
            tip = (along / along[-1]) ** 1.5
            whole = ((1 - tip) * np.cbrt(whole) + tip * anatomy.narrowest) ** 3
        cube, rest = whole.copy(), 1.0
        for child in own:
            here = whole[child.node] * rest
            # The last daughter of a fork takes the rest.
            portion = 1.0 if forked and child is own[-1] else child.portion
            part = min(here, max(portion * here, finest))
            roots[id(child)] = np.cbrt(max(part, finest))
            rest *= 1 - part / here if here > 0 else 0.0
            cube[child.node + 1 :] = whole[child.node + 1 :] * rest
        branch.radius = np.cbrt(np.maximum(cube, finest))


def draw_trunks(rng: np.random.Generator, anatomy: Anatomy) -> list[Branch]:
    """Draw the vessels that leave the disc: four arcades of each kind, and finer ones to the macula and the nose.

    They are drawn in a frame with its origin at the disc, real towards the fovea and imaginary upwards.
    """
    axis = anatomy.fovea - anatomy.disc
    reach = abs(axis)
    axis /= reach
    up = axis * 1j if (axis * 1j).imag < 0 else axis * -1j
    hub = complex(rng.uniform(-0.04, 0.0), rng.uniform(-0.02, 0.02))
    beside = rng.uniform(0.012, 0.022) * np.exp(1j * rng.uniform(-0.6, 0.6))
    branches: list[Branch] = []

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
            branches.append(Branch(path, size**3, vein, parent, node))

    def add_twig(path: Complex, size: float) -> None:
        """Add a fine branch that leaves an arcade while still on the disc."""
        parent = int(rng.integers(arcades))
        node = int(rng.uniform(0.15, 0.7) * anatomy.disc_radius / anatomy.step)
        arcade = branches[parent]
        if node < len(arcade.path) - 2:
            path = arcade.path[node] + (path.real - path[0].real) * axis + (path.imag - path[0].imag) * up
            add(path, min(0.9, size / np.cbrt(arcade.portion)), arcade.vein, parent, node)

    for side in (1, -1):
        leave, aim, turn = np.deg2rad(rng.uniform(66, 98)), np.deg2rad(rng.uniform(-30, 12)), rng.uniform(0.3, 0.6)
        temporal = (leave, aim, turn, 0.17)
        leave, aim, turn = np.deg2rad(rng.uniform(88, 105)), np.deg2rad(rng.uniform(112, 150)), rng.uniform(0.1, 0.4)
        nasal = (leave, aim, turn, 0.08)
        for course, scale in ((temporal, 1.0), (nasal, rng.uniform(0.55, 0.8))):
            guide = _guide(rng, anatomy, *course, length=2.4)
            size = scale * rng.uniform(0.92, 1.06)
            other = _beside(rng, anatomy, guide, rng.uniform(0.9, 2.2) if course is temporal else 6.0)
            for path, vein in ((guide, True), (other, False)):
                path = _wander(rng, anatomy, path)
                # A soft floor under the arcade, so that no main vessel cuts through the macula.
                spare = path.imag - 0.2 * np.clip((path.real - 0.2) / 0.3, 0, 1)
                path = path + 1j * (0.5 * (np.sqrt(spare**2 + 0.02) - spare) * np.clip((path.real - 0.2) / 0.3, 0, 1))
                add(path if side > 0 else path.conj(), size if vein else 0.74 * size, vein)
    arcades = len(branches)
    for _ in range(rng.integers(3, 6)):  # papillomacular twigs, which end before the fovea
        leave, aim = np.deg2rad(rng.uniform(20, 75)), np.deg2rad(rng.uniform(-35, 5))
        path = _guide(rng, anatomy, leave, aim, rng.uniform(0.1, 0.35), 0.08, length=rng.uniform(0.4, 0.75) * reach)
        path = _wander(rng, anatomy, path, 1.8)
        add_twig(path if rng.random() < 0.5 else path.conj(), rng.uniform(0.24, 0.38))
    for _ in range(rng.integers(2, 5)):  # nasal twigs
        leave = np.deg2rad(rng.uniform(125, 235))
        path = _guide(rng, anatomy, leave, leave + rng.normal(0, 0.6), 0.2, 0.08, length=rng.uniform(0.3, 0.8))
        add_twig(_wander(rng, anatomy, path, 1.5), rng.uniform(0.25, 0.5))
    return branches


def _guide(
    rng: np.random.Generator, anatomy: Anatomy, leave: float, aim: float, turn: float, width: float, length: float
) -> Complex:
    """Draw a curve that starts in one direction and turns, around an arc length, smoothly into another."""
    at = np.arange(0, length, anatomy.step)
    width *= rng.uniform(0.8, 1.4)
    angle = aim + (leave - aim) / (1 + np.exp((at - turn) / width))
    return np.concatenate([[0], np.cumsum(anatomy.step * np.exp(1j * angle))])


def _beside(rng: np.random.Generator, anatomy: Anatomy, path: Complex, beat: float) -> Complex:
    """Draw a companion of a path that crosses it twice in the length ``beat``."""
    at = anatomy.step * np.arange(len(path))
    phase = rng.uniform(0.6, 2.4) + np.pi * rng.integers(2)
    away = rng.uniform(0.045, 0.08) * np.tanh(2 * np.sin(2 * np.pi * at / beat + phase))
    away *= 1 + 0.6 * at * rng.uniform(0, 1)
    return path + 1j * headings(path) * away * np.minimum(1.0, at / 0.12)


def _wander(rng: np.random.Generator, anatomy: Anatomy, path: Complex, strength: float = 1.0) -> Complex:
    """Add sway and a few shallow kinks to a path."""
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
