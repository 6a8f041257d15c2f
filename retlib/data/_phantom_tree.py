"""The vessel tree of a synthetic eye as data: its sizes, its branches, and their width by Murray's law.

Lengths are in units of the radius of the FOV, and positions are complex numbers ``x + 1j * y`` (y points down) with
the centre of the FOV at 0. The optic disc lies at positive x; a left eye is mirrored when placed on the pixel grid.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complex128]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

REFERENCE_RADIUS = 268.0  # radius in pixels of DRIVE's FOV: the size at which statistics were taken


@dataclass(frozen=True)
class Anatomy:
    """Where things are and how large the vessels may be, in units of the FOV radius.

    Attributes:
        disc: Centre of the optic disc.
        fovea: Centre of the fovea.
        disc_radius: Mean radius of the disc.
        avascular: Radius of the foveal avascular zone.
        widest: Radius of a main vein where it leaves the disc.
        narrowest: Radius of the finest vessel drawn.
        step: Spacing of the nodes of a vessel's centreline.
        tortuosity: Strength of the wander of the vessels (1 is ordinary).
        share: Share of the FOV that vessels should cover.
    """

    disc: complex
    fovea: complex
    disc_radius: float
    avascular: float
    widest: float
    narrowest: float
    step: float
    tortuosity: float
    share: float


@dataclass
class Branch:
    """One unbranched run of a vessel.

    Attributes:
        path: Nodes of the centreline, complex (nodes,).
        portion: Part of the cube of the parent's radius that this branch takes over (of the root's, for a trunk).
        vein: Whether it is a vein.
        parent: Index of the branch it leaves, -1 for a trunk.
        node: Node of the parent at which it leaves.
        fork: Whether it ends in two branches that share what is left of it.
        radius: Radius at each node, (nodes,), once it is known.
    """

    path: Complex
    portion: float
    vein: bool
    parent: int = -1
    node: int = 0
    fork: bool = False
    radius: Float = field(default_factory=lambda: np.empty(0))


def headings(path: Complex) -> Complex:
    """Unit direction at each node of a path."""
    difference = np.empty_like(path)
    difference[1:-1] = path[2:] - path[:-2]
    difference[0], difference[-1] = path[1] - path[0], path[-1] - path[-2]
    return difference / np.maximum(np.abs(difference), 1e-12)


def covered(branches: list[Branch]) -> float:
    """Share of the FOV that branches cover, overlaps counted twice."""
    total = 0.0
    for branch in branches:
        length = np.abs(np.diff(branch.path))
        inside = np.abs(branch.path[1:]) < 1.0
        total += float((length * (branch.radius[1:] + branch.radius[:-1]) * inside).sum())
    return total / np.pi


def set_radii(branches: list[Branch], anatomy: Anatomy) -> None:
    """Radius at every node, parents first.

    At a bifurcation ``parent**3 = daughter**3 + rest**3`` (Murray's law); between bifurcations a vessel loses a little
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
        if abs(branch.path[-1]) < 1.0 and not forked:  # ends in sight: a point, not a stump
            tip = (along / along[-1]) ** 1.5
            whole = ((1 - tip) * np.cbrt(whole) + tip * anatomy.narrowest) ** 3
        cube, rest = whole.copy(), 1.0
        for child in own:
            here = whole[child.node] * rest
            portion = (
                1.0 if forked and child is own[-1] else child.portion
            )  # the last daughter of a fork takes the rest
            part = min(here, max(portion * here, finest))
            roots[id(child)] = np.cbrt(max(part, finest))
            rest *= 1 - part / here if here > 0 else 0.0
            cube[child.node + 1 :] = whole[child.node + 1 :] * rest
        branch.radius = np.cbrt(np.maximum(cube, finest))
